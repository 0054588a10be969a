from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from medsr_lib import show
from medsr_lib.show.style import METHOD_COLOURS

BOTH = {"regions": ["tumour", "mirror"], "methods": ["bicubic", "ESPCN"], "title": "Compared"}
GAIN = {"metric": "psnr", "method": "ESPCN", "baseline": "bicubic"}


def test_distributions_draw_patient_means_and_say_what_is_missing(scores, text_of):
    figure = show.distributions(scores, metric="psnr", **BOTH)
    text = text_of(figure)
    assert "12 images of 6 patients; LR by bicubic ×4; no value: mirror in 1 image" in text
    dots = [c for c in figure.axes[0].collections if len(c.get_offsets())]
    np.testing.assert_allclose(sorted(dots[0].get_offsets()[:, 0]), 30.05 + 0.2 * np.arange(6))
    assert "bicubic   30.55 dB" in text
    tones = [points.get_facecolor()[0][:3] for points in dots]
    wanted = [to_rgba(METHOD_COLOURS[name])[:3] for name in BOTH["methods"]]
    np.testing.assert_allclose(tones, wanted)


def test_infinite_values_count_as_missing(scores, text_of):
    scores.loc[scores["id"].eq("0"), "psnr"] = np.inf
    text = text_of(show.distributions(scores, metric="psnr", **BOTH)).replace("\n", " ")
    assert "no value: mirror in 2 images, tumour in 1 image" in text


def test_a_region_without_any_value_says_so(scores, text_of):
    scores.loc[scores["region"].eq("mirror"), "psnr"] = np.nan
    assert "ESPCN   no value" in text_of(show.distributions(scores, metric="psnr", **BOTH))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "vif"}, r"unknown metric \['vif'\]; there is \['psnr', 'ssim', 'mse'\]"),
        ({"regions": ["core"]}, r"unknown region \['core'\]; there is \['tumour', 'mirror'\]"),
        ({"methods": ["SRGAN"]}, r"unknown method \['SRGAN'\]; there is \['bicubic', 'ESPCN'\]"),
    ],
)
def test_unknown_names_are_refused(scores, change, message):
    with pytest.raises(ValueError, match=message):
        show.distributions(scores, **{"metric": "psnr", **BOTH, **change})


def test_scales_are_not_mixed(scores):
    both = pd.concat([scores, scores.assign(scale=2)])
    with pytest.raises(ValueError, match="several rows of one case, method and region"):
        show.distributions(both, metric="psnr", **BOTH)


def test_gains_are_drawn_against_the_area(scores, text_of):
    figure = show.gain_by_size(scores, **GAIN)
    points = np.concatenate([group.get_offsets() for group in figure.axes[0].collections[:3]])
    np.testing.assert_allclose(points[:, 1], 1)
    assert sorted(points[:, 0]) == [40 + 30 * i for i in range(12)]
    assert "12 images of 6 patients; LR by bicubic ×4; better in 100 %" in text_of(figure)


def test_a_smaller_error_is_a_gain(scores):
    figure = show.gain_by_size(scores, **{**GAIN, "metric": "mse"})
    assert figure.axes[0].collections[0].get_offsets()[0, 1] == pytest.approx(0.0001)


def test_many_gains_have_medians_in_groups(scores):
    more = [scores.assign(id=scores["id"] + f" {i}", patient=f"p{i}") for i in range(3)]
    line = show.gain_by_size(pd.concat(more), **GAIN).axes[0].containers[0].lines[0]
    assert len(line.get_xdata()) == 3
    np.testing.assert_allclose(line.get_ydata().astype(float), 1)


def test_gains_that_are_missing_are_counted(scores, text_of):
    scores.loc[scores["id"].eq("3"), "psnr"] = np.nan
    text = text_of(show.gain_by_size(scores, **GAIN))
    assert "11 images of 6 patients" in text
    assert "excluded (no value): 1 image" in text
    with pytest.raises(ValueError, match="no case has a lesion and a value of psnr"):
        show.gain_by_size(scores.assign(psnr=np.nan), **GAIN)


@pytest.fixture
def perceived(scores):
    """Scores with a perceptual distance: ESPCN has half of it."""
    return scores.assign(perceptual=np.where(scores["method"].eq("ESPCN"), 0.5, 1.0))


def test_a_plane_draws_differences_within_patients_with_intervals(perceived, text_of):
    odd = perceived["method"].eq("ESPCN") & perceived["patient"].isin(["p1", "p3", "p5"])
    perceived.loc[odd, "psnr"] += 1
    figure = show.perception_plane(perceived, **BOTH)
    axes = figure.axes[0]
    points = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, [(0, 0), (1.5, -0.5)])
    segments = [c.get_segments()[0] for c in axes.collections]
    (left, _), (right, _) = max(segments, key=lambda ends: ends[1][0] - ends[0][0])
    half = 1.96 * np.std([1, 2] * 3, ddof=1) / np.sqrt(6)
    assert (right - left) / 2 == pytest.approx(half)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["tumour, n = 6 patients", "mirror, n = 6 patients"]
    text = text_of(figure)
    assert "12 images of 6 patients; LR by bicubic ×4; no value: mirror in 1 image" in text
    for part in (
        "PSNR, dB, less that of bicubic",
        "perceptual distance,\nless that of bic",
        "best ↘",
    ):
        assert part in text


def test_a_plane_draws_one_patient_and_keeps_a_region_without_values_empty(perceived, text_of):
    figure = show.perception_plane(perceived[perceived["patient"].eq("p0")], **BOTH)
    assert "n = 1 patient" in text_of(figure)
    perceived.loc[perceived["region"].eq("mirror"), "psnr"] = np.inf
    assert "mirror, n = 0 patients" in text_of(show.perception_plane(perceived, **BOTH))


def test_a_plane_needs_both_metrics(scores, perceived):
    with pytest.raises(ValueError, match=r"unknown metric \['perceptual'\]; there is \['psnr'"):
        show.perception_plane(scores, **BOTH)
    with pytest.raises(ValueError, match="no case has a value of both psnr and perceptual"):
        show.perception_plane(perceived.assign(perceptual=np.nan), **BOTH)


def test_contrast_detail_has_a_panel_per_contrast_and_a_line_per_method(text_of):
    rows = [
        (method, size, contrast, size * contrast * factor)
        for method, factor in (("HR", 4), ("bicubic", 2), ("ESPCN", 3))
        for size in (4, 8)
        for contrast in (0.05, 0.1)
    ]
    table = pd.DataFrame(rows, columns=["method", "diameter", "contrast", "d"])
    table = table.assign(low=table.d - 0.2, high=table.d + 0.2, backgrounds=40, patients=9)
    paired = table[table["method"] != "bicubic"]
    paired = paired.assign(baseline="bicubic", value=0.1, low=0.05, high=0.15)
    figure = show.contrast_detail(table, differences=paired, title="Inserted lesions")
    assert [len(axes.containers) for axes in figure.axes] == [3, 3, 1, 1]
    top, bottom = (figure.axes[k].containers[-1].lines[0] for k in (0, 2))
    assert top.get_color() == bottom.get_color()
    assert bottom.get_ydata().tolist() == pytest.approx([0.1, 0.1])
    line = figure.axes[0].containers[0].lines[0]  # of HR
    assert line.get_ydata().tolist() == pytest.approx([0.8, 1.6])
    assert figure.axes[0].get_ylim()[1] > 1.8
    assert "40 places in normal tissue of 9 patients" in text_of(figure)
    assert "d' less that of bicubic" in text_of(figure)
    with pytest.raises(ValueError, match="low"):
        show.contrast_detail(table.drop(columns="low"), differences=paired, title="")
    with pytest.raises(ValueError, match="value"):
        show.contrast_detail(table, differences=paired.drop(columns="value"), title="")


@pytest.fixture
def levels():
    """Means of two methods, two kinds of noise, three levels and two metrics."""
    rows = [
        {"noise": kind, "level": level, "method": method, "metric": metric}
        for kind in ("gaussian", "poisson")
        for level in (0.02, 0.1, 0.05)
        for method in ("noisy", "autoencoder")
        for metric in ("psnr", "edges")
    ]
    out = pd.DataFrame(rows).assign(value=lambda t: 30 - 50 * t["level"], patients=5, cases=9)
    return out.assign(low=out["value"] - 1, high=out["value"] + 1)


def test_quality_has_a_row_per_metric_and_a_column_per_kind(levels, text_of):
    figure = show.quality_by_level(levels, metrics=["psnr", "edges"], title="best at 2")
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["gaussian", "poisson"]
    assert "9 images of 5 patients" in text_of(figure)
    assert "edge preservation" in text_of(figure)
    assert list(figure.axes[0].containers[0].lines[0].get_ydata()) == [29, 27.5, 25]
    assert figure.axes[0].get_xscale() == "log"


def test_quality_refuses_what_it_cannot_draw(levels):
    with pytest.raises(ValueError, match="unknown metric"):
        show.quality_by_level(levels, metrics=["ssim"], title="")
    with pytest.raises(ValueError, match="lacks the columns"):
        show.quality_by_level(levels.drop(columns="low"), metrics=["psnr"], title="")


@pytest.fixture
def agree(estimate):
    """A function that draws a table with limits 0.1 around the mean difference."""

    def around(value):
        return estimate(value=value, low=value - 0.01, high=value + 0.01)

    def limits(sr, hr):
        bias = float(np.mean(sr - hr))
        ends = {"lower": around(bias - 0.1), "upper": around(bias + 0.1)}
        return SimpleNamespace(bias=around(bias), **ends)

    def draw(table, methods=("bicubic", "SRGAN"), measure="sharpness"):
        ccc = {"CCC": lambda sr, hr: estimate(value=0.9, low=0.812, high=-0.2)}
        about = {"limits": limits, "coefficients": ccc, "unit": "per pixel", "title": "Sharpness"}
        return show.bland_altman(table, measure=measure, methods=list(methods), **about)

    return draw


@pytest.fixture
def measured():
    """Two images of each of six patients; SRGAN is 0.2 too sharp, and one value is missing."""
    rows = [
        (str(i), f"p{i // 2}", method, "tumour", 0.5 + 0.01 * i + shift, 0.5 + 0.01 * i)
        for method, shift in (("HR", 0), ("bicubic", -0.1), ("SRGAN", 0.2))
        for i in range(12)
    ]
    columns = ["id", "patient", "method", "region", "sharpness_sr", "sharpness_hr"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table["id"].eq("3") & table["method"].eq("SRGAN"), "sharpness_sr"] = np.nan
    return table


def test_agreement_has_a_point_per_patient_on_shared_axes(agree, measured):
    first, second = agree(measured).axes
    points = first.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], 0.455 + 0.02 * np.arange(6))
    np.testing.assert_allclose(points[:, 1], -0.1)
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == second.get_xlim()


def test_bias_limits_and_coefficients_are_drawn_and_written(agree, measured, text_of):
    figure = agree(measured)
    heights = sorted(line.get_ydata()[0] for line in figure.axes[1].lines)
    np.testing.assert_allclose(heights, [0, 0.1, 0.2, 0.3])
    text = text_of(figure)
    assert "bias +0.20, limits +0.10 to +0.30\nCCC 0.900 [0.812, −0.200]" in text
    assert "12 images of 6 patients" in text
    assert "1 of 24 measurements" in text.replace("\n", " ")


def test_two_patients_have_points_and_no_limits(agree, measured, text_of):
    figure = agree(measured[measured["patient"].isin(["p0", "p5"])])
    assert "n = 2 patients\ntoo few for limits (at least 3)" in text_of(figure)
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize("n", [1, 4, 5])
def test_any_number_of_methods_has_a_panel_each(agree, measured, n):
    names = [f"network {i} of a long name that needs lines" for i in range(n)]
    one = measured[measured["method"].eq("bicubic")]
    figure = agree(pd.concat([one.assign(method=name) for name in names]), names)
    assert sum(axes.axison for axes in figure.axes) == n


def test_agreement_names_what_is_missing(agree, measured):
    with pytest.raises(ValueError, match=r"lacks the columns \['mean_sr', 'mean_hr'\]"):
        agree(measured, measure="mean")
    with pytest.raises(ValueError, match=r"unknown method \['ESPCN'\]"):
        agree(measured, ["ESPCN"])
    with pytest.raises(ValueError, match="no case has sharpness_sr and sharpness_hr"):
        agree(measured.assign(sharpness_sr=np.nan))
