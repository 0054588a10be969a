import itertools
import multiprocessing
import os
import random
import signal
import time
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from states import identical, state_in
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from medsr_lib.restore import degrade
from medsr_lib.restore.networks import losses
from medsr_lib.restore.networks.sr import Discriminator, LesionClassifier, SRResNet
from medsr_lib.restore.training import checkpoint, fit, loop
from medsr_lib.restore.training.batches import Crops, as_packed
from medsr_lib.restore.training.engine import Engine, Speed

STEPS = 12
PARTS = ("generator", "discriminator", "average")
halve = degrade.by_name("bicubic", scale=2)


pytestmark = pytest.mark.usefixtures("one_thread")


def generator_of(seed, **arguments):
    """A generator whose SR is nearly grey, and so not 10 dB under bicubic."""
    torch.manual_seed(seed)
    generator = SRResNet(scale=2, blocks=1, width=4, **arguments)
    nn.init.normal_(generator.last.weight, std=0.01)
    nn.init.constant_(generator.last.bias, 0.5)
    return generator


def discriminator_of(seed, **arguments):
    torch.manual_seed(seed)
    return Discriminator(**({"size": 16, "width": 4} | arguments))


@pytest.fixture
def train(random_images):
    """`train(path, **changes)` -> networks and history of a toy training that starts alike."""

    def run(path=None, *, generator=None, discriminator=None, **changes):
        networks = SimpleNamespace(
            generator=generator or generator_of(7),
            discriminator=discriminator or discriminator_of(1),
        )
        arguments = {
            "degrade": halve,
            "content": F.l1_loss,
            "content_weight": 1.0,
            "adversarial_weight": 0.01,
            "learning_rate": (1e-3, 1e-4),
            "steps": STEPS,
            "seed": 3,
            "batch": 4,
            "crop": 16,
            "validation": random_images(2, 24, 28, seed=9),
            "measures": {"l1": F.l1_loss},
            "validate_every": 5,
            "picture": halve(random_images(1, 24, 28, seed=8)),
            "device": "cpu",
            "progress": False,
        } | changes
        images = arguments.pop("images", random_images(5, 24, 28))
        networks.history = fit.fit_gan(
            networks.generator, networks.discriminator, images, checkpoint=path, **arguments
        )
        return networks

    return run


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow; in this process only


@pytest.fixture
def save_every_step(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)


@pytest.fixture
def tear(train, monkeypatch):
    """`tear(path, **changes)` begins a training that saves at every step and is interrupted."""

    def run(path, **changes):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "SAVE_EVERY", 0.0)
            with pytest.raises(KeyboardInterrupt):
                train(path, **changes)
        assert 0 < checkpoint.load(path)["step"] < STEPS

    return run


@pytest.fixture
def states(monkeypatch):
    """The checkpoints in the order in which they are saved; they are kept in memory."""
    saved = []
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "save", lambda path, state: saved.append(copied(state)))
    return saved


def copied(state):
    if isinstance(state, dict):
        return {k: copied(v) for k, v in state.items()}
    return state.clone() if isinstance(state, torch.Tensor) else state


def assert_same(a, b):
    """Networks and histories of two trainings are alike, bit for bit."""
    assert identical(a.generator.state_dict(), b.generator.state_dict())
    assert identical(a.discriminator.state_dict(), b.discriminator.state_dict())
    assert torch.equal(a.history.log, b.history.log)
    assert identical(a.history.pictures, b.history.pictures)
    assert identical(a.history.best, b.history.best)
    pd.testing.assert_frame_equal(a.history.validation, b.history.validation, check_exact=True)


def raises_at(call, function=F.l1_loss, error=KeyboardInterrupt):
    """A loss that raises at one of its calls; the first one is before the training."""
    calls = itertools.count()

    def loss(sr, hr):
        if next(calls) == call:
            raise error
        return function(sr, hr)

    loss.__name__ = function.__name__
    return loss


def test_history_of_a_whole_training(train):
    history = train().history
    assert history.done
    assert history.columns == fit.GAN_LOG
    assert history.table.columns.tolist() == ["step", *fit.GAN_LOG]
    assert history.table["step"].tolist() == list(range(1, STEPS + 1))
    assert history.validation.columns.tolist() == ["step", "mse", "l1"]
    assert history.validation["step"].tolist() == [5, 10, STEPS]
    assert history.best_step == STEPS
    assert torch.equal(history.losses, history.log[:, 0])


def test_pictures_of_the_beginning_and_of_every_validation(train):
    pictures = train().history.pictures
    assert list(pictures) == [0, 5, 10, STEPS]
    assert all(p.shape == (1, 1, 24, 28) and p.dtype == torch.float32 for p in pictures.values())
    assert not torch.equal(pictures[0], pictures[STEPS])


@pytest.mark.parametrize("changes", [{}, {"validation": None}, {"picture": None}])
def test_validation_and_picture_do_not_change_the_training(train, changes):
    a, b = train(), train(**changes)
    assert torch.equal(a.history.log, b.history.log)
    assert identical(a.generator.state_dict(), b.generator.state_dict())


@pytest.mark.parametrize(
    "torn",
    [
        {"content": raises_at(2)},
        {"content": raises_at(6)},
        {"content": raises_at(STEPS)},
        {"measures": {"l1": raises_at(1)}},  # amidst the first validation
    ],
    ids=["step 2", "step 6", "last step", "validation"],
)
def test_continues_bit_for_bit_after_an_interruption(train, tear, tmp_path, torn):
    whole = train(tmp_path / "whole.pt")
    tear(tmp_path / "torn.pt", **torn)
    continued = train(tmp_path / "torn.pt")
    assert identical(state_in(tmp_path / "torn.pt"), state_in(tmp_path / "whole.pt"))
    assert_same(continued, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": Speed(channels_last=True)},
        {"speed": Speed(precision="bfloat16")},
        {"speed": Speed(precision="float16")},
        {"log_every": 5},
        {"clip": None, "ramp_up": 8, "pixel_weight": 0.5},
    ],
    ids=["channels_last", "bfloat16", "float16", "log_every", "no clip"],
)
def test_continues_bit_for_bit_with_other_settings(train, tear, tmp_path, changes):
    whole = train(tmp_path / "whole.pt", **changes)
    tear(tmp_path / "torn.pt", **changes, content=raises_at(8))
    assert_same(train(tmp_path / "torn.pt", **changes), whole)
    assert identical(state_in(tmp_path / "torn.pt"), state_in(tmp_path / "whole.pt"))


def test_continues_bit_for_bit_without_normalisation(train, tear, tmp_path):
    whole = train(discriminator=discriminator_of(1, norm=None))
    torn = {"discriminator": discriminator_of(1, norm=None), "content": raises_at(8)}
    tear(tmp_path / "a.pt", **torn)
    assert_same(train(tmp_path / "a.pt", discriminator=discriminator_of(1, norm=None)), whole)


def test_goes_on_with_weights_laid_out_otherwise_in_memory(train, tear, tmp_path):
    whole = train()
    tear(tmp_path / "a.pt", speed=Speed(channels_last=True), content=raises_at(8))
    continued = train(tmp_path / "a.pt")
    torch.testing.assert_close(continued.history.log, whole.history.log, rtol=1e-4, atol=1e-5)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for `clock.slow_loss`, which takes a second a call."""
    fake = SimpleNamespace(now=0.0)

    def l1_loss(sr, hr):
        fake.now += 1.0
        return F.l1_loss(sr, hr)

    fake.slow_loss = l1_loss
    monkeypatch.setattr(
        "medsr_lib.restore.training.clock.time", SimpleNamespace(monotonic=lambda: fake.now)
    )
    monkeypatch.setattr("medsr_lib.restore.training.clock.session_age", lambda: 0.0)
    return fake


def test_continues_bit_for_bit_after_running_out_of_hours(train, tmp_path, clock):
    whole, done = train(tmp_path / "whole.pt"), []
    while not done or done[-1] < STEPS:
        slow = {"content": clock.slow_loss, "hours": 6.5 / 3600}
        continued = train(tmp_path / "torn.pt", **slow)
        done.append(continued.history.steps_done)
    assert done == [5, 10, STEPS]  # the call before the training takes a second too
    assert identical(state_in(tmp_path / "torn.pt"), state_in(tmp_path / "whole.pt"))
    assert_same(continued, whole)


def test_the_same_seed_gives_the_same_training_and_another_gives_another(train):
    a, b, c = train(), train(), train(seed=4)
    assert_same(a, b)
    assert not torch.equal(a.history.log, c.history.log)


def test_a_done_checkpoint_returns_at_once_with_the_same_networks(train, tmp_path):
    first = train(tmp_path / "a.pt")
    written = (tmp_path / "a.pt").read_bytes()
    again = train(tmp_path / "a.pt", content=raises_at(1))
    assert_same(first, again)
    assert (tmp_path / "a.pt").read_bytes() == written


def test_the_discriminator_is_called_once_a_step_on_real_and_restored_together(
    train, random_images
):
    discriminator, given = discriminator_of(1), []
    discriminator.register_forward_pre_hook(
        lambda network, args: given.append(args[0].detach()) if network.training else None
    )
    train(discriminator=discriminator)
    crops = Crops(as_packed(random_images(5, 24, 28)), size=16, batch=4, seed=3)
    assert [batch.shape for batch in given] == [(8, 1, 16, 16)] * STEPS
    assert all(torch.equal(batch[:4], crops(step)) for step, batch in enumerate(given))
    assert all((batch[4:] - batch[:4]).abs().mean() < 0.2 for batch in given)


def test_both_networks_come_back_ready_the_generator_with_its_running_average(
    train, tmp_path, random_images
):
    trained = train(tmp_path / "a.pt")
    state = checkpoint.load(tmp_path / "a.pt")
    assert identical(dict(trained.generator.state_dict()), dict(state["average"]))
    assert not identical(dict(trained.generator.state_dict()), dict(state["generator"]))
    assert identical(trained.history.best, dict(state["average"]))
    assert not trained.generator.training
    assert not trained.discriminator.training
    loss = fit.mean_loss(
        trained.generator, random_images(2, 24, 28, seed=9), degrade=halve, loss=F.mse_loss
    )
    assert loss == trained.history.validation["mse"].iloc[-1]


@pytest.mark.parametrize("average", [0.0, 0.5, 0.999])
def test_the_running_average_is_the_weighted_one(train, tmp_path, states, average):
    train(tmp_path / "a.pt", average=average)
    expected = {k: v.double() for k, v in states[0]["generator"].items()}
    for step, state in enumerate(states[1 : STEPS + 1]):
        keep = min(average, (step + 1) / (step + 10))
        for name, value in state["generator"].items():
            counted = "running" in name or "num_batches" in name  # taken over as they are
            expected[name] = value if counted else keep * expected[name] + (1 - keep) * value
    found = states[STEPS]["average"]
    assert all(torch.allclose(found[k].double(), expected[k].double(), atol=1e-6) for k in found)


def by_hand(images, steps):
    """The training with the losses of both networks computed apart: rows of the log, networks."""
    g, d = generator_of(7, norm=None), discriminator_of(1, norm=None)
    of_g, of_d = (torch.optim.Adam(n.parameters(), lr=1e-3) for n in (g, d))
    crops, rows = Crops(as_packed(images), size=16, batch=4, seed=3), []
    for step in range(steps):
        hr = crops(step)
        sr = g(halve(hr))
        terms = [
            0.5 * F.mse_loss(sr, hr),
            1.0 * F.l1_loss(sr, hr),
            0.01 * F.softplus(-d(sr)).mean(),
        ]
        real, fake = d(hr), d(sr.detach())
        d_loss = (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
        rows.append([sum(terms), *terms, d_loss, real.sigmoid().mean(), fake.sigmoid().mean()])
        for_g = torch.autograd.grad(sum(terms), list(g.parameters()))
        for_d = torch.autograd.grad(d_loss, list(d.parameters()))
        for network, gradients in ((g, for_g), (d, for_d)):
            for parameter, gradient in zip(network.parameters(), gradients):
                parameter.grad = gradient
        of_g.step()
        of_d.step()
    return torch.tensor([[value.item() for value in row] for row in rows]), g, d


def test_losses_and_steps_are_those_computed_by_hand(train, random_images):
    rows, g, d = by_hand(random_images(5, 24, 28), 3)
    settings = {"steps": 3, "pixel_weight": 0.5, "learning_rate": (1e-3, 1e-3), "average": 0.0}
    networks = {
        "generator": generator_of(7, norm=None),
        "discriminator": discriminator_of(1, norm=None),
    }
    trained = train(**networks, **settings, clip=None)
    torch.testing.assert_close(trained.history.log, rows, atol=1e-6, rtol=1e-5)
    for ours, theirs in ((trained.generator, g), (trained.discriminator, d)):
        for a, b in zip(ours.parameters(), theirs.parameters()):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_without_an_adversarial_loss_the_discriminator_does_not_reach_the_generator(train):
    a, b = (train(adversarial_weight=0.0, discriminator=discriminator_of(s)) for s in (1, 2))
    assert identical(a.generator.state_dict(), b.generator.state_dict())
    assert not identical(a.discriminator.state_dict(), b.discriminator.state_dict())


def test_the_generators_losses_move_no_weight_of_the_discriminator(train):
    nothing = {"learning_rate": (0.0, 0.0), "discriminator": discriminator_of(1)}
    weights = copied(dict(discriminator_of(1).named_parameters()))
    found = train(**nothing, adversarial_weight=1e3).discriminator
    assert identical(dict(found.named_parameters()), weights)
    assert all(p.grad is None or p.grad.norm() < 10 for p in found.parameters())


def test_the_generator_stands_still_without_losses_while_the_discriminator_learns(
    train,
):
    found = train(content_weight=0.0, adversarial_weight=0.0)
    weights = dict(generator_of(7).named_parameters())
    assert identical(dict(found.generator.named_parameters()), weights)
    d_loss = found.history.table["discriminator_loss"]
    assert d_loss.iloc[-1] < d_loss.iloc[0]


def test_the_adversarial_weight_ramps_up(train):
    still = {"learning_rate": (0.0, 0.0)}
    full = train(**still).history.table["adversarial_loss"].to_numpy()
    ramped = train(**still, ramp_up=8).history.table["adversarial_loss"].to_numpy()
    assert ramped / full == pytest.approx([min(1, (i + 1) / 8) for i in range(STEPS)])


@pytest.mark.parametrize(("steps", "first"), [(4, 2), (5, 3)])
def test_the_learning_rate_changes_after_half_of_the_steps(train, monkeypatch, steps, first):
    rates, descend = [], Engine.descend

    def spy(self, loss, optimiser, *, rate, **others):
        rates.append(rate)
        descend(self, loss, optimiser, rate=rate, **others)

    monkeypatch.setattr(Engine, "descend", spy)
    train(steps=steps, learning_rate=(1e-3, 1e-4))
    assert rates == [1e-3] * 2 * first + [1e-4] * 2 * (steps - first)


@pytest.mark.parametrize(("clip", "holds"), [(0.01, True), (None, False)])
def test_long_gradients_are_shortened(train, clip, holds):
    norms = []

    def note(optimiser, args, kwargs):
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    handle = register_optimizer_step_pre_hook(note)
    train(clip=clip)
    handle.remove()
    assert len(norms) == 2 * STEPS
    assert all(norm < 0.01 * 1.0001 for norm in norms) == holds


def test_a_row_of_the_log_is_the_mean_of_its_steps(train):
    each, rows = train().history, train(log_every=5).history
    expected = torch.stack([part.mean(0) for part in each.log.split(5)])  # 5, 5 and 2 steps
    torch.testing.assert_close(rows.log, expected)
    assert rows.table["step"].tolist() == [5, 10, STEPS]


def test_an_unfinished_row_is_the_mean_of_the_steps_so_far(train, clock):
    each = train().history
    part = train(log_every=5, content=clock.slow_loss, hours=8.5 / 3600).history
    assert part.steps_done == 7
    assert part.table["step"].tolist() == [5, 7]
    torch.testing.assert_close(part.log[1], each.log[5:7].mean(0))


def not_finite(sr, hr):
    return F.l1_loss(sr, hr) * torch.nan


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    train, tmp_path, save_every_step
):
    calls = itertools.count()
    content = lambda sr, hr: (not_finite if next(calls) >= 6 else F.l1_loss)(sr, hr)  # noqa: E731
    with pytest.raises(fit.Diverged, match="generator loss became NaN or infinite before step 6"):
        train(tmp_path / "a.pt", content=content)
    state = checkpoint.load(tmp_path / "a.pt")
    assert state["step"] == 5
    assert all(w.isfinite().all() for part in PARTS for w in state[part].values())


class Oracle(nn.Module):
    """A discriminator that is always right, and so sure of it; it learns nothing."""

    def __init__(self, sure):
        super().__init__()
        self.weight, self.sure = nn.Parameter(torch.ones(1)), sure

    def forward(self, images):
        logits = torch.full((len(images), 1), self.sure)
        logits[len(images) // 2 :] *= -1
        return logits + 0 * self.weight + 0 * images.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("log_every", [1, 2])
def test_a_discriminator_that_is_always_right_ends_the_training(
    train, tmp_path, save_every_step, log_every
):
    saturated = {"saturated": 4, "log_every": log_every, "discriminator": Oracle(sure=5.0)}
    with pytest.raises(fit.Diverged, match=r"for 4 steps, up to step 4:.*narrower discriminator"):
        train(tmp_path / "a.pt", **saturated)
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"saturated": STEPS + 1, "discriminator": Oracle(sure=5.0)},
        {"saturated": 4, "discriminator": Oracle(sure=4.0)},  # 98.2 %
        {"saturated": 1, "log_every": 5},
    ],
    ids=["too few steps", "not so sure", "rows longer than that"],
)
def test_another_discriminator_does_not_end_the_training(train, changes):
    assert train(**changes).history.done


@pytest.fixture
def white():
    """A generator whose SR is white."""
    generator = generator_of(7)
    nn.init.zeros_(generator.last.weight)
    nn.init.ones_(generator.last.bias)
    return generator


def test_a_generator_far_worse_than_bicubic_ends_the_training(
    train, tmp_path, save_every_step, white
):
    with pytest.raises(fit.Diverged, match=r"PSNR is [12]\d\.\d dB under bicubic.*pretrain"):
        train(tmp_path / "a.pt", generator=white, learning_rate=(0.0, 0.0))
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 4  # the validation is after step 5


def pretrain(**hours):
    """The history of a training of 4 steps."""
    arguments = {"steps": 4, "seed": 0, "batch": 4, "crop": 16, "device": "cpu", "progress": False}
    return fit.fit(generator_of(7), torch.rand(4, 1, 16, 16), degrade=halve, **arguments, **hours)


@pytest.mark.filterwarnings("ignore:no time for a single step of training")
def test_an_unfinished_pretraining_leaves_no_checkpoint(train, tmp_path):
    with pytest.warns(UserWarning, match="no time for a single step of adversarial training: 0 of"):
        found = train(tmp_path / "a.pt", after=pretrain(hours=1e-12))
    assert found.history.steps_done == len(found.history.table) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_finished_pretraining_is_gone_on_from(train):
    assert train(after=pretrain(), hours=100.0).history.done


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"steps": 2},
        {"batch": 3},
        {"crop": 18, "discriminator": discriminator_of(1, size=18)},
        {"degrade": partial(degrade.blur, scale=2, sigma=1.0)},
        {"content": F.mse_loss},
        {"pixel_weight": 0.1},
        {"content_weight": 0.1},
        {"adversarial_weight": 0.1},
        {"learning_rate": (1e-3, 1e-3)},
        {"ramp_up": 2},
        {"average": 0.9},
        {"clip": None},
        {"validate_every": 4},
        {"log_every": 2},
        {"validation": None},
        {"measures": {"l2": F.mse_loss}},
        {"images": torch.full((5, 1, 24, 28), 0.5)},
        {"discriminator": discriminator_of(1, norm=None)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_refuses_a_checkpoint_of_another_configuration(train, tmp_path, change):
    train(tmp_path / "a.pt", steps=1)
    written, name = (tmp_path / "a.pt").read_bytes(), next(iter(change))
    with pytest.raises(ValueError, match=rf"another configuration; it differs in .*{name}"):
        train(tmp_path / "a.pt", **({"steps": 1} | change))
    assert (tmp_path / "a.pt").read_bytes() == written


def test_refuses_a_checkpoint_that_began_with_other_weights(train, tmp_path, white):
    train(tmp_path / "a.pt", steps=1)
    for other in ({"generator": white}, {"discriminator": discriminator_of(2)}):
        with pytest.raises(ValueError, match="it differs in beginning"):
            train(tmp_path / "a.pt", steps=1, **other)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch": 6}, "6 crops is to come from as many slices, but there are only 5"),
        ({"crop": 25}, "crop 25 does not fit: the smallest image measures 24 pixels"),
        ({"crop": 17}, r"crops of \(17, 17\).*multiple of the scale"),
        ({"crop": 18}, "this discriminator is for crops of 16 x 16, got 18 x 18"),
        ({"degrade": degrade.by_name("bicubic", scale=4)}, "network and degradation of one scale"),
        ({"hours": 0}, "hours must be positive"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"validate_every": 0}, "validate_every must be at least 1, got 0"),
        ({"log_every": 0}, "log_every must be at least 1, got 0"),
        ({"saturated": 0}, "saturated must be at least 1, got 0"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_refuses_what_does_not_fit_and_leaves_no_checkpoint(train, tmp_path, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(tmp_path / "a.pt", **change)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def content():
    torch.manual_seed(5)
    classifier = LesionClassifier(classes=("a", "b"), width=2)
    return losses.Content(classifier.features, name="toy")


def test_trains_with_the_features_of_a_classifier(train, random_images, content):
    arguments = {"images": random_images(5, 32, 36), "crop": 32, "content": content}
    arguments |= {"discriminator": discriminator_of(1, size=32), "measures": {"content": content}}
    before = repr(content)
    history = train(**arguments, validation=random_images(1, 36, 36)).history
    assert history.validation.columns.tolist() == ["step", "mse", "content"]
    assert history.done
    assert repr(content) == before  # the fingerprint of its weights is in there


def test_refuses_crops_that_the_features_do_not_take(train, tmp_path, content):
    with pytest.raises(ValueError, match="images must be at least 32 x 32, got 16 x 16"):
        train(tmp_path / "a.pt", content=content)
    assert list(tmp_path.iterdir()) == []


TORTURED = """
import threading, torch
from functools import partial
from medsr_lib.restore import degrade, fit, networks, training
from tqdm import tqdm

tqdm.set_lock(threading.RLock())  # its own one, between processes, would outlive a killed process
torch.set_num_threads(1)
loop.SAVE_EVERY = save_every
torch.manual_seed(7)
arguments = {
    "degrade": partial(degrade.blur, scale=2, sigma=1.0), "steps": 120, "seed": 1, "batch": 4,
    "crop": 16, "validate_every": 9, "checkpoint": path, "progress": False, "device": "cpu",
}
images = torch.rand(4, 1, 32, 32)
generator = networks.SRResNet(scale=2, blocks=1, width=4)
discriminator = networks.Discriminator(size=16, width=4)
if function == "fit":
    fit.fit(generator, images, validation=images[:1], **arguments)
else:
    fit.fit_gan(generator, discriminator, images, content=torch.nn.functional.l1_loss,
                picture=images[:1, :, :9, :9], log_every=7, **arguments)
"""


@pytest.fixture
def start():
    """`start(function, path)` begins a training in another process, where torch is loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medsr_lib.restore.training.fit", "torch._dynamo"])

    def begin(function, path, save_every):
        given = {"function": function, "path": str(path), "save_every": save_every}
        process = context.Process(target=exec, args=(TORTURED, given))
        process.start()
        return process

    return begin


def kill_soon(process, folder, seconds):
    """SIGKILL so many seconds after the process has begun to write."""
    before = set(folder.iterdir())
    while process.is_alive() and set(folder.iterdir()) == before:
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.parametrize("function", ["fit", "fit_gan"])
def test_continues_bit_for_bit_after_kill_9_at_20_moments(tmp_path, start, function):
    torn, whole = tmp_path / "torn.pt", tmp_path / "whole.pt"
    start(function, whole, save_every=1e9).join()
    draw, steps, killed, while_writing = random.Random(0), [0], 0, 0
    for _ in range(20):
        leftovers = len(list(tmp_path.glob(".*.tmp")))
        process = start(function, torn, save_every=0.0)
        killed += kill_soon(process, tmp_path, draw.uniform(0, 0.15))
        steps.append((checkpoint.load(torn) or {"step": 0})["step"])
        while_writing += len(list(tmp_path.glob(".*.tmp"))) > leftovers
    start(function, torn, save_every=0.0).join()
    assert sorted(steps) == steps
    assert killed >= 3
    assert while_writing >= 1
    assert identical(state_in(torn), state_in(whole))
