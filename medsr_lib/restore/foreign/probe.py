"""A smooth image known at every position, and how an image restored from it lies and differs.

The image is a sum of plane waves, so that it can be evaluated between pixels: where SR lies is then
measured to a hundredth of a pixel, without interpolating SR.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from medsr_lib.restore import degrade

WAVES = 16
STEPS = 8  # of Gauss-Newton, at most
WAVELENGTHS = (12.0, 40.0)  # LR pixels: what any method restores at any scale
BORDER = 6  # LR pixels at each side that are not compared, where padding shows


@dataclass(frozen=True)
class Probe:
    """An image of h x w LR pixels with values within [0.08, 0.92].

    Attributes:
        height, width: in LR pixels.
        scale: SR pixels of an LR pixel.
        seed: of the waves.
        contrast: 1, or less for a fainter image of the same mean.
    """

    height: int
    width: int
    scale: int
    seed: int = 0
    contrast: float = 1.0

    def hr(self, down: float = 0.0, right: float = 0.0) -> Tensor:
        """(1, 1, scale h, scale w) in [0, 1], moved by SR pixels."""
        y, x = self._grid()
        return self._at(y - down, x - right)[None, None].float()

    def lr(self) -> Tensor:
        """(1, 1, h, w): the bicubic degradation of `hr`, itself at scale 1."""
        return _lr(self).clone()

    def inner(self, sr: Tensor) -> Tensor:
        """What of an image (..., scale h, scale w) is compared."""
        edge = self.scale * min(BORDER, self.height // 4, self.width // 4)
        return sr[..., edge : sr.shape[-2] - edge, edge : sr.shape[-1] - edge]

    def fit(self, sr: Tensor) -> "Fit":
        """How SR (1, 1, scale h, scale w) lies, by least squares in a few Gauss-Newton steps."""
        y, x = (self.inner(part) for part in self._grid())
        seen = self.inner(sr)[0, 0].double()
        v, u = (2 * (part - part.mean()) / (part.max() - part.min()) for part in (y, x))
        found = torch.zeros(6, dtype=torch.float64)
        found[4] = 1.0
        most = 2.0 * self.scale
        for _ in range(STEPS):
            down, right, tall, wide, gain, offset = found.tolist()
            at = (y - down - tall * v, x - right - wide * u)
            image = self._at(*at)
            dy = self._at(at[0] - 0.5, at[1]) - self._at(at[0] + 0.5, at[1])
            dx = self._at(at[0], at[1] - 0.5) - self._at(at[0], at[1] + 0.5)
            slopes = [dy * gain, dx * gain, dy * gain * v, dx * gain * u, image, image * 0 + 1]
            columns = torch.stack([c.flatten() for c in slopes], 1)
            rest = (seen - gain * image - offset).flatten()
            step = torch.linalg.lstsq(columns, rest[:, None]).solution[:, 0]
            found = found + step
            found[:4] = found[:4].clamp(-most, most)
            if step[:4].abs().max() < 1e-3:
                break
        down, right, tall, wide, gain, offset = found.tolist()
        left = rest.square().mean().sqrt().item()
        rms = (seen - self._at(y - down, x - right)).square().mean().sqrt().item()
        return Fit((down, right), (tall, wide), gain, offset, rms, left)

    def _grid(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the SR pixels, (scale h, scale w) each."""
        size = (self.height * self.scale, self.width * self.scale)
        down, right = (torch.arange(n, dtype=torch.float64) for n in size)
        y, x = torch.meshgrid(down, right, indexing="ij")
        return y, x

    def _at(self, y: Tensor, x: Tensor) -> Tensor:
        """Values at positions in SR pixels; the same at any scale, seen in LR pixels."""
        generator = torch.Generator().manual_seed(self.seed)
        draw = torch.rand(3, WAVES, generator=generator, dtype=torch.float64)
        low, high = (math.log(length) for length in WAVELENGTHS)
        turns = 1 / (self.scale * torch.exp(low + draw[0] * (high - low)))
        angle, phase = 2 * math.pi * draw[1], 2 * math.pi * draw[2]
        total = torch.zeros_like(y)
        for turn, a, p in zip(turns.tolist(), angle.tolist(), phase.tolist()):
            total += torch.cos(2 * math.pi * turn * (math.cos(a) * y + math.sin(a) * x) + p)
        return 0.5 + 0.42 * self.contrast * torch.tanh(total * (1.5 / WAVES**0.5))


@lru_cache(maxsize=16)
def _lr(probe: Probe) -> Tensor:
    hr = probe.hr()
    return hr if probe.scale == 1 else degrade.bicubic(hr, scale=probe.scale).clamp(0, 1)


@dataclass(frozen=True)
class Fit:
    """How an image restored from a probe lies and differs.

    Attributes:
        shift: SR pixels that it lies too far down and right.
        stretch: SR pixels that its lower and right edges lie too far out.
        gain, offset: of its values: 1 and 0.
        rms: what differs from the image moved by `shift`.
        left: what differs when stretch, gain and offset are taken out too.
    """

    shift: tuple[float, float]
    stretch: tuple[float, float]
    gain: float
    offset: float
    rms: float
    left: float
