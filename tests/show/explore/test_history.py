import os

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.show.explore import history


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of `fit` after 6 of 60 steps, with its tables."""
    path = tmp_path / "a_checkpoint.pt"
    asked = {"steps": 60, "log_every": 1}
    pictures = {0: torch.zeros(1, 1, 8, 8), 5: torch.ones(1, 1, 8, 8)}
    state = {"step": 6, "configuration": asked, "seconds": 30.0, "pictures": pictures}
    torch.save({"format": "medsr checkpoint 2", "state": state}, path)
    losses = pd.DataFrame({"step": range(1, 7), "loss": np.linspace(1, 0.5, 6)})
    losses.to_csv(tmp_path / "a_checkpoint_training.csv", index=False)
    (tmp_path / "a_checkpoint_validation.csv").write_text("step,psnr\n3,30.5\n6,31.0\n")
    for file in tmp_path.iterdir():
        os.utime(file, (10**9,) * 2)
    return path


def test_a_log_is_that_of_the_checkpoint_and_its_tables(checkpoint):
    log = history.read(checkpoint)
    assert (log.step, log.steps, log.seconds, log.done) == (6, 60, 30, False)
    np.testing.assert_allclose(log.training["loss"], np.linspace(1, 0.5, 6))
    assert log.validation["psnr"].tolist() == [30.5, 31.0]
    assert {n: shot.mean() for n, shot in log.pictures.items()} == {0: 0, 5: 1}
    assert list(history.find(checkpoint.parent)) == ["a_checkpoint.pt"]


def test_tables_that_have_come_further_bring_the_log_up_to_date(checkpoint):
    table, before = history.tables(checkpoint)[0], history.stamp(checkpoint)
    with table.open("a") as file:
        file.write("7,0.5\n8,0.25\n9,0.1")  # the last line is still being written
    os.utime(table, (10**9 + 60,) * 2)
    log = history.read(checkpoint)
    assert log.training["step"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (log.step, log.steps, log.seconds) == (8, 60, 90)
    assert history.stamp(checkpoint) > before


def test_a_table_is_a_training_by_itself(tmp_path):
    path = tmp_path / "training.csv"
    path.write_text("step,loss\n1,0.5\nx,y\n2,0.4\n3,0.0")
    log = history.read(path)
    assert log.training["loss"].tolist() == [0.5, 0.4]
    assert (log.steps, log.done, len(log.validation)) == (None, False, 0)
    (tmp_path / "validation.csv").write_text("step,psnr\n2,30.5\n")
    assert history.read(path).validation["psnr"].tolist() == [30.5]
    path.write_text("")
    assert history.read(path).step == 0


def test_the_latest_training_comes_first_and_a_notebooks_copy_last(checkpoint):
    for name, when in (("b_checkpoint.pt", 10**9 + 5), ("training.csv", 10**9 + 9)):
        (checkpoint.parent / name).write_text("")
        os.utime(checkpoint.parent / name, (when,) * 2)
    found = history.find(checkpoint.parent)
    assert list(found) == ["b_checkpoint.pt", "a_checkpoint.pt", "training.csv"]


def damaged(path):
    path.write_bytes(path.read_bytes()[:500])


def older(path):
    torch.save({"format": "medsr checkpoint 1", "state": {"step": 3, "losses": [0.5]}}, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "half written, damaged"),
        (older, "KeyError: 'configuration'"),
        (lambda path: path.unlink(), "no such file; has the training begun"),
        (lambda path: history.tables(path)[0].unlink(), "fit writes it beside its checkpoint"),
        (lambda path: history.tables(path)[0].write_text("epoch,loss\n9,2\n"), "no column step"),
    ],
)
def test_what_cannot_be_read_is_named(checkpoint, change, message):
    change(checkpoint)
    with pytest.raises(ValueError, match=message):
        history.read(checkpoint)
