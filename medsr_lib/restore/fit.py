"""Training: one visible loop, stopped by a clock and continued as if it had never stopped."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.restore import checkpoint as checkpoint_file
from medsr_lib.restore.clock import Clock
from medsr_lib.restore.crops import Crops, Images, PackedImages, as_packed, whole_image

SAVE_EVERY = 120.0  # seconds between checkpoints
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class History:
    """What a training did.

    Attributes:
        losses: (steps_done,) float32, the loss of each step's batch.
        validation: columns step and loss: the mean loss over the validation images.
        steps, steps_done: asked for and taken, over all sessions.
        epochs_done: crops seen over training images; one epoch is one crop an image.
        best_step: after which the validation loss was lowest (the last step without validation).
        best: the network's state at that step.
        seconds: spent training, over all sessions.
        step_share: the share of this session's time that was spent in optimisation steps.
    """

    losses: Tensor
    validation: pd.DataFrame
    steps: int
    steps_done: int
    epochs_done: float
    best_step: int
    best: dict[str, Tensor]
    seconds: float
    step_share: float

    @property
    def done(self) -> bool:
        """Whether all steps were taken."""
        return self.steps_done >= self.steps

    @property
    def table(self) -> pd.DataFrame:
        """Columns step (from 1) and loss."""
        steps = range(1, self.steps_done + 1)
        return pd.DataFrame({"step": steps, "loss": self.losses.numpy()})

    def __repr__(self) -> str:
        state = "done" if self.done else "to be continued"
        return (
            f"History({self.steps_done} of {self.steps} steps, {self.epochs_done:.1f} epochs, "
            f"{self.seconds:.0f} s, best after step {self.best_step}: {state})"
        )


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
    batch: int = 16,
    crop: int = 96,
    learning_rate: tuple[float, float] = (2e-3, 1e-5),
    validation: Images | None = None,
    validate_every: int = 1000,
    device: str = "auto",
    progress: bool = True,
) -> History:
    """Train a network to undo a degradation.

    Every step draws HR crops, degrades them, and takes one step of Adam (Kingma & Ba 2015) down the
    loss between the network's output and the crops; the learning rate falls along half a cosine.
    All that is random follows from (seed, step). With a `checkpoint`, the state is saved there
    every two minutes and at the end, and a second call with the same arguments goes on from it
    **bit for bit** as if it had never been interrupted (same machine, same number of threads).

    Args:
        network: LR -> SR; trained in place and left with the last step's weights, on the CPU.
        images: HR training images: a `Pack`, a tensor (N, 1, H, W) or a sequence of (H, W) tensors.
        degrade: HR -> LR, as `degrade.by_name` gives.
        loss: (SR, HR) -> a number.
        steps: to take in all, over all sessions.
        seed: of crops, flips and transposes.
        checkpoint: the file to continue from and to save to.
        hours: stop cleanly when this much time has passed since the call, with what validating and
            saving take kept in hand; None for no limit.
        batch, crop: crops a step, and their side in HR pixels (a multiple of the scale).
        learning_rate: at the first and at the last step.
        validation: whole HR images of other patients; their mean loss decides which state is best.
        validate_every: steps.
        device: "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        The history; `history.done` tells whether all steps were taken.

    Raises:
        ValueError: arguments that do not fit each other, a checkpoint of another configuration (the
            differing settings are named) or unreadable, or a loss that is no longer finite.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    clock = Clock(hours)
    on = devices.choose(device)
    packed = as_packed(images)
    held_out = None if validation is None else as_packed(validation)
    crops = Crops(packed, size=crop, batch=batch, seed=seed, device=on)
    network.to(on)
    _check_shapes(network, degrade, crops)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate[0], fused=True)
    configuration = {
        "network": repr(network),
        "degrade": describe(degrade),
        "loss": describe(loss),
        "steps": steps,
        "seed": seed,
        "batch": batch,
        "crop": crop,
        "learning_rate": list(learning_rate),
        "validate_every": validate_every,
        "images": fingerprint(packed),
        "validation": None if held_out is None else fingerprint(held_out),
    }
    training = _Training(network, optimiser, configuration, torch.zeros(steps, device=on))
    if checkpoint is not None:
        training.load(checkpoint)
    first = training.step

    network.train()
    bar = tqdm(
        total=steps,
        initial=training.step,
        desc="training",
        unit="step",
        disable=not progress,
        leave=False,
    )
    while training.step < steps and clock.has_time_left():
        hr = crops(training.step)  # (B, 1, S, S)
        lr = degrade(hr)  # (B, 1, S / scale, S / scale)
        with clock.measure("step"):
            for group in optimiser.param_groups:
                group["lr"] = cosine(training.step / steps, *learning_rate)
            value = loss(network(lr), hr)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        training.losses[training.step] = value.detach()
        training.step += 1
        bar.update()
        if held_out is not None and (training.step % validate_every == 0 or training.step == steps):
            with clock.measure("validate"):
                training.validated(mean_loss(network, held_out, degrade=degrade, loss=loss))
        if clock.is_due("look", 1.0):  # once a second: reading a loss waits for the device
            bar.set_postfix_str(training.state_of_play())
        if checkpoint is not None and clock.is_due("save", SAVE_EVERY):
            with clock.measure("save"):
                training.save(checkpoint, clock.elapsed())
    bar.close()
    training.state_of_play()
    if checkpoint is not None and training.step > first:
        training.save(checkpoint, clock.elapsed())
    network.cpu()
    return training.history(len(packed.offset) / batch, clock)


class _Training:
    """What a checkpoint holds: the networks' and optimiser's state, the step and the history."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        configuration: dict[str, Any],
        losses: Tensor,
    ) -> None:
        self.network, self.optimiser, self.configuration = network, optimiser, configuration
        self.losses = losses  # (steps,), on the device
        self.step = 0
        self.validation: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}
        self.seconds_before = 0.0

    @property
    def best_step(self) -> int:
        return min(self.validation, key=lambda v: v[1])[0] if self.validation else self.step

    def validated(self, value: float) -> None:
        """Note the validation loss after this step, and the weights if it is the lowest."""
        self.validation.append((self.step, value))
        if self.best_step == self.step:
            self.best = _copy(self.network)

    def state_of_play(self) -> str:
        """The latest losses as text; refuses to go on when they are no longer numbers."""
        latest = self.losses[max(0, self.step - 50) : self.step]
        self._refuse_not_finite(latest, "the loss")
        text = f"loss {latest.mean().item():.2e}" if len(latest) else ""
        return text + (f", validation {self.validation[-1][1]:.2e}" if self.validation else "")

    def _refuse_not_finite(self, values: Tensor, what: str) -> None:
        if not torch.isfinite(values).all():
            raise ValueError(
                f"{what} became NaN or infinite before step {self.step}; "
                "the checkpoint keeps the last good state: lower the learning rate"
            )

    def save(self, path: str | Path, seconds: float) -> None:
        self.state_of_play()
        weights = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        self._refuse_not_finite(weights, "a weight")
        state = {
            "configuration": self.configuration,
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses[: self.step].cpu(),
            "validation": self.validation,
            "best": self.best,
            "seconds": self.seconds_before + seconds,
        }
        checkpoint_file.save(path, state)

    def load(self, path: str | Path) -> None:
        """Continue from a checkpoint, if there is one."""
        state = checkpoint_file.load(path)
        if state is None:
            return
        _refuse_other_configuration(path, state.get("configuration", {}), self.configuration)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.losses[: self.step] = state["losses"].to(self.losses.device)
        self.validation = [(int(step), float(value)) for step, value in state["validation"]]
        self.best = state["best"]
        self.seconds_before = state["seconds"]

    def history(self, steps_an_epoch: float, clock: Clock) -> History:
        return History(
            losses=self.losses[: self.step].cpu(),
            validation=pd.DataFrame(self.validation, columns=["step", "loss"]),
            steps=len(self.losses),
            steps_done=self.step,
            epochs_done=self.step / steps_an_epoch,
            best_step=self.best_step,
            best=self.best or _copy(self.network),
            seconds=self.seconds_before + clock.elapsed(),
            step_share=clock.share("step"),
        )


def cosine(progress: float, first: float, last: float) -> float:
    """Half a cosine from `first` to `last` as `progress` goes from 0 to 1 (Loshchilov & Hutter
    2017, arXiv 1608.03983, equation 5, without restarts).
    """
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


@torch.inference_mode()
def mean_loss(
    network: nn.Module, images: Images, *, degrade: Callable[[Tensor], Tensor], loss: Loss
) -> float:
    """Mean over whole images (each weighs the same) of the loss between SR and HR."""
    packed = as_packed(images)
    on = next(network.parameters()).device
    was_training = network.training
    network.eval()
    total = torch.zeros((), device=on)
    for i in range(len(packed.offset)):
        hr = whole_image(packed, i).to(on)
        lr = degrade(hr)
        sr = network(lr)
        hr = image_rules.centre_crop(hr, multiple=sr.shape[-1] // lr.shape[-1])
        total += loss(sr, hr)
    network.train(was_training)
    return total.item() / len(packed.offset)


def describe(function: object) -> str:
    """A degradation or loss as text, the same in every process: `bicubic(scale=4)`."""
    if isinstance(function, partial):
        keywords = ", ".join(f"{k}={v!r}" for k, v in sorted(function.keywords.items()))
        return f"{describe(function.func)}({keywords})"
    return getattr(function, "__name__", None) or repr(function)


def fingerprint(images: PackedImages) -> str:
    """Tell images apart by their number, sizes, ranges and middle rows."""
    digest = hashlib.sha256()
    for column in (images.height, images.width, images.low.double(), images.high.double()):
        digest.update(column.cpu().numpy().tobytes())
    for offset, height, width in zip(images.offset, images.height, images.width):
        start = offset + height // 2 * width
        digest.update(images.pixels[start : start + width].cpu().numpy().tobytes())
    return f"{len(images.offset)} images {digest.hexdigest()[:16]}"


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


@torch.inference_mode()
def _check_shapes(network: nn.Module, degrade: Callable[[Tensor], Tensor], crops: Crops) -> None:
    hr = crops(0)[:1]
    lr = degrade(hr)
    sr = network.eval()(lr)
    if sr.shape != hr.shape:
        raise ValueError(
            f"crops of {tuple(hr.shape[-2:])} are degraded to {tuple(lr.shape[-2:])} and restored "
            f"to {tuple(sr.shape[-2:])}; the crop must be a multiple of the scale, and network and "
            "degradation of one scale"
        )


def _refuse_other_configuration(
    path: str | Path, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    keys = [k for k in wanted | found if found.get(k) != wanted.get(k)]
    if keys:
        lines = [f"  {k}: {found.get(k)!r} in the file, {wanted.get(k)!r} asked for" for k in keys]
        raise ValueError(
            f"{path}: a checkpoint of another configuration; it differs in {', '.join(keys)}. "
            "Nothing was changed. Take another file (for a notebook: another out_dir), go back to "
            "the former settings, or remove the file to start again:\n" + "\n".join(lines)
        )
