import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsr_lib.assess.statistics import regression
from medsr_lib.assess.statistics.regression import mixed_model

METHODS, REGIONS, TYPES = ("bicubic", "ESPCN", "SRGAN"), ("matched", "tumour"), ("glioma", "other")
CHOICE = {"metric": "ssim", "baseline": "bicubic", "reference": "matched"}
TRUTH = {
    "method ESPCN": 0.05,
    "method SRGAN": -0.02,
    "region tumour": -0.10,
    "method ESPCN × region tumour": -0.03,
    "method SRGAN × region tumour": 0.0,
    "type other": 0.04,
    "log area": 0.02,
}
INTERACTION = "method ESPCN × region tumour"


def simulated(seed, patients=60, most=8, gain_sd=0.0, patient_sd=0.05, noise=0.01):
    """A score table with the coefficients of TRUTH; ESPCN's gains differ among patients."""
    rng = np.random.default_rng(seed)
    of_patient = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    shape = (len(of_patient), len(METHODS), len(REGIONS))
    s, m, r = (axis.ravel() for axis in np.indices(shape))
    patient = of_patient[s]
    area = rng.integers(200, 5000, len(of_patient))[s]
    level, gain = rng.normal(0, [[patient_sd], [gain_sd]], (2, patients))
    method, region, other = np.array(METHODS)[m], np.array(REGIONS)[r], patient % 2 == 1
    value = 0.8 + level[patient] + gain[patient] * (m == 1) * (r == 1) + 0.02 * np.log(area)
    value += rng.normal(0, noise, len(s)) + 0.04 * other
    for name in METHODS[1:]:
        value += (method == name) * TRUTH[f"method {name}"]
        value += (method == name) * (r == 1) * TRUTH[f"method {name} × region tumour"]
    value += (r == 1) * TRUTH["region tumour"]
    columns = {"id": s, "patient": patient, "method": method, "region": region}
    columns |= {"label": np.array(TYPES)[other.astype(int)], "pixels": area, "ssim": value}
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def table():
    return simulated(0)


@pytest.fixture(scope="module")
def found(table):
    return mixed_model(table, **CHOICE)


def test_recovers_the_coefficients(found):
    for term, truth in TRUTH.items():
        row = found.coefficients.loc[term]
        assert abs(row["value"] - truth) < 4 * row["se"]
    assert found.coefficients.loc[INTERACTION, "se"] < 0.003
    assert found.patient_sd == pytest.approx(0.05, rel=0.25)
    assert found.residual_sd == pytest.approx(0.01, rel=0.1)


def test_the_table_is_tidy_and_counted(found, table):
    assert found.coefficients.columns.tolist() == regression.COLUMNS
    assert found.coefficients.index.tolist()[0] == "Intercept"
    assert (found.rows, found.skipped) == (len(table), 0)
    assert (found.cases, found.patients) == (table["id"].nunique(), 60)
    assert found.converged
    assert "converged; n = 60 patients" in str(found)


def test_a_term_that_is_there_has_a_small_p_and_its_interval_excludes_zero(found):
    row = found.coefficients.loc[INTERACTION]
    assert row["p"] < 1e-6
    assert row["low"] < row["value"] < row["high"] < 0


def test_without_gains_that_differ_both_standard_errors_agree(found):
    ratio = found.coefficients["se"] / found.coefficients["se_model"]
    assert ratio[INTERACTION] == pytest.approx(1, abs=0.3)


def test_the_interaction_is_the_mean_difference_in_differences(found, table):
    wide = table.pivot(index="id", columns=["method", "region"], values="ssim")
    gain = wide["ESPCN"] - wide["bicubic"]
    expected = (gain["tumour"] - gain["matched"]).mean()
    assert found.coefficients.loc[INTERACTION, "value"] == pytest.approx(expected, abs=1e-8)


def test_least_squares_with_a_random_intercept_by_hand():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 3])
    x, y = rng.normal(size=(18, 2)), rng.normal(size=18)
    v = np.eye(18) + 0.7 * (patients[:, None] == patients)
    b = np.linalg.inv(x.T @ np.linalg.inv(v) @ x)
    by_hand = b @ x.T @ np.linalg.inv(v) @ y
    weighted = np.linalg.inv(v) @ (y - x @ by_hand)
    u = np.stack([x[patients == i].T @ weighted[patients == i] for i in range(6)])
    found = regression.robust_least_squares(x, y, patients, ratio=0.7)
    np.testing.assert_allclose(found.params, by_hand)
    np.testing.assert_allclose(found.normalized_cov_params, b)
    np.testing.assert_allclose(found.cov_params(), b @ u.T @ u @ b * 6 / 5 * 17 / 16)
    reach = stats.t.ppf(0.975, 5) * found.bse
    np.testing.assert_allclose(found.conf_int()[:, 1], by_hand + reach)


def test_the_order_of_rows_does_not_matter(found, table):
    shuffled = mixed_model(table.sample(frac=1, random_state=1), **CHOICE).coefficients
    expected = found.coefficients.loc[shuffled.index]
    np.testing.assert_allclose(shuffled, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The MLE may be on the boundary")
def test_coefficients_and_errors_of_the_model_are_statsmodels(found, table):
    formulas = pytest.importorskip("statsmodels.formula.api")
    data = table.assign(
        log_area=np.log(table["pixels"]) - np.log(table["pixels"]).mean(), type=table["label"]
    )
    model = formulas.mixedlm(
        "ssim ~ C(method, Treatment('bicubic')) * region + type + log_area",
        data,
        groups=data["patient"],
    )
    fit = model.fit()
    np.testing.assert_allclose(found.coefficients["value"], fit.fe_params, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.coefficients["se_model"], fit.bse_fe, rtol=1e-3)
    assert found.patient_sd == pytest.approx(fit.cov_re.iloc[0, 0] ** 0.5, rel=1e-3)


def test_rows_without_a_value_are_counted(table):
    holes = table.copy()
    holes.loc[holes["id"] == 3, "ssim"] = np.nan
    fitted = mixed_model(holes, **CHOICE)
    assert fitted.skipped == 6
    assert fitted.cases == table["id"].nunique() - 1
    assert "6 skipped" in str(fitted)


def test_one_tumour_type_is_fitted_without_that_term(table):
    fitted = mixed_model(table[table["label"] == "glioma"], **CHOICE)
    assert fitted.converged
    assert "type other" not in fitted.coefficients.index


def test_a_method_missing_in_a_region_is_a_failed_fit_and_says_so(table):
    lost = (table["method"] == "SRGAN") & (table["region"] == "tumour")
    fitted = mixed_model(table[~lost], **CHOICE)
    assert not fitted.converged
    assert fitted.coefficients.empty
    assert "the fit failed" in fitted.notes[0]
    assert "method SRGAN × region tumour" in fitted.notes[0]
    assert "DID NOT CONVERGE" in str(fitted)


def test_an_optimiser_that_does_not_converge_is_reported(table, monkeypatch):
    linear = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    fit = linear.MixedLM.fit
    monkeypatch.setattr(linear.MixedLM, "fit", lambda self, **_: fit(self, maxiter=0))
    fitted = mixed_model(table, **CHOICE)
    assert not fitted.converged
    assert any("converge" in note for note in fitted.notes)


def near_the_truth(fitted):
    rows = fitted.coefficients.loc[list(TRUTH)]
    return (abs(rows["value"] - pd.Series(TRUTH)) < 4 * rows["se"]).all()


def test_patients_that_are_all_alike():
    fitted = mixed_model(simulated(3, patients=40, patient_sd=0.0), **CHOICE)
    assert not fitted.patient_sd > 0.003
    assert near_the_truth(fitted)


def test_below_30_patients_nothing_is_fitted_and_the_model_says_so():
    fitted = mixed_model(simulated(0, patients=29), **CHOICE)
    assert fitted.coefficients.empty
    assert not fitted.converged
    assert str(fitted).startswith(
        "mixed model, not fitted: 29 patients, and below 30 the intervals"
    )


def test_an_optimiser_caught_at_no_variance_is_reported_and_the_coefficients_hold(monkeypatch):
    """Statsmodels says "converged" here, with an intercept of 0; the patients' sd is 0.008."""
    monkeypatch.setattr(regression, "LEAST", 20)
    table = simulated(1, patients=20, patient_sd=0.01)
    assert mixed_model(table, **CHOICE).patient_sd == pytest.approx(0.0075, rel=0.1)
    monkeypatch.setattr(regression, "OPTIMISERS", ["lbfgs"])
    caught = mixed_model(table, **CHOICE)
    assert not caught.converged
    assert "variance between patients went to 0" in caught.notes[0]
    assert np.isnan(caught.patient_sd)
    assert near_the_truth(caught)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metric": "lpips"}, "no metric 'lpips' in the table; its numbers are"),
        ({"baseline": "lanczos"}, "no method 'lanczos' in the table; it has"),
        ({"reference": "mirror"}, "no region 'mirror'"),
    ],
)
def test_refuses_what_the_table_does_not_have(table, change, reason):
    with pytest.raises(ValueError, match=reason):
        mixed_model(table, **(CHOICE | change))


def test_refuses_tables_it_cannot_model(table):
    with pytest.raises(ValueError, match="one method only, 'bicubic'"):
        mixed_model(table[table["method"] == "bicubic"], **CHOICE)
    with pytest.raises(ValueError, match='no rows of the region "tumour"'):
        mixed_model(table[table["region"] == "matched"], **CHOICE)
    with pytest.raises(ValueError, match="case 0 occurs twice in the table"):
        mixed_model(pd.concat([table, table.head(1)]), **CHOICE)


@pytest.mark.slow
def test_robust_intervals_cover_where_gains_differ_and_the_models_do_not():
    robust, model = [], []
    for seed in range(40):
        data = simulated(seed, patients=40, most=20, gain_sd=0.04)
        row = mixed_model(data, **CHOICE).coefficients.loc[INTERACTION]
        robust.append(row["low"] <= TRUTH[INTERACTION] <= row["high"])
        model.append(abs(row["value"] - TRUTH[INTERACTION]) <= 1.96 * row["se_model"])
    assert np.mean(robust) >= 0.85
    assert np.mean(model) < 0.7
