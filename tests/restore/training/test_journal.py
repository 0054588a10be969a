"""The tables that grow beside a checkpoint."""

import pandas as pd
import pytest
import torch

from medsr_lib.restore import degrade, networks
from medsr_lib.restore.training import checkpoint, fit, journal
from medsr_lib.restore.training.clock import Clock

STEPS = 10
NAMES = ["a_training.csv", "a_validation.csv"]


@pytest.fixture
def train(tmp_path, random_images):
    """`train(n)` trains with the checkpoint a.pt until step n, to be interrupted in the next."""
    images = random_images(3, 16, 16)

    def run(until=STEPS):
        seen = []

        def to_lr(hr):
            seen.append(hr.shape == (2, 1, 8, 8))  # a batch, not a trial or a validation image
            if sum(seen) > until - taken:
                raise KeyboardInterrupt
            return degrade.bicubic(hr, scale=2)

        to_lr.__name__ = "to_lr"
        taken = (checkpoint.load(tmp_path / "a.pt") or {"step": 0})["step"]
        torch.manual_seed(0)
        return fit.fit(
            networks.ESPCN(scale=2),
            images,
            degrade=to_lr,
            steps=STEPS,
            seed=0,
            batch=2,
            crop=8,
            validation=images[:1],
            validate_every=3,
            checkpoint=tmp_path / "a.pt",
            device="cpu",
            progress=False,
        )

    return run


@pytest.fixture
def interrupt(train):
    """`interrupt(n, due)` trains until step n; what is `due` ("look", "save") is so at once."""

    def run(until, due=()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Clock, "is_due", lambda self, what, seconds: what in due)
            with pytest.raises(KeyboardInterrupt):
                train(until)

    return run


def tables(folder):
    return [pd.read_csv(folder / name) for name in NAMES]


def test_the_tables_are_those_of_the_history(train, tmp_path):
    done = train()
    log, validation = tables(tmp_path)
    pd.testing.assert_frame_equal(log, done.table, check_dtype=False, rtol=1e-6)
    pd.testing.assert_frame_equal(validation, done.validation, check_dtype=False, rtol=1e-6)
    assert validation["step"].tolist() == [3, 6, 9, 10]


def test_they_grow_by_whole_lines_while_the_checkpoint_stays(interrupt, tmp_path):
    interrupt(7, due=["look"])
    log, validation = tables(tmp_path)
    assert log["step"].tolist() == list(range(1, 8))
    assert validation["step"].tolist() == [3, 6]
    assert (tmp_path / NAMES[0]).read_text().endswith("\n")
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 0


def test_a_resumed_training_has_no_step_twice(train, interrupt, tmp_path):
    whole = train()
    before = [(tmp_path / name).read_bytes() for name in NAMES]
    (tmp_path / "a.pt").unlink()
    interrupt(4, due=["look"])
    with (tmp_path / NAMES[0]).open("a") as file:
        file.write("5,0.1\n6,0.")  # killed in the middle of a line
    interrupt(3, due=["look", "save"])
    interrupt(8, due=["look"])
    assert tables(tmp_path)[0]["step"].tolist() == list(range(1, 9))
    again = train()
    assert [(tmp_path / name).read_bytes() for name in NAMES] == before
    assert torch.equal(whole.log, again.log)


def test_a_carried_training_has_its_whole_log(train, interrupt, tmp_path):
    interrupt(6, due=["save", "look"])
    for name in NAMES:
        (tmp_path / name).unlink()  # only checkpoints are carried into the next session
    train()
    assert tables(tmp_path)[0]["step"].tolist() == list(range(1, STEPS + 1))
    assert tables(tmp_path)[1]["step"].tolist() == [3, 6, 9, 10]


def test_a_row_of_several_steps_is_written_when_it_is_whole(tmp_path, random_images):
    images = random_images(3, 16, 16)
    done = fit.fit_gan(
        networks.SRResNet(scale=2, blocks=1, width=4),
        networks.Discriminator(size=16, width=4),
        images,
        degrade=degrade.by_name("bicubic", scale=2),
        content=torch.nn.functional.l1_loss,
        steps=STEPS,
        seed=0,
        batch=2,
        crop=16,
        log_every=4,
        checkpoint=tmp_path / "a.pt",
        device="cpu",
        progress=False,
    )
    log = pd.read_csv(tmp_path / NAMES[0])
    assert log.columns.tolist() == ["step", *fit.GAN_LOG]
    assert log["step"].tolist() == [4, 8]
    pd.testing.assert_frame_equal(log, done.table[:2], check_dtype=False, rtol=1e-6)
    assert not (tmp_path / NAMES[1]).exists()


def test_a_former_training_leaves_nothing_in_them(interrupt, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("step,loss\n999,1\n")
    interrupt(1)
    assert (tmp_path / NAMES[0]).read_text() == "step,loss\n"
    assert not (tmp_path / NAMES[1]).exists()


def test_a_disk_that_fails_does_not_end_the_training(train, tmp_path, monkeypatch):
    def full(path, *_):
        asked.append(path.name)
        raise OSError(28, "No space left on device")

    asked = []
    monkeypatch.setattr(Clock, "is_due", lambda self, what, seconds: what == "look")
    monkeypatch.setattr(journal, "_put", full)
    assert train().done
    assert asked == NAMES[:1]


def test_a_checkpoint_without_the_names_of_columns_goes_on(train, interrupt, tmp_path):
    interrupt(4, due=["save"])
    state = checkpoint.load(tmp_path / "a.pt")
    assert state.pop("columns") == ["loss"]
    checkpoint.save(tmp_path / "a.pt", state)
    assert train().done


def test_steps_stay_whole_numbers():
    assert journal._written(12_345_678) == "12345678"
    assert journal._written(0.1) == "0.1"
