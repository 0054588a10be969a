from functools import partial

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from medsr_lib.assess.fidelity.invention import null_space_split
from medsr_lib.assess.quality import metrics, score
from medsr_lib.assess.quality.regions import NAMES, regions
from medsr_lib.restore import degrade, resample
from medsr_lib.restore.networks.sr import ESPCN
from medsr_lib.show import explore
from medsr_lib.show.explore import cache

SCALE = 2
METHODS = {
    "nearest": partial(resample.nearest, scale=SCALE),
    "bicubic": partial(resample.bicubic, scale=SCALE),
}
MAPS = {"SSIM": partial(metrics.ssim_map, data_range=1)}


def null_space(sr, hr):
    project = partial(resample.measured_part, scale=SCALE)
    return null_space_split(sr - hr, project=project)[1][:, 0]


def make(slices, methods=METHODS, to_lr="bicubic", **rest):
    given = {"degrade": degrade.by_name(to_lr, scale=SCALE), "scale": SCALE, "regions": regions}
    return explore.methods(slices, methods, **{**given, "maps": MAPS, **rest})


@pytest.fixture
def comparator(slices):
    made = make(slices)
    assert made.message == ""
    yield made
    made.close()


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("slice", 5),
        ("tumour", "pituitary"),
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
        ("measure", "PSNR"),
    ],
)
def test_every_control_changes_the_picture(comparator, control, value):
    before, sent = comparator.pixels, comparator.screen.value
    comparator.controls[control].value = value
    assert not np.array_equal(comparator.pixels, before)
    assert comparator.screen.value != sent
    assert comparator.message == ""


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
    assert comparator.table["method"].unique().tolist() == ["bicubic"]


@pytest.mark.parametrize("at", [0, 3])
def test_numbers_are_those_of_a_score_table(slices, at):
    to_lr = degrade.by_name("bicubic", scale=SCALE)
    shown = make(slices, at=at).table.rename(columns={"SSIM": "ssim"})
    scored = score.score(METHODS, [slices[at]], degrade=to_lr, scale=SCALE, device="cpu")
    assert shown["region"].tolist() == [*NAMES] * 2
    assert_frame_equal(
        shown[["method", "region", "pixels", "psnr", "mse", "ssim"]],
        scored[["method", "region", "pixels", "psnr", "mse", "ssim"]],
        rtol=1e-5,
    )


def test_numbers_stand_in_the_notes_and_below_the_picture(comparator, slices):
    tumour = comparator.table.set_index(["method", "region"]).loc[("bicubic", "tumour")]
    assert f"{tumour['SSIM']:.3f}" in comparator.notes.value
    comparator.controls["measure"].value = "PSNR"
    assert f"{tumour['psnr']:.2f} dB" in comparator.notes.value
    comparator.controls["row"].value, comparator.controls["column"].value = 30, 25
    assert "row 30, column 25" in comparator.under.value
    assert f"{slices[0].image[30, 25]:.3f}" in comparator.under.value


def test_the_null_space_is_a_map_like_others(slices):
    made = make(slices, to_lr="kspace", maps={"null space": null_space})
    before = made.pixels
    made.controls["overlay"].value = "null space"
    assert not np.array_equal(made.pixels, before)
    assert made.message == ""
    assert np.isfinite(made.table.set_index("region").loc["tumour", "null space"]).all()


def test_a_method_that_fails_says_why_and_the_rest_works(slices):
    def moody(lr):
        if lr.mean() > 0:
            raise RuntimeError("out of memory")

    methods = {**METHODS, "moody": moody, "small": lambda lr: lr, "raw": lambda lr: 900 + lr}
    made = make(slices, methods)
    for box in made.ticks.values():
        box.value = True
    assert "moody: RuntimeError: out of memory" in made.message
    assert "small: SR is (1, 1, 32, 28), HR (1, 1, 64, 56)" in made.message
    assert made.table["method"].unique().tolist() == ["nearest", "bicubic"]
    assert made.results["moody"].image is None
    made.controls["view"].value = "swipe"
    assert made.results["bicubic"].image is not None


def test_a_method_that_fails_on_one_slice_fails_there_alone(slices):
    second = degrade.bicubic(slices[1].image[None, None], scale=SCALE)

    def moody(lr):
        if torch.equal(lr, second):
            raise RuntimeError("out of memory")
        return resample.bicubic(lr, scale=SCALE)

    made = make(slices, {**METHODS, "moody": moody})
    for place, failed in ((1, False), (2, True), (3, False)):
        made.controls["slice"].value = place
        assert ("moody: RuntimeError: out of memory" in made.message) is failed
        assert (made.results["moody"].image is None) is failed
        assert len(made.boxes) == (2 if failed else 3)
        assert made.results["nearest"].image is not None
        assert not made.refused


def test_a_degradation_that_fails_on_one_slice_leaves_the_others(slices):
    def moody(hr):
        if torch.equal(hr[0, 0], slices[1].image):
            raise RuntimeError("out of memory")
        return degrade.bicubic(hr, scale=SCALE)

    made = make(slices, degrade=moody)
    for place, message in ((2, "RuntimeError: out of memory"), (3, "")):
        made.controls["slice"].value = place
        assert made.message == message
        made.controls["overlay"].value = "error"
        made.controls["overlay"].value = "nothing"


def test_a_map_or_the_regions_may_fail(slices):
    def wrong(*_):
        raise ValueError("not this slice")

    made = make(slices, maps={**MAPS, "broken": wrong}, regions=wrong)
    assert "the regions cannot be found: not this slice" in made.message
    assert "bicubic: broken: not this slice" in made.message
    assert made.table["region"].unique().tolist() == ["whole", "tumour"]
    made.controls["overlay"].value = "broken"
    assert made.table["SSIM"].notna().all()


def test_a_slice_without_a_tumour_is_shown_whole(slices):
    from dataclasses import replace

    made = make([replace(slices[0], mask=torch.zeros_like(slices[0].mask))])
    assert "the mask of this slice is empty" in made.message
    assert made.results["bicubic"].image.shape == (64, 56)


def test_a_method_is_asked_once_about_a_slice(slices):
    asked = []

    def counting(lr):
        asked.append(len(asked))
        return resample.bicubic(lr, scale=SCALE)

    made = make(slices, {"counting": counting})
    for place in (2, 1, 2):
        made.controls["slice"].value = place
        made.controls["overlay"].value = "error"
        made.controls["level"].value += 0.05
    assert len(asked) == 2


def test_the_cache_keeps_its_bound(slices, monkeypatch):
    small = cache.Cache(limit=100_000)
    monkeypatch.setattr("medsr_lib.show.explore.compare.SHARED", small)
    made = make(slices)
    for place in range(1, 11):
        made.controls["slice"].value = place
        assert 0 < small.bytes <= 100_000
        assert made.message == ""
    assert made.key(0, "truth") not in small


def test_networks_are_left_where_they_are_and_evaluated(slices):
    network = ESPCN(scale=SCALE).train()
    made = make(slices, {"bicubic": METHODS["bicubic"], "ESPCN": network})
    assert made.message == ""
    assert not network.training


def test_a_degradation_may_still_want_its_scale(slices):
    assert make(slices, degrade=degrade.bicubic).message == ""


@pytest.mark.parametrize("at", [-1, 10])
def test_the_first_slice_must_be_there(slices, at):
    assert make(slices, at=at).message == f"at is {at}; it must be from 0 to 9"


@pytest.mark.parametrize("methods", [{}, None, {2: {}, 4: METHODS}, {"HR": METHODS["nearest"]}])
def test_methods_need_names_of_their_own(slices, methods):
    assert "give methods by name" in make(slices, methods).message


def test_an_empty_pack_is_a_message(slices):
    made = make([])
    assert "there are no slices to show" in made.message
    assert "image/png" in made._repr_mimebundle_()


def bicubic(scale):
    return partial(resample.bicubic, scale=scale)


def at_scales(slices, *, only_at_4=(), **rest):
    methods = {
        2: {"nearest": METHODS["nearest"], "bicubic": bicubic(2)},
        4: {"bicubic": bicubic(4), **dict.fromkeys(only_at_4, bicubic(4))},
    }
    given = {"degrade": degrade.bicubic, "scale": 4, "maps": MAPS, **rest}
    return explore.methods(slices, methods, **given)


@pytest.mark.parametrize(
    "to_lr",
    [degrade.bicubic, {scale: degrade.by_name("bicubic", scale=scale) for scale in (2, 4)}],
)
def test_a_scale_is_chosen_among_several(slices, to_lr):
    made = at_scales(slices, degrade=to_lr)
    assert made.controls["scale"].options == (("×2", 2), ("×4", 4))
    for scale in (4, 2, 4):
        made.controls["scale"].value = scale
        alone = explore.methods(
            slices, {"bicubic": bicubic(scale)}, degrade=degrade.bicubic, scale=scale, maps=MAPS
        )
        assert made.message == ""
        shown = made.table[made.table["method"] == "bicubic"].reset_index(drop=True)
        assert_frame_equal(shown, alone.table)


def test_methods_are_offered_at_the_scales_that_they_have(slices):
    made = at_scales(slices, only_at_4=["ESPCN"])

    def offered():
        return [name for name, box in made.ticks.items() if box.layout.display != "none"]

    assert offered() == ["HR", "LR", "bicubic", "ESPCN"]
    made.controls["view"].value = "swipe"
    assert made.controls["right"].value == "ESPCN"
    made.controls["scale"].value = 2
    assert offered() == ["HR", "LR", "nearest", "bicubic"]
    assert made.controls["right"].options == ("HR", "LR", "nearest", "bicubic")
    assert made.controls["right"].value == "bicubic"
    made.controls["view"].value = "side by side"
    assert "ESPCN" not in made.table["method"].tolist()
    assert made.message == ""


def test_the_cursor_stays_in_its_place_when_the_scale_changes(slices):
    from dataclasses import replace

    odd = replace(slices[0], image=slices[0].image[:62, :54], mask=slices[0].mask[:62, :54])
    made = at_scales([odd])
    assert made.truth.mask.shape == (60, 52)
    made.controls["row"].value, made.controls["column"].value = 20, 59
    at = made.controls["row"].value, made.controls["column"].value
    value = made.truth.image[at]
    made.controls["scale"].value = 2
    assert made.truth.mask.shape == (62, 54)
    assert (made.controls["row"].value, made.controls["column"].value) == (at[0] + 1, at[1] + 1)
    assert made.truth.image[at[0] + 1, at[1] + 1] == value
    made.controls["row"].value = 61
    made.controls["scale"].value = 4
    assert made.controls["row"].value == 59


def test_methods_are_asked_once_a_scale(slices):
    asked = []

    def counting(lr, *, scale):
        asked.append(scale)
        return resample.bicubic(lr, scale=scale)

    methods = {scale: {"counting": partial(counting, scale=scale)} for scale in (2, 4)}
    made = explore.methods(slices, methods, degrade=degrade.bicubic, scale=4)
    for scale in (2, 4, 2):
        made.controls["scale"].value = scale
    assert asked == [4, 2]


def test_a_map_may_want_its_scale(slices):
    seen = []

    def of_scale(sr, hr, *, scale):
        seen.append(scale)
        return (sr - hr)[:, 0]

    made = at_scales(slices, maps={"map": of_scale, "built in": torch.sub})
    made.controls["scale"].value = 2
    assert seen == [4, 2]
    assert made.message == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 3}, "there are methods for the scales [2, 4], but not for 3"),
        ({"degrade": degrade.by_name("bicubic", scale=4)}, "give a degradation for each scale"),
        (
            {"degrade": {4: degrade.by_name("bicubic", scale=4)}},
            "no degradation for the scales [2]",
        ),
    ],
)
def test_what_is_not_there_for_a_scale_is_said(slices, change, message):
    assert message in at_scales(slices, **change).message
