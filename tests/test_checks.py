import numpy as np
import pandas as pd
import pytest

from medsr_lib import checks


@pytest.mark.parametrize("given", [[1, 0], [True, False], [1.0, 0.0], pd.array([True, False])])
def test_true_and_false_in_any_dress(given):
    assert checks.binary("positive", given).tolist() == [True, False]
    assert checks.binary("positive", given).dtype == bool


@pytest.mark.parametrize("bad", [np.nan, 0.4, 2, -1, "x", "1", None, pd.NA])
def test_all_else_is_neither(bad):
    with pytest.raises(ValueError, match=r"positive must be true or false \(1 or 0\), got"):
        checks.binary("positive", [True, bad])
    with pytest.raises(ValueError, match="positive must be true or false"):
        checks.binary("positive", pd.Series([True, bad]))


def test_shapes_stay():
    assert checks.binary("mask", np.eye(2)).tolist() == [[True, False], [False, True]]
    assert checks.finite("x", [[1, 2]]).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([1, np.nan, np.inf], r"x must be finite, but hold NaN or infinite values \(2 of 3\)"),
        (["a"], r"x must be numbers, got \['a'\]"),
        (None, "x must be finite"),
    ],
)
def test_refuses_what_is_not_finite(given, reason):
    with pytest.raises(ValueError, match=reason):
        checks.finite("x", given)
