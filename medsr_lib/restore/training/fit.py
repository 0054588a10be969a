"""Training: visible loops, stopped by a clock and continued as if they had never stopped."""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib.restore import networks
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training.batches import Crops, Images, PackedImages, as_packed, fingerprint
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine, Speed
from medsr_lib.restore.training.loop import Diverged, History, Training, describe
from medsr_lib.restore.training.validate import Loss, Watch, mean_loss, measured

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "Diverged",
    "History",
    "Speed",
    "cosine",
    "describe",
    "fingerprint",
    "fit",
    "fit_gan",
    "mean_loss",
    "measured",
]

GAN_LOG = (
    "generator_loss",
    "pixel_loss",
    "content_loss",
    "adversarial_loss",
    "discriminator_loss",
    "d_real",
    "d_fake",
)
SATURATED = 0.99  # mean probability beyond which the discriminator has nothing left to teach


def fit(
    network: nn.Module,
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    loss: Loss = F.mse_loss,
    steps: int,
    seed: int,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    reserve: float = 0.0,
    batch: int = 16,
    crop: int = 96,
    learning_rate: tuple[float, float] = (2e-3, 1e-5),
    clip: float | None = None,
    validation: Images | None = None,
    validate_every: int = 1000,
    device: str = "auto",
    speed: Speed = Speed(),  # noqa: B008 - it is frozen
    fabric: "Fabric | None" = None,
    progress: bool = True,
) -> History:
    """Train a network to undo a degradation.

    Every step draws HR crops, degrades them, and takes one step of Adam (Kingma & Ba 2015) down the
    loss between the network's output and the crops; the learning rate falls along half a cosine.
    All that is random follows from (seed, step). With a `checkpoint`, the state is saved there at
    the beginning, every two minutes and at the end, and a second call with the same arguments goes
    on from it **bit for bit** as if it had never been interrupted (same machine, same number of
    threads; on CUDA with `torch.use_deterministic_algorithms(True)`). Every second the losses are
    appended to `<checkpoint>_training.csv` and `<checkpoint>_validation.csv` beside it.

    Args:
        network: LR -> SR; trained in place and left with the last step's weights, on the CPU.
        images: HR training images: a `Pack`, a tensor (N, 1, H, W) or a sequence of (H, W) tensors.
        degrade: HR -> LR, as `degrade.by_name` gives.
        loss: (SR, HR) -> a number.
        steps: to take in all, over all sessions.
        seed: of crops, flips and transposes.
        checkpoint: the file to continue from and to save to.
        hours: stop cleanly before the session is this old, with what validating and saving take
            kept in hand. It counts from the start of the process, of a notebook's kernel for one.
            None for no limit.
        reserve: seconds of the hours to keep for what comes after the training.
        batch, crop: crops a step, by all processes together, and their side in HR pixels (a
            multiple of the scale).
        learning_rate: at the first and at the last step.
        clip: norm of the gradient beyond which it is shortened; None for never. Deep networks
            without batch norm need it: a typical norm, 0.02 for SRResNet with the squared error.
        validation: whole HR images of other patients; their mean loss decides which state is best.
        validate_every: steps.
        device: "auto" takes CUDA, else MPS, else the CPU.
        speed: precision, memory format and compilation.
        fabric: of a training by several processes; `series.train` makes it.
        progress: show a progress bar.

    Returns:
        The history; `history.done` tells whether all steps were taken.

    Raises:
        ValueError: arguments that do not fit each other, a checkpoint of another configuration (the
            differing settings are named) or unreadable.
        Diverged: a loss that is no longer finite, or on the validation images a hundred times what
            it has been (a ValueError too).
    """
    _check_counts(steps=steps, validate_every=validate_every)
    clock = Clock(hours, reserve)
    engine = Engine(device, speed, fabric)
    packed = as_packed(images)
    held_out = None if validation is None else as_packed(validation)
    crops = _crops(packed, engine, size=crop, batch=batch, seed=seed)
    configuration = {
        "network": repr(network),
        "degrade": describe(degrade),
        "loss": describe(loss),
        "steps": steps,
        "seed": seed,
        "batch": batch,
        "crop": crop,
        "learning_rate": list(learning_rate),
        "clip": clip,
        "validate_every": validate_every,
        "precision": speed.precision,
        "images": fingerprint(packed),
        "validation": None if held_out is None else fingerprint(held_out),
    }
    network = engine.place(network)
    _scale(network, degrade, crops)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate[0], fused=True)
    training = Training(
        {"network": network, "optimiser": optimiser, "scaler": engine.scaler},
        configuration,
        columns=("loss",),
        steps=steps,
        images=len(packed.offset),
        engine=engine,
        clock=clock,
        path=checkpoint,
        validate=None
        if held_out is None
        else partial(measured, network, held_out, degrade=degrade, measures={"loss": loss}),
        validate_every=validate_every,
        choose=None if held_out is None else "loss",
        best=partial(_copy, network),
        progress=progress,
    )
    restore = engine.compiled(network)
    network.train()
    for step in training:
        hr = crops(step)  # (B, 1, S, S)
        lr = degrade(hr)  # (B, 1, S / scale, S / scale)
        with clock.measure("step"):
            with engine.autocast():
                value = loss(restore(lr), hr)
            rate = cosine(step / steps, *learning_rate)
            engine.descend(value, optimiser, rate=rate, clip=clip)
        training.note(value)
    history = training.history()
    network.cpu()
    return history


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    content: Loss,
    steps: int,
    seed: int,
    after: History | None = None,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    reserve: float = 0.0,
    batch: int = 16,
    crop: int = 96,
    pixel_weight: float = 0.0,
    content_weight: float = 0.006,
    adversarial_weight: float = 1e-3,
    learning_rate: tuple[float, float] = (1e-4, 1e-5),
    ramp_up: int = 0,
    average: float = 0.999,
    clip: float | None = 1.0,
    saturated: int = 5000,
    validation: Images | None = None,
    measures: Mapping[str, Loss] | None = None,
    validate_every: int = 1000,
    picture: Tensor | None = None,
    log_every: int = 1,
    device: str = "auto",
    speed: Speed = Speed(),  # noqa: B008 - it is frozen
    fabric: "Fabric | None" = None,
    progress: bool = True,
) -> History:
    """Train a generator against a discriminator (SRGAN, Ledig et al. 2017, arXiv 1609.04802).

    Give it a generator that `fit` has trained: from nothing, the adversarial game does not start.
    Every step degrades HR crops and restores them; the discriminator is called once, on the real
    and the restored crops together, and both networks take a step of Adam by what it says:

        generator       pixel_weight MSE + content_weight content + adversarial_weight -log D(SR)
        discriminator   -(log D(HR) + log(1 - D(SR))) / 2

    with D = sigmoid of the discriminator's logits (Goodfellow et al. 2014). The paper's values are
    the defaults: content is the MSE of VGG19 features times 0.006 (section 3.2), adversarial 1e-3
    (equation 3), no pixel loss, batch 16 of 96 x 96, half of the steps at 1e-4, half at 1e-5. A
    running average of the generator (not in the paper) is validated, and is what is kept.
    Checkpoint, hours and interruptions are as in `fit`.

    Args:
        generator, discriminator: trained in place. Both come back on the CPU in evaluation mode,
            the **generator with its running average**, ready for use.
        content: (SR, HR) -> a number, such as `losses.Content`.
        after: the history of the generator's pretraining. Until it is done no step is taken, so
            that a session which ends in the pretraining ends well.
        pixel_weight, content_weight, adversarial_weight: of the generator's loss.
        learning_rate: in the first and in the second half of the steps.
        ramp_up: steps over which the adversarial weight grows from 0.
        average: of the generator's weights, so much stays at a step; less in the first steps.
        clip: as in `fit`, for both networks.
        saturated: steps in a row with D(HR) > 0.99 and D(SR) < 0.01 that end the training.
        measures: name -> (SR, HR) -> a number or (B,), averaged over the validation images.
        validation: whole HR images of other patients, on which the running average is measured.
        picture: an LR image (1, 1, h, w) to be restored at each validation, for the eye.
        log_every: steps a row of the log, whose values are averaged; 1 but in very long trainings.
        images, degrade, steps, seed, checkpoint, hours, reserve, batch, crop, validate_every,
        device, speed, fabric, progress: as in `fit`.

    Returns:
        The history, with the columns of GAN_LOG.

    Raises:
        ValueError: as `fit`.
        Diverged: a number that is not finite, a saturated discriminator, or a PSNR more than 10 dB
            under bicubic interpolation; the checkpoint keeps the last state, and the message says
            what to change.
    """
    _check_counts(
        steps=steps, validate_every=validate_every, log_every=log_every, saturated=saturated
    )
    clock = Clock(hours if after is None or after.done else 1e-12, reserve)
    engine = Engine(device, speed, fabric)
    packed = as_packed(images)
    held_out = None if validation is None else as_packed(validation)
    crops = _crops(packed, engine, size=crop, batch=batch, seed=seed)
    configuration = {
        "generator": repr(generator),
        "discriminator": repr(discriminator),
        "beginning": [networks.fingerprint(generator), networks.fingerprint(discriminator)],
        "degrade": describe(degrade),
        "content": describe(content),
        "pixel_weight": pixel_weight,
        "content_weight": content_weight,
        "adversarial_weight": adversarial_weight,
        "steps": steps,
        "seed": seed,
        "batch": batch,
        "crop": crop,
        "learning_rate": list(learning_rate),
        "ramp_up": ramp_up,
        "average": average,
        "clip": clip,
        "validate_every": validate_every,
        "log_every": log_every,
        "precision": speed.precision,
        "images": fingerprint(packed),
        "validation": None if held_out is None else fingerprint(held_out),
        "measures": {name: describe(measure) for name, measure in (measures or {}).items()},
    }
    generator, discriminator = engine.place(generator), engine.place(discriminator)
    guides = [m for m in (content, *(measures or {}).values()) if isinstance(m, nn.Module)]
    for guide in guides:
        guide.to(engine.device)
    scale = _scale(generator, degrade, crops)
    _try_out(discriminator, content, crops)
    steady = copy.deepcopy(generator).eval().requires_grad_(False)  # the running average
    g_optimiser = torch.optim.Adam(generator.parameters(), fused=True)
    d_optimiser = torch.optim.Adam(discriminator.parameters(), fused=True)
    training = Training(
        {
            "generator": generator,
            "discriminator": discriminator,
            "average": steady,
            "generator_optimiser": g_optimiser,
            "discriminator_optimiser": d_optimiser,
            "scaler": engine.scaler,
        },
        configuration,
        columns=GAN_LOG,
        steps=steps,
        images=len(packed.offset),
        engine=engine,
        clock=clock,
        path=checkpoint,
        validate=None
        if held_out is None
        else Watch(steady, held_out, degrade, scale, measures or {}),
        validate_every=validate_every,
        choose=None,
        best=partial(_copy, steady),
        picture=None if picture is None else partial(_restored, steady, picture.to(engine.device)),
        check=partial(_check_discriminator, steps=saturated),
        log_every=log_every,
        progress=progress,
        title="adversarial training",
    )
    restore, judge = engine.compiled(generator), engine.compiled(discriminator)
    generator.train()
    discriminator.train()
    for step in training:
        hr = crops(step)  # (B, 1, S, S)
        lr = degrade(hr)  # (B, 1, S / scale, S / scale)
        with clock.measure("step"):
            with engine.autocast():
                sr = restore(lr)  # (B, 1, S, S)
                real, fake = judge(torch.cat((hr, sr))).float().chunk(2)  # logits, (B, 1) each
                pixel = pixel_weight * F.mse_loss(sr, hr)
                likeness = content_weight * content(sr, hr)
                adversarial = (
                    adversarial_weight
                    * min(1.0, (step + 1) / max(1, ramp_up))
                    * losses.generator_loss(fake)
                )
                g_loss = pixel + likeness + adversarial
                d_loss = losses.discriminator_loss(real, fake)
            rate = learning_rate[0] if step < steps / 2 else learning_rate[1]
            engine.descend(g_loss, g_optimiser, rate=rate, clip=clip, keep_graph=True)
            engine.descend(d_loss, d_optimiser, rate=rate, clip=clip)
            _follow(steady, generator, keep=min(average, (step + 1) / (step + 10)))
        d_real, d_fake = real.sigmoid().mean(), fake.sigmoid().mean()
        training.note(g_loss, pixel, likeness, adversarial, d_loss, d_real, d_fake)
    history = training.history()
    generator.load_state_dict(steady.state_dict())
    generator.eval()
    discriminator.eval()
    for module in (generator, discriminator, *guides):
        module.cpu()
    return history


def cosine(progress: float, first: float, last: float) -> float:
    """Half a cosine from `first` to `last` as `progress` goes from 0 to 1 (Loshchilov & Hutter
    2017, arXiv 1608.03983, equation 5, without restarts).
    """
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def _check_discriminator(training: Training, *, steps: int) -> None:
    rows = -(-steps // training.log_every)
    whole = training.step // training.log_every
    d_real, d_fake = training.means()[:whole][-rows:, -2:].T
    if len(d_real) == rows and (d_real > SATURATED).all() and (d_fake < 1 - SATURATED).all():
        raise Diverged(
            "the discriminator has told real from restored crops without fail for "
            f"{rows * training.log_every} steps, up to step {training.step}: it teaches nothing "
            "any more. The checkpoint keeps the last saved state: take a narrower discriminator, "
            "a lower learning rate, or a longer ramp_up"
        )


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, *, keep: float) -> None:
    """average = keep average + (1 - keep) network; counts and statistics are taken over."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
    for ours, theirs in zip(average.buffers(), network.buffers()):
        ours.copy_(theirs)


@torch.inference_mode()
def _restored(network: nn.Module, lr: Tensor) -> Tensor:
    return network(lr).clamp(0, 1).float().cpu()


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def _crops(images: PackedImages, engine: Engine, *, size: int, batch: int, seed: int) -> Crops:
    """This process's share of the crops, on its device."""
    share = {"rank": engine.rank, "world": engine.world}
    crops = Crops(images, size=size, batch=batch, seed=seed, device=engine.device, **share)
    if batch > len(images.offset):
        raise ValueError(
            f"a batch of {batch} crops is to come from as many slices, but there are only "
            f"{len(images.offset)} to train on: take a smaller batch"
        )
    return crops


@torch.inference_mode()
def _scale(network: nn.Module, degrade: Callable[[Tensor], Tensor], crops: Crops) -> int:
    """How many times HR is as large as LR; refuses a network that does not give HR's size."""
    hr = crops(0)[:1]
    lr = degrade(hr)
    sr = network.eval()(lr)
    if sr.shape != hr.shape:
        raise ValueError(
            f"crops of {tuple(hr.shape[-2:])} are degraded to {tuple(lr.shape[-2:])} and restored "
            f"to {tuple(sr.shape[-2:])}; the crop must be a multiple of the scale, and network and "
            "degradation of one scale"
        )
    return int(hr.shape[-1] // lr.shape[-1])


@torch.inference_mode()
def _try_out(discriminator: nn.Module, content: Loss, crops: Crops) -> None:
    """Have both refuse crops of a size that they do not take before anything is saved."""
    hr = crops(0)[:1]
    discriminator.eval()(hr)
    content(hr, hr)
