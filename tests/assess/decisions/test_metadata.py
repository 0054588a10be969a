import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess.decisions import metadata as c


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
