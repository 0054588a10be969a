"""The training loop of the networks that judge images: `classify` and `segment` share it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib.restore.fit import cosine

LOOKS = 10  # how often in a training the validation images are looked at
BRIGHTNESS = 0.1  # added: uniform in +-this
CONTRAST = 0.2  # the differences from the image's mean are multiplied: uniform in 1 +- this


@dataclass(frozen=True, repr=False)
class Training:
    """What a training did.

    Attributes:
        losses: (steps,) float32, the loss of each step's batch.
        validation: column step and one for each measure of the validation images; empty without.
        seconds: how long it took.
    """

    losses: Tensor
    validation: pd.DataFrame
    seconds: float

    def __repr__(self) -> str:
        rows = self.validation.drop(columns="step").tail(1).to_dict("records")
        last = [f", {name} {value:.3f}" for row in rows for name, value in row.items()]
        return f"Training({len(self.losses)} steps, {self.seconds:.0f} s{''.join(last)})"


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
) -> Training:
    """Take steps of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) along half a cosine.

    Args:
        network: on the device; left in evaluation mode on the CPU.
        batches: step -> what the network is given, and what it should say.
        loss: (what it says, what it should say) -> a number.
        seed: of dropout; what others draw from the global generator is as before.
        look: gives the measures of the validation images, `columns`; about ten times.

    Raises:
        ValueError: a loss that is no longer finite.
    """
    start = time.monotonic()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate[0], fused=True)
    losses = torch.zeros(steps, device=device)
    looks: list[dict[str, float]] = []
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
            if step + 1 == steps or (step + 1) % -(-steps // LOOKS) == 0:
                bar.set_postfix_str(f"loss {_finite(losses[step], step):.3f}")
                if look is not None:
                    looks.append({"step": step + 1, **look()})
    bar.close()
    network.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    table = pd.DataFrame(looks, columns=["step", *columns])
    return Training(losses.cpu(), table, time.monotonic() - start)


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


def _finite(loss: Tensor, step: int) -> float:
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss became NaN or infinite before step {step + 1}; lower the learning rate"
        )
    return loss.item()
