"""What all explorers share: the message in place, the static picture, the keyboard, the mouse."""

import base64
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

VIEW = "application/vnd.jupyter.widget-view+json"


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def explorers(slices, scores, tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    methods = {scale: {"bicubic": partial(resample.bicubic, scale=scale)} for scale in (2, 4)}
    to_lr = {scale: degrade.by_name("bicubic", scale=scale) for scale in (2, 4)}
    return [
        explore.slices(slices),
        explore.methods(slices, methods, degrade=to_lr, scale=4),
        explore.training(tmp_path, follow=False),
        explore.scores(scores),
    ]


def test_labels_are_whole_and_controls_take_the_keyboard(explorers):
    keyboard = (widgets.Dropdown, widgets.Checkbox, widgets.IntSlider, widgets.FloatSlider)
    for made in explorers:
        controls = [*made.controls.values(), *getattr(made, "ticks", {}).values()]
        assert all(isinstance(control, keyboard) for control in controls)
        assert all(len(control.description) > 1 for control in controls)
        assert len({control.description for control in controls}) == len(controls)
        widths = {getattr(c.style, "description_width", "initial") for c in controls}
        assert widths <= {"initial", ""}
        assert not any(control.disabled or control.tabbable is False for control in controls)
        shown = {child for row in made.widget.children[:-4] for child in row.children}
        assert shown == set(controls)


def test_every_explorer_has_its_parts_in_one_order(explorers):
    for made in explorers:
        parts = [made.alert, made.screen, made.under, made.notes]
        assert list(made.widget.children[-4:]) == parts
        assert "oint" in made.hint
        assert np.array_equal(opened(made.screen.value), made.pixels)


def test_a_page_without_widgets_gets_the_picture(explorers):
    for made in explorers:
        bundle = made._repr_mimebundle_()
        assert {"text/plain", "image/png", VIEW} <= set(bundle)
        kept = opened(base64.b64decode(bundle["image/png"]))
        assert kept.shape == made.pixels.shape
        assert np.abs(kept.astype(int) - made.pixels).mean() < 3
        assert bundle["text/plain"].startswith(made.title)


def place(x, y, rectangle, size):
    names = ("boundingRectLeft", "boundingRectTop", "boundingRectWidth", "boundingRectHeight")
    return base.place({"clientX": x, "clientY": y, **dict(zip(names, rectangle))}, *size)


def test_a_place_on_the_page_is_one_of_the_picture():
    assert place(60, 45, (10, 20, 100, 50), (200, 100)) == (100, 50)
    assert place(10, 20, (10, 20, 100, 50), (200, 100)) == (0, 0)
    assert place(11, 21, (10.5, 20.5, 600, 300), (200, 100)) == (0, 0)
    assert place(9, 19, (10, 20, 100, 50), (200, 100)) == (-2, -2)
    assert place(115, 20, (10, 20, 400, 100), (200, 100)) == (5, 0)  # bars left and right of it
    assert place(10, 75, (10, 20, 200, 200), (200, 100)) == (0, 5)  # bars above and below


def test_moves_do_not_queue_up(slices, send, monkeypatch):
    browser, seen, busy = explore.slices(slices), [], iter([0, 0.1, 1, 1.1])  # each takes 100 ms
    browser.hover = lambda x, y: seen.append(x)
    monkeypatch.setattr(base, "perf_counter", lambda: next(busy))
    for when in (1000, 1050, 1099, 1101, 1150):
        send(browser, "mousemove", when, 5, when=float(when))
    assert seen == [1000, 1101]


def test_a_drag_ends_where_the_button_is_let_go(slices, send):
    browser = explore.slices(slices, window=(0.2, 0.6))
    send(browser, "mousedown", 100, 200, buttons=1, when=1e9)
    send(browser, "mousemove", 120, 200, buttons=1, when=1e9 + 1000)
    browser.mouse._dom_handlers.callbacks[0].busy_until = 1e9 + 2000
    send(browser, "mousemove", 140, 200, buttons=1, when=1e9 + 1050)
    assert browser.controls["width"].value == pytest.approx(0.4 + 20 / 512)
    send(browser, "click", 151, 200, when=1e9 + 1100)
    assert browser.controls["width"].value == pytest.approx(0.4 + 51 / 512)
    send(browser, "mousemove", 190, 200, when=1e9 + 9000)
    assert browser.controls["width"].value == pytest.approx(0.4 + 51 / 512)


def test_a_button_let_go_elsewhere_is_not_held(slices, send):
    browser = explore.slices(slices)
    before = browser.greys.window
    send(browser, "mousedown", 100, 200, buttons=1, when=1e9)
    send(browser, "mouseleave", -5, 200, buttons=1, when=1e9 + 1000)
    send(browser, "mousemove", 300, 300, when=1e9 + 2000)
    send(browser, "mousedown", 100, 200, buttons=2, when=1e9 + 3000)
    send(browser, "mousemove", 300, 300, buttons=2, when=1e9 + 4000)
    assert browser.greys.window == before
    assert "row 34" in browser.under.value


def test_nothing_is_found_in_a_message(slices, hand):
    comparator = explore.methods(slices, {"HR": abs}, degrade=abs, scale=2)
    hand(comparator, "mousemove", (5, 5))
    hand(comparator, "click", (5, 5))
    assert "give methods by name" in comparator.message
    assert comparator.under.value == ""


def test_what_the_mouse_can_do_is_written_again_after_a_message(tmp_path):
    made = explore.training(tmp_path, follow=False)
    assert made.under.value == ""
    (tmp_path / "training.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    made.look()
    assert "Point at a curve" in made.under.value


def test_without_ipyevents_the_controls_do_the_same(slices, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyevents", None)
    browser = explore.slices(slices)
    assert browser.mouse is None
    assert browser.under.value == ""
    before = browser.pixels
    browser.controls["image"].value = 3
    assert not np.array_equal(browser.pixels, before)
    browser.close()
