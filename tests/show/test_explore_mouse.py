"""What the mouse does in the explorers, by events as ipyevents tells them."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsr_lib.assess.quality import metrics
from medsr_lib.restore import degrade, resample
from medsr_lib.show import explore
from medsr_lib.show.explore import chart, mouse, picture

SCALE = 2


def event(kind, x, y, *, of, buttons=0, when=0.0):
    """An event over a picture that is shown in its own size at (30, 40) of the page."""
    height, width = of.pixels.shape[:2]
    return {
        "type": kind, "clientX": x + 30, "clientY": y + 40, "buttons": buttons, "timeStamp": when,
        "boundingRectLeft": 30, "boundingRectTop": 40, "boundingRectWidth": width,
        "boundingRectHeight": height,
    }  # fmt: skip


@pytest.fixture
def hand():
    """`hand(explorer, "click", (x, y), ...)`: what a hand does with the mouse."""
    clock = iter(range(10**9, 2 * 10**9, 10**6))  # ms: no two moves are near each other

    def do(of, kind, *places):
        def send(kind, place, buttons=0):
            of.mouse._dom_handlers(event(kind, *place, of=of, buttons=buttons, when=next(clock)))

        if kind in ("click", "drag"):
            send("mousedown", places[0], 1)
            for place in places[1:]:
                send("mousemove", place, 1)
            send("click", places[-1])
        else:
            send(kind, places[0])

    return do


@pytest.fixture
def comparator(slices):
    names = {"nearest": resample.nearest, "bicubic": resample.bicubic}
    made = explore.methods(
        slices,
        {name: partial(function, scale=SCALE) for name, function in names.items()},
        degrade=degrade.by_name("bicubic", scale=SCALE),
        scale=SCALE,
        maps={"SSIM": partial(metrics.ssim_map, data_range=1)},
    )
    yield made
    made.close()


def place(x, y, rectangle, size):
    names = ("boundingRectLeft", "boundingRectTop", "boundingRectWidth", "boundingRectHeight")
    return mouse.place({"clientX": x, "clientY": y, **dict(zip(names, rectangle))}, *size)


def test_a_place_on_the_page_is_one_of_the_picture():
    assert place(60, 45, (10, 20, 100, 50), (200, 100)) == (100, 50)
    assert place(10, 20, (10, 20, 100, 50), (200, 100)) == (0, 0)
    assert place(11, 21, (10.5, 20.5, 600, 300), (200, 100)) == (0, 0)
    assert place(9, 19, (10, 20, 100, 50), (200, 100)) == (-2, -2)
    assert place(115, 20, (10, 20, 400, 100), (200, 100)) == (5, 0)  # bars left and right of it
    assert place(10, 75, (10, 20, 200, 200), (200, 100)) == (0, 5)  # bars above and below


def test_a_sheet_knows_where_each_pixel_of_a_slice_is_seen():
    panel = picture.Panel(np.zeros((32, 40, 3), np.uint8), "title", "note")
    _, boxes = picture.sheet([panel] * 3, columns=2)
    assert boxes == [(0, 24, 40, 56), (48, 24, 88, 56), (0, 108, 40, 140)]
    shown = (100, 50, 110, 58)  # each pixel of the slice is a square of 4 x 4
    found = {at: picture.found_at(*at, boxes, shown) for at in [
        (0, 24), (3, 27), (4, 28), (61, 35), (39, 139), (41, 30), (5, 23), (5, 56), (60, 120),
        (-1, 30),
    ]}  # fmt: skip
    assert list(found.values()) == [
        (50, 100), (50, 100), (51, 101), (52, 103), (57, 109), None, None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(64, 56), (37, 41), (3, 2)])
def test_what_is_found_is_what_is_drawn(shape):
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    width, height = picture.size_of(shape, 97)
    drawn = np.asarray(Image.fromarray(numbers).resize((width, height), Image.Resampling.NEAREST))
    boxes, shown = [(0, 0, width, height)], picture.whole(numbers)
    for y in range(height):
        for x in range(width):
            assert numbers[picture.found_at(x, y, boxes, shown)] == drawn[y, x]


def test_axes_know_the_value_at_a_pixel():
    axes = chart.Axes(chart.Chart(300, 100), (100, 10, 200, 90), (0, 50), (0, 1)).moved(1000, 500)
    assert axes.at(1149, 540) == 24.75
    assert axes.at(1095, 505) == 0
    assert axes.at(1208, 598) == 50
    assert axes.at(1091, 540) is None
    assert axes.at(1149, 599) is None
    assert axes.across(50) == 1200


@pytest.mark.parametrize("zoom", [True, False])
@pytest.mark.parametrize("name", ["HR", "nearest", "bicubic"])
def test_the_values_under_the_mouse_are_shown(comparator, hand, slices, zoom, name):
    comparator.controls["zoom"].value = zoom
    box = comparator.boxes[["HR", "nearest", "bicubic"].index(name)]
    left, top, right, bottom = comparator.part
    assert (right - left == 56) is not zoom
    before, row, column = comparator.pixels, top + 7, left + 9
    x = box[0] + int((9 + 0.5) / (right - left) * (box[2] - box[0]))
    y = box[1] + int((7 + 0.5) / (bottom - top) * (box[3] - box[1]))
    hand(comparator, "mousemove", (x, y))
    text = comparator.under.value
    assert f"Under the mouse: row {row}, column {column}" in text
    assert f"{slices[0].image[row, column]:.3f}" in text
    for shown in comparator.results.values():
        assert f"{shown.image[row, column]:.3f}" in text
        assert f">{shown.maps['SSIM'][row, column]:.3f}<".replace("-", "−") in text
    assert comparator.pixels is before
    hand(comparator, "mousemove", (box[0], box[1] - 3))
    assert "Under the cursor" in comparator.under.value


def test_a_click_moves_the_cursor_in_all_pictures(comparator, hand):
    before = comparator.pixels.copy()
    x, y, *_ = comparator.boxes[1]
    hand(comparator, "click", (x + 100, y + 50))
    at = comparator.controls["row"].value, comparator.controls["column"].value
    assert at == picture.found_at(x + 100, y + 50, comparator.boxes, comparator.part)
    assert f"Under the cursor: row {at[0]}, column {at[1]}" in comparator.under.value
    for left, top, right, bottom in comparator.boxes:
        inside = np.s_[top:bottom, left:right]
        assert not np.array_equal(comparator.pixels[inside], before[inside])


def test_the_mouse_leaves_to_the_cursor(comparator, hand):
    x, y, *_ = comparator.boxes[0]
    hand(comparator, "mousemove", (x, y))
    assert "Under the mouse" in comparator.under.value
    hand(comparator, "mouseleave", (x, y))
    assert "Under the cursor" in comparator.under.value


def test_dragging_moves_the_line_of_the_swipe(comparator, hand):
    comparator.controls["view"].value = "swipe"
    at = comparator.controls["row"].value, comparator.controls["column"].value
    left, top, right, _ = comparator.boxes[0]
    quarter = left + (right - left) // 4
    hand(comparator, "drag", (left + 300, top + 50), (left + 290, top + 50), (quarter, top + 60))
    assert comparator.controls["swipe"].value == 25
    hand(comparator, "drag", (quarter, top + 50), (left - 90, top + 50))
    assert comparator.controls["swipe"].value == 0
    assert at == (comparator.controls["row"].value, comparator.controls["column"].value)


def test_a_hand_that_trembles_clicks(comparator, hand):
    comparator.controls["view"].value = "swipe"
    left, top, *_ = comparator.boxes[0]
    hand(comparator, "click", (left, top), (left + 2, top + 1))
    assert comparator.controls["swipe"].value == 50
    assert comparator.controls["row"].value == comparator.part[1]


def test_dragging_sets_the_window_of_the_browser(slices, hand):
    browser = explore.slices(slices, window=(0.2, 0.6))
    hand(browser, "drag", (100, 200), (151, 200), (151, 251))
    low, high = browser.greys.window
    assert (high - low, (low + high) / 2) == pytest.approx((0.4 + 51 / 512, 0.4 + 51 / 512))


def test_the_browser_tells_the_value_and_whether_it_is_tumour(slices, hand):
    browser = explore.slices(slices)
    image, tumour = slices[0].image, slices[0].mask
    for row, column in [(24, 34), (2, 3)]:
        side = "inside" if tumour[row, column] else "outside"
        hand(browser, "mousemove", (8 * column + 4, 24 + 8 * row + 4))  # 64 rows in 512 pixels
        text = f"row {row}, column {column}: {image[row, column]:.3f}, {side} the tumour"
        assert text in browser.under.value
    hand(browser, "mousemove", (8, 8))
    assert "Point at a pixel" in browser.under.value


def test_moves_do_not_queue_up(comparator):
    seen = []
    busy = iter([0, 0.1, 1, 1.1])  # each takes 100 ms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mouse, "perf_counter", lambda: next(busy))
        comparator.hover = lambda x, y: seen.append(x)
        for when in (1000, 1050, 1099, 1101, 1150):
            comparator.mouse._dom_handlers(
                event("mousemove", when, 5, of=comparator, when=float(when))
            )
    assert seen == [1000, 1101]


def test_a_drag_ends_where_the_button_is_let_go(slices, hand):
    browser = explore.slices(slices, window=(0.2, 0.6))
    send = browser.mouse._dom_handlers
    send(event("mousedown", 100, 200, of=browser, buttons=1, when=1e9))
    send(event("mousemove", 120, 200, of=browser, buttons=1, when=1e9 + 1000))
    browser.mouse._dom_handlers.callbacks[0].busy_until = 1e9 + 2000
    send(event("mousemove", 140, 200, of=browser, buttons=1, when=1e9 + 1050))
    assert browser.controls["width"].value == pytest.approx(0.4 + 20 / 512)
    send(event("click", 151, 200, of=browser, when=1e9 + 1100))
    assert browser.controls["width"].value == pytest.approx(0.4 + 51 / 512)
    send(event("mousemove", 190, 200, of=browser, when=1e9 + 9000))
    assert browser.controls["width"].value == pytest.approx(0.4 + 51 / 512)


def test_a_button_let_go_elsewhere_is_not_held(slices):
    browser = explore.slices(slices)
    send, before = browser.mouse._dom_handlers, browser.greys.window
    send(event("mousedown", 100, 200, of=browser, buttons=1, when=1e9))
    send(event("mouseleave", -5, 200, of=browser, buttons=1, when=1e9 + 1000))
    send(event("mousemove", 300, 300, of=browser, when=1e9 + 2000))
    send(event("mousedown", 100, 200, of=browser, buttons=2, when=1e9 + 3000))
    send(event("mousemove", 300, 300, of=browser, buttons=2, when=1e9 + 4000))
    assert browser.greys.window == before
    assert "row 34" in browser.under.value


def test_nothing_is_found_in_a_message(slices, hand):
    comparator = explore.methods(slices, {"HR": abs}, degrade=abs, scale=2)
    hand(comparator, "mousemove", (5, 5))
    hand(comparator, "click", (5, 5))
    assert "give methods by name" in comparator.message


def test_what_the_mouse_can_do_is_said_again_after_a_message(tmp_path):
    made = explore.training(tmp_path, follow=False)
    assert made.under.value == ""
    (tmp_path / "training.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    made.look()
    assert "Point at a curve" in made.under.value


def test_a_panel_without_a_picture_has_no_values(slices, hand):
    def fails(lr):
        raise RuntimeError("no memory")

    given = {"degrade": degrade.by_name("bicubic", scale=2), "scale": 2}
    made = explore.methods(slices, {"fails": fails}, **given)
    assert len(made.boxes) == 1  # that of HR
    hand(made, "mousemove", (made.boxes[0][2] + 30, 100))
    assert "Under the cursor" in made.under.value


@pytest.fixture
def statistics(scores):
    made = explore.scores(scores)
    made.controls["metric"].value = "psnr"
    return made


def dot(made, name, slice_id):
    """Where a dot was drawn."""
    row = list(made.estimates).index(name)
    values, across, down = made._dots(made.axes, name, row)
    at = list(values.index.get_level_values("slice_id")).index(slice_id)
    return round(float(across[at])), round(float(down[at]))


@pytest.mark.parametrize("name", ["bicubic", "ESPCN"])
def test_a_click_on_a_dot_chooses_its_slice(statistics, hand, scores, name):
    for slice_id in ("0", "7", "11"):
        at = dot(statistics, name, slice_id)
        assert (statistics.pixels[at[1], at[0]] != 255).any()
        hand(statistics, "click", at)
        assert statistics.point == slice_id
        assert statistics.controls["method"].value == name
        rows = scores[scores["region"].eq("tumour") & scores["method"].eq(name)]
        ordered = rows.sort_values("psnr")["slice_id"].astype(str).tolist()
        assert statistics.controls["point"].value == ordered.index(slice_id) + 1
        assert f"slice {slice_id}, patient" in statistics.notes.value


def test_a_dot_tells_its_slice_and_value(statistics, hand, scores):
    hand(statistics, "mousemove", dot(statistics, "ESPCN", "7"))
    rows = scores[scores["region"].eq("tumour") & scores["method"].eq("ESPCN")]
    value = rows.set_index(rows["slice_id"].astype(str)).loc["7", "psnr"]
    assert f"ESPCN: psnr {value:.2f} dB, slice 7, patient p3" in statistics.under.value
    hand(statistics, "mousemove", (5, 5))
    assert "Point at a dot" in statistics.under.value


def test_a_method_without_values_has_no_dot(scores, hand):
    scores.loc[scores["method"].eq("bicubic"), "psnr"] = np.nan
    made = explore.scores(scores)
    made.controls["metric"].value = "psnr"
    hand(made, "click", (300, 44 + 23))
    assert made.controls["method"].value == "ESPCN"
    assert made.message == ""


def test_a_click_on_a_curve_looks_at_its_step(tmp_path, hand):
    rows = pd.DataFrame({"step": range(1, 101), "loss": np.linspace(1, 0.01, 100)})
    rows.to_csv(tmp_path / "training.csv", index=False)
    pd.DataFrame({"step": [50, 100], "psnr": [30.5, 31.0]}).to_csv(
        tmp_path / "validation.csv", index=False
    )
    made = explore.training(tmp_path, follow=False)
    training, validated = made.plots
    for axes, step in ((training, 25), (validated, 50)):
        at = round(float(axes.across(step))), axes.box[1] + 20
        hand(made, "mousemove", at)
        assert f"step {step}: loss" in made.under.value
        assert "validation: step 50: psnr 30.5" in made.under.value
        hand(made, "click", at)
        assert made.controls["step"].value == step
        assert f"At step {step}" in made.notes.value
    hand(made, "click", (training.box[2] + 7, training.box[1]))
    assert made.controls["step"].value == 100
    hand(made, "mousemove", (2, 2))
    assert "Point at a curve" in made.under.value


def test_without_ipyevents_the_controls_do_the_same(slices, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyevents", None)
    browser = explore.slices(slices)
    assert browser.mouse is None
    assert browser.under.value == ""
    assert browser.message == ""
    browser.controls["slice"].value = 3
    browser.close()
