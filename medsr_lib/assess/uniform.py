"""Uniform references: changes that treat every tissue alike, to hold a method's contrast against.

A gain in SSIM in the tumour minus that in other tissue is not 0 for such a change, because the
tissues leave SSIM different room. `references` makes families of them, each in several strengths,
as methods that are scored with all others; `statistics.null_bands` interpolates each family to the
whole-brain gain of a method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import fft, optimize
from torch import Tensor

from medsr_lib.assess.restored import Method
from medsr_lib.case import Case, for_case

PREFIX = "uniform "  # of the names of references among methods
KEPT = 16  # cases whose images are kept for the next reference; `score` takes 8 at once
WIDEST = 64.0  # pixels; the largest sigma of the blur

STRENGTHS: Mapping[str, Sequence[float]] = {
    "mixture": (-0.6, -0.3, 0, 0.2, 0.4, 0.65, 0.8),
    "linear": (-1.6, -0.6, 0, 0.5, 0.8, 1, 1.3, 1.8),
    "blur": (2.5, 1.25, 0.7, 0.4, 0.15, 0.05),
    "low-pass": (2.5, 1.6, 1, 0.8, 0.6, 0.35, 0.05),
    "noise": (2.5, 1.6, 1, 0.6, 0.2),
}
"""Strengths of each family, worse images first; what they mean, `references` says.

From 4 dB below the baseline to 13 dB above it (noise, and linear below it: as far as they go).
Denser where curves bend: on 40 real slices at x4, for gains of -2 to 7 dB, straight lines between
them miss the contrast by at most 0.0008 in SSIM and 0.005 dB in PSNR, that of the low-pass, which
is jagged, by 0.002 and 0.06 dB.
"""


def references(
    baseline: Method,
    *,
    linear: Method | None = None,
    noiseless: Method | None = None,
    strengths: Mapping[str, Sequence[float]] = STRENGTHS,
) -> dict[str, Method]:
    """Uniform references in all their strengths, as methods for `score.score`.

    They know HR, so they are no methods to be used: each differs from case to case.

    - `mixture` t: baseline + t (HR - baseline). All of the error shrinks by the same share.
    - `linear` t: up to 1, baseline + t (linear - baseline); beyond, HR is mixed into linear,
      linear + (t - 1) (HR - linear).
    - `blur` r: HR blurred by the Gaussian whose squared error, over the whole image, is r times the
      baseline's; so its sigma follows the scale, the degradation and the image.
    - `low-pass` r: HR without the frequencies beyond a radius, which r sets likewise.
    - `noise` s: the baseline from LR with s times its noise.

    Blur and low-pass are products with a transfer function of radial frequency under the discrete
    cosine transform, which continues the image by its mirror image.

    Args:
        baseline: LR (B, 1, h, w) -> SR (B, 1, H, W), such as bicubic interpolation; it may have
            `of` (`case.for_case`).
        linear: the best linear filter (`linear.fit`, `linear.cross_fit`); None leaves that family
            out.
        noiseless: the degradation without its noise, HR -> LR, where noise is the subject; None
            leaves that family out.
        strengths: family -> its strengths.

    Returns:
        "uniform mixture 0.2" and so on -> method. SR is clipped to [0, 1].

    Raises:
        ValueError: a family that does not exist, or without strengths.
    """
    if unknown := [name for name in strengths if name not in _MAKE]:
        raise ValueError(f"no family {unknown[0]!r} of references; there are {', '.join(_MAKE)}")
    needs = {"linear": linear, "noise": noiseless}
    images = _Images(baseline, linear, noiseless)
    found: dict[str, Method] = {}
    for family, of_family in strengths.items():
        if not len(of_family):
            raise ValueError(f"the family {family!r} of references has no strengths")
        if family in needs and needs[family] is None:
            continue
        for strength in of_family:
            found[f"{PREFIX}{family} {strength:g}"] = _Reference(images, family, strength)
    return found


def from_hr(change: Method) -> Method:
    """A method that shows HR changed, such as its low-pass: what is in it, nobody invented.

    Args:
        change: HR (1, 1, H, W) -> the same size; clipped to [0, 1] here.
    """
    return _FromHR(change)


def families(table: pd.DataFrame) -> dict[str, list[str]]:
    """The references among the methods of a table: family -> their names, in the table's order."""
    found: dict[str, list[str]] = {}
    for name in table["method"].unique():
        if str(name).startswith(PREFIX):
            found.setdefault(name.removeprefix(PREFIX).rsplit(" ", 1)[0], []).append(name)
    return found


def without(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are of methods, not of references."""
    return table[~table["method"].astype(str).str.startswith(PREFIX)]


@dataclass(frozen=True, eq=False)
class _Of:
    """One case with its LR, and what several references are made of."""

    lr: Tensor  # (1, 1, h, w)
    hr: Tensor  # (1, 1, H, W)
    baseline: Tensor
    linear: Callable[[], Tensor]
    with_noise: Callable[[float], Tensor]  # the baseline from LR with so much of its noise

    @cached_property
    def linear_sr(self) -> Tensor:
        return self.linear()

    @cached_property
    def error(self) -> float:
        """Of the baseline: mean squared error over the image."""
        return float((self.baseline - self.hr).double().square().mean())

    @cached_property
    def spectrum(self) -> NDArray[np.floating]:
        """Of HR: coefficients of the orthonormal cosine transform, (H, W)."""
        return np.asarray(fft.dctn(self.hr[0, 0].cpu().numpy(), norm="ortho"))

    @cached_property
    def frequency(self) -> NDArray[np.floating]:
        """Radial, of each coefficient, in cycles per pixel, (H, W)."""
        rows, columns = (np.arange(n, dtype=np.float32) / (2 * n) for n in self.spectrum.shape)
        return np.hypot(rows[:, None], columns)

    @cached_property
    def rings(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Of rings of the spectrum, from the middle: their frequency, and energy per pixel."""
        n = max(self.spectrum.shape)
        ring = np.rint(self.frequency * 2 * n).astype(int).ravel()
        energy = np.bincount(ring, np.square(self.spectrum, dtype=np.float64).ravel())
        return np.arange(len(energy)) / (2 * n), energy / self.spectrum.size

    def filtered(self, transfer: NDArray[np.floating]) -> Tensor:
        """HR, its coefficients multiplied by a transfer function (H, W)."""
        made = fft.idctn(self.spectrum * transfer.astype(np.float32), norm="ortho")
        return torch.from_numpy(np.asarray(made))[None, None].to(self.hr)


class _Images:
    """What references are made of, by case: made once, though each reference asks for it."""

    def __init__(self, baseline: Method, linear: Method | None, noiseless: Method | None) -> None:
        self.baseline, self.linear, self.noiseless = baseline, linear, noiseless
        self.kept: dict[Case, _Of] = {}

    def of(self, case: Case, lr: Tensor) -> _Of:
        found = self.kept.get(case)
        if found is None or found.lr.device != lr.device or not torch.equal(found.lr, lr):
            found = self._make(case, lr)
            self.kept.pop(case, None)
            self.kept[case] = found
            if len(self.kept) > KEPT:
                del self.kept[next(iter(self.kept))]
        return found

    def _make(self, case: Case, lr: Tensor) -> _Of:
        hr = case.image[None, None].to(lr.device)
        baseline = for_case(self.baseline, case)

        def with_noise(share: float) -> Tensor:
            clean = for_case(_given(self.noiseless), case)(hr)
            return baseline(clean + share * (lr - clean))

        return _Of(
            lr, hr, baseline(lr), lambda: for_case(_given(self.linear), case)(lr), with_noise
        )


@dataclass(frozen=True, eq=False)
class _Reference:
    """One reference as a method that differs from case to case."""

    images: _Images = field(repr=False)
    family: str
    strength: float

    def of(self, case: Case) -> Method:
        """LR (1, 1, h, w) of this case -> SR (1, 1, H, W)."""
        return lambda lr: _MAKE[self.family](self.images.of(case, lr), self.strength).clamp(0, 1)

    def __call__(self, lr: Tensor) -> Tensor:
        raise TypeError("a uniform reference is made from HR; call the one `of` a case")


@dataclass(frozen=True, eq=False)
class _FromHR:
    """HR changed, as a method that differs from case to case."""

    change: Method

    def of(self, case: Case) -> Method:
        """LR of this case, of any size -> its HR changed, (1, 1, H, W)."""
        return lambda lr: self.change(case.image[None, None].to(lr.device)).clamp(0, 1)

    def __call__(self, lr: Tensor) -> Tensor:
        raise TypeError("this reference is made from HR; call the one `of` a case")


def _mixture(of: _Of, t: float) -> Tensor:
    return of.baseline + t * (of.hr - of.baseline)


def _linear(of: _Of, t: float) -> Tensor:
    if t < 1:
        return of.baseline + t * (of.linear_sr - of.baseline)
    return of.linear_sr + (t - 1) * (of.hr - of.linear_sr)


def _blur(of: _Of, r: float) -> Tensor:
    at, energy = of.rings

    def excess(sigma: float) -> float:
        lost = 1 - _gaussian(at, sigma)
        return float((lost**2 * energy).sum()) - r * of.error

    sigma = WIDEST if excess(WIDEST) < 0 else optimize.brentq(excess, 0, WIDEST, xtol=1e-4)
    return of.filtered(_gaussian(of.frequency, sigma))


def _low_pass(of: _Of, r: float) -> Tensor:
    at, energy = of.rings
    beyond = energy[::-1].cumsum()[::-1]  # from each ring on
    first = int((beyond > r * of.error).sum())  # ring that is lost, with all beyond
    return of.filtered(np.less(of.frequency, (first - 0.5) * at[1]))


def _noise(of: _Of, share: float) -> Tensor:
    return of.with_noise(share)


_MAKE: dict[str, Callable[[_Of, float], Tensor]] = {
    "mixture": _mixture,
    "linear": _linear,
    "blur": _blur,
    "low-pass": _low_pass,
    "noise": _noise,
}


def _gaussian(frequency: Any, sigma: float) -> Any:
    """The Fourier transform of a Gaussian of so many pixels, at cycles per pixel."""
    return np.exp(-2 * (np.pi * sigma * frequency) ** 2)


def _given(function: Method | None) -> Method:
    if function is None:
        raise ValueError("this family of references needs a function that was not given")
    return function
