from functools import partial

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from medsr_lib.assess import metrics, score
from medsr_lib.assess.invention import null_space_split
from medsr_lib.assess.regions import NAMES, regions
from medsr_lib.restore import degrade, resample
from medsr_lib.restore.networks import ESPCN
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
    assert "row 30, column 25" in comparator.notes.value
    assert f"{slices[0].image[30, 25]:.3f}" in comparator.notes.value


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


@pytest.mark.parametrize("methods", [{}, {"HR": METHODS["nearest"]}])
def test_methods_need_names_of_their_own(slices, methods):
    assert "give methods by name" in make(slices, methods).message


def test_an_empty_pack_is_a_message(slices):
    made = make([])
    assert "there are no slices to show" in made.message
    assert "image/png" in made._repr_mimebundle_()
