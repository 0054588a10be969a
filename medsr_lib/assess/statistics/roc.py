"""ROC curves and areas with intervals over patients, and whether two areas differ: DeLong.

`scores` (n,) say how likely an image is `positive` (n,) true or false (1 or 0): the higher, the
likelier. Several trainings of one detector give (k, n), a row each: their areas are averaged, and
the interval then knows both of patients and of trainings (`estimate.over_trainings`). The unit is
the patient: all that is drawn again or summed is drawn or summed by `patients` (n,), who may have
several images. ValueError is raised for lengths that differ, scores that are not finite, labels
that are neither true nor false, and one class only.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from medsr_lib import checks
from medsr_lib.assess.statistics.bootstrap import resampled
from medsr_lib.assess.statistics.estimate import FEW, Estimate, over_trainings

RESAMPLES = 2000
ENDS = ("low", "high", "low90", "high90")
SURE = 1e-12  # areas nearer to 0 or 1 than this separate all images
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
    53:567); with an image each, that is DeLong's variance. The p is DeLong's, of the normal
    distribution.

    The interval is that of the difference of logits, by the delta method and t with the patients of
    the smaller class - 1 degrees of freedom, brought back to areas around the mean of both logits.
    Where one area is 0 or 1 there is no such logit: the ends of the two areas' own intervals
    (`auc_interval`) are joined instead (Zou & Donner 2008, 10.1002/sim.3095), without correlation;
    where no image's rank differs, the ends are 3 / n away, n patients of the smaller class.
    DeLong's own interval is too narrow where areas are near 1: simulated at 43 patients and areas
    of 0.99 and 0.97 it covered 80 %, this one 93 %, and 92 to 96 % elsewhere
    (`benchmarks/intervals.py`).

    Args:
        scores, baseline: (n,), or (k, n) of k trainings, row by row of the same training.
        positive, patients: (n,).

    Returns:
        Area of `scores` - area of `baseline`. p is 1 where the areas are equal and so are all ranks
        that make them; NaN where they differ, but so equally for all images that no variance is
        left, and below 8 patients.

    Raises:
        ValueError: a class of one patient, or another number of trainings.
    """
    a, truth, who = _trainings(scores, positive, patients)
    b, _, _ = _trainings(baseline, positive, patients)
    if a.shape != b.shape:
        raise ValueError(f"scores are of {len(a)} trainings, baseline of {len(b)}")
    (a10, a01), (b10, b01) = (_components(s, truth) for s in (a, b))
    areas, others = a10.mean(1), b10.mean(1)
    d10, d01 = (a10 - b10).mean(0), (a01 - b01).mean(0)
    variance, least = _variance(d10, d01, who[truth], who[~truth])
    by_seed = areas - others
    found = over_trainings(by_seed, variance=variance, df=least - 1, **_counts(who))
    p = found.p
    if len(a) == 1:
        se = float(np.sqrt(max(variance, 0)))
        without_spread = 1.0 if abs(found.value) < SURE else float("nan")
        p = float(2 * norm.sf(abs(found.value) / se)) if se > SURE else without_spread
    first, second = float(areas.mean()), float(others.mean())
    if variance <= SURE**2 and len(a) == 1:
        low, high = max(found.value - 3 / least, -1.0), min(found.value + 3 / least, 1.0)
    elif all(SURE < area < 1 - SURE for area in (first, second)):
        low, high = _between_logits(a10, a01, b10, b01, truth, who)
    else:
        one, two = (auc_interval(s, positive, patients) for s in (scores, baseline))
        low = found.value - float(np.hypot(one.value - one.low, two.high - two.value))
        high = found.value + float(np.hypot(one.high - one.value, two.value - two.low))
    return replace(
        found,
        low=low,
        high=high,
        low90=float("nan"),
        high90=float("nan"),
        p=p if found.patients >= FEW else float("nan"),
    )


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve, by scikit-learn: how often a positive scores above a negative.

    Ties count by half (Hanley & McNeil 1982, Radiology 143:29).

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    z, truth, _ = checked(scores, positive)
    return float(roc_auc_score(truth, z))


def auc_interval(scores: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> Estimate:
    """`auc` with an interval over patients: that of its logit, brought back.

    The logit's standard error is DeLong's, clustered by patient, over A (1 - A); t with the
    patients of the smaller class - 1 degrees of freedom. Where all images are separated nothing
    varies: the other end is then 3 / n away, n patients of the smaller class (the rule of three:
    Hanley & Lippman-Hand 1983, JAMA 249:1743). Simulated (`benchmarks/intervals.py`) it covered
    99 % at 43 patients and an area of 0.97, 95 % at 146; DeLong's own 80 and 90 %, percentiles of
    a bootstrap 83 and 91 %.

    Args:
        scores: (n,), or (k, n) of k trainings.
        positive, patients: (n,).

    Returns:
        Without interval for a class of one patient, or if all scores are equal.
    """
    z, truth, who = _trainings(scores, positive, patients)
    v10, v01 = _components(z, truth)
    areas, counts = v10.mean(1), _counts(who)
    value = float(areas.mean())
    n = min(len(np.unique(who[of])) for of in (truth, ~truth))
    if n < 2:
        return Estimate(value, **counts)
    if not SURE < value < 1 - SURE:
        reach = min(3 / n, 1.0)
        low, high = (1 - reach, 1.0) if value > 0.5 else (0.0, reach)
        seeds = over_trainings(areas, variance=0, df=n - 1, **counts)
        return replace(seeds, low=low, high=high)
    variance, _ = _variance(v10.mean(0), v01.mean(0), who[truth], who[~truth])
    slope = value * (1 - value)
    on_logits = over_trainings(
        logit(value) + (areas - value) / slope, variance=variance / slope**2, df=n - 1, **counts
    )
    found = replace(on_logits, value=value, p=float("nan"))
    ends: dict[str, Any] = {k: float(expit(getattr(found, k))) for k in ENDS}
    found = replace(found, **ends)
    if len(areas) > 1:
        found = replace(found, seed_low=float(areas.min()), seed_high=float(areas.max()))
    return found


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
    Of several trainings, (k, n), the curves are averaged, and the band is what all bands cover.
    """
    if np.ndim(scores) == 2:
        again: Any = {"seed": seed, "resamples": resamples}
        each = [roc_curve(one, positive, patients, **again) for one in np.asarray(scores)]
        ends = {"tpr": "mean", "low": "min", "high": "max"}
        return pd.concat(each).groupby("fpr", as_index=False).agg(ends)
    z, truth, who = checked(scores, positive, np.asarray(patients))
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
    z, truth = checks.finite(name, scores), checks.binary("positive", positive)
    if z.ndim != 1 or z.shape != truth.shape:
        raise ValueError(
            f"{name} and positive must have one length, got {z.shape} and {truth.shape}"
        )
    cases = range(len(z)) if patients is None else patients
    named = checks.groups("patients", cases, n=len(z))
    if truth.all() or not truth.any():
        raise ValueError(
            f"both classes are needed, got {truth.sum()} positive and {(~truth).sum()} negative"
        )
    return z, truth, np.unique(named, return_inverse=True)[1]


def _trainings(
    scores: ArrayLike, positive: ArrayLike, patients: ArrayLike
) -> tuple[Array, Truth, Patients]:
    """`checked` of (n,) or (k, n) scores; (k, n) in any case."""
    several = np.atleast_2d(checks.finite("scores", scores))
    if several.ndim != 2:
        raise ValueError(f"scores must be (n,) or (trainings, n), got {several.shape}")
    for row in several:
        _, truth, who = checked(row, positive, np.asarray(patients))
    return several, truth, who


def _counts(who: Patients) -> dict[str, int]:
    return {"cases": len(who), "patients": int(who.max()) + 1}


def _components(scores: Array, truth: Truth) -> tuple[Array, Array]:
    """DeLong's structural components of (k, n): V10 of each positive and V01 of each negative.

    V10 is the share of the negatives that a positive exceeds, V01 the share of the positives that
    exceed a negative, ties by half; the mean of either is the area. (k, n1) and (k, n0).
    """
    ranks = rankdata(scores, axis=1)
    n1, n0 = truth.sum(), (~truth).sum()
    v10 = (ranks[:, truth] - rankdata(scores[:, truth], axis=1)) / n0
    v01 = 1 - (ranks[:, ~truth] - rankdata(scores[:, ~truth], axis=1)) / n1
    return v10, v01


def _between_logits(
    a10: Array, a01: Array, b10: Array, b01: Array, truth: Truth, who: Patients
) -> tuple[float, float]:
    """95 % interval of the difference of two areas strictly between 0 and 1, of (k, ...) parts."""
    first, second = float(a10.mean()), float(b10.mean())
    per1, per2 = (1 / (area * (1 - area)) for area in (first, second))
    v10, v01 = (a10 * per1 - b10 * per2).mean(0), (a01 * per1 - b01 * per2).mean(0)
    variance, least = _variance(v10, v01, who[truth], who[~truth])
    apart = logit(first) - logit(second)
    by_seed = a10.mean(1) * per1 - b10.mean(1) * per2
    by_seed = by_seed - by_seed.mean() + apart
    found = over_trainings(by_seed, variance=variance, df=least - 1, **_counts(who))
    middle = (logit(first) + logit(second)) / 2
    low, high = (expit(middle + d / 2) - expit(middle - d / 2) for d in (found.low, found.high))
    return float(low), float(high)


def _variance(v10: Array, v01: Array, who1: Patients, who0: Patients) -> tuple[float, int]:
    """Obuchowski 1997, equations 4 to 7, and the patients of the smaller class.

    `who` tells patients apart by numbers from 0.
    """
    A, M, N = v10.mean(), len(v10), len(v01)
    n = int(max(who1.max(), who0.max())) + 1
    of10, of01 = (np.bincount(w, v - A, n) for w, v in ((who1, v10), (who0, v01)))
    I10, I01, I = len(np.unique(who1)), len(np.unique(who0)), n  # noqa: E741  # the paper's name
    if min(I10, I01) < 2:
        raise ValueError(f"each class needs two patients, got {I10} positive and {I01} negative")
    S10 = I10 / ((I10 - 1) * M) * (of10**2).sum()
    S01 = I01 / ((I01 - 1) * N) * (of01**2).sum()
    S11 = I / (I - 1) * (of10 * of01).sum()
    return float(S10 / M + S01 / N + 2 * S11 / (M * N)), min(I10, I01)


def _curve(z: Array, truth: Truth, fpr: Array, weights: Array) -> Array:
    """True positive rates (P,) at false positive rates (P,)."""
    x, y, _ = sklearn_curve(truth, z, sample_weight=weights, drop_intermediate=False)
    at = np.searchsorted(x, fpr + 1e-12, side="right") - 1  # the last point not beyond
    after = np.minimum(at + 1, len(x) - 1)
    step = np.where(x[after] > x[at], x[after] - x[at], 1)
    return np.asarray(y[at] + (y[after] - y[at]) * np.clip((fpr - x[at]) / step, 0, 1))
