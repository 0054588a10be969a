"""The viewer in a page without network: what it shows is what it was given."""

import base64
import io
from functools import cache
from statistics import median

import numpy as np
import pytest
from browser import accessible, jupyter
from PIL import Image

from medsr_lib.show.explore import charts, viewer
from medsr_lib.show.explore.viewer import Scale, Scene

pytestmark = pytest.mark.browser

LOOKS = {"desktop": (1280, 900, "light"), "phone": (390, 844, "dark")}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
style-src 'unsafe-inline'; script-src 'unsafe-inline'"></head>
<body><main><h1>A page</h1><div><figure>{still}</figure>{viewer}</div></main></body></html>"""
DRAG = """([stage, from, to, type]) => {
    const box = stage.getBoundingClientRect();
    const send = (name, [x, y], pointerId) => stage.dispatchEvent(new PointerEvent(name, {
        clientX: box.left + x, clientY: box.top + y, pointerType: type, pointerId }));
    stage.setPointerCapture = () => {};
    from.forEach((at, i) => send("pointerdown", at, i + 1));
    to.forEach((at, i) => send("pointermove", at, i + 1));
    to.forEach((at, i) => send("pointerup", at, i + 1));
}"""
MOVES = """stage => {
    const box = stage.getBoundingClientRect(), taken = [];
    for (let n = 0; n < 200; n++) {
        const start = performance.now();
        stage.dispatchEvent(new PointerEvent("pointermove", {
            clientX: box.left + 20 + n, clientY: box.top + 60 + n / 2, pointerId: 1 }));
        taken.push(performance.now() - start);
    }
    return taken;
}"""


@cache
def scenes():
    """Two cases of 64 x 64 with two methods, a map and a lesion; the second has none."""
    generator = np.random.default_rng(0)
    hr = generator.uniform(0.1, 0.6, (64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), bool)
    mask[20:36, 30:42] = True
    sr = {"bicubic": np.clip(hr + 0.1, 0, 1), "ESPCN": np.roll(hr, 1, 1)}
    given = {"maps": {"SSIM": sr}, "scales": {"SSIM": Scale("magma_r", 0, 1, "SSIM", ("0", "1"))}}
    first = Scene("7, glioma", hr, hr[::4, ::4], sr, mask, spacing=0.5, window=(0, 1), **given)
    return [first, Scene("8, normal", hr.T, hr.T[::4, ::4], {"bicubic": hr.T, "ESPCN": hr})]


@pytest.fixture(scope="module", params=LOOKS)
def tab(request, chromium, tmp_path_factory):
    """The page, without a network: light on a desktop, dark on a phone."""
    width, height, colours = LOOKS[request.param]
    still = charts.img(viewer.still(scenes()[0]), "still")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGE.format(still=still, viewer=viewer.page_html(scenes())), encoding="utf-8")
    size = {"width": width, "height": height}
    context = chromium.new_context(color_scheme=colours, viewport=size, has_touch=width < 500)
    context.set_offline(True)
    page = context.new_page()
    page.heard, page.address = jupyter.listen(page), path.as_uri()
    yield page
    context.close()


@pytest.fixture
def page(tab):
    """The page, opened anew."""
    tab.goto(tab.address)
    tab.wait_for_selector(".mv-live .mv-values td")
    return tab


def shown(page):
    """The pixels of the pictures (H, W, 4)."""
    png = page.locator(".mv-stage canvas").first.evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png.split(",")[1]))))


def values(page):
    """The numbers of the table, by name, and where they are from."""
    rows = page.locator(".mv-values tbody tr").all_inner_texts()
    return {name: rest for name, *rest in (row.split("\t") for row in rows)}


def where(page):
    return page.locator(".mv-values caption").inner_text()


def drag(page, start, end, *, touch=False):
    """Drag one finger or the mouse, or two fingers, from and to places (x, y) in the stage."""
    stage = page.locator(".mv-stage").element_handle()
    page.evaluate(DRAG, [stage, start, end, "touch" if touch else "mouse"])


def test_the_page_needs_no_network_and_the_picture_makes_way(page):
    assert page.heard.hosts <= {None}
    assert not page.heard.complaints
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert not page.locator("figure").is_visible()
    page.emulate_media(media="print")
    assert page.locator("figure").is_visible()
    assert not page.locator(".medsr-viewer").is_visible()
    page.emulate_media(media="screen")


def test_without_a_program_there_is_the_picture(chromium, page):
    context = chromium.new_context(java_script_enabled=False)
    other = context.new_page()
    other.goto(page.address)
    assert other.get_by_alt_text("still").is_visible()
    context.close()


def test_axe_finds_nothing_in_any_view(page):
    for view in ("Side by side", "Curtain", "Flicker"):
        page.get_by_role("button", name=view).click()
        page.get_by_label("Show").select_option(label="SSIM" if view == "Curtain" else "image")
        assert not accessible.violations(page)


def test_arrow_keys_read_the_values_of_all_images(page):
    hr = scenes()[0].hr
    page.locator(".mv-stage").focus()
    assert where(page) == "Row 32, column 32, inside the lesion"
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    assert where(page) == "Row 31, column 42, outside the lesion"
    found = values(page)
    assert float(found["HR"][0]) == pytest.approx(hr[31, 42], abs=0.01)
    assert float(found["LR"][0]) == pytest.approx(hr[28, 40], abs=0.01)
    assert float(found["ESPCN"][0]) == pytest.approx(hr[31, 41], abs=0.01)
    assert found["bicubic"][1] == "+0.10"
    page.get_by_role("status").get_by_text("Row 31, column 42, outside the lesion: HR").wait_for()


def test_the_pixels_shown_are_those_of_the_images(page):
    page.get_by_label("Outline of the lesion").uncheck()
    page.get_by_role("button", name="Whole image").click()
    pixels, ratio = shown(page), page.evaluate("devicePixelRatio")
    panel = page.locator(".mv-stage").bounding_box()["width"]
    assert pixels.shape[1] == round(panel * ratio)
    greys = pixels[30:200, :200, 0].astype(float) / 255
    wide = (pixels[100, :, 3] == 255).argmin()  # of a panel: up to the gap
    side = wide / 64
    rows, columns = (int((n + 0.5) * side) for n in (3, 5))
    hr = scenes()[0].hr
    assert greys[rows - 6, columns] == pytest.approx(hr[3, 5], abs=0.03)


def test_the_curtain_shows_one_method_left_and_the_other_right_of_its_line(page):
    page.get_by_role("button", name="Curtain").click()
    page.get_by_label("Left").select_option("HR")
    page.get_by_label("Right").select_option("ESPCN")
    middle = shown(page)
    page.get_by_role("slider").fill("0")
    right = shown(page)
    page.get_by_role("slider").fill("100")
    left = shown(page)
    w = (middle[100, :, 3] == 255).sum()
    assert np.array_equal(middle[30:, : w // 2 - 4], left[30:, : w // 2 - 4])
    assert np.array_equal(middle[30:, w // 2 + 4 : w - 4], right[30:, w // 2 + 4 : w - 4])
    assert not np.array_equal(left, right)
    stage = page.locator(".mv-stage").bounding_box()
    page.get_by_role("slider").fill("50")
    at = w / page.evaluate("devicePixelRatio")
    drag(page, [[at / 2, 100]], [[at / 4, 100]], touch=stage["width"] < 500)
    assert page.get_by_role("slider").input_value() in ("50", "25")
    assert not np.array_equal(shown(page), middle)


def test_flicker_shows_both_in_turn_and_can_be_halted(page):
    page.get_by_role("button", name="Flicker").click()
    seen = set()
    while len(seen) < 2:
        seen.add(shown(page).tobytes())
    page.get_by_role("button", name="Pause").click()
    before = shown(page)
    page.wait_for_timeout(1000)
    assert np.array_equal(shown(page), before)
    page.locator(".mv-stage").press("Space")
    assert not np.array_equal(shown(page), before)


def test_the_difference_has_a_key_in_words(page):
    assert page.locator(".mv-key").inner_text() == ""
    before = shown(page)
    page.get_by_label("Show").select_option(label="difference, SR − HR")
    assert "darker than HR" in page.locator(".mv-key").inner_text()
    pixels = shown(page)
    w = (pixels[100, :, 3] == 255).argmin()
    assert np.array_equal(pixels[:180, : w - 1], before[:180, : w - 1])  # HR stays grey
    red = pixels[100, w + 20].astype(int)  # bicubic is brighter everywhere
    assert red[0] > red[2] + 50


def test_keys_and_drags_set_the_window(page):
    stage = page.locator(".mv-stage")

    def window():
        return [float(box.input_value()) for box in page.get_by_role("spinbutton").all()]

    before = shown(page)
    assert window() == [0, 1]
    stage.press("b")
    assert window() == [-0.05, 0.95]
    stage.press("a")
    low, high = np.percentile(scenes()[0].hr, (1, 99))
    assert window() == pytest.approx([low, high], abs=0.006)
    drag(page, [[60, 100]], [[60, 70]])
    assert window()[0] < low - 0.03
    for end, value in (("White", "1"), ("Black", "0")):
        page.get_by_role("spinbutton", name=end).fill(value)
        page.get_by_role("spinbutton", name=end).blur()
    assert np.array_equal(shown(page), before)


def test_the_outline_can_be_switched_off(page):
    def yellow():
        return (np.abs(shown(page)[..., :3].astype(int) - (255, 200, 0)).max(-1) < 30).sum()

    assert yellow() > 50
    page.locator(".mv-stage").press("o")
    assert yellow() == 0
    assert not page.get_by_label("Outline of the lesion").is_checked()


def test_fingers_and_wheel_enlarge_all_pictures_at_one_place(page):
    before = shown(page)
    if page.viewport_size["width"] < 500:
        drag(page, [[60, 80], [80, 100]], [[30, 50], [110, 130]], touch=True)
    else:
        page.locator(".mv-stage").hover(position={"x": 70, "y": 90})
        at = where(page)
        page.keyboard.down("Control")
        page.mouse.wheel(0, -100)
        page.keyboard.up("Control")
        page.locator(".mv-stage").hover(position={"x": 70, "y": 91})
        assert where(page).split(",")[1] == at.split(",")[1]
    enlarged = shown(page)
    assert not np.array_equal(enlarged, before)
    drag(page, [[60, 80]], [[40, 70]], touch=True)
    assert not np.array_equal(shown(page), enlarged)
    page.get_by_role("button", name="Whole image").click()
    assert where(page)
    page.locator(".mv-stage").press("z")
    assert where(page)


def test_another_case_keeps_what_was_chosen(page):
    page.get_by_role("button", name="Curtain").click()
    page.get_by_label("Right").select_option("bicubic")
    page.get_by_role("combobox", name="Image", exact=True).select_option("8, normal")
    page.get_by_role("group", name="Viewer: 8, normal").wait_for()
    assert page.get_by_label("Right").input_value() == "bicubic"
    assert page.get_by_label("Outline of the lesion").count() == 0
    assert values(page)["bicubic"][0] == values(page)["HR"][0]


def test_a_move_takes_five_milliseconds_at_most(page):
    taken = page.locator(".mv-stage").evaluate(MOVES)
    print(f"a move: {median(taken):.2f} ms, the longest {max(taken):.1f} ms")
    assert median(taken) < 5
