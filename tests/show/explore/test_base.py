"""What all explorers share: the message in place, the static picture, the keyboard, the page."""

import base64
import importlib
import io
import sys
from functools import partial

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

from medsr_lib.restore import degrade, resample
from medsr_lib.show import explore
from medsr_lib.show.explore import base
from medsr_lib.show.explore.controls import IntSlider

VIEW = "application/vnd.jupyter.widget-view+json"


def opened(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


@pytest.fixture
def explorers(slices, scores, pictures, tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    methods = {scale: {"bicubic": partial(resample.bicubic, scale=scale)} for scale in (2, 4)}
    to_lr = {scale: degrade.by_name("bicubic", scale=scale) for scale in (2, 4)}
    return {
        "slices": explore.slices(slices),
        "methods": explore.methods(slices, methods, degrade=to_lr, scale=4),
        "training": explore.training(tmp_path, follow=False),
        "scores": explore.scores(scores, pictures),
    }


def test_labels_are_whole_and_controls_take_the_keyboard(explorers):
    for made in explorers.values():
        controls = [*made.controls.values(), *getattr(made, "ticks", {}).values()]
        assert all(isinstance(c, widgets.Dropdown | widgets.Checkbox | IntSlider) for c in controls)
        assert all(len(control.description) > 1 for control in controls)
        assert len({control.description for control in controls}) == len(controls)
        shown = {child for row in made.widget.children[:-4] for child in row.children}
        assert shown == set(controls)


def test_every_explorer_has_its_parts_in_one_order(explorers):
    for name, made in explorers.items():
        parts = [made.alert, made.screen, made.viewer, made.notes]
        assert list(made.widget.children[-4:]) == parts
        assert (made.viewer.layout.display != "none") is (name != "training")
        assert ('<img alt="' in made.screen.value) is (name in ("training", "scores"))


def test_a_page_without_widgets_gets_the_picture(explorers):
    for made in explorers.values():
        bundle = made._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "image/png", VIEW}
        assert bundle["text/plain"].startswith(made.title)
        assert min(opened(bundle["image/png"]).shape[:2]) > 200


def test_a_page_gets_a_live_viewer_where_one_is_made(explorers, monkeypatch):
    monkeypatch.setenv(base.FOR_PAGE, "1")
    bundles = {name: made._repr_mimebundle_() for name, made in explorers.items()}
    assert [name for name, of in bundles.items() if base.PAGE in of] == ["slices", "methods"]
    assert bundles["slices"][base.PAGE].count('"title": "') == 5


def test_a_page_does_without_cases_that_cannot_be_shown(slices, monkeypatch):
    monkeypatch.setenv(base.FOR_PAGE, "1")
    made = explore.slices(slices)
    made.chooser.cases = slices[:5]  # of ten; others are numbers 3, 5, 7 and 10
    assert made._repr_mimebundle_()[base.PAGE].count('"title": "') == 3


def test_a_slider_keeps_its_value_within_its_ends():
    slider = IntSlider(min=1, max=5, description="Image")
    for asked, kept in ((3, 3), (9, 5), (0, 1)):
        slider.value = asked
        assert slider.value == kept


def test_without_anywidget_a_still_picture_takes_the_viewers_place(slices, monkeypatch):
    names = ["viewer", "base", "controls", "images"]
    for name in names:
        monkeypatch.delitem(sys.modules, f"medsr_lib.show.explore.{name}")
    monkeypatch.setitem(sys.modules, "anywidget", None)
    images = importlib.import_module("medsr_lib.show.explore.images")
    browser = images.Slices(slices)
    before = browser.viewer.value
    assert before.startswith('<img alt="1, meningioma, patient')
    browser.controls["image"].value = 3
    assert browser.viewer.value != before
    assert browser.message == ""
