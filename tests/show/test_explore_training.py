import os
import time

import numpy as np
import pytest
import torch

from medsr_lib.restore import degrade, networks
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training import checkpoint, fit, gan
from medsr_lib.show import explore
from medsr_lib.show.explore import history

to_lr = degrade.by_name("bicubic", scale=2)


def train(path, images, steps=6, **rest):
    network = networks.ESPCN(scale=2)
    given = {"validation": images[:1], "validate_every": 2, "recipe": fit.Recipe(batch=2), "crop": 16}
    return fit.fit(
        network, images, degrade=to_lr, steps=steps, seed=0, checkpoint=path, progress=False,
        device="cpu", **{**given, **rest},
    )  # fmt: skip


@pytest.fixture
def images(random_images):
    return random_images(2, 32, 32)


@pytest.fixture
def folder(tmp_path, images):
    train(tmp_path / "espcn_checkpoint.pt", images)
    return tmp_path


@pytest.fixture
def monitor(folder):
    made = explore.training(folder, follow=False)
    yield made
    made.close()


def test_the_log_is_that_of_the_history(tmp_path, images):
    done = train(tmp_path / "espcn_checkpoint.pt", images)
    log = history.read(tmp_path / "espcn_checkpoint.pt")
    assert log.training["step"].tolist() == done.table["step"].tolist()
    np.testing.assert_array_equal(log.training["loss"], done.table["loss"])
    np.testing.assert_allclose(log.validation["loss"], done.validation["loss"])
    assert (log.step, log.steps, log.done) == (6, 6, True)


def test_an_adversarial_log_has_the_columns_of_fit_gan(tmp_path, images):
    done = gan.fit_gan(
        networks.SRResNet(scale=2, blocks=1, width=4),
        networks.Discriminator(size=32, width=4),
        images,
        degrade=to_lr,
        content=losses.Content(torch.nn.Conv2d(1, 2, 3), name="test"),
        steps=4,
        seed=0,
        recipe=fit.Recipe(batch=2),
        crop=32,
        validate_every=2,
        picture=to_lr(images[:1]),
        checkpoint=tmp_path / "srgan_checkpoint.pt",
        progress=False,
        device="cpu",
    )
    made = explore.training(tmp_path, follow=False)
    assert made.log.training.columns.tolist() == done.table.columns.tolist()
    np.testing.assert_array_equal(made.log.training, done.table)
    assert sorted(made.log.pictures) == [0, 2, 4]
    before = made.pixels
    made.controls["step"].value = 1
    assert not np.array_equal(made.pixels, before)


@pytest.mark.parametrize(("control", "value"), [("step", 2), ("smooth", 20)])
def test_controls_change_the_picture(tmp_path, images, control, value):
    train(tmp_path / "a_checkpoint.pt", images, steps=30)
    made = explore.training(tmp_path, follow=False)
    before = made.pixels
    made.controls[control].value = value
    assert not np.array_equal(made.pixels, before)
    assert made.message == ""


def test_how_far_it_has_come_is_said(tmp_path, images):
    path = tmp_path / "espcn_checkpoint.pt"
    train(path, images)
    state = checkpoint.load(path)
    state["configuration"]["steps"] = 600
    checkpoint.save(path, state)
    made = explore.training(path, follow=False)
    assert "step 6 of 600 (1 %)" in made.notes.value
    assert "to go" in made.notes.value
    assert "all steps are taken" not in made.notes.value


def test_the_monitor_follows_a_training(tmp_path, images):
    made = explore.training(tmp_path / "later", every=0.02)
    assert "no such folder yet" in made.message
    (tmp_path / "later").mkdir()
    train(tmp_path / "later" / "first_checkpoint.pt", images)
    wait_for(lambda: made.log and made.log.done)
    first = made.pixels
    train(tmp_path / "later" / "second_checkpoint.pt", images, steps=9)
    wait_for(lambda: made.log.step == 9)
    assert made.controls["file"].value == "second_checkpoint.pt"
    wait_for(lambda: not np.array_equal(made.pixels, first))
    made.controls["follow"].value = False
    made._thread.join(2)
    assert not made._thread.is_alive()
    made.close()


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_half_written_leaves_what_was_read(folder, monitor):
    path, before = folder / "espcn_checkpoint.pt", monitor.pixels
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    monitor.look()
    assert "half written, damaged" in monitor.message
    assert "Shown is what was read before" in monitor.message
    assert np.array_equal(monitor.pixels, before)
    path.write_bytes(whole)
    monitor.look()
    assert monitor.message == ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "None: no such folder yet"),
        (lambda p: p / "nowhere", "no such folder yet"),
        (lambda p: p, "no training here yet"),
        (lambda p: networks.save(networks.ESPCN(scale=2), p / "espcn.pt") or p / "espcn.pt",
         "no checkpoint of a training"),
    ],
)  # fmt: skip
def test_what_is_no_training_is_said_in_place(tmp_path, make, message):
    made = explore.training(make(tmp_path), follow=False)
    assert message in made.message
    assert made.log is None
    made.controls["smooth"].value = 10
    assert message in made.message


def test_before_the_first_step_there_is_no_curve(tmp_path, images):
    with pytest.warns(UserWarning, match="no time for a single step"):
        train(tmp_path / "a_checkpoint.pt", images, hours=1e-9)
    (tmp_path / "training.csv").write_text("step,loss\n")
    made = explore.training(tmp_path, follow=False)
    assert made.message == "No step has been taken yet."


def test_the_columns_of_an_old_checkpoint_are_numbered(folder):
    path = folder / "espcn_checkpoint.pt"
    state = checkpoint.load(path)
    assert state.pop("columns") == ["loss"]
    checkpoint.save(path, state)
    made = explore.training(folder, follow=False)
    assert made.log.training.columns.tolist() == ["step", "column 1"]
    assert made.message == ""


def test_the_tables_beside_a_checkpoint_bring_it_up_to_date(folder, monitor):
    path = folder / "espcn_checkpoint.pt"
    before = history.read(path)
    assert list(history.find(folder)) == ["espcn_checkpoint.pt"]
    with (folder / "espcn_checkpoint_training.csv").open("a") as file:
        file.write("7,0.5\n8,0.25\n9,0.1")
    with (folder / "espcn_checkpoint_validation.csv").open("a") as file:
        file.write("8,0.125\n")
    os.utime(folder / "espcn_checkpoint_training.csv", (path.stat().st_mtime + 60,) * 2)
    log = history.read(path)
    assert log.training["step"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(log.training["loss"][:6], before.training["loss"], rtol=1e-6)
    assert log.validation.iloc[-1].tolist() == [8, 0.125]
    assert (log.step, log.steps) == (8, 6)
    assert log.seconds == pytest.approx(before.seconds + 60)
    assert monitor._changed()
    monitor.look()
    assert monitor.controls["file"].options == ("espcn_checkpoint.pt",)
    assert monitor.controls["step"].max == 8
    assert not monitor._changed()


def test_a_checkpoint_of_an_older_version_is_said(folder, monitor):
    path, before = folder / "espcn_checkpoint.pt", monitor.pixels
    torch.save({"format": "medsr checkpoint 1", "state": {"step": 3, "losses": [0.5]}}, path)
    for made in (monitor, explore.training(folder, follow=False)):
        made.look()
        assert "no history can be read from it" in made.message
        assert "KeyError: 'configuration'" in made.message
    assert np.array_equal(monitor.pixels, before)


def test_a_run_that_is_half_finished_shows_what_there_is(tmp_path, images):
    train(tmp_path / "srresnet_checkpoint.pt", images)
    (tmp_path / "srgan_checkpoint.pt").write_bytes(b"PK")
    made = explore.training(tmp_path, follow=False)
    assert "srgan_checkpoint.pt: no history can be read from it" in made.message
    made.controls["file"].value = "srresnet_checkpoint.pt"
    assert made.message == ""
    assert made.log.done


@pytest.mark.parametrize("text", ["", "step,loss\n1,0.5\n", "epoch,loss\n9,2\n", "\0\0\0"])
def test_tables_behind_their_checkpoint_or_damaged_are_left_alone(folder, text):
    (folder / "espcn_checkpoint_training.csv").write_text(text)
    assert history.read(folder / "espcn_checkpoint.pt").step == 6


def test_tables_are_read_to_their_last_whole_line(tmp_path):
    path = tmp_path / "training.csv"
    path.write_text("step,loss\n1,0.5\n2,0.4\n3,0.0")
    assert history.read(path).training["loss"].tolist() == [0.5, 0.4]
    (tmp_path / "validation.csv").write_text("step,psnr\n2,30.5\n")
    assert history.read(path).validation["psnr"].tolist() == [30.5]
    path.write_text("")
    assert history.read(path).step == 0
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match="no column step"):
        history.read(path)
