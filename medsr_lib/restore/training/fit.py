"""Training a restoration network: a visible loop, stopped by a clock and resumed bit for bit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.case import digests, trained_on
from medsr_lib.restore.training.batches import (
    Crops,
    Images,
    PackedImages,
    as_packed,
    fingerprint,
    whole_image,
)
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine, Precision
from medsr_lib.restore.training.loop import Evaluation, History, Training, describe

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """What an optimisation step takes.

    Attributes:
        batch: crops or images a step, of all processes together.
        learning_rate: at the first and at the last step, with half a cosine between them; of
            `fit_gan` in the first and in the second half of the steps.
        clip: norm to which the gradient is clipped; None for never. Deep networks without batch
            norm need it: a typical norm, 0.02 for SRResNet with the squared error.
    """

    batch: int = 16
    learning_rate: tuple[float, float] = (2e-3, 1e-5)
    clip: float | None = None


def fit(
    network: nn.Module,
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    loss: Loss = F.mse_loss,
    steps: int,
    seed: int,
    after: History | None = None,
    recipe: Recipe = Recipe(),
    crop: int = 96,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    reserve: float = 0.0,
    validation: Images | None = None,
    validate_every: int = 1000,
    measures: Mapping[str, Loss] | None = None,
    picture: Tensor | None = None,
    device: str = "auto",
    precision: Precision = Precision(),  # noqa: B008 - it is frozen
    progress: bool = True,
) -> History:
    """Train a network to undo a degradation.

    Every step draws HR crops, degrades them, and takes one step of Adam (Kingma & Ba 2015) down the
    loss between the network's output and the crops. All that is random follows from (seed, step).
    With a `checkpoint`, the state is saved there at the beginning, every two minutes and at the
    end, and a second call with the same arguments resumes from it **bit for bit** as if it had
    never been interrupted (same machine, same number of threads; on CUDA with
    `torch.use_deterministic_algorithms(True)`). Every second the losses are appended to
    `<checkpoint>_training.csv` and `<checkpoint>_validation.csv` beside it.

    Args:
        network: LR -> SR; trained in place and left **in its best state**, in evaluation mode on
            the CPU, ready for use: that of the lowest validation loss so far, or of the last step
            where there is no validation. Its `trained_on` then names these images, too.
        images: HR training images: a `data.store.Store`, a tensor (N, 1, H, W) or a sequence of
            (H, W) tensors; float in [0, 1].
        degrade: HR -> LR, as `degrade.by_name` gives.
        loss: (SR, HR) -> a number.
        steps: to take in all, over all sessions.
        seed: of crops, flips and transposes, and of the noise of a `degrade.Degradation`.
        after: the history of a training that comes first. Until it is done no step is taken.
        recipe: batch, learning rate, clipping.
        crop: side of the crops in HR pixels, a multiple of the scale.
        checkpoint: the file to resume from and to save to.
        hours: stop cleanly before the session is this old, reserving time to validate and save. It
            counts from the start of the process (of a notebook: its kernel). None for no limit.
        reserve: seconds of the hours to keep for what comes after the training.
        validation: whole HR images of other patients.
        validate_every: steps.
        measures, picture: as in `fit_gan`; the loss is always measured, and chooses the state.
        device: "auto" takes CUDA, else MPS, else the CPU.
        precision: number format, memory format and compilation.
        progress: show a progress bar.

    Returns:
        The history; `history.done` tells whether all steps were taken.

    Raises:
        ValueError: arguments that do not fit each other, an image in training and validation, a
            checkpoint of another configuration (the differing settings are named) or unreadable.
        Diverged: a loss that is no longer finite, or on the validation images a hundred times what
            it has been (a ValueError too).
    """
    clock = Clock(hours if after is None or after.done else 1e-12, reserve)
    engine = Engine(device, precision)
    settings = {"steps": steps, "seed": seed, "crop": crop, "validate_every": validate_every}
    crops, held_out, configuration = prepare(
        [network], images, validation, engine, recipe, degrade=describe(degrade), **settings
    )
    more = dict(measures or {})
    configuration |= {"network": repr(network), "loss": describe(loss)}
    configuration["measures"] = {name: describe(measure) for name, measure in more.items()}
    network = engine.to_device(network)
    scale_of(network, degrade, crops)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    training = Training(
        {"network": network, "optimizer": optimizer, "scaler": engine.scaler},
        configuration,
        network=network,
        engine=engine,
        clock=clock,
        checkpoint=checkpoint,
        evaluation=Evaluation(
            measure=None
            if held_out is None
            else partial(
                evaluate, network, held_out, degrade=degrade, measures={"loss": loss, **more}
            ),
            every=validate_every,
            picture=picture,
            choose=None if held_out is None else "loss",
        ),
        progress=progress,
    )
    restore = engine.compiled(network)
    network.train()
    for step in training:
        hr = crops(step)  # (B, 1, S, S)
        lr = crops.degraded(hr, step, degrade)  # (B, 1, S / scale, S / scale)
        with clock.measure("step"):
            with engine.autocast():
                value = loss(restore(lr), hr)
            rate = cosine(step / steps, *recipe.learning_rate)
            engine.optimizer_step(value, optimizer, rate=rate, clip=recipe.clip)
        training.note(value)
    return training.finish()


@torch.inference_mode()
def evaluate(
    network: Callable[[Tensor], Tensor],
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    measures: Mapping[str, Loss],
) -> dict[str, float]:
    """Mean over whole images (each weighs the same) of measures between SR and HR.

    Args:
        network: LR -> SR; an `nn.Module` is put into evaluation mode meanwhile.
        images: HR, as for `fit`.
        degrade: HR -> LR.
        measures: name -> (SR, HR) -> a number or one per image.
    """
    packed = as_packed(images)
    module = network if isinstance(network, nn.Module) else nn.Identity()
    on = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    total = dict.fromkeys(measures, torch.zeros((), device=on))
    for i in range(len(packed.offset)):
        hr = whole_image(packed, i).to(on)
        lr = degrade(hr)
        sr = network(lr)
        hr = image_rules.centre_crop(hr, multiple=sr.shape[-1] // lr.shape[-1])
        for name, measure in measures.items():
            total[name] = total[name] + measure(sr, hr).mean()
    module.train(was_training)
    return {name: value.item() / len(packed.offset) for name, value in total.items()}


def cosine(progress: float, first: float, last: float) -> float:
    """Half a cosine from `first` to `last` as `progress` goes from 0 to 1 (Loshchilov & Hutter
    2017, arXiv 1608.03983, equation 5, without restarts).
    """
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def prepare(
    taught: Sequence[nn.Module],
    images: Images,
    validation: Images | None,
    engine: Engine,
    recipe: Recipe,
    **settings: Any,
) -> tuple[Crops, PackedImages | None, dict[str, Any]]:
    """What `fit` and `fit_gan` have in common: this process's share of the crops, the validation
    images, and the configuration that a checkpoint must agree with, the settings among it. The
    networks that are taught get to know in `trained_on` by which images.
    """
    for name in ("steps", "validate_every"):
        checks.whole(name, settings[name], least=1)
    packed, held_out = as_packed(images), None if validation is None else as_packed(validation)
    crops = Crops(
        packed,
        size=settings["crop"],
        batch=recipe.batch,
        seed=settings["seed"],
        device=engine.device,
        rank=engine.rank,
        world=engine.world,
    )
    if recipe.batch > len(packed.offset):
        raise ValueError(
            f"a batch of {recipe.batch} crops is to come from as many images, but there are only "
            f"{len(packed.offset)} to train on: take a smaller batch"
        )
    known = digests(packed)
    if held_out is not None:
        refuse_shared(packed, held_out)
        known |= digests(held_out)
    for network in taught:
        network.trained_on = trained_on(network) | known  # type: ignore[assignment]
    configuration = {
        **settings,
        **asdict(recipe),
        "dtype": engine.precision.dtype,
        "n_images": len(packed.offset),
        "images": fingerprint(packed),
        "validation": None if held_out is None else fingerprint(held_out),
    }
    return crops, held_out, configuration


def refuse_shared(images: Images, validation: Images) -> None:
    """Refuse validation images that are trained on, too: they would choose what was learned best.

    Raises:
        ValueError: says how many they are.
    """
    held_out = digests(validation)
    if both := digests(images) & held_out:
        raise ValueError(
            f"{len(both)} of {len(held_out)} validation images are trained on, too; give images of "
            "other patients (splits.by_patient)"
        )


@torch.inference_mode()
def scale_of(network: nn.Module, degrade: Callable[[Tensor], Tensor], crops: Crops) -> int:
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
