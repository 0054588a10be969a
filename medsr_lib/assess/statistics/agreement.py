"""Do two ways of measuring agree? Limits of agreement, intraclass and concordance correlation.

For a tumour's brightness, texture or size, measured in HR and in SR. All three take the pairs as
independent: give one pair for each patient (the mean over its cases), not one for each case. Pairs
are `sr` and `hr`, (n,) each, in one order. ValueError is raised for fewer than three, other shapes,
and NaN or infinite values.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from medsr_lib import checks
from medsr_lib.assess.restored import REFERENCE
from medsr_lib.assess.statistics.estimate import Estimate

LEAST = 3  # pairs; with fewer, no interval is defined
LEVEL = 0.95  # of every interval
WIDTH = 1.96  # standard deviations that hold 95 % of differences; Bland & Altman 1999


class LimitsOfAgreement(NamedTuple):
    """The mean difference and the limits, in the measure's unit, with 95 % intervals."""

    bias: Estimate
    lower: Estimate
    upper: Estimate


def limits_of_agreement(sr: ArrayLike, hr: ArrayLike) -> LimitsOfAgreement:
    """Limits of agreement of Bland & Altman 1999 (10.1191/096228099673819272), of SR - HR.

    bias +- 1.96 s. Intervals by Student's t with n - 1 degrees of freedom: of the bias with
    standard error s / sqrt(n), of a limit with s sqrt(1 / n + 1.96^2 / (2 (n - 1))).
    They suppose differences that are normal and do not grow with the measure: look at a plot.
    """
    first, second = _pairs(sr, hr)
    difference = first - second
    n = len(difference)
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    of_bias = t * sd / n**0.5
    of_limit = t * sd * (1 / n + WIDTH**2 / (2 * (n - 1))) ** 0.5
    found = ((mean, of_bias), (mean - WIDTH * sd, of_limit), (mean + WIDTH * sd, of_limit))
    return LimitsOfAgreement(*(Estimate(at, at - r, at + r, patients=n) for at, r in found))


def icc(ratings: ArrayLike) -> Estimate:
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
    """
    x = checks.finite("ratings", ratings)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"ratings must be (n, k) with k of at least 2 columns, got {x.shape}")
    _check(x, "ratings")
    n, k = x.shape
    if np.ptp(x) == 0:
        return Estimate(np.nan, patients=n)
    of_targets, of_raters = x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    between, within = n - 1, (n - 1) * (k - 1)
    bms = k * np.square(of_targets - x.mean()).sum() / between
    ems = np.square(x - of_targets - of_raters + x.mean()).sum() / within
    value = (bms - ems) / (bms + (k - 1) * ems)
    quantile = (1 + LEVEL) / 2
    ends = stats.f.ppf(quantile, between, within), 1 / stats.f.ppf(quantile, within, between)
    # of BMS against EMS, so that EMS = 0 is no special case
    low, high = ((bms / f - ems) / (bms / f + (k - 1) * ems) for f in ends)
    return Estimate(float(value), float(low), float(high), patients=n)


def ccc(sr: ArrayLike, hr: ArrayLike) -> Estimate:
    """Concordance correlation coefficient of Lin 1989 (10.2307/2532051): closeness to y = x.

    2 sxy / (sx^2 + sy^2 + (mx - my)^2) with moments that divide by n. The interval goes through
    Fisher's z with the standard error of Lin 1989, as he corrected it (Lin 2000,
    Biometrics 56:324): with r, C = ccc / r and u = (mx - my) / sqrt(sx sy),
    [C^2 (1 - r^2) / (1 - ccc^2) + 2 ccc^2 C (1 - ccc) u^2 / (1 - ccc^2)^2
    - ccc^2 C^2 u^4 / (2 (1 - ccc^2)^2)] / (n - 2).

    NaN if all values of both are equal; without interval if one of them does not vary.
    """
    x, y = _pairs(sr, hr)
    n = len(x)
    dx, dy, shift = x - x.mean(), y - y.mean(), x.mean() - y.mean()
    sxx, syy, sxy = (dx * dx).mean(), (dy * dy).mean(), (dx * dy).mean()
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        same = np.ptp(np.concatenate((x, y))) == 0
        return Estimate(np.nan if same else 0.0, patients=n)
    total, product = sxx + syy + shift**2, (sxx * syy) ** 0.5
    value, r = 2 * sxy / total, sxy / product
    if 1 - abs(value) < np.finfo(float).eps * n:
        return Estimate(float(value), float(value), float(value), patients=n)
    C, u2, rest = 2 * product / total, shift**2 / product, 1 - value**2
    variance = C**2 * (1 - r**2) / rest
    variance += value**2 * (2 * C * (1 - value) * u2 - C**2 * u2**2 / 2) / rest**2
    half = stats.norm.ppf((1 + LEVEL) / 2) * (max(variance, 0.0) / (n - 2)) ** 0.5
    z = np.arctanh(value)
    low, high = np.tanh([z - half, z + half]).tolist()
    return Estimate(float(value), low, high, patients=n)


def agreement_by_method(table: pd.DataFrame, *, measures: Sequence[str]) -> pd.DataFrame:
    """Agreement of SR with HR in the tumour, measure by measure and method by method.

    A pair is one patient: the means over those cases in which both were measured.

    Args:
        table: a row per case, method and region with the measure in both images, named
            `<measure>_sr` and `<measure>_hr`, as `appearance` gives.
        measures: such as "cnr", for the columns cnr_sr and cnr_hr.

    Returns:
        A row per measure and method but HR itself: bias, lower and upper (`limits_of_agreement`),
        icc with icc_low and icc_high, ccc with ccc_low and ccc_high, patients. NaN with fewer than
        3 patients.

    Raises:
        ValueError: a measure that the table does not have, or no rows of the region "tumour".
    """
    rows = []
    for measure in measures:
        for method, pairs in _pairs_by_method(table, measure).items():
            row: dict[str, object] = {"measure": measure, "method": method}
            if len(pairs) >= LEAST:
                sr, hr = pairs.T
                limits, same, like = limits_of_agreement(sr, hr), ccc(sr, hr), icc(pairs)
                row |= {name: getattr(limits, name).value for name in ("bias", "lower", "upper")}
                row |= {"icc": like.value, "icc_low": like.low, "icc_high": like.high}
                row |= {"ccc": same.value, "ccc_low": same.low, "ccc_high": same.high}
            rows.append(row | {"patients": len(pairs)})
    columns = ["measure", "method", "bias", "lower", "upper"]
    columns += ["icc", "icc_low", "icc_high", "ccc", "ccc_low", "ccc_high", "patients"]
    return pd.DataFrame(rows, columns=columns)


def _pairs_by_method(table: pd.DataFrame, measure: str) -> dict[str, NDArray[np.float64]]:
    """A measure of the tumour in SR and in HR: method -> (patients, 2)."""
    columns = [f"{measure}_sr", f"{measure}_hr"]
    if missing := [name for name in columns if name not in table]:
        stems = [name[:-3] for name in map(str, table.columns) if name.endswith("_sr")]
        both = [stem for stem in stems if f"{stem}_hr" in table]
        raise ValueError(f"no column {missing[0]!r} in the table; of SR and HR it has {both}")
    rows = table[(table["region"] == "tumour") & (table["method"] != REFERENCE)]
    if rows.empty:
        raise ValueError(f"no region 'tumour' in the table; it has {[*table['region'].unique()]}")
    found = {}
    for method, of_method in rows.groupby("method", sort=False, observed=True):
        measured = of_method.replace([np.inf, -np.inf], np.nan).dropna(subset=columns)
        found[str(method)] = measured.groupby("patient")[columns].mean().to_numpy(float)
    return found


def _pairs(sr: ArrayLike, hr: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = checks.finite("sr", sr), checks.finite("hr", hr)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"sr is {x.shape}, hr is {y.shape}; both must be (n,), pair by pair")
    _check(x, "sr")
    _check(y, "hr")
    return x, y


def _check(values: NDArray[np.float64], name: str) -> None:
    if len(values) < LEAST:
        raise ValueError(f"{name}: agreement needs at least {LEAST} pairs, got {len(values)}")
