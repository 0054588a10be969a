import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsr_lib.assess.statistics import agreement_by_method, ccc, icc, limits_of_agreement

# Bland & Altman 1986 (10.1016/S0140-6736(86)90837-8), table 1: peak flow by two meters, l/min.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
SMALL = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
# Shrout & Fleiss 1979, table 2: six targets, four judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
COEFFICIENTS = {"icc": lambda sr, hr: icc(np.column_stack((sr, hr))), "ccc": ccc}


@pytest.fixture(params=COEFFICIENTS)
def coefficient(request):
    return COEFFICIENTS[request.param]


def normal_pairs(n, *, slope=0.8, shift=0.3, noise=0.5, samples=1):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, n))
    return np.squeeze(x), np.squeeze(slope * x + shift + noise * rng.normal(size=x.shape))


def test_limits_of_the_published_example():
    found = limits_of_agreement(LARGE, SMALL)
    sd = (found.upper.value - found.bias.value) / 1.96
    assert (round(found.bias.value, 1), round(sd, 1), found.bias.patients) == (-2.1, 38.8, 17)
    assert (found.bias.low, found.bias.high) == pytest.approx((-22.0, 17.8), abs=0.05)
    # the paper takes 2 s and a standard error of sqrt(3 s^2 / n) = 16.3, not yet the one of 1999
    half = stats.t.ppf(0.975, 16) * 16.3
    assert found.upper.high - found.upper.value == pytest.approx(half, rel=0.01)


def test_limits_by_hand():
    found = limits_of_agreement([1, 2, 4], [1, 1, 1])  # differences 0, 1, 3
    sd = np.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2)
    error = sd * np.sqrt(1 / 3 + 1.96**2 / 4)
    assert found.bias.value == pytest.approx(4 / 3)
    assert (found.lower.value, found.upper.value) == pytest.approx(
        (4 / 3 - 1.96 * sd, 4 / 3 + 1.96 * sd)
    )
    assert found.lower.value - found.lower.low == pytest.approx(4.302653 * error, rel=1e-6)
    assert found.upper.high - found.upper.value == pytest.approx(
        found.lower.high - found.lower.value
    )


def test_interval_of_the_bias_equals_the_paired_t_test():
    found = limits_of_agreement(LARGE, SMALL)
    second = stats.ttest_rel(LARGE, SMALL).confidence_interval(0.95)
    assert (found.bias.low, found.bias.high) == pytest.approx(tuple(second), rel=1e-10)


def test_turning_the_pairs_round_turns_the_limits():
    there, back = limits_of_agreement(LARGE, SMALL), limits_of_agreement(SMALL, LARGE)
    assert back.bias.value == -there.bias.value
    assert (back.lower.low, back.lower.high) == pytest.approx((-there.upper.high, -there.upper.low))


def test_standard_error_of_a_limit_is_what_samples_show():
    x, y = normal_pairs(100, samples=4000)
    limits = [limits_of_agreement(a, b) for a, b in zip(x, y)]
    shown = np.std([found.upper.value for found in limits])
    claimed = np.mean([found.upper.high - found.upper.value for found in limits])
    assert claimed / stats.t.ppf(0.975, 99) == pytest.approx(shown, rel=0.04)


def test_icc_of_the_published_example():
    """0.71 by Shrout & Fleiss; 0.342 and 0.95 (F = 11.0) as the R package psych prints them."""
    found = icc(JUDGES)
    assert (round(found.value, 2), round(found.low, 3), round(found.high, 2)) == (0.71, 0.342, 0.95)
    assert found.patients == 6


def test_icc_equals_its_definition_by_an_analysis_of_variance():
    x = np.column_stack((LARGE, SMALL)).astype(float)
    total = ((x - x.mean()) ** 2).sum()
    rows = 2 * ((x.mean(1) - x.mean()) ** 2).sum()
    columns = 17 * ((x.mean(0) - x.mean()) ** 2).sum()
    bms, ems = rows / 16, (total - rows - columns) / 16
    assert icc(x).value == pytest.approx((bms - ems) / (bms + ems), rel=1e-10)


def test_icc_ignores_a_constant_bias_and_ccc_does_not():
    shifted = np.add(SMALL, 100)
    assert icc(np.column_stack((LARGE, shifted))).value == pytest.approx(
        icc(np.column_stack((LARGE, SMALL))).value, rel=1e-10
    )
    assert ccc(LARGE, shifted).value < ccc(LARGE, SMALL).value - 0.1


def test_ccc_by_hand():
    # means 2 and 3, variances 2/3 and 8/3, covariance 4/3: 2 * 4/3 / (2/3 + 8/3 + 1)
    assert ccc([1, 2, 3], [1, 3, 5]).value == pytest.approx(8 / 13, rel=1e-12)


def test_ccc_is_the_correlation_for_equal_moments():
    x, y = normal_pairs(50)
    x, y = stats.zscore(x), stats.zscore(y)
    assert ccc(x, y).value == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-10)


def test_interval_of_ccc_equals_lins_formula_as_he_wrote_it():
    found, n = ccc(LARGE, SMALL), 17
    r = stats.pearsonr(LARGE, SMALL).statistic
    u = (np.mean(LARGE) - np.mean(SMALL)) / np.sqrt(np.std(LARGE) * np.std(SMALL))
    c = found.value
    variance = (1 - r**2) * c**2 / ((1 - c**2) * r**2)
    variance += 2 * c**3 * (1 - c) * u**2 / (r * (1 - c**2) ** 2)
    variance -= c**4 * u**4 / (2 * r**2 * (1 - c**2) ** 2)
    half = 1.959964 * np.sqrt(variance / (n - 2))
    ends = np.tanh([np.arctanh(c) - half, np.arctanh(c) + half])
    assert (found.low, found.high) == pytest.approx(tuple(ends), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0])  # with a factor 4 for Lin's 2 the second is off
def test_standard_error_of_ccc_is_what_samples_show(shift):
    x, y = normal_pairs(200, shift=shift, samples=4000)
    found = [ccc(a, b) for a, b in zip(x, y)]
    shown = np.std([np.arctanh(one.value) for one in found])
    claimed = np.mean([np.arctanh(one.high) - np.arctanh(one.value) for one in found])
    assert claimed / 1.959964 == pytest.approx(shown, rel=0.04)


def test_perfect_agreement(coefficient):
    found = coefficient(LARGE, LARGE)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1), abs=1e-12)
    limits = limits_of_agreement(LARGE, LARGE)
    assert (limits.bias.value, limits.lower.low, limits.upper.high) == (0, 0, 0)


def test_the_unit_does_not_matter(coefficient):
    scaled = coefficient(*(np.multiply(v, 1e-3) + 7 for v in (LARGE, SMALL)))
    expected = dataclasses.astuple(coefficient(LARGE, SMALL))
    assert dataclasses.astuple(scaled) == pytest.approx(expected, rel=1e-8, nan_ok=True)


def test_values_that_never_vary(coefficient):
    found = coefficient([0.3] * 4, [0.3] * 4)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_ccc_with_a_measure_that_does_not_vary():
    found = ccc([1, 2, 3], [2, 2, 2])
    assert found.value == 0
    assert np.isnan(found.low)


@pytest.mark.parametrize("measure", [limits_of_agreement, *COEFFICIENTS.values()])
def test_refuses_too_few_pairs_and_missing_values(measure):
    with pytest.raises(ValueError, match="at least 3 pairs, got 2"):
        measure([1, 2], [1, 2])
    with pytest.raises(ValueError, match=r"NaN or infinite values \(1 of \d\); leave these out"):
        measure([1, 2, np.nan], [1, 2, 3])


@pytest.mark.parametrize("measure", [limits_of_agreement, ccc])
def test_refuses_unequal_lengths(measure):
    with pytest.raises(ValueError, match=r"sr is \(3,\), hr is \(4,\)"):
        measure([1, 2, 3], [1, 2, 3, 4])


@pytest.mark.parametrize("ratings", [[1, 2, 3], [[1], [2], [3]]])
def test_icc_refuses_ratings_without_columns(ratings):
    with pytest.raises(ValueError, match=r"ratings must be \(n, k\)"):
        icc(ratings)


def looked_at(**columns):
    """A table as of `appearance`: two cases of each of three patients, by two methods."""
    rows = [
        {"patient": p, "id": f"{p}{n}", "method": method, "region": "tumour"}
        for method in ("HR", "ESPCN", "SRGAN")
        for p in "abc"
        for n in range(2)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_agreement_by_method_is_that_of_the_patients_means():
    table = looked_at(cnr_hr=[1.0, 3, 4, 4, 5, 9] * 3, cnr_sr=[1.0, 3, 4, 5, 5, 10] * 3)
    found = agreement_by_method(table, measures=["cnr"]).set_index("method")
    assert list(found.index) == ["ESPCN", "SRGAN"]
    found, sr, hr = found.loc["SRGAN"], [2, 4.5, 7.5], [2, 4, 7]
    assert found["bias"] == pytest.approx(1 / 3)
    assert found["ccc"] == pytest.approx(ccc(sr, hr).value)
    assert found["icc"] == pytest.approx(icc(np.column_stack((sr, hr))).value)
    assert found["patients"] == 3


def test_cases_without_a_value_leave_the_pair_and_few_patients_no_number():
    hr, sr = [1.0, 3, 4, 4, 5, 9] * 3, [2.0, np.nan, 5, 5, 6, 8] * 3
    found = agreement_by_method(looked_at(cnr_hr=hr, cnr_sr=sr), measures=["cnr"])
    assert found["bias"].tolist() == pytest.approx([2 / 3] * 2)  # of 1, 1 and 0
    few = looked_at(cnr_hr=hr, cnr_sr=[*sr[:4], np.nan, np.inf] * 3)
    found = agreement_by_method(few, measures=["cnr"])
    assert (found["patients"] == 2).all()
    assert found["ccc"].isna().all()


def test_a_measure_or_region_that_is_not_there_is_named():
    table = looked_at(cnr_hr=1.0, cnr_sr=1.0)
    with pytest.raises(ValueError, match=r"no column 'size_sr' .* \['cnr'\]"):
        agreement_by_method(table, measures=["size"])
    with pytest.raises(ValueError, match=r"no region 'tumour' .* \['head'\]"):
        agreement_by_method(table.assign(region="head"), measures=["cnr"])
