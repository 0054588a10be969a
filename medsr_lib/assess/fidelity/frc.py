"""Fourier ring correlation of patches: where SR and HR part, and whether SR lost or invented there.

After sFRC (Kc et al., arXiv 2603.04673): patch by patch, the correlation of SR and HR is taken in
rings of one spatial frequency; a patch in which it falls below a threshold at a low frequency is
flagged. Blur and invention both do that, so they are distinguished by energy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsr_lib.assess.quality.metrics import check_mask, check_pair

SIZE = 48
"""Pixels of a patch side, as the authors took for MRI (github.com/DIDSR/sfrc, demo_sfrc_run.sh).
Patches overlap by half, as the window fades the rest."""

THRESHOLD = 0.75
"""Of the correlation, as the authors took for MRI; 0.5 for CT."""

ENERGY = 0.5
"""Least uncorrelated energy of SR, in that of HR, that counts as invention. 1 would be content of
HR's strength in the wrong place, 0 none: half lies between."""

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

KINDS = ("agrees", "loss", "invention")
UNMEASURED = -1


@dataclass(frozen=True)
class RingCorrelation:
    """Patches of B images, in R rows and C columns, with K rings each.

    Attributes:
        curve: (B, R, C, K) correlation of SR and HR in each ring, in [-1, 1]; ring k has k / K of
            the Nyquist frequency.
        crossing: (B, R, C) frequency at which the curve falls below the threshold, as a share of
            Nyquist; infinite where it never does, NaN where not measured.
        energy: (B, R, C) uncorrelated energy of SR in units of that of HR, from the crossing on;
            NaN where the curve never crosses.
        kind: (B, R, C) index into `KINDS`; -1 where not measured.
        map: (B, H, W) the kind of the patch whose centre is nearest.
    """

    curve: Array
    crossing: Array
    energy: Array
    kind: Numbers
    map: Tensor


def ring_correlation(
    sr: Tensor, hr: Tensor, *, max_frequency: float, mask: Tensor | None = None
) -> RingCorrelation:
    """Flag the patches in which SR and HR differ at low frequencies, and say in which way.

    In ring k the correlation is c = Re sum(S conj(H)) / sqrt(sum |S|^2 sum |H|^2) of the spectra S
    and H of the patches, less their mean and under a Hann window (Kc et al., equation of the FRC;
    the sign is kept here). A ring that is empty in one of the two has 0, in both 1. The curve
    crosses where it first falls below `THRESHOLD`, by linear interpolation between rings; a patch
    is flagged where that is below `max_frequency`.

    Of S, the part (1 - c^2) sum |S|^2 is not a multiple of H: invented; of H, (1 - c^2) sum |H|^2
    is not in S: lost (c below 0 counts as 0). Their ratio over all rings from the crossing to
    Nyquist is `energy`: SR that is merely smooth has little energy there, SR that invents has as
    much as HR or more. A blur that only weakens the rings keeps them correlated, so it is flagged
    where windowing and what else remains outweigh it, not where it begins.

    Args:
        sr, hr: (B, 1, H, W) in [0, 1].
        max_frequency: flag patches that differ below this share of the Nyquist frequency, in
            (0, 1]. The authors tuned 0.16 and 0.17 for MRI at 3-fold undersampling; 1 / scale is
            where LR ends.
        mask: (H, W) or (B, H, W) bool; patches less than half inside are not measured.

    Raises:
        TypeError, ValueError: images that are not floats (B, 1, H, W) in [0, 1] of one shape and at
            least 48 pixels on each side, or a frequency or mask out of range.
    """
    check_pair(sr, hr, least=SIZE, what="the correlation")
    if not 0 < max_frequency <= 1:
        raise ValueError(f"max_frequency must be in (0, 1], got {max_frequency}")
    top, left = (_starts(n) for n in hr.shape[-2:])
    power_sr, power_hr, cross = _rings(*(_patches(i[:, 0], top, left) for i in (sr, hr)))
    curve = _correlation(power_sr, power_hr, cross)
    first, crossing = _first_below(curve)
    beyond = np.arange(curve.shape[-1]) >= first[..., None]
    apart = beyond * (1 - curve.clip(0) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = (apart * power_sr).sum(-1) / (apart * power_hr).sum(-1)
    kind = np.where(crossing < max_frequency, np.where(energy >= ENERGY, 2, 1), 0)
    if mask is not None:
        inside = check_mask(mask, hr).to(torch.float64)
        out = _patches(inside, top, left).mean((-2, -1)) < 0.5
        kind[out], crossing[out], energy[out], curve[out] = UNMEASURED, np.nan, np.nan, np.nan
    rows, columns = (_nearest(first, n) for first, n in zip((top, left), hr.shape[-2:]))
    return RingCorrelation(
        curve, crossing, energy, kind, torch.from_numpy(kind[:, rows][:, :, columns])
    )


def _starts(n: int) -> Numbers:
    """First pixels of patches that reach from the first pixel of a side to the last."""
    return np.unique([*range(0, n - SIZE + 1, SIZE // 2), n - SIZE])


def _nearest(starts: Numbers, n: int) -> Numbers:
    """For each pixel of a side, (n,), the number of the patch whose centre is nearest."""
    centres = starts + (SIZE - 1) / 2
    return np.asarray(np.abs(np.arange(n)[:, None] - centres).argmin(1))


def _patches(values: Tensor, top: Numbers, left: Numbers) -> Array:
    """Patches (B, R, C, SIZE, SIZE) of (B, H, W)."""
    every = values.detach().cpu().double().unfold(1, SIZE, 1).unfold(2, SIZE, 1)
    return every[:, torch.as_tensor(top)[:, None], torch.as_tensor(left)].numpy()


def _rings(sr: Array, hr: Array) -> tuple[Array, Array, Array]:
    """Sums of |S|^2, |H|^2 and Re S conj(H) of patches over the rings 1 to SIZE / 2, (..., K)."""
    hann = np.hanning(SIZE + 1)[:-1]  # periodic
    window = hann[:, None] * hann
    down, across = np.fft.fftfreq(SIZE, 1 / SIZE), np.fft.rfftfreq(SIZE, 1 / SIZE)
    radius = np.rint(np.hypot(down[:, None], across)).astype(int)
    twice = np.where((across > 0) & (across < SIZE // 2), 2.0, 1.0)  # the half not computed
    ring = np.arange(1, SIZE // 2 + 1)
    member = ((radius[..., None] == ring) * twice[:, None]).reshape(-1, len(ring))
    sums = []
    for pair in zip(sr, hr):  # image by image, which a cache holds
        means = ((p * window).sum((-2, -1), keepdims=True) / window.sum() for p in pair)
        S, H = (np.fft.rfft2((p - mean) * window) for p, mean in zip(pair, means))
        pairs = ((S, S), (H, H), (S, H))
        products = (a.real * b.real + a.imag * b.imag for a, b in pairs)
        sums.append([p.reshape(*p.shape[:-2], -1) @ member for p in products])
    power_sr, power_hr, cross = (np.stack(kept) for kept in zip(*sums))
    return power_sr, power_hr, cross


def _correlation(power_sr: Array, power_hr: Array, cross: Array) -> Array:
    """Correlation of rings; 1 where both are empty, 0 where one is."""
    tiny = 1e-24  # energy left by rounding of float64 in a patch of values around 1
    scale = np.sqrt(power_sr * power_hr)
    both_empty = (power_sr < tiny) & (power_hr < tiny)
    found = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > tiny)
    return np.where(both_empty, 1.0, found)


def _first_below(curve: Array) -> tuple[Numbers, Array]:
    """Index of the first ring below `THRESHOLD` (K if none), and the frequency of crossing."""
    frequency = np.arange(1, curve.shape[-1] + 1) / curve.shape[-1]
    low = curve < THRESHOLD
    crosses = low.any(-1)
    first = np.where(crosses, low.argmax(-1), len(frequency))
    at = first.clip(max=len(frequency) - 1)
    before = (at - 1).clip(0)
    here, there = (np.take_along_axis(curve, i[..., None], -1)[..., 0] for i in (at, before))
    fall = np.where(there > here, there - here, 1.0)
    part = np.where(at > 0, (there - THRESHOLD) / fall, 0.0)
    crossing = frequency[before] + part * (frequency[at] - frequency[before])
    return first, np.where(crosses, crossing, np.inf)
