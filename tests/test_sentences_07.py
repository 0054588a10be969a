"""The computed sentences of notebook 07 read rightly whichever network is best."""

from types import SimpleNamespace

import pytest

from medsr_lib.assess import sentences, statistics
from medsr_lib.assess.statistics import Estimate
from medsr_lib.series import notebook as notebooks

GAIN = Estimate(0.5, 0.2, 0.8, p=0.01, cases=32, patients=16, seeds=3)
LOSS = Estimate(-0.5, -0.8, -0.2, p=0.01, cases=32, patients=16, seeds=3)
OPEN = Estimate(0.1, -0.2, 0.4, p=0.4, cases=32, patients=16, seeds=3)


def ran(text, **names):
    """What the cell of notebook 07 that holds a text leaves behind, given a run's names."""
    (notebook,) = notebooks.find(["07"])
    (source,) = [cell.source for cell in notebook.code if text in cell.source]
    given = {"statistics": statistics, "sentences": sentences, "scale": 4, **names}
    exec(source, given)
    return SimpleNamespace(**given)


@pytest.mark.parametrize(
    ("lead", "says"),
    [
        (GAIN, "Training on blur is better there."),
        (LOSS, "Even there, training on kspace is better."),
        (OPEN, "No difference is shown: the interval holds 0."),
    ],
)
def test_it_says_whether_the_network_that_was_trained_for_it_is_best(capsys, lead, says):
    ran("in leads.items():", leads={("blur", "kspace"): lead}, runs="3 trainings")
    text = capsys.readouterr().out
    assert text.startswith("On blur, trained on blur less trained on kspace: ")
    assert "dB [" in text
    assert text.endswith(f"n = 16 patients, 3 trainings each. {says}\n")


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (LOSS, "loses with 2 % in LR (−0.50 dB [−0.80, −0.20])"),
        (OPEN, "is not shown to gain or lose with 2 % in LR (+0.10 dB [−0.20, +0.40])"),
    ],
)
def test_the_answer_says_what_noise_does_to_a_network_trained_without(capsys, last, says):
    answer = ran(
        "answer = (",
        gains={("bicubic", "bicubic"): GAIN, ("noisy", "bicubic"): last},
        noisy={"bicubic": "no noise", "noisy": "2 %"},
        runs="3 trainings",
    ).answer
    assert capsys.readouterr().out == f"{answer}\n"
    assert "gains with no noise in LR (+0.50 dB [+0.20, +0.80]); " in answer
    assert says in answer
    assert answer.endswith("bicubic ×4, n = 16 patients, 3 trainings.")
