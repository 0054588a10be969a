import numpy as np
import pandas as pd
import pytest

from medsr_lib import show

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")

ABOUT = {"unit": "PSNR, dB", "title": "Gain", "directions": ("worse", "better")}


def test_differences_write_value_interval_p_and_n(estimate, text_of):
    figure = show.differences({"ESPCN": estimate(skipped=53)}, **ABOUT)
    text = text_of(figure)
    parts = (
        "+0.50 [+0.20, +0.80]",
        "p < 0.001, n = 233 / 3 064 (53 skipped)",
        "worse   |   better →",
    )
    for part in (*parts, "PSNR, dB"):
        assert part in text
    low, high = figure.axes[0].get_xlim()
    assert low < 0 < 0.8 < high < 0.9  # 0 is shown, and no room for what is not there


def test_differences_of_one_patient_have_no_interval(estimate, text_of):
    bare = estimate(p=np.nan, low=np.nan, high=np.nan)
    text = text_of(show.differences({"ESPCN": bare}, **ABOUT))
    assert "+0.50 [no interval]" in text
    assert "3 064 images of 233 patients" in text
    assert "strokes" not in text


def test_differences_over_trainings_show_their_range(estimate, text_of):
    again = estimate(seeds=3, seed_low=-0.1, seed_high=0.9)
    figure = show.differences({"ESPCN": again, "linear": estimate()}, **ABOUT)
    assert [list(line.get_xdata()) for line in figure.axes[0].lines].count([-0.1, 0.9]) == 1
    assert "short strokes: range over 3 trainings" in text_of(figure).replace("\n", " ")


@pytest.fixture
def gains(estimate):
    """Two trainings and lanczos, by what they are tested on; one was not tested."""
    rows = {"bicubic": [1.9, -0.4], "kspace": [0.3, 2.2], "lanczos": [0.0, np.nan]}
    return {
        on: {by: estimate(value=v[i], low=v[i] - 0.25, high=v[i] + 0.25) for by, v in rows.items()}
        for i, on in enumerate(("bicubic", "kspace"))
    }


def test_a_matrix_writes_gains_with_intervals_and_n(gains, text_of):
    figure = show.transfer_matrix(gains, interpolation=["lanczos"], note="ESPCN")
    assert figure.axes[0].collections[0].get_clim() == (-3, 3)
    text = text_of(figure)
    parts = "+1.90\n[+1.65, +2.15]", "−0.40\n[−0.65, −0.15]", "0.00\n", "not tested", "trained on"
    for part in parts:
        assert part in text
    text = text.replace("\n", " ")
    assert "lanczos: no network" in text
    assert "ESPCN; gain in PSNR over bicubic interpolation, dB (blue: better" in text
    assert "mean of 3 064 images of 233 patients; below it its 95 % interval" in text


def test_a_matrix_of_several_trainings_writes_their_range(gains, estimate, text_of):
    gains["blur"] = gains["bicubic"] | {
        "blur": estimate(value=1.5, seeds=3, seed_low=-0.1, seed_high=2.25)
    }
    text = text_of(show.transfer_matrix(gains, interpolation=["lanczos"], note=""))
    assert "+1.50\n−0.10 to +2.25" in text
    assert "below it the range over 3 trainings, or in brackets its 95 % interval" in text.replace(
        "\n", " "
    )
    text = text_of(show.transfer_matrix(gains, rows="method", ranges=False, note=""))
    assert "+1.50\n[+0.20, +0.80]" in text
    assert "trainings" not in text


@pytest.mark.parametrize(
    ("interpolation", "framed"), [(["lanczos"], [(0, 0), (1, 1)]), (["bicubic"], [(1, 0)])]
)
def test_only_training_and_test_of_one_kind_are_framed(gains, interpolation, framed):
    figure = show.transfer_matrix(gains, interpolation=interpolation, note="")
    assert [frame.get_xy() for frame in figure.axes[0].patches] == framed
    assert figure.axes[0].get_yticklabels()[-1].get_text() == interpolation[0]


def test_what_cannot_be_drawn_is_refused(gains, estimate):
    with pytest.raises(ValueError, match="no estimate"):
        show.differences({}, **ABOUT)
    with pytest.raises(ValueError, match="all of it is NaN"):
        show.transfer_matrix({"bicubic": {"bicubic": estimate(value=np.nan)}}, note="")
    with pytest.raises(ValueError, match=r"unknown interpolation \['nearest'\]"):
        show.transfer_matrix(gains, interpolation=["nearest"], note="")


@pytest.fixture
def verdicts():
    """Two methods: one within its band, one below it."""
    same = "not distinguishable from a uniform change"
    names = "method contrast contrast_low contrast_high distance distance_low distance_high verdict"
    rows = [
        ("ESPCN", -0.004, -0.006, -0.002, 0, -0.001, 0, same),
        ("SRGAN", -0.02, -0.024, -0.016, -0.01, -0.014, -0.006, WORSE),
    ]
    about = {"metric": "ssim", "region": "tumour", "patients": 233, "cases": 3064}
    band = {"band_low": -0.01, "band_high": -0.003}
    return pd.DataFrame(rows, columns=names.split()).assign(**about, **band)


WORSE = "treats the tumour worse than a uniform change"


def test_null_bands_are_drawn_behind_the_contrasts(verdicts, text_of):
    figure = show.null_bands(verdicts, metric="ssim")
    bands = figure.axes[0].patches
    assert [(band.get_x(), band.get_width()) for band in bands] == [
        (-0.01, pytest.approx(0.007))
    ] * 2
    text = text_of(figure).replace("\n", " ")
    parts = "−0.0100 [−0.0140, −0.0060]", "0.0000 [−0.0010, 0.0000]"
    for part in (*parts, "3 064 images of 233 patients", f"SSIM: SRGAN {WORSE}"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"verdict": WORSE}, "SSIM: 2 of 2 methods treat the tumour differently from a uniform"),
        ({"verdict": "not"}, "SSIM: in the tumour, none of 2 methods is distinguishable from a"),
        ({"distance_low": np.nan, "verdict": "too few patients"}, "SSIM: no verdict on the tumour"),
    ],
)
def test_the_title_says_what_the_verdicts_say(verdicts, text_of, change, title):
    text = text_of(show.null_bands(verdicts.assign(**change), metric="ssim"))
    assert title in text.replace("\n", " ")


def test_a_method_without_a_band_has_a_row_that_says_so(verdicts, text_of):
    none = dict.fromkeys(("band_low", "band_high", "distance", "distance_low"), np.nan)
    bare = verdicts.assign(**none, verdict="no band: the gain is too large")
    figure = show.null_bands(bare, metric="ssim", title="None")
    assert not figure.axes[0].patches
    assert "no band: the gain is too" in text_of(figure)


def test_null_bands_that_do_not_exist_are_refused(verdicts):
    with pytest.raises(ValueError, match=r"unknown metric \['psnr'\]; there is \['ssim'\]"):
        show.null_bands(verdicts, metric="psnr")
    with pytest.raises(ValueError, match=r"unknown region \['rim'\]"):
        show.null_bands(verdicts, metric="ssim", region="rim")
    with pytest.raises(ValueError, match=r"lacks the columns \['verdict'\]"):
        show.null_bands(verdicts.drop(columns="verdict"), metric="ssim")
