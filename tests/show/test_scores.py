from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from medsr_lib.show import scores
from medsr_lib.show.style import METHOD_COLOURS

BOTH = {"regions": ["tumour", "mirror"], "methods": ["bicubic", "ESPCN"]}
GAIN = {"metric": "psnr", "method": "ESPCN", "baseline": "bicubic"}


def test_distributions_tell_n_and_what_is_missing(scores, text_of):
    text = text_of(scores.distributions(scores, metric="psnr", **BOTH))
    assert "12 slices of 6 patients; LR by bicubic ×4; no value: mirror in 1 slice" in text
    assert plt.get_fignums() == []


def test_distributions_draw_patient_means_and_their_median(scores, text_of):
    figure = scores.distributions(scores, metric="psnr", **BOTH)
    points = figure.axes[0].collections[0].get_offsets()[:, 0]
    np.testing.assert_allclose(points, 30.05 + 0.2 * np.arange(6))
    assert "30.55 dB" in text_of(figure)


def test_distributions_give_methods_their_colours(scores):
    figure = scores.distributions(scores, metric="ssim", **BOTH)
    tones = [points.get_facecolor()[0][:3] for points in figure.axes[0].collections[:2]]
    wanted = [to_rgba(METHOD_COLOURS[name])[:3] for name in BOTH["methods"]]
    np.testing.assert_allclose(tones, wanted)


def test_infinite_values_count_as_missing(scores, text_of):
    scores.loc[scores["slice_id"].eq(0), "psnr"] = np.inf
    text = text_of(scores.distributions(scores, metric="psnr", **BOTH))
    assert "no value: mirror in 2 slices, tumour in 1 slice" in text


def test_a_region_without_any_value_says_so(scores, text_of):
    scores.loc[scores["region"].eq("mirror"), "psnr"] = np.nan
    assert "none" in text_of(scores.distributions(scores, metric="psnr", **BOTH)).split("\n")


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
        scores.distributions(scores, **{"metric": "psnr", **BOTH, **change})


def test_scales_are_not_mixed(scores):
    both = pd.concat([scores, scores.assign(scale=2)])
    with pytest.raises(ValueError, match="several rows of one slice, method and region"):
        scores.distributions(both, metric="psnr", **BOTH)


def test_by_size_draws_the_gain_against_the_area(scores, text_of):
    figure = scores.by_size(scores, **GAIN)
    points = np.concatenate([group.get_offsets() for group in figure.axes[0].collections[:3]])
    np.testing.assert_allclose(points[:, 1], 1)
    assert sorted(points[:, 0]) == [40 + 30 * i for i in range(12)]
    assert "12 slices of 6 patients; LR by bicubic ×4; better in 100 %" in text_of(figure)


def test_by_size_takes_a_smaller_error_for_a_gain(scores):
    figure = scores.by_size(scores, **{**GAIN, "metric": "mse"})
    assert figure.axes[0].collections[0].get_offsets()[0, 1] == pytest.approx(0.0001)


def test_by_size_tells_what_it_leaves_out(scores, text_of):
    text = text_of(scores.by_size(scores, **GAIN, region="mirror"))
    assert "11 slices of 6 patients" in text
    assert "left out for want of a value: 1 slice" in text


def test_by_size_needs_a_value(scores):
    with pytest.raises(ValueError, match="no slice has a tumour and a value of psnr"):
        scores.by_size(scores.assign(psnr=np.nan), **GAIN)


def test_differences_write_value_interval_p_and_n(estimate, text_of):
    text = text_of(scores.differences({"ESPCN": estimate}, unit="PSNR difference, dB", margin=0.5))
    for part in ("+0.50 [+0.20, +0.80]", "< 0.001", "233 / 3 064", "PSNR difference, dB"):
        assert part in text
    assert "← worse inside the tumour" in text
    assert "up to ±0.5" in text


def test_differences_have_zero_in_the_middle(estimate):
    low, high = scores.differences({"ESPCN": estimate}, unit="dB").axes[0].get_xlim()
    assert low == -high


def test_differences_of_one_patient_have_no_interval(estimate, text_of):
    bare = SimpleNamespace(**{**vars(estimate), "p": np.nan, "low": np.nan, "high": np.nan})
    text = text_of(scores.differences({"ESPCN": bare}, unit="dB"))
    assert "+0.50 [no interval]" in text
    assert "–" in text.split("\n")


def test_differences_tell_skipped_slices(estimate, text_of):
    estimate.skipped = 53
    text = text_of(scores.differences({"ESPCN": estimate}, unit="dB"))
    assert "233 / 3 064 (53 skipped)" in text


def test_differences_refuse_nothing():
    with pytest.raises(ValueError, match="no estimate"):
        scores.differences({}, unit="dB")


@pytest.fixture
def perceived(scores):
    """Scores with a perceptual distance: ESPCN has half of it."""
    return scores.assign(perceptual=np.where(scores["method"].eq("ESPCN"), 0.5, 1.0))


def test_plane_draws_means_over_patients(perceived, text_of):
    figure = scores.plane(perceived, **BOTH)
    points = [line.get_xydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, [(30.55, 1.0), (31.55, 0.5)])
    assert [axes.get_title("left") for axes in figure.axes] == [
        "tumour, n = 6 patients",
        "mirror, n = 6 patients",
    ]
    assert "12 slices of 6 patients; LR by bicubic ×4; no value: mirror in 1 slice" in text_of(
        figure
    )


def test_plane_draws_95_percent_intervals_over_patients(perceived):
    axes = scores.plane(perceived, **BOTH).axes[0]
    (left, _), (right, _) = axes.collections[0].get_segments()[0]
    half = 1.96 * np.std(30.05 + 0.2 * np.arange(6), ddof=1) / np.sqrt(6)
    assert (right - left) / 2 == pytest.approx(half)


def test_plane_tells_the_better_directions(perceived, text_of):
    text = text_of(scores.plane(perceived, **BOTH))
    for part in ("PSNR, dB   better →", "← better   perceptual distance (bicubic = 1)", "best ↘"):
        assert part in text


def test_plane_names_do_not_cover_each_other(perceived):
    names = [f"network {i}" for i in range(6)]
    espcn = perceived[perceived["method"].eq("ESPCN")]
    near = [espcn.assign(method=n, psnr=espcn["psnr"] + i / 50) for i, n in enumerate(names)]
    figure = scores.plane(pd.concat(near), regions=["tumour"], methods=names)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without arrows
    assert len(boxes) == 7
    assert not [a for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_plane_of_one_patient_has_no_interval(perceived, text_of):
    figure = scores.plane(perceived[perceived["patient"].eq("p0")], **BOTH)
    assert "n = 1 patient" in text_of(figure)


def test_plane_keeps_a_region_without_values_empty(perceived, text_of):
    perceived.loc[perceived["region"].eq("mirror"), "psnr"] = np.inf
    text = text_of(scores.plane(perceived, **BOTH))
    assert "mirror, n = 0 patients" in text
    assert "no value" in text.split("\n")


def test_plane_needs_both_metrics(scores, perceived):
    with pytest.raises(ValueError, match=r"unknown metric \['perceptual'\]; there is \['psnr'"):
        scores.plane(scores, **BOTH)
    with pytest.raises(ValueError, match="no slice has a value of both psnr and perceptual"):
        scores.plane(perceived.assign(perceptual=np.nan), **BOTH)


def test_differences_say_what_was_counted(estimate, text_of):
    text = text_of(scores.differences({"ESPCN": estimate}, unit="AUC", items="images"))
    assert "patients / images" in text
