import contextlib
import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageFile, ImageOps

from medsr_lib import pictures

PICTURE = np.random.default_rng(0).integers(0, 255, (6, 9), np.uint8)


def saved(kind="PNG", picture=PICTURE, orientation=1, **options):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_viewers_turn_them(orientation, tmp_path):
    stored = Image.open(io.BytesIO(saved(orientation=orientation)))
    wanted = np.asarray(ImageOps.exif_transpose(stored))
    for kind in ("PNG", "TIFF", "WEBP"):
        data = saved(kind, orientation=orientation, lossless=True)
        picture, turned = pictures.decoded(data)
        np.testing.assert_array_equal(np.asarray(picture.convert("L")), wanted)
        assert turned == (orientation > 1 and kind != "TIFF")  # which Pillow turns by itself
    tag = [(0x0112, 3, 1, orientation, True)]
    for compression in (None, "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", PICTURE, extratags=tag, compression=compression)
        values, notes = pictures.tiff(tmp_path / "a.tif")
        np.testing.assert_array_equal(values, wanted)
        assert notes == [pictures.TURNED] * (orientation > 1)


def test_a_turned_jpeg_has_its_sides_exchanged():
    wide = saved("JPEG", np.tile(np.arange(100, dtype=np.uint8), (80, 1)), orientation=6)
    assert pictures.decoded(wide)[0].size == (80, 100)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    bomb = saved(picture=Image.new("1", (2**14, 2**13)))
    assert len(bomb) < 100_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(ValueError, match="16384 x 8192 pixels; more than 67,108,864 are not dec"):
        pictures.decoded(bomb)
    monkeypatch.undo()
    (tmp_path / "a.tif").write_bytes(saved("TIFF"))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 53)
    with pytest.raises(ValueError, match="6 x 9 pixels"):
        pictures.tiff(tmp_path / "a.tif")


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(monkeypatch):
    progressive = saved("JPEG", np.tile(PICTURE, (9, 9)), progressive=True)
    at = progressive.rindex(b"\xff\xda")
    scan, end = progressive[at:-2], progressive[-2:]
    assert pictures.decoded(progressive[:at] + 80 * scan + end)[0].size == (81, 54)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(ValueError, match="a JPEG of 3005 scans; more than 100 are not decoded"):
        pictures.decoded(progressive[:at] + 3000 * scan + end)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_damage_of_any_kind_is_one_of_our_errors(kind, tmp_path):
    whole, rng = saved(kind), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for at in rng.integers(0, len(damaged), 3):
            damaged[at] = rng.integers(256)
        (tmp_path / "a.tif").write_bytes(damaged)
        with contextlib.suppress(ValueError):
            pictures.decoded(bytes(damaged))
        with contextlib.suppress(ValueError):
            pictures.tiff(tmp_path / "a.tif")


def test_levels_on_a_large_offset_are_scaled_as_those_without():
    levels = np.arange(1000).reshape(20, 50)
    plain = pictures.scaled(levels.astype(np.int16), 0, 999)
    assert torch.equal(plain, torch.arange(1000).reshape(20, 50) / 999)
    for offset in (np.int64(2**50), np.float64(1e9), np.uint32(2**31)):
        moved = levels.astype(type(offset)) + offset
        assert torch.equal(pictures.scaled(moved, float(offset), float(offset) + 999), plain)
    assert pictures.scaled(levels, 100, 200).unique().tolist()[::100] == [0, 1]
