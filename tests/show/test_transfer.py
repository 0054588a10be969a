import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from medsr_lib.show import transfer

BEHIND = {"slices": 12, "patients": 6}


@pytest.fixture
def gains():
    names = ["bicubic", "kspace"]
    rows = [[1.9, -0.4], [0.3, 2.2], [0.0, np.nan]]
    return pd.DataFrame(rows, index=[*names, "bicubic interpolation"], columns=names)


def frames(figure):
    return [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and not p.get_fill()]


def test_matrix_writes_numbers_with_sign_and_n(gains, text_of):
    text = text_of(transfer.matrix(gains, **BEHIND, interpolation=["bicubic interpolation"]))
    for part in ("+1.90", "−0.40", "0.00", "not tested", "gain in PSNR, dB", "trained on"):
        assert part in text
    assert "gain in PSNR over bicubic, mean of 12 slices of 6 patients" in text


def test_training_and_test_of_one_kind_are_framed(gains):
    figure = transfer.matrix(gains, **BEHIND, interpolation=["bicubic interpolation"])
    assert [np.round(frame.get_xy()).tolist() for frame in frames(figure)] == [[0, 0], [1, 1]]


def test_an_interpolation_is_never_framed(gains):
    figure = transfer.matrix(gains, **BEHIND, interpolation=["bicubic"])
    assert len(frames(figure)) == 1
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[-1] == "bicubic"


def test_colours_are_symmetric_around_no_gain(gains):
    figure = transfer.matrix(gains, **BEHIND)
    assert figure.axes[0].collections[0].get_clim() == (-3, 3)
    figure = transfer.matrix(gains, **BEHIND, limit=5)
    assert figure.axes[0].collections[0].get_clim() == (-5, 5)


def test_intervals_stand_below_their_numbers(gains, text_of):
    low, high = gains - 0.25, (gains + 0.25).iloc[::-1]  # another order of rows
    figure = transfer.matrix(gains, **BEHIND, low=low, high=high)
    assert "[+1.65, +2.15]" in text_of(figure)
    assert "95 % interval" in text_of(figure).replace("\n", " ")


def test_matrix_refuses_what_it_cannot_draw(gains):
    with pytest.raises(ValueError, match="give both low and high"):
        transfer.matrix(gains, **BEHIND, low=gains)
    with pytest.raises(ValueError, match="all of it is NaN"):
        transfer.matrix(gains * np.nan, **BEHIND)
    with pytest.raises(ValueError, match=r"unknown interpolation \['lanczos'\]"):
        transfer.matrix(gains, **BEHIND, interpolation=["lanczos"])
