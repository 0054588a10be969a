"""A number with its interval: one record for all of them, and tables of many."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FEW = 8  # patients; below, no p: with 5 the least that sign flips can give is 2 / 2^5 = 0.06
NO_INTERVAL = "[no interval]"


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and how much went into it.

    Attributes:
        value: in the unit of what is estimated.
        low, high: ends of the 95 % interval; NaN where there is none.
        p: two-sided, of the test that the value is 0; NaN where none was made.
        cases, patients: that went in; 0 where they do not apply.
        skipped: cases left out: a region was too small to measure, a row is missing, or a PSNR is
            infinite in both methods.
        low90, high90: ends of the 90 % interval, which are the one-sided 95 % bounds; NaN where
            there is none.
        skewness: of the patients (Joanes & Gill 1998, G1); NaN where it does not matter.
        seeds: trainings that went in; 0 where it is one, or none.
        seed_low, seed_high: the least and the greatest value that one of these trainings gives.
        case_low, case_high: ends of the 95 % interval if every case were a patient of its own
            (`with_case_interval`), which is too narrow where cases of one patient are alike.

    >>> print(Estimate(0.0123, 0.0041, 0.0205, p=0.004, cases=90, patients=30))
    +0.012 [+0.004, +0.021], p = 0.004 (n = 30 patients, 90 cases)
    >>> print(Estimate(0.8, 0.49, 0.943, patients=10))
    0.80 [0.49, 0.94] (n = 10 patients)
    >>> print(Estimate(0.8, 0.49, 0.943, patients=10, seeds=3, seed_low=0.71, seed_high=0.9))
    0.80 [0.49, 0.94] (n = 10 patients, 3 trainings from 0.71 to 0.90)
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    cases: int = 0
    patients: int = 0
    skipped: int = 0
    low90: float = math.nan
    high90: float = math.nan
    skewness: float = math.nan
    seeds: int = 0
    seed_low: float = math.nan
    seed_high: float = math.nan
    case_low: float = math.nan
    case_high: float = math.nan

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0; 0 where it does not, or is none.

        A sentence takes its words by it: `{1: "gains", -1: "loses", 0: "may gain or lose"}`.
        """
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        """The digits are two of the interval's width; what was tested against 0 has its sign."""
        width = self.high - self.low
        seen = math.isfinite(width) and width > 0
        digits = max(0, 1 - math.floor(math.log10(width))) if seen else 4
        sign = "+" if math.isfinite(self.p) else ""

        def text(x: float) -> str:
            return f"{x:{sign}.{digits}f}".replace("-", "−")

        interval = f"[{text(self.low)}, {text(self.high)}]" if math.isfinite(width) else NO_INTERVAL
        p = f", p = {self.p:.2g}" if math.isfinite(self.p) else ""
        counts = {"patients": self.patients, "cases": self.cases, "skipped": self.skipped}
        parts = [f"{count} {name}" for name, count in counts.items() if count]
        if self.seeds:
            spread = f"from {text(self.seed_low)} to {text(self.seed_high)}"
            parts.append(f"{self.seeds} trainings {spread}")
        n = f" (n = {', '.join(parts)})" if parts else ""
        if not math.isfinite(self.case_high - self.case_low):
            return f"{text(self.value)} {interval}{p}{n}"
        narrow = f"[{text(self.case_low)}, {text(self.case_high)}]"
        return f"{text(self.value)} {interval}{p}{n}; {narrow} if every case were a patient"


def with_case_interval(
    estimate: Callable[[pd.DataFrame], Estimate], table: pd.DataFrame
) -> Estimate:
    """An estimate over patients, and beside it the interval that takes every case for a patient.

    Where patients are unknown and runs of slices stand for them (`splits.runs`), the first interval
    is the conservative one: the truth lies between the two.

    Args:
        estimate: such as `partial(paired_difference, metric="ssim", ...)`.
        table: with columns patient and id.
    """
    by_case = estimate(table.assign(patient=table["id"]))
    return replace(estimate(table), case_low=by_case.low, case_high=by_case.high)


def over_trainings(
    by_seed: ArrayLike, *, variance: float, df: float, cases: int, patients: int, skipped: int = 0
) -> Estimate:
    """The mean over trainings, with an interval over patients and trainings alike.

    The variance is that of the mean by patients, plus that between trainings over their number; t
    with the degrees of freedom of Satterthwaite 1946 (10.2307/3002019). Between two and five
    trainings, drawing them again is too narrow: with 3, resampling patients and trainings covered
    86 to 94 %, this 93 to 95 %, patients alone 68 to 94 % (`benchmarks/intervals.py`).

    Args:
        by_seed: (k,) what each training gives; for one, only patients vary.
        variance: of the mean over trainings, when patients are drawn again.
        df: degrees of freedom of this variance.
        cases, patients, skipped: that went in.
    """
    values = np.asarray(by_seed, float)
    k = len(values)
    between = float(values.var(ddof=1) / k) if k > 1 else 0.0
    counts: dict[str, Any] = {"cases": cases, "patients": patients, "skipped": skipped}
    if k > 1:
        counts |= {"seeds": k, "seed_low": float(values.min()), "seed_high": float(values.max())}
    value, total = float(values.mean()), variance + between
    if not (math.isfinite(total) and total > 0 and df > 0):
        return Estimate(value, **counts)
    freedom = total**2 / (variance**2 / df + (between**2 / (k - 1) if k > 1 else 0))
    se = math.sqrt(total)
    reach, reach90 = (se * float(stats.t.ppf(q, freedom)) for q in (0.975, 0.95))
    p = float(2 * stats.t.sf(abs(value) / se, freedom)) if patients >= FEW else math.nan
    ends: dict[str, Any] = {"low": value - reach, "high": value + reach}
    ends |= {"low90": value - reach90, "high90": value + reach90}
    return Estimate(value, p=p, **ends, **counts)


def direction(estimate: Estimate, *, above: str, below: str) -> str:
    """What the 95 % interval says in words: `above` or `below` if all of it lies there.

    >>> direction(Estimate(0.1, -0.1, 0.3, patients=9), above="Better.", below="Worse.")
    'No difference is shown: the interval holds 0.'
    """
    if not math.isfinite(estimate.high - estimate.low):
        return "There is not enough data for an interval."
    words = {1: above, -1: below, 0: "No difference is shown: the interval holds 0."}
    return words[estimate.sign]


def footnote(estimates: Mapping[Any, Estimate] | Iterable[Estimate]) -> str:
    """The one footnote that explains what is missing in these estimates; "" if nothing is.

    >>> footnote([Estimate(0.1, 0.05, 0.15, p=0.01, patients=30)])
    ''
    """
    found = list(estimates.values() if isinstance(estimates, Mapping) else estimates)
    notes = []
    if any(0 < e.patients < FEW for e in found):
        notes.append(
            f"No p is given below {FEW} patients: that of five who all agree is 0.06 by sign flips."
        )
    if any(not math.isfinite(e.high - e.low) for e in found):
        notes.append(
            "No interval is given for one patient, or where all have the same value: what does not "
            "vary does not tell how far the next patient may be."
        )
    return " ".join(notes)


def as_table(
    estimates: Mapping[Any, Estimate], *, method: Literal["holm", "bh"] = "holm"
) -> pd.DataFrame:
    """A row per estimate: its name, its attributes, and `p_adjusted` over all as one family.

    A name that is a record, such as a `Contrast`, gives a column per field; others give `name`.
    What no estimate has of trainings and of single cases gives no column.

    Raises:
        ValueError: no estimates, or as `adjust`.
    """
    if not estimates:
        raise ValueError("there is no estimate to put into a table")
    names = [vars(name) if is_dataclass(name) else {"name": name} for name in estimates]
    table = pd.DataFrame([name | vars(e) for name, e in zip(names, estimates.values())])
    for column, *others in (("seeds", "seed_low", "seed_high"), ("case_low", "case_high")):
        if not table[column].fillna(0).any():
            table = table.drop(columns=[column, *others])
    return table.assign(p_adjusted=adjust(table["p"], method=method))


def adjust(p: ArrayLike, *, method: Literal["holm", "bh"] = "holm") -> NDArray[np.float64]:
    """Correct the p values of a family of tests, in their order; NaN stays NaN and counts as none.

    "holm" keeps the chance of any false finding (Holm 1979, Scand J Stat 6:65), for confirmatory
    families; "bh" the share of false among findings (Benjamini & Hochberg 1995, JRSS B 57:289), for
    exploring, by SciPy.

    Raises:
        ValueError: another method, or p values outside [0, 1].
    """
    if method not in ("holm", "bh"):
        raise ValueError(f"method must be 'holm' or 'bh', got {method!r}")
    values = np.asarray(p, float)
    made = np.isfinite(values)
    if ((values[made] < 0) | (values[made] > 1)).any():
        raise ValueError("p values lie between 0 and 1")
    out = np.full(values.shape, np.nan)
    if method == "bh":
        out[made] = stats.false_discovery_control(values[made])
    else:  # not by statsmodels, which collects all garbage for it: 0.2 s in a notebook
        order = np.argsort(values)[: made.sum()]  # NaN come last
        stepped = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
        out[order] = np.minimum(stepped, 1)
    return out
