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
from medsr_lib.case import Case
from medsr_lib.restore import degrade, resample
from medsr_lib.restore.networks.sr import ESPCN
from medsr_lib.show import explore
from medsr_lib.show.explore.controls import index

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
    return pd.concat(made.numbers, names=["method"]).reset_index()


@pytest.fixture
def comparator(slices):
    made = make(slices)
    assert made.message == ""
    yield made
    made.close()


@pytest.mark.parametrize("at", [0, 3])
def test_numbers_are_those_of_a_score_table(slices, at):
    shown = table(make(slices, at=at)).rename(columns={"SSIM": "ssim"})
    scored = score.score(METHODS, [slices[at]], degrade=TO_LR[SCALE], scale=SCALE, device="cpu")
    assert shown["region"].tolist() == [*NAMES] * 2
    columns = ["method", "region", "pixels", "psnr", "mse", "ssim"]
    assert_frame_equal(shown[columns], scored[columns], rtol=1e-5)


def test_numbers_are_in_the_notes_and_beside_the_names(comparator):
    tumour = table(comparator).set_index(["method", "region"]).loc[("bicubic", "tumour")]
    assert f"{tumour['SSIM']:.3f}" in comparator.notes.value
    comparator.controls["measure"].value = "psnr"
    assert "PSNR by region" in comparator.notes.value
    assert f"{tumour['psnr']:.2f} dB" in comparator.notes.value
    assert comparator.scene.notes["bicubic"] == f"tumour: PSNR {tumour['psnr']:.2f} dB"


def test_the_null_space_is_a_map_like_others(slices):
    to_lr = degrade.by_name("kspace", scale=SCALE)
    made = make(slices, degrade=to_lr, maps={"null space": null_space})
    assert made.message == ""
    assert [*made.scene.maps["null space"]] == [*METHODS]
    scale = made.scene.scales["null space"]
    assert (scale.colours, scale.low) == ("RdBu_r", -scale.high)
    assert np.isfinite(table(made).set_index("region").loc["tumour", "null space"]).all()


def test_a_method_that_fails_says_why_and_the_others_work(slices):
    def moody(lr):
        raise RuntimeError("out of memory")

    methods = {**METHODS, "moody": moody, "small": lambda lr: lr, "none": lambda lr: None}
    made = make(slices, methods | {"raw": lambda lr: METHODS["nearest"](lr) + 900})
    assert "moody: RuntimeError: out of memory" in made.message
    assert "small: SR is (1, 1, 32, 28), HR (1, 1, 64, 56)" in made.message
    assert "raw: SR: expected values in [0, 1]" in made.message
    assert "none: SR is NoneType; it must be a tensor" in made.message
    assert table(made)["method"].unique().tolist() == ["nearest", "bicubic"]
    assert [*made.scene.sr] == ["nearest", "bicubic"]


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
        assert len(made.scene.sr) == (2 if failed else 3)


def test_a_degradation_that_fails_on_one_image_leaves_the_others(slices):
    def moody(hr):
        if torch.equal(hr[0, 0], slices[1].image):
            raise RuntimeError("out of memory")
        return TO_LR[SCALE](hr)

    made = make(slices, degrade=moody)
    for image, message in ((2, "RuntimeError: out of memory"), (3, "")):
        made.controls["image"].value = image
        assert made.message == message
        assert (made.scene is None) is bool(message)


def test_a_map_or_the_regions_may_fail(slices):
    def wrong(*_):
        raise ValueError("not this image")

    made = make(slices, maps={**MAPS, "broken": wrong}, regions=wrong)
    assert "the regions cannot be found: not this image" in made.message
    assert "bicubic: broken: not this image" in made.message
    assert table(made)["region"].unique().tolist() == ["whole", "tumour"]
    assert [*made.scene.maps] == ["SSIM"]
    assert table(made)["SSIM"].notna().all()
    made.controls["measure"].value = "broken"
    assert "not measured" in made.notes.value


def test_an_image_with_an_empty_mask_is_measured_as_a_whole(slices):
    made = make([replace(slices[0], mask=torch.zeros_like(slices[0].mask))])
    assert "the mask of this image is empty" in made.message
    assert table(made)["region"].tolist() == ["whole", "tumour"] * 2


def test_without_a_mask_the_whole_is_measured(bare):
    bicubic = {"bicubic": partial(resample.bicubic, scale=4)}
    made = explore.methods(bare, bicubic, degrade=TO_LR[4], scale=4)
    assert made.message == ""
    assert list(table(made)["region"].unique()) == ["whole"]
    error = bicubic["bicubic"](TO_LR[4](bare[0].image[None, None]))[0, 0] - bare[0].image
    assert table(made)["mse"].item() == pytest.approx((error**2).mean().item(), rel=1e-5)
    assert made.scene.mask is None


def test_a_method_is_asked_once_about_an_image(slices):
    asked = []

    def counting(lr):
        asked.append(len(asked))
        return resample.bicubic(lr, scale=SCALE)

    made = make(slices, {"counting": counting})
    for image in (2, 1, 2):
        made.controls["image"].value = image
        made.controls["measure"].value = "psnr"
        made.controls["measure"].value = "SSIM"
    assert len(asked) == 2


def test_memory_is_bounded_and_freed(slices, monkeypatch):
    small = LRUCache(100_000, getsizeof=lambda of: of.nbytes)
    monkeypatch.setattr(sys.modules["medsr_lib.show.explore.images"], "CACHE", small)
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
        assert_frame_equal(made.numbers["bicubic"], alone.numbers["bicubic"])
        assert alone.controls["scale"].layout.display == "none"


def test_methods_are_shown_at_the_scales_that_they_have(slices):
    made = at_scales(slices, only_at_4=["ESPCN"])
    assert [*made.scene.images] == ["HR", "LR", "bicubic", "ESPCN"]
    made.controls["scale"].value = 2
    assert [*made.scene.images] == ["HR", "LR", "nearest", "bicubic"]
    assert made.message == ""


def test_places_are_those_of_the_whole_image_where_the_scale_crops_it(slices):
    odd = replace(slices[0], image=slices[0].image[:62, :54], mask=slices[0].mask[:62, :54])
    made = at_scales([odd])
    assert (made.scene.hr.shape, made.scene.corner) == ((60, 52), (1, 1))
    assert made.scene.hr[19, 51] == odd.image[20, 52]
    made.controls["scale"].value = 2
    assert (made.scene.hr.shape, made.scene.corner) == ((62, 54), (0, 0))


def test_images_are_shown_as_methods_answer(slices, monkeypatch):
    monkeypatch.setattr(sys.modules["medsr_lib.show.explore.images"], "PATIENCE", -1)
    seen = []
    monkeypatch.setattr(explore.methods, "show", lambda self, scene: seen.append([*scene.sr]))
    make(slices)
    assert seen == [[], ["nearest"], ["nearest", "bicubic"]]


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


@pytest.fixture
def browser(slices):
    made = explore.slices(slices)
    yield made
    made.close()


def test_patients_and_images_follow_the_label(browser):
    browser.controls["label"].value = "glioma"
    assert browser.controls["patient"].options == ("all", "MR000001")
    assert browser.controls["image"].max == 4
    assert browser.controls["image"].description == "Image, 1 to 4"
    browser.controls["image"].value = 4
    browser.controls["label"].value = "pituitary"
    assert browser.controls["image"].value == 1
    assert "pituitary · patient 98765" in browser.notes.value


def test_the_image_shown_is_the_one_chosen(browser, slices):
    for image in (1, 4):
        browser.controls["image"].value = image
        assert np.array_equal(browser.scene.hr, slices[image - 1].image)
        assert np.array_equal(browser.scene.mask, slices[image - 1].mask)
    assert browser.viewer.about["title"] == "4, glioma, patient MR000001"


def test_an_image_that_cannot_be_read_is_named(slices):
    class Damaged(list):
        def __getitem__(self, at):
            if at == 2:
                raise OSError("truncated")
            return super().__getitem__(at)

    browser = explore.slices(Damaged(slices))
    browser.controls["image"].value = 3
    assert browser.message == "image 3 cannot be read: truncated"
    browser.controls["image"].value = 4
    assert browser.message == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no images to show"),
        ("runs/lab/slices.h5", "must be a sequence of Case, such as a store; got str"),
        (None, "got NoneType"),
    ],
)
def test_without_cases_a_message_is_in_place(given, message):
    browser = explore.slices(given)
    assert message in browser.message
    assert message.split(";")[0] in browser.alert.value
    assert browser.scene is None
    assert message in repr(browser)


def test_cases_without_a_mask_have_no_outline(bare):
    browser = explore.slices(bare)
    assert browser.scene.mask is None
    assert browser.controls["label"].options == ("all", "NORMAL", "PNEUMONIA")
    browser.controls["label"].value = "PNEUMONIA"
    assert browser.notes.value.startswith("image IM-1 · PNEUMONIA · patient IM-1 · 64 × 64 pixels")
    assert "lesion" not in browser.notes.value
    assert browser.message == ""


def test_an_empty_mask_is_said():
    case = Case("1", "p", "", torch.rand(32, 32), torch.zeros(32, 32, dtype=torch.bool))
    browser = explore.slices([case])
    assert "The mask of this image is empty" in browser.message
    assert "no label" in browser.notes.value

    assert browser.scene is not None


def test_an_index_is_taken_from_cases_or_from_their_table(slices, index_of_store):
    rows = index(slices)
    assert rows["id"].tolist() == [str(n) for n in range(1, 11)]
    assert rows["patient"].nunique() == 4
    assert rows.loc[0, "label"] == "meningioma"
    assert rows["outlined"].all()
    assert index(index_of_store)["outlined"].tolist() == [True, False, False]
    assert index(index_of_store)["label"].tolist() == ["glioma", "no label", "no label"]


@pytest.fixture
def index_of_store():
    """A store that must not be read for its index."""
    import pandas as pd

    class Store:
        table = pd.DataFrame(
            {"id": [1, 2, 3], "patient": ["a"] * 3, "label": ["glioma", "", None]}
        ).assign(mask_pixels=pd.array([40, 0, None], dtype="Int64"))

        def __len__(self):
            return 3

        def __getitem__(self, at):
            raise AssertionError

    return Store()
