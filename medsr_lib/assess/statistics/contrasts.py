"""From slices to patients: differences with intervals. The unit is the patient, not the slice.

Slices of one patient resemble each other; counting them as independent makes intervals too narrow.
Every patient weighs the same, however many slices there are of it: what is estimated is the mean
over patients of a patient's mean over slices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from medsr_lib.assess.statistics.bootstrap import RESAMPLES, infer
from medsr_lib.assess.statistics.bootstrap import bootstrap_interval as bootstrap_interval
from medsr_lib.assess.statistics.bootstrap import sign_flip_test as sign_flip_test

# what else is done with differences of patients, under this module's name too
from medsr_lib.assess.statistics.inference import adjust as adjust
from medsr_lib.assess.statistics.inference import detectable as detectable
from medsr_lib.assess.statistics.inference import effect_size as effect_size
from medsr_lib.assess.statistics.inference import power as power


@dataclass(frozen=True)
class Estimate:
    """A mean over patients with its 95 % interval.

    Attributes:
        value: in the metric's unit.
        low, high: of the interval; NaN with fewer than two patients.
        p: of the two-sided test that the mean is 0; NaN with fewer than two patients.
        patients, slices: that went in.
        skipped: slices of the table left out, because a region was too small to measure, a row is
            missing (a table that was resumed or put together), or PSNR is infinite in both methods.
        low90, high90: of the 90 % interval, whose ends are the one-sided 95 % bounds.
    """

    value: float
    low: float
    high: float
    p: float
    patients: int
    slices: int
    skipped: int = 0
    low90: float = float("nan")
    high90: float = float("nan")

    def __str__(self) -> str:
        return (
            f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p = {self.p:.2g} "
            f"(n = {self.patients} patients, {self.slices} slices, {self.skipped} skipped)"
        )


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
    resamples: int = RESAMPLES,
) -> Estimate:
    """How much better a method is than a baseline in a region, beyond what it is elsewhere.

    Within each slice [metric(method) - metric(baseline)] in `region`, less the same in `reference`
    (difference in differences); the mean over a patient's slices, then over patients. The interval
    is `bootstrap_interval`, the p value `sign_flip_test`, both over patients.

    Args:
        table: of `score.score`: one scale and degradation, a row per slice, method and region. A
            slice that lacks a row is skipped, and counted.
        metric: "psnr", "ssim" or "mse".
        method, baseline: two of the table's methods.
        region: "tumour", for one.
        reference: "matched", for one; None for the plain difference in `region`.
        seed: of bootstrap and permutation.
        resamples: of each.

    Raises:
        ValueError: a metric, method or region that the table does not have, rows that stand in it
            twice, slices or patients that are missing or named by numbers here and text there (as
            where a table read from CSV meets a new one), or no slice in which all that is needed
            was measured.
    """
    spec = Contrast(metric, method, baseline, region, reference)
    estimate = contrasts(table, [spec], seed=seed, resamples=resamples)[spec]
    if not estimate.slices:
        raise ValueError(
            f"no slice has {metric} of {method} and {baseline} in {region} and {reference}: "
            "the regions are too small or missing in all of them"
        )
    return estimate


def contrasts(
    table: pd.DataFrame, specs: Sequence[Contrast], *, seed: int, resamples: int = RESAMPLES
) -> dict[Contrast, Estimate]:
    """`paired_difference` of many contrasts in one go; each as it would be alone.

    All contrasts with the same number of patients share resamples and sign flips, which are matrix
    products. A contrast that no slice was measured for has 0 patients and the value NaN; one with
    infinite differences (PSNR without any error) has no interval.
    """
    differences: dict[Contrast, pd.Series] = {}
    for metric in dict.fromkeys(spec.metric for spec in specs):
        same = [spec for spec in specs if spec.metric == metric]
        differences |= _differences(table, metric, same)
    ordered = [differences[spec] for spec in specs]
    samples = [_by_patient(difference).to_numpy() for difference in ordered]
    inferred = infer(samples, seed=seed, resamples=resamples)
    return {
        spec: Estimate(
            value=float(sample.mean()) if len(sample) else float("nan"),
            patients=len(sample),
            slices=int(difference.count()),
            skipped=int(difference.isna().sum()),
            **numbers,
        )
        for spec, sample, difference, numbers in zip(specs, samples, ordered, inferred)
    }


def as_table(
    estimates: Mapping[Contrast, Estimate], *, method: Literal["holm", "bh"] = "holm"
) -> pd.DataFrame:
    """A row per contrast: what it is, its estimate, and `p_adjusted` over all as one family."""
    if not estimates:
        raise ValueError("there is no estimate to put into a table")
    table = pd.DataFrame([{**asdict(spec), **asdict(e)} for spec, e in estimates.items()])
    return table.assign(p_adjusted=adjust(table["p"], method=method))


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
    spec = Contrast(metric, method, baseline, region, reference)
    return _differences(table, metric, [spec])[spec]


def patient_differences(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    baseline: str,
    region: str,
    reference: str | None = None,
) -> pd.Series:
    """The mean of `slice_differences` over the measured slices of each patient."""
    return _by_patient(
        slice_differences(
            table,
            metric=metric,
            method=method,
            baseline=baseline,
            region=region,
            reference=reference,
        )
    )


@dataclass(frozen=True)
class NonInferiority:
    """An estimate against a margin; `bound` and `best` are the ends of the 90 % interval.

    Both are turned so that more is better: `bound` is the largest loss (as a negative number) that
    the data allow, `best` the largest gain.
    """

    margin: float
    bound: float
    best: float
    not_inferior: bool
    equivalent: bool


def non_inferiority(
    estimate: Estimate, *, margin: float, higher_is_better: bool = True
) -> NonInferiority:
    """Whether a loss of `margin` or more is ruled out, at one-sided 5 %.

    Not inferior: the one-sided 95 % bound, which is the lower end of the 90 % interval, lies above
    -margin (Piaggio et al. 2012, JAMA 308:2594). Equivalent: the whole 90 % interval lies within
    ±margin, which is two one-sided tests (TOST; Schuirmann 1987). An estimate without an interval
    shows neither. A margin is only one if it was fixed before the data were seen.

    Raises:
        ValueError: a margin that is not a positive number, or an estimate that has a 95 % but no
            90 % interval (one not made by this module).
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a positive number in the metric's unit, got {margin}")
    if np.isfinite(estimate.low) and not np.isfinite(estimate.low90):
        raise ValueError("the estimate has no 90 % interval; give low90 and high90")
    ends = (estimate.low90, estimate.high90)
    bound, best = ends if higher_is_better else (-ends[1], -ends[0])
    safe = bool(bound > -margin)
    return NonInferiority(margin, bound, best, safe, safe and bool(best < margin))


def _by_patient(difference: pd.Series) -> pd.Series:
    return difference.dropna().groupby(level="patient").mean()


def _differences(
    table: pd.DataFrame, metric: str, specs: Sequence[Contrast]
) -> dict[Contrast, pd.Series]:
    """Of each slice of the table; NaN where one of a contrast's values is missing."""
    methods = list(dict.fromkeys(name for s in specs for name in (s.method, s.baseline)))
    places = [name for s in specs for name in (s.region, s.reference) if name]
    wanted = {"method": methods, "region": list(dict.fromkeys(places))}
    _check(table, metric, wanted)
    keys = pd.MultiIndex.from_frame(table[[_patient(table), "slice_id"]].drop_duplicates())
    wide = _cells(table, metric, wanted).unstack(["method", "region"])
    wide = wide.reindex(columns=pd.MultiIndex.from_product(list(wanted.values())))
    wide = wide.reindex(keys.set_names(["patient", "slice_id"]).sort_values())
    out = {}
    for s in specs:
        gain = wide[s.method, s.region] - wide[s.baseline, s.region]
        if s.reference:
            gain = gain - (wide[s.method, s.reference] - wide[s.baseline, s.reference])
        out[s] = gain.rename("difference")
    return out


def _cells(table: pd.DataFrame, metric: str, wanted: dict[str, list[str]]) -> pd.Series:
    """The metric by patient, slice_id, method and region."""
    rows = table[table["method"].isin(wanted["method"]) & table["region"].isin(wanted["region"])]
    patient = rows[_patient(table)].rename("patient")
    keys = [patient, rows["slice_id"], rows["method"], rows["region"]]
    cells = rows.set_index(keys)[metric]
    if cells.index.has_duplicates:
        raise ValueError(
            f"slice {cells.index[cells.index.duplicated()][0][1]} stands in the table twice; "
            "choose one scale and one degradation"
        )
    return cells


def _patient(table: pd.DataFrame) -> str:
    return "patient" if "patient" in table else "patient_id"


def _check(table: pd.DataFrame, metric: str, wanted: dict[str, list[str]]) -> None:
    if metric not in table or not pd.api.types.is_numeric_dtype(table[metric]):
        numbers = table.select_dtypes("number").columns.tolist()
        raise ValueError(f"no metric {metric!r} in the table; its numbers are {numbers}")
    for column, names in wanted.items():
        existing = table[column].unique().tolist()
        missing = [name for name in names if name not in existing]
        if missing:
            raise ValueError(f"no {column} {missing[0]!r} in the table; it has {existing}")
    for column in (_patient(table), "slice_id"):
        ids = pd.Series(table[column].unique())
        if ids.isna().any() or pd.api.types.infer_dtype(ids).startswith("mixed"):
            raise ValueError(
                f"{column} is missing in some rows, or a number in some and text in others; read a "
                f'table with pd.read_csv(..., dtype={{"{column}": str}})'
            )
