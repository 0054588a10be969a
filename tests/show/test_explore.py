"""What all explorers share: the picture, the cache, the message in place, the static picture."""

import base64
import io
from functools import partial

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image
from skimage import color

from medsr_lib.restore import degrade, resample
from medsr_lib.show import explore
from medsr_lib.show.explore import chart, follow, picture
from medsr_lib.show.explore.cache import Cache, weight
from medsr_lib.show.explore.chooser import index
from medsr_lib.show.style import CONTOUR

VIEW = "application/vnd.jupyter.widget-view+json"


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_window_decides_what_is_black_and_what_white():
    pixels = picture.grey(np.array([[0.1, 0.2, 0.3, 0.4, 0.9]]), (0.2, 0.4))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_maps_have_the_colours_of_matplotlib_and_grey_for_nan():
    scale = picture.Scale("RdBu_r", -1, 1, "error")
    pixels = picture.coloured(np.array([[-2, 0, 1, np.nan]]), scale)
    blue, white, red, none = pixels[0].astype(int)
    assert blue[2] > blue[0] + 50
    assert red[0] > red[2] + 50
    assert white.min() > 240
    assert none.tolist() == [0xBD] * 3


def test_the_outline_lies_outside_the_mask(mask):
    pixels = np.full((64, 64, 3), 100, np.uint8)
    picture.outline(pixels, mask)
    yellow = (pixels == picture.rgb(CONTOUR)).all(-1)
    assert yellow.sum() == 2 * (16 + 12)
    assert not (yellow & mask).any()
    assert (pixels[mask].reshape(-1, 3)[0] == 0).all()  # the halo
    assert (pixels[28, 36] == 100).all()


def test_an_enlarged_pixel_stays_a_square():
    pixels = picture.enlarged(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 8)
    assert pixels.shape == (8, 8, 3)
    assert (pixels[:4, :4] == [0, 1, 2]).all()


def test_a_stored_picture_is_small_even_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    assert len(picture.kept(noise)) < 150_000


def test_a_chart_draws_what_is_a_number():
    drawing = chart.Chart(200, 100)
    axes = chart.Axes(drawing, (20, 10, 190, 80), (0, 2), (1e-3, 1), log=True)
    before = drawing.pixels()
    axes.line([0, 1, 2], [np.nan, 0.1, 0.5], "#D55E00")
    changed = np.nonzero((drawing.pixels() != before).any((0, 2)))[0]
    assert changed.min() >= 103
    assert axes.up(1).item() == 10
    assert axes.up(1e-3).item() == 80


def test_the_cache_forgets_what_was_not_used_longest():
    cache, made = Cache(limit=250), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.zeros(100, np.uint8))

    for key in ["a", "b", "a", "c", "a", "b"]:
        get(key)
        assert cache.bytes <= 250
    assert made == ["a", "b", "c", "b"]
    assert get("b").nbytes == 100


def test_what_is_larger_than_the_cache_is_not_kept():
    cache = Cache(limit=10)
    assert cache.get("a", lambda: np.zeros(100)).shape == (100,)
    assert "a" not in cache
    assert cache.bytes == 0


def test_weights_count_arrays_inside():
    assert weight({"a": np.zeros(8), "b": [np.zeros(4), None]}) == 64 + 64 + 64 + 32 + 64


def test_an_index_is_taken_from_slices_or_from_their_table(slices):
    rows = index(slices)
    assert rows["slice_id"].tolist() == [str(n) for n in range(1, 11)]
    assert rows["patient"].nunique() == 4
    assert rows.loc[0, "tumour"] == "meningioma"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no slices to show"),
        ("runs/lab/slices.h5", "must be a sequence of slices, such as a pack; got str"),
        (None, "got NoneType"),
    ],
)
def test_without_slices_a_message_stands_in_place(given, message):
    browser = explore.slices(given)
    assert message in browser.message
    assert message.split(";")[0] in browser.alert.value
    assert opened(browser.screen.value).std() > 0
    assert message in repr(browser)


@pytest.fixture
def browser(slices):
    made = explore.slices(slices)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("slice", 4),
        ("tumour", "glioma"),
        ("patient", "98765"),
        ("contour", False),
        ("zoom", True),
        ("level", 0.6),
        ("width", 0.3),
    ],
)
def test_every_control_of_the_browser_changes_its_picture(browser, control, value):
    before, sent = browser.pixels, browser.screen.value
    browser.controls[control].value = value
    assert not np.array_equal(browser.pixels, before)
    assert browser.screen.value != sent
    assert np.array_equal(opened(browser.screen.value), browser.pixels)
    assert browser.message == ""


def test_patients_and_slices_follow_the_tumour_type(browser):
    browser.controls["tumour"].value = "glioma"
    assert browser.controls["patient"].options == ("all", "MR000001")
    assert browser.controls["slice"].max == 4
    browser.controls["slice"].value = 4
    browser.controls["tumour"].value = "pituitary"
    assert browser.controls["slice"].value == 1
    assert "pituitary · patient 98765" in browser.notes.value


def test_the_browser_shows_the_pixels_of_the_slice(browser, slices):
    browser.controls["contour"].value = False
    shown = picture.enlarged(picture.grey(slices[0].image.numpy(), (0, 0.7)), 512)
    assert np.array_equal(browser.pixels[24 : 24 + 512, : shown.shape[1]], shown)


def test_a_slice_that_cannot_be_read_is_named(slices):
    class Damaged(list):
        def __getitem__(self, at):
            if at == 2:
                raise OSError("truncated")
            return super().__getitem__(at)

    browser = explore.slices(Damaged(slices))
    browser.controls["slice"].value = 3
    assert browser.message == "slice 3 cannot be read: truncated"
    browser.controls["slice"].value = 4
    assert browser.message == ""


def test_a_page_without_widgets_gets_the_picture(browser):
    bundle = browser._repr_mimebundle_()
    assert {"text/plain", "image/png", VIEW} <= set(bundle)
    kept = opened(base64.b64decode(bundle["image/png"]))
    assert kept.shape == browser.pixels.shape
    assert np.abs(kept.astype(int) - browser.pixels).mean() < 3
    assert bundle["text/plain"].startswith("Slice browser: tumour all")


@pytest.fixture
def explorers(slices, scores, tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    methods = {scale: {"bicubic": partial(resample.bicubic, scale=scale)} for scale in (2, 4)}
    return [
        explore.slices(slices),
        explore.methods(slices, methods, degrade=degrade.bicubic, scale=4),
        explore.training(tmp_path, follow=False),
        explore.scores(scores),
    ]


def test_labels_are_whole_and_controls_take_the_keyboard(explorers):
    keyboard = (widgets.Dropdown, widgets.Checkbox, widgets.IntSlider, widgets.FloatSlider)
    for made in explorers:
        ticks = getattr(made, "ticks", {})
        controls = [*made.controls.values(), *ticks.values()]
        assert all(isinstance(control, keyboard) for control in controls)
        assert all(len(control.description) > 1 for control in controls)
        assert len({control.description for control in controls}) == len(controls)
        widths = {getattr(c.style, "description_width", "initial") for c in controls}
        assert widths <= {"initial", ""}
        assert not any(control.disabled or control.tabbable is False for control in controls)
        shown = {child for row in made.widget.children[:-4] for child in row.children}
        assert shown <= set(controls)
    assert "Slice, 1 to 10" in [c.description for c in explorers[0].controls.values()]


def test_every_explorer_has_its_parts_in_one_order(explorers):
    for made in explorers:
        parts = [made.alert, made.screen, made.under, made.notes]
        assert list(made.widget.children[-4:]) == parts
        assert "oint" in made.hint


# Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1
NO_GREEN = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
NO_RED = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]


@pytest.mark.parametrize("eyes", [np.eye(3), NO_GREEN, NO_RED], ids=["all", "deutan", "protan"])
def test_curves_differ_for_colour_blind_eyes(eyes):
    tones = np.array([picture.rgb(tone) for tone in follow.TONES]) / 255
    linear = np.where(tones > 0.04045, ((tones + 0.055) / 1.055) ** 2.4, tones / 12.92)
    seen = np.clip(linear @ np.transpose(eyes), 0, 1)
    seen = np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)
    lab = color.rgb2lab(seen)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 10


def test_a_closed_explorer_leaves_the_cache(slices):
    from medsr_lib.show.explore.cache import SHARED

    browser = explore.slices(slices)
    assert browser.key(0) in SHARED
    browser.close()
    assert browser.key(0) not in SHARED
