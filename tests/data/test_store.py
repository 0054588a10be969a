import dataclasses
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import apart
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
        about["digest"] = expected.digest  # of the file, where the store rounds too
        assert (case.about, case.fold, case.spacing) == (about, fold, None)


def test_whole_numbers_come_back_bit_for_bit_and_others_within_half_a_step(slices):
    for case, name in zip(slices, slices.table["path"]):
        expected = figshare.read_slice(name).image
        assert case.image.dtype == torch.float32
        torch.testing.assert_close(case.image, expected, rtol=0, atol=0.51 / 65534)
        if case.id not in ("5", "9"):
            assert torch.equal(case.image, expected)


def test_a_store_without_folds(squares):
    assert squares[0].fold is None
    assert squares.table["fold"].dtype == "Int64"


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


def test_select_refuses_rows_of_another_table_and_rows_twice(slices):
    table = slices.table
    for rows in (table.iloc[:2].assign(id=["90", "91"]), table.set_axis(range(5, 15))):
        with pytest.raises(ValueError, match="rows of this store's own table"):
            slices.select(rows)
    for rows in (table.iloc[[1, 2, 1]], table["label"] == "glioma", [0, 1]):
        with pytest.raises(ValueError, match=r"such as table\[condition\], each of them once"):
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


def test_patches_name_the_case_that_is_too_small(slices):
    with pytest.raises(ValueError, match="case 1: 33 x 70 pixels; a patch of 34 does"):
        slices.patches(34)
    for size in (0, 2.5, "8"):
        with pytest.raises(ValueError, match=f"size must be a whole number .* got {size!r}"):
            slices.patches(size)


def test_patches_name_the_case_without_a_lesion(slices, squares):
    _ = slices.pixels  # all are compared with their checksums
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
    assert path.with_name("chest.h5").stat().st_size < 16 * 32 * 32 + 25_000


def test_changes_in_memory_do_not_reach_the_file(squares, path):
    squares.stored[:] = 7
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


@pytest.mark.parametrize("change", ["new", "changed", "removed", "folds", "renamed"])
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
        mixed = mixed.rename(mixed.with_name("renamed"))
    pd.testing.assert_frame_equal(store.prepare(mixed, path).table, source.index(mixed))


def test_prepare_sees_folds_that_are_added_or_changed_above_the_slices(mixed, path):
    folds, data = mixed / "cvind.mat", mixed / "data"
    whole = folds.read_bytes()
    folds.unlink()
    without = store.prepare(data, path).table["fold"]
    folds.write_bytes(whole)
    with_folds = store.prepare(data, path).table["fold"]
    assert with_folds.tolist() != without.tolist()
    assert with_folds.equals(source.index(data)["fold"])
    with h5py.File(folds, "a") as file:
        file["cvind"][...] = 5
    assert set(store.prepare(data, path).table["fold"]) == {5}


@pytest.mark.parametrize("found", ["cut", "older", "empty"])
def test_prepare_makes_a_damaged_or_older_store_anew_and_says_so(mixed, slices, path, found):
    whole = path.read_bytes()
    older = whole.replace(b"medsr store 4", b"medsr store 3", 1)
    path.write_bytes({"cut": whole[:5000], "older": older, "empty": b""}[found])
    with pytest.warns(UserWarning, match=r"brain\.h5: (damaged|no) .*; it is made anew"):
        store.prepare(mixed, path)
    assert path.read_bytes() == whole


def test_prepare_replaces_nothing_but_stores(mixed):
    own = mixed / "data" / "3.mat"
    before = own.read_bytes()
    with pytest.raises(ValueError, match=r"3\.mat: not a store; delete it, or give another path"):
        store.prepare(mixed, own)
    assert own.read_bytes() == before


def test_a_folder_that_changes_while_it_is_read_is_refused(mixed, path, write_mat, monkeypatch):
    calls = []

    def read(name):
        calls.append(name)
        if len(calls) == 11:  # ten for the index
            write_mat(mixed / "data" / "10.mat", image=np.eye(40, 30), seed=3)
        return figshare.read_slice(name)

    monkeypatch.setattr(source, "SOURCES", (dataclasses.replace(source.FIGSHARE, read=read),))
    with pytest.raises(ValueError, match="changed while it was read; call prepare again"):
        store.prepare(mixed, path)
    assert files(path) == []


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
    with pytest.raises(ValueError, match="1 of 10 files cannot be used"):
        store.prepare(mixed, path)


def test_a_store_without_bad_files_serves_whoever_would_leave_them_out(mixed, slices, path):
    made = path.stat().st_mtime_ns
    assert len(store.prepare(mixed, path, skip_bad=True)) == 10
    assert path.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"size": 4}, "size must be a whole number of at least 8, got 4"),
        ({"size": "32"}, "size must be a whole number of at least 8, got '32'"),
        ({"size": 32, "jpeg_quality": 0}, "a whole number from 1 to 100, got 0"),
        ({"jpeg_quality": 75}, "jpeg_quality compresses squares .* give a size"),
    ],
)
def test_prepare_refuses(chest, path, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        store.prepare(chest, path, **arguments)
    assert not path.exists()


# open and damage


def test_open_refuses_what_is_no_store(mixed, slices, path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such file; store\.prepare writes"):
        store.open(path.with_name("none.h5"))
    with pytest.raises(ValueError, match=r"1\.mat: no 'medsr store 4', begins b'\\x00"):
        store.open(mixed / "data" / "1.mat")
    path.write_bytes(b"medsr store 99" + path.read_bytes()[14:])
    with pytest.raises(ValueError, match=r"begins b'medsr store 9'; store\.prepare makes one"):
        store.open(path)


def _all_of(packed):
    cases = [(c.id, c.patient, c.label, c.fold, c.about, c.image.tolist()) for c in packed]
    return cases, [c.mask is not None and c.mask.tolist() for c in packed]


def _damaged(whole, rng):
    """The bytes with one of eight damages, one in two in what is neither pixels nor masks."""
    spans = [int(n) for n in whole[:512].split(b"\n")[2].split()[1:]]
    around = [*range(spans[0]), *range(spans[1], spans[2]), *range(spans[3], len(whole))]
    at = rng.choice(around) if rng.random() < 0.5 else rng.randrange(len(whole))
    n = rng.choice([1, 8, 64, 4096])
    before, old, after = whole[:at], whole[at : at + n], whole[at + n :]
    flipped = bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
    huge = (1 << rng.choice([31, 40, 63]) - 1).to_bytes(8, "little") + whole[at + 8 :]
    ends = [flipped, huge, bytes(len(old)) + after, b"\xff" * len(old) + after, after, b""]
    return before + rng.choice([*ends, rng.randbytes(n) + after, rng.randbytes(n) + old + after])


@pytest.mark.parametrize("kind", ["slices", "squares"])
def test_damaged_bytes_are_refused_or_without_effect(kind, request, path):
    path = path.with_name("brain.h5" if kind == "slices" else "chest.h5")
    right = _all_of(request.getfixturevalue(kind))
    whole, rng, refused = path.read_bytes(), random.Random(0), []
    for _ in range(30):
        path.write_bytes(_damaged(whole, rng))
        try:
            assert _all_of(store.open(path)) == right
        except ValueError as error:
            refused.append(str(error))
    expected = rf"{path}: (damaged \(.*\); delete it and it is made anew|no 'medsr store 4', )"
    assert [text for text in refused if not re.match(expected, text)] == []
    assert len(refused) > 25


def test_a_damaged_image_is_refused_before_it_is_used_and_the_others_are_not(slices, path):
    start = int(path.read_bytes()[:512].split()[5])
    with path.open("rb+") as file:
        file.seek(start + 2 * int(slices.offset[4]))
        file.write(b"??")
    packed = store.open(path)
    refused = pytest.raises(
        ValueError, match=r"brain\.h5: damaged \(image 5\); delete it and it is"
    )
    sound = packed.select(packed.table[packed.table["id"] != "5"])
    assert torch.equal(packed[3].image, slices[3].image)
    assert Crops(sound, size=16, batch=2, seed=0)(0).shape == (2, 1, 16, 16)
    for use in (
        lambda: packed[4],
        lambda: Crops(packed, size=16, batch=2, seed=0),
        lambda: list(packed),
    ):
        with refused:
            use()


EDITS = {
    "gone": lambda file: file.pop("mask_bits"),
    "beyond the pixels": lambda file: file["layout/offset"].__setitem__(3, 1 << 60),
    "huge": lambda file: file["layout/height"].__setitem__(0, 1 << 40),
    "one more": lambda file: file.create_dataset("layout/more", data=[1]),
    "types": lambda file: file.attrs.update(types="{}"),
    "shape": lambda file: file.move("layout/width", "layout/low2"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edits_by_other_programs_are_refused(slices, path, edit):
    with h5py.File(path, "a") as file:
        EDITS[edit](file)
    with pytest.raises(
        ValueError, match=r"brain\.h5: damaged \(.*\); delete it and it is made anew"
    ):
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
    assert len(files(path)) == 2
    assert len(store.prepare(mixed, path)) == 10
    assert files(path) == ["brain.h5"]


FULL = """
import resource, sys
from medsr_lib.data import store

for path in sys.argv[2:4]:
    for limit in sys.argv[4:]:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))
        try:
            store.prepare(sys.argv[1], path)
        except OSError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_is_an_error_and_leaves_the_former_store(mixed, slices, path, write_mat):
    whole, new = path.read_bytes(), path.with_name("new.h5")
    write_mat(mixed / "data" / "2.mat", seed=77)
    limits = [str(int(share * len(whole))) for share in (0.002, 0.01, 0.1, 0.5, 0.9, 0.99)]
    done = apart.run(FULL, mixed, path, new, *limits)
    assert not done.error
    full = r"\[Errno \d+\] disk full, .*{} could not be written; {}"
    expected = [full.format("brain.h5", "the former file is kept")] * len(limits)
    expected += [full.format("new.h5", "nothing was written")] * len(limits)
    said = done.out.splitlines()
    assert len(said) == len(expected)
    assert [line for e, line in zip(expected, said) if not re.fullmatch(e, line)] == []
    assert files(path) == ["brain.h5"]
    assert path.read_bytes() == whole


def test_a_store_that_does_not_fit_is_refused_before_it_is_packed(mixed, path, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(OSError, match=r"no room for 0\.07 MB, 0\.01 MB are free; .*: .*brain\.h5"):
        store.prepare(mixed, path)
    assert files(path) == []
