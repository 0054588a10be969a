import itertools
import os
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from states import identical, state_in

from medsr_lib.restore import degrade
from medsr_lib.restore.networks.sr import ESPCN
from medsr_lib.restore.training import checkpoint, fit, loop

STEPS = 20
halve = degrade.by_name("bicubic", scale=2)


@pytest.fixture
def train(random_images):
    """`train(path, **changes)` -> (network, history) of a toy training that always starts alike."""

    def run(path=None, **changes):
        torch.manual_seed(7)
        network = ESPCN(scale=2)
        arguments = {
            "degrade": halve,
            "steps": STEPS,
            "seed": 3,
            "batch": 4,
            "crop": 16,
            "validation": random_images(2, 24, 28, seed=9),
            "validate_every": 5,
            "device": "cpu",
            "progress": False,
        }
        images = changes.pop("images", random_images(5, 32, 40))
        return network, fit.fit(network, images, checkpoint=path, **(arguments | changes))

    return run


@pytest.fixture
def save_every_step(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and no power cut is meant


def raises_at(call, error):
    """A degradation that works like `halve` but raises at one of its calls."""
    calls = itertools.count()

    def shrink(hr):
        if next(calls) == call:
            raise error
        return halve(hr)

    return shrink


def test_loss_falls(train):
    _, history = train(steps=150)
    assert history.losses[-10:].mean() < 0.3 * history.losses[:10].mean()


def test_history_of_a_whole_training(train):
    _, history = train()
    assert history.done
    assert history.steps_done == history.steps == STEPS == len(history.losses)
    assert history.epochs_done == STEPS * 4 / 5
    assert history.validation["step"].tolist() == [5, 10, 15, 20]
    assert history.table["step"].tolist() == list(range(1, STEPS + 1))
    assert 0 < history.step_share <= 1
    assert "done" in repr(history)


def test_the_same_seed_gives_the_same_training_and_another_gives_another(train):
    (a, _), (b, _), (c, _) = train(), train(), train(seed=4)
    assert identical(a.state_dict(), b.state_dict())
    assert not identical(a.state_dict(), c.state_dict())


@pytest.mark.parametrize("call", [2, 6, 9, 25])  # of steps and of validations
def test_continues_bit_for_bit_after_an_interruption(train, tmp_path, save_every_step, call):
    shrink = raises_at(-1, None)
    expected, history = train(tmp_path / "whole.pt", degrade=shrink)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "torn.pt", degrade=raises_at(call, KeyboardInterrupt()))
    assert 0 < state_in(tmp_path / "torn.pt")["step"] < STEPS
    network, continued = train(tmp_path / "torn.pt", degrade=shrink)
    assert identical(state_in(tmp_path / "torn.pt"), state_in(tmp_path / "whole.pt"))
    assert identical(network.state_dict(), expected.state_dict())
    assert torch.equal(continued.losses, history.losses)
    assert continued.best_step == history.best_step
    pd.testing.assert_frame_equal(continued.validation, history.validation, check_exact=True)


def test_continues_bit_for_bit_after_running_out_of_hours(train, tmp_path, clock):
    train(tmp_path / "whole.pt", loss=F.l1_loss)
    done = []
    while not done or done[-1] < STEPS:
        _, history = train(tmp_path / "torn.pt", loss=clock.slow(F.l1_loss), hours=12.5 / 3600)
        done.append(history.steps_done)
    assert done == [8, 15, STEPS]
    assert identical(state_in(tmp_path / "torn.pt"), state_in(tmp_path / "whole.pt"))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for `clock.slow(loss)`, which takes a second a call."""
    fake = SimpleNamespace(now=0.0)

    def slow(loss):
        def slow_loss(sr, hr):
            fake.now += 1.0
            return loss(sr, hr)

        slow_loss.__name__ = loss.__name__
        return slow_loss

    fake.slow = slow
    monkeypatch.setattr(
        "medsr_lib.restore.training.clock.time", SimpleNamespace(monotonic=lambda: fake.now)
    )
    monkeypatch.setattr("medsr_lib.restore.training.clock.session_age", lambda: 0.0)
    return fake


@pytest.mark.parametrize("seconds", [3.5, 10.5, 20.5, 27.0])
def test_hours_stops_before_the_limit(train, clock, seconds):
    _, history = train(loss=clock.slow(F.mse_loss), hours=seconds / 3600)
    assert not history.done
    assert "to be continued" in repr(history)
    assert seconds - 4 <= clock.now <= seconds  # a step takes 1 s, a validation 2 s


@pytest.mark.parametrize("hours", [0, -1, float("nan")])
def test_refuses_hours_that_are_not_positive(train, hours):
    with pytest.raises(ValueError, match="hours must be positive"):
        train(hours=hours)


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
    unsteady = {"learning_rate": (0.02, 0.02), "validate_every": 1}
    trained, first = train(tmp_path / "a.pt", **unsteady)
    written = (tmp_path / "a.pt").read_bytes()
    network, again = train(tmp_path / "a.pt", **unsteady)
    assert again.done
    assert again.best_step == first.best_step < STEPS
    assert identical(network.state_dict(), trained.state_dict())
    assert identical(again.best, first.best)
    assert (tmp_path / "a.pt").read_bytes() == written


def test_best_is_the_state_of_the_lowest_validation(train, random_images):
    held_out = random_images(2, 24, 28, seed=9)
    network, history = train(learning_rate=(0.02, 0.02), validate_every=1, validation=held_out)
    lowest = history.validation.loc[history.validation["loss"].idxmin()]
    network.load_state_dict(history.best)
    assert history.best_step == lowest["step"] < STEPS
    assert fit.mean_loss(network, held_out, degrade=halve, loss=F.mse_loss) == lowest["loss"]


def test_without_validation_the_last_state_is_the_best(train):
    network, history = train(validation=None)
    assert history.best_step == STEPS
    assert identical(history.best, dict(network.state_dict()))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"steps": STEPS + 1},
        {"batch": 3},
        {"crop": 18},
        {"learning_rate": (1e-3, 1e-5)},
        {"loss": F.l1_loss},
        {"validate_every": 8},
        {"validation": None},
        {"degrade": partial(degrade.blur, scale=2, sigma=1.0)},
        {"images": torch.full((5, 1, 32, 40), 0.5)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_refuses_a_checkpoint_of_another_configuration(train, tmp_path, change):
    path = tmp_path / "a.pt"
    train(path)
    written = path.read_bytes()
    with pytest.raises(ValueError, match=rf"a\.pt.*differs in {next(iter(change))}\. Nothing was"):
        train(path, **change)
    assert path.read_bytes() == written


def test_names_every_differing_setting_with_both_values(train, tmp_path):
    train(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"seed, batch(?s:.*)seed: 3 in the file, 5 asked for"):
        train(tmp_path / "a.pt", seed=5, batch=2)


def test_refuses_a_damaged_checkpoint(train, tmp_path):
    train(tmp_path / "a.pt")
    written = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(written[: len(written) // 2])
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged"):
        train(tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == written[: len(written) // 2]


def not_finite_from(call):
    calls = itertools.count(1)
    return lambda sr, hr: F.mse_loss(sr, hr) * (torch.nan if next(calls) >= call else 1)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    train, tmp_path, save_every_step
):
    with pytest.raises(ValueError, match=r"loss became NaN or infinite before step 6; .*last good"):
        train(tmp_path / "a.pt", loss=not_finite_from(6))
    state = checkpoint.load(tmp_path / "a.pt")
    assert state["step"] == 5
    assert all(w.isfinite().all() for w in state["network"].values())


def infinite_slope_from(call):
    """A loss that stays finite while its gradient does not: the square root at 0."""
    calls = itertools.count(1)

    def loss(sr, hr):
        root = (sr - sr.detach()).abs().sqrt().mean() if next(calls) >= call else 0
        return F.mse_loss(sr, hr) + root

    return loss


def test_a_weight_that_is_no_number_is_never_saved(train, tmp_path, save_every_step):
    with pytest.raises(ValueError, match="weight became NaN or infinite before step 6"):
        train(tmp_path / "a.pt", loss=infinite_slope_from(6))
    state = checkpoint.load(tmp_path / "a.pt")
    assert state["step"] == 5
    assert all(w.isfinite().all() for w in state["network"].values())


def test_a_loss_that_is_no_number_stops_without_a_checkpoint_too(train):
    with pytest.raises(ValueError, match="NaN or infinite"):
        train(loss=not_finite_from(STEPS))


def test_refuses_a_batch_of_more_crops_than_there_are_slices(train, tmp_path):
    with pytest.raises(ValueError, match="6 crops is to come from as many slices, but there are o"):
        train(tmp_path / "a.pt", batch=6)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_holds_no_more_of_the_log_than_there_is(train, tmp_path, save_every_step):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a.pt", steps=100_000, degrade=raises_at(3, KeyboardInterrupt()))
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 2
    assert (tmp_path / "a.pt").stat().st_size < 100_000 * 4


def test_refuses_a_crop_that_the_scale_does_not_divide(train):
    with pytest.raises(ValueError, match=r"crops of \(15, 15\).*multiple of the scale"):
        train(crop=15)


def test_refuses_a_network_of_another_scale(train):
    with pytest.raises(ValueError, match="network and degradation of one scale"):
        train(degrade=degrade.by_name("bicubic", scale=4))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (torch.full((1, 1, 32, 32), 1.5), r"images\[0\]: expected values in \[0, 1\]"),
        (torch.full((1, 1, 32, 32), torch.nan), "NaN or infinite"),
        (torch.zeros(0, 1, 32, 32), "no images to train on"),
        (torch.zeros(1, 1, 12, 32), "crop 16 does not fit"),
    ],
)
def test_refuses_unusable_images(train, image, reason):
    with pytest.raises(ValueError, match=reason):
        train(images=image)


def test_refuses_integer_images(train):
    with pytest.raises(TypeError, match="expected floating point"):
        train(images=torch.zeros(1, 1, 32, 32, dtype=torch.int16))


def test_mean_loss_weighs_images_alike_and_leaves_the_network_in_training(random_images):
    network = ESPCN(scale=2).train()
    images = [random_images(1, 16, 16)[0], random_images(1, 33, 40, seed=1)[0]]
    each = [fit.mean_loss(network, [i], degrade=halve, loss=F.mse_loss) for i in images]
    both = fit.mean_loss(network, images, degrade=halve, loss=F.mse_loss)
    assert both == pytest.approx(sum(each) / 2, rel=1e-6)
    assert network.training


def test_mean_loss_is_that_of_the_clipped_output():
    network = ESPCN(scale=2).train()
    torch.nn.init.zeros_(network.conv3.weight)
    torch.nn.init.constant_(network.conv3.bias, 2.0)  # all white, once clipped
    images = torch.full((1, 1, 16, 16), 0.7)
    assert fit.mean_loss(network, images, degrade=halve, loss=F.l1_loss) == pytest.approx(0.3)


def test_cosine_begins_ends_and_halves_where_it_should():
    rates = [fit.cosine(progress, 1e-2, 1e-4) for progress in (0, 0.5, 1)]
    assert rates == pytest.approx([1e-2, (1e-2 + 1e-4) / 2, 1e-4])


def test_describe_names_a_degradation_with_its_settings():
    assert fit.describe(degrade.by_name("blur", scale=4)) == "blur(scale=4, sigma=2.0)"
    assert fit.describe(torch.nn.L1Loss()) == "L1Loss()"


def test_a_training_that_blows_up_stops(train, tmp_path):
    def fine_at_first(sr, hr):
        calls.append(1)
        return F.mse_loss(sr, hr) * (1 if len(calls) < 9 else 1e6)

    calls = []
    with pytest.raises(fit.Diverged, match=r"after step 10 and has been .*blown up.*`clip`"):
        train(tmp_path / "a.pt", loss=fine_at_first)


def test_clipping_shortens_the_step(train):
    (free, _), (clipped, _) = train(steps=1), train(steps=1, clip=1e-12)  # far below Adam's eps
    beginning, _ = train(steps=1, learning_rate=(0.0, 0.0))
    moved = [
        sum((a - b).abs().sum() for a, b in zip(n.parameters(), beginning.parameters())).item()
        for n in (free, clipped)
    ]
    assert moved[1] < 0.01 * moved[0]
