"""The computed sentences of notebooks 04 to 06 read rightly on runs with other results."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import sentences
from medsr_lib.assess.statistics import Contrast, Estimate

UP = Estimate(0.02, 0.01, 0.03, patients=16)
DOWN = Estimate(-0.02, -0.03, -0.01, patients=16)
OPEN = Estimate(0.001, -0.01, 0.012, patients=16)
BARE = Estimate(0.5, patients=1)


@pytest.mark.parametrize(
    ("of_erased", "said"),
    [
        (0.98, "No method reaches that: the best, linear, scores 0.920."),
        (0.91, "linear scores more; the best, linear, 0.920."),
        (0.85, "bicubic and linear score more; the best, linear, 0.920."),
    ],
)
def test_the_erased_tumour_is_compared_with_the_best_method(of_erased, said):
    methods = {"bicubic": 0.9, "linear": 0.92}
    text = sentences.erased(of_erased, pd.Series(methods), slices=32)
    assert text.endswith(said)
    assert f"SSIM {of_erased:.3f} (mean of 32 slices)" in text


@pytest.mark.parametrize(("masked", "said"), [(0.99, "is too good"), (0.7, "is another result")])
def test_the_trap_says_which_way_it_leads(masked, said):
    row = {"masked first": masked, "mean over the tumour": 0.88}
    row |= {"PSNR, masked first": 47.0, "PSNR of the tumour": 31.0}
    text = sentences.masked_first(row, method="ESPCN", slices=32)
    assert f"0.880 over the tumour, {masked:.3f} if masked first" in text
    assert "by +16.0 dB" in text
    assert text.endswith(f"{said}.")


def gains(bicubic, linear):
    """Of ESPCN over two baselines in the tumour, and over the first one in its parts."""
    found = {Contrast("ssim", "ESPCN", "bicubic", "tumour"): bicubic}
    found[Contrast("ssim", "ESPCN", "linear", "tumour")] = linear
    parts = {"core": DOWN, "rim": UP}
    found |= {Contrast("ssim", "ESPCN", "bicubic", part): e for part, e in parts.items()}
    return found | {Contrast("psnr", "ESPCN", "bicubic", "tumour"): UP}


@pytest.mark.parametrize(
    ("bicubic", "linear", "said"),
    [
        (UP, DOWN, "gains over bicubic: +0.0200 [+0.0100, +0.0300]; loses over linear: −0.0200"),
        (DOWN, OPEN, "loses over bicubic: −0.0200 [−0.0300, −0.0100]; neither gain nor loss is"),
        (BARE, UP, "neither gain nor loss is shown over bicubic: +0.5000 [no interval]; gains"),
    ],
)
def test_gains_and_losses_are_called_so_only_where_the_interval_shows_it(bicubic, linear, said):
    text = sentences.gained(gains(bicubic, linear), method="ESPCN", region="tumour")
    assert said in text
    assert f"(n = {bicubic.patients} patients)" in text
    assert "Tumour, inside (core), over bicubic: −0.0200" in text


def test_a_table_of_gains_names_regions_and_patients():
    table = sentences.gains_by_region(gains(UP, DOWN), metric="ssim", baseline="bicubic")
    assert list(table.index) == ["tumour", "tumour, inside (core)", "tumour, border (rim)"]
    cell = "+0.020 [+0.010,\xa0+0.030]", "−0.020 [−0.030,\xa0−0.010]"
    assert tuple(table["ESPCN"])[:2] == cell
    assert set(table["patients"]) == {16}


VERDICT = {"method": "ESPCN", "metric": "ssim", "patients": 16, "band_low": -0.01, "band_high": 0.0}
VERDICT |= {"contrast": 0.004, "contrast_low": -0.002, "contrast_high": 0.01}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "not distinguishable from a uniform change"}, "does not prove that it treats"),
        ({"verdict": "treats the tumour worse than a uniform change"}, "So it treats the tumour w"),
        (
            {"verdict": "treats the tumour better than a uniform change"},
            "So it treats the tumour b",
        ),
        ({"verdict": "too few patients", "patients": 3}, "No verdict: too few patients."),
        ({"verdict": "no band: no case", "band_low": np.nan}, "No verdict: no band: no case."),
        ({"verdict": "too few patients", "contrast_low": np.nan}, "+0.0040 [no interval] (n ="),
    ],
)
def test_the_contrast_ends_with_its_verdict(change, said):
    text = sentences.contrast(VERDICT | change)
    assert said in text
    assert "nan" not in text
    assert ("differently" in text) == ("distinguishable" in change["verdict"])
    short = sentences.answer(VERDICT | change)
    assert ("Nothing shows" in short) == ("distinguishable" in change["verdict"])
    assert ("no answer" in short) == ("No verdict" in text or change["verdict"].startswith("too"))


def test_verdicts_are_grouped_by_their_words():
    rows = [("A", "ssim", "harms", 0.01), ("B", "ssim", "no harm shown", 0.01)]
    rows += [("A", "psnr", "not enough data", 0.5), ("B", "psnr", "not enough data", 0.5)]
    table = pd.DataFrame(rows, columns=["method", "metric", "words", "margin"])
    first, second = sentences.verdicts(table.assign(patients=16), place="tumour").splitlines()
    assert first == "SSIM of the tumour, margin 0.01, n = 16 patients: harms: A; no harm shown: B."
    assert second.endswith("margin 0.5 dB, n = 16 patients: not enough data: A and B.")


@pytest.mark.parametrize(
    ("estimates", "said"),
    [
        ({"A": DOWN, "B": DOWN}, "the border is softer: A −2 % [−3, −1] and B −2 % [−3, −1]."),
        ({"A": UP, "B": OPEN}, "sharper: A +2 % [+1, +3]; no difference shown: B 0 % [−1, +1]."),
    ],
)
def test_changes_have_a_direction_only_where_it_is_shown(estimates, said):
    assert sentences.changes(estimates, "the border", "softer", "sharper", 100, " %").endswith(said)
    names = sentences.changes(estimates, "the border", "softer", "sharper")
    assert "%" not in names
    assert names.startswith("Against HR (n = 16 patients), the border is s")


def test_where_no_change_is_shown_the_sentence_says_just_that():
    text = sentences.changes({"A": OPEN, "B": OPEN}, "the border", "softer", "sharper")
    assert text == "Against HR (n = 16 patients), no difference in the border is shown: A and B."


def test_agreement_names_the_closest_and_the_farthest():
    rows = {"A": (0.9, -0.01, 0.002), "B": (0.5, -0.03, 0.01)}
    table = pd.DataFrame(rows, index=["ccc", "lower", "upper"]).T.assign(patients=16)
    text = sentences.agreement(table, measure="border")
    assert "A, CCC 0.90, 95 % of patients within −0.0100 to +0.0020 of HR" in text
    assert text.endswith("Farthest: B, CCC 0.50.")
    assert "too few patients" in sentences.agreement(table.assign(ccc=np.nan), measure="border")


@pytest.mark.parametrize(
    ("estimates", "said"),
    [
        ({"A": DOWN, "B": OPEN}, "(n = 16 patients): none. No more is shown for: A and B."),
        ({"A": UP, "B": OPEN}, "(n = 16 patients): A (+0.02 [+0.01, +0.03]). No more is shown for"),
    ],
)
def test_invention_is_named_only_where_it_exceeds_the_reference(estimates, said):
    text = sentences.invented(estimates, zero="linear")
    assert said in text
    assert "More than linear, which cannot invent" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("equivalent within ±0.01", "(n = 16 patients): shown: A and B. Largest change of one"),
        ("not shown", "(n = 16 patients): shown: A; not shown: B. Largest change of one slice"),
        ("not enough data", "shown: A; not enough data: B. Largest change of one slice: −0.030"),
    ],
)
def test_nothing_painted_in_is_said_only_where_a_test_shows_it(words, said):
    a = SimpleNamespace(words="equivalent within ±0.01", estimate=UP, worst=0.01, worst_id="1")
    b = SimpleNamespace(words=words, estimate=replace(UP), worst=-0.03, worst_id="7")
    text = sentences.painted({"A": a, "B": b}, margin=0.01)
    assert said in text
    assert text.endswith("−0.030 (slice 7, B).")


def differences_in_d(p, values):
    """Of one lesion, by two methods."""
    table = pd.DataFrame({"method": ["ESPCN", "SRGAN"], "value": values, "p_adjusted": p})
    table = table.assign(baseline="bicubic", diameter=4, contrast=0.1, patients=16)
    return table.assign(low=table["value"] - 0.01, high=table["value"] + 0.01)


@pytest.mark.parametrize(
    ("p", "values", "said"),
    [
        ([0.01, 0.6], [0.1, 0.02], "1 of 2 shown after Holm's correction.\nEasier to detect: E"),
        ([0.01, 0.6], [0.1, 0.02], "(4 pixels, contrast 0.1): +0.100 [+0.090, +0.110].\nHarder"),
        ([0.01, 0.6], [-0.1, 0.02], "Easier to detect: none.\nHarder to detect: ESPCN (4 pixels"),
        ([0.6, 0.6], [0.1, 0.02], "0 of 2 shown after Holm's correction.\nEasier to detect: none."),
        ([np.nan, np.nan], [0.1, 0.02], "none is tested, since there are too few patients."),
    ],
)
def test_a_lesion_is_easier_or_harder_to_detect_only_where_the_test_shows_it(p, values, said):
    text = sentences.detected(differences_in_d(p, values))
    assert said in text
    assert text.startswith("Differences in d' from bicubic (n = 16 patients):")


@pytest.mark.parametrize(
    ("changed", "apart", "said"),
    [
        (
            {"bicubic": 9.2, "linear": 5},
            [0, 3, 5],
            "; more decisions change by bicubic (9.2), no more change by linear (5.0).",
        ),
        (
            {"bicubic": 1, "linear": 0},
            [0, 3, 5],
            "HR images; no more change by bicubic (1.0) and linear (0.0).",
        ),
        (
            {"bicubic": 9},
            [3],
            "differ on 3 of 32 HR images; more decisions change by bicubic (9.0).",
        ),
        ({"bicubic": 9}, [], "bicubic (9.0); one training shows no zero."),
    ],
)
def test_flips_are_compared_with_those_between_two_trainings(changed, apart, said):
    text = sentences.flips(changed, apart, of="the classifier", images=32)
    assert said in text
    assert not apart or text.startswith("Two trainings of the classifier differ on")
