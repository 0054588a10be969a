"""The log of a training, and the tables that grow beside its checkpoint."""

from functools import partial

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from states import interrupt, resumed_bit_for_bit, saved_at_every_step

from medsr_lib.restore import degrade, networks
from medsr_lib.restore.training import checkpoint, fit, loop
from medsr_lib.restore.training.clock import Clock

STEPS = 10
NAMES = ["a_training.csv", "a_validation.csv"]


@pytest.fixture
def train(random_images):
    images = random_images(3, 16, 16)

    def run(path, **changes):
        torch.manual_seed(0)
        arguments = {
            "steps": STEPS,
            "validation": images[:1].flip(-1),
            "validate_every": 3,
        } | changes
        return fit.fit(
            networks.ESPCN(scale=2),
            images,
            degrade=degrade.by_name("bicubic", scale=2),
            seed=0,
            recipe=fit.Recipe(batch=2),
            crop=8,
            checkpoint=path,
            device="cpu",
            progress=False,
            **arguments,
        )

    return run


@pytest.fixture
def stop(train, tmp_path, monkeypatch):
    """`stop(n, due)` trains until step n; what is `due` ("look", "save") is so at once."""

    def run(step, due=()):
        with monkeypatch.context() as patch:
            patch.setattr(Clock, "is_due", lambda self, what, seconds: what in due)
            interrupt(train, tmp_path / "a.pt", step=step)

    return run


def tables(folder):
    return [pd.read_csv(folder / name) for name in NAMES]


def test_the_tables_are_those_of_the_history(train, tmp_path):
    done = train(tmp_path / "a.pt")
    for table, expected in zip(tables(tmp_path), (done.table, done.validation)):
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-6)
    assert done.validation["step"].tolist() == [3, 6, 9, 10]


def test_they_grow_by_whole_lines_while_the_checkpoint_stays(stop, tmp_path):
    stop(7, due=["look"])
    log, validation = tables(tmp_path)
    assert log["step"].tolist() == list(range(1, 8))
    assert validation["step"].tolist() == [3, 6]
    assert (tmp_path / NAMES[0]).read_text().endswith("\n")
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 0


def test_a_resumed_training_has_no_step_twice(train, stop, tmp_path):
    train(tmp_path / "a.pt")
    before = [(tmp_path / name).read_bytes() for name in NAMES]
    (tmp_path / "a.pt").unlink()
    stop(4, due=["look"])
    with (tmp_path / NAMES[0]).open("a") as file:
        file.write("5,0.1\n6,0.")  # killed in the middle of a line
    stop(3, due=["look", "save"])
    stop(8, due=["look"])
    assert tables(tmp_path)[0]["step"].tolist() == list(range(1, 9))
    train(tmp_path / "a.pt")
    assert [(tmp_path / name).read_bytes() for name in NAMES] == before


class Killed(BaseException):
    pass


def test_killed_at_any_moment_a_training_ends_with_the_log_of_one_that_was_not(
    train, tmp_path, monkeypatch
):
    def dying(function, n):
        """The function, whose n-th call ends the process before, amid or after its work."""

        def call(path, what, *rest):
            calls.append(function)
            if len(calls) != n:
                return function(path, what, *rest)
            if amid and function is append:
                path.open("a").write("5,0.1\n6,0.")
            if not amid:
                function(path, what, *rest)
            raise Killed

        return call

    short = partial(train, validate_every=2, steps=4)
    short(tmp_path / "whole.pt")
    expected = [
        (tmp_path / f"whole_{kind}.csv").read_bytes() for kind in ("training", "validation")
    ]
    append, save, n = loop._append, checkpoint.save, 0
    with saved_at_every_step() as patch:
        patch.setattr(Clock, "is_due", lambda self, what, seconds: True)
        for amid in (True, False):
            for n in range(1, 100):
                calls, path = [], tmp_path / f"{n}{amid}" / "a.pt"
                with monkeypatch.context() as killing:
                    killing.setattr(loop, "_append", dying(append, n))
                    killing.setattr(checkpoint, "save", dying(save, n))
                    try:
                        short(path)
                        break  # it was not called so often
                    except Killed:
                        pass
                short(path)
                assert [(path.parent / name).read_bytes() for name in NAMES] == expected
    assert n > 10


def test_a_carried_training_has_its_whole_log(train, stop, tmp_path):
    stop(6, due=["save", "look"])
    for name in NAMES:
        (tmp_path / name).unlink()  # only checkpoints are carried into the next session
    train(tmp_path / "a.pt")
    assert [table["step"].tolist() for table in tables(tmp_path)] == [
        [*range(1, 11)],
        [3, 6, 9, 10],
    ]


def test_a_former_training_leaves_nothing_in_them(stop, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("step,loss\n999,1\n")
    stop(1)
    assert (tmp_path / NAMES[0]).read_text() == "step,loss\n"
    assert not (tmp_path / NAMES[1]).exists()


def test_a_disk_that_fails_does_not_end_the_training(train, tmp_path, monkeypatch):
    def full(path, *_):
        tried.append(path.name)
        raise OSError(28, "No space left on device")

    tried = []
    monkeypatch.setattr(loop, "_append", full)
    assert train(tmp_path / "a.pt").done
    assert tried == NAMES[:1]


def test_a_row_of_a_long_training_is_the_mean_of_its_steps(train, tmp_path, monkeypatch, clock):
    each = train(None).table["loss"].tolist()
    monkeypatch.setattr(loop, "MAX_ROWS", 3)
    rows = train(tmp_path / "a.pt").table
    assert rows["step"].tolist() == [3, 6, 9, 10]
    expected = [sum(each[:3]) / 3, sum(each[3:6]) / 3, sum(each[6:9]) / 3, each[9]]
    assert rows["loss"].tolist() == pytest.approx(expected)
    pd.testing.assert_frame_equal(tables(tmp_path)[0], rows[:3], check_dtype=False, rtol=1e-6)
    slow = {"loss": clock.slow(F.mse_loss), "hours": 5.5 / 3600, "validation": None}
    part = train(None, **slow).table  # ends within a row
    assert part["step"].tolist() == [3, 5]
    assert part["loss"].tolist() == pytest.approx([expected[0], sum(each[3:5]) / 2])


def test_a_long_training_resumes_within_a_row(train, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "MAX_ROWS", 3)
    resumed_bit_for_bit(lambda path: (train(path),), tmp_path, step=5)


def test_functions_are_described_by_their_qualified_names():
    described = [partial(F.huber_loss, delta=2), F.mse_loss, torch.nn.L1Loss()]
    assert list(map(loop.describe, described)) == [
        "torch.nn.functional.huber_loss(delta=2)",
        "torch.nn.functional.mse_loss",
        "L1Loss()",
    ]
    assert "scale=4" in loop.describe(degrade.by_name("bicubic", scale=4))
