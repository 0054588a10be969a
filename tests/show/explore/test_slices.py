import numpy as np
import pytest
import torch

from medsr_lib.case import Case
from medsr_lib.show import explore
from medsr_lib.show.explore import picture
from medsr_lib.show.explore.controls import index


@pytest.fixture
def browser(slices):
    made = explore.slices(slices)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("image", 4),
        ("label", "glioma"),
        ("patient", "98765"),
        ("contour", False),
        ("zoom", True),
        ("level", 0.6),
        ("width", 0.3),
    ],
)
def test_every_control_changes_the_picture(browser, control, value):
    before, sent = browser.pixels, browser.screen.value
    browser.controls[control].value = value
    assert not np.array_equal(browser.pixels, before)
    assert browser.screen.value != sent
    assert browser.message == ""


def test_patients_and_images_follow_the_label(browser):
    browser.controls["label"].value = "glioma"
    assert browser.controls["patient"].options == ("all", "MR000001")
    assert browser.controls["image"].max == 4
    assert browser.controls["image"].description == "Image, 1 to 4"
    browser.controls["image"].value = 4
    browser.controls["label"].value = "pituitary"
    assert browser.controls["image"].value == 1
    assert "pituitary · patient 98765" in browser.notes.value


def test_the_pixels_are_those_of_the_image(browser, slices):
    browser.controls["contour"].value = False
    shown = picture.enlarged(picture.grey(slices[0].image.numpy(), (0, 0.7)), 512)
    assert np.array_equal(browser.pixels[24 : 24 + 512, : shown.shape[1]], shown)


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
    assert browser.pixels.std() > 0
    assert message in repr(browser)


def test_cases_without_a_mask_have_no_controls_for_it(bare):
    browser = explore.slices(bare)
    hidden = [n for n, of in browser.controls.items() if of.layout.display == "none"]
    assert hidden == ["contour", "zoom", "margin"]
    assert browser.controls["label"].options == ("all", "NORMAL", "PNEUMONIA")
    browser.controls["label"].value = "PNEUMONIA"
    assert browser.notes.value.startswith("image IM-1 · PNEUMONIA · patient IM-1 · 64 × 64 pixels")
    browser.hover(100, 100)
    assert "row" in browser.under.value
    assert "lesion" not in browser.notes.value + browser.under.value
    assert browser.message == ""


def test_an_empty_mask_is_said():
    case = Case("1", "p", "", torch.rand(32, 32), torch.zeros(32, 32, dtype=torch.bool))
    browser = explore.slices([case])
    assert "The mask of this image is empty" in browser.message
    assert "no label" in browser.notes.value
    assert not browser.refused


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


def test_dragging_sets_the_window(slices, hand):
    browser = explore.slices(slices, window=(0.2, 0.6))
    hand(browser, "drag", (100, 200), (151, 200), (151, 251))
    low, high = browser.greys.window
    assert (high - low, (low + high) / 2) == pytest.approx((0.4 + 51 / 512, 0.4 + 51 / 512))


def test_the_value_under_the_mouse_and_its_side_are_written(browser, slices, hand):
    image, lesion = slices[0].image, slices[0].mask
    for row, column in [(24, 34), (2, 3)]:
        side = "inside" if lesion[row, column] else "outside"
        hand(browser, "mousemove", (8 * column + 4, 24 + 8 * row + 4))  # 64 rows in 512 pixels
        text = f"row {row}, column {column}: {image[row, column]:.3f}, {side} the lesion"
        assert text in browser.under.value
    hand(browser, "mousemove", (8, 8))
    assert "Point at a pixel" in browser.under.value
