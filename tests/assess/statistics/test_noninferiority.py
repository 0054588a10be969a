import numpy as np
import pytest

from medsr_lib.assess.statistics import Contrast, Estimate, bootstrap, non_inferiority, verdicts

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
