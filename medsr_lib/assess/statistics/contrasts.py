"""From cases to patients: means and paired differences with intervals. The unit is the patient.

Cases of one patient resemble each other; counting them as independent makes intervals too narrow.
Every patient weighs the same, however many cases there are of it: what is estimated is the mean
over patients of a patient's mean over cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from medsr_lib import checks
from medsr_lib.assess.statistics.bootstrap import estimates, skewness
from medsr_lib.assess.statistics.estimate import Estimate, over_trainings
from medsr_lib.assess.statistics.shares import share, share_difference

CASE, PLACE = ["patient", "id"], ["method", "region"]
KEYS = [*CASE, *PLACE]


@dataclass(frozen=True)
class Contrast:
    """One question to a score table; the names are those of `paired_difference`."""

    metric: str
    method: str
    baseline: str
    region: str
    reference: str | None = None

    def __str__(self) -> str:
        where = f"{self.region} − {self.reference}" if self.reference else self.region
        return f"{self.metric}, {self.method} − {self.baseline}, {where}"


def paired_difference(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    baseline: str,
    region: str,
    reference: str | None,
    seed: int,
) -> Estimate:
    """How much better a method is than a baseline in a region, beyond what it is elsewhere.

    Within each case [metric(method) - metric(baseline)] in `region`, less the same in `reference`
    (difference in differences); the mean over a patient's cases, then over patients. Interval and p
    are those of `bootstrap.estimates`, over patients. Where there is no reference and all
    values are 0 or 1 (`right`, `found`), the interval is that of `shares.share_difference`.

    Args:
        table: of `score.score`: one scale and degradation, a row per case, method and region. A
            case that lacks a row is skipped, and counted.
        metric: "psnr", "ssim" or "mse", or another column of numbers.
        method, baseline: two of the table's methods.
        region: such as "tumour".
        reference: such as "matched"; None for the plain difference in `region`.
        seed: of bootstrap and sign flips.

    Raises:
        ValueError: a metric, method or region that the table does not have, rows that occur twice,
            cases or patients that are missing or named by numbers here and text there (as where a
            table read from CSV meets a new one), or no case in which all that is needed was
            measured.
    """
    contrast = Contrast(metric, method, baseline, region, reference)
    estimate = contrasts(table, [contrast], seed=seed)[contrast]
    if not estimate.cases:
        raise ValueError(
            f"no case has {metric} of {method} and {baseline} in {region} and {reference}: "
            "the regions are too small or missing in all of them"
        )
    return estimate


def contrasts(
    table: pd.DataFrame, specs: Sequence[Contrast], *, seed: int
) -> dict[Contrast, Estimate]:
    """`paired_difference` of many contrasts in one go; each as it would be alone.

    All contrasts with the same number of patients share resamples and sign flips. A contrast that
    no case was measured for has 0 patients and the value NaN; one with infinite differences (PSNR
    without any error) has no interval.
    """
    differences = _differences(table, specs)
    found = estimates([_by_patient(d).to_numpy() for d in differences], seed=seed)
    out = {}
    for spec, estimate, d in zip(specs, found, differences):
        if not spec.reference and estimate.patients > 1 and _is_binary(table, spec):
            estimate = replace(_difference_of_shares(d.dropna()), p=estimate.p)
        out[spec] = replace(estimate, cases=int(d.count()), skipped=int(d.isna().sum()))
    return out


def over_seeds(table: pd.DataFrame, contrast: Contrast) -> Estimate:
    """`paired_difference` over several trainings: the mean, and how far they differ.

    The value is the mean over trainings of what each gives. Interval and p are those of
    `estimate.over_trainings`: they hold for other patients and another training alike.

    Args:
        table: as of `paired_difference`, with a column `seed`: each training measured on the same
            cases. A method without training is repeated for each seed.
        contrast: what is asked.

    Returns:
        With `seeds`, and the least and greatest value of a training in `seed_low` and `seed_high`.
        A case that one of the trainings lacks is skipped. With one seed, only patients vary.

    Raises:
        ValueError: as `paired_difference`.
    """
    return contrasts_over_seeds(table, [contrast])[contrast]


def contrasts_over_seeds(
    table: pd.DataFrame, specs: Sequence[Contrast]
) -> dict[Contrast, Estimate]:
    """`over_seeds` of many contrasts in one go; each as it would be alone, and with its errors."""
    checks.columns(table, "seed")
    out = {}
    for spec, of_each in zip(specs, _differences(table, specs, case=[*CASE, "seed"])):
        cases = of_each.unstack("seed")
        measured = pd.DataFrame(cases[np.isfinite(cases).all(axis=1)])
        if measured.empty:
            raise ValueError(f"no case was measured in all {cases.shape[1]} trainings: {spec}")
        of_patient = measured.groupby(level="patient").mean().to_numpy()
        counts = {"cases": len(measured), "skipped": len(cases) - len(measured)}
        out[spec] = _over_trainings(of_patient, **counts)
    return out


def case_differences(table: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """The difference of `paired_difference` for each case, by patient and id; NaN if not measured.

    What `equivalence` takes.
    """
    return _differences(table, [contrast])[0]


def patient_differences(table: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """The difference of `paired_difference` for each patient: the mean over measured cases."""
    return _by_patient(_differences(table, [contrast])[0])


def means(
    table: pd.DataFrame, *, metrics: Sequence[str], by: Sequence[str], seed: int
) -> pd.DataFrame:
    """Mean of each metric over patients, with its 95 % interval, for each group of rows.

    A patient's value is the mean over the patient's cases; the interval is that of
    `bootstrap_interval`, over patients, or that of `shares.share` where all values of a metric are
    0 or 1. It shows how far patients differ: to compare two methods, take `contrasts`, where each
    case is its own control. Where the trainings of a column `seed` differ, it is that of
    `over_seeds`, over patients and trainings.

    Args:
        table: of `score.score`, or several of them with further columns.
        metrics: columns to average. Missing and infinite values are left out, and counted.
        by: columns that make the groups, such as "method".
        seed: of the bootstrap.

    Returns:
        The columns of `by`, metric, value, low, high, patients, cases, skipped (of the training
        that lacks most); where trainings differ also seeds, seed_low, seed_high.

    Raises:
        ValueError: a column that the table does not have.
    """
    checks.columns(table, *by, "patient", numbers=metrics)
    if not by:
        raise ValueError("by must name at least one column")
    binary = {metric for metric in metrics if _all_binary(table[metric])}
    table = table.assign(seed=table["seed"].fillna(0) if "seed" in table else 0)
    rows, samples, others = [], [], {}
    for keys, group in table.groupby([*by], sort=False, observed=True):
        for metric in metrics:
            finite = group[metric].where(np.isfinite(group[metric]))
            there = finite.notna().groupby(group["seed"])
            counts = {"cases": int(there.sum().min())}
            counts["skipped"] = int(there.size().max()) - counts["cases"]
            rows.append(dict(zip(by, keys)) | {"metric": metric} | counts)
            by_seed = finite.groupby([group["patient"], group["seed"]]).mean().unstack().dropna()
            samples.append(by_seed.mean(axis=1).to_numpy())
            if metric in binary and finite.notna().any():
                right = finite.dropna()
                others[len(rows) - 1] = share(right, group.loc[right.index, "patient"])
            elif (by_seed.nunique(axis=1) > 1).any():  # they differ
                others[len(rows) - 1] = _over_trainings(by_seed.to_numpy(), **counts)
    estimated = [others.get(i, e) for i, e in enumerate(estimates(samples, seed=seed))]
    found = [vars(e) | row for e, row in zip(estimated, rows)]
    columns = ["metric", "value", "low", "high", "patients", "cases", "skipped"]
    if any(e.seeds for e in estimated):
        columns += ["seeds", "seed_low", "seed_high"]
    return pd.DataFrame(found, columns=[*by, *columns])


def effect_size(per_patient: ArrayLike) -> Estimate:
    """Paired standardised mean difference d_z of (n,) patients, with Hedges' correction.

    d_z = mean / standard deviation over patients (Cohen 1988), times J = Γ(f/2) / (√(f/2)
    Γ((f-1)/2)), f = n - 1 (Hedges 1981, equation 6e). The interval inverts the noncentral t
    distribution (Cumming & Finch 2001), which supposes normal patients; it needs no correction.
    NaN for fewer than three patients, or if all are equal.

    Raises:
        ValueError: NaN or infinite values.
    """
    values = checks.finite("per_patient", per_patient, ndim=1)
    n = len(values)
    if n < 3 or np.ptp(values) == 0:
        return Estimate(float("nan"), patients=n)
    f = n - 1
    correction = np.exp(special.gammaln(f / 2) - special.gammaln((f - 1) / 2)) / np.sqrt(f / 2)
    d = values.mean() / values.std(ddof=1)
    low, high = (_noncentrality(d * np.sqrt(n), f, share) / np.sqrt(n) for share in (0.975, 0.025))
    return Estimate(float(correction * d), float(low), float(high), patients=n)


def detectable(*, patients: int, power: float, alpha: float) -> float:
    """The smallest d_z that the paired t test of so many patients finds with a chance of `power`.

    T² is noncentral F with 1 and n - 1 degrees of freedom and noncentrality n d_z² (Cohen 1988).
    (`TTestPower` of statsmodels gives the same from 15 patients on, but fails below: it returns 10
    for two patients, power 0.8 and alpha 0.01, where 57.7 is right.)

    Args:
        patients: at least 2.
        power: above alpha and below 1.
        alpha: of the two-sided test.

    Raises:
        ValueError: a number out of range.
    """
    checks.whole("patients", patients, least=2)
    checks.share("alpha", alpha)
    checks.share("power", power)
    if alpha >= power:
        raise ValueError(f"power must be above alpha, got {power} and {alpha}")
    critical = stats.f.isf(alpha, 1, patients - 1)

    def excess(d: float) -> float:
        return float(stats.ncf.sf(critical, 1, patients - 1, patients * d**2)) - power

    high = patients**-0.5
    while excess(high) < 0:
        high *= 2
    return float(optimize.brentq(excess, 1e-9, high))


def _over_trainings(values: NDArray[np.floating], *, cases: int, skipped: int) -> Estimate:
    """`over_trainings` of a value for each patient (a row) and training (a column)."""
    n = len(values)
    variance = float(values.mean(1).var(ddof=1) / n) if n > 1 else float("nan")
    counts = {"cases": cases, "patients": n, "skipped": skipped}
    found = over_trainings(values.mean(0), variance=variance, df=n - 1, **counts)
    return replace(found, skewness=float(skewness(values.mean(1, keepdims=True))[0]))


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


def _is_binary(table: pd.DataFrame, spec: Contrast) -> bool:
    """Whether both methods have 0 and 1 only in the region."""
    of = table["method"].isin([spec.method, spec.baseline]) & (table["region"] == spec.region)
    return _all_binary(table.loc[of, spec.metric])


def _all_binary(values: pd.Series) -> bool:
    """Whether numbers are 0 or 1 wherever there is one."""
    return bool(values.dropna().isin((0, 1)).all())


def _difference_of_shares(difference: pd.Series) -> Estimate:
    """`share_difference` from differences of -1, 0 and 1, by patient."""
    patients = difference.index.get_level_values("patient")
    return share_difference(difference > 0, difference < 0, patients)


def _by_patient(difference: pd.Series) -> pd.Series:
    return difference.dropna().groupby(level="patient").mean()


def _differences(
    table: pd.DataFrame, specs: Sequence[Contrast], *, case: Sequence[str] = CASE
) -> list[pd.Series]:
    """Of each contrast and case, by patient and id; NaN where one of the values is missing."""
    keys = [*case, *PLACE]
    checks.columns(table, *keys, numbers=[s.metric for s in specs])
    methods = list(dict.fromkeys(name for s in specs for name in (s.method, s.baseline)))
    references = [s.reference for s in specs if s.reference is not None]
    places = list(dict.fromkeys([*(s.region for s in specs), *references]))
    check_names(table, {"method": methods, "region": places})
    rows = table[table["method"].isin(methods) & table["region"].isin(places)]
    check_once(rows, keys)
    rows = rows.set_index(keys)
    cases = pd.MultiIndex.from_frame(table[[*case]].drop_duplicates()).sort_values()
    wide = {}
    for metric in dict.fromkeys(s.metric for s in specs):
        cells = rows[metric].unstack(PLACE)
        columns = pd.MultiIndex.from_product([methods, places])
        wide[metric] = cells.reindex(columns=columns).reindex(cases)
    differences = []
    for s in specs:
        values = wide[s.metric]
        gain = values[s.method, s.region] - values[s.baseline, s.region]
        if s.reference:
            gain = gain - (values[s.method, s.reference] - values[s.baseline, s.reference])
        differences.append(gain.rename("difference"))
    return differences


def check_once(table: pd.DataFrame, keys: Sequence[str] = KEYS) -> None:
    """Refuse a table in which a case has two rows of one method and region."""
    if (twice := table.duplicated(keys)).any():
        raise ValueError(
            f"case {table.loc[twice, 'id'].iloc[0]} occurs twice in the table; "
            "choose one scale and one degradation"
        )


def check_names(table: pd.DataFrame, wanted: Mapping[str, Sequence[str]]) -> None:
    """Refuse names that a column lacks, and cases or patients that are not named alike."""
    for column, names in wanted.items():
        existing = table[column].unique().tolist()
        if missing := [name for name in names if name not in existing]:
            raise ValueError(f"no {column} {missing[0]!r} in the table; it has {existing}")
    for column in ("patient", "id"):
        ids = pd.Series(table[column].unique())
        if ids.isna().any() or pd.api.types.infer_dtype(ids).startswith("mixed"):
            raise ValueError(
                f"{column} is missing in some rows, or a number in some and text in others; read a "
                f'table with pd.read_csv(..., dtype={{"{column}": str}})'
            )
