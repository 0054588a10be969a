"""From an interval and a margin to words: does a method harm what it restores, is it equivalent?

And before a study: how many patients it takes to say so (`patients_needed`).
"""

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import ttest_power

from medsr_lib import checks
from medsr_lib.assess.statistics.bootstrap import estimates as estimates_of
from medsr_lib.assess.statistics.contrasts import Contrast
from medsr_lib.assess.statistics.estimate import FEW, Estimate

MINIMUM = 15  # patients; fewer, and 95 % intervals cover less than they say
SKEWED = 25  # times the squared skewness: patients that a bound needs; Cochran 1977, section 2.15
STUDIES = 4000  # simulated for a plan; an error of 0.5 points
LEAST = "the least that a verdict needs"
LOWER_IS_BETTER = ("mse", "lpips")
COLUMNS = (
    *("method", "metric", "words", "value", "low", "high"),
    *("margin", "patients", "cases", "bound", "reason"),
)

Words: TypeAlias = Literal[
    "harms", "no harm shown", "not inferior within margin", "not enough data"
]


class Verdict(NamedTuple):
    """What the data say.

    Attributes:
        words: of the rule of `non_inferiority`.
        reason: the same in a sentence.
        bound: the largest loss that the data allow (one-sided 95 %), as a negative number; or,
            positive, the smallest gain. NaN without an interval.
    """

    words: Words
    reason: str
    bound: float


def non_inferiority(estimate: Estimate, *, margin: float, higher_is_better: bool = True) -> Verdict:
    """Judge an estimate by its interval and a margin that was fixed before the data were seen.

    A loss of the margin is ruled out, at one-sided 5 %, where the one-sided 95 % bound, which is
    the lower end of the 90 % interval, lies above -margin. The first line that fits decides; where
    lower is better, the signs are turned first. After Piaggio et al. 2012 (JAMA 308:2594, figure
    1).

    | patients | 95 % interval   | bound        | words                                         |
    |----------|-----------------|--------------|-----------------------------------------------|
    | below 15 | any             | any          | not enough data                               |
    | any      | none            | any          | not enough data                               |
    | enough   | below -margin   | below        | harms (by more than the margin)               |
    | enough   | below 0         | <= -margin   | harms (by more than the margin, or by less)   |
    | enough   | below 0         | > -margin    | not inferior within margin (worse, by less)   |
    | enough   | above 0         | > -margin    | not inferior within margin (and better)       |
    | enough   | holds 0         | > -margin    | not inferior within margin                    |
    | enough   | holds 0         | <= -margin   | no harm shown (but none ruled out)            |

    Where a few patients lose much, those who would lose most may not have been among them: a bound
    counts only with at least 25 G1^2 patients, G1 the skewness towards losses (Cochran 1977,
    *Sampling techniques*, section 2.15); fewer are "not enough data". Simulated
    (`benchmarks/intervals.py`): losses at the margin of lognormal patients (sigma 1) were ruled out
    in 11.5 % of studies of 15 patients and 11.3 % of 30, with this rule in 3.1 %. The price: nine
    in ten of such studies of 30 patients say nothing, whatever the loss.

    "No harm shown" is no proof that there is none. The words are of the metric and the region that
    were measured, not of what a reader of the image would conclude.

    Args:
        estimate: of `statistics.paired_difference`: the method less what it is compared to.
        margin: the smallest loss that would matter, positive, in the metric's unit.
        higher_is_better: False for errors such as "mse".

    Raises:
        ValueError: a margin that is not a positive number, or an estimate that has a 95 % but no
            90 % interval.
    """
    checks.positive("margin", margin)
    if np.isfinite(estimate.low) and not np.isfinite(estimate.low90):
        raise ValueError("the estimate has no 90 % interval; give low90 and high90")
    if higher_is_better:
        low, high, bound = estimate.low, estimate.high, estimate.low90
    else:
        low, high, bound = -estimate.high, -estimate.low, -estimate.high90
    if estimate.patients < MINIMUM:
        reason = f"{estimate.patients} patients are fewer than {MINIMUM}. Nothing can be said."
        return Verdict("not enough data", reason, bound)
    if not np.isfinite([low, high, bound]).all():
        return Verdict("not enough data", "There is no interval. Nothing can be said.", bound)
    if bound > -margin:
        skewed = _skewed(estimate, towards=-1 if higher_is_better else 1)
        if skewed:
            return Verdict("not enough data", skewed, bound)
        reason = "A loss as large as the margin is ruled out."
        if high < 0:
            reason = "It is worse, but by less than the margin."
        elif low > 0:
            reason = "It is better."
        return Verdict("not inferior within margin", reason, bound)
    if high < -margin:
        return Verdict("harms", "It is worse by more than the margin.", bound)
    if high < 0:
        return Verdict("harms", "It is worse; whether by more than the margin is open.", bound)
    reason = "But a loss as large as the margin is not ruled out either."
    return Verdict("no harm shown", reason, bound)


class Equivalence(NamedTuple):
    """Whether a method changes less than matters.

    Attributes:
        words: "equivalent within ±0.01" with the margin, "not shown", or "not enough data".
        reason: the same in a sentence.
        estimate: the mean over patients, with its 90 % interval.
        bound: the largest change of the mean that the data allow (one-sided 95 %), without sign.
        worst: the largest change of a single case, with its sign.
        worst_id: whose it is.
    """

    words: str
    reason: str
    estimate: Estimate
    bound: float
    worst: float
    worst_id: Any

    def __str__(self) -> str:
        return f"{self.words}: {self.reason} Largest change: {self.worst:+.3g} ({self.worst_id})."


def equivalence(differences: pd.Series, *, margin: float, seed: int) -> Equivalence:
    """Test whether changes lie within a margin on either side: two one-sided tests, 5 % each.

    Schuirmann 1987 (J Pharmacokinet Biopharm 15:657): equivalent where the 90 % interval of the
    mean over patients (`bootstrap.estimates`) lies within ±margin. It says nothing of single cases,
    so the largest of them is given, too. Needs 15 patients, and as many as skewness asks for, see
    `non_inferiority`.

    Args:
        differences: of each case, indexed by patient and id, as of `case_differences`; NaN is left
            out, and counted.
        margin: the largest change that does not matter, positive, fixed before the data were seen.
        seed: of the bootstrap.

    Raises:
        ValueError: a margin that is not a positive number, another index, or no case.
    """
    checks.positive("margin", margin)
    measured = _measured(differences)
    of_patient = measured.groupby(level="patient").mean().to_numpy()
    (found,) = estimates_of([of_patient], seed=seed)
    found = replace(found, cases=len(measured), skipped=len(differences) - len(measured))
    bound = max(abs(found.low90), abs(found.high90))
    at = int(measured.abs().argmax())
    words, reason = _equivalent(found, bound, margin)
    return Equivalence(words, reason, found, bound, float(measured.iloc[at]), measured.index[at][1])


class Plan(NamedTuple):
    """How many patients a study of non-inferiority needs.

    Attributes:
        patients: if the patients scatter as those of the pilot.
        patients_careful: if they scatter as much as the pilot still allows (its SD's one-sided 80 %
            upper limit; Browne 1995).
        power: the chance of "not inferior within margin" with so many `patients`: that the bound
            lies above -margin, and that they do not look too skewed for it to count.
        sd: of the pilot's patients, in the metric's unit.
        pilot: patients it had.
        reason: what decides the number: "the scatter of patients", "the least that a verdict
            needs", or "a few patients lose much more than the rest".
    """

    patients: int
    patients_careful: int
    power: float
    sd: float
    pilot: int
    reason: str


def patients_needed(
    differences: pd.Series, *, margin: float, power: float = 0.8, gain: float = 0.0
) -> Plan:
    """Plan a study that is to rule out a loss of the margin, from the differences of a pilot.

    The test is that of `non_inferiority`: a one-sided bound at 5 % above -margin. Its power with n
    patients is that of the one-sided t test (noncentral t with n - 1 degrees of freedom and
    noncentrality √n (gain + margin) / SD; Julious 2004, Stat Med 23:1921). A verdict takes 15
    patients in any case, and 25 G1² if losses are skewed, where G1 is the study's own: even normal
    patients look too skewed by chance, 15 of them in one study of eleven. So the power is
    multiplied by the chance that they do not, which is simulated; of normal patients the two are
    independent. Where the pilot's own G1 asks for more than 15 patients, theirs is supposed to be
    the same (Pearson's type III), normal otherwise. Simulated (`benchmarks/intervals.py`, 1000
    studies each): the share that ends in "not inferior" is within 3 points of the power.

    Args:
        differences: of the pilot, method less baseline, indexed by patient and id
            (`statistics.case_differences`); higher is better. The study's patients are supposed to
            have as many cases each.
        margin: the smallest loss that would matter, positive.
        power: the chance to succeed that is wanted, between 0 and 1.
        gain: the true mean difference that is supposed, above -margin. 0 supposes methods as good
            as each other. The pilot's own mean is no safe guess: it is what made one go on.

    Raises:
        ValueError: a number out of range, another index, fewer than 8 patients, or all alike.
    """
    checks.positive("margin", margin)
    checks.share("power", power)
    if gain <= -margin:
        raise ValueError(f"gain must be above -{margin:g}, got {gain:g}: nothing can show the rest")
    of_patient = _measured(differences).groupby(level="patient").mean()
    n, sd = len(of_patient), float(of_patient.std(ddof=1))
    if n < FEW or not sd > 0:
        raise ValueError(
            f"a pilot needs {FEW} patients that differ, got {n} with a standard deviation of {sd:g}"
        )
    careful = sd * math.sqrt((n - 1) / stats.chi2.ppf(0.2, n - 1))
    skewness = min(float(stats.skew(of_patient, bias=False)), 0.0)
    least = max(MINIMUM, math.ceil(SKEWED * skewness**2))
    shape = skewness if least > MINIMUM else 0.0
    usual, upper = (partial(_power, gain + margin, spread, shape) for spread in (sd, careful))
    reason = "the scatter of patients"
    if ttest_power((gain + margin) / sd, least, 0.05, alternative="larger") >= power:
        reason = "a few patients lose much more than the rest" if shape else LEAST
    patients, more = (_fewest(reached, power, least) for reached in (usual, upper))
    return Plan(patients, more, usual(patients), sd, n, reason)


def _power(distance: float, sd: float, skewness: float, n: int) -> float:
    """The chance that n patients rule out a loss at this distance, and do not look too skewed."""
    found = float(ttest_power(distance / sd, n, 0.05, alternative="larger"))
    if n > 4 * SKEWED * max(skewness**2, 1.0):  # so many never do
        return found
    drawn = stats.pearson3.rvs(skewness, size=(n, STUDIES), random_state=0)
    of_study = stats.skew(drawn, bias=False)
    return found * float(np.mean(SKEWED * np.minimum(of_study, 0.0) ** 2 <= n))


def _fewest(reached: Callable[[int], float], power: float, least: int) -> int:
    """The fewest patients from `least` on with which the power is reached."""
    most = least
    while reached(most) < power:
        most *= 2
    return bisect.bisect_left(range(most), power, lo=least, key=reached)


def _measured(differences: pd.Series) -> pd.Series:
    """The measured differences, which must be indexed by patient and id."""
    if list(differences.index.names) != ["patient", "id"]:
        names = list(differences.index.names)
        raise ValueError(f"differences must be indexed by patient and id, got {names}")
    measured = differences.dropna()
    if measured.empty:
        raise ValueError("no case has a difference; there is nothing to test")
    return measured


def _equivalent(found: Estimate, bound: float, margin: float) -> tuple[str, str]:
    if found.patients < MINIMUM:
        return "not enough data", f"{found.patients} patients are fewer than {MINIMUM}."
    if not math.isfinite(bound):
        return "not enough data", "There is no interval: all patients have the same value."
    if bound >= margin:
        return "not shown", f"A change of the mean by up to {bound:.3g} is not ruled out."
    for towards in (-1, 1):
        if skewed := _skewed(found, towards=towards):
            return "not enough data", skewed
    return f"equivalent within ±{margin:g}", f"The mean changes by less than {bound:.3g}."


def _skewed(estimate: Estimate, *, towards: int) -> str:
    """Why a bound on this side does not hold, "" if it does: too few for so skewed patients."""
    skewness = estimate.skewness * towards
    needed = math.ceil(SKEWED * skewness**2) if skewness > 0 else 0
    if estimate.patients >= needed:
        return ""
    return (
        f"A few patients change much more than the rest (skewness {estimate.skewness:+.1f}): "
        f"{needed} patients would be needed, there are {estimate.patients}."
    )


def verdicts(
    estimates: Mapping[Contrast, Estimate], *, margins: Mapping[str, float]
) -> pd.DataFrame:
    """`non_inferiority` of each contrast against the margin of its metric, a row each.

    Args:
        estimates: of `statistics.contrasts`.
        margins: of each metric, in its unit. Lower "mse" and "lpips" are better, of all other
            metrics higher values.

    Returns:
        The columns `COLUMNS`.

    Raises:
        ValueError: no estimates, a metric without a margin, or as `non_inferiority`.
    """
    if not estimates:
        raise ValueError("there is no estimate to judge")
    rows = []
    for contrast, e in estimates.items():
        if contrast.metric not in margins:
            raise ValueError(f"no margin for {contrast.metric!r}; there are {list(margins)}")
        margin, more = margins[contrast.metric], contrast.metric not in LOWER_IS_BETTER
        verdict = non_inferiority(e, margin=margin, higher_is_better=more)
        rows.append(vars(contrast) | vars(e) | verdict._asdict() | {"margin": margin})
    return pd.DataFrame(rows)[list(COLUMNS)]
