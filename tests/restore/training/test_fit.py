import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from states import (
    files_of_at_most,
    identical,
    interrupt,
    resumed_bit_for_bit,
    same_end,
    saved_at_every_step,
)

from medsr_lib.case import digests, trained_on
from medsr_lib.restore import degrade
from medsr_lib.restore.networks import ESPCN
from medsr_lib.restore.training import checkpoint, fit, loop
from medsr_lib.restore.training.fit import Recipe

STEPS = 20
halve = degrade.by_name("bicubic", scale=2)
UNSTEADY = {"recipe": Recipe(4, (0.02, 0.02)), "validate_every": 1}


@pytest.fixture
def held_out(random_images):
    return random_images(2, 24, 28, seed=9)


@pytest.fixture
def train(random_images, held_out):
    """`train(path, **changes)` -> (network, history) of a toy training that always starts alike."""

    def run(path=None, **changes):
        torch.manual_seed(7)
        network = ESPCN(scale=2)
        arguments = {
            "degrade": halve,
            "steps": STEPS,
            "seed": 3,
            "recipe": Recipe(batch=4),
            "crop": 16,
            "validation": held_out,
            "validate_every": 5,
            "device": "cpu",
            "progress": False,
        }
        images = changes.pop("images", random_images(5, 32, 40))
        return network, fit.fit(network, images, checkpoint=path, **(arguments | changes))

    return run


def loss_of(network, images):
    measures = {"loss": F.mse_loss}
    return fit.evaluate(network, images, degrade=halve, measures=measures)["loss"]


def test_a_network_knows_by_which_images_it_was_trained(train, random_images, held_out):
    images = random_images(5, 32, 40)
    network, _ = train(steps=1, images=images)
    assert trained_on(network) == digests(images) | digests(held_out)
    assert len(trained_on(train(steps=1, images=images[:4], validation=None)[0])) == 4


def test_a_validation_image_that_is_trained_on_is_refused(train, random_images, held_out):
    with pytest.raises(ValueError, match="2 of 2 validation images are trained on, too"):
        train(images=[*random_images(3, 32, 40), *held_out])


@pytest.mark.parametrize("former", [True, False])
def test_a_full_disk_stops_the_training_by_that_name(train, tmp_path, former):
    path = tmp_path / "a.pt"
    if former:
        interrupt(train, path, step=3)
    before = path.read_bytes() if former else b""
    kept = "the former file is kept" if former else "nothing was written"
    with files_of_at_most(1000), pytest.raises(OSError, match=rf"disk full, .*a\.pt .*; {kept}"):
        train(path)
    assert before == (path.read_bytes() if former else b"")
    assert path.exists() == former
    assert not list(tmp_path.glob(".*"))


def test_loss_falls(train):
    losses = train(steps=150)[1].table["loss"]
    assert losses[-10:].mean() < 0.3 * losses[:10].mean()


def test_history_of_a_whole_training(train):
    _, history = train()
    assert history.done
    assert history.steps_done == history.steps == STEPS
    assert history.epochs_done == STEPS * 4 / 5
    assert history.validation["step"].tolist() == [5, 10, 15, 20]
    assert history.table.columns.tolist() == ["step", "loss"]
    assert history.table["step"].tolist() == list(range(1, STEPS + 1))
    assert 0 < history.step_share <= 1
    assert "20 of 20 steps, 16.0 epochs" in repr(history)
    assert "done" in repr(history)


def test_measures_and_a_watched_image_change_nothing_in_the_training(train, random_images):
    picture = torch.zeros(1, 1, 8, 8)
    watched, history = train(measures={"mse": F.mse_loss}, picture=picture)
    assert list(history.validation) == ["step", "loss", "mse"]
    assert history.validation["mse"].equals(history.validation["loss"].rename("mse"))
    assert list(history.pictures) == [0, 5, 10, 15, 20]
    assert history.pictures[0].shape == (1, 1, 16, 16)
    assert identical(dict(watched.state_dict()), dict(train()[0].state_dict()))


def test_the_same_seed_gives_the_same_training_and_another_gives_another(train):
    (a, _), (b, _), (c, _) = train(), train(), train(seed=4)
    assert identical(a.state_dict(), b.state_dict())
    assert not identical(a.state_dict(), c.state_dict())


@pytest.mark.parametrize(
    "interruption",
    [
        {"step": 2},
        {"step": 10, "during": "_evaluate"},
        {"step": 12, "during": "_save"},
        {"step": 19},
    ],
    ids=str,
)
def test_resumes_bit_for_bit_after_an_interruption(train, tmp_path, interruption):
    resumed_bit_for_bit(train, tmp_path, **interruption)


def test_resumes_bit_for_bit_with_noise_in_lr(train, tmp_path):
    noisy = degrade.by_name("bicubic", scale=2, noise=0.02, seed=1)
    resumed_bit_for_bit(partial(train, degrade=noisy), tmp_path, step=12)
    (a, _), (b, _) = train(degrade=noisy), train()
    assert not identical(a.state_dict(), b.state_dict())


def test_resumes_bit_for_bit_after_running_out_of_hours(train, tmp_path, clock):
    network, _ = train(tmp_path / "whole.pt", loss=F.l1_loss)
    done = []
    while not done or done[-1] < STEPS:
        again, history = train(tmp_path / "a.pt", loss=clock.slow(F.l1_loss), hours=12.5 / 3600)
        done.append(history.steps_done)
    assert done == [8, 15, STEPS]
    assert same_end(tmp_path / "whole.pt", tmp_path / "a.pt", [network], [again])


@pytest.mark.filterwarnings("ignore:no time for a single step of training")
def test_a_further_training_waits_for_the_one_before_to_be_done(train, tmp_path):
    _, first = train(hours=1e-12)
    _, history = train(tmp_path / "b.pt", after=first)
    assert (history.steps, history.steps_done, history.done) == (STEPS, 0, False)
    assert list(tmp_path.iterdir()) == []
    _, first = train()
    assert train(tmp_path / "b.pt", after=first)[1].done


@pytest.mark.parametrize("seconds", [3.5, 10.5, 20.5, 27.0])
def test_hours_stops_before_the_limit(train, clock, seconds):
    _, history = train(loss=clock.slow(F.mse_loss), hours=seconds / 3600)
    assert not history.done
    assert "to be continued" in repr(history)
    assert seconds - 4 <= clock.now <= seconds  # a step takes 1 s, a validation 2 s


def test_no_time_at_all_leaves_no_checkpoint(train, tmp_path):
    with pytest.warns(UserWarning, match="no time for a single step of training: 0 of 20 taken"):
        _, history = train(tmp_path / "a.pt", hours=1e-12)
    assert history.steps_done == 0
    assert not (tmp_path / "a.pt").exists()


def test_seconds_add_up_over_sessions(train, tmp_path, clock):
    _, first = train(tmp_path / "a.pt", loss=clock.slow(F.mse_loss), hours=10.5 / 3600)
    _, second = train(tmp_path / "a.pt", loss=clock.slow(F.mse_loss))
    assert second.seconds == clock.now == STEPS + 4 * 2
    assert second.seconds > first.seconds > 5


def test_a_done_checkpoint_returns_at_once_with_the_same_weights(train, tmp_path):
    trained, first = train(tmp_path / "a.pt", **UNSTEADY)
    written = (tmp_path / "a.pt").read_bytes()
    network, again = train(tmp_path / "a.pt", **UNSTEADY)
    assert again.done
    assert again.best_step == first.best_step < STEPS
    assert identical(network.state_dict(), trained.state_dict())
    assert (tmp_path / "a.pt").read_bytes() == written


def test_the_network_comes_back_ready_in_the_state_of_the_lowest_validation(train, held_out):
    network, history = train(**UNSTEADY)
    lowest = history.validation.loc[history.validation["loss"].idxmin()]
    assert history.best_step == lowest["step"] < STEPS
    assert not network.training
    assert loss_of(network, held_out) == lowest["loss"]


def test_without_validation_the_last_state_is_kept(train, tmp_path):
    network, history = train(tmp_path / "a.pt", validation=None)
    assert history.best_step == STEPS
    assert not network.training
    assert identical(
        dict(network.state_dict()), dict(checkpoint.load(tmp_path / "a.pt")["network"])
    )


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seed": 4}, "seed"),
        ({"steps": STEPS + 1}, "steps"),
        ({"recipe": Recipe(batch=3)}, "batch"),
        ({"recipe": Recipe(4, (1e-3, 1e-5))}, "learning_rate"),
        ({"recipe": Recipe(4, clip=1.0)}, "clip"),
        ({"crop": 18}, "crop"),
        ({"loss": F.l1_loss}, "loss"),
        ({"validate_every": 8}, "validate_every"),
        ({"validation": None}, "validation"),
        ({"degrade": degrade.by_name("blur", scale=2)}, "degrade"),
        ({"images": torch.full((5, 1, 32, 40), 0.5)}, "images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses_a_checkpoint_of_another_configuration(train, tmp_path, change, differs):
    train(tmp_path / "a.pt")
    written = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(ValueError, match=rf"a\.pt.*it differs in {differs}\. Nothing was changed"):
        train(tmp_path / "a.pt", **change)
    assert (tmp_path / "a.pt").read_bytes() == written


def test_names_every_differing_setting_with_both_values(train, tmp_path):
    train(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"seed, batch(?s:.*)seed: 3 in the file, 5 asked for"):
        train(tmp_path / "a.pt", seed=5, recipe=Recipe(batch=2))


def test_refuses_a_damaged_checkpoint(train, tmp_path):
    train(tmp_path / "a.pt")
    half = (tmp_path / "a.pt").read_bytes()[:5000]
    (tmp_path / "a.pt").write_bytes(half)
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged"):
        train(tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == half


def from_call(first, change):
    """The squared error, changed from one of its calls on."""
    calls = itertools.count(1)
    return lambda sr, hr: F.mse_loss(sr, hr) if next(calls) < first else change(sr, hr)


def infinite_slope(sr, hr):
    """A finite loss whose gradient is not: the square root at 0."""
    return F.mse_loss(sr, hr) + (sr - sr.detach()).abs().sqrt().mean()


@pytest.mark.parametrize(
    ("change", "what"),
    [(lambda sr, hr: F.mse_loss(sr, hr) * torch.nan, "the loss"), (infinite_slope, "a weight")],
)
def test_what_is_no_number_stops_and_keeps_the_last_good_state(train, tmp_path, change, what):
    with (
        saved_at_every_step(),
        pytest.raises(
            loop.Diverged, match=rf"{what} became NaN or infinite before step 6; .* good"
        ),
    ):
        train(tmp_path / "a.pt", loss=from_call(6, change), validation=None)
    state = checkpoint.load(tmp_path / "a.pt")
    assert state["step"] == 5
    assert all(w.isfinite().all() for w in state["network"].values())


def test_a_loss_that_is_no_number_stops_without_a_checkpoint_too(train):
    with pytest.raises(loop.Diverged, match="NaN or infinite"):
        train(loss=from_call(STEPS, lambda sr, hr: F.mse_loss(sr, hr) * torch.nan), validation=None)


def test_a_training_that_blows_up_stops(train):
    blown_up = from_call(9, lambda sr, hr: 1e6 * F.mse_loss(sr, hr))
    with pytest.raises(loop.Diverged, match=r"after step 10 and has been .*blown up.*`clip`"):
        train(loss=blown_up)


def test_a_checkpoint_holds_no_more_of_the_log_than_there_is(train, tmp_path):
    interrupt(lambda path: train(path, steps=90_000), tmp_path / "a.pt", step=2)
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 2
    assert (tmp_path / "a.pt").stat().st_size < 90_000 * 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hours": 0}, "hours must be positive"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"validate_every": 0}, "validate_every must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"recipe": Recipe(batch=6)}, "6 crops is to come from as many images, but there are on"),
        ({"crop": 15}, r"crops of \(15, 15\).*multiple of the scale"),
        ({"degrade": degrade.by_name("bicubic", scale=4)}, "network and degradation of one scale"),
        ({"images": torch.full((1, 1, 32, 32), 1.5)}, r"images\[0\]: expected values in \[0, 1\]"),
        ({"images": torch.full((1, 1, 32, 32), torch.nan)}, "NaN or infinite"),
        ({"images": torch.zeros(0, 1, 32, 32)}, "no images to train on"),
        ({"images": torch.zeros(1, 1, 12, 32)}, "crop 16 does not fit"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_refuses_what_does_not_fit_and_leaves_no_checkpoint(train, tmp_path, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(tmp_path / "a.pt", **change)
    assert list(tmp_path.iterdir()) == []


def test_refuses_integer_images(train):
    with pytest.raises(TypeError, match="expected floating point"):
        train(images=torch.zeros(1, 1, 32, 32, dtype=torch.int16))


def test_evaluation_weighs_images_alike_and_leaves_the_network_in_training(random_images):
    network = ESPCN(scale=2).train()
    images = [random_images(1, 16, 16)[0], random_images(1, 33, 40, seed=1)[0]]
    each = [loss_of(network, [image]) for image in images]
    assert loss_of(network, images) == pytest.approx(sum(each) / 2, rel=1e-6)
    assert network.training


def test_evaluation_is_that_of_the_clipped_output():
    network = ESPCN(scale=2).train()
    torch.nn.init.zeros_(network.conv3.weight)
    torch.nn.init.constant_(network.conv3.bias, 2.0)  # all white, once clipped
    assert loss_of(network, torch.full((1, 1, 16, 16), 0.7)) == pytest.approx(0.3**2)


def test_cosine_begins_ends_and_halves_where_it_should():
    rates = [fit.cosine(progress, 1e-2, 1e-4) for progress in (0, 0.5, 1)]
    assert rates == pytest.approx([1e-2, (1e-2 + 1e-4) / 2, 1e-4])


def test_clipping_shortens_the_step(train):
    free, clipped, still = (
        torch.cat([w.flatten() for w in train(steps=1, recipe=Recipe(4, *of))[0].parameters()])
        for of in (((2e-3, 1e-5), None), ((2e-3, 1e-5), 1e-12), ((0.0, 0.0), None))
    )  # the second far below Adam's eps
    assert (clipped - still).abs().sum() < 0.01 * (free - still).abs().sum()
