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


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_make(value):
    checks.whole("steps", value, least=3)


@pytest.mark.parametrize("bad", [2, 3.0, True, None, "3", np.nan, np.bool_(True)])
def test_what_is_no_count(bad):
    with pytest.raises(ValueError, match="steps must be a whole number of at least 3, got"):
        checks.whole("steps", bad, least=3)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, None, "1", True, [1, 2], 1j])
def test_what_is_not_positive(bad):
    with pytest.raises(ValueError, match="margin must be a positive number, got"):
        checks.positive("margin", bad)


@pytest.mark.parametrize("bad", [95, 1, 0.0, -0.5, np.nan, None, "0.95"])
def test_what_is_no_share(bad):
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, such as 0\.95 for 95 %"):
        checks.share("level", bad)


def test_tables_without_a_column_or_with_text_in_place_of_numbers():
    table = pd.DataFrame({"id": ["a"], "ssim": [0.5], "psnr": ["31"]})
    checks.columns(table, "id", numbers=["ssim"])
    with pytest.raises(ValueError, match=r"lacks the columns \['fold'\]; it has \['id', 'ssim"):
        checks.columns(table, "id", "fold")
    with pytest.raises(ValueError, match=r"no metric 'psnr' in the table; its numbers are \['ssim"):
        checks.columns(table, numbers=["psnr"])
    with pytest.raises(TypeError, match=r"expected a table \(pandas DataFrame\), got NoneType"):
        checks.columns(None)


def test_groups_are_named_one_by_one():
    assert checks.groups("patients", ["b", "a"], n=2).tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="patients must name every case, but 1 of 2"):
        checks.groups("patients", ["b", float("nan")], n=2)
    with pytest.raises(ValueError, match=r"patients must have one length with the rest, 2, got \("):
        checks.groups("patients", None, n=2)


def test_shapes_stay():
    assert checks.binary("mask", np.eye(2)).tolist() == [[True, False], [False, True]]
    assert checks.finite("x", [[1, 2]]).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([1, np.nan, np.inf], r"x must be finite, but hold NaN or infinite values \(2 of 3\)"),
        (["a"], r"x must be numbers, got \['a'\]"),
        (None, "x must be finite"),
        ([1j], "x must be finite"),
    ],
)
def test_refuses_what_is_not_finite(given, reason):
    with pytest.raises(ValueError, match=reason):
        checks.finite("x", given)
