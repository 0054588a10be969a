from dataclasses import asdict, astuple
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from medsr_lib.assess import statistics
from medsr_lib.assess.statistics import Contrast, bootstrap, paired_difference

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
    return pd.DataFrame(rows, columns=["id", "patient", "method", "region", "ssim"])


def estimate(table, reference="matched", seed=0, **changes):
    return paired_difference(table, reference=reference, seed=seed, **(CONTRAST | changes))


def drop(table, case, region):
    """Make a region of a slice too small to measure."""
    at = (table["id"] == case) & (table["region"] == region)
    table.loc[at, "ssim"] = np.nan
    return table


def test_difference_in_differences_by_hand():
    found = estimate(tidy(PATIENTS))
    of_patients = [0.03 - 0.01, 0.03 - 0.01, 0.02 - 0.01, 0.04 - 0.01]
    assert found.value == pytest.approx(np.mean(of_patients))
    assert (found.patients, found.cases, found.skipped) == (4, 8, 0)
    assert found.low < found.value < found.high


def test_a_contrast_says_what_it_is():
    assert str(SPECS[0]) == "ssim, ESPCN − bicubic, tumour − matched"


def test_without_a_reference_it_is_the_plain_difference():
    assert estimate(tidy(PATIENTS), reference=None).value == pytest.approx(0.03)


def test_turning_methods_round_turns_the_sign():
    found = estimate(tidy(PATIENTS))
    turned = estimate(tidy(PATIENTS), method="bicubic", baseline="ESPCN")
    assert (turned.value, turned.low) == pytest.approx((-found.value, -found.high))


def test_patients_weigh_the_same_whatever_their_cases():
    often = PATIENTS | {"C": PATIENTS["C"] * 20}
    for end in ("value", "low"):
        assert getattr(estimate(tidy(often)), end) == pytest.approx(
            getattr(estimate(tidy(PATIENTS)), end)
        )


def test_the_same_seed_gives_the_same_estimate_and_another_gives_another(skewed):
    gains = {f"P{i:02}": [v] for i, v in enumerate(skewed)}
    assert estimate(tidy(gains), seed=1) == estimate(tidy(gains), seed=1)
    assert estimate(tidy(gains), seed=1) != estimate(tidy(gains), seed=2)


def test_one_patient_has_no_interval():
    found = estimate(tidy({"A": [0.03, 0.05]}))
    assert found.value == pytest.approx(0.03)
    assert np.isnan([found.low, found.high, found.p, found.low90, found.high90]).all()
    assert (found.patients, found.cases) == (1, 2)


def test_cases_too_small_to_measure_are_counted():
    table = drop(drop(tidy(PATIENTS), "C2", "matched"), "A0", "tumour")
    found = estimate(table)
    assert found.value == pytest.approx(np.mean([0.02, -0.02, 0.03]))
    assert (found.patients, found.cases, found.skipped) == (3, 6, 2)
    assert "n = 3 patients, 6 cases, 2 skipped" in str(found)


def test_a_case_without_one_of_the_rows_is_skipped():
    table = tidy(PATIENTS)
    lost = (table["id"] == "C2") & (table["method"] == "bicubic")
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
        ({"reference": ""}, "no region ''"),
        ({"region": None}, "no region None"),
    ],
)
def test_refuses_what_the_table_does_not_have(change, reason):
    with pytest.raises(ValueError, match=reason):
        estimate(tidy(PATIENTS), **change)


def test_refuses_rows_that_occur_twice():
    table = tidy(PATIENTS)
    with pytest.raises(ValueError, match="case A0 occurs twice in the table; choose one scale"):
        estimate(pd.concat([table, table]))


def test_refuses_a_table_in_which_nothing_was_measured():
    table = tidy({"A": [0.03]})
    with pytest.raises(ValueError, match="no case has ssim of ESPCN and bicubic in tumour"):
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
    table = pd.DataFrame(keys, columns=["id", "patient", "method", "region"])
    table["ssim"] = rng.gamma(2, 0.1, len(table))
    table.loc[(table["region"] == "rim") & (rng.random(len(table)) < 0.3), "ssim"] = np.nan
    lost = (table["region"] != "tumour") & (table["patient"] == "P3")
    return table[~lost].sample(frac=1, random_state=0)


def test_many_contrasts_are_what_each_is_alone(scores):
    for spec, found in statistics.contrasts(scores, SPECS, seed=4).items():
        alone = paired_difference(scores, **asdict(spec), seed=4)
        np.testing.assert_allclose(astuple(found), astuple(alone), rtol=1e-9)


def test_contrasts_count_each_its_own_patients_and_skipped_cases(scores):
    tumour_matched, tumour, rim_matched = statistics.contrasts(scores, SPECS[:3], seed=0).values()
    n = scores["id"].nunique()
    of_p3 = scores.loc[scores["patient"] == "P3", "id"].nunique()  # tumour only
    counts = (tumour_matched.patients, tumour_matched.cases, tumour_matched.skipped)
    assert counts == (19, n - of_p3, of_p3)
    assert (tumour.patients, tumour.cases, tumour.skipped) == (20, n, 0)
    assert rim_matched.skipped > 0
    assert rim_matched.cases + rim_matched.skipped == n


def test_a_contrast_without_any_case_is_empty_and_the_others_stand(scores):
    empty = scores.assign(ssim=scores["ssim"].where(scores["region"] != "rim"))
    found = statistics.contrasts(empty, SPECS[:3], seed=0)
    assert (found[SPECS[2]].patients, found[SPECS[2]].cases) == (0, 0)
    assert np.isnan([found[SPECS[2]].value, found[SPECS[2]].p]).all()
    assert found[SPECS[0]].patients == 19


def test_a_method_that_was_not_measured_in_a_region_is_an_empty_contrast(scores):
    lost = (scores["method"] == "SRGAN") & (scores["region"] == "rim")
    found = statistics.contrasts(scores[~lost], SPECS, seed=0)
    assert found[SPECS[5]].cases == 0
    assert found[SPECS[5]].skipped > 0


def test_one_case_per_patient_is_the_plain_paired_comparison(skewed):
    found = estimate(tidy({f"P{i:02}": [v] for i, v in enumerate(skewed)}, elsewhere=0))
    assert found.patients == found.cases == 40
    low, high = statistics.bootstrap_interval(skewed, seed=0)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_patient_differences_weigh_cases_within_the_patient():
    found = statistics.patient_differences(
        tidy(PATIENTS), Contrast(**CONTRAST, reference="matched")
    )
    assert found.to_dict() == pytest.approx({"A": 0.02, "B": 0.02, "C": 0.01, "D": 0.03})


@pytest.fixture
def table():
    """Ten patients with one to three cases each, two methods at two levels."""
    rng = np.random.default_rng(0)
    rows = [
        {"patient": f"p{p}", "id": f"{p}-{i}", "method": m, "level": v}
        for p in range(10)
        for i in range(1 + p % 3)
        for m in "ab"
        for v in (0.1, 0.2)
    ]
    return pd.DataFrame(rows).assign(psnr=lambda t: 30 + rng.normal(size=len(t)))


def test_means_are_over_patients_with_the_interval_of_the_bootstrap(table):
    found = statistics.means(table, metrics=["psnr"], by=["method", "level"], seed=3)
    assert found[["method", "level"]].values.tolist() == [
        *(["a", 0.1], ["a", 0.2], ["b", 0.1], ["b", 0.2])
    ]
    rows = table[table["method"].eq("b") & table["level"].eq(0.2)]
    sample = rows.groupby("patient")["psnr"].mean()
    last = found.iloc[-1]
    assert last["value"] == pytest.approx(sample.mean())
    interval = statistics.bootstrap_interval(sample, seed=3)
    assert (last["low"], last["high"]) == pytest.approx(interval)
    assert (last["patients"], last["cases"], last["skipped"]) == (10, len(rows), 0)


def test_means_leave_out_and_count_missing_and_infinite_values(table):
    table.loc[0, "psnr"], table.loc[4, "psnr"] = np.nan, np.inf
    first = statistics.means(table, metrics=["psnr"], by=["method", "level"], seed=0).iloc[0]
    assert (first["skipped"], first["cases"]) == (2, 17)
    assert np.isfinite([first["value"], first["low"], first["high"]]).all()
    with pytest.raises(ValueError, match="no metric 'ssim'"):
        statistics.means(table, metrics=["ssim"], by=["method"], seed=0)


@pytest.mark.parametrize("seed", [None, -1, 0.5, "0", np.nan])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got"):
        statistics.bootstrap_interval(np.arange(9.0), seed=seed)


def test_one_value_for_each_patient():
    for estimate in (statistics.effect_size, partial(statistics.bootstrap_interval, seed=0)):
        with pytest.raises(ValueError, match=r"per_patient must have 1 dimensions, got .*\(9, 1\)"):
            estimate(np.ones((9, 1)))


def test_effect_size_by_hand():
    found = statistics.effect_size([1.0, 2.0, 3.0, 6.0])
    d = 3 / np.sqrt(14 / 3)
    assert found.value == pytest.approx(d * (1 - 3 / (4 * 3 - 1)), rel=0.01)  # Hedges 1981, 6f
    assert found.low < found.value < found.high
    assert found.patients == 4


def test_interval_of_the_effect_size_is_that_of_noncentral_t():
    values = np.random.default_rng(2).normal(0.4, 1, 25)
    found = statistics.effect_size(values)
    t = 5 * values.mean() / values.std(ddof=1)
    for end, share in ((found.low, 0.975), (found.high, 0.025)):
        assert stats.nct.cdf(t, 24, 5 * end) == pytest.approx(share, abs=1e-4)


def test_interval_of_the_effect_size_covers():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(60):  # one of half the width covers 67 %
        found = statistics.effect_size(rng.normal(0.5, 1, 15))
        hits += found.low <= 0.5 <= found.high
    assert hits / 60 >= 0.87


@pytest.mark.parametrize("values", [[0.1, 0.2], [0.0] * 5, [0.3] * 5])
def test_effect_size_without_spread_or_patients_is_nan(values):
    assert np.isnan(statistics.effect_size(values).value)


@pytest.mark.parametrize(
    ("patients", "effect"), [(233, 0.184), (209, 0.195), (47, 0.417), (2, 21.0)]
)
def test_what_the_design_detects_is_found_by_simulated_t_tests(patients, effect):
    found = statistics.detectable(patients=patients, power=0.8, alpha=0.05)
    assert found == pytest.approx(effect, rel=0.6 if patients == 2 else 3e-3)
    data = np.random.default_rng(0).normal(found, 1, (10_000, patients))
    share = (stats.ttest_1samp(data, 0, axis=1).pvalue < 0.05).mean()
    assert share == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patients": 1}, "patients must be a whole number of at least 2, got 1"),
        ({"power": 0.01}, "power must be above alpha, got 0.01 and 0.05"),
        ({"power": 80}, "power must be between 0 and 1, such as 0.95 for 95 %, got 80"),
        ({"alpha": "5 %"}, "alpha must be between 0 and 1.*got '5 %'"),
    ],
)
def test_detectable_refuses(change, reason):
    with pytest.raises(ValueError, match=reason):
        statistics.detectable(**({"patients": 20, "power": 0.8, "alpha": 0.05} | change))


@pytest.mark.slow
def test_interval_covers_the_truth_and_ignoring_patients_does_not(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    rng, truth = np.random.default_rng(0), 0.02
    covered = {"patients": 0, "slices": 0}
    for _ in range(60):
        sizes = rng.integers(1, 16, size=80)
        gains = [rng.normal(truth, 0.05) + rng.normal(0, 0.02, n) for n in sizes]
        by_patient = {f"P{i}": g for i, g in enumerate(gains)}
        by_slice = {f"S{i}": [g] for i, g in enumerate(np.concatenate(gains))}
        for unit, of in (("patients", by_patient), ("slices", by_slice)):
            found = estimate(tidy(of, elsewhere=0))
            covered[unit] += found.low <= truth <= found.high
    assert covered["patients"] / 60 >= 0.87
    assert covered["slices"] / 60 < 0.80


def decisions(right, cases=1):
    """A table of `right` by method, for patients of so many cases each."""
    n = len(right["HR"])
    rows = {"id": range(n), "patient": np.arange(n) // cases, "region": "whole"}
    return pd.concat([pd.DataFrame(rows | {"method": k, "right": v}) for k, v in right.items()])


def test_a_difference_of_decisions_has_a_score_interval_and_the_p_of_sign_flips():
    now = np.r_[np.zeros(3), np.ones(27)]
    table = decisions({"HR": np.ones(30), "ESPCN": now})
    spec = Contrast("right", "ESPCN", "HR", "whole")
    (found,) = statistics.contrasts(table, [spec], seed=0).values()
    score = statistics.share_difference(now == 1, np.ones(30), range(30))
    assert found.value == pytest.approx(-0.1)
    assert (found.low, found.high, found.low90) == (score.low, score.high, score.low90)
    assert found.p == pytest.approx(0.25, abs=0.02)
    same = statistics.contrasts(decisions({"HR": now, "ESPCN": now}), [spec], seed=0)[spec]
    assert same.low < same.value == 0 < same.high  # no change in 30 patients rules out none


def test_a_mean_of_decisions_has_wilsons_interval():
    table = decisions({"HR": np.r_[np.zeros(3), np.ones(27)]})
    row = statistics.means(table, metrics=["right"], by=["method"], seed=0).iloc[0]
    expected = proportion_confint(27, 30, method="wilson")
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.9, *expected))
    assert (row["cases"], row["patients"]) == (30, 30)


def trainings(shift, n=20):
    """ESPCN in so many trainings, which gain `shift` more each; bicubic is the same in all."""
    gains = np.random.default_rng(0).normal(0.02, 0.01, n)
    tables = [
        tidy({f"P{i}": [g + more] for i, g in enumerate(gains)}).assign(seed=seed)
        for seed, more in enumerate(shift)
    ]
    return pd.concat(tables, ignore_index=True)


SEEDED = Contrast("ssim", "ESPCN", "bicubic", "tumour", "matched")


def test_one_training_and_equal_ones_give_students_interval_over_patients():
    one, three = (statistics.over_seeds(trainings([0] * k), SEEDED) for k in (1, 3))
    of_patient = statistics.patient_differences(trainings([0]), SEEDED)
    student = stats.t.interval(0.95, 19, of_patient.mean(), stats.sem(of_patient))
    assert (one.low, one.high) == pytest.approx(student)
    assert (three.value, three.low, three.p) == pytest.approx((one.value, one.low, one.p))
    assert (one.seeds, three.seeds, three.patients, three.cases) == (0, 3, 20, 20)
    assert one.p == pytest.approx(stats.ttest_1samp(of_patient, 0).pvalue)


def test_means_of_trainings_that_differ_are_over_patients_and_trainings():
    table = trainings([0, 0.01, 0.05]).query("region == 'tumour'")
    table.index = table.index % 7  # as where tables were put together
    found = statistics.means(table, metrics=["ssim"], by=["method"], seed=0).set_index("method")
    once = statistics.means(
        table.query("seed == 0"), metrics=["ssim"], by=["method"], seed=0
    ).set_index("method")
    espcn, bicubic = found.loc["ESPCN"], found.loc["bicubic"]
    pd.testing.assert_series_equal(bicubic[once.columns], once.loc["bicubic"])
    assert espcn["value"] == pytest.approx(once.loc["ESPCN", "value"] + 0.02)
    assert espcn["seed_high"] - espcn["seed_low"] == pytest.approx(0.05)
    assert espcn["high"] - espcn["low"] > 0.06  # half of the range is 0.025, of 3 trainings
    assert (espcn["seeds"], bicubic["seeds"], espcn["patients"], espcn["cases"]) == (3, 0, 20, 20)


def test_trainings_that_differ_widen_the_interval_and_their_range_is_told():
    shift = np.array([0, 0.01, 0.05])
    same, found = (statistics.over_seeds(trainings(s), SEEDED) for s in ([shift.mean()] * 3, shift))
    assert found.value == pytest.approx(same.value)
    assert found.high - found.low > 4 * (same.high - same.low)
    assert found.seed_high - found.seed_low == pytest.approx(0.05)
    assert "3 trainings from" in str(found)


def test_a_few_patients_who_lose_much_are_seen_over_trainings_too():
    table = trainings([0, 0])
    worst = (table["patient"] == "P0") & (table["method"] == "ESPCN")
    table.loc[worst & (table["region"] == "tumour"), "ssim"] -= 0.5
    found = statistics.over_seeds(table, SEEDED)
    of_patient = statistics.patient_differences(table.query("seed == 0"), SEEDED)
    assert found.skewness == pytest.approx(stats.skew(of_patient, bias=False))
    verdict = statistics.non_inferiority(found, margin=0.2)
    assert verdict.words == "not enough data"
    assert "skewness -4" in verdict.reason


def test_a_case_that_one_training_lacks_is_skipped():
    table = trainings([0, 0.01])
    table.loc[(table["seed"] == 1) & (table["id"] == table["id"].iloc[0]), "ssim"] = np.nan
    found = statistics.over_seeds(table, SEEDED)
    assert (found.cases, found.skipped, found.patients) == (19, 1, 19)
    with pytest.raises(ValueError, match="no case was measured in all 2 trainings"):
        statistics.over_seeds(table.assign(ssim=table["ssim"].where(table["seed"] == 0)), SEEDED)
    with pytest.raises(ValueError, match=r"lacks the columns \['seed'\]"):
        statistics.over_seeds(table.drop(columns="seed"), SEEDED)


def test_many_over_trainings_are_what_each_is_alone():
    table = trainings([0, 0.01])
    table.loc[(table["region"] == "matched") & (table["patient"] == "P3"), "ssim"] = np.nan
    plain = Contrast("ssim", "ESPCN", "bicubic", "tumour")
    found = statistics.contrasts_over_seeds(table, [SEEDED, plain])
    assert found == {asked: statistics.over_seeds(table, asked) for asked in (SEEDED, plain)}
    assert [e.skipped for e in found.values()] == [1, 0]


def test_runs_of_alike_slices_widen_the_interval_beside_that_of_single_slices():
    gains = np.random.default_rng(0).normal(0.02, 0.01, 20)
    table = tidy({f"P{i}": [g] * 5 for i, g in enumerate(gains)})
    ask = partial(paired_difference, **asdict(SEEDED), seed=0)
    found = statistics.with_case_interval(ask, table)
    assert (found.low, found.patients) == (ask(table).low, 20)
    assert 1.8 < (found.high - found.low) / (found.case_high - found.case_low) < 2.8  # 5 alike
    assert str(found).endswith("] if every case were a patient")


def test_differences_of_cases_are_those_that_the_mean_is_of():
    found = statistics.case_differences(tidy(PATIENTS), SEEDED)
    assert list(found.index.names) == ["patient", "id"]
    of_patient = found.groupby(level="patient").mean()
    assert of_patient.mean() == pytest.approx(estimate(tidy(PATIENTS)).value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_effect_size_refuses_patients_without_a_value(bad):
    with pytest.raises(ValueError, match="per_patient must be finite"):
        statistics.effect_size([1.0, 2.0, bad])
