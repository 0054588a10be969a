"""Explorers of images without a mask, such as radiographs."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from medsr_lib.restore import degrade, resample
from medsr_lib.show import explore


@dataclass
class Image:
    """What a radiograph has."""

    image: torch.Tensor
    image_id: str
    label: str
    patient: str


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [
        Image(torch.rand(64, 64, generator=generator), f"IM-{n}", label, f"IM-{n}")
        for n, label in enumerate(["NORMAL", "PNEUMONIA", "NORMAL"])
    ]


@pytest.fixture
def comparator(images):
    return explore.methods(
        images,
        {scale: {"bicubic": partial(resample.bicubic, scale=scale)} for scale in (2, 4)},
        degrade=degrade.bicubic,
        scale=4,
    )


def test_the_browser_speaks_of_images_and_of_no_tumour(images):
    browser = explore.slices(images)
    assert not {"contour", "zoom", "margin"} & set(browser.controls)
    assert browser.controls["tumour"].description == "Class"
    assert browser.controls["tumour"].options == ("all", "NORMAL", "PNEUMONIA")
    browser.controls["tumour"].value = "PNEUMONIA"
    assert browser.notes.value.startswith("image IM-1 · PNEUMONIA · patient IM-1 · 64 × 64 pixels")
    assert browser.message == ""
    browser.hover(100, 100)
    assert "row" in browser.under.value
    assert "tumour" not in browser.notes.value + browser.under.value


def test_the_comparator_measures_the_whole_and_zooms_on_the_cursor(comparator, images):
    assert comparator.message == ""
    assert list(comparator.table["region"].unique()) == ["whole"]
    c = comparator.controls
    c["row"].value, c["column"].value, c["margin"].value = 40, 10, 8
    c["zoom"].value = True
    assert comparator.part == (2, 32, 19, 49)
    c["row"].value = 63
    assert comparator.part == (2, 47, 19, 64)
    expected = degrade.bicubic(images[0].image[None, None], scale=4)
    error = resample.bicubic(expected, scale=4)[0, 0] - images[0].image
    assert comparator.table["mse"].item() == pytest.approx((error**2).mean().item(), rel=1e-5)


def test_every_scale_is_there(comparator):
    before = comparator.pixels
    comparator.controls["scale"].value = 2
    assert comparator.message == ""
    assert not np.array_equal(before, comparator.pixels)
