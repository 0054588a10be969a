import pandas as pd
import pytest

from medsr_lib.show import flips

METHODS = pd.Index(["HR", "bicubic", "SRGAN"], name="method")


@pytest.fixture
def classified():
    rows = {"to_wrong": [0, 5, 2], "to_right": [0, 1, 4], "flipped": [0, 9, 6]}
    about = {"slices": 150, "patients": 37, "accuracy": [0.86, 0.83, 0.87]}
    return pd.DataFrame({**about, **rows}, index=METHODS)


@pytest.fixture
def segmented():
    rows = {"lost": [0, 7, 0], "gained": [0, 0, 0], "new": [0, 3, 0]}
    about = {"slices": 150, "patients": 37, "lesions": 148, "dice": [0.83, 0.8, 0.826]}
    return pd.DataFrame({**about, **rows}, index=METHODS)


def widths(axes):
    return [[bar.get_width() for bar in part] for part in axes.containers]


def test_flips_are_stacked_by_what_they_turn_into(classified, text_of):
    axes = flips.chart(classified).axes[0]
    assert widths(axes) == [[0, 5, 2], [0, 3, 0], [0, 1, 4]]
    assert [bar.get_x() for bar in axes.containers[2]] == [0, 8, 2]


def test_lesions_are_lost_invented_or_gained(segmented):
    axes = flips.chart(segmented=segmented).axes[0]
    assert widths(axes) == [[0, 7, 0], [0, 3, 0], [0, 0, 0]]


def test_both_stand_side_by_side_with_n_accuracy_and_dice(classified, segmented, text_of):
    figure = flips.chart(classified, segmented, note="a lesion is found at a Dice of 0.5")
    text = text_of(figure)
    assert len(figure.axes) == 2
    assert "a lesion is found at a Dice of 0.5; 150 slices of 37 patients" in text
    for part in ("86 %", "0.83", "Diagnosis in 150 slices", "Outline of 148 lesions"):
        assert part in text


def test_a_method_that_changes_nothing_says_so(segmented):
    texts = [text.get_text() for text in flips.chart(segmented=segmented).axes[0].texts]
    assert texts.count("none") == 1
    assert texts.count("what is compared with") == 1


def test_a_narrow_part_has_its_number_above_it(segmented):
    segmented.loc["bicubic", ["lost", "new"]] = 200, 1
    axes = flips.chart(segmented=segmented).axes[0]
    places = {text.get_text(): text.xy[1] for text in axes.texts}
    assert places["200"] == 1
    assert places["1"] < 1


def test_flips_refuse_what_they_cannot_draw(classified):
    with pytest.raises(ValueError, match="give classified, segmented or both"):
        flips.chart()
    with pytest.raises(ValueError, match=r"lacks the columns \['to_right'\]"):
        flips.chart(classified.drop(columns="to_right"))
