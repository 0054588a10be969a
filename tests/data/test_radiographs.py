import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.transform import resize

from medsr_lib.data import chest_xray, jpeg, radiographs
from medsr_lib.restore.training.batches import Crops, as_packed, whole_image


@pytest.fixture
def table(chest):
    return chest_xray.index(chest, progress=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "packs" / "chest.h5"


@pytest.fixture
def built(table, path):
    return radiographs.build(table, path, size=32, progress=False)


def files(path):
    return [p.name for p in path.parent.iterdir()]


# to_square


def ramp(h, w):
    y, x = np.mgrid[:h, :w]
    return np.rint(127.5 + 100 * np.sin(y / h * 5) * np.cos(x / h * 5)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(200, 200), (140, 300), (301, 180), (60, 80)])
def test_crop_takes_the_middle_square(shape):
    picture, side = ramp(*shape), min(shape)
    top, left = (shape[0] - side) / 2, (shape[1] - side) / 2
    middle = picture[int(top) : int(top) + side, int(left) : int(left) + side]
    expected = resize(middle.astype(float), (64, 64), order=1, anti_aliasing=side > 64)
    found = radiographs.to_square(picture, size=64, fit="crop")
    assert (found.dtype, found.shape) == (np.uint8, (64, 64))
    assert np.abs(found - expected)[2:-2, 2:-2].mean() < 1.5


@pytest.mark.parametrize(("shape", "inner"), [((100, 200), (32, 64)), ((210, 70), (64, 21))])
def test_pad_keeps_all_and_the_aspect_ratio(shape, inner):
    found = radiographs.to_square(np.full(shape, 200, np.uint8), size=64, fit="pad")
    rows, columns = np.nonzero(found)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == inner
    assert set(np.unique(found)) == {0, 200}
    assert abs(rows.mean() - 31.5) <= 0.5
    assert abs(columns.mean() - 31.5) <= 0.5


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    found = radiographs.to_square(stripes, size=64, fit="crop")
    assert found[:, 2:-2].std() < 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({"size": 4, "fit": "crop"}, "at least 8 pixels, got 4"),
     ({"size": 64, "fit": "squash"}, "'crop' or 'pad', got 'squash'")],
)  # fmt: skip
def test_to_square_refuses(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        radiographs.to_square(ramp(60, 60), **arguments)


# build and open


def test_images_are_the_squares_of_the_files(built, table):
    for radiograph, path in zip(built, table["path"]):
        square = radiographs.to_square(chest_xray.read_pixels(path), size=32, fit="crop")
        np.testing.assert_array_equal(radiograph.image, square.astype(np.float32) / 255)
        assert radiograph.image_id == chest_xray.read_image(path).image_id


def test_table_labels_and_repr(built, table):
    pd.testing.assert_frame_equal(built.table, table)
    assert built.labels.tolist() == (table["label"] == "PNEUMONIA").astype(int).tolist()
    assert repr(built) == "Radiographs(16 of 13 patients, 32 x 32: 9 PNEUMONIA, 7 NORMAL)"
    assert built[-1].label == "PNEUMONIA"
    with pytest.raises(IndexError, match="radiograph 16 of 16"):
        built[16]


def test_all_images_and_batches(built):
    images = built.images()
    assert (images.shape, images.dtype) == ((16, 1, 32, 32), torch.float32)
    assert torch.equal(torch.cat(list(built.batches(5))), images)
    assert torch.equal(built.images([3, 1]), images[[3, 1]])
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        next(built.batches(0))


def test_pad_and_compression_are_applied(table, path):
    padded = radiographs.build(table, path, size=32, fit="pad", progress=False)
    assert (padded.images()[4, 0, :3] == 0).all()
    compressed = radiographs.build(table, path, size=32, fit="pad", jpeg_quality=40, progress=False)
    assert torch.equal(compressed.images(), jpeg.recompress(padded.images(), quality=40))


def test_training_takes_them_as_they_are(built):
    chosen = built.select(built.table.iloc[[2, 9]])
    assert as_packed(chosen) is chosen
    assert torch.equal(whole_image(chosen, 1)[0], built.images([9])[0])
    crops = Crops(chosen, size=16, batch=8, seed=0)(0)
    assert crops.shape == (8, 1, 16, 16)
    assert 0 <= crops.min() <= crops.max() <= 1


def test_select_shares_the_pixels(built):
    chosen = built.select(built.table[built.table["split"] == "test"])
    assert len(chosen) == 4
    assert chosen.stored is built.stored
    assert chosen[0].image_id == "IM-0001-0001"
    assert torch.equal(chosen.select(chosen.table.iloc[[3]]).images(), built.images([15]))
    with pytest.raises(ValueError, match="rows of these radiographs' own table"):
        chosen.select(built.table.iloc[:2])


def test_a_byte_a_pixel(built, path):
    assert path.stat().st_size < 16 * 32 * 32 + 20_000
    assert built.stored.nbytes == 16 * 32 * 32


def test_changes_in_memory_do_not_reach_the_file(built, path):
    built.stored[0] = 7
    assert not (radiographs.open(path).stored[0] == 7).all()


def test_masks_go_through_the_same_square(chest, table, path):
    (chest / "masks").mkdir()
    for name in table["image_id"][table["label"] == "PNEUMONIA"]:
        mask = Image.new("L", (80, 60))
        mask.paste(255, (10, 0, 40, 30))  # the square in the middle begins at column 10
        mask.save(chest / "masks" / f"{name}.png")
    masks = radiographs.build(table, path, size=32, progress=False).masks()
    assert masks.dtype == torch.bool
    assert masks[4].nonzero().max() == 15
    assert masks[4, :16, :16].all()
    assert not masks[0].any()


def test_real_radiographs_have_no_masks(built):
    with pytest.raises(ValueError, match="these radiographs have no masks"):
        built.masks()


def test_prepare_builds_once_and_again_when_something_changed(chest, path, write_jpeg, monkeypatch):
    first = radiographs.prepare(chest, path, size=16, progress=False)
    monkeypatch.setattr(chest_xray, "index", None)
    assert torch.equal(
        radiographs.prepare(chest, path, size=16, progress=False).stored, first.stored
    )
    monkeypatch.undo()
    assert radiographs.prepare(chest, path, size=24, progress=False).size == 24
    write_jpeg(chest / "train/NORMAL/IM-0900-0001.jpeg")
    assert len(radiographs.prepare(chest, path, size=24, progress=False)) == 17
    path.write_bytes(path.read_bytes()[:3000])
    assert len(radiographs.prepare(chest, path, size=24, progress=False)) == 17


def test_open_refuses_what_is_no_such_file(tmp_path, built, path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such file; radiographs\.build"):
        radiographs.open(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["volume"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"expected 'medsr radiographs 1', found None; build it"):
        radiographs.open(tmp_path / "other.h5")


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_open_refuses_a_truncated_file(built, path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=r"chest\.h5: a damaged file .*; build it again"):
        radiographs.open(path)


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_former_file(built, table, path, monkeypatch, error):
    before, read, calls = path.read_bytes(), chest_xray.read_pixels, []

    def fail_at_the_third(name):
        calls.append(name)
        if len(calls) == 3:
            raise error
        return read(name)

    monkeypatch.setattr(chest_xray, "read_pixels", fail_at_the_third)
    with pytest.raises(type(error)):
        radiographs.build(table, path, size=32, workers=1, progress=False)
    assert path.read_bytes() == before
    assert files(path) == ["chest.h5"]


def test_build_refuses(table, path):
    with pytest.raises(ValueError, match="no rows; there is nothing to pack"):
        radiographs.build(table.iloc[:0], path)
    with pytest.raises(ValueError, match="a whole number from 1 to 100, got 0"):
        radiographs.build(table, path, jpeg_quality=0)
    with pytest.raises(ValueError, match="'crop' or 'pad', got 'fill'"):
        radiographs.build(table, path, fit="fill", progress=False)
    assert not path.exists()
