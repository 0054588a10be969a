"""Networks: LR (B, 1, h, w) -> SR (B, 1, scale h, scale w).

In training a network's output is left as it is; in evaluation it is clipped to [0, 1].
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medsr_lib.restore import checkpoint
from medsr_lib.restore.degrade import check_scale


class ESPCN(nn.Module):
    """Efficient sub-pixel convolutional network of Shi et al. 2016 (arXiv 1609.05158, section 3).

    Three convolutions work at the size of LR; the last one gives scale^2 channels, which the
    periodic shuffling PS of equation (4) rearranges into one image scale times as large:

        f1 = tanh(W1 * LR + b1),  f2 = tanh(W2 * f1 + b2),  SR = PS(W3 * f2 + b3)

    with (filter size, channels) = (5, 64), (3, 32), (3, scale^2). One-channel parameters: 21 284,
    22 729 and 24 752 for scale 2, 3 and 4.

    Args:
        scale: 2, 3, 4 or 8.
    """

    def __init__(self, *, scale: int) -> None:
        check_scale(scale)
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        x = torch.tanh(self.conv1(lr))  # (B, 64, h, w)
        x = torch.tanh(self.conv2(x))  # (B, 32, h, w)
        sr = self.shuffle(self.conv3(x))  # (B, 1, scale h, scale w)
        return sr if self.training else sr.clamp(0, 1)


def n_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def save(network: nn.Module, path: str | Path, **about: str | int | float | None) -> None:
    """Write a trained network to one file, for `load`.

    Args:
        network: an `ESPCN`.
        path: the file; replaced as a whole or not at all.
        about: what to remember with it: fold, degradation, steps ...
    """
    state = {
        "network": type(network).__name__,
        "arguments": {"scale": network.scale},
        "weights": network.state_dict(),
        "about": about,
    }
    checkpoint.save(path, state)


def load(path: str | Path, **expected: str | int | float | None) -> nn.Module:
    """Read a network that `save` wrote, ready to be applied: in evaluation mode, on the CPU.

    What was remembered with it is its attribute `about`.

    Args:
        path: the file.
        expected: what must have been remembered with it. `fold` for one: a network is not to be
            tested on patients it was trained on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a saved network, or one about something else than expected.
    """
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(f"{path}: no such file; train the network and save it first")
    makers: dict[Any, Any] = {"ESPCN": ESPCN}
    if state.get("network") not in makers or "weights" not in state:
        raise ValueError(f"{path}: not a network written by networks.save")
    about = state["about"]
    other = [
        f"{k} is {about.get(k)!r}, not {v!r}" for k, v in expected.items() if about.get(k) != v
    ]
    if other:
        raise ValueError(f"{path}: a network trained for something else: {'; '.join(other)}")
    network: nn.Module = makers[state["network"]](**state["arguments"])
    network.load_state_dict(state["weights"])
    network.about = about
    return network.eval()
