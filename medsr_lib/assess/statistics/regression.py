"""A linear mixed model of a score table: all methods and regions at once, with covariates."""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsr_lib import checks
from medsr_lib.assess.statistics.contrasts import KEYS, check_once

FORMULA = "value ~ {terms} + log_area"
LEAST = 30  # patients; fewer, and the sandwich's intervals are far too short
OPTIMISERS = ["powell", "nm", "bfgs"]  # "lbfgs" steps over into the jump at 0, and stays
NO_VARIANCE = (
    "the variance between patients went to 0, where statsmodels' own coefficients are wrong: "
    "these are ordinary least squares, with intervals over patients"
)
TOO_FEW = (
    f"not fitted: {{n}} patients, and below {LEAST} the intervals of a mixed model cover too little"
)
COLUMNS = ["value", "low", "high", "p", "se", "se_model"]


@dataclass(frozen=True)
class MixedModel:
    """What `mixed_model` found.

    Attributes:
        coefficients: a row per term: value, low and high of its 95 % interval, p, se, and se_model,
            the standard error if the random intercept were all that cases of a patient share. Empty
            below 30 patients.
        patient_sd, residual_sd: of the random intercept (NaN where none was found) and the rest.
        rows, cases, patients: that went in.
        skipped: rows left out, without a value of the metric or of the tumour's area.
        converged: whether the variances are those of the largest likelihood. Where they are not,
            the notes say what the coefficients are, if there are any.
        notes: what the fit complained of, in its own words.
    """

    coefficients: pd.DataFrame
    patient_sd: float
    residual_sd: float
    rows: int
    cases: int
    patients: int
    skipped: int
    converged: bool
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.patients < LEAST:
            return f"mixed model, {self.notes[0]} (n = {self.cases} cases, {self.skipped} skipped)"
        state = "converged" if self.converged else "DID NOT CONVERGE (see the notes)"
        numbers = (
            f"mixed model, {state}; n = {self.patients} patients, {self.cases} cases, "
            f"{self.rows} rows, {self.skipped} skipped"
        )
        lines = [numbers, self.coefficients.round(5).to_string()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def mixed_model(table: pd.DataFrame, *, metric: str, baseline: str, reference: str) -> MixedModel:
    """Fit metric ~ method * region + tumour type + log area + (1 | patient), by REML.

    With `baseline` and `reference` as first levels, the term "method ESPCN × region tumour" is the
    difference in differences of `statistics.paired_difference`; but here every case weighs about
    the same, there every patient. The area is that of the case's tumour, less its mean logarithm.

    The random intercept takes up that patients differ in level (Laird & Ware 1982, Biometrics
    38:963), not that a method may gain more in one patient than in another: with that alone the
    standard errors of the gains are too small. Intervals and p therefore use the cluster-robust
    sandwich over patients (Liang & Zeger 1986, Biometrika 73:13) with the small-sample factor and t
    with patients - 1 degrees of freedom (Cameron & Miller 2015, J Hum Resour 50:317, section VI);
    they need about 40 patients, and below 30 nothing is fitted: the table is empty, and the note
    says why. In a simulation (`tests/assess/statistics/test_regression.py`: 40
    patients, gains that differ by four times the noise) they covered 93.5 %, those of `se_model`
    34 %.

    Args:
        table: of `score.score`: one scale and degradation, with rows of the region "tumour", whose
            `pixels` are the area. A table of one tumour type is fitted without that term.
        metric: a column of numbers.
        baseline: the method all others are compared to.
        reference: the region all others are compared to.

    Raises:
        ValueError: a column, method or region that is not there, fewer than two methods or regions,
            or rows that occur twice. A fit that fails raises nothing: see
            `converged` and `notes`.
    """
    data = _prepare(table, metric, baseline, reference)
    kept = data.dropna(subset=["value", "log_area"])
    kept = kept.assign(log_area=kept["log_area"] - kept["log_area"].mean())
    few = kept["patient"].nunique() < LEAST
    fit, notes = (None, (TOO_FEW.format(n=kept["patient"].nunique()),)) if few else _fit(kept)
    ratio = 0.0 if fit is None else float(fit.cov_re.iloc[0, 0] / fit.scale)
    if fit is not None and not ratio:
        notes = (NO_VARIANCE, *notes)
    if fit is None:
        coefficients, sds = pd.DataFrame(columns=COLUMNS, dtype=float), (np.nan, np.nan)
    else:
        coefficients = _coefficients(fit, ratio)
        sds = (float(np.sqrt(ratio * fit.scale)) or np.nan, float(np.sqrt(fit.scale)))
    return MixedModel(
        coefficients,
        *sds,
        rows=len(kept),
        cases=len(kept[["patient", "id"]].drop_duplicates()),
        patients=kept["patient"].nunique(),
        skipped=len(data) - len(kept),
        converged=fit is not None and bool(fit.converged and ratio),
        notes=notes,
    )


def _prepare(table: pd.DataFrame, metric: str, baseline: str, reference: str) -> pd.DataFrame:
    """Columns value, method, region, type, log_area, patient and id."""
    checks.columns(table, *KEYS, "label", numbers=[metric, "pixels"])
    check_once(table)
    case = ["patient", "id"]
    tumours = table[table["region"] == "tumour"].drop_duplicates(case)
    if tumours.empty:
        raise ValueError('the table has no rows of the region "tumour", whose area the model takes')
    joined = table.join(tumours.set_index(case)["pixels"].rename("area"), on=case)
    area = joined["area"].astype(float)
    return pd.DataFrame(
        {
            "value": joined[metric].where(np.isfinite(joined[metric])),
            "method": _levels(joined["method"], baseline, "method"),
            "region": _levels(joined["region"], reference, "region"),
            "type": joined["label"].astype(str),
            "log_area": np.log(area.where(area > 0)),
            "patient": joined["patient"],
            "id": joined["id"],
        }
    ).reset_index(drop=True)


def _levels(column: pd.Series, first: str, what: str) -> pd.Series:
    """A category whose first level is the one that others are compared to."""
    names = column.unique().tolist()
    if first not in names:
        raise ValueError(f"no {what} {first!r} in the table; it has {names}")
    if len(names) < 2:
        raise ValueError(f"the table has one {what} only, {first!r}: there is nothing to compare")
    return column.astype(pd.CategoricalDtype([first, *(n for n in names if n != first)]))


def _fit(kept: pd.DataFrame) -> tuple[Any, tuple[str, ...]]:
    """The fitted model, or None, and the warnings on the way there."""
    import statsmodels.formula.api as formulas  # slow to import

    terms = "method * region" + (" + type" if kept["type"].nunique() > 1 else "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = formulas.mixedlm(FORMULA.format(terms=terms), kept, groups=kept["patient"])
            _check_rank(model.exog, model.exog_names)
            fit = model.fit(method=OPTIMISERS)
        except (np.linalg.LinAlgError, ValueError) as error:
            fit, failure = None, [f"the fit failed: {error}"]
        else:
            failure = [] if fit.converged else ["no optimiser converged"]
    said = [str(w.message) for w in caught if issubclass(w.category, (UserWarning, RuntimeWarning))]
    return fit, tuple(dict.fromkeys(failure + said))


def _check_rank(design: NDArray[Any], names: list[str]) -> None:
    scaled = design / np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    if values[0] < 1e-10:
        guilty = [_plain(names[i]) for i in np.flatnonzero(abs(vectors[:, 0]) > 0.1)]
        raise ValueError(
            f"these terms cannot be separated (never measured together?): {', '.join(guilty)}"
        )


def _coefficients(fit: Any, ratio: float) -> pd.DataFrame:
    """The fixed effects with cluster-robust intervals."""
    patients = np.asarray(fit.model.groups)
    robust = robust_least_squares(fit.model.exog, fit.model.endog, patients, ratio)
    se_model = np.sqrt(float(fit.scale) * np.diag(robust.normalized_cov_params))
    columns = [robust.params, *robust.conf_int().T, robust.pvalues, robust.bse, se_model]
    terms = pd.Index([_plain(name) for name in fit.model.exog_names], name="term")
    return pd.DataFrame(dict(zip(COLUMNS, columns)), index=terms)


def robust_least_squares(
    design: NDArray[Any], outcome: NDArray[Any], patients: NDArray[Any], ratio: float
) -> Any:
    """Generalised least squares with a random intercept per patient; statsmodels' results.

    A patient's n rows have the covariance V = I + ratio J. With t = 1 - 1 / sqrt(1 + n ratio),
    V^-1/2 = I - J t / n takes the share t of the patient's mean from each row: ordinary least
    squares of what is left, with statsmodels' sandwich over patients.

    Args:
        design: (N, k).
        outcome: (N,).
        patients: (N,) whose row it is.
        ratio: variance of the intercepts over that of the rest.
    """
    from statsmodels.regression.linear_model import OLS  # slow to import

    rows = pd.DataFrame(np.column_stack([outcome, design])).groupby(patients)
    taken = 1 - 1 / np.sqrt(1 + ratio * rows[0].transform("size").to_numpy()[:, None])
    left = np.column_stack([outcome, design]) - taken * rows.transform("mean").to_numpy()
    groups = pd.factorize(patients)[0]
    robust = {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True}
    return OLS(left[:, 0], left[:, 1:]).fit(**robust)


def _plain(name: str) -> str:
    """The name `method[T.ESPCN]:region[T.core]` as `method ESPCN × region core`."""
    parts = re.sub(r"\[T\.([^\]]*)\]", r" \1", name).split(":")
    return " × ".join(parts).replace("log_area", "log area")
