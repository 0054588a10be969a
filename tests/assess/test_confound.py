import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medsr_lib.assess import confound as c


@pytest.fixture
def files():
    """120 files of 60 patients: the class shows in `bytes`, not in `width`."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    positive = patients % 3 > 0
    columns = pd.DataFrame(
        {"bytes": np.exp(rng.normal(12 - positive, 0.6)), "width": rng.normal(900, 90, 120)}
    )
    return {"columns": columns, "positive": positive, "patients": patients}


def test_a_confounded_set_is_found_out(files):
    found = c.confound(**files, seed=0)
    assert 0.8 < found.auc < 0.95
    assert found.low < found.auc < found.high
    assert found.single["bytes"] > 0.8 > 0.7 > found.single["width"]
    assert (found.n, found.patients) == (120, 60)
    assert "120 images of 60 patients; alone: bytes 0." in repr(found)


def test_numbers_that_tell_nothing_are_near_a_half(files):
    found = c.confound(**{**files, "columns": files["columns"][["width"]]}, seed=0)
    assert found.low < 0.5
    assert found.auc < 0.65


def test_files_that_tell_all_have_an_auc_of_1(files):
    quality = pd.DataFrame({"quality": np.where(files["positive"], 75, 96)})
    found = c.confound(**{**files, "columns": quality}, seed=0)
    assert (found.auc, found.low, found.high) == (1, 1, 1)


def test_the_same_seed_gives_the_same_numbers(files):
    assert c.confound(**files, seed=1) == c.confound(**files, seed=1)
    assert c.confound(**files, seed=1) != c.confound(**files, seed=2)


def test_columns_that_are_not_positive_go_in_as_they_are(files):
    shifted = files["columns"] - 900
    assert c.confound(**{**files, "columns": shifted}, seed=0).single["width"] == pytest.approx(
        c.confound(**files, seed=0).single["width"]
    )


@pytest.mark.parametrize("levels", [3, 1000])
def test_auc_is_scikit_learns(levels):
    rng = np.random.default_rng(levels)
    scores, truth = rng.integers(0, levels, 200), rng.random(200) < 0.3
    assert c.auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_auc_needs_both_classes():
    with pytest.raises(ValueError, match="both classes are needed, got 3 positive and 0"):
        c.auc([1, 2, 3], [True] * 3)


def test_interval_is_the_bootstrap_done_by_hand():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2)
    truth = patients % 2 == 0
    scores = np.round(truth + rng.normal(0, 1, 60), 1)
    found = c.auc_interval(scores, truth, patients, seed=0, resamples=4000)
    areas = []
    for _ in range(1000):
        drawn = rng.integers(0, 30, 30)
        rows = np.concatenate([np.flatnonzero(patients == p) for p in drawn])
        if 0 < truth[rows].sum() < len(rows):
            areas.append(c.auc(scores[rows], truth[rows]))
    np.testing.assert_allclose(found, np.quantile(areas, [0.025, 0.975]), atol=0.02)


def test_repeated_images_of_a_patient_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    scores = truth + rng.normal(0, 1, 40)
    once = c.auc_interval(scores, truth, np.arange(40), seed=0)
    often = c.auc_interval(
        np.repeat(scores, 9), np.repeat(truth, 9), np.repeat(np.arange(40), 9), seed=0
    )
    np.testing.assert_allclose(once, often, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positive": np.ones(3)}, "differ in length: 120, 3 and 120"),
        ({"columns": pd.DataFrame({"a": ["x"] * 120})}, "columns must be numbers"),
        ({"columns": pd.DataFrame({"a": [np.nan] * 120})}, "columns must be finite numbers"),
        ({"positive": np.arange(120) < 4}, "5 folds need .* got 2 that are positive"),
    ],
)
def test_refuses(files, change, reason):
    with pytest.raises(ValueError, match=reason):
        c.confound(**{**files, **change}, seed=0)
