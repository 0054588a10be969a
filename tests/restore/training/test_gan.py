import itertools
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch
import torch.nn.functional as F
from states import (
    files_of_at_most,
    identical,
    resumed_bit_for_bit,
    same_end,
    saved_at_every_step,
)
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from medsr_lib.case import trained_on
from medsr_lib.restore import degrade
from medsr_lib.restore.networks import Discriminator, LesionClassifier, SRResNet, losses
from medsr_lib.restore.training import checkpoint, fit, gan, loop
from medsr_lib.restore.training.batches import Crops, as_packed
from medsr_lib.restore.training.engine import Engine, Precision
from medsr_lib.restore.training.fit import Recipe
from medsr_lib.restore.training.gan import Weights

STEPS = 12
PARTS = ("generator", "discriminator", "average")
STILL = Recipe(4, (0.0, 0.0))  # no weight moves
halve = degrade.by_name("bicubic", scale=2)


pytestmark = pytest.mark.usefixtures("one_thread")


def generator_of(seed, **arguments):
    """A generator whose SR is nearly grey, and so not 10 dB under bicubic."""
    torch.manual_seed(seed)
    generator = SRResNet(scale=2, blocks=1, width=4, **arguments)
    nn.init.normal_(generator.last.weight, std=0.01)
    nn.init.constant_(generator.last.bias, 0.5)
    return generator


def discriminator_of(seed, size=16):
    torch.manual_seed(seed)
    return Discriminator(size=size, width=4)


@pytest.fixture
def train(random_images):
    """`train(path, **changes)` -> (generator, discriminator, history), which starts alike."""

    def run(path=None, *, generator=None, discriminator=None, **changes):
        generator = generator or generator_of(7)
        discriminator = discriminator or discriminator_of(1)
        arguments = {
            "degrade": halve,
            "content": F.l1_loss,
            "weights": Weights(content=1.0, adversarial=0.01),
            "recipe": Recipe(4, (1e-3, 1e-4), clip=1.0),
            "steps": STEPS,
            "seed": 3,
            "crop": 16,
            "validation": random_images(2, 24, 28, seed=9),
            "measures": {"l1": F.l1_loss},
            "validate_every": 5,
            "picture": halve(random_images(1, 24, 28, seed=8)),
            "device": "cpu",
            "progress": False,
        } | changes
        images = arguments.pop("images", random_images(5, 24, 28))
        history = gan.fit_gan(generator, discriminator, images, checkpoint=path, **arguments)
        return generator, discriminator, history

    return run


def test_both_networks_know_by_which_images_they_were_trained(train):
    generator, discriminator, _ = train(steps=1)
    assert trained_on(generator) == trained_on(discriminator)
    assert len(trained_on(generator)) == 7


def test_a_full_disk_stops_the_training_by_that_name(train, tmp_path):
    with (
        files_of_at_most(1000),
        pytest.raises(OSError, match=r"disk full, .*; nothing was written"),
    ):
        train(tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_history_of_a_whole_training(train):
    *_, history = train()
    assert history.done
    assert history.table.columns.tolist() == ["step", *gan.COLUMNS]
    assert history.table["step"].tolist() == list(range(1, STEPS + 1))
    assert history.validation.columns.tolist() == ["step", "mse", "l1"]
    assert history.validation["step"].tolist() == [5, 10, STEPS]
    assert history.best_step == STEPS
    assert list(history.pictures) == [0, 5, 10, STEPS]
    shots = list(history.pictures.values())
    assert all(shot.shape == (1, 1, 24, 28) and shot.dtype == torch.float32 for shot in shots)
    assert not torch.equal(shots[0], shots[-1])


def test_the_same_seed_gives_the_same_training_and_another_gives_another(train):
    (a, _, first), (b, _, second), (*_, other) = train(), train(), train(seed=4)
    assert identical(a.state_dict(), b.state_dict())
    assert first.table.equals(second.table)
    assert not first.table.equals(other.table)


@pytest.mark.parametrize("changes", [{"validation": None}, {"picture": None}])
def test_validation_and_picture_do_not_change_the_training(train, changes):
    (a, _, first), (b, _, second) = train(), train(**changes)
    assert first.table.equals(second.table)
    assert identical(a.state_dict(), b.state_dict())


@pytest.mark.parametrize(
    ("step", "during", "changes"),
    [
        (1, "note", {}),
        (11, "note", {}),
        (5, "_evaluate", {}),
        (8, "note", {"precision": Precision(channels_last=True)}),
        (8, "note", {"precision": Precision("bfloat16")}),
        (8, "_save", {"precision": Precision("float16")}),
        (8, "note", {"weights": Weights(0.5, ramp_up=9), "recipe": Recipe(4, (1e-3, 1e-4))}),
        (8, "note", {"degrade": degrade.by_name("bicubic", scale=2, noise=0.02, seed=1)}),
    ],
    ids=str,
)
def test_resumes_bit_for_bit_after_an_interruption(train, tmp_path, step, during, changes):
    history = resumed_bit_for_bit(
        lambda path: train(path, **changes), tmp_path, step=step, during=during
    )
    again = train(tmp_path / "torn.pt", **changes)[-1]  # at once, since all is done
    assert identical(history.pictures, again.pictures)


def test_resumes_bit_for_bit_after_running_out_of_hours(train, tmp_path, clock):
    *networks, _ = train(tmp_path / "whole.pt")
    done = []
    while not done or done[-1] < STEPS:
        slow = {"content": clock.slow(F.l1_loss), "hours": 6.5 / 3600}
        *again, history = train(tmp_path / "a.pt", **slow)
        done.append(history.steps_done)
    assert done == [5, 10, STEPS]  # the call before the training takes a second too
    assert same_end(tmp_path / "whole.pt", tmp_path / "a.pt", networks, again)


def test_resumes_with_weights_laid_out_otherwise_in_memory(train, tmp_path, clock):
    whole = train()[-1].table
    slow = {"content": clock.slow(F.l1_loss), "hours": 6.5 / 3600}
    train(tmp_path / "a.pt", **slow, precision=Precision(channels_last=True))
    found = train(tmp_path / "a.pt")[-1].table
    torch.testing.assert_close(
        torch.tensor(found.to_numpy()), torch.tensor(whole.to_numpy()), rtol=1e-4, atol=1e-5
    )


def test_both_networks_come_back_ready_the_generator_with_its_running_average(
    train, tmp_path, random_images
):
    generator, discriminator, history = train(tmp_path / "a.pt")
    state = checkpoint.load(tmp_path / "a.pt")
    assert identical(dict(generator.state_dict()), dict(state["average"]))
    assert not identical(dict(generator.state_dict()), dict(state["generator"]))
    assert not generator.training
    assert not discriminator.training
    found = fit.evaluate(
        generator,
        random_images(2, 24, 28, seed=9),
        degrade=halve,
        measures={"mse": F.mse_loss},
    )
    assert found["mse"] == history.validation["mse"].iloc[-1]


@pytest.mark.parametrize("average", [0.0, 0.5, 0.999])
def test_the_running_average_is_the_weighted_one(train, tmp_path, monkeypatch, average):
    saved = []
    monkeypatch.setattr(gan, "AVERAGE", average)
    with saved_at_every_step() as patch:
        patch.setattr(checkpoint, "save", lambda path, state: saved.append(copied(state)))
        train(tmp_path / "a.pt")
    expected = {k: v.double() for k, v in saved[0]["generator"].items()}
    for step, state in enumerate(saved[1 : STEPS + 1]):
        keep = min(average, (step + 1) / (step + 10))
        for name, value in state["generator"].items():
            counted = "running" in name or "num_batches" in name  # taken over as they are
            expected[name] = value if counted else keep * expected[name] + (1 - keep) * value
    found = saved[STEPS]["average"]
    assert all(torch.allclose(found[k].double(), expected[k].double(), atol=1e-6) for k in found)


def copied(state):
    if isinstance(state, dict):
        return {k: copied(v) for k, v in state.items()}
    return state.clone() if isinstance(state, torch.Tensor) else state


def test_the_discriminator_sees_real_and_restored_crops_in_batches_of_their_own(
    train, random_images
):
    discriminator, given = discriminator_of(1), []
    discriminator.register_forward_pre_hook(
        lambda network, args: given.append(args[0].detach()) if network.training else None
    )
    train(discriminator=discriminator)
    crops = Crops(as_packed(random_images(5, 24, 28)), size=16, batch=4, seed=3)
    assert [batch.shape for batch in given] == [(4, 1, 16, 16)] * 2 * STEPS
    assert all(torch.equal(batch, crops(step)) for step, batch in enumerate(given[::2]))
    assert all((a - b).abs().mean() < 0.2 for a, b in zip(given[::2], given[1::2]))


def by_hand(images, steps):
    """The training with the losses of both networks computed apart: rows of the log, networks."""
    g, d = generator_of(7, norm=None), discriminator_of(1)
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


def test_losses_and_steps_are_those_computed_by_hand(train, random_images, monkeypatch):
    rows, g, d = by_hand(random_images(5, 24, 28), 3)
    monkeypatch.setattr(gan, "AVERAGE", 0.0)
    settings = {"weights": Weights(0.5, 1.0, 0.01), "recipe": Recipe(4, (1e-3, 1e-3))}
    generator, discriminator, history = train(
        generator=generator_of(7, norm=None), steps=3, **settings
    )
    found = torch.tensor(history.table.drop(columns="step").to_numpy())
    torch.testing.assert_close(found, rows, atol=1e-5, rtol=1e-4, check_dtype=False)
    for a, b in zip(generator.parameters(), g.parameters()):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    logits = [network.train()(random_images(4, 16, 16)) for network in (discriminator, d)]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-3)  # without biases before batch norm


def test_without_an_adversarial_loss_the_discriminator_does_not_reach_the_generator(train):
    apart = {"weights": Weights(content=1.0, adversarial=0.0)}
    (a, first, _), (b, second, _) = (
        train(**apart, discriminator=discriminator_of(s)) for s in (1, 2)
    )
    assert identical(a.state_dict(), b.state_dict())
    assert not identical(first.state_dict(), second.state_dict())


def test_the_generators_losses_move_no_weight_of_the_discriminator(train):
    weights = Weights(content=1.0, adversarial=1e3)
    _, found, _ = train(recipe=STILL, weights=weights)
    assert identical(dict(found.named_parameters()), dict(discriminator_of(1).named_parameters()))
    assert all(p.grad is None or p.grad.norm() < 10 for p in found.parameters())


def test_the_generator_stands_still_without_losses_while_the_discriminator_learns(train):
    found, _, history = train(weights=Weights(0.0, 0.0, 0.0), steps=60)
    assert identical(dict(found.named_parameters()), dict(generator_of(7).named_parameters()))
    d_loss = history.table["discriminator_loss"]
    assert d_loss[-10:].mean() < d_loss[:10].mean()


def test_the_adversarial_weight_ramps_up(train):
    full, ramped = (
        train(recipe=STILL, weights=Weights(0.0, 1.0, 0.01, n))[-1].table["adversarial_loss"]
        for n in (0, 8)
    )
    assert (ramped / full).tolist() == pytest.approx([min(1, (i + 1) / 8) for i in range(STEPS)])


@pytest.mark.parametrize(("steps", "first"), [(4, 2), (5, 3)])
def test_the_learning_rate_changes_after_half_of_the_steps(train, monkeypatch, steps, first):
    rates, step = [], Engine.optimizer_step

    def spy(self, loss, optimizer, *, rate, **others):
        rates.append(rate)
        step(self, loss, optimizer, rate=rate, **others)

    monkeypatch.setattr(Engine, "optimizer_step", spy)
    train(steps=steps)
    assert rates == [1e-3] * 2 * first + [1e-4] * 2 * (steps - first)


@pytest.mark.parametrize(("clip", "holds"), [(0.01, True), (None, False)])
def test_long_gradients_are_clipped(train, clip, holds):
    norms = []

    def note(optimizer, args, kwargs):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    handle = register_optimizer_step_pre_hook(note)
    train(recipe=Recipe(4, (1e-3, 1e-4), clip))
    handle.remove()
    assert len(norms) == 2 * STEPS
    assert all(norm < 0.01 * 1.0001 for norm in norms) == holds


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(train, tmp_path):
    calls = itertools.count()
    content = lambda sr, hr: F.l1_loss(sr, hr) * (torch.nan if next(calls) >= 6 else 1)  # noqa: E731
    with (
        saved_at_every_step(),
        pytest.raises(loop.Diverged, match="generator loss became NaN or infinite before step 6"),
    ):
        train(tmp_path / "a.pt", content=content)
    state = checkpoint.load(tmp_path / "a.pt")
    assert state["step"] == 5
    assert all(w.isfinite().all() for part in PARTS for w in state[part].values())


class Oracle(nn.Module):
    """A discriminator that learns nothing; it is right about batches that come real, fake, real."""

    def __init__(self, *sure):
        super().__init__()
        self.weight, self.logits = nn.Parameter(torch.ones(1)), itertools.cycle(sure)

    def forward(self, images):
        logit = next(self.logits) if self.training else 0.0
        return logit + 0 * self.weight + 0 * images.mean((1, 2, 3))[:, None]


@pytest.fixture
def soon_saturated(monkeypatch):
    monkeypatch.setattr(gan, "SATURATED_STEPS", 4)


@pytest.mark.parametrize("log_every", [1, 2])
@pytest.mark.usefixtures("soon_saturated")
def test_a_discriminator_that_is_always_right_ends_the_training(
    train, tmp_path, monkeypatch, log_every
):
    monkeypatch.setattr(loop, "MAX_ROWS", STEPS // log_every)
    with (
        saved_at_every_step(),
        pytest.raises(loop.Diverged, match=r"for 4 steps, up to step 4:.*narrower discriminator"),
    ):
        train(tmp_path / "a.pt", discriminator=Oracle(5.0, -5.0))
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 3


@pytest.mark.parametrize(
    "logits",
    [(4.5, -4.5), (-5.0, 5.0), (5.0, -5.0) * 3 + (0.0, 0.0)],
    ids=["not sure", "always wrong", "not in a row"],
)
@pytest.mark.usefixtures("soon_saturated")
def test_other_discriminators_do_not_end_it(train, tmp_path, logits):
    with saved_at_every_step():
        assert train(tmp_path / "a.pt", discriminator=Oracle(*logits))[-1].done


@pytest.fixture
def white():
    """A generator of nothing but white, which is far from the images."""
    generator = generator_of(7)
    nn.init.zeros_(generator.last.weight)
    nn.init.constant_(generator.last.bias, 2.0)
    return generator


def test_a_generator_far_worse_than_bicubic_ends_the_training(train, tmp_path, white):
    with (
        saved_at_every_step(),
        pytest.raises(loop.Diverged, match=r"PSNR is [12]\d\.\d dB under bicubic.*pretrain"),
    ):
        train(tmp_path / "a.pt", generator=white, recipe=STILL)
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 4  # the validation is after step 5


def pretrain(**hours):
    """The history of a training of 4 steps."""
    arguments = {"steps": 4, "seed": 0, "recipe": Recipe(4), "crop": 16, "device": "cpu"}
    images = torch.rand(4, 1, 16, 16)
    return fit.fit(generator_of(7), images, degrade=halve, **arguments, **hours, progress=False)


@pytest.mark.filterwarnings("ignore:no time for a single step of training")
def test_adversarial_steps_wait_for_the_pretraining_to_be_done(train, tmp_path):
    *_, history = train(tmp_path / "a.pt", after=pretrain(hours=1e-12))
    assert history.steps_done == len(history.table) == 0
    assert list(tmp_path.iterdir()) == []
    assert train(tmp_path / "a.pt", after=pretrain())[-1].done


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seed": 4}, "seed"),
        ({"degrade": degrade.by_name("blur", scale=2)}, "degrade"),
        ({"content": F.mse_loss}, "content"),
        ({"weights": Weights(0.1, 1.0, 0.01)}, "weights"),
        ({"recipe": Recipe(4, (1e-3, 1e-3), 1.0)}, "learning_rate"),
        ({"crop": 18, "discriminator": discriminator_of(1, size=18)}, "crop"),
        ({"measures": {"l2": F.mse_loss}}, "measures"),
        ({"images": torch.full((5, 1, 24, 28), 0.5)}, "images"),
        ({"generator": generator_of(8)}, "beginning"),
        ({"discriminator": discriminator_of(2)}, "beginning"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses_a_checkpoint_of_another_configuration(train, tmp_path, change, differs):
    train(tmp_path / "a.pt", steps=1)
    written = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(ValueError, match=rf"another configuration; it differs in .*{differs}"):
        train(tmp_path / "a.pt", steps=1, **change)
    assert (tmp_path / "a.pt").read_bytes() == written


@pytest.fixture
def content():
    torch.manual_seed(5)
    classifier = LesionClassifier(classes=("a", "b"), width=2)
    return losses.PerceptualLoss(classifier.features, name="toy")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recipe": Recipe(batch=6)}, "6 crops is to come from as many images, but there are only"),
        ({"crop": 25}, "crop 25 does not fit: the smallest image measures 24 pixels"),
        ({"crop": 18}, "this discriminator is for crops of 16 x 16, got 18 x 18"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"content": None}, "images must be at least 32 x 32, got 16 x 16"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_refuses_what_does_not_fit_and_leaves_no_checkpoint(
    train, tmp_path, content, change, reason
):
    change = change | ({"content": content} if "content" in change else {})
    with pytest.raises(ValueError, match=reason):
        train(tmp_path / "a.pt", **change)
    assert list(tmp_path.iterdir()) == []


def test_trains_with_the_features_of_a_classifier(train, random_images, content):
    arguments = {"images": random_images(5, 32, 36), "crop": 32, "content": content}
    arguments |= {"discriminator": discriminator_of(1, size=32), "measures": {"content": content}}
    before = repr(content)
    *_, history = train(**arguments, validation=random_images(1, 36, 36))
    assert history.validation.columns.tolist() == ["step", "mse", "content"]
    assert history.done
    assert repr(content) == before  # the fingerprint of its weights is in there


TORTURED = """
import pathlib, threading, time, torch
from medsr_lib.restore import degrade, networks
from medsr_lib.restore.training import fit, gan, loop
from tqdm import tqdm

tqdm.set_lock(threading.RLock())  # its own one, between processes, would outlive a killed process
torch.set_num_threads(1)
loop.SAVE_EVERY, loop.MAX_ROWS = save_every, 20


def slowly(file, content):  # a disk that is slow, so that some kills fall into a write
    with file.open("wb") as half:
        half.write(content[: len(content) // 2])
        half.flush()
        time.sleep(0.01 if save_every == 0 else 0)
        half.write(content[len(content) // 2 :])


pathlib.Path.write_bytes = slowly
torch.manual_seed(7)
arguments = {
    "degrade": degrade.by_name("blur", scale=2), "steps": 120, "seed": 1, "crop": 16,
    "recipe": fit.Recipe(batch=4), "validate_every": 9, "checkpoint": path, "progress": False,
    "device": "cpu",
}
images = torch.rand(4, 1, 32, 32)
generator = networks.SRResNet(scale=2, blocks=1, width=4)
discriminator = networks.Discriminator(size=16, width=4)
if function == "fit":
    fit.fit(generator, images, validation=images[:1].flip(-1), **arguments)
else:
    gan.fit_gan(generator, discriminator, images, content=torch.nn.functional.l1_loss,
                picture=images[:1, :, :9, :9], **arguments)
"""


@pytest.fixture
def start():
    """`start(function, path)` begins a training in another process, where torch is loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medsr_lib.restore.training.gan", "torch._dynamo"])

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
def test_resumes_bit_for_bit_after_kill_9_at_12_moments(tmp_path, start, function):
    torn, whole = tmp_path / "torn.pt", tmp_path / "whole.pt"
    start(function, whole, save_every=1e9).join()
    draw, steps, killed, while_writing = random.Random(0), [0], 0, 0
    for seconds in [0.0] * 4 + [draw.uniform(0, 0.15) for _ in range(8)]:  # 0: in the first write
        leftovers = len(list(tmp_path.glob(".*.tmp")))
        process = start(function, torn, save_every=0.0)
        killed += kill_soon(process, tmp_path, seconds)
        steps.append((checkpoint.load(torn) or {"step": 0})["step"])
        while_writing += len(list(tmp_path.glob(".*.tmp"))) > leftovers
    start(function, torn, save_every=0.0).join()
    assert sorted(steps) == steps
    assert killed >= 3
    assert while_writing >= 1
    assert same_end(whole, torn)
