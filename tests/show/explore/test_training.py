import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL.ImageColor import getrgb
from skimage import color

from medsr_lib.restore import degrade, networks
from medsr_lib.restore.training import checkpoint, fit
from medsr_lib.show import explore

to_lr = degrade.by_name("bicubic", scale=2)


def train(path, images, steps=6):
    network = networks.ESPCN(scale=2)
    return fit.fit(
        network, images, degrade=to_lr, steps=steps, seed=0, checkpoint=path, progress=False,
        device="cpu", recipe=fit.Recipe(batch=2), crop=16, validation=1 - images[:1],
        validate_every=2,
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
    log = explore.training(tmp_path, follow=False).log
    pd.testing.assert_frame_equal(log.training, done.table, rtol=1e-6, check_dtype=False)
    pd.testing.assert_frame_equal(log.validation, done.validation, rtol=1e-6, check_dtype=False)
    assert (log.step, log.steps, log.done) == (6, 6, True)


def test_answers_and_pictures_have_panels_of_their_own(folder, monitor):
    assert monitor.panels == ["Training", "Validation"]
    path = folder / "espcn_checkpoint.pt"  # made like one of `fit_gan`
    state = checkpoint.load(path)
    pictures = {n: torch.full((1, 1, 32, 32), n / 8) for n in (0, 2, 4)}
    checkpoint.save(path, state | {"pictures": pictures})
    table = pd.read_csv(folder / "espcn_checkpoint_training.csv")
    table = table.assign(d_real=0.6, d_fake=np.linspace(0.4, 0.5, len(table)))
    table.to_csv(folder / "espcn_checkpoint_training.csv", index=False)
    monitor.look()
    assert monitor.panels == [
        "Training", "The discriminator's answers", "Validation", "Watched image"
    ]  # fmt: skip
    before = monitor.pixels
    monitor.controls["step"].value = 1
    assert not np.array_equal(monitor.pixels, before)
    assert monitor.message == ""


@pytest.mark.parametrize(
    ("control", "value"), [("step", 2), ("smooth", 20), ("measure", "psnr"), ("file", "b.csv")]
)
def test_controls_change_the_picture(tmp_path, control, value):
    for name, slope in (("training.csv", 5), ("b_training.csv", 9)):
        rows = pd.DataFrame({"step": range(1, 101), "loss": 1 / np.arange(1, 101) ** (1 / slope)})
        rows.to_csv(tmp_path / name, index=False)
    (tmp_path / "b_validation.csv").write_text("step,loss,psnr\n5,0.3,30\n60,0.2,31\n")
    made = explore.training(tmp_path, follow=False)
    before = made.pixels
    made.controls[control].value = value if control != "file" else "training.csv"
    assert not np.array_equal(made.pixels, before)
    assert made.message == ""


def test_how_far_it_has_come_is_said(folder):
    path = folder / "espcn_checkpoint.pt"
    state = checkpoint.load(path)
    state["configuration"]["steps"] = 600
    checkpoint.save(path, state)
    made = explore.training(path, follow=False)
    assert "step 6 of 600 (1 %)" in made.notes.value
    assert "to go" in made.notes.value
    assert "all steps are taken" not in made.notes.value


def test_the_monitor_follows_a_training(tmp_path, images, monkeypatch):
    monkeypatch.setattr(sys.modules["medsr_lib.show.explore.training"], "SHARE", 1)
    made = explore.training(tmp_path / "later", every=0.02)
    assert "no such folder yet" in made.message
    (tmp_path / "later").mkdir()
    train(tmp_path / "later" / "first_checkpoint.pt", images)
    wait_for(lambda: made.log and made.log.done)
    first = made.pixels
    train(tmp_path / "later" / "second_checkpoint.pt", images, steps=9)
    wait_for(lambda: made.log.step == 9)
    assert made.controls["file"].value == "second_checkpoint.pt"
    assert made.controls["step"].max == 9
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
        (lambda p: (p / "a.pt").write_bytes(b"PK") and p / "a.pt", "no checkpoint of a training"),
    ],
)
def test_what_is_no_training_is_said_in_place(tmp_path, make, message):
    made = explore.training(make(tmp_path), follow=False)
    assert message in made.message
    assert made.log is None
    made.controls["smooth"].value = 10
    assert message in made.message


def test_before_the_first_step_there_is_no_curve(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n")
    made = explore.training(tmp_path, follow=False)
    assert made.message == "No step has been taken yet."


def test_a_run_that_is_half_finished_shows_what_there_is(folder):
    (folder / "srgan_checkpoint.pt").write_bytes(b"PK")
    made = explore.training(folder, follow=False)
    assert "srgan_checkpoint.pt: no training can be read from it" in made.message
    made.controls["file"].value = "espcn_checkpoint.pt"
    assert made.message == ""
    assert made.log.done


def test_losses_that_are_not_numbers_or_not_positive_are_drawn(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss,g_loss\n1,nan,0\n2,inf,0\n3,-1,0\n")
    made = explore.training(tmp_path, follow=False)
    assert made.message == ""
    assert made.charts["Training"].axes.get_yscale() == "linear"


# Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1
NO_GREEN = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
NO_RED = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]


@pytest.mark.parametrize("eyes", [np.eye(3), NO_GREEN, NO_RED], ids=["all", "deutan", "protan"])
def test_curves_differ_for_colour_blind_eyes(eyes):
    tones = sys.modules["medsr_lib.show.explore.training"].TONES
    shares = np.array([getrgb(tone) for tone in tones]) / 255
    linear = np.where(shares > 0.04045, ((shares + 0.055) / 1.055) ** 2.4, shares / 12.92)
    seen = np.clip(linear @ np.transpose(eyes), 0, 1)
    seen = np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)
    lab = color.rgb2lab(seen)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 10
