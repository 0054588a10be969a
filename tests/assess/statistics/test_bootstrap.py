import itertools

import numpy as np
import pytest
from scipy import stats

from medsr_lib.assess.statistics import bootstrap


def bca(values, resamples, seed):
    """Efron's interval, written out a second time (Efron & Tibshirani 1993, equation 14.9)."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (resamples, len(values))).mean(1)
    left = (values.sum() - values) / (len(values) - 1)
    d = left.mean() - left
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z0 = stats.norm.ppf(((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2)
    z = z0 + stats.norm.ppf([0.025, 0.975])
    return np.quantile(means, stats.norm.cdf(z0 + z / (1 - a * z)))


def test_bca_interval_by_hand(skewed):
    found = bootstrap.bootstrap_interval(skewed, seed=0, resamples=40_000, method="bca")
    by_hand = bca(skewed, 40_000, seed=5)
    percentile = np.quantile(np.random.default_rng(5).choice(skewed, (40_000, 40)).mean(1), 0.975)
    tolerance = 0.035 * np.ptp(by_hand)  # four standard deviations of the resampling
    np.testing.assert_allclose(found, by_hand, atol=tolerance)
    assert by_hand[1] - percentile > 2 * tolerance  # a percentile interval would not pass


def test_bca_interval_is_scipys(skewed):
    result = stats.bootstrap(
        (skewed,), np.mean, n_resamples=999, method="BCa", random_state=np.random.default_rng(3)
    )
    found = bootstrap.bootstrap_interval(skewed, seed=3, resamples=999, method="bca")
    assert found == pytest.approx(tuple(result.confidence_interval), rel=1e-9)


def bootstrap_t(values, resamples, seed):
    """The interval written out a second time (Efron & Tibshirani 1993, equation 12.22)."""
    drawn = np.random.default_rng(seed).choice(values, (resamples, len(values)))
    t = (drawn.mean(1) - values.mean()) / drawn.std(1)
    return values.mean() - values.std() * np.quantile(t, [0.975, 0.025])


def test_interval_is_the_bootstrap_t(skewed):
    found = bootstrap.bootstrap_interval(skewed, seed=0, resamples=40_000)
    by_hand = bootstrap_t(skewed, 40_000, seed=5)
    tolerance = 0.035 * np.ptp(by_hand)
    np.testing.assert_allclose(found, by_hand, atol=tolerance)
    student = stats.t.interval(0.95, 39, skewed.mean(), stats.sem(skewed))
    assert found[1] - student[1] > 2 * tolerance


def test_refuses_an_unknown_interval(skewed):
    with pytest.raises(ValueError, match="'t' or 'bca', got 'percentile'"):
        bootstrap.bootstrap_interval(skewed, seed=0, method="percentile")


@pytest.mark.parametrize(
    "values",
    [np.arange(7.0) ** 2, np.array([-1.0, 2.0]), np.r_[np.zeros(16), 1.0, 2.0]],
    ids=["few", "two", "mostly equal"],
)
def test_interval_of_few_or_equal_patients_is_students(values):
    found = bootstrap.bootstrap_interval(values, seed=0)
    n = len(values)
    assert found == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_p_is_exact_for_few_patients(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    signs = np.array(list(itertools.product([1, -1], repeat=n)))
    exact = (np.abs((signs * values).mean(1)) >= abs(values.mean()) - 1e-12).mean()
    assert bootstrap.sign_flip_test(values, seed=0) == pytest.approx(exact)


def test_p_of_many_patients_is_near_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.25, 1, 80)
    p = bootstrap.sign_flip_test(values, seed=0)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_patients_that_are_all_equal():
    found = bootstrap.bootstrap_interval(np.full(6, 0.02), seed=0)
    assert found == (0.02, 0.02)
    assert bootstrap.sign_flip_test(np.full(6, 0.02), seed=0) == pytest.approx(2 / 2**6)
    assert bootstrap.sign_flip_test(np.zeros(6), seed=0) == 1


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
def test_intervals_cover_the_truth(shape, patients, least):
    hits = []
    for seed in range(10):
        values = clustered(shape, patients, 150, seed)
        low, high = bootstrap._bootstrap_t(values, [0.95], seed, 1000).T
        hits.append((low <= 0) & (high >= 0))
    assert least <= np.mean(hits) <= 0.97


def test_the_test_keeps_its_level_when_nothing_is_there():
    found = [
        bootstrap._sign_flips(clustered("normal", 25, 150, seed), seed, 1000) for seed in range(10)
    ]
    assert 0.035 <= (np.array(found) <= 0.05).mean() <= 0.065
