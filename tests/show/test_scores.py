import numpy as np
import pandas as pd
import pytest

from medsr_lib import show

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")

BOTH = {"regions": ["tumour", "mirror"], "methods": ["bicubic", "ESPCN"], "title": "Compared"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regions": ["core"]}, r"unknown region \['core'\]; there is \['tumour', 'mirror'\]"),
        ({"methods": ["SRGAN"]}, r"unknown method \['SRGAN'\]; there is \['bicubic', 'ESPCN'\]"),
    ],
)
def test_unknown_names_are_refused(perceived, change, message):
    with pytest.raises(ValueError, match=message):
        show.perception_plane(perceived, **{**BOTH, **change})


def test_scales_are_not_mixed(perceived):
    both = pd.concat([perceived, perceived.assign(scale=2)])
    with pytest.raises(ValueError, match="several rows of one case, method and region"):
        show.perception_plane(both, **BOTH)


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
        "PSNR minus that\nof bicubic, dB",
        "perceptual distance,\nminus that of bic",
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


def test_contrast_detail_has_a_panel_per_lesion_and_a_paired_difference_per_method(text_of):
    rows = [
        (method, size, contrast, size * contrast * factor)
        for method, factor in (("HR", 4), ("bicubic", 2), ("ESPCN", 3))
        for size in (4, 8)
        for contrast in (0.05, 0.1)
    ]
    table = pd.DataFrame(rows, columns=["method", "diameter", "contrast", "d"])
    table = table.assign(backgrounds=40, patients=9)
    paired = table[table["method"] != "bicubic"]
    paired = paired.assign(baseline="bicubic", value=0.1, low=0.05, high=0.15)
    figure = show.contrast_detail(table, differences=paired, title="Inserted lesions")
    assert len(figure.axes) == 4
    _, interval, point = figure.axes[0].lines  # the first is at 0; HR is not drawn
    assert interval.get_xdata().tolist() == [0.05, 0.15]
    assert point.get_xdata().tolist() == [0.1]
    text = text_of(figure)
    for part in ("4 pixels, contrast 0.05\nd': HR 0.80, bicubic 0.40", "d' minus that of bicubic"):
        assert part in text
    assert "40 places in normal tissue of 9 patients" in text
    for missing in ("low", "value"):
        with pytest.raises(ValueError, match=missing):
            show.contrast_detail(table, differences=paired.drop(columns=missing), title="")


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
def joined(scores, estimate):
    """A function that draws PSNR by two methods, which the second gains 1 dB in."""

    def draw(table=scores, methods=("bicubic", "ESPCN")):
        gain = {"ESPCN": estimate(value=1, low=0.8, high=1.2)}
        about = {"metric": "psnr", "unit": "PSNR, dB", "title": "Joined"}
        return show.by_patient(table, methods=methods, differences=gain, **about)

    return draw


def test_a_line_joins_the_means_of_each_patient(joined, text_of):
    figure = joined()
    *patients, mean = figure.axes[0].lines
    starts = sorted(line.get_ydata()[0] for line in patients)
    np.testing.assert_allclose(starts, 30.05 + 0.2 * np.arange(6))
    np.testing.assert_allclose([np.ptp(line.get_ydata()) for line in patients], 1)
    np.testing.assert_allclose(mean.get_ydata(), [30.55, 31.55])
    text = text_of(figure)
    assert "ESPCN\n+1.00\n[+0.80,\n+1.20]" in text
    assert "thin: 6 patients" in text


def test_a_patient_who_lacks_a_method_has_no_line(joined, scores, text_of):
    of = scores["patient"].eq("p0") & scores["method"].eq("ESPCN")
    scores.loc[of & scores["region"].eq("tumour"), "psnr"] = np.inf
    assert "thin: 5 patients" in text_of(joined(scores))
    with pytest.raises(ValueError, match="no patient has psnr of all methods in the region"):
        joined(scores.assign(psnr=np.nan))
    with pytest.raises(ValueError, match=r"unknown method \['SRGAN'\]"):
        joined(scores, ["bicubic", "SRGAN"])
