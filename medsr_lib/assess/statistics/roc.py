"""ROC curves with bands over patients, and whether two of them differ: DeLong and the bootstrap.

What detects is judged by its scores: the higher, the rather an image is positive. The unit is the
patient: all that is drawn again or summed is drawn or summed by patients, who may have several
images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score, roc_curve

Array = NDArray[np.floating]
_BATCH = 200  # resamples held in memory at once


@dataclass(frozen=True, repr=False)
class AucDifference:
    """By how much the area under one ROC curve exceeds another's, on the same images.

    Attributes:
        auc, baseline: the two areas.
        value: auc - baseline.
        low, high: 95 % interval of it.
        p: two-sided, that it is 0. 1 where the areas are equal and so are all ranks that make them;
            NaN where they differ, but so equally for all images that no variance is left.
        patients, slices: how many, the latter images.
    """

    auc: float
    baseline: float
    value: float
    low: float
    high: float
    p: float
    patients: int
    slices: int

    def __repr__(self) -> str:
        return (
            f"AucDifference({self.auc:.3f} - {self.baseline:.3f} = {self.value:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}], p = {self.p:.2g}, {self.slices} images of "
            f"{self.patients} patients)"
        )


def delong(
    scores: ArrayLike,
    baseline: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> AucDifference:
    """Compare two correlated areas under ROC curves without any model of the scores.

    DeLong et al. 1988 (Biometrics 44:837): the area is a mean of structural components V10 of the
    positives and V01 of the negatives, whose variances give that of the difference. The components
    come from ranks (Sun & Xu 2014, IEEE Signal Process Lett 21:1389, equations 6 to 9), which takes
    no longer than sorting. Components of one patient are summed first (Obuchowski 1997, Biometrics
    53:567); with an image each, that is DeLong's variance. Interval and p are of the normal
    distribution, hence rough where one of the classes has few patients.

    Args:
        scores, baseline: (n,) of the same images.
        positive: (n,) bool.
        patients: (n,) whose image it is; None where each has one.
        level: of the interval.

    Raises:
        ValueError: lengths that differ, scores that are not finite, one class only, or a class of
            one patient.
    """
    a, truth, who = checked(scores, positive, patients)
    b, _, _ = checked(baseline, positive, patients)
    (a10, a01), (b10, b01) = (components(s, truth) for s in (a, b))
    value = float(a10.mean() - b10.mean())
    variance = _variance(a10 - b10, a01 - b01, who[truth], who[~truth])
    se = float(np.sqrt(max(variance, 0)))
    reach = norm.ppf((1 + level) / 2) * se
    without_spread = 1.0 if abs(value) < 1e-12 else float("nan")
    p = 2 * norm.sf(abs(value) / se) if se > 1e-12 else without_spread
    return AucDifference(
        auc=float(a10.mean()),
        baseline=float(b10.mean()),
        value=value,
        low=float(value - reach),
        high=float(value + reach),
        p=float(p),
        patients=len(np.unique(who)),
        slices=len(truth),
    )


def components(scores: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """DeLong's structural components: V10 of each positive and V01 of each negative.

    V10 is the share of the negatives that a positive exceeds, V01 the share of the positives that
    exceed a negative, ties by half; the mean of either is the area.

    >>> components(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    (array([0.5, 1. ]), array([1. , 0.5]))
    """
    ranks = rankdata(scores)
    n1, n0 = positive.sum(), (~positive).sum()
    v10 = (ranks[positive] - rankdata(scores[positive])) / n0
    v01 = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n1
    return v10, v01


def _variance(v10: Array, v01: Array, who1: NDArray[np.intp], who0: NDArray[np.intp]) -> float:
    """Obuchowski 1997, equations 4 to 7; `who` tells patients apart by numbers from 0."""
    A, M, N = v10.mean(), len(v10), len(v01)
    n = int(max(who1.max(), who0.max())) + 1
    of10, of01 = (np.bincount(w, v - A, n) for w, v in ((who1, v10), (who0, v01)))
    I10, I01, I = len(np.unique(who1)), len(np.unique(who0)), n  # noqa: E741  # the paper's name
    if min(I10, I01) < 2:
        raise ValueError(f"each class needs two patients, got {I10} positive and {I01} negative")
    S10 = I10 / ((I10 - 1) * M) * (of10**2).sum()
    S01 = I01 / ((I01 - 1) * N) * (of01**2).sum()
    S11 = I / (I - 1) * (of10 * of01).sum()
    return float(S10 / M + S01 / N + 2 * S11 / (M * N))


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve, by scikit-learn: how often a positive scores above a negative.

    Ties count by half (Hanley & McNeil 1982, Radiology 143:29).

    Args:
        scores: (n,) higher for what is rather positive.
        positive: (n,) bool.

    Raises:
        ValueError: as `delong`.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    z, truth, _ = checked(scores, positive, None)
    return float(roc_auc_score(truth, z))


def auc_interval(
    scores: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of `auc` when patients, with all their images, are drawn again.

    Resamples that happen to hold one class alone are left out.

    Args:
        scores, positive: as in `auc`.
        patients: (n,) whose image it is.
        seed: of the draws.
        resamples: how many.
        level: share of the resamples inside.

    Raises:
        ValueError: as `delong`.
    """
    z, truth, who = checked(scores, positive, patients)
    return _interval(_exceeds(z, truth), truth, who, seed=seed, resamples=resamples, level=level)


def bootstrap_difference(
    scores: ArrayLike,
    baseline: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the difference of two areas when patients are drawn again.

    Both areas are of the same resample (paired). Resamples that happen to hold one class alone are
    left out.

    Args:
        scores, baseline, positive, patients, level: as for `delong`.
        seed: of the draws.
        resamples: how many.

    Raises:
        ValueError: as `delong`.
    """
    a, truth, who = checked(scores, positive, patients)
    b, _, _ = checked(baseline, positive, patients)
    gain = _exceeds(a, truth) - _exceeds(b, truth)  # (n1, n0)
    return _interval(gain, truth, who, seed=seed, resamples=resamples, level=level)


def curve(
    scores: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    points: int = 101,
) -> pd.DataFrame:
    """The ROC curve on even steps of the false positive rate, with a band over patients.

    The curve is scikit-learn's `roc_curve`, its upper end taken where it rises straight up. The
    band holds, at each false positive rate, `level` of the curves of resampled patients: it is
    pointwise, and knows nothing of patients better or worse than any that were seen.

    Args:
        scores, positive, patients, seed, resamples, level: as for `bootstrap_difference`.
        points: of the false positive rate, from 0 to 1.

    Returns:
        Columns fpr, tpr, low, high.

    Raises:
        ValueError: as `delong`.
    """
    z, truth, who = checked(scores, positive, patients)
    fpr = np.linspace(0, 1, points)
    curves = []
    for weights in _resampled(who, seed, resamples):
        for w in weights:
            if w[truth].any() and w[~truth].any():
                curves.append(_curve(z, truth, fpr, w))
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    tpr = _curve(z, truth, fpr, np.ones(len(z)))
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "low": low, "high": high})


def _curve(z: Array, truth: NDArray[np.bool_], fpr: Array, weights: Array) -> Array:
    """True positive rates (P,) at false positive rates (P,)."""
    x, y, _ = roc_curve(truth, z, sample_weight=weights, drop_intermediate=False)
    at = np.searchsorted(x, fpr + 1e-12, side="right") - 1  # the last point not beyond
    after = np.minimum(at + 1, len(x) - 1)
    step = np.where(x[after] > x[at], x[after] - x[at], 1)
    return np.asarray(y[at] + (y[after] - y[at]) * np.clip((fpr - x[at]) / step, 0, 1))


def _exceeds(z: Array, truth: NDArray[np.bool_]) -> Array:
    """(n1, n0): 1 where a positive scores above a negative, a half where they tie."""
    difference = z[truth][:, None] - z[~truth]
    return (np.sign(difference) + 1) / 2


def _interval(
    pairs: Array,
    truth: NDArray[np.bool_],
    who: NDArray[np.intp],
    *,
    seed: int,
    resamples: int,
    level: float,
) -> tuple[float, float]:
    """Percentile interval of the mean over pairs (n1, n0) of a positive and a negative image."""
    found = []
    for weights in _resampled(who, seed, resamples):
        w1, w0 = weights[:, truth], weights[:, ~truth]
        with np.errstate(invalid="ignore"):
            found.append(((w1 @ pairs) * w0).sum(1) / (w1.sum(1) * w0.sum(1)))
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(who: NDArray[np.intp], seed: int, resamples: int) -> Iterator[Array]:
    """How often each image is drawn, (b, n) at a time: as often as its patient."""
    n, rng = int(who.max()) + 1, np.random.default_rng(seed)
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        yield counts[:, who].astype(float)


def checked(
    scores: ArrayLike, positive: ArrayLike, patients: ArrayLike | None
) -> tuple[Array, NDArray[np.bool_], NDArray[np.intp]]:
    """Scores, truth, and patients by numbers from 0, (n,) each; refuse what `delong` refuses."""
    z, truth = np.asarray(scores, float), np.asarray(positive, bool)
    named = np.arange(len(truth)) if patients is None else np.asarray(patients)
    if z.ndim != 1 or not z.shape == truth.shape == named.shape:
        raise ValueError(
            f"scores, positive and patients must have one length, got {z.shape}, {truth.shape} "
            f"and {named.shape}"
        )
    if not np.isfinite(z).all():
        raise ValueError("scores hold NaN or infinite values")
    if truth.all() or not truth.any():
        raise ValueError(
            f"both classes are needed, got {truth.sum()} positive and {(~truth).sum()} negative"
        )
    return z, truth, np.unique(named, return_inverse=True)[1]
