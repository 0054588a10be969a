"""The training loop of the networks that judge images: `classify` and `segment` share it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib.restore.training.fit import cosine

LOOKS = 10  # how often in a training the validation images are looked at
BRIGHTNESS = 0.1  # added: uniform in +-this
CONTRAST = 0.2  # the differences from the image's mean are multiplied: uniform in 1 +- this
# How differently a patient stands before the detector, each uniform in +- this:
SHIFT = 0.06  # of the image's side, along each axis
SCALE = 0.1  # the size is divided by 1 +- this
ROTATION = 5.0  # degrees


@dataclass(frozen=True, repr=False)
class Training:
    """What a training did.

    Attributes:
        losses: (steps,) float32, the loss of each step's batch.
        validation: column step and one for each measure of the validation images; empty without.
        seconds: how long it took.
        best_step: after how many steps the network was as it is left.
    """

    losses: Tensor
    validation: pd.DataFrame
    seconds: float
    best_step: int

    def __repr__(self) -> str:
        rows = self.validation.drop(columns="step").tail(1).to_dict("records")
        last = [f", {name} {value:.3f}" for row in rows for name, value in row.items()]
        n = len(self.losses)
        kept = "" if self.best_step == n else f", kept as after step {self.best_step}"
        return f"Training({n} steps, {self.seconds:.0f} s{''.join(last)}{kept})"


def train(
    network: nn.Module,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    seed: int,
    learning_rate: tuple[float, float],
    look: Callable[[], dict[str, float]] | None,
    columns: Sequence[str],
    device: torch.device,
    progress: bool,
    patience: int | None = None,
    times: int = LOOKS,
) -> Training:
    """Take steps of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) along half a cosine.

    Args:
        network: on the device; left in evaluation mode on the CPU.
        batches: step -> what the network is given, and what it should say.
        loss: (what it says, what it should say) -> a number.
        seed: of dropout; what others draw from the global generator is as before.
        look: gives the measures of the validation images, `columns`; about `times` times.
        patience: stop after so many looks without a lower "loss" among the measures, and leave the
            network as it was at the lowest; None for all steps and the last state.

    Raises:
        ValueError: a loss that is no longer finite.
    """
    start = time.monotonic()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate[0], fused=True)
    losses = torch.zeros(steps, device=device)
    looks: list[dict[str, float]] = []
    best = _Best(network, patience)
    network.train()
    bar = tqdm(total=steps, desc="training", unit="step", disable=not progress, leave=False)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine(step / steps, *learning_rate)
            x, y = batches(step)
            value = loss(network(x), y)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            losses[step] = value.detach()
            bar.update()
            if step + 1 == steps or (step + 1) % -(-steps // times) == 0:
                bar.set_postfix_str(f"loss {_finite(losses[step], step):.3f}")
                if look is not None:
                    looks.append({"step": step + 1, **look()})
                    if best.is_over(looks):
                        break
    bar.close()
    best.put_back(step + 1)
    network.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    table = pd.DataFrame(looks, columns=["step", *columns])
    taken = losses[: step + 1].cpu()
    return Training(taken, table, time.monotonic() - start, best.step)


class _Best:
    """The state of the look with the lowest loss; without a patience the last one."""

    def __init__(self, network: nn.Module, patience: int | None) -> None:
        self.network, self.patience = network, patience
        self.step = 0
        self.state: dict[str, Tensor] = {}

    def is_over(self, looks: Sequence[dict[str, float]]) -> bool:
        """Whether the latest `patience` looks were no better than one before; keeps the best."""
        if self.patience is None:
            return False
        losses = [look["loss"] for look in looks]
        best = int(np.argmin(losses))  # the first of equals
        if best == len(losses) - 1:
            self.step = int(looks[best]["step"])
            self.state = {k: v.clone() for k, v in self.network.state_dict().items()}
        return len(losses) - 1 - best >= self.patience

    def put_back(self, last: int) -> None:
        """Leave the network in the best state, or as it is after its last step."""
        if self.state:
            self.network.load_state_dict(self.state)
        else:
            self.step = last


def draw_light(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """The contrast and brightness that `light` takes, each of a shape."""
    return {
        "contrast": rng.uniform(1 - CONTRAST, 1 + CONTRAST, shape).astype(np.float32),
        "brightness": rng.uniform(-BRIGHTNESS, BRIGHTNESS, shape).astype(np.float32),
    }


def light(images: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Images (B, H, W) in [0, 1] with another contrast and brightness each, (B, 1), clipped."""
    mean = images.mean((1, 2), keepdim=True)
    return ((images - mean) * contrast[:, :, None] + mean + brightness[:, :, None]).clamp(0, 1)


def draw_place(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """What `place` takes, each of a shape."""
    ranges = {"down": SHIFT, "right": SHIFT, "scale": SCALE, "angle": math.radians(ROTATION)}
    return {k: rng.uniform(-most, most, shape).astype(np.float32) for k, most in ranges.items()}


def place(images: Tensor, down: Tensor, right: Tensor, scale: Tensor, angle: Tensor) -> Tensor:
    """Images (B, S, S) moved, enlarged by 1 / (1 + scale) and turned about the middle.

    Bilinear; what comes in from outside is a reflection.

    Args:
        images: (B, S, S).
        down, right: (B, 1), of the image's side.
        scale: (B, 1), above -1.
        angle: (B, 1), radians.
    """
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    rows = torch.cat([cos, -sin, -2 * right], 1), torch.cat([sin, cos, -2 * down], 1)  # (B, 3)
    x = images[:, None]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)[:, 0]


def _finite(loss: Tensor, step: int) -> float:
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss became NaN or infinite before step {step + 1}; lower the learning rate"
        )
    return loss.item()
