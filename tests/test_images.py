import pytest
import torch

from medsr_lib import images

GOOD = torch.linspace(0, 1, 30).view(1, 1, 5, 6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_good_images_pass(dtype):
    images.check(GOOD.to(dtype))
    images.check(GOOD.to(dtype) * 200, data_range=200)


def test_rounding_beyond_the_range_passes_and_a_grey_level_does_not():
    images.check(GOOD * (1 + 5e-6) - 1e-6)
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\], got \[0, 1\]"):
        images.check(GOOD * (1 + 1.5e-5))
    with pytest.raises(ValueError, match=r"expected values in \[0, 255\], got \[0, 256\]"):
        images.check(GOOD * 256, data_range=255)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_no_number(value):
    bad = GOOD.clone()
    bad[0, 0, 2, 3] = value
    with pytest.raises(ValueError, match="hr: holds NaN or infinite values"):
        images.check(bad, "hr")


@pytest.mark.parametrize(
    ("bad", "error", "reason"),
    [
        ([[0.5]], TypeError, r"sr: expected a tensor \(B, 1, H, W\), got list"),
        (GOOD.short(), TypeError, r"got torch\.int16; normalise the image first"),
        (GOOD.bool(), TypeError, r"got torch\.bool"),
        (GOOD[0], ValueError, r"expected shape \(B, 1, H, W\), got \(1, 5, 6\)"),
        (GOOD.repeat(1, 3, 1, 1), ValueError, r"got \(1, 3, 5, 6\)"),
        (GOOD[..., :0], ValueError, r"got \(1, 1, 5, 0\)"),
    ],
)
def test_refuses_what_is_no_image(bad, error, reason):
    with pytest.raises(error, match=reason):
        images.check_shape(bad, "sr")


@pytest.mark.parametrize(
    ("size", "multiple", "box"),
    [
        ((8, 12), 4, (0, 8, 0, 12)),
        ((9, 11), 4, (0, 8, 1, 9)),
        ((10, 15), 4, (1, 9, 1, 13)),
        ((4, 4), 4, (0, 4, 0, 4)),
        ((7, 7), 1, (0, 7, 0, 7)),
    ],
)
def test_centre_crop(size, multiple, box):
    whole = torch.arange(size[0] * size[1]).view(1, 1, *size)
    top, bottom, left, right = box
    cropped = images.centre_crop(whole, multiple=multiple)
    assert torch.equal(cropped, whole[..., top:bottom, left:right])
    assert torch.equal(images.centre_crop(whole[0, 0], multiple=multiple), cropped[0, 0])


def test_centre_crop_refuses_an_image_that_is_too_small():
    with pytest.raises(ValueError, match="an image of 3 x 9 pixels is smaller than scale 4"):
        images.centre_crop(torch.zeros(3, 9), multiple=4)
