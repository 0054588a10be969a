import numpy as np
import pytest
from scipy import stats

from medsr_lib.assess.statistics import inference

P_VALUES = [0.04, 0.001, 0.03, 0.9, 0.012, 0.012]


@pytest.mark.parametrize(("method", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_adjusted_p_is_statsmodels(method, theirs):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests(P_VALUES, method=theirs)[1]
    np.testing.assert_allclose(inference.adjust(P_VALUES, method=method), expected)
    with_nan = inference.adjust([np.nan, *P_VALUES], method=method)
    np.testing.assert_allclose(with_nan, [np.nan, *expected])


def test_adjusted_p_by_hand():
    np.testing.assert_allclose(inference.adjust([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(
        inference.adjust([0.01, 0.04, 0.03], method="bh"), [0.03, 0.04, 0.04]
    )
    assert inference.adjust([]).size == 0


def test_adjust_refuses():
    with pytest.raises(ValueError, match="'holm' or 'bh', got 'bonferroni'"):
        inference.adjust([0.1], method="bonferroni")
    with pytest.raises(ValueError, match="between 0 and 1"):
        inference.adjust([0.1, 1.2])


def test_effect_size_by_hand():
    found = inference.effect_size([1.0, 2.0, 3.0, 6.0])
    d = 3 / np.sqrt(14 / 3)
    assert found.value == pytest.approx(d * (1 - 3 / (4 * 3 - 1)), rel=0.01)  # Hedges 1981, 6f
    assert found.low < found.value < found.high
    assert found.patients == 4


def test_interval_of_the_effect_size_is_that_of_noncentral_t():
    values = np.random.default_rng(2).normal(0.4, 1, 25)
    found = inference.effect_size(values)
    t = 5 * values.mean() / values.std(ddof=1)
    for end, share in ((found.low, 0.975), (found.high, 0.025)):
        assert stats.nct.cdf(t, 24, 5 * end) == pytest.approx(share, abs=1e-4)


def test_interval_of_the_effect_size_covers():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        found = inference.effect_size(rng.normal(0.5, 1, 15))
        hits += found.low <= 0.5 <= found.high
    assert 0.91 <= hits / 300 <= 0.985


def test_effect_size_without_spread_or_patients_is_nan():
    for values in ([0.1, 0.2], [0.0] * 5, [0.3] * 5):
        assert np.isnan(inference.effect_size(values).value)


def test_power_is_that_of_simulated_t_tests():
    data = np.random.default_rng(0).normal(0.5, 1, (20_000, 20))
    share = (stats.ttest_1samp(data, 0, axis=1).pvalue < 0.05).mean()
    assert inference.power(effect=0.5, patients=20, alpha=0.05) == pytest.approx(share, abs=0.01)
    assert inference.power(effect=-0.5, patients=20, alpha=0.05) == pytest.approx(share, abs=0.01)


def test_power_is_statsmodels():
    theirs = pytest.importorskip("statsmodels.stats.power").TTestPower()
    ours = inference.power(effect=0.3, patients=47, alpha=0.01)
    assert ours == pytest.approx(theirs.power(0.3, 47, 0.01), abs=1e-6)
    assert inference.power(effect=0, patients=47, alpha=0.01) == pytest.approx(0.01)
    assert inference.power(effect=5, patients=3064, alpha=0.01) == pytest.approx(1)


@pytest.mark.parametrize(("patients", "effect"), [(233, 0.184), (209, 0.195), (47, 0.417)])
def test_what_the_design_detects(patients, effect):
    found = inference.detectable(patients=patients, power=0.8, alpha=0.05)
    assert found == pytest.approx(effect, abs=5e-4)
    assert inference.power(effect=found, patients=patients, alpha=0.05) == pytest.approx(0.8)


def test_power_refuses():
    with pytest.raises(ValueError, match="needs 2 patients"):
        inference.power(effect=0.5, patients=1, alpha=0.05)
    with pytest.raises(ValueError, match="power must lie between"):
        inference.detectable(patients=20, power=0.01, alpha=0.05)
    with pytest.raises(ValueError, match="needs 2 patients"):
        inference.detectable(patients=1, power=0.8, alpha=0.05)
