import numpy as np
import pytest

from medsr_lib.assess.statistics import noninferiority as verdicts
from medsr_lib.assess.statistics.bootstrap import infer
from medsr_lib.assess.statistics.contrasts import Estimate
from medsr_lib.assess.statistics.noninferiority import verdict

SAFE, HARMS, OPEN = "not inferior within margin", "harms", "no harm shown"


def made(low, high, patients=40, inset=0.001):
    """An estimate with a 90 % interval that is so much shorter at both ends."""
    ends = {"low": low, "high": high, "low90": low + inset, "high90": high - inset}
    return Estimate(value=(low + high) / 2, p=0.5, patients=patients, slices=400, **ends)


def judge(estimate, **changes):
    return verdict(estimate, **({"margin": 0.01, "method": "ESPCN", "metric": "ssim"} | changes))


BRANCHES = {
    "worse by more than the margin": (-0.03, -0.012, HARMS, "worse by more than the margin"),
    "worse, perhaps by more": (-0.03, -0.002, HARMS, "by more than the margin is open"),
    "worse, but by less": (-0.008, -0.002, SAFE, "worse, but by less than the margin"),
    "better": (0.002, 0.03, SAFE, "It is better"),
    "no difference": (-0.004, 0.004, SAFE, "loss as large as the margin is ruled out"),
    "nothing ruled out": (-0.03, 0.03, OPEN, "not ruled out either"),
}


@pytest.mark.parametrize(("low", "high", "words", "reason"), BRANCHES.values(), ids=BRANCHES)
def test_every_line_of_the_rule(low, high, words, reason):
    found = judge(made(low, high))
    assert found.words == words
    assert reason in found.reason


@pytest.mark.parametrize(("low", "high", "words", "reason"), BRANCHES.values(), ids=BRANCHES)
def test_where_lower_is_better_the_same_rule_holds_turned(low, high, words, reason):
    found = judge(made(-high, -low), metric="mse", higher_is_better=False)
    assert (found.words, found.reason) == (words, judge(made(low, high)).reason)
    assert (found.low, found.high) == (-high, -low)


def test_the_bound_is_the_one_sided_one():
    found = judge(made(-0.0105, 0.004))  # 95 % interval beyond the margin, 90 % not
    assert found.words == SAFE
    assert found.bound == pytest.approx(-0.0095)
    assert judge(made(-0.0115, 0.004)).words == OPEN


def test_a_bound_at_the_margin_does_not_rule_it_out():
    assert judge(made(-0.01, 0.01, inset=0)).words == OPEN
    assert judge(made(-0.02, 0.0, inset=0)).words == OPEN
    assert judge(made(-0.02, -0.01, inset=0)).words == HARMS


@pytest.mark.parametrize(("low", "high"), [(-0.03, -0.012), (0.002, 0.03), (-0.03, 0.03)])
def test_few_patients_are_not_enough_whatever_they_show(low, high):
    found = judge(made(low, high, patients=14))
    assert found.words == "not enough data"
    assert "14 patients are fewer than 15" in found.reason
    assert judge(made(low, high, patients=14), minimum=14).words != "not enough data"


def test_without_an_interval_there_is_not_enough_data():
    found = judge(Estimate(0.02, np.nan, np.nan, np.nan, patients=1, slices=4), minimum=1)
    assert found.words == "not enough data"
    assert "no interval" in found.reason


def test_a_sentence_with_numbers():
    assert str(judge(made(-0.004, 0.006))) == (
        "ESPCN, ssim: not inferior within margin. A loss as large as the margin is ruled out. "
        "Difference +0.001 [-0.004, +0.006], margin 0.01 (n = 40 patients, 400 slices)."
    )


def test_table_of_verdicts():
    found = verdicts.table([judge(made(-0.004, 0.006)), judge(made(-0.03, 0.03), method="SRGAN")])
    assert found["method"].tolist() == ["ESPCN", "SRGAN"]
    assert found["words"].tolist() == [SAFE, OPEN]
    assert {"value", "low", "high", "margin", "patients", "slices", "bound"} <= set(found)
    with pytest.raises(ValueError, match="no verdict"):
        verdicts.table([])


def test_refuses_an_error_taken_as_better_when_higher():
    with pytest.raises(ValueError, match="lower mse is better; give higher_is_better=False"):
        judge(made(-0.1, 0.1), metric="mse")


def test_refuses_a_margin_that_is_none():
    with pytest.raises(ValueError, match="margin must be a positive number"):
        judge(made(-0.1, 0.1), margin=0)


def test_a_method_at_the_margin_is_called_safe_in_one_of_twenty_studies():
    rng = np.random.default_rng(0)
    samples = list(rng.normal(-0.01, 0.02, (1500, 30)))
    words = [
        judge(Estimate(value=0, patients=30, slices=30, **numbers)).words
        for numbers in infer(samples, seed=0, resamples=1000)
    ]
    assert 0.035 <= words.count(SAFE) / 1500 <= 0.067
