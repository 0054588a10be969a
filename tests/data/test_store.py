import dataclasses
import pickle
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.transform import resize

from medsr_lib.data import chest_xray, figshare, jpeg, source, store
from medsr_lib.restore.training.batches import Crops, as_packed, whole_image

GLIOMA = np.array([[2.0]])


@pytest.fixture
def mixed(folder, write_mat):
    """The folder with uint8, float and negative pixels, and an odd size."""
    data, y, x = folder / "data", *np.mgrid[:33, :70]
    write_mat(data / "1.mat", image=((3 * y + x) % 200).astype(np.uint8))
    write_mat(
        data / "5.mat", image=np.sin(y / 9) * np.cos(x / 8) * 1234.5, pid="MR000001B", label=GLIOMA
    )
    write_mat(data / "8.mat", image=(y * x - 30000).astype(np.int16), pid="98765")
    write_mat(data / "9.mat", image=(y * x * 25.0).astype(np.uint16), pid="MR000007")
    return folder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stores" / "brain.h5"


@pytest.fixture
def slices(mixed, path):
    return store.prepare(mixed, path)


@pytest.fixture
def squares(chest, path):
    return store.prepare(chest, path.with_name("chest.h5"), size=32)


def files(path):
    return [p.name for p in path.parent.iterdir()]


# cases


def test_slices_come_back_with_all_that_the_table_knows(slices, mixed):
    table = source.index(mixed)
    pd.testing.assert_frame_equal(slices.table, table, check_exact=True)
    for case, name, fold in zip(slices, table["path"], table["fold"]):
        expected = figshare.read_slice(name)
        assert torch.equal(case.mask, expected.mask)
        assert (case.id, case.patient, case.label) == (
            expected.id, expected.patient, expected.label,
        )  # fmt: skip
        about = {key: expected.about[key] for key in ("pid", "raw_min", "raw_max")}
        assert (case.about, case.fold, case.spacing) == (about, fold, None)


def test_whole_numbers_come_back_bit_for_bit_and_others_within_half_a_step(slices):
    for case, name in zip(slices, slices.table["path"]):
        expected = figshare.read_slice(name).image
        assert case.image.dtype == torch.float32
        torch.testing.assert_close(case.image, expected, rtol=0, atol=0.51 / 65534)
        if case.id not in ("5", "9"):
            assert torch.equal(case.image, expected)


def test_a_store_without_folds(mixed, path):
    (mixed / "cvind.mat").unlink()
    packed = store.prepare(mixed, path)
    assert packed[0].fold is None
    assert packed.table["fold"].dtype == "Int64"


def test_is_a_sequence(slices):
    assert len(slices) == 10
    assert [s.id for s in slices] == [str(n) for n in range(1, 11)]
    assert slices[-1].id == "10"
    kinds = "5 meningioma, 4 glioma, 1 pituitary"
    assert repr(slices) == f"Store(10 images of 4 patients: {kinds})"
    with pytest.raises(IndexError, match="image 10 of a store of 10"):
        slices[10]


def test_select_shares_the_pixels_and_takes_the_tables_folds(slices):
    some = slices.select(slices.table.query("label == 'glioma'").assign(fold=7))
    assert some.pixels.data_ptr() == slices.pixels.data_ptr()
    assert [s.id for s in some] == ["3", "4", "5", "6"]
    assert torch.equal(some[2].image, slices[4].image)
    assert torch.equal(some[2].mask, slices[4].mask)
    assert some[2].fold == 7
    assert [s.id for s in some.select(some.table.iloc[[2, 0]])] == ["5", "3"]


def test_select_refuses_rows_of_another_table(slices):
    table = slices.table
    for rows in (table.iloc[:2].assign(id=["90", "91"]), table.set_axis(range(5, 15))):
        with pytest.raises(ValueError, match="rows of this store's own table"):
            slices.select(rows)


def test_labels_are_places_among_all_classes(slices):
    assert slices.classes == ("glioma", "meningioma", "pituitary")
    chosen = slices.select(slices.table.iloc[[0, 3, 7]])
    assert chosen.labels.tolist() == [1, 0, 1]
    assert chosen.select(chosen.table.iloc[[1]]).labels.tolist() == [0]
    with pytest.raises(ValueError, match="not all images have a label"):
        dataclasses.replace(chosen, table=chosen.table.assign(label="")).labels  # noqa: B018


# patches


def test_patches_lie_around_the_lesions(slices):
    chosen = slices.select(slices.table.iloc[[1, 3]])
    patches, masks = chosen.patches(20), chosen.mask_patches(20)
    assert patches.shape == masks.shape == (2, 1, 20, 20)
    assert (patches.dtype, masks.dtype) == (torch.float32, torch.bool)
    # The tumour covers rows 18 to 30 and columns 28 to 40: 20 pixels around it begin at 14 and 24.
    assert torch.equal(patches[0, 0], slices[1].image[14:34, 24:44])
    assert torch.equal(patches[1, 0], slices[3].image[14:34, 24:44])
    assert torch.equal(masks[1, 0], slices[3].mask[14:34, 24:44])
    assert store.around(slices[3].mask, size=20) == (slice(14, 34), slice(24, 44))


def test_patches_are_moved_inwards_from_the_middle_of_the_bounding_box():
    mask = torch.zeros(64, 56, dtype=torch.bool)
    mask[[40, 59], [10, 12]] = True  # two far apart: the middle lies between them
    assert store.around(mask, size=3) == (slice(48, 51), slice(10, 13))
    assert store.around(mask, size=40) == (slice(24, 64), slice(0, 40))


@pytest.mark.parametrize("size", [0, 34])
def test_patches_name_the_case_that_is_too_small(slices, size):
    with pytest.raises(ValueError, match=rf"case 1: 33 x 70 pixels; a patch of {size} does"):
        slices.patches(size)


def test_patches_name_the_case_without_a_lesion(slices, squares):
    slices.mask_bits[:] = 0
    with pytest.raises(ValueError, match="case 1: the mask is empty; leave the image out"):
        slices.patches(8)
    with pytest.raises(ValueError, match="case IM-0115-0001 has no mask; select those that have"):
        squares.patches(8)


# squares


def ramp(h, w):
    y, x = np.mgrid[:h, :w]
    return np.rint(127.5 + 100 * np.sin(y / h * 5) * np.cos(x / h * 5)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(200, 200), (140, 300), (301, 180), (60, 80)])
def test_a_square_is_the_middle_of_the_image(shape):
    picture, side = ramp(*shape), min(shape)
    top, left = (shape[0] - side) / 2, (shape[1] - side) / 2
    middle = picture[int(top) : int(top) + side, int(left) : int(left) + side]
    expected = resize(middle.astype(float), (64, 64), order=1, anti_aliasing=side > 64)
    found = store.to_square(picture, size=64)
    assert (found.dtype, found.shape) == (np.uint8, (64, 64))
    assert np.abs(found - expected)[2:-2, 2:-2].mean() < 1.5


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    assert store.to_square(stripes, size=64)[:, 2:-2].std() < 3


def test_images_are_the_squares_of_the_files(squares):
    for case, name in zip(squares, squares.table["path"]):
        pixels = np.rint(chest_xray.read_image(name).image.numpy() * 255).astype(np.uint8)
        square = store.to_square(pixels, size=32)
        np.testing.assert_array_equal(case.image, square.astype(np.float32) / 255)
    images = squares.images()
    assert (images.shape, images.dtype) == ((16, 1, 32, 32), torch.float32)
    assert torch.equal(images[3, 0], squares[3].image)
    assert squares.labels.tolist() == (squares.table["label"] == "PNEUMONIA").tolist()


def test_one_compression_for_all(squares, chest, tmp_path):
    compressed = store.prepare(chest, tmp_path / "jpeg.h5", size=32, jpeg_quality=40)
    assert torch.equal(compressed.images(), jpeg.recompress(squares.images(), quality=40))


def test_masks_go_through_the_same_square(chest, path):
    (chest / "masks").mkdir()
    table = source.index(chest)
    for name in table["id"][table["label"] == "PNEUMONIA"]:
        mask = Image.new("L", (80, 60))
        mask.paste(255, (10, 0, 40, 30))  # the square in the middle begins at column 10
        mask.save(chest / "masks" / f"{name}.png")
    packed = store.prepare(chest, path, size=32)
    assert not packed.has_masks
    with pytest.raises(ValueError, match="case IM-0115-0001 has no mask; select those that have"):
        packed.masks()
    ill = packed.select(packed.table[packed.table["label"] == "PNEUMONIA"])
    assert ill.has_masks
    masks = ill.masks()
    assert (masks.dtype, masks.shape) == (torch.bool, (9, 32, 32))
    assert masks[0].nonzero().max() == 15
    assert masks[0, :16, :16].all()
    assert torch.equal(ill[0].mask, masks[0])


def test_images_of_several_sizes_cannot_be_stacked(slices):
    with pytest.raises(ValueError, match=r"one size, found 2 sizes \[\(33, 70\), \(64, 56\)\]; "):
        slices.images()


# training, memory and the disk


@pytest.mark.parametrize("kind", ["slices", "squares"])
def test_training_takes_a_store_as_it_is(kind, request):
    packed = request.getfixturevalue(kind)
    chosen = packed.select(packed.table.iloc[[2, 9]])
    assert as_packed(chosen) is chosen
    assert torch.equal(whole_image(chosen, 1)[0, 0], packed[9].image)
    crops = Crops(chosen, size=16, batch=8, seed=0)(0)
    assert crops.shape == (8, 1, 16, 16)
    assert 0 <= crops.min() <= crops.max() <= 1
    copy = pickle.loads(pickle.dumps(chosen))  # as other processes get it
    assert torch.equal(copy[1].image, chosen[1].image)


def test_3064_slices_fit_in_2_gigabytes(tmp_path, write_mat, squares, path):
    image = np.random.default_rng(0).integers(0, 9000, (512, 512)).astype(np.int16)
    write_mat(tmp_path / "raw" / "1.mat", image=image)
    packed = store.prepare(tmp_path / "raw", tmp_path / "big.h5")
    assert (packed.pixels.nbytes + packed.mask_bits.nbytes) * 3064 < 2e9
    assert (tmp_path / "big.h5").stat().st_size * 3064 < 2e9
    assert squares.pixels.nbytes == 16 * 32 * 32
    assert path.with_name("chest.h5").stat().st_size < 16 * 32 * 32 + 20_000


def test_changes_in_memory_do_not_reach_the_file(squares, path):
    squares.pixels[:] = 7
    assert not (store.open(path.with_name("chest.h5")).pixels == 7).all()


# prepare


def test_prepare_makes_a_store_once_for_the_same_arguments(chest, path, monkeypatch):
    first = store.prepare(chest, path, size=16)
    with monkeypatch.context() as patch:
        patch.setattr(source, "index", None)
        again = store.prepare(chest, path, size=16)
    assert torch.equal(again.pixels, first.pixels)
    pd.testing.assert_frame_equal(again.table, first.table)
    assert store.prepare(chest, path, size=24)[0].image.shape == (24, 24)
    assert store.prepare(chest, path)[0].image.shape == (90, 108)


@pytest.mark.parametrize("change", ["new", "changed", "removed", "folds", "damaged"])
def test_prepare_makes_it_again_when_something_has_changed(mixed, slices, path, write_mat, change):
    data = mixed / "data"
    if change == "new":
        (mixed / "cvind.mat").unlink()
        write_mat(data / "11.mat", seed=11)
    elif change == "changed":
        write_mat(data / "2.mat", seed=77)  # of the same size in bytes
    elif change == "removed":
        (data / "1.mat").unlink()
    elif change == "folds":
        (mixed / "cvind.mat").unlink()
    else:
        path.write_bytes(path.read_bytes()[:5000])
    pd.testing.assert_frame_equal(store.prepare(mixed, path).table, source.index(mixed))


def test_prepare_passes_on_the_errors_of_the_index(mixed, path):
    (mixed / "data" / "3.mat").write_text("not a slice")
    with pytest.raises(ValueError, match=r"1 of 10 files cannot be used"):
        store.prepare(mixed, path)
    with pytest.warns(UserWarning, match="1 of 10 files left out"):
        assert len(store.prepare(mixed, path, skip_bad=True)) == 9


def test_what_was_left_out_is_remembered_and_said_each_time(mixed, path):
    bad = mixed / "data" / "3.mat"
    bad.write_text("not a slice")
    for _ in range(2):  # made, then opened again
        with pytest.warns(UserWarning, match=r"1 of 10 files left out:\n.*3\.mat: "):
            packed = store.prepare(mixed, path, skip_bad=True)
        assert list(packed.table.attrs["bad"]) == [str(bad)]
        assert packed.table.attrs["kind"] == "brain slices"
    assert list(store.open(path).select(packed.table[:2]).table.attrs["bad"]) == [str(bad)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"size": 4}, "size must be at least 8 pixels, got 4"),
        ({"size": 32, "jpeg_quality": 0}, "a whole number from 1 to 100, got 0"),
        ({"jpeg_quality": 75}, "jpeg_quality compresses squares .* give a size"),
    ],
)
def test_prepare_refuses(chest, path, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        store.prepare(chest, path, **arguments)
    assert not path.exists()


# open


def test_open_refuses_what_is_no_store(mixed, slices, path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such file; store\.prepare writes"):
        store.open(path.with_name("none.h5"))
    with pytest.raises(ValueError, match=r"1\.mat: expected 'medsr store 3', found None; prepare"):
        store.open(mixed / "data" / "1.mat")
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "medsr store 99"
    with pytest.raises(ValueError, match="found 'medsr store 99'; prepare it again"):
        store.open(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = store.FORMAT
        del file["mask_bits"]
    with pytest.raises(ValueError, match=r"brain\.h5: a damaged store"):
        store.open(path)


@pytest.mark.parametrize("kept", [0, 0.001, 0.5, 0.99])
def test_open_refuses_a_truncated_store(slices, path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"brain\.h5: a damaged store .*; prepare it again"):
        store.open(path)


# interruptions


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_former_store(
    mixed, slices, path, write_mat, monkeypatch, error
):
    before, calls = path.read_bytes(), []

    def fail_when_packing(name):
        calls.append(name)
        if len(calls) == 13:  # ten for the index
            raise error
        return figshare.read_slice(name)

    changed = dataclasses.replace(source.FIGSHARE, read=fail_when_packing)
    monkeypatch.setattr(source, "SOURCES", (changed,))
    write_mat(mixed / "data" / "2.mat", seed=77)
    with pytest.raises(type(error)):
        store.prepare(mixed, path)
    assert path.read_bytes() == before
    assert files(path) == ["brain.h5"]


KILLED = """
import dataclasses, sys, time
from medsr_lib.data import figshare, source, store

read = lambda path: (time.sleep(0.3), figshare.read_slice(path))[1]
source.SOURCES = (dataclasses.replace(source.FIGSHARE, read=read),)
store.prepare(sys.argv[1], sys.argv[2])
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_leaves_the_former_store(mixed, slices, path, write_mat):
    before = path.read_bytes()
    write_mat(mixed / "data" / "2.mat", seed=77)
    command = [sys.executable, "-c", KILLED, mixed, path]
    with subprocess.Popen(command) as process:
        while len(files(path)) == 1:
            time.sleep(0.05)
        time.sleep(0.4)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(store.open(path)) == 10
