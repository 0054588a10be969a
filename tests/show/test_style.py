import importlib
import io
import sys

import apart
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from PIL import Image

from medsr_lib import show
from medsr_lib.show import style


def test_colours_are_fixed_for_the_methods_of_the_project():
    assert style.colours(["HR", "srgan"]) == {"HR": "#000000", "srgan": "#D55E00"}


def test_further_names_get_colours_that_do_not_depend_on_order():
    first, second = style.colours(["EDSR", "SwinIR"]), style.colours(["SwinIR", "EDSR"])
    assert first == second
    assert first["EDSR"] != first["SwinIR"]
    assert not set(first.values()) & set(style.METHOD_COLOURS.values())
    assert len(style.colours([f"method {i}" for i in range(20)])) == 20  # more than colours


def test_the_style_does_not_leak_and_pyplot_lets_figures_go():
    @style.drawn
    def draw():
        assert plt.rcParams["axes.spines.top"] is False
        return plt.figure()

    with plt.rc_context({"axes.spines.top": True}):
        figure = draw()
        assert plt.rcParams["axes.spines.top"] is True
    assert figure.number not in plt.get_fignums()


@pytest.mark.parametrize("pictured", [False, True])
def test_a_chart_has_a_transparent_ground_and_a_picture_a_white_one(pictured):
    @style.drawn
    def draw():
        figure, axes = plt.subplots()
        axes.imshow([[0.0, 1.0]]) if pictured else axes.plot([0, 1])
        return figure

    file = io.BytesIO()
    draw().savefig(file)
    picture = Image.open(file)
    middle = (picture.width // 2, picture.height // 4)
    assert picture.getpixel((0, 0)) == (255, 255, 255, 255 if pictured else 0)
    assert pictured or picture.getpixel(middle)[3] == 0


@pytest.mark.parametrize(
    ("texts", "behind"),
    [
        (("excluded: 2 images;\n30 images\nof 16 patients",), "30 images of 16 patients."),
        (("64 images", "no brain in 2 images"), "64 images."),
        (("64 lesions",), None),
    ],
)
def test_a_file_says_how_many_images_are_behind_the_figure(tmp_path, texts, behind):
    @style.drawn
    def draw():
        figure = plt.figure()
        for text in texts:
            figure.text(0, 0, text)
        return figure

    draw().savefig(tmp_path / "a.png")
    draw().savefig(tmp_path / "a.jpg")  # knows no comment
    assert Image.open(tmp_path / "a.png").info.get("Comment") == behind


def test_a_caption_makes_the_figure_grow():
    figure = plt.figure(figsize=(4, 3), layout="constrained")
    style.caption(figure, "A title", "and a note", None, "another")
    plt.close(figure)
    assert figure.get_size_inches()[1] == pytest.approx(3.46)
    assert figure.texts[1].get_text() == "and a note; another"


def test_the_perceptual_distance_is_better_when_lower():
    assert style.label_of("perceptual") == ("perceptual distance (bicubic = 1)", False)
    assert style.better("perceptual").startswith("← better")
    assert style.written("perceptual", 0.5) == "0.500"


def test_what_show_offers_is_there():
    others = {"explore", "Folded", "grey_window", "keep", "NothingToDraw", "over_trainings"}
    drawn = {name: getattr(show, name) for name in set(show.__all__) - others}
    assert all(hasattr(function, "__wrapped__") for function in drawn.values())
    with pytest.raises(AttributeError, match="no attribute 'charts'"):
        _ = show.charts


def test_figures_need_no_widgets():
    command = "import sys; sys.modules['ipywidgets'] = None; from medsr_lib import show"
    assert not apart.run(command).error


def test_what_figures_need_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "seaborn", None)
    with pytest.raises(ModuleNotFoundError, match=r"figures need seaborn.*medsr-lib\[notebooks\]"):
        importlib.reload(show)


def test_what_is_folded_opens_by_a_click_and_is_escaped():
    table = pd.DataFrame({"ESPCN": [0.5]}, index=["a < b"])
    folded = show.Folded("Tables", {"Gain": table, "Note": "1 < 2"})
    html = folded._repr_html_()
    assert html.startswith("<details><summary>Tables</summary><p><b>Gain</b></p><table")
    assert html.endswith("<p><b>Note</b></p><p>1 &lt; 2</p></details>")
    assert "a &lt; b" in html
    assert repr(folded).splitlines()[0] == "Tables"
