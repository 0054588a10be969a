import itertools

import numpy as np
import pytest
from scipy import stats

from medsr_lib.assess.statistics import bootstrap


def p_of(values):
    return bootstrap.estimates([np.asarray(values, float)], seed=0)[0].p


def bootstrap_t(values, resamples, seed):
    """The interval written out a second time (Efron & Tibshirani 1993, equation 12.22)."""
    drawn = np.random.default_rng(seed).choice(values, (resamples, len(values)))
    t = (drawn.mean(1) - values.mean()) / drawn.std(1)
    return values.mean() - values.std() * np.quantile(t, [0.975, 0.025])


def test_interval_is_the_bootstrap_t(skewed, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 40_000)
    found = bootstrap.bootstrap_interval(skewed, seed=0)
    by_hand = bootstrap_t(skewed, 40_000, seed=5)
    tolerance = 0.035 * np.ptp(by_hand)  # four standard deviations of the resampling
    np.testing.assert_allclose(found, by_hand, atol=tolerance)
    student = stats.t.interval(0.95, 39, skewed.mean(), stats.sem(skewed))
    assert abs(by_hand - student).max() > 2 * tolerance  # Student's interval would not pass


def test_counts_of_a_resample_are_of_its_draws():
    (first, *_, last) = bootstrap.resampled(7, seed=0, resamples=2100)
    assert (first.shape, last.shape) == ((1000, 7), (100, 7))
    drawn = np.random.default_rng(0).integers(0, 7, (1000, 7))
    assert first[3].tolist() == np.bincount(drawn[3], minlength=7).tolist()


def test_percentiles_leave_out_what_is_undefined():
    drawn = [np.nan, *np.linspace(0, 1, 41)]
    assert bootstrap.percentile_interval(drawn) == pytest.approx((0.025, 0.975))
    assert np.isnan(bootstrap.percentile_interval([np.nan])).all()


def test_the_90_percent_interval_lies_within_the_95(skewed):
    (found,) = bootstrap.estimates([skewed], seed=0)
    assert found.low < found.low90 < found.value < found.high90 < found.high
    assert (found.low, found.high) == bootstrap.bootstrap_interval(skewed, seed=0)


@pytest.mark.parametrize(
    "values",
    [np.arange(7.0) ** 2, np.array([-1.0, 2.0]), np.r_[np.zeros(16), 1.0, 2.0]],
    ids=["few", "two", "mostly equal"],
)
def test_interval_of_few_or_equal_patients_is_students(values):
    found = bootstrap.bootstrap_interval(values, seed=0)
    n = len(values)
    assert found == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))


@pytest.mark.parametrize("n", [8, 9])
def test_p_is_exact_for_few_patients(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    signs = np.array(list(itertools.product([1, -1], repeat=n)))
    exact = (np.abs((signs * values).mean(1)) >= abs(values.mean()) - 1e-12).mean()
    assert p_of(values) == pytest.approx(exact)


def test_p_of_many_patients_is_near_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.25, 1, 80)
    assert p_of(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_below_8_patients_there_is_no_p():
    assert np.isnan(p_of(np.arange(7.0)))
    assert p_of(np.arange(1, 9.0)) == 2 / 2**8


@pytest.mark.parametrize("n", [6, 20])
def test_patients_that_are_all_equal_have_no_interval(n):
    assert np.isnan(bootstrap.bootstrap_interval(np.full(n, 0.02), seed=0)).all()
    assert p_of(np.zeros(20)) == 1
    assert p_of(np.full(9, 0.02)) == pytest.approx(2 / 2**9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_patients_without_a_value(bad):
    with pytest.raises(ValueError, match="per_patient must be finite, but hold NaN or infinite"):
        bootstrap.bootstrap_interval(np.r_[np.arange(10), bad], seed=0)
    with pytest.raises(ValueError, match=r"patients without a value \(NaN\) in a sample"):
        bootstrap.estimates([np.r_[np.arange(10), np.nan]], seed=0)


def test_skewness_is_that_of_scipy(skewed):
    found, flat = bootstrap.estimates([skewed, np.ones(5)], seed=0)
    assert found.skewness == pytest.approx(stats.skew(skewed, bias=False))
    assert flat.skewness == 0


def test_samples_without_an_interval():
    none, one, infinite = bootstrap.estimates(
        [np.array([]), np.array([0.3]), np.array([1, np.inf])], seed=0
    )
    assert (none.patients, one.value, infinite.value) == (0, 0.3, np.inf)
    assert np.isnan([none.value, *(e for s in (one, infinite) for e in (s.low, s.p))]).all()


def clustered(shape, patients, data_sets, seed):
    """Means of patients with 1 to 15 slices, half of the variance between them; the truth is 0."""
    rng = np.random.default_rng([seed, patients])
    size = (patients, data_sets)
    of_patient = rng.normal(size=size) if shape == "normal" else rng.exponential(size=size) - 1
    return of_patient + rng.normal(size=size) / np.sqrt(rng.integers(1, 16, size))


@pytest.mark.parametrize(
    ("shape", "patients", "least"),
    [("normal", 15, 0.935), ("normal", 60, 0.935), ("skewed", 15, 0.92), ("skewed", 60, 0.93)],
)
def test_intervals_cover_the_truth(shape, patients, least, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    found = [
        e
        for seed in range(10)
        for e in bootstrap.estimates(list(clustered(shape, patients, 150, seed).T), seed=seed)
    ]
    assert least <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.97
    if (shape, patients) == ("normal", 15):  # and the test keeps its level
        assert 0.035 <= np.mean([e.p <= 0.05 for e in found]) <= 0.065
