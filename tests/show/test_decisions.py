import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from medsr_lib.show import decisions


@pytest.fixture
def curve():
    fpr = np.linspace(0, 1, 11)
    return pd.DataFrame({"fpr": fpr, "tpr": fpr**0.3, "low": fpr, "high": fpr**0.1})


@pytest.fixture
def bins():
    edges = np.linspace(0, 1, 5)
    columns = {"start": edges[:-1], "end": edges[1:], "n": [12, 0, 1, 7]}
    share = np.array([0.1, np.nan, 1, 0.8])
    return pd.DataFrame(columns | dict.fromkeys(("predicted", "observed", "low", "high"), share))


@pytest.fixture
def decided():
    """Of 3 ill and 2 well images, blur misses two and clears one; noise changes nothing."""
    rows = [
        (
            f"s{i}",
            f"p{i}",
            "ILL" if i < 3 else "WELL",
            m,
            m == "blur" and i < 2,
            m == "blur" and i == 4,
        )
        for m in ("original", "blur", "noise")
        for i in range(5)
    ]
    columns = ["slice_id", "patient", "tumour", "method", "to_wrong", "to_right"]
    return pd.DataFrame(rows, columns=columns)


def test_every_curve_has_its_area_and_n(curve, text_of):
    figure = decisions.roc(
        {"before": curve, "after": curve},
        areas={"before": (0.987, 0.961, 1), "after": (0.9, 0.8, 0.95)},
        points={"after": (0.1, 0.8)},
        images=61,
        patients=43,
    )
    text = text_of(figure)
    assert "AUC 0.987\n[0.961, 1.000]" in text
    assert "61 images of 43 patients" in text
    assert [len(axes.lines) for axes in figure.axes] == [2, 3]


def test_reliability_leaves_empty_bins_out_and_counts(bins, text_of):
    figure = decisions.reliability({"raw": bins}, errors={"raw": 0.123})
    upper, lower = figure.axes
    assert upper.lines[-1].get_xdata().tolist() == [0.1, 1, 0.8]
    assert [bar.get_height() for bar in lower.patches] == [12, 0, 1, 7]
    assert "ECE 0.123" in text_of(figure)
    assert "20 images" in text_of(figure)


def test_confusion_shows_counts_and_shares_of_the_true_class(text_of):
    table = pd.DataFrame([[18, 2], [4, 36]], ["well", "ill"], ["well", "ill"])
    text = text_of(decisions.confusion({"after": table}, note="by hand"))
    assert all(part in text for part in ("18\n90 %", "2\n10 %", "4\n10 %", "36\n90 %"))
    assert "by hand; 60 images" in text


def test_flips_go_to_the_side_of_their_harm(decided, text_of):
    figure = decisions.flips(decided, positive="ILL", reference="original")
    axes = figure.axes[0]
    bars = {to_hex(bar.get_facecolor()): bar.get_width() for bar in axes.patches}
    assert bars == {"#d55e00": -2, "#56b4e9": 1}
    low, high = axes.get_xlim()
    assert low < -2 < 1 < high
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["2", "1", "none"]
    assert "5 images of 5 patients" in text_of(figure)


def test_stacked_flips_stay_inside(decided):
    decided.loc[decided["method"].eq("noise"), "to_wrong"] = True
    axes = decisions.flips(decided, positive="ILL", reference="original").axes[0]
    assert axes.get_xlim()[0] < -5
    assert "2 + 3" in [text.get_text() for text in axes.texts]


def test_maps_share_one_scale_and_outline_the_lesion(image, mask, text_of):
    strong, weak = np.zeros((64, 64)), np.zeros((64, 64))
    strong[10, 10], weak[10, 10] = 2, 1
    figure = decisions.attention(
        {"original": image, "blur": image},
        {"original": strong, "blur": weak},
        mask,
        captions={"blur": "score −0.3"},
    )
    shown = [axes.images[0].get_array() for axes in figure.axes[2:4]]
    assert shown[0][10, 10].sum() > shown[1][10, 10].sum()
    assert all(axes.collections for axes in figure.axes)
    assert "score −0.3" in text_of(figure)
    assert "yellow" in text_of(figure)


def test_maps_of_nothing_are_drawn(image, text_of):
    figure = decisions.attention({"original": image}, {"original": np.zeros((64, 64))})
    assert "yellow" not in text_of(figure)


def test_refuse_what_cannot_be_drawn(curve, decided, image):
    for draw in (decisions.reliability, decisions.confusion):
        with pytest.raises(ValueError, match="there is no table to draw"):
            draw({}, **({"errors": {}} if draw is decisions.reliability else {}))
    with pytest.raises(ValueError, match="there is no curve"):
        decisions.roc({}, areas={}, images=1, patients=1)
    with pytest.raises(ValueError, match="lacks the columns"):
        decisions.flips(decided.drop(columns="to_right"), positive="ILL", reference="original")
    with pytest.raises(ValueError, match="nothing to hold against 'HR'"):
        decisions.flips(decided, positive="ILL", reference="HR")
    with pytest.raises(ValueError, match="must have the same names"):
        decisions.attention({"a": image}, {"b": image})
    with pytest.raises(ValueError, match="map a must have the shape"):
        decisions.attention({"a": image}, {"a": image[:3]})
