"""The sentences of notebook 07 read rightly whichever network is best."""

import pytest

from medsr_lib.assess import sentences
from medsr_lib.assess.statistics import Estimate

GAIN = Estimate(0.5, 0.2, 0.8, p=0.01, cases=32, patients=16, seeds=3)
LOSS = Estimate(-0.5, -0.8, -0.2, p=0.01, cases=32, patients=16, seeds=3)
OPEN = Estimate(0.1, -0.2, 0.4, p=0.4, cases=32, patients=16, seeds=3)
NONE = Estimate(0.1, float("nan"), float("nan"), cases=8, patients=4, seeds=3)


@pytest.mark.parametrize(
    ("lead", "says"),
    [
        (GAIN, "Training on blur is better there."),
        (LOSS, "Even there, training on kspace is better."),
        (OPEN, "No difference is shown: the interval holds 0."),
        (NONE, "There is not enough data for an interval."),
    ],
)
def test_it_says_whether_the_network_that_was_trained_for_it_is_best(lead, says):
    text = sentences.lead("blur", "kspace", lead, runs="3 trainings")
    assert text.startswith("On blur, trained on blur minus trained on kspace: ")
    assert text.endswith(f" patients, 3 trainings each. {says}")


@pytest.mark.parametrize(
    ("last", "says", "title"),
    [
        (LOSS, "loses with 2 % in LR (−0.50 dB [−0.80, −0.20])", "−0.5 dB with 2 %"),
        (OPEN, "is not shown to gain or lose with 2 % in LR (+0.10 dB", "+0.1 dB with 2 %"),
    ],
)
def test_the_answer_says_what_noise_does_to_a_network_trained_without(last, says, title):
    gains = {"no noise": GAIN, "2 %": last}
    answer = sentences.with_noise(gains, condition="bicubic ×4", runs="3 trainings")
    assert "gains with no noise in LR (+0.50 dB [+0.20, +0.80]); " in answer
    assert says in answer
    assert answer.endswith("bicubic ×4, n = 16 patients, 3 trainings.")
    assert sentences.on_noise(gains).endswith(title)


@pytest.mark.parametrize(("decibels", "how"), [(-1.25, "1.2 dB worse"), (0.5, "0.5 dB better")])
def test_a_mismatch_says_which_network_is_worse(decibels, how):
    assert f" restores this tumour {how} than one" in sentences.mismatch("blur", "kspace", decibels)


def test_without_noise_the_title_is_about_clean_lr_alone():
    title = sentences.on_noise({"no noise": GAIN})
    assert title == "A network trained on clean LR: gain +0.5 dB on clean LR"
