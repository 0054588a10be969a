"""From slices to patients: differences with intervals. The unit is the patient, not the slice.

Slices of one patient resemble each other; counting them as independent makes intervals too narrow.
Every patient weighs the same, however many slices there are of it.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean over patients with its 95 % interval.

    Attributes:
        value: in the metric's unit.
        low, high: of the interval; NaN with fewer than two patients.
        p: of the two-sided test that the mean is 0; NaN with fewer than two patients.
        patients, slices: that went in.
        skipped: slices left out because a region was too small to measure.
    """

    value: float
    low: float
    high: float
    p: float
    patients: int
    slices: int
    skipped: int = 0

    def __str__(self) -> str:
        return (
            f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p = {self.p:.2g} "
            f"(n = {self.patients} patients, {self.slices} slices, {self.skipped} skipped)"
        )


def paired_difference(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    baseline: str,
    region: str,
    reference: str | None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """How much better a method is than a baseline in a region, beyond what it is elsewhere.

    Within each slice [metric(method) - metric(baseline)] in `region`, less the same in `reference`
    (difference in differences); the mean over a patient's slices, then over patients. The interval
    is a BCa bootstrap over patients (Efron 1987), the p value a sign-flip permutation test over
    patients, exact where there are few.

    Args:
        table: of `score.score`: one scale and degradation, a row per slice, method and region.
        metric: "psnr", "ssim" or "mse".
        method, baseline: two of the table's methods.
        region: "tumour", for one.
        reference: "matched", for one; None for the plain difference in `region`.
        seed: of bootstrap and permutation.
        resamples: of each.

    Raises:
        ValueError: a metric, method or region that the table does not have, rows that stand in it
            twice, or no slice in which all that is needed was measured.
    """
    difference = slice_differences(
        table, metric=metric, method=method, baseline=baseline, region=region, reference=reference
    )
    measured = difference.dropna()
    if measured.empty:
        raise ValueError(
            f"no slice has {metric} of {method} and {baseline} in {region} and {reference}: "
            "the regions are too small or missing in all of them"
        )
    per_patient = measured.groupby(level="patient").mean().to_numpy()
    low, high = bootstrap_interval(per_patient, seed=seed, resamples=resamples)
    return Estimate(
        value=float(per_patient.mean()),
        low=low,
        high=high,
        p=sign_flip_test(per_patient, seed=seed, resamples=resamples),
        patients=len(per_patient),
        slices=len(measured),
        skipped=len(difference) - len(measured),
    )


def slice_differences(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    baseline: str,
    region: str,
    reference: str | None = None,
) -> pd.Series:
    """The difference of `paired_difference` for each slice, indexed by patient and slice_id."""
    wanted: dict[str, list[str]] = {"method": [method, baseline], "region": [region]}
    if reference:
        wanted["region"].append(reference)
    _check(table, metric, wanted)
    patient = "patient" if "patient" in table else "patient_id"
    rows = table[table["method"].isin(wanted["method"]) & table["region"].isin(wanted["region"])]
    keys = [rows[patient].rename("patient"), rows["slice_id"], rows["method"], rows["region"]]
    cells = rows.set_index(keys)[metric]
    if cells.index.has_duplicates:
        raise ValueError(
            f"slice {cells.index[cells.index.duplicated()][0][1]} stands in the table twice; "
            "choose one scale and one degradation"
        )
    wide = cells.unstack(["method", "region"])
    gain = wide[method, region] - wide[baseline, region]
    if reference:
        gain = gain - (wide[method, reference] - wide[baseline, reference])
    return gain.rename("difference")


def bootstrap_interval(
    per_patient: NDArray[np.floating], *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % BCa bootstrap interval of the mean of (n,) patients; NaN for fewer than two."""
    if len(per_patient) < 2:
        return float("nan"), float("nan")
    if np.ptp(per_patient) == 0:
        return float(per_patient[0]), float(per_patient[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (per_patient,),
            np.mean,
            n_resamples=resamples,
            method="BCa",
            vectorized=True,
            batch=1000,
            random_state=np.random.default_rng(seed),  # "rng" is not known before scipy 1.15
        )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_test(
    per_patient: NDArray[np.floating], *, seed: int, resamples: int = RESAMPLES
) -> float:
    """Two-sided p that the mean of (n,) patients is 0; all 2^n signs where these are fewer."""
    if len(per_patient) < 2:
        return float("nan")
    result = stats.permutation_test(
        (per_patient, np.zeros_like(per_patient)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _check(table: pd.DataFrame, metric: str, wanted: dict[str, list[str]]) -> None:
    if metric not in table or not pd.api.types.is_numeric_dtype(table[metric]):
        numbers = table.select_dtypes("number").columns.tolist()
        raise ValueError(f"no metric {metric!r} in the table; its numbers are {numbers}")
    for column, names in wanted.items():
        existing = table[column].unique().tolist()
        missing = [name for name in names if name not in existing]
        if missing:
            raise ValueError(f"no {column} {missing[0]!r} in the table; it has {existing}")
