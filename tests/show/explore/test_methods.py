import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from cachetools import LRUCache
from pandas.testing import assert_frame_equal

from medsr_lib.assess.fidelity.invention import null_space_split
from medsr_lib.assess.quality import metrics, score
from medsr_lib.assess.quality.regions import NAMES, regions
from medsr_lib.restore import degrade, resample
from medsr_lib.restore.networks.sr import ESPCN
from medsr_lib.show import explore
from medsr_lib.show.explore import picture

SCALE = 2
METHODS = {
    "nearest": partial(resample.nearest, scale=SCALE),
    "bicubic": partial(resample.bicubic, scale=SCALE),
}
MAPS = {"SSIM": partial(metrics.ssim_map, data_range=1)}
TO_LR = {scale: degrade.by_name("bicubic", scale=scale) for scale in (2, 4)}


def null_space(sr, hr):
    project = partial(resample.measured_part, scale=SCALE)
    return null_space_split(sr - hr, project=project)[1][:, 0]


def make(cases, methods=METHODS, **rest):
    given = {"degrade": TO_LR[SCALE], "scale": SCALE, "regions": regions, "maps": MAPS}
    return explore.methods(cases, methods, **{**given, **rest})


def table(made):
    """The numbers of the image shown."""
    return pd.concat(made.view.numbers, names=["method"]).reset_index()


@pytest.fixture
def comparator(slices):
    made = make(slices)
    assert made.message == ""
    yield made
    made.close()


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("image", 5),
        ("label", "pituitary"),
        ("view", "swipe"),
        ("overlay", "error"),
        ("overlay", "SSIM"),
        ("contour", False),
        ("zoom", False),
        ("margin", 5),
        ("level", 0.6),
        ("width", 0.3),
        ("row", 20),
        ("column", 30),
        ("measure", "psnr"),
    ],
)
def test_every_control_changes_the_picture(comparator, control, value):
    before, sent = comparator.pixels, comparator.screen.value
    comparator.controls[control].value = value
    assert not np.array_equal(comparator.pixels, before)
    assert comparator.screen.value != sent
    assert comparator.message == ""


def test_the_picture_follows_from_the_controls_alone(slices):
    settings = {"image": 3, "left": "nearest", "overlay": "SSIM", "row": 20, "margin": 9}
    one, other = make(slices), make(slices)
    for made, names in ((one, settings), (other, ["image", *reversed(settings)])):
        for name in names:
            made.controls[name].value = settings[name]
        made.controls["row"].value = 20
    assert np.array_equal(one.pixels, other.pixels)
    assert one.notes.value == other.notes.value


def test_the_swipe_shows_one_method_left_and_another_right_of_the_line(comparator):
    c = comparator.controls
    c["contour"].value, c["row"].value, c["column"].value = False, 0, 0
    c["view"].value, c["left"].value, c["right"].value = "swipe", "nearest", "bicubic"
    pixels = {}
    for share in (0, 40, 100):
        c["swipe"].value = share
        pixels[share] = comparator.pixels[24:664]
    assert np.array_equal(pixels[40][:, :253], pixels[100][:, :253])
    assert np.array_equal(pixels[40][:, 259:], pixels[0][:, 259:])
    assert not np.array_equal(pixels[100], pixels[0])
    c["right"].value = "HR"
    assert not np.array_equal(comparator.pixels[24:664][:, 259:], pixels[40][:, 259:])


def test_the_view_follows_the_controls_that_belong_to_it(comparator):
    c = comparator.controls
    c["left"].value = "nearest"
    assert (c["view"].value, len(comparator.boxes)) == ("swipe", 1)
    comparator.ticks["LR"].value = True
    assert (c["view"].value, len(comparator.boxes)) == ("side by side", 4)
    c["swipe"].value = 20
    assert c["view"].value == "swipe"


def test_strength_belongs_to_the_overlay(comparator):
    comparator.controls["overlay"].value = "error"
    before = comparator.pixels
    comparator.controls["opacity"].value = 20
    assert not np.array_equal(comparator.pixels, before)


def test_pictures_are_ticked(comparator):
    before = comparator.pixels.shape
    comparator.ticks["LR"].value = True
    assert comparator.pixels.shape != before
    for box in comparator.ticks.values():
        box.value = False
    assert comparator.message == "nothing is ticked: tick HR or a method"
    comparator.ticks["bicubic"].value = True
    assert comparator.message == ""
    assert table(comparator)["method"].unique().tolist() == ["bicubic"]


@pytest.mark.parametrize("at", [0, 3])
def test_numbers_are_those_of_a_score_table(slices, at):
    shown = table(make(slices, at=at)).rename(columns={"SSIM": "ssim"})
    scored = score.score(METHODS, [slices[at]], degrade=TO_LR[SCALE], scale=SCALE, device="cpu")
    assert shown["region"].tolist() == [*NAMES] * 2
    columns = ["method", "region", "pixels", "psnr", "mse", "ssim"]
    assert_frame_equal(shown[columns], scored[columns], rtol=1e-5)


def test_numbers_are_in_the_notes_and_under_the_picture(comparator, slices):
    tumour = table(comparator).set_index(["method", "region"]).loc[("bicubic", "tumour")]
    assert f"{tumour['SSIM']:.3f}" in comparator.notes.value
    comparator.controls["measure"].value = "psnr"
    assert "PSNR by region" in comparator.notes.value
    assert f"{tumour['psnr']:.2f} dB" in comparator.notes.value
    comparator.controls["row"].value, comparator.controls["column"].value = 30, 25
    assert "row 30, column 25" in comparator.under.value
    assert f"{slices[0].image[30, 25]:.3f}" in comparator.under.value


def test_the_null_space_is_a_map_like_others(slices):
    to_lr = degrade.by_name("kspace", scale=SCALE)
    made = make(slices, degrade=to_lr, maps={"null space": null_space})
    before = made.pixels
    made.controls["overlay"].value = "null space"
    assert not np.array_equal(made.pixels, before)
    assert made.message == ""
    assert np.isfinite(table(made).set_index("region").loc["tumour", "null space"]).all()


def test_a_method_that_fails_says_why_and_the_others_work(slices):
    def moody(lr):
        raise RuntimeError("out of memory")

    methods = {**METHODS, "moody": moody, "small": lambda lr: lr, "none": lambda lr: None}
    made = make(slices, methods | {"raw": lambda lr: METHODS["nearest"](lr) + 900})
    for box in made.ticks.values():
        box.value = True
    assert "moody: RuntimeError: out of memory" in made.message
    assert "small: SR is (1, 1, 32, 28), HR (1, 1, 64, 56)" in made.message
    assert "raw: SR: expected values in [0, 1]" in made.message
    assert "none: SR is NoneType; it must be a tensor" in made.message
    assert table(made)["method"].unique().tolist() == ["nearest", "bicubic"]
    assert len(made.boxes) == 4


def test_what_fails_on_one_image_fails_there_alone(slices):
    second = TO_LR[SCALE](slices[1].image[None, None])

    def moody(lr):
        if torch.equal(lr, second):
            raise RuntimeError("out of memory")
        return resample.bicubic(lr, scale=SCALE)

    made = make(slices, {**METHODS, "moody": moody})
    for image, failed in ((1, False), (2, True), (3, False)):
        made.controls["image"].value = image
        assert ("moody: RuntimeError: out of memory" in made.message) is failed
        assert len(made.boxes) == (2 if failed else 3)
        assert not made.refused


def test_a_degradation_that_fails_on_one_image_leaves_the_others(slices):
    def moody(hr):
        if torch.equal(hr[0, 0], slices[1].image):
            raise RuntimeError("out of memory")
        return TO_LR[SCALE](hr)

    made = make(slices, degrade=moody)
    for image, message in ((2, "RuntimeError: out of memory"), (3, "")):
        made.controls["image"].value = image
        assert made.message == message
        made.controls["overlay"].value = "error"
        made.controls["overlay"].value = "nothing"


def test_a_map_or_the_regions_may_fail(slices):
    def wrong(*_):
        raise ValueError("not this image")

    made = make(slices, maps={**MAPS, "broken": wrong}, regions=wrong)
    assert "the regions cannot be found: not this image" in made.message
    assert "bicubic: broken: not this image" in made.message
    assert table(made)["region"].unique().tolist() == ["whole", "tumour"]
    made.controls["overlay"].value = "broken"
    assert table(made)["SSIM"].notna().all()
    made.controls["measure"].value = "broken"
    assert "not measured" in made.notes.value


def test_an_image_with_an_empty_mask_is_measured_as_a_whole(slices):
    made = make([replace(slices[0], mask=torch.zeros_like(slices[0].mask))])
    assert "the mask of this image is empty" in made.message
    assert table(made)["region"].tolist() == ["whole", "tumour"] * 2


def test_without_a_mask_the_whole_is_measured_and_the_cursor_enlarged(bare):
    bicubic = {"bicubic": partial(resample.bicubic, scale=4)}
    made = explore.methods(bare, bicubic, degrade=TO_LR[4], scale=4)
    assert made.message == ""
    assert list(table(made)["region"].unique()) == ["whole"]
    c = made.controls
    c["row"].value, c["column"].value, c["margin"].value = 40, 10, 8
    c["zoom"].value = True
    assert made.view.part == (2, 32, 19, 49)
    c["row"].value = 63
    assert made.view.part == (2, 47, 19, 64)
    error = bicubic["bicubic"](TO_LR[4](bare[0].image[None, None]))[0, 0] - bare[0].image
    assert table(made)["mse"].item() == pytest.approx((error**2).mean().item(), rel=1e-5)


def test_a_method_is_asked_once_about_an_image(slices):
    asked = []

    def counting(lr):
        asked.append(len(asked))
        return resample.bicubic(lr, scale=SCALE)

    made = make(slices, {"counting": counting})
    for image in (2, 1, 2):
        made.controls["image"].value = image
        made.controls["overlay"].value = "error"
        made.controls["level"].value += 0.05
    assert len(asked) == 2


def test_memory_is_bounded_and_freed(slices, monkeypatch):
    small = LRUCache(100_000, getsizeof=lambda of: of.nbytes)
    monkeypatch.setattr(sys.modules["medsr_lib.show.explore.methods"], "CACHE", small)
    made = make(slices)
    for image in range(1, 11):
        made.controls["image"].value = image
        assert 0 < small.currsize <= 100_000
        assert made.message == ""
    made.close()
    assert not small


def test_networks_are_left_where_they_are_and_evaluated(slices):
    network = ESPCN(scale=SCALE).train()
    made = make(slices, {"bicubic": METHODS["bicubic"], "ESPCN": network})
    assert made.message == ""
    assert not network.training


@pytest.mark.parametrize("methods", [{}, None, {2: {}, 4: METHODS}, {"HR": METHODS["nearest"]}])
def test_methods_need_names_of_their_own(slices, methods):
    assert "give methods by name" in make(slices, methods).message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": -1}, "at is -1; it must be from 0 to 9"),
        ({"at": 10}, "at is 10; it must be from 0 to 9"),
        ({"cases": []}, "there are no images to show"),
        ({"degrade": TO_LR[4]}, "LR is (1, 1, 16, 14) for HR (64, 56); give the degradation of "),
    ],
)
def test_what_cannot_be_shown_is_said(slices, change, message):
    made = make(**{"cases": slices, **change})
    assert message in made.message
    assert "image/png" in made._repr_mimebundle_()


def bicubic(scale):
    return partial(resample.bicubic, scale=scale)


def at_scales(cases, *, only_at_4=(), **rest):
    methods = {
        2: {"nearest": METHODS["nearest"], "bicubic": bicubic(2)},
        4: {"bicubic": bicubic(4), **dict.fromkeys(only_at_4, bicubic(4))},
    }
    return explore.methods(cases, methods, **{"degrade": TO_LR, "scale": 4, "maps": MAPS, **rest})


def test_a_scale_is_chosen_among_several(slices):
    made = at_scales(slices)
    assert made.controls["scale"].options == (("×2", 2), ("×4", 4))
    for scale in (2, 4):
        made.controls["scale"].value = scale
        alone = explore.methods(
            slices, {"bicubic": bicubic(scale)}, degrade=TO_LR[scale], scale=scale, maps=MAPS
        )
        assert made.message == ""
        assert_frame_equal(made.view.numbers["bicubic"], alone.view.numbers["bicubic"])
        assert alone.controls["scale"].layout.display == "none"


def test_methods_are_offered_at_the_scales_that_they_have(slices):
    made = at_scales(slices, only_at_4=["ESPCN"])

    def offered():
        return [name for name, box in made.ticks.items() if box.layout.display != "none"]

    assert offered() == ["HR", "LR", "bicubic", "ESPCN"]
    made.controls["view"].value = "swipe"
    made.controls["right"].value = "ESPCN"
    made.controls["scale"].value = 2
    assert offered() == ["HR", "LR", "nearest", "bicubic"]
    assert made.controls["right"].options == ("HR", "LR", "nearest", "bicubic")
    assert made.controls["right"].value == "bicubic"
    made.controls["view"].value = "side by side"
    assert "ESPCN" not in table(made)["method"].tolist()
    assert made.message == ""


def test_the_cursor_stays_in_its_place_when_the_scale_changes(slices):
    odd = replace(slices[0], image=slices[0].image[:62, :54], mask=slices[0].mask[:62, :54])
    made = at_scales([odd])
    made.controls["row"].value, made.controls["column"].value = 20, 53
    for scale, column in ((4, 52), (2, 53)):  # at scale 4 it is cropped to 60 x 52, from (1, 1)
        made.controls["scale"].value = scale
        assert f"Under the cursor: row 20, column {column}" in made.under.value
        assert f"{odd.image[20, column]:.3f}" in made.under.value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 3}, "there are methods for the scales [2, 4], but not for 3"),
        ({"degrade": TO_LR[4]}, "methods for [2, 4], degradations for one scale"),
        ({"degrade": {4: TO_LR[4]}}, "methods for [2, 4], degradations for [4]"),
    ],
)
def test_what_is_not_there_for_a_scale_is_said(slices, change, message):
    assert message in at_scales(slices, **change).message


@pytest.mark.parametrize("zoom", [True, False])
@pytest.mark.parametrize("name", ["HR", "nearest", "bicubic"])
def test_the_values_under_the_mouse_are_shown(comparator, hand, slices, zoom, name):
    comparator.ticks["nearest"].value = comparator.controls["zoom"].value = True
    comparator.controls["zoom"].value = zoom
    box = comparator.boxes[["HR", "nearest", "bicubic"].index(name)]
    left, top, right, bottom = comparator.view.part
    assert (right - left == 56) is not zoom
    before, row, column = comparator.pixels, top + 7, left + 9
    x = box[0] + int((9 + 0.5) / (right - left) * (box[2] - box[0]))
    y = box[1] + int((7 + 0.5) / (bottom - top) * (box[3] - box[1]))
    hand(comparator, "mousemove", (x, y))
    text = comparator.under.value
    assert f"Under the mouse: row {row}, column {column}" in text
    assert f"{slices[0].image[row, column]:.3f}" in text
    for method in METHODS:
        shown = comparator.view.known[method]
        assert f"{shown.image[row, column]:.3f}" in text
        assert f">{shown.maps['SSIM'][row, column]:.3f}<".replace("-", "−") in text
    assert comparator.pixels is before
    hand(comparator, "mouseleave", (x, y))
    assert "Under the cursor" in comparator.under.value
    hand(comparator, "mousemove", (box[0], box[1] - 3))
    assert "Under the cursor" in comparator.under.value


def test_a_click_moves_the_cursor_in_all_pictures(comparator, hand):
    before = comparator.pixels.copy()
    x, y, *_ = comparator.boxes[1]
    hand(comparator, "click", (x + 100, y + 50))
    at = comparator.controls["row"].value, comparator.controls["column"].value
    assert at == picture.found_at(x + 100, y + 50, comparator.boxes, comparator.view.part)
    assert f"Under the cursor: row {at[0]}, column {at[1]}" in comparator.under.value
    for left, top, right, bottom in comparator.boxes:
        inside = np.s_[top:bottom, left:right]
        assert not np.array_equal(comparator.pixels[inside], before[inside])


def test_dragging_moves_the_line_of_the_swipe_and_a_click_does_not(comparator, hand):
    comparator.controls["view"].value = "swipe"
    at = comparator.controls["row"].value, comparator.controls["column"].value
    left, top, right, _ = comparator.boxes[0]
    quarter = left + (right - left) // 4
    hand(comparator, "drag", (left + 300, top + 50), (left + 290, top + 50), (quarter, top + 60))
    assert comparator.controls["swipe"].value == 25
    hand(comparator, "drag", (quarter, top + 50), (left - 90, top + 50))
    assert comparator.controls["swipe"].value == 0
    assert at == (comparator.controls["row"].value, comparator.controls["column"].value)
    hand(comparator, "click", (left, top), (left + 2, top + 1))  # a hand that trembles
    assert comparator.controls["swipe"].value == 0
    assert comparator.controls["row"].value == comparator.view.part[1]


def test_a_panel_without_a_picture_has_no_values(slices, hand):
    def fails(lr):
        raise RuntimeError("no memory")

    made = make(slices, {"fails": fails})
    assert len(made.boxes) == 1  # that of HR
    hand(made, "mousemove", (made.boxes[0][2] + 30, 100))
    assert "Under the cursor" in made.under.value
