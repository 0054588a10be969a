"""Shares and their differences, where a case is right or wrong: score intervals over patients.

The bootstrap fails here: with few patients it may never see the one that is rare. A share is the
mean over patients of a patient's share of cases. `guarantee` turns this round: it looks for the
change that at most a given share of cases exceeds.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from medsr_lib import checks
from medsr_lib.assess.statistics.estimate import Estimate

LEVELS = (0.95, 0.90)
_ASIDE = 1e-9  # of the value, where the score of a share without any spread is 0 by 0
Array = NDArray[np.floating]
Counts = NDArray[np.integer]


def share(right: ArrayLike, patients: ArrayLike) -> Estimate:
    """The share that is right, with Wilson's interval (1927, JASA 22:209; by statsmodels).

    Of several cases of a patient it takes the number that were worth as much if they were
    independent (`effective_size`). Of several trainings it is the mean; the number of cases is then
    lowered, so that the variance between trainings over their number comes on top.

    Args:
        right: (n,) true or false, or (k, n) of k trainings.
        patients: (n,) whose case it is.

    Raises:
        ValueError: no cases, lengths that differ, or values that are neither true nor false.
    """
    several = np.atleast_2d(checks.binary("right", right))
    of_patient, cases = _by_patient(list(several), patients)
    by_seed, of_each = of_patient.mean(0), of_patient.mean(1)
    p = float(of_each.mean())
    variance = p * (1 - p)
    n = effective_size(of_each, variance=variance, cases=cases)
    if len(by_seed) > 1 and variance > 0:
        n = 1 / (1 / n + float(by_seed.var(ddof=1)) / len(by_seed) / variance)
    ends = [proportion_confint(p * n, n, alpha=1 - level, method="wilson") for level in LEVELS]
    found = _estimate(p, ends, cases=cases)
    if len(by_seed) == 1:
        return found
    low, high = float(by_seed.min()), float(by_seed.max())
    return replace(found, seeds=len(by_seed), seed_low=low, seed_high=high)


def share_difference(right: ArrayLike, baseline: ArrayLike, patients: ArrayLike) -> Estimate:
    """How much larger one share is than another of the same cases, with Tango's score interval.

    Tango 1998 (Stat Med 17:891), equations 13 to 15: all differences D that the score test with the
    most likely nuisance parameter under D keeps. It needs no variance, so that it has a width even
    where not one decision changes. Of several cases of a patient it takes the number that were
    worth as much if they were independent (`effective_size`). Simulated coverage
    (`benchmarks/intervals.py`): 95 to 100 %, where the bootstrap-t had 51 to 92 %.

    Args:
        right, baseline: (n,) true or false, of the same cases.
        patients: (n,) whose case it is.

    Returns:
        Without a p: see `bootstrap.estimates` (patients) or McNemar's test (single cases).

    Raises:
        ValueError: as `share`.
    """
    a, b = checks.binary("right", right), checks.binary("baseline", baseline)
    if a.shape != b.shape:
        raise ValueError(f"right is {a.shape}, baseline {b.shape}; they must be of the same cases")
    of_patient, cases = _by_patient([a & ~b, ~a & b], patients)
    gained, lost = of_patient.mean(0).tolist()
    value = gained - lost
    variance = gained + lost - value**2
    n = effective_size(of_patient[:, 0] - of_patient[:, 1], variance=variance, cases=cases)
    ends = [tango(gained * n, lost * n, n, level=level) for level in LEVELS]
    return _estimate(value, ends, cases=cases)


class Guarantee(NamedTuple):
    """What can be promised of the next patients' cases.

    Attributes:
        delta: the change, without sign, that at most `share` of the cases exceed; NaN if no change
            can be named.
        share: that was asked for.
        confidence: the share of studies like this one in which the promise is right.
        exceed: the share of the measured cases that do exceed delta, as a mean over patients.
        cases, patients: that went in.
        lost: cases among them that could not be measured, which count as changed without limit.
    """

    delta: float
    share: float
    confidence: float
    exceed: float
    cases: int
    patients: int
    lost: int

    def __str__(self) -> str:
        """In a sentence.

        >>> print(Guarantee(0.03, 0.1, 0.95, 0.05, cases=99, patients=86, lost=0))
        At most 10 % of cases change by more than 0.03 (95 % confidence; n = 86 patients, 99 cases).
        """
        share = f"{self.share * 100:.3g} %"
        lost = f", {self.lost} of them not measured" if self.lost else ""
        n = f"n = {self.patients} patients, {self.cases} cases{lost}"
        if math.isnan(self.delta):
            return f"No change can be named that at most {share} of cases exceed ({n})."
        return (
            f"At most {share} of cases change by more than {self.delta:.3g} "
            f"({self.confidence * 100:.3g} % confidence; {n})."
        )


def guarantee(
    changes: ArrayLike, patients: ArrayLike, *, share: float, confidence: float = 0.95
) -> Guarantee:
    """The smallest change that, with confidence, at most a share of the next cases exceed.

    Conformal risk control by patient (risk-controlling prediction sets, Bates et al. 2021, J ACM
    68:43, equation 6): the smallest delta such that for it, and for every larger one, an upper
    confidence bound of the share of cases beyond it is at most `share`. The bound is Clopper and
    Pearson's for the number of independent cases that these are worth (`effective_size`); with one
    case of each patient it is exact whatever the changes' distribution. It supposes that the next
    patients come as these did, with as many cases each.

    A share below 1 - (1 - confidence)^(1 / patients) cannot be promised: none in 29 patients is
    the fewest for 10 %, 59 for 5 %.

    Simulated (`benchmarks/intervals.py`, 1000 studies each, error 0.7 points): right in 95 to 97 %
    for 40 to 233 patients of 1 to 7 cases each, whether these are alike or not, and for 40 of 20
    cases; up to 99 % where the patients hardly suffice.

    Args:
        changes: (n,) from HR to SR, with or without sign; NaN (a lesion that was not found again)
            counts as changed without limit.
        patients: (n,) whose case it is.
        share: of cases that may exceed delta, between 0 and 1.
        confidence: between 0 and 1.

    Raises:
        ValueError: no cases, lengths that differ, or a share or confidence out of range.
    """
    checks.share("share", share)
    checks.share("confidence", confidence)
    size = np.abs(np.asarray(changes, dtype=float))
    if size.ndim != 1 or not len(size):
        raise ValueError(f"changes must be (n,) and at least one, got {size.shape}")
    size[np.isnan(size)] = np.inf
    who = np.unique(checks.groups("patients", patients, n=len(size)), return_inverse=True)[1]
    cases = np.bincount(who)
    measured = np.isfinite(size)
    delta = exceed = math.nan
    for smaller in np.unique(size[measured])[::-1]:
        beyond = np.bincount(who, size > smaller) / cases
        if _upper(beyond, cases=cases, confidence=confidence) > share:
            break
        delta, exceed = float(smaller), float(beyond.mean())
    lost = int(len(size) - measured.sum())
    return Guarantee(delta, share, confidence, exceed, len(size), len(cases), lost)


def _upper(of_patient: Array, *, cases: Counts, confidence: float) -> float:
    """Clopper & Pearson's upper bound of a share, by the cases that these patients are worth."""
    p = float(of_patient.mean())
    if p == 1:
        return 1.0
    n = effective_size(of_patient, variance=p * (1 - p), cases=cases, side=confidence)
    return float(stats.beta.ppf(confidence, p * n + 1, n - p * n))


def effective_size(
    of_patient: Array, *, variance: float, cases: Counts, side: float = 0.975
) -> float:
    """How many independent cases are worth as much as these patients.

    The variance of a single case over that of the mean, which patients have (Kish 1965); then times
    (z / t)^2, because that variance is estimated (Korn & Graubard 1998, Survey Methodology 24:193).
    The fewer patients decide it, the fewer degrees of freedom t has: 2 n / (k - (n - 3) / (n - 1)),
    k the kurtosis of patients (O'Neill 2014, Am Stat 68:282), at most n - 1. The result is at least
    the number of patients, which is on the safe side, and at most what independent cases are worth
    in a mean over patients with unequal numbers of them: n^2 / sum(1 / cases).

    Args:
        of_patient: (n,) a patient's mean over cases.
        variance: of a case.
        cases: (n,) how many each patient has.
        side: the quantile that the bound takes.
    """
    n = len(of_patient)
    apart = of_patient - of_patient.mean()
    squared = float((apart**2).mean())
    if cases.max() == 1 or squared < 1e-12:  # equal patients, but for rounding
        return n
    spread = float((apart**4).mean()) / squared**2 - (n - 3) / (n - 1)
    df = min(2 * n / spread, n - 1) if spread > 0 else n - 1
    size = variance / squared * (n - 1) * (stats.norm.ppf(side) / stats.t.ppf(side, df)) ** 2
    return float(np.clip(size, n, n**2 / (1 / cases).sum()))


def tango(one: float, other: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of (one - other) / n, of n pairs of which so many differ either way.

    >>> [round(end, 3) for end in tango(0, 0, 20)]
    [-0.161, 0.161]
    """
    checks.share("level", level)
    if not (one >= 0 and other >= 0 and 0 < n < np.inf and one + other <= n * (1 + 1e-9)):
        raise ValueError(f"{one} and {other} are not counts of pairs among {n}")
    z, value = float(stats.norm.ppf((1 + level) / 2)), (one - other) / n

    def excess(difference: float, side: float) -> float:
        """How far the score is from its quantile, times its standard error."""
        b = -one - other + (2 * n - one + other) * difference
        c = -other * difference * (1 - difference)
        q = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # the share that is `other`
        variance = n * (2 * q + difference * (1 - difference))
        return float(side * (one - other - n * difference) - z * np.sqrt(max(variance, 0.0)))

    low, high = -1.0, 1.0
    below, above = value - _ASIDE, value + _ASIDE
    if below > -1 and excess(-1, 1) > 0:
        low = optimize.brentq(excess, -1, below, args=(1,))
    if above < 1 and excess(1, -1) > 0:
        high = optimize.brentq(excess, above, 1, args=(-1,))
    return float(low), float(high)


def _by_patient(columns: list[NDArray[np.bool_]], patients: ArrayLike) -> tuple[Array, Counts]:
    """Means of columns (n,) over each patient's cases, (patients, columns), and their number."""
    if columns[0].ndim != 1 or not len(columns[0]):
        raise ValueError(f"decisions must be (n,) and at least one, got {columns[0].shape}")
    named = checks.groups("patients", patients, n=len(columns[0]))
    who = np.unique(named, return_inverse=True)[1]
    sums, cases = np.stack([np.bincount(who, c) for c in columns], axis=1), np.bincount(who)
    return sums / cases[:, None], cases


def _estimate(value: float, ends: list[tuple[float, float]], *, cases: Counts) -> Estimate:
    (low, high), (low90, high90) = (tuple(map(float, pair)) for pair in ends)
    n = {"cases": int(cases.sum()), "patients": len(cases)}
    return Estimate(value, low, high, low90=low90, high90=high90, **n)
