"""Image files and masks: what is refused, and what is said, by the name of the file."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from medsr_lib.data import source
from medsr_lib.data.layouts import Options

Y, X = np.mgrid[:40, :50]
PICTURE = (3 * X + Y).astype(np.uint8)
DISC = np.hypot(Y - 20, X - 25)
MASK = (DISC < 9).astype(np.uint8) * 255
LABELS = MASK // 255 * np.where(Y > 20, 2, 1).astype(np.uint8)


def save(path, values, **how):
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, **how)
    else:
        picture = values if isinstance(values, Image.Image) else Image.fromarray(values)
        picture.save(path, **how)


@pytest.fixture
def read(tmp_path):
    """`read(image, mask, ...)` -> the row, and what is said; files are written as they are named.

    Raises what the index does, which names the file.
    """

    def one(image=PICTURE, mask=MASK, *, name="a.png", mask_name="a_mask.png", how=None, **options):
        save(tmp_path / name, image, **(how or {}))
        if mask is not None:
            save(tmp_path / mask_name, mask)
        settings = Options(patient_pattern="a", **options)
        table = source.index(tmp_path, options=settings)
        (entry,) = source.find_entries(tmp_path, settings)
        return source.read_entry(entry), table.attrs["notes"].get(str(tmp_path / name), "")

    return one


def expected(values):
    values = np.asarray(values, np.float64)
    return torch.tensor((values - values.min()) / (values.max() - values.min())).float()


# what is read


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (PICTURE, "a.png"), (PICTURE, "a.bmp"), (PICTURE, "a.tif"), (PICTURE > 60, "a.png"),
        (PICTURE.astype(np.uint16) * 300, "a.png"), (PICTURE.astype(np.uint16) * 300, "a.tif"),
        (PICTURE.astype(np.int16) - 90, "a.tif"), (np.sin(PICTURE / 9).astype(np.float32), "a.tif"),
        (np.sin(PICTURE / 9), "a.tif"),
    ],
    ids=lambda v: v if isinstance(v, str) else str(v.dtype),
)  # fmt: skip
def test_images_of_all_depths_become_0_to_1_by_their_own_minimum_and_maximum(values, name, read):
    case, said = read(values, name=name)
    torch.testing.assert_close(case.image, expected(values), rtol=0, atol=1e-6)
    assert torch.equal(case.mask, torch.from_numpy(MASK > 0))
    assert (case.about["raw_min"], case.about["raw_max"]) == (values.min(), values.max())
    assert said == ""


def test_percentiles_clip(read):
    case, _ = read(percentiles=(5, 95))
    low, high = np.percentile(PICTURE, (5, 95))
    wanted = torch.tensor((PICTURE - low) / (high - low)).clamp(0, 1).float()
    torch.testing.assert_close(case.image, wanted, rtol=0, atol=1e-6)


# what is said


COLOURS = np.stack([PICTURE, PICTURE // 2, PICTURE // 3], -1)
GREYS = Image.fromarray(PICTURE, "P")
GREYS.putpalette([level for level in range(256) for _ in range(3)])
LZW = Image.fromarray(PICTURE)
CMYK = Image.fromarray(COLOURS).convert("CMYK")
SMOOTH = np.clip(255 * (9.5 - DISC), 0, 255).astype(np.uint8)
INDEXED = Image.fromarray((MASK > 0).astype(np.uint8), "P")
INDEXED.putpalette([10, 20, 30, 200, 0, 0])


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"name": "a.jpg", "how": {"quality": 80}}, "lossy JPEG of quality 80"),
        ({"image": np.dstack([PICTURE] * 3)}, "3 equal channels, taken as grey"),
        ({"image": np.dstack([PICTURE] * 3 + [MASK * 0 + 255])}, "3 equal channels, taken as grey"),
        ({"image": COLOURS, "channel": "0"}, "channel 0 of 3 is read"),
        ({"mask": SMOOTH}, "{n} pixels between 0 and 255: above 127.5 is taken as lesion"),
        ({"mask": None}, "no mask: measures of the whole image only"),
        ({"mask": MASK * 0}, "no lesion in its mask: measures of the whole image only"),
        ({"mask": 255 - MASK}, "the mask covers 88% of the image; is it inverted?"),
        ({"image": 255 - PICTURE, "name": "a.tif", "how": {"photometric": "miniswhite"}},
         "white is zero: inverted"),
        ({"mask": np.dstack([MASK] * 3)}, ""),
        ({"image": GREYS}, "3 equal channels, taken as grey"),
        ({"image": PICTURE, "name": "a.tif", "how": {"compression": "zlib"}}, ""),
        ({"image": LZW, "name": "a.tiff", "how": {"compression": "tiff_lzw"}}, ""),
        ({"mask": INDEXED}, ""),
        ({"mask": MASK // 255 * 2}, ""),
        ({"mask": LABELS, "lesion_labels": (1, 2)}, ""),
    ],
)  # fmt: skip
def test_what_a_user_should_know_is_said(given, note, read):
    case, said = read(**given)
    between = int(((SMOOTH > 0) & (SMOOTH < 255)).sum())
    assert said.removeprefix("a_mask.png: ") == note.format(n=between)
    if "lossy" not in note:
        torch.testing.assert_close(case.image, expected(PICTURE), rtol=0, atol=1e-6)
    if "no " in note:
        assert case.mask is None
    elif "inverted?" not in note:
        assert (case.mask.numpy() == (MASK > 0)).mean() > 0.98


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_image_and_mask_are_turned_as_viewers_turn_them(name, read):
    exif = Image.Exif()
    exif[0x0112] = 6
    how = {"extratags": [(0x0112, 3, 1, 6, True)]} if name == "a.tif" else {"exif": exif}
    case, said = read(name=name, how=how, mask=np.rot90(MASK, -1))
    assert "turned by its EXIF orientation" in said
    torch.testing.assert_close(case.image, expected(np.rot90(PICTURE, -1)), rtol=0, atol=0.02)


def test_a_label_can_be_chosen(read):
    case, _ = read(mask=LABELS, lesion_labels=(2,))
    assert torch.equal(case.mask, torch.from_numpy((MASK > 0) & (Y > 20)))


# what is refused


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"mask": MASK[:, 1:]}, "a_mask.png and of the image differ: 40 x 49 and 40 x 50"),
        ({"mask": LABELS}, "the labels 0, 1, 2; state the"),
        ({"mask": np.where(Y > 20, MASK, MASK // 2)}, "a_mask.png holds the labels 0, 127, 255"),
        ({"mask": MASK // 255 + 1}, "a_mask.png has no background: no value is 0, the least is 1"),
        ({"mask": COLOURS}, "in colours: its channels differ"),
        ({"image": COLOURS}, "in colours: its channels differ in 1999 of 2000 pixels"),
        ({"image": COLOURS, "channel": "3"}, "there is no channel 3; it has 3"),
        ({"image": np.dstack([COLOURS, PICTURE])}, "partly transparent"),
        ({"image": PICTURE * 0}, "the image is constant"),
        ({"image": np.where(Y > 9, np.nan, 1.0), "name": "a.tif"}, "infinite values in 1500"),
        ({"image": np.stack([PICTURE] * 2), "name": "a.tif"}, "holds 2 pages"),
        ({"image": CMYK, "name": "a.jpg"}, "partly transparent|in colours"),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_is_refused_by_name(given, reason, read, tmp_path):
    name = given.get("name", "a.png")
    with pytest.raises(ValueError, match=rf"1 of 1 files cannot.*\n.*/{name}: .*({reason})"):
        read(**given)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("keep", [0, 20, 700])
def test_damaged_files_are_refused(name, keep, tmp_path):
    save(tmp_path / name, np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{name}: (truncated|the file is empty|not an image)"):
        source.index(tmp_path)


def test_the_same_pixels_under_two_patients_are_refused(tmp_path):
    for patient in ("P1", "P2"):
        (tmp_path / patient).mkdir()
        save(tmp_path / patient / f"{patient}.png", PICTURE)
    with pytest.raises(ValueError, match=r"P2.png: a duplicate, the same pixels as .*P1.png, which "
                       r"is of another patient \(P1, not P2\)"):  # fmt: skip
        source.index(tmp_path)
    with pytest.warns(UserWarning, match="1 of 2 files left out"):
        assert source.index(tmp_path, skip_bad=True)["patient"].tolist() == ["P1"]


def test_a_mask_without_an_image_is_named(tmp_path):
    save(tmp_path / "a.png", PICTURE)
    save(tmp_path / "b_mask.png", MASK)
    with pytest.raises(
        ValueError, match=r"1 of 2 files .*\n.*/b_mask.png: a mask without an image"
    ):
        source.index(tmp_path)
