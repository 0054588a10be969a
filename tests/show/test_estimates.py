import numpy as np
import pytest

from medsr_lib import show

ABOUT = {"unit": "PSNR, dB", "title": "Gain", "directions": ("worse", "better")}


def test_differences_write_value_interval_p_and_n(estimate, text_of):
    figure = show.differences({"ESPCN": estimate(skipped=53)}, **ABOUT)
    text = text_of(figure)
    parts = "+0.50 [+0.20, +0.80]", "< 0.001", "233 / 3 064 (53 skipped)", "worse   |   better →"
    for part in (*parts, "PSNR, dB"):
        assert part in text
    low, high = figure.axes[0].get_xlim()
    assert low == -high


def test_differences_of_one_patient_have_no_interval(estimate, text_of):
    bare = estimate(p=np.nan, low=np.nan, high=np.nan)
    text = text_of(show.differences({"ESPCN": bare}, **ABOUT))
    assert "+0.50 [no interval]" in text
    assert "–" in text.split("\n")


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
    for part in (*parts, "gain in PSNR, dB"):
        assert part in text
    text = text.replace("\n", " ")
    assert "lanczos: interpolation, without training" in text
    assert "ESPCN; gain over bicubic interpolation, mean of 3 064 images" in text


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
