import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.assess.decisions import guess_class, traces


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


def test_a_class_that_the_files_reveal_is_found_out(files):
    found = guess_class(**files, seed=0)
    assert 0.8 < found.auc.value < 0.95
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.single["bytes"] > 0.8 > 0.7 > found.single["width"]
    assert (found.auc.cases, found.auc.patients) == (120, 60)


def test_numbers_that_reveal_nothing_are_near_a_half(files):
    found = guess_class(**files | {"columns": files["columns"][["width"]]}, seed=0)
    assert found.auc.low < 0.5
    assert found.auc.value < 0.65


def test_files_that_reveal_all_have_an_auc_of_1(files):
    quality = pd.DataFrame({"quality": np.where(files["positive"], 75, 96)})
    found = guess_class(**files | {"columns": quality}, seed=0).auc
    assert (found.value, found.low, found.high) == (1, 0.85, 1)  # the rule of three, 20 patients


def test_the_same_seed_gives_the_same_numbers(files):
    first, again, other = (guess_class(**files, seed=seed).auc.low for seed in (1, 1, 2))
    assert first == again != other


def test_columns_that_are_not_positive_go_in_as_they_are(files):
    shifted = guess_class(**files | {"columns": files["columns"] - 900}, seed=0)
    assert shifted.single["width"] == pytest.approx(guess_class(**files, seed=0).single["width"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positive": np.ones(3)}, "column 'bytes' and positive must have one length"),
        ({"columns": pd.DataFrame({"a": ["x"] * 120})}, "columns must be numbers"),
        ({"columns": pd.DataFrame({"a": [np.nan] * 120})}, "column 'a' must be finite"),
        ({"positive": np.arange(120) < 4}, "5 folds need .* got 2 positive"),
    ],
)
def test_refuses(files, change, reason):
    with pytest.raises(ValueError, match=reason):
        guess_class(**files | change, seed=0)


def test_traces_see_the_blocks_of_jpeg_and_blur():
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    blocks = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    blocks = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    found = traces(torch.cat([noise, 0.5 + 0.1 * noise + 0.3 * blocks, smooth]).clamp(0, 1))
    assert found["blocks"][0] == pytest.approx(1, abs=0.1)
    assert found["blocks"][1] > 2
    assert found["fine"][2] < 0.7 * found["fine"][0]
