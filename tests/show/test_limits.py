from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsr_lib.show import limits

WHICH = {"measure": "sharpness", "methods": ["bicubic", "SRGAN"]}


def agreement(sr, hr):
    """Limits 0.1 around the mean difference, their intervals 0.01 to either side."""
    bias = float(np.mean(sr - hr))
    ends = {"bias": bias, "lower": bias - 0.1, "upper": bias + 0.1}
    near = {
        f"{k}_{end}": v + d for k, v in ends.items() for end, d in (("low", -0.01), ("high", 0.01))
    }
    return SimpleNamespace(**ends, **near)


@pytest.fixture
def table():
    """Two slices of each of six patients; SRGAN is 0.2 too sharp, and one value is missing."""
    rows = [
        (i, f"p{i // 2}", method, "tumour", 0.5 + 0.01 * i + shift, 0.5 + 0.01 * i)
        for method, shift in (("HR", 0), ("bicubic", -0.1), ("SRGAN", 0.2))
        for i in range(12)
    ]
    columns = ["slice_id", "patient", "method", "region", "sharpness_sr", "sharpness_hr"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table["slice_id"].eq(3) & table["method"].eq("SRGAN"), "sharpness_sr"] = np.nan
    return table


def test_a_point_is_a_patient(table):
    axes = limits.bland_altman(table, **WHICH, limits=agreement).axes[0]
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], 0.455 + 0.02 * np.arange(6))
    np.testing.assert_allclose(points[:, 1], -0.1)


def test_bias_and_limits_are_lines_with_their_numbers(table):
    axes = limits.bland_altman(table, **WHICH, limits=agreement).axes[1]
    heights = sorted(line.get_ydata()[0] for line in axes.lines)
    np.testing.assert_allclose(heights, [0, 0.1, 0.2, 0.3])
    assert {"+0.30", "+0.20", "+0.10"} <= {text.get_text() for text in axes.texts}


def test_all_panels_share_their_axes(table):
    first, second = limits.bland_altman(table, **WHICH, limits=agreement).axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == second.get_xlim()


def test_coefficients_and_n_are_written(table, text_of):
    def ccc(sr, hr):
        return SimpleNamespace(value=0.9, low=0.812, high=-0.2)

    figure = limits.bland_altman(table, **WHICH, limits=agreement, coefficients={"CCC": ccc})
    text = text_of(figure)
    assert "n = 6 patients\nCCC 0.900 [0.812, −0.200]" in text
    assert "12 slices of 6 patients" in text
    assert "1 of 24 measurements" in text.replace("\n", " ")


def test_two_patients_have_points_and_no_limits(table, text_of):
    few = table[table["patient"].isin(["p0", "p5"])]
    figure = limits.bland_altman(few, **WHICH, limits=agreement)
    assert "n = 2 patients\ntoo few for limits (at least 3)" in text_of(figure)
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize("n", [1, 4, 5, 6])
def test_any_number_of_methods_has_a_panel_each(table, n):
    names = [f"network {i} of a long name that needs lines" for i in range(n)]
    one = table[table["method"].eq("bicubic")]
    many = pd.concat([one.assign(method=name) for name in names])
    figure = limits.bland_altman(many, measure="sharpness", methods=names, limits=agreement)
    assert sum(axes.axison for axes in figure.axes) == n


def test_what_is_missing_is_named(table):
    with pytest.raises(ValueError, match=r"lacks the columns \['mean_sr', 'mean_hr'\]"):
        limits.bland_altman(table, measure="mean", methods=["SRGAN"], limits=agreement)
    with pytest.raises(ValueError, match=r"unknown method \['ESPCN'\]"):
        limits.bland_altman(table, measure="sharpness", methods=["ESPCN"], limits=agreement)
    with pytest.raises(ValueError, match="no slice has sharpness_sr and sharpness_hr"):
        limits.bland_altman(table.assign(sharpness_sr=np.nan), **WHICH, limits=agreement)
