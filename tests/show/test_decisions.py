import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from medsr_lib import show

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")

METHODS = pd.Index(["HR", "bicubic", "SRGAN"], name="method")
FLIPS = {"positive": "ILL", "reference": "original", "title": "Changed"}
MAPS = {"captions": {"blur": "score −0.3"}, "title": "Image 7"}


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
        (f"s{i}", f"p{i}", "ILL" if i < 3 else "WELL", m, b and i < 2, b and i == 4)
        for m, b in (("original", False), ("blur", True), ("noise", False))
        for i in range(5)
    ]
    columns = ["id", "patient", "label", "method", "to_wrong", "to_right"]
    return pd.DataFrame(rows, columns=columns)


def of_trainings(rows):
    """Of each method: three trainings, the counts of which are 0, all and twice, and most."""
    seeds = {"1": 0, "2": 1, "3": 2, "majority": 1}
    tables = {seed: pd.DataFrame(rows, index=METHODS) * times for seed, times in seeds.items()}
    return pd.concat(tables, names=["seed"]).swaplevel().sort_index(level=0, sort_remaining=False)


@pytest.fixture
def classified():
    rows = {"to_wrong": [0, 5, 2], "to_right": [0, 1, 4], "flipped": [0, 9, 6]}
    accuracy = [v for method in (0.83, 0.86, 0.87) for v in (method, method - 0.1, method, method)]
    table = of_trainings(rows).loc[METHODS]
    return table.assign(cases=150, patients=37, accuracy=[*accuracy])


@pytest.fixture
def segmented():
    rows = {"lost": [0, 7, 0], "gained": [0, 0, 0], "new": [0, 3, 0]}
    return of_trainings(rows).loc[METHODS].assign(lesions=148, dice=0.8)


def widths(axes):
    return [[bar.get_width() for bar in part] for part in axes.containers]


def test_every_curve_has_its_area_threshold_and_n(curve, estimate, text_of):
    names = "before", "after"
    areas = dict.fromkeys(names, estimate(value=0.987, low=0.961, high=1, cases=61, patients=43))
    points = {
        name: {"specificity": estimate(value=1 - fpr), "sensitivity": estimate(value=tpr)}
        for name, fpr, tpr in (("before", 0, 0.5), ("after", 0.1, 0.8))
    }
    figure = show.roc_curves(dict.fromkeys(names, curve), areas=areas, points=points, title="x")
    text = text_of(figure)
    assert "AUC 0.987\n[0.961, 1.000]" in text
    assert "61 images of 43 patients" in text
    assert figure.axes[1].lines[-1].get_xydata()[0] == pytest.approx([0.1, 0.8])


def bars_of(axes, method, tall):
    """Widths of the bars of the row of a method, the thick one's or the thin ones'."""
    bars = [bar for bar in axes.patches if round(bar.get_y() + 0.05) == method]
    return [bar.get_width() for bar in bars if (bar.get_height() > 0.2) == tall]


def test_changes_are_stacked_by_what_they_turn_into(classified, segmented, text_of):
    figure = show.decision_changes(
        classified, segmented, apart=([2, 5], []), note="found at a Dice of 0.5"
    )
    left, right = figure.axes
    labels = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert [label for label in labels if "trainings" in label] == ["two trainings on HR: 2 to 5"]
    assert bars_of(left, 1, tall=True) == [5, 3, 1]
    assert bars_of(left, 1, tall=False) == [0, 0, 0, 5, 3, 1, 10, 6, 2]
    assert bars_of(right, 1, tall=True) == [7, 3, 0]
    texts = [text.get_text() for text in right.texts]
    assert texts.count("none by most") == texts.count("reference") == texts.count("7 + 3") == 1
    text = text_of(figure)
    assert "found at a Dice of 0.5; 150 images of 37 patients; thick: what most of 3" in text
    for part in ("80 (73 to 83)", "0.80 (0.80 to 0.80)", "Diagnosis of 150 images", "148 lesions"):
        assert part in text


def test_trainings_are_written_with_their_range_beside_what_most_say(classified):
    found = show.over_trainings(classified, columns=["accuracy", "flipped"])
    assert found.index.tolist()[2:4] == [("bicubic", "mean (range)"), ("bicubic", "most of 3")]
    assert found.iloc[2].tolist() == ["0.827 (0.760 to 0.860)", "9.0 (0 to 18)"]
    assert found.iloc[3].tolist() == ["0.860", "9"]
    one = classified.loc[(slice(None), ["2", "majority"]), :]
    assert show.over_trainings(one, columns=["flipped"]).loc["bicubic", "flipped"].tolist() == [
        *("9.0", "9")
    ]
    unknown = show.over_trainings(classified.assign(auc=np.nan), columns=["auc"])
    assert set(unknown["auc"]) == {"–"}
    with pytest.raises(ValueError, match="needs rows of trainings and 'majority', got"):
        show.over_trainings(classified.drop("majority", level="seed"), columns=["flipped"])


def test_changed_diagnoses_go_to_the_side_of_their_harm(decided, text_of):
    figure = show.diagnosis_changes(decided, **FLIPS)
    axes = figure.axes[0]
    bars = {to_hex(bar.get_facecolor()): bar.get_width() for bar in axes.patches if bar.get_width()}
    assert bars == {"#d55e00": -2, "#56b4e9": 1}
    low, high = axes.get_xlim()
    assert -4 < low < -2 < 1 < high < 2
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["2", "1", "none"]
    assert "5 images of 5 patients" in text_of(figure)


def test_stacked_changes_stay_inside(decided):
    decided.loc[decided["method"].eq("noise"), "to_wrong"] = True
    axes = show.diagnosis_changes(decided, **FLIPS).axes[0]
    assert axes.get_xlim()[0] < -5
    assert "2 + 3" in [text.get_text() for text in axes.texts]


def test_maps_share_one_scale_and_outline_the_lesion(image, mask, text_of):
    strong, weak = np.zeros((64, 64)), np.zeros((64, 64))
    strong[10, 10], weak[10, 10] = 2, 1
    maps = {"original": strong, "blur": weak}
    figure = show.attention_maps(dict.fromkeys(maps, image), maps, mask, **MAPS)
    shown = [axes.images[-1].get_array() for axes in figure.axes[2:4]]
    assert shown[0][10, 10] > shown[1][10, 10] > 0
    assert all(axes.collections for axes in figure.axes)
    assert "score −0.3" in text_of(figure)
    assert "yellow" in text_of(figure)


def test_maps_of_nothing_are_drawn(image, text_of):
    figure = show.attention_maps({"original": image}, {"original": np.zeros((64, 64))}, **MAPS)
    assert "yellow" not in text_of(figure)


def test_what_cannot_be_drawn_is_refused(decided, classified, segmented, image):
    with pytest.raises(ValueError, match="there is no curve"):
        show.roc_curves({}, areas={}, points={}, title="")
    with pytest.raises(ValueError, match=r"lacks the columns \['to_right'\]"):
        show.decision_changes(classified.drop(columns="to_right"), segmented, note="")
    with pytest.raises(ValueError, match="lacks the columns"):
        show.diagnosis_changes(decided.drop(columns="to_right"), **FLIPS)
    with pytest.raises(ValueError, match="nothing to compare with 'HR'"):
        show.diagnosis_changes(decided, **{**FLIPS, "reference": "HR"})
    with pytest.raises(ValueError, match="must have the same names"):
        show.attention_maps({"a": image}, {"b": image}, **MAPS)
    with pytest.raises(ValueError, match="map a must have the shape"):
        show.attention_maps({"a": image}, {"a": image[:3]}, **MAPS)
