"""Do two ways of measuring agree? Limits of agreement, intraclass and concordance correlation.

For a tumour's brightness, texture or size, measured in HR and in SR. All three take the pairs as
independent: give one pair for each patient (the mean over slices), not one for each slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from medsr_lib.assess.quality.score import REFERENCE

LEAST = 3  # pairs; with fewer, no interval is defined
LEVEL = 0.95  # of every interval
WIDTH = 1.96  # standard deviations that hold 95 % of differences; Bland & Altman 1999


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Between which differences 95 % of pairs lie, with 95 % intervals; in the measure's unit.

    Attributes:
        bias, bias_low, bias_high: the mean difference.
        sd: standard deviation of the differences (n - 1).
        lower, lower_low, lower_high: the lower limit.
        upper, upper_low, upper_high: the upper limit.
        n: pairs.
    """

    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    n: int

    def __str__(self) -> str:
        return (
            f"bias {self.bias:+.4g} [{self.bias_low:+.4g}, {self.bias_high:+.4g}], "
            f"limits {self.lower:+.4g} to {self.upper:+.4g} (n = {self.n})"
        )


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of agreement, 1 if perfect, with its 95 % interval.

    Attributes:
        value, low, high: without unit; NaN where the data do not define them.
        n: pairs, or rows of ratings.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def limits_of_agreement(sr: ArrayLike, hr: ArrayLike) -> LimitsOfAgreement:
    """Limits of agreement of Bland & Altman 1999 (10.1191/096228099673819272), of SR - HR.

    bias +- 1.96 s. Intervals by Student's t with n - 1 degrees of freedom: of the bias with
    standard error s / sqrt(n), of a limit with s sqrt(1 / n + 1.96^2 / (2 (n - 1))).
    They suppose differences that are normal and do not grow with the measure: look at a plot.

    Args:
        sr, hr: the measure in SR and in HR, (n,) each, in the same order.

    Raises:
        ValueError: fewer than three pairs, other shapes, NaN or infinite values.
    """
    first, second = _pairs(sr, hr)
    difference = first - second
    n = len(difference)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    of_bias = t * sd / n**0.5
    of_limit = t * sd * (1 / n + WIDTH**2 / (2 * (n - 1))) ** 0.5
    lower, upper = bias - WIDTH * sd, bias + WIDTH * sd
    return LimitsOfAgreement(
        bias=bias,
        bias_low=bias - of_bias,
        bias_high=bias + of_bias,
        sd=sd,
        lower=lower,
        lower_low=lower - of_limit,
        lower_high=lower + of_limit,
        upper=upper,
        upper_low=upper - of_limit,
        upper_high=upper + of_limit,
        n=n,
    )


def icc(ratings: ArrayLike) -> Coefficient:
    """ICC(3,1) of Shrout & Fleiss 1979 (10.1037/0033-2909.86.2.420): consistency of one rating.

    (BMS - EMS) / (BMS + (k - 1) EMS) with the mean squares of n targets (BMS) and of the residual
    (EMS) of a two-way layout. A constant bias of one column does not lower it; `ccc` is lowered.
    The interval is that of McGraw & Wong 1996 (10.1037/1082-989X.1.1.30) for ICC(C,1):
    (F / F* - 1) / (F / F* + k - 1) with F = BMS / EMS and the 97.5 % quantile F*.

    Args:
        ratings: (n, k), a row for each target, a column for each way of measuring; for one measure
            `np.column_stack((sr, hr))`.

    Returns:
        NaN if all ratings are equal.

    Raises:
        ValueError: fewer than three rows or two columns, NaN or infinite values.
    """
    x = np.asarray(ratings, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"ratings must be (n, k) with k of at least 2 columns, got {x.shape}")
    _check(x, "ratings")
    n, k = x.shape
    if np.ptp(x) == 0:
        return Coefficient(np.nan, np.nan, np.nan, n)
    of_targets, of_raters = x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    between, within = n - 1, (n - 1) * (k - 1)
    bms = k * np.square(of_targets - x.mean()).sum() / between
    ems = np.square(x - of_targets - of_raters + x.mean()).sum() / within
    value = (bms - ems) / (bms + (k - 1) * ems)
    quantile = (1 + LEVEL) / 2
    low, high = (  # of BMS against EMS, so that EMS = 0 is no special case
        (bms / f - ems) / (bms / f + (k - 1) * ems)
        for f in (
            stats.f.ppf(quantile, between, within),
            1 / stats.f.ppf(quantile, within, between),
        )
    )
    return Coefficient(float(value), float(low), float(high), n)


def ccc(sr: ArrayLike, hr: ArrayLike) -> Coefficient:
    """Concordance correlation coefficient of Lin 1989 (10.2307/2532051): closeness to y = x.

    2 sxy / (sx^2 + sy^2 + (mx - my)^2) with moments that divide by n. The interval goes through
    Fisher's z with the standard error of Lin 1989, as he corrected it (Lin 2000,
    Biometrics 56:324): with r, C = ccc / r and u = (mx - my) / sqrt(sx sy),
    [C^2 (1 - r^2) / (1 - ccc^2) + 2 ccc^2 C (1 - ccc) u^2 / (1 - ccc^2)^2
    - ccc^2 C^2 u^4 / (2 (1 - ccc^2)^2)] / (n - 2).

    Args:
        sr, hr: the measure in SR and in HR, (n,) each, in the same order.

    Returns:
        NaN if all values of both are equal; without interval if one of them does not vary.

    Raises:
        ValueError: fewer than three pairs, other shapes, NaN or infinite values.
    """
    x, y = _pairs(sr, hr)
    n = len(x)
    dx, dy, shift = x - x.mean(), y - y.mean(), x.mean() - y.mean()
    sxx, syy, sxy = (dx * dx).mean(), (dy * dy).mean(), (dx * dy).mean()
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        same = np.ptp(np.concatenate((x, y))) == 0
        return Coefficient(np.nan if same else 0.0, np.nan, np.nan, n)
    total, product = sxx + syy + shift**2, (sxx * syy) ** 0.5
    value, r = 2 * sxy / total, sxy / product
    if 1 - abs(value) < np.finfo(float).eps * n:
        return Coefficient(float(value), float(value), float(value), n)
    C, u2, rest = 2 * product / total, shift**2 / product, 1 - value**2
    variance = C**2 * (1 - r**2) / rest
    variance += value**2 * (2 * C * (1 - value) * u2 - C**2 * u2**2 / 2) / rest**2
    half = stats.norm.ppf((1 + LEVEL) / 2) * (max(variance, 0.0) / (n - 2)) ** 0.5
    z = np.arctanh(value)
    return Coefficient(float(value), float(np.tanh(z - half)), float(np.tanh(z + half)), n)


def by_method(
    table: pd.DataFrame, *, measures: Sequence[str], region: str = "tumour"
) -> pd.DataFrame:
    """Agreement with HR of what `appearance.measure` measured on both, method by method.

    A pair is one patient: the means over those slices in which both were measured.

    Args:
        table: of `review.review`.
        measures: such as "cnr", for the columns cnr_sr and cnr_hr.
        region: whose rows are taken.

    Returns:
        A row per measure and method: bias, lower and upper (`limits_of_agreement`), icc with
        icc_low and icc_high, ccc with ccc_low and ccc_high, patients. NaN with fewer than 3
        patients.

    Raises:
        ValueError: a measure or region that the table does not have.
    """
    rows = []
    for measure in measures:
        for method, pairs in pairs_by_method(table, measure=measure, region=region).items():
            row: dict[str, object] = {"measure": measure, "method": method}
            if len(pairs) >= LEAST:
                sr, hr = pairs["sr"].to_numpy(), pairs["hr"].to_numpy()
                limits, same = limits_of_agreement(sr, hr), ccc(sr, hr)
                consistent = icc(np.column_stack((sr, hr)))
                row |= {"bias": limits.bias, "lower": limits.lower, "upper": limits.upper}
                row |= {"icc": consistent.value, "icc_low": consistent.low}
                row |= {"icc_high": consistent.high, "ccc": same.value}
                row |= {"ccc_low": same.low, "ccc_high": same.high}
            rows.append(row | {"patients": len(pairs)})
    columns = ["measure", "method", "bias", "lower", "upper"]
    columns += ["icc", "icc_low", "icc_high", "ccc", "ccc_low", "ccc_high", "patients"]
    return pd.DataFrame(rows, columns=columns)


def pairs_by_method(
    table: pd.DataFrame, *, measure: str, region: str = "tumour"
) -> dict[str, pd.DataFrame]:
    """A measure in SR and in HR, patient by patient: method -> columns sr, hr, index patient.

    As `by_method` takes them; HR itself is left out, since it agrees with itself.

    Raises:
        ValueError: a measure or region that the table does not have.
    """
    columns = [f"{measure}_sr", f"{measure}_hr"]
    if missing := [name for name in columns if name not in table]:
        stems = [name[:-3] for name in map(str, table.columns) if name.endswith("_sr")]
        both = [stem for stem in stems if f"{stem}_hr" in table]
        raise ValueError(f"no column {missing[0]!r} in the table; of SR and HR it has {both}")
    rows = table[table["region"] == region]
    if rows.empty:
        raise ValueError(f"no region {region!r} in the table; it has {[*table['region'].unique()]}")
    rows = rows[rows["method"] != REFERENCE].replace([np.inf, -np.inf], np.nan)
    means = rows.dropna(subset=columns).groupby(["method", "patient"], sort=False)[columns].mean()
    return {
        str(method): means.loc[[method]].droplevel("method").set_axis(["sr", "hr"], axis=1)
        if method in means.index
        else pd.DataFrame(columns=["sr", "hr"], dtype=float)
        for method in rows["method"].unique()
    }


def _pairs(sr: ArrayLike, hr: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(sr, dtype=np.float64), np.asarray(hr, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"sr is {x.shape}, hr is {y.shape}; both must be (n,), pair by pair")
    _check(x, "sr")
    _check(y, "hr")
    return x, y


def _check(values: NDArray[np.float64], name: str) -> None:
    if len(values) < LEAST:
        raise ValueError(f"{name}: agreement needs at least {LEAST} pairs, got {len(values)}")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{name}: {count} values are NaN or infinite; drop these pairs first, and count them"
        )
