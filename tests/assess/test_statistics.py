import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsr_lib.assess import statistics
from medsr_lib.assess.statistics import paired_difference, slice_differences

CONTRAST = {"metric": "ssim", "method": "ESPCN", "baseline": "bicubic", "region": "tumour"}
PATIENTS = {"A": [0.03], "B": [0.01, 0.05], "C": [-0.02, 0.0, 0.08], "D": [0.04, 0.04]}


def tidy(gains, elsewhere=0.01):
    """A table in which ESPCN gains so much in the tumour of each patient's slices."""
    rows = []
    for patient, of_slices in gains.items():
        for n, gain in enumerate(of_slices):
            base = 0.5 + 0.03 * n
            for region, more in (("tumour", gain), ("matched", elsewhere)):
                for method, ssim in (("bicubic", base), ("ESPCN", base + more)):
                    rows.append((f"{patient}{n}", patient, method, region, ssim))
    return pd.DataFrame(rows, columns=["slice_id", "patient", "method", "region", "ssim"])


def estimate(table, reference="matched", seed=0, **changes):
    return paired_difference(table, reference=reference, seed=seed, **(CONTRAST | changes))


def drop(table, slice_id, region):
    """Make a region of a slice too small to measure."""
    at = (table["slice_id"] == slice_id) & (table["region"] == region)
    table.loc[at, "ssim"] = np.nan
    return table


def test_difference_in_differences_by_hand():
    found = estimate(tidy(PATIENTS))
    of_patients = [0.03 - 0.01, 0.03 - 0.01, 0.02 - 0.01, 0.04 - 0.01]
    assert found.value == pytest.approx(np.mean(of_patients))
    assert (found.patients, found.slices, found.skipped) == (4, 8, 0)
    assert found.low < found.value < found.high


def test_without_a_reference_it_is_the_plain_difference():
    assert estimate(tidy(PATIENTS), reference=None).value == pytest.approx(0.03)


def test_differences_of_slices():
    found = slice_differences(tidy(PATIENTS), **CONTRAST, reference="matched")
    assert found.index.names == ["patient", "slice_id"]
    np.testing.assert_allclose(found["C"], [-0.03, -0.01, 0.07], atol=1e-12)


def test_turning_methods_round_turns_the_sign():
    found = estimate(tidy(PATIENTS))
    turned = estimate(tidy(PATIENTS), method="bicubic", baseline="ESPCN")
    assert turned.value == pytest.approx(-found.value)
    assert turned.p == found.p


def test_patients_weigh_the_same_whatever_their_slices():
    often = PATIENTS | {"C": PATIENTS["C"] * 20}
    assert estimate(tidy(often)).value == pytest.approx(estimate(tidy(PATIENTS)).value)
    assert estimate(tidy(often)).p == estimate(tidy(PATIENTS)).p


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


@pytest.fixture
def skewed():
    return np.random.default_rng(1).exponential(size=40) - 0.8


def test_interval_is_the_bca_bootstrap(skewed):
    found = np.array(statistics.bootstrap_interval(skewed, seed=0, resamples=40_000))
    by_hand = bca(skewed, 40_000, seed=5)
    percentile = np.quantile(np.random.default_rng(5).choice(skewed, (40_000, 40)).mean(1), 0.975)
    tolerance = 0.035 * np.ptp(by_hand)  # four standard deviations of the resampling
    np.testing.assert_allclose(found, by_hand, atol=tolerance)
    assert by_hand[1] - percentile > 2 * tolerance  # a percentile interval would not pass


def test_interval_is_scipys(skewed):
    result = stats.bootstrap(
        (skewed,), np.mean, n_resamples=999, method="BCa", random_state=np.random.default_rng(3)
    )
    found = statistics.bootstrap_interval(skewed, seed=3, resamples=999)
    assert found == pytest.approx(tuple(result.confidence_interval), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_p_is_exact_for_few_patients(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    signs = np.array(list(itertools.product([1, -1], repeat=n)))
    exact = (np.abs((signs * values).mean(1)) >= abs(values.mean()) - 1e-12).mean()
    assert statistics.sign_flip_test(values, seed=0) == pytest.approx(exact)


def test_p_of_many_patients_is_near_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.25, 1, 80)
    p = statistics.sign_flip_test(values, seed=0)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_the_same_seed_gives_the_same_estimate_and_another_gives_another(skewed):
    gains = {f"P{i}": [v] for i, v in enumerate(skewed)}
    assert estimate(tidy(gains), seed=1) == estimate(tidy(gains), seed=1)
    assert estimate(tidy(gains), seed=1) != estimate(tidy(gains), seed=2)


def test_one_patient_has_no_interval():
    found = estimate(tidy({"A": [0.03, 0.05]}))
    assert found.value == pytest.approx(0.03)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert (found.patients, found.slices) == (1, 2)


def test_patients_that_are_all_equal():
    found = statistics.bootstrap_interval(np.full(6, 0.02), seed=0)
    assert found == (0.02, 0.02)
    assert statistics.sign_flip_test(np.full(6, 0.02), seed=0) == pytest.approx(2 / 2**6)
    assert statistics.sign_flip_test(np.zeros(6), seed=0) == 1


def test_slices_too_small_to_measure_are_counted():
    table = drop(drop(tidy(PATIENTS), "C2", "matched"), "A0", "tumour")
    found = estimate(table)
    assert found.value == pytest.approx(np.mean([0.02, -0.02, 0.03]))
    assert (found.patients, found.slices, found.skipped) == (3, 6, 2)
    assert "n = 3 patients, 6 slices, 2 skipped" in str(found)


def test_a_slice_without_one_of_the_rows_is_skipped():
    table = tidy(PATIENTS)
    lost = (table["slice_id"] == "C2") & (table["method"] == "bicubic")
    assert estimate(table[~lost]).skipped == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metric": "lpips"}, r"no metric 'lpips' in the table; its numbers are \['ssim'\]"),
        ({"metric": "patient"}, "no metric 'patient'"),
        ({"method": "SRGAN"}, r"no method 'SRGAN' in the table; it has \['bicubic', 'ESPCN'\]"),
        ({"baseline": "lanczos"}, "no method 'lanczos'"),
        ({"region": "core"}, r"no region 'core' in the table; it has \['tumour', 'matched'\]"),
        ({"reference": "mirror"}, "no region 'mirror'"),
    ],
)
def test_refuses_what_the_table_does_not_have(change, reason):
    with pytest.raises(ValueError, match=reason):
        estimate(tidy(PATIENTS), **change)


def test_refuses_rows_that_stand_there_twice():
    table = tidy(PATIENTS)
    with pytest.raises(ValueError, match="slice A0 stands in the table twice; choose one scale"):
        estimate(pd.concat([table, table]))


def test_refuses_a_table_in_which_nothing_was_measured():
    table = tidy({"A": [0.03]})
    with pytest.raises(ValueError, match="no slice has ssim of ESPCN and bicubic in tumour"):
        estimate(drop(table, "A0", "matched"))


@pytest.mark.slow
def test_interval_covers_the_truth_and_ignoring_patients_does_not():
    rng, truth = np.random.default_rng(0), 0.02
    covered = {"patients": 0, "slices": 0}
    for _ in range(200):
        sizes = rng.integers(1, 16, size=80)
        gains = [rng.normal(truth, 0.05) + rng.normal(0, 0.02, n) for n in sizes]
        by_patient = {f"P{i}": g for i, g in enumerate(gains)}
        by_slice = {f"S{i}": [g] for i, g in enumerate(np.concatenate(gains))}
        for unit, of in (("patients", by_patient), ("slices", by_slice)):
            found = estimate(tidy(of, elsewhere=0), resamples=1000)
            covered[unit] += found.low <= truth <= found.high
    assert 0.90 <= covered["patients"] / 200 <= 0.98
    assert covered["slices"] / 200 < 0.80
