"""What surrounds an estimate: families of tests, effect sizes, and what a design can detect."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Array = NDArray[np.floating]


def adjust(p: ArrayLike, *, method: Literal["holm", "bh"] = "holm") -> Array:
    """P values of a family of tests, corrected, in their order; NaN stays NaN and counts as none.

    "holm" keeps the chance of any false finding (Holm 1979, Scand J Stat 6:65), for confirmatory
    families; "bh" the share of false among findings (Benjamini & Hochberg 1995, JRSS B 57:289),
    for exploring.
    """
    if method not in ("holm", "bh"):
        raise ValueError(f"method must be 'holm' or 'bh', got {method!r}")
    values = np.asarray(p, float)
    made = np.flatnonzero(np.isfinite(values))
    if ((values[made] < 0) | (values[made] > 1)).any():
        raise ValueError("p values lie between 0 and 1")
    m = len(made)
    order = made[np.argsort(values[made])]
    out = np.full(values.shape, np.nan)
    if method == "holm":
        out[order] = np.maximum.accumulate(values[order] * (m - np.arange(m)))
    else:
        out[order] = np.minimum.accumulate((values[order] * m / np.arange(1, m + 1))[::-1])[::-1]
    return np.minimum(out, 1)


@dataclass(frozen=True)
class EffectSize:
    """A mean in standard deviations of the patients, with its 95 % interval."""

    value: float
    low: float
    high: float
    patients: int


def effect_size(per_patient: Array) -> EffectSize:
    """Paired standardised mean difference d_z of (n,) patients, with Hedges' correction.

    d_z = mean / standard deviation over patients (Cohen 1988), times J = Γ(f/2) / (√(f/2)
    Γ((f-1)/2)), f = n - 1 (Hedges 1981, equation 6e). The interval inverts the noncentral t
    distribution (Cumming & Finch 2001), which supposes normal patients; it needs no correction.
    NaN for fewer than three patients, or if all are equal.
    """
    values = np.asarray(per_patient, float)
    n = len(values)
    if n < 3 or np.ptp(values) == 0:
        return EffectSize(float("nan"), float("nan"), float("nan"), n)
    f = n - 1
    correction = np.exp(special.gammaln(f / 2) - special.gammaln((f - 1) / 2)) / np.sqrt(f / 2)
    d = values.mean() / values.std(ddof=1)
    low, high = (_noncentrality(d * np.sqrt(n), f, share) for share in (0.975, 0.025))
    return EffectSize(float(correction * d), low / float(np.sqrt(n)), high / float(np.sqrt(n)), n)


def power(*, effect: float, patients: int, alpha: float) -> float:
    """Chance that the two-sided paired t test at `alpha` finds an effect of `effect` = d_z.

    T² is noncentral F with 1 and n - 1 degrees of freedom and noncentrality n d_z² (Cohen 1988).
    """
    if patients < 2 or not 0 < alpha < 1:
        raise ValueError(f"needs 2 patients and 0 < alpha < 1, got {patients} and {alpha}")
    critical = stats.t.ppf(1 - alpha / 2, patients - 1) ** 2
    if effect == 0:
        return alpha
    return float(stats.ncf.sf(critical, 1, patients - 1, patients * effect**2))


def detectable(*, patients: int, power: float, alpha: float) -> float:
    """The smallest d_z that so many patients find with a chance of `power`."""
    if not alpha < power < 1:
        raise ValueError(f"power must lie between alpha = {alpha} and 1, got {power}")
    high = 1.0 / np.sqrt(patients)
    while _power(effect=high, patients=patients, alpha=alpha) < power:
        high *= 2
    return float(
        optimize.brentq(
            lambda d: _power(effect=d, patients=patients, alpha=alpha) - power, 0.0, high
        )
    )


_power = power  # `detectable` has an argument of this name


def _noncentrality(t: float, f: int, share: float) -> float:
    """The noncentrality at which noncentral t with f degrees of freedom lies below t so often.

    T = (Z + noncentrality) / √(χ²/f), averaged over χ²: `scipy.stats.nct` gives NaN here and there.
    """
    scale = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, f) / f)
    reach = 10 * np.sqrt(1 + t**2 / (2 * f))
    return float(
        optimize.brentq(
            lambda nc: stats.norm.cdf(t * scale - nc).mean() - share, t - reach, t + reach
        )
    )
