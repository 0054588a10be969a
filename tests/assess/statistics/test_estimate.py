import dataclasses

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from medsr_lib.assess.statistics import (
    Contrast,
    Estimate,
    adjust,
    as_table,
    direction,
    footnote,
)

P_VALUES = [0.04, 0.001, 0.03, 0.9, 0.012, 0.012]


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.8, 0.49, 0.943, patients=10), "0.80 [0.49, 0.94] (n = 10 patients)"),
        (
            Estimate(1e-6, -2e-6, 4e-6, p=0.5, cases=9, patients=3, skipped=1),
            "+0.0000010 [−0.0000020, +0.0000040], p = 0.5 (n = 3 patients, 9 cases, 1 skipped)",
        ),
        (Estimate(0.25), "0.2500 [no interval]"),
        (Estimate(0.5, 0.5, 0.5, p=1.0), "+0.5000 [+0.5000, +0.5000], p = 1"),
        (Estimate(12.3, -40, 60, p=0.3), "+12 [−40, +60], p = 0.3"),
        (
            Estimate(0.2, 0.1, 0.3, patients=9, seeds=3, seed_low=0.15, seed_high=0.26),
            "0.20 [0.10, 0.30] (n = 9 patients, 3 trainings from 0.15 to 0.26)",
        ),
        (
            Estimate(0.2, 0.1, 0.3, patients=9, case_low=0.12, case_high=0.28),
            "0.20 [0.10, 0.30] (n = 9 patients); [0.12, 0.28] if every case were a patient",
        ),
    ],
    ids=["a share", "a small difference", "bare", "sure", "unsure", "trainings", "runs"],
)
def test_an_estimate_reads_well(estimate, text):
    assert str(estimate) == text


@pytest.mark.parametrize(
    ("ends", "sign"), [((0.1, 0.2), 1), ((-0.2, -0.1), -1), ((-0.1, 0.2), 0), ((np.nan, np.nan), 0)]
)
def test_the_sign_is_that_of_the_whole_interval(ends, sign):
    assert Estimate(0.15, *ends).sign == sign


def test_an_estimate_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Estimate(1.0).value = 2


def test_a_table_has_columns_of_the_contrast_or_the_name():
    found = {Contrast("ssim", "ESPCN", "bicubic", "tumour"): Estimate(0.1, p=0.01, patients=3)}
    table = as_table(found | {Contrast("psnr", "ESPCN", "bicubic", "rim"): Estimate(2, p=0.04)})
    assert table["metric"].tolist() == ["ssim", "psnr"]
    assert table["p_adjusted"].tolist() == pytest.approx([0.02, 0.04])
    assert table.loc[0, ["value", "patients"]].tolist() == [0.1, 3]
    assert as_table({"AUC": Estimate(0.9)})["name"].tolist() == ["AUC"]
    with pytest.raises(ValueError, match="no estimate"):
        as_table({})


@pytest.mark.parametrize(("method", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_adjusted_p_is_statsmodels_and_nan_counts_as_none(method, theirs):
    expected = multipletests(P_VALUES, method=theirs)[1]
    np.testing.assert_allclose(
        adjust([np.nan, *P_VALUES], method=method), [np.nan, *expected], rtol=1e-12
    )
    assert np.isnan(adjust([np.nan], method=method)).all()


def test_adjusted_p_by_hand():
    np.testing.assert_allclose(adjust([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(adjust([0.01, 0.04, 0.03], method="bh"), [0.03, 0.04, 0.04])
    assert adjust([]).size == 0


def test_adjust_refuses():
    with pytest.raises(ValueError, match="'holm' or 'bh', got 'bonferroni'"):
        adjust([0.1], method="bonferroni")
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.1, 1.2])


def test_one_footnote_says_what_is_missing():
    whole, few = Estimate(0.1, 0, 0.2, p=0.1, patients=9), Estimate(0.1, 0, 0.2, patients=5)
    assert footnote([whole]) == ""
    assert footnote([whole, few, few]).startswith("No p is given below 8 patients")
    assert "No interval" not in footnote({"a": few})
    assert footnote([Estimate(0.1, patients=9)]).startswith("No interval is given")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "higher"),
        (-0.3, -0.1, "lower"),
        (-0.1, 0.3, "No difference is shown: the interval holds 0."),
        (np.nan, np.nan, "There is not enough data for an interval."),
    ],
)
def test_an_interval_says_its_direction_or_that_it_has_none(low, high, words):
    assert direction(Estimate(0.2, low, high), above="higher", below="lower") == words
