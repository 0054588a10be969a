"""ROC curves with bands over patients, and whether two of them differ: DeLong and the bootstrap.

`scores` (n,) say how likely an image is `positive` (n,) bool: the higher, the likelier. The unit is
the patient: all that is drawn again or summed is drawn or summed by `patients` (n,), who may have
several images. ValueError is raised for lengths that differ, scores that are not finite, and one
class only.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from medsr_lib.assess.statistics.bootstrap import percentile_interval, resampled
from medsr_lib.assess.statistics.estimate import Estimate

RESAMPLES = 2000
Array = NDArray[np.floating]
Truth = NDArray[np.bool_]
Patients = NDArray[np.intp]


def delong(
    scores: ArrayLike, baseline: ArrayLike, positive: ArrayLike, patients: ArrayLike
) -> Estimate:
    """Compare two correlated areas under ROC curves without any model of the scores.

    DeLong et al. 1988 (Biometrics 44:837): the area is a mean of structural components V10 of the
    positives and V01 of the negatives, whose variances give that of the difference. The components
    come from ranks (Sun & Xu 2014, IEEE Signal Process Lett 21:1389, equations 6 to 9), which takes
    no longer than sorting. Components of one patient are summed first (Obuchowski 1997, Biometrics
    53:567); with an image each, that is DeLong's variance. Interval and p are of the normal
    distribution, hence rough where one of the classes has few patients.

    Returns:
        Area of `scores` - area of `baseline`. Its p is 1 where the areas are equal and so are all
        ranks that make them; NaN where they differ, but so equally for all images that no variance
        is left.

    Raises:
        ValueError: a class of one patient.
    """
    a, truth, who = checked(scores, positive, patients)
    b, _, _ = checked(baseline, positive, patients)
    (a10, a01), (b10, b01) = (_components(s, truth) for s in (a, b))
    value = float(a10.mean() - b10.mean())
    variance = _variance(a10 - b10, a01 - b01, who[truth], who[~truth])
    se = float(np.sqrt(max(variance, 0)))
    reach = float(norm.ppf(0.975)) * se
    without_spread = 1.0 if abs(value) < 1e-12 else float("nan")
    p = float(2 * norm.sf(abs(value) / se)) if se > 1e-12 else without_spread
    return Estimate(value, value - reach, value + reach, p, **_counts(who))


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve, by scikit-learn: how often a positive scores above a negative.

    Ties count by half (Hanley & McNeil 1982, Radiology 143:29).

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    z, truth, _ = checked(scores, positive)
    return float(roc_auc_score(truth, z))


def auc_interval(
    scores: ArrayLike, positive: ArrayLike, patients: ArrayLike, *, seed: int
) -> Estimate:
    """`auc` with its percentile interval when patients, with all their images, are drawn again.

    Resamples that happen to hold one class alone are left out; `seed` is that of the draws.
    """
    z, truth, who = checked(scores, positive, patients)
    low, high = _interval(_exceeds(z, truth), truth, who, seed)
    return Estimate(float(roc_auc_score(truth, z)), low, high, **_counts(who))


def auc_difference(
    scores: ArrayLike, baseline: ArrayLike, positive: ArrayLike, patients: ArrayLike, *, seed: int
) -> Estimate:
    """The difference of two areas with its percentile interval when patients are drawn again.

    Both areas are of the same resample (paired). Resamples that happen to hold one class alone are
    left out. There is no p: see `delong`.
    """
    a, truth, who = checked(scores, positive, patients)
    b, _, _ = checked(baseline, positive, patients)
    gain = _exceeds(a, truth) - _exceeds(b, truth)  # (n1, n0)
    low, high = _interval(gain, truth, who, seed)
    return Estimate(float(gain.mean()), low, high, **_counts(who))


def roc_curve(
    scores: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """The ROC curve at false positive rates of 0, 0.01 to 1, with a band over patients.

    The curve is scikit-learn's, its upper end taken where it rises straight up. The band holds, at
    each false positive rate, 95 % of the curves of resampled patients: it is pointwise, and knows
    nothing of patients better or worse than any that were seen.

    Columns fpr, tpr, low, high. Each of the resamples is a curve of its own, which takes its time.
    """
    z, truth, who = checked(scores, positive, patients)
    fpr = np.linspace(0, 1, 101)
    curves = []
    for counts in resampled(int(who.max()) + 1, seed=seed, resamples=resamples):
        for w in counts[:, who]:
            if w[truth].any() and w[~truth].any():
                curves.append(_curve(z, truth, fpr, w))
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    tpr = _curve(z, truth, fpr, np.ones(len(z)))
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "low": low, "high": high})


def checked(
    scores: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike | None = None,
    name: str = "scores",
) -> tuple[Array, Truth, Patients]:
    """Scores, truth, and patients by numbers from 0, (n,) each; refuse what `auc` refuses."""
    z, truth = np.asarray(scores, float), np.asarray(positive, bool)
    named = np.arange(len(truth)) if patients is None else np.asarray(patients)
    if z.ndim != 1 or not z.shape == truth.shape == named.shape:
        raise ValueError(
            f"{name}, positive and patients must have one length, got {z.shape}, {truth.shape} "
            f"and {named.shape}"
        )
    if not np.isfinite(z).all():
        raise ValueError(f"{name} must be finite, but hold NaN or infinite values")
    if truth.all() or not truth.any():
        raise ValueError(
            f"both classes are needed, got {truth.sum()} positive and {(~truth).sum()} negative"
        )
    return z, truth, np.unique(named, return_inverse=True)[1]


def _counts(who: Patients) -> dict[str, int]:
    return {"cases": len(who), "patients": int(who.max()) + 1}


def _components(scores: Array, truth: Truth) -> tuple[Array, Array]:
    """DeLong's structural components: V10 of each positive and V01 of each negative.

    V10 is the share of the negatives that a positive exceeds, V01 the share of the positives that
    exceed a negative, ties by half; the mean of either is the area.
    """
    ranks = rankdata(scores)
    n1, n0 = truth.sum(), (~truth).sum()
    v10 = (ranks[truth] - rankdata(scores[truth])) / n0
    v01 = 1 - (ranks[~truth] - rankdata(scores[~truth])) / n1
    return v10, v01


def _variance(v10: Array, v01: Array, who1: Patients, who0: Patients) -> float:
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


def _curve(z: Array, truth: Truth, fpr: Array, weights: Array) -> Array:
    """True positive rates (P,) at false positive rates (P,)."""
    x, y, _ = sklearn_curve(truth, z, sample_weight=weights, drop_intermediate=False)
    at = np.searchsorted(x, fpr + 1e-12, side="right") - 1  # the last point not beyond
    after = np.minimum(at + 1, len(x) - 1)
    step = np.where(x[after] > x[at], x[after] - x[at], 1)
    return np.asarray(y[at] + (y[after] - y[at]) * np.clip((fpr - x[at]) / step, 0, 1))


def _exceeds(z: Array, truth: Truth) -> Array:
    """(n1, n0): 1 where a positive scores above a negative, a half where they tie."""
    return np.asarray((np.sign(z[truth][:, None] - z[~truth]) + 1) / 2)


def _interval(pairs: Array, truth: Truth, who: Patients, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean over pairs (n1, n0) of a positive and a negative image."""
    found = []
    for counts in resampled(int(who.max()) + 1, seed=seed, resamples=RESAMPLES):
        w1, w0 = counts[:, who[truth]], counts[:, who[~truth]]
        with np.errstate(invalid="ignore"):
            found.append(((w1 @ pairs) * w0).sum(1) / (w1.sum(1) * w0.sum(1)))
    return percentile_interval(np.concatenate(found))
