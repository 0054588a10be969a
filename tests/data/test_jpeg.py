import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from medsr_lib.data import jpeg

GREY = data.camera()[::4, ::4].copy()


def saved(mode="L", pixels=GREY, kind="JPEG", **options):
    image = Image.fromarray(pixels) if mode == "L" else Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_precision(bits):
    """A file that says of itself to have so many bits a sample."""
    content = bytearray(saved())
    content[content.index(b"\xff\xc0") + 4] = bits
    return bytes(content)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 93, 96, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_quality_of_what_pillow_wrote_is_found(quality, mode):
    assert jpeg.read(saved(mode, quality=quality))[2] == quality


# ITU-T T.81 (1992), table K.1: the quantisation of luminance, row by row.
LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


def test_the_standards_table_is_quality_50_and_others_get_the_nearest():
    assert jpeg.quality_of(LUMINANCE) == 50
    table = (LUMINANCE + 1) // 2
    assert jpeg.quality_of(np.where(np.arange(64) == 3, table + 2, table).tolist()) == 75


def test_pixels_are_those_pillow_decodes():
    content = saved(quality=80)
    np.testing.assert_array_equal(
        jpeg.read(content)[0], np.asarray(Image.open(io.BytesIO(content)))
    )


def test_three_equal_channels_are_grey():
    pixels, channels, _ = jpeg.read(saved("RGB", quality=95))
    assert (channels, pixels.shape) == (3, GREY.shape)
    np.testing.assert_array_equal(pixels, jpeg.read(saved(quality=95))[0])


def with_size(side):
    content = bytearray(saved())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = side.to_bytes(2, "big") * 2
    return bytes(content)


def coloured():
    picture = np.stack([GREY, GREY, np.roll(GREY, 5, 1)], axis=2)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"<html>not found</html>", "not an image file"),
    "png": (saved(kind="PNG"), r"a PNG file \(L\); expected a JPEG"),
    "png of 16 bits": (
        saved(pixels=GREY.astype(np.uint16), kind="PNG"), r"a PNG file \(I;16\); expected a JPEG",
    ),
    "12 bits": (with_precision(12), "or not of 8 bits a sample; fetch the file again, or convert"),
    "cmyk": (saved("CMYK"), "its colours are CMYK; expected grey"),
    "colours": (coloured(), "in colours: its three channels differ in .* of 16384 pixels"),
    "cut in the header": (saved()[:100], "truncated"),
    "cut in the middle": (saved()[: len(saved()) // 2], "truncated"),
    "huge": (with_size(65535), "truncated or damaged; .*exceeds limit"),
    "without the end": (saved()[:-2], "truncated; .*its end marker is missing"),
    "filled with zeros": (saved()[:2000] + bytes(2000), "truncated; .*its end marker is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_refuses_what_is_no_grey_jpeg(kind):
    content, reason = BAD[kind]
    with pytest.raises(ValueError, match=reason):
        jpeg.read(content)


def test_damage_of_any_kind_raises_nothing_else():
    whole, rng = saved(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(2, 700, 4):
            damaged[at] = rng.integers(256)
        with contextlib.suppress(ValueError):  # damaged pixels alone cannot be told
            assert jpeg.read(bytes(damaged))[0].ndim == 2


# recompress


def images(*levels):
    return torch.stack([torch.from_numpy(level).float() / 255 for level in levels])[:, None]


def test_recompress_is_what_a_file_would_have_done():
    once = jpeg.recompress(images(GREY, GREY.T), quality=60)
    expected = np.asarray(Image.open(io.BytesIO(saved(quality=60))))
    np.testing.assert_array_equal((once[0, 0] * 255).round(), expected)
    assert once.shape == (2, 1, *GREY.shape)
    assert once.dtype == torch.float32
    assert 0 <= once.min() <= once.max() <= 1


def test_recompress_gives_the_same_each_time_and_more_error_at_lower_quality():
    before = images(GREY)
    errors = [(jpeg.recompress(before, quality=q) - before).abs().mean() for q in (95, 60, 20)]
    assert errors == sorted(errors)
    assert torch.equal(jpeg.recompress(before, quality=20), jpeg.recompress(before, quality=20))
    assert torch.equal(before, images(GREY))


@pytest.mark.parametrize("quality", [0, 101, 75.0, True, "75"])
def test_recompress_refuses_what_is_no_quality(quality):
    with pytest.raises(ValueError, match="a whole number from 1 to 100"):
        jpeg.recompress(images(GREY), quality=quality)


def test_recompress_refuses_what_are_no_images():
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        jpeg.recompress(images(GREY) * 255, quality=75)
    with pytest.raises(TypeError, match="floating point"):
        jpeg.recompress(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), quality=75)
