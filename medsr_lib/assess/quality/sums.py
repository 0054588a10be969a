"""Sums over regions that overlap, of many maps."""

import numpy as np
import torch
from torch import Tensor

from medsr_lib.assess.quality.ssim import INNER


class Sums:
    """Regions (B, R, H, W), ready to sum maps over them.

    Rows fall into runs of pixels that are in the same regions; there are few. Sums over the runs
    take each pixel once, however many regions hold it, and add up to those over the regions.

    Attributes:
        pixels: (B, R) of each region.
        inner_pixels: (B, R) of each region without the outer 5 pixels of the image.
    """

    def __init__(self, masks: Tensor) -> None:
        inner = torch.zeros_like(masks[0, 0])
        inner[INNER] = True
        self._runs = []
        counts = []
        for of in masks.flatten(2).cpu().numpy():
            every = (*of, inner.flatten().cpu().numpy())
            ends = np.zeros(of.shape[1] - 1, bool)
            for one in every:  # each fits into a cache, all together do not
                ends |= one[1:] != one[:-1]
            starts = np.append(0, np.flatnonzero(ends) + 1)
            *holds, within = np.stack([one[starts] for one in every]).astype(float)
            both = np.stack((holds, holds * within)).swapaxes(1, 2)  # (2, runs, R)
            self._runs.append((starts, both))
            counts.append(np.diff(starts, append=of.shape[1]) @ both)
        self.pixels, self.inner_pixels = torch.from_numpy(np.stack(counts, 1))

    def __call__(self, of_map: Tensor, *, inner: bool) -> Tensor:
        """Sums (B, R) of a map (B, H, W), maybe without the outer 5 pixels; on the CPU.

        Within a run in the map's own precision, over the runs in float64.
        """
        sums = []
        for values, (starts, holds) in zip(of_map.flatten(1).cpu().numpy(), self._runs):
            sums.append(np.add.reduceat(values, starts).astype(float) @ holds[int(inner)])
        return torch.from_numpy(np.stack(sums))
