from dataclasses import asdict, astuple

import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import statistics
from medsr_lib.assess.statistics.contrasts import (
    Contrast,
    Estimate,
    non_inferiority,
    paired_difference,
    slice_differences,
)

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


def test_the_90_percent_interval_lies_within_the_95(skewed):
    found = estimate(tidy({f"P{i:02}": [v] for i, v in enumerate(skewed)}, elsewhere=0))
    assert found.low < found.low90 < found.value < found.high90 < found.high
    of_level = statistics.bootstrap_interval(skewed, seed=0, level=0.9)
    assert (found.low90, found.high90) == pytest.approx(of_level)


def test_the_same_seed_gives_the_same_estimate_and_another_gives_another(skewed):
    gains = {f"P{i:02}": [v] for i, v in enumerate(skewed)}
    assert estimate(tidy(gains), seed=1) == estimate(tidy(gains), seed=1)
    assert estimate(tidy(gains), seed=1) != estimate(tidy(gains), seed=2)


def test_one_patient_has_no_interval():
    found = estimate(tidy({"A": [0.03, 0.05]}))
    assert found.value == pytest.approx(0.03)
    assert np.isnan([found.low, found.high, found.p, found.low90, found.high90]).all()
    assert (found.patients, found.slices) == (1, 2)


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


SPECS = [
    Contrast("ssim", method, "bicubic", region, reference)
    for method in ("ESPCN", "SRGAN")
    for region, reference in (("tumour", "matched"), ("tumour", None), ("rim", "matched"))
]


@pytest.fixture(scope="module")
def scores():
    """20 patients of 1 to 6 slices, 3 methods, 3 regions; some regions too small or missing."""
    rng = np.random.default_rng(0)
    keys = [
        (f"{patient}-{n}", f"P{patient}", method, region)
        for patient in range(20)
        for n in range(rng.integers(1, 7))
        for method in ("bicubic", "ESPCN", "SRGAN")
        for region in ("tumour", "rim", "matched")
    ]
    table = pd.DataFrame(keys, columns=["slice_id", "patient", "method", "region"])
    table["ssim"] = rng.gamma(2, 0.1, len(table))
    table.loc[(table["region"] == "rim") & (rng.random(len(table)) < 0.3), "ssim"] = np.nan
    lost = (table["region"] != "tumour") & (table["patient"] == "P3")
    return table[~lost].sample(frac=1, random_state=0)


def test_many_contrasts_are_what_each_is_alone(scores):
    for spec, found in statistics.contrasts(scores, SPECS, seed=4, resamples=500).items():
        alone = paired_difference(scores, **asdict(spec), seed=4, resamples=500)
        np.testing.assert_allclose(astuple(found), astuple(alone), rtol=1e-9)


def test_contrasts_count_each_its_own_patients_and_skipped_slices(scores):
    tumour_matched, tumour, rim_matched = statistics.contrasts(
        scores, SPECS[:3], seed=0, resamples=100
    ).values()
    n = scores["slice_id"].nunique()
    of_p3 = scores.loc[scores["patient"] == "P3", "slice_id"].nunique()  # tumour only
    counts = (tumour_matched.patients, tumour_matched.slices, tumour_matched.skipped)
    assert counts == (19, n - of_p3, of_p3)
    assert (tumour.patients, tumour.slices, tumour.skipped) == (20, n, 0)
    assert rim_matched.skipped > 0
    assert rim_matched.slices + rim_matched.skipped == n


def test_a_contrast_without_any_slice_is_empty_and_the_others_stand(scores):
    empty = scores.assign(ssim=scores["ssim"].where(scores["region"] != "rim"))
    found = statistics.contrasts(empty, SPECS[:3], seed=0, resamples=100)
    assert (found[SPECS[2]].patients, found[SPECS[2]].slices) == (0, 0)
    assert np.isnan([found[SPECS[2]].value, found[SPECS[2]].p]).all()
    assert found[SPECS[0]].patients == 19


def test_a_method_that_was_not_measured_in_a_region_is_an_empty_contrast(scores):
    lost = (scores["method"] == "SRGAN") & (scores["region"] == "rim")
    found = statistics.contrasts(scores[~lost], SPECS, seed=0, resamples=100)
    assert found[SPECS[5]].slices == 0
    assert found[SPECS[5]].skipped > 0


def test_an_infinite_difference_has_no_interval():
    found = estimate(tidy({"A": [0.03], "B": [np.inf], "C": [0.01]}), reference=None)
    assert found.value == np.inf
    assert np.isnan([found.low, found.high, found.p]).all()


def test_table_of_contrasts(scores):
    found = statistics.contrasts(scores, SPECS, seed=0, resamples=200)
    table = statistics.as_table(found, method="bh")
    assert table["method"].tolist() == [s.method for s in SPECS]
    assert table["low"].tolist() == [e.low for e in found.values()]
    np.testing.assert_allclose(table["p_adjusted"], statistics.adjust(table["p"], method="bh"))
    assert str(SPECS[0]) == "ssim, ESPCN − bicubic, tumour − matched"
    with pytest.raises(ValueError, match="no estimate"):
        statistics.as_table({})


def test_one_slice_per_patient_is_the_plain_paired_comparison(skewed):
    found = estimate(tidy({f"P{i:02}": [v] for i, v in enumerate(skewed)}, elsewhere=0))
    assert found.patients == found.slices == 40
    low, high = statistics.bootstrap_interval(skewed, seed=0)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("patients", [4, 20])
def test_all_differences_zero(patients):
    found = estimate(tidy({f"P{i}": [0.01, 0.01] for i in range(patients)}))
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert found.p == pytest.approx(1)


def test_patient_differences_weigh_slices_within_the_patient():
    found = statistics.patient_differences(tidy(PATIENTS), **CONTRAST, reference="matched")
    assert found.to_dict() == pytest.approx({"A": 0.02, "B": 0.02, "C": 0.01, "D": 0.03})


def against(low90, high90, margin=0.01, **changes):
    ends = {"low": low90 - 0.001, "high": high90 + 0.001, "low90": low90, "high90": high90}
    made = Estimate(value=(low90 + high90) / 2, p=0.5, patients=30, slices=90, **ends)
    return non_inferiority(made, margin=margin, **changes)


@pytest.mark.parametrize(
    ("low90", "high90", "not_inferior", "equivalent"),
    [
        (-0.005, 0.005, True, True),
        (-0.005, 0.02, True, False),
        (-0.02, 0.005, False, False),
        (-0.01, 0.005, False, False),
        (-0.03, -0.02, False, False),
        (-0.008, -0.002, True, True),
    ],
)
def test_non_inferiority_is_read_off_the_90_percent_interval(
    low90, high90, not_inferior, equivalent
):
    found = against(low90, high90)
    assert (found.not_inferior, found.equivalent) == (not_inferior, equivalent)
    turned = against(-high90, -low90, higher_is_better=False)
    assert (turned.bound, turned.best) == (found.bound, found.best)
    assert turned.not_inferior == not_inferior


def test_non_inferiority_without_an_interval_shows_nothing():
    found = non_inferiority(estimate(tidy({"A": [0.03]})), margin=0.01)
    assert not found.not_inferior
    assert not found.equivalent


@pytest.mark.parametrize("margin", [0, -0.01, np.nan, np.inf])
def test_a_margin_is_a_positive_number(margin):
    with pytest.raises(ValueError, match="margin must be a positive number"):
        against(-0.1, 0.1, margin=margin)


def test_non_inferiority_refuses_an_estimate_without_a_90_percent_interval():
    bare = Estimate(value=0.0, low=-0.1, high=0.1, p=1.0, patients=30, slices=90)
    with pytest.raises(ValueError, match="give low90 and high90"):
        non_inferiority(bare, margin=0.2)


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
    assert 0.91 <= covered["patients"] / 200 <= 0.985
    assert covered["slices"] / 200 < 0.80
