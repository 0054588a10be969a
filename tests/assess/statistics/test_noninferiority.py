from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import ttest_power

from medsr_lib.assess.statistics import (
    Contrast,
    Estimate,
    bootstrap,
    equivalence,
    non_inferiority,
    patients_needed,
    verdicts,
)

SAFE, HARMS, OPEN = "not inferior within margin", "harms", "no harm shown"


def made(low, high, patients=40, inset=0.001):
    """An estimate with a 90 % interval that is so much shorter at both ends."""
    ends = {"low": low, "high": high, "low90": low + inset, "high90": high - inset}
    return Estimate(value=(low + high) / 2, p=0.5, patients=patients, cases=400, **ends)


def judge(estimate, margin=0.01, **changes):
    return non_inferiority(estimate, margin=margin, **changes)


BRANCHES = {
    "worse by more than the margin": (-0.03, -0.012, HARMS, "worse by more than the margin"),
    "worse, perhaps by more": (-0.03, -0.002, HARMS, "by more than the margin is open"),
    "worse, but by less": (-0.008, -0.002, SAFE, "worse, but by less than the margin"),
    "better": (0.002, 0.03, SAFE, "It is better"),
    "no difference": (-0.004, 0.004, SAFE, "loss as large as the margin is ruled out"),
    "nothing ruled out": (-0.03, 0.03, OPEN, "not ruled out either"),
}


@pytest.mark.parametrize(("low", "high", "words", "reason"), BRANCHES.values(), ids=BRANCHES)
def test_every_line_of_the_rule_and_turned_where_lower_is_better(low, high, words, reason):
    found = judge(made(low, high))
    assert found.words == words
    assert reason in found.reason
    turned = judge(made(-high, -low), higher_is_better=False)
    assert (turned.words, turned.reason) == (found.words, found.reason)
    assert turned.bound == pytest.approx(found.bound)


def test_the_bound_is_the_one_sided_one():
    found = judge(made(-0.0105, 0.004))  # 95 % interval beyond the margin, 90 % not
    assert found.words == SAFE
    assert found.bound == pytest.approx(-0.0095)
    assert judge(made(-0.0115, 0.004)).words == OPEN


@pytest.mark.parametrize(
    ("low", "high", "words"), [(-0.01, 0.01, OPEN), (-0.02, 0.0, OPEN), (-0.02, -0.01, HARMS)]
)
def test_a_bound_at_the_margin_does_not_rule_it_out(low, high, words):
    assert judge(made(low, high, inset=0)).words == words


@pytest.mark.parametrize(("low", "high"), [(-0.03, -0.012), (0.002, 0.03), (-0.03, 0.03)])
def test_few_patients_are_not_enough_whatever_they_show(low, high):
    found = judge(made(low, high, patients=14))
    assert found.words == "not enough data"
    assert "14 patients are fewer than 15" in found.reason
    assert judge(made(low, high, patients=15)).words != "not enough data"


def test_without_an_interval_there_is_not_enough_data():
    found = judge(Estimate(0.02, patients=20, cases=40))
    assert found.words == "not enough data"
    assert "no interval" in found.reason


def test_a_table_of_verdicts_knows_which_metrics_are_errors():
    estimates = {
        Contrast("ssim", "ESPCN", "bicubic", "tumour"): made(-0.03, -0.012),
        Contrast("mse", "ESPCN", "bicubic", "tumour"): made(-0.03, -0.012),
    }
    found = verdicts(estimates, margins={"ssim": 0.01, "mse": 0.02})
    assert found[["metric", "words", "margin"]].values.tolist() == [
        *(["ssim", HARMS, 0.01], ["mse", SAFE, 0.02])
    ]
    assert {"method", "value", "low", "high", "patients", "cases", "bound"} <= set(found)
    with pytest.raises(ValueError, match=r"no margin for 'mse'; there are \['ssim'\]"):
        verdicts(estimates, margins={"ssim": 0.01})
    with pytest.raises(ValueError, match="no estimate"):
        verdicts({}, margins={})


@pytest.mark.parametrize("margin", [0, -0.01, np.nan, np.inf])
def test_a_margin_is_a_positive_number(margin):
    with pytest.raises(ValueError, match="margin must be a positive number"):
        judge(made(-0.1, 0.1), margin=margin)


def test_refuses_an_estimate_without_a_90_percent_interval():
    with pytest.raises(ValueError, match="give low90 and high90"):
        judge(Estimate(0.0, -0.1, 0.1, p=1.0, patients=30, cases=90))


def test_a_method_at_the_margin_is_called_safe_in_one_of_twenty_studies(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    samples = np.random.default_rng(0).normal(-0.01, 0.02, (1500, 30))
    words = [judge(e).words for e in bootstrap.estimates(list(samples), seed=0)]
    assert 0.035 <= words.count(SAFE) / 1500 <= 0.067


def test_a_bound_counts_only_with_25_times_the_squared_skewness_of_patients():
    safe = made(-0.004, 0.004, patients=100)
    for skewness, words in ((-1.9, SAFE), (-2.1, "not enough data"), (2.1, SAFE)):  # 4 * 25 = 100
        assert judge(replace(safe, skewness=skewness)).words == words
    turned = judge(replace(safe, skewness=2.1), higher_is_better=False)
    assert turned.words == "not enough data"
    assert "skewness +2.1): 111 patients would be needed, there are 100" in turned.reason
    assert judge(replace(made(-0.03, -0.012), skewness=-9)).words == HARMS  # harm needs no bound


@pytest.mark.slow
def test_skewed_losses_at_the_margin_are_called_safe_in_one_of_twenty_studies(monkeypatch):
    """11 % of studies of 15 patients before skewness counted (`benchmarks/intervals.py`)."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    losses = np.random.default_rng(0).lognormal(0, 1, (1500, 15))
    samples = -0.01 - 0.01 * (losses - np.exp(0.5))
    words = [judge(e).words for e in bootstrap.estimates(list(samples), seed=0)]
    assert words.count(SAFE) / 1500 <= 0.06


def cases(of_patient, per_patient=2):
    """Changes of so many cases of each patient, of which the patient's mean is given."""
    values = np.repeat(of_patient, per_patient) + np.tile([0.001, -0.001], len(of_patient))
    index = pd.MultiIndex.from_tuples(
        [(f"P{i // per_patient}", f"c{i}") for i in range(len(values))], names=["patient", "id"]
    )
    return pd.Series(values, index)


def test_equivalent_is_said_where_the_90_percent_interval_lies_within_the_margin():
    changes = cases(np.random.default_rng(0).normal(0, 0.003, 30))
    found = equivalence(changes, margin=0.01, seed=0)
    (mean,) = bootstrap.estimates([changes.groupby("patient").mean().to_numpy()], seed=0)
    assert found.words == "equivalent within ±0.01"
    assert found.bound == max(-mean.low90, mean.high90)
    assert (found.worst, found.worst_id) == (
        changes[changes.abs().idxmax()],
        changes.abs().idxmax()[1],
    )
    assert (found.estimate.cases, found.estimate.patients) == (60, 30)
    assert found.worst_id in str(found)
    just = found.bound
    assert equivalence(changes, margin=just, seed=0).words == "not shown"
    assert equivalence(changes, margin=1.01 * just, seed=0).words.startswith("equivalent")


def test_equivalence_needs_patients_that_vary_and_are_not_skewed():
    normal = np.random.default_rng(0).normal(0, 0.003, 30)
    few = equivalence(cases(normal[:14]), margin=0.01, seed=0)
    assert (few.words, few.reason) == ("not enough data", "14 patients are fewer than 15.")
    equal = equivalence(cases(np.zeros(30)), margin=0.01, seed=0)
    assert equal.words == "not enough data"
    assert "all patients have the same value" in equal.reason
    for sign in (-1, 1):
        skewed = sign * np.r_[np.linspace(0, 0.001, 29), 0.02]
        assert "skewness" in equivalence(cases(skewed), margin=0.02, seed=0).reason


def test_equivalence_counts_what_was_not_measured_and_refuses_what_it_cannot_test():
    changes = cases(np.random.default_rng(0).normal(0, 0.003, 30))
    changes.iloc[3] = np.nan
    assert equivalence(changes, margin=0.01, seed=0).estimate.skipped == 1
    with pytest.raises(ValueError, match="margin must be a positive number"):
        equivalence(changes, margin=0, seed=0)
    with pytest.raises(ValueError, match="indexed by patient and id"):
        equivalence(changes.reset_index(drop=True), margin=0.01, seed=0)
    with pytest.raises(ValueError, match="no case has a difference"):
        equivalence(changes * np.nan, margin=0.01, seed=0)


def test_a_change_at_the_margin_is_called_equivalent_in_one_of_twenty_studies(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    samples = np.random.default_rng(0).normal(0.01, 0.02, (60, 40))
    said = [equivalence(cases(s), margin=0.01, seed=0).words for s in samples]
    assert np.mean([words.startswith("equivalent") for words in said]) <= 0.12


def pilot(values):
    """Differences of one case a patient."""
    index = pd.MultiIndex.from_arrays([range(len(values))] * 2, names=["patient", "id"])
    return pd.Series(np.asarray(values, float), index)


def test_a_plan_has_the_fewest_patients_with_the_power():
    values = np.random.default_rng(0).normal(0, 0.02, 30)
    plan = patients_needed(pilot(values), margin=0.01, gain=0.001)
    sd = values.std(ddof=1)
    of_bound = ttest_power(0.011 / sd, plan.patients, 0.05, alternative="larger")
    assert 0.8 <= plan.power < of_bound < 1.08 * plan.power  # some look skewed by chance
    more = patients_needed(pilot(values), margin=0.01, gain=0.001, power=plan.power + 1e-6)
    assert more.patients == plan.patients + 1
    assert plan.patients < plan.patients_careful < 2 * plan.patients
    assert (plan.pilot, plan.reason) == (30, "the scatter of patients")


def test_a_plan_takes_what_a_verdict_needs():
    few = patients_needed(pilot(np.linspace(-1e-3, 1e-3, 20)), margin=0.01)
    assert (few.patients, few.reason) == (15, "the least that a verdict needs")
    losses = -0.002 * np.random.default_rng(0).lognormal(0, 1, 30)
    skewed = patients_needed(pilot(losses), margin=0.05)
    assert skewed.patients > 25 * pd.Series(losses).skew() ** 2 > 15
    assert skewed.reason == "a few patients lose much more than the rest"


def test_the_power_counts_studies_that_look_too_skewed_by_chance():
    """One in eleven studies of 15 normal patients does."""
    few = patients_needed(pilot(np.linspace(-1e-3, 1e-3, 20)), margin=0.01)
    limit = np.sqrt(15 / 25)
    samples = np.random.default_rng(1).normal(size=(20000, 15))
    calm = np.mean(stats.skew(samples, axis=1, bias=False) >= -limit)
    assert few.power == pytest.approx(calm, abs=0.012)
    assert 0.88 < few.power < 0.93
    assert (
        patients_needed(pilot(np.linspace(-1e-3, 1e-3, 20)), margin=0.01, power=0.95).patients > 15
    )


def test_planned_studies_succeed_as_often_as_planned():
    plan = patients_needed(pilot(np.random.default_rng(0).normal(0, 0.02, 30)), margin=0.01)
    rng, studies = np.random.default_rng(1), 400
    found = bootstrap.estimates(list(rng.normal(0, plan.sd, (studies, plan.patients))), seed=0)
    won = np.mean([non_inferiority(e, margin=0.01).words == SAFE for e in found])
    assert won == pytest.approx(plan.power, abs=0.06)  # 0.03 with 1 000, benchmarks/intervals.py


@pytest.mark.parametrize(
    ("values", "changes", "says"),
    [
        (range(7), {}, "needs 8 patients"),
        ([1] * 20, {}, "that differ"),
        (range(20), {"gain": -0.01}, "above -0.01"),
        (range(20), {"power": 1.2}, "power"),
        ([np.nan] * 20, {}, "no case has a difference"),
    ],
)
def test_a_plan_refuses_what_it_cannot_use(values, changes, says):
    with pytest.raises(ValueError, match=says):
        patients_needed(pilot(values), margin=0.01, **changes)
