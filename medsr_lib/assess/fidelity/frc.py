"""Fourier ring correlation of patches: where SR and HR part, and whether SR lost or invented there.

After sFRC (Kc et al., arXiv 2603.04673): patch by patch, the correlation of SR and HR is taken in
rings of one spatial frequency; a patch in which it falls below a threshold at a low frequency is
flagged. Blur and invention both do that, so they are told apart by energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsr_lib import images

SIZE = 48
"""Pixels of a patch side, as the authors took for MRI (github.com/DIDSR/sfrc, demo_sfrc_run.sh)."""

THRESHOLD = 0.75
"""Of the correlation, as the authors took for MRI; 0.5 for CT."""

ENERGY = 0.5
"""Least uncorrelated energy of SR, in that of HR, that counts as invention. 1 would be content of
HR's strength in the wrong place, 0 none: half lies between."""

KINDS = ("agrees", "loss", "invention")
UNMEASURED = -1


@dataclass(frozen=True)
class RingCorrelation:
    """Patches of B images, in R rows and C columns.

    Attributes:
        frequency: (K,) of the rings, in shares of the Nyquist frequency.
        curve: (B, R, C, K) correlation of SR and HR in each ring, in [-1, 1].
        crossing: (B, R, C) frequency at which the curve falls below the threshold; infinite where
            it never does, NaN where not measured.
        energy: (B, R, C) uncorrelated energy of SR in units of that of HR, from the crossing on;
            NaN where the curve never crosses.
        kind: (B, R, C) index into `KINDS`; -1 where not measured.
        top: (R,) first row of the patches; left: (C,) first column.
        size: of a patch, in pixels.
        shape: (H, W) of the images.
    """

    frequency: NDArray[np.float64]
    curve: NDArray[np.float64]
    crossing: NDArray[np.float64]
    energy: NDArray[np.float64]
    kind: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    size: int
    shape: tuple[int, int]

    def map(self) -> Tensor:
        """Kinds (B, H, W), -1 where not measured: every pixel has that of the nearest patch."""
        nearest = []
        for first, n in zip((self.top, self.left), self.shape):
            centre = first + (self.size - 1) / 2
            nearest.append(np.abs(np.arange(n)[:, None] - centre).argmin(1))
        return torch.from_numpy(self.kind[:, nearest[0]][:, :, nearest[1]])

    def table(self) -> pd.DataFrame:
        """A row a measured patch: image, row, column (its first pixel), crossing, energy, kind."""
        b, r, c = np.nonzero(self.kind != UNMEASURED)
        return pd.DataFrame(
            {
                "image": b,
                "row": self.top[r],
                "column": self.left[c],
                "crossing": self.crossing[b, r, c],
                "energy": self.energy[b, r, c],
                "kind": np.array(KINDS)[self.kind[b, r, c]],
            }
        )


def ring_correlation(
    sr: Tensor,
    hr: Tensor,
    *,
    below: float,
    size: int = SIZE,
    stride: int | None = None,
    threshold: float = THRESHOLD,
    energy: float = ENERGY,
    mask: Tensor | None = None,
) -> RingCorrelation:
    """Flag the patches in which SR and HR part below a frequency, and say which way.

    In ring k the correlation is c = Re sum(S conj(H)) / sqrt(sum |S|^2 sum |H|^2) of the spectra S
    and H of the patches, less their mean and under a Hann window (Kc et al., equation of the FRC;
    the sign is kept here). A ring that is empty in one of the two has 0, in both 1. The curve
    crosses where it first falls below the threshold, by linear interpolation between rings; a patch
    is flagged where that is below `below`.

    Of S, the part (1 - c^2) sum |S|^2 is not a multiple of H: invented; of H, (1 - c^2) sum |H|^2
    is not in S: lost (c below 0 counts as 0). Their ratio over all rings from the crossing to
    Nyquist is `energy`: SR that is merely smooth has little energy there, SR that invents has as
    much as HR or more. A blur that only weakens the rings keeps them correlated, so it is flagged
    where windowing and what else remains outweigh it, not where it begins.

    Args:
        sr, hr: (B, 1, H, W) in [0, 1].
        below: flag patches that part below this share of the Nyquist frequency, in (0, 1]. The
            authors tuned 0.16 and 0.17 for MRI at 3-fold undersampling; 1 / scale is where LR ends.
        size: of a patch side in pixels, even.
        stride: from patch to patch; by default half a patch, as the window fades the rest.
        threshold: of the correlation.
        energy: least ratio that counts as invention.
        mask: (H, W) or (B, H, W) bool; patches less than half inside are not measured.

    Raises:
        TypeError, ValueError: images that are not floats (B, 1, H, W) in [0, 1] of one shape, or a
            size, stride, threshold, frequency or mask that is none.
    """
    stride = size // 2 if stride is None else stride
    _check(sr, hr, below, size, stride, threshold, mask)
    top, left = (_starts(n, size, stride) for n in hr.shape[-2:])
    frequency = np.arange(1, size // 2 + 1) / (size // 2)
    power_sr, power_hr, cross = _rings(*(_patches(i[:, 0], top, left, size) for i in (sr, hr)))
    curve = _correlation(power_sr, power_hr, cross)
    first, crossing = _first_below(curve, frequency, threshold)
    beyond = np.arange(len(frequency)) >= first[..., None]
    apart = beyond * (1 - curve.clip(0) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (apart * power_sr).sum(-1) / (apart * power_hr).sum(-1)
    kind = np.where(crossing < below, np.where(ratio >= energy, 2, 1), 0)
    if mask is not None:
        inside = mask.expand(sr.shape[0], *mask.shape[-2:]).to(torch.float64)
        out = _patches(inside, top, left, size).mean((-2, -1)) < 0.5
        kind[out], crossing[out], ratio[out], curve[out] = UNMEASURED, np.nan, np.nan, np.nan
    height, width = hr.shape[-2:]
    return RingCorrelation(
        frequency, curve, crossing, ratio, kind, top, left, size, (height, width)
    )


def _starts(n: int, size: int, stride: int) -> NDArray[np.int64]:
    """First pixels of patches that reach from the first pixel to the last."""
    starts = list(range(0, n - size + 1, stride))
    if starts[-1] != n - size:
        starts.append(n - size)
    return np.array(starts)


def _patches(
    values: Tensor, top: Sequence[int] | NDArray[np.int64], left: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """Patches (B, R, C, size, size) of (B, H, W)."""
    every = values.detach().cpu().double().unfold(1, size, 1).unfold(2, size, 1)
    return every[:, torch.as_tensor(top)[:, None], torch.as_tensor(left)].numpy()


def _rings(
    sr: NDArray[np.float64], hr: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sums of |S|^2, |H|^2 and Re S conj(H) of patches over the rings 1 to size / 2, (..., K)."""
    size = sr.shape[-1]
    hann = np.hanning(size + 1)[:-1]  # periodic
    window = hann[:, None] * hann
    down, across = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    radius = np.rint(np.hypot(down[:, None], across)).astype(int)
    twice = np.where((across > 0) & (across < size // 2), 2.0, 1.0)  # the half not computed
    ring = np.arange(1, size // 2 + 1)
    member = ((radius[..., None] == ring) * twice[:, None]).reshape(-1, len(ring))
    sums: list[list[NDArray[np.float64]]] = [[], [], []]
    for pair in zip(sr, hr):  # image by image, which a cache holds
        means = ((p * window).sum((-2, -1), keepdims=True) / window.sum() for p in pair)
        S, H = (np.fft.rfft2((p - mean) * window) for p, mean in zip(pair, means))
        products = (
            S.real**2 + S.imag**2,
            H.real**2 + H.imag**2,
            S.real * H.real + S.imag * H.imag,
        )
        for kept, product in zip(sums, products):
            kept.append(product.reshape(*product.shape[:-2], -1) @ member)
    power_sr, power_hr, cross = (np.stack(kept) for kept in sums)
    return power_sr, power_hr, cross


def _correlation(
    power_sr: NDArray[np.float64], power_hr: NDArray[np.float64], cross: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Correlation of rings; 1 where both are empty, 0 where one is."""
    tiny = 1e-24  # energy left by rounding of float64 in a patch of values around 1
    scale = np.sqrt(power_sr * power_hr)
    both_empty = (power_sr < tiny) & (power_hr < tiny)
    found = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > tiny)
    return np.where(both_empty, 1.0, found)


def _first_below(
    curve: NDArray[np.float64], frequency: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of the first ring below the threshold (K if none), and the frequency of crossing."""
    low = curve < threshold
    crosses = low.any(-1)
    first = np.where(crosses, low.argmax(-1), len(frequency))
    at = first.clip(max=len(frequency) - 1)
    before = (at - 1).clip(0)
    here, there = (np.take_along_axis(curve, i[..., None], -1)[..., 0] for i in (at, before))
    fall = np.where(there > here, there - here, 1.0)
    part = np.where(at > 0, (there - threshold) / fall, 0.0)
    crossing = frequency[before] + part * (frequency[at] - frequency[before])
    return first, np.where(crosses, crossing, np.inf)


def _check(
    sr: Tensor,
    hr: Tensor,
    below: float,
    size: int,
    stride: int,
    threshold: float,
    mask: Tensor | None,
) -> None:
    images.check(sr, "sr")
    images.check(hr, "hr")
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
    if size % 2 or size < 8 or size > min(hr.shape[-2:]):
        raise ValueError(
            f"size must be even, at least 8 and at most {min(hr.shape[-2:])}, got {size}"
        )
    if stride < 1 or not 0 < threshold < 1 or not 0 < below <= 1:
        raise ValueError(
            "stride must be at least 1, threshold in (0, 1) and below in (0, 1], got "
            f"{stride}, {threshold} and {below}"
        )
    one, many = tuple(hr.shape[-2:]), (hr.shape[0], *hr.shape[-2:])
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) not in (one, many)):
        raise ValueError(
            f"mask must be bool and {one} or {many}, got {mask.dtype} and {tuple(mask.shape)}"
        )
