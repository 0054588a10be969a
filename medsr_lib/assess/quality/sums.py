"""Sums over regions that overlap, of many maps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medsr_lib.assess.quality.ssim import INNER, to_double


class Sums:
    """Regions (B, R, H, W), ready to sum maps over them.

    Pixels that are in the same regions of an image are a part; there are few. Sums over the parts
    take each pixel once, however many regions hold it, and add up to those over the regions.

    Attributes:
        pixels: (B, R) of each region.
        inner_pixels: (B, R) of each region without the outer 5 pixels of the image.
    """

    def __init__(self, masks: Tensor) -> None:
        inner = torch.zeros_like(masks[:, :1])
        inner[INNER] = True
        bits = torch.cat((masks, inner), 1).cpu().numpy()
        batch, n = bits.shape[:2]
        kind = np.min_scalar_type((batch << n) - 1)  # at most 16 bits are sorted in no time
        codes = np.zeros((batch, *masks.shape[2:]), kind)
        codes += (np.arange(batch, dtype=kind) << n)[:, None, None]
        for r in range(n):
            codes |= bits[:, r].astype(kind) << r
        self._order = torch.from_numpy(np.argsort(codes, None, "stable")).to(masks.device)
        counts = np.bincount(codes.ravel())
        parts = np.flatnonzero(counts)
        self._counts = counts[parts].tolist()
        own = (parts >> n)[:, None, None] == np.arange(batch)[:, None]  # (parts, B, 1)
        holds = torch.from_numpy(own & (parts[:, None, None] >> np.arange(n) & 1).astype(bool))
        everywhere, within = holds[..., :-1].double(), holds[..., -1:].double()
        self._holds = torch.stack((everywhere, everywhere * within))  # (2, parts, B, R)
        of_part = torch.tensor(self._counts).double()
        self.pixels, self.inner_pixels = torch.einsum("p,ipbr->ibr", of_part, self._holds)

    def __call__(self, maps: Sequence[Tensor], *, inner: Sequence[bool]) -> list[Tensor]:
        """Sums (B, R) of each map (B, H, W), some without the outer 5 pixels; on the CPU."""
        sorted_ = to_double(torch.stack(tuple(maps)).flatten(1).index_select(1, self._order))
        sums = torch.stack([part.sum(1) for part in sorted_.split(self._counts, 1)], 1).cpu()
        return [torch.einsum("p,pbr->br", of, self._holds[int(i)]) for of, i in zip(sums, inner)]
