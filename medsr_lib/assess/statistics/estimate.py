"""A number with its interval: one record for all of them, and tables of many."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests


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

    >>> print(Estimate(0.0123, 0.0041, 0.0205, p=0.004, cases=90, patients=30))
    +0.012 [+0.004, +0.021], p = 0.004 (n = 30 patients, 90 cases)
    >>> print(Estimate(0.8, 0.49, 0.943, patients=10))
    0.80 [0.49, 0.94] (n = 10 patients)
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

    def __str__(self) -> str:
        """The digits are two of the interval's width; what was tested against 0 has its sign."""
        width = self.high - self.low
        seen = math.isfinite(width) and width > 0
        digits = max(0, 1 - math.floor(math.log10(width))) if seen else 4
        sign = "+" if math.isfinite(self.p) else ""
        value, low, high = (f"{x:{sign}.{digits}f}" for x in (self.value, self.low, self.high))
        interval = f"[{low}, {high}]" if math.isfinite(width) else "[no interval]"
        p = f", p = {self.p:.2g}" if math.isfinite(self.p) else ""
        counts = {"patients": self.patients, "cases": self.cases, "skipped": self.skipped}
        n = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"{value} {interval}{p}" + (f" (n = {n})" if n else "")


def as_table(
    estimates: Mapping[Any, Estimate], *, method: Literal["holm", "bh"] = "holm"
) -> pd.DataFrame:
    """A row per estimate: its name, its attributes, and `p_adjusted` over all as one family.

    A name that is a record, such as a `Contrast`, gives a column per field; others give `name`.

    Raises:
        ValueError: no estimates, or as `adjust`.
    """
    if not estimates:
        raise ValueError("there is no estimate to put into a table")
    names = [vars(name) if is_dataclass(name) else {"name": name} for name in estimates]
    table = pd.DataFrame([name | vars(e) for name, e in zip(names, estimates.values())])
    return table.assign(p_adjusted=adjust(table["p"], method=method))


def adjust(p: ArrayLike, *, method: Literal["holm", "bh"] = "holm") -> NDArray[np.float64]:
    """Correct the p values of a family of tests, in their order; NaN stays NaN and counts as none.

    By statsmodels. "holm" keeps the chance of any false finding (Holm 1979, Scand J Stat 6:65), for
    confirmatory families; "bh" the share of false among findings (Benjamini & Hochberg 1995, JRSS
    B 57:289), for exploring.

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
    if made.any():
        out[made] = multipletests(values[made], method={"holm": "holm", "bh": "fdr_bh"}[method])[1]
    return out
