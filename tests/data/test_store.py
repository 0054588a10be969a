import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.data import figshare, store

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
def table(mixed):
    return figshare.index(mixed, progress=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "packs" / "brain.h5"


@pytest.fixture
def built(table, path):
    return store.build(table, path, progress=False)


def slices_of(table):
    return [figshare.read_slice(path) for path in table["path"]]


def files(path):
    return [p.name for p in path.parent.iterdir()]


def test_integer_slices_come_back_bit_for_bit(built, table):
    for packed, s in zip(built, slices_of(table)):
        if s.raw.dtype in (np.int16, np.uint8):
            assert torch.equal(packed.image, s.image)
            assert packed.image.dtype == s.image.dtype


def test_other_slices_come_back_within_half_a_step(built, table):
    for packed, s in zip(built, slices_of(table)):
        torch.testing.assert_close(packed.image, s.image, rtol=0, atol=0.51 / 65534)


def test_everything_else_comes_back_too(built, table):
    for packed, s, fold in zip(built, slices_of(table), table["fold"]):
        assert torch.equal(packed.mask, s.mask)
        assert torch.equal(packed.border, s.border)
        for name in ("tumour", "patient_id", "patient", "slice_id", "raw_min", "raw_max"):
            assert getattr(packed, name) == getattr(s, name)
        assert packed.fold == fold


def test_table_comes_back_with_its_types(built, table):
    pd.testing.assert_frame_equal(built.table, table, check_exact=True)
    assert built.table["patient_id"].iloc[0] == "103414"


def test_table_without_folds_comes_back(mixed, path):
    (mixed / "cvind.mat").unlink()
    table = figshare.index(mixed, progress=False)
    built = store.build(table, path, progress=False)
    pd.testing.assert_frame_equal(built.table, table)
    assert built[0].fold is None


def test_is_a_sequence(built):
    assert len(built) == 10
    assert [s.slice_id for s in built] == [str(n) for n in range(1, 11)]
    assert built[-1].slice_id == "10"
    assert "10 slices of 4 patients" in repr(built)
    with pytest.raises(IndexError, match="slice 10 of a pack of 10"):
        built[10]


def test_select_shares_the_pixels(built):
    some = built.select(built.table.query("tumour == 'glioma'"))
    assert some.pixels.data_ptr() == built.pixels.data_ptr()
    assert [s.slice_id for s in some] == ["3", "4", "5", "6"]
    assert torch.equal(some[2].image, built[4].image)
    assert torch.equal(some[2].border, built[4].border)


def test_select_of_a_selection(built):
    some = built.select(built.table.iloc[[7, 2, 5]])
    assert [s.slice_id for s in some.select(some.table.iloc[[2, 0]])] == ["6", "8"]


def test_select_refuses_rows_of_another_table(built, table):
    with pytest.raises(ValueError, match="rows of this pack's own table"):
        built.select(table.iloc[:2].assign(slice_id=["90", "91"]))
    with pytest.raises(ValueError, match="rows of this pack's own table"):
        built.select(table.set_axis(range(100, 110)))


def test_a_table_of_other_row_numbers_can_be_packed(table, path):
    built = store.build(table.iloc[[8, 3]], path, progress=False)
    assert [s.slice_id for s in built] == ["9", "4"]


def test_patches_lie_around_the_tumours(built):
    patches = built.select(built.table.iloc[[1, 3]]).patches(20)
    assert patches.shape == (2, 1, 20, 20)
    assert patches.dtype == torch.float32
    # The tumour covers rows 18 to 30 and columns 28 to 40: 20 pixels around it begin at 14 and 24.
    assert torch.equal(patches[0, 0], built[1].image[14:34, 24:44])
    assert torch.equal(patches[1, 0], built[3].image[14:34, 24:44])


def test_patches_are_moved_inwards(built):
    patch = built.select(built.table.iloc[[1]]).patches(50)[0, 0]
    assert torch.equal(patch, built[1].image[:50, 6:56])


def test_a_patch_of_the_middle_of_the_bounding_box(folder, path, write_mat):
    mask = np.zeros((64, 56), bool)
    mask[[40, 59], [10, 12]] = True  # two far apart: the middle lies between them
    write_mat(folder / "data" / "2.mat", mask=mask, seed=2)
    built = store.build(figshare.index(folder, progress=False), path, progress=False)
    patch = built.select(built.table.iloc[[1]]).patches(3)[0, 0]
    assert torch.equal(patch, built[1].image[48:51, 10:13])


def test_mask_patches_lie_where_the_patches_do(built):
    chosen = built.select(built.table.iloc[[1, 3]])
    masks = chosen.mask_patches(20)
    assert masks.shape == (2, 1, 20, 20)
    assert torch.equal(masks[1, 0], built[3].mask[14:34, 24:44])
    assert store.around(built[3].mask, size=20) == (slice(14, 34), slice(24, 44))


@pytest.mark.parametrize("size", [0, 34])
def test_patches_name_the_slice_that_is_too_small(built, size):
    with pytest.raises(ValueError, match=rf"slice 1: 33 x 70 pixels; a patch of {size} does"):
        built.patches(size)


def test_patches_name_the_slice_without_a_tumour(built):
    built.mask_bits[:] = 0
    with pytest.raises(ValueError, match="slice 1: the mask is empty; leave the slice out"):
        built.patches(8)


def test_3064_slices_fit_in_2_gigabytes(tmp_path, write_mat, path):
    image = np.random.default_rng(0).integers(0, 9000, (512, 512)).astype(np.int16)
    write_mat(tmp_path / "raw" / "1.mat", image=image)
    built = store.build(figshare.index(tmp_path / "raw", progress=False), path, progress=False)
    in_memory = built.pixels.nbytes + built.mask_bits.nbytes + built.borders.nbytes
    assert in_memory * 3064 < 2e9
    assert path.stat().st_size * 3064 < 2e9


def test_prepare_builds_once(mixed, path, monkeypatch):
    first = store.prepare(mixed, path, progress=False)
    monkeypatch.setattr(figshare, "read_slice", None)
    again = store.prepare(mixed, path, progress=False)
    assert torch.equal(again.pixels, first.pixels)
    pd.testing.assert_frame_equal(again.table, first.table)


@pytest.mark.parametrize("change", ["new", "changed", "removed", "folds"])
def test_prepare_builds_again_when_the_folder_has_changed(mixed, path, write_mat, change):
    data = mixed / "data"
    store.prepare(mixed, path, progress=False)
    if change == "new":
        (mixed / "cvind.mat").unlink()
        write_mat(data / "11.mat", seed=11)
    elif change == "changed":
        write_mat(data / "2.mat", seed=77)  # of the same size in bytes
    elif change == "removed":
        (data / "1.mat").unlink()
    else:
        (mixed / "cvind.mat").unlink()
    expected = figshare.index(mixed, progress=False)
    pd.testing.assert_frame_equal(store.prepare(mixed, path, progress=False).table, expected)


def test_prepare_replaces_a_damaged_pack(mixed, path):
    store.prepare(mixed, path, progress=False)
    path.write_bytes(path.read_bytes()[:5000])
    assert len(store.prepare(mixed, path, progress=False)) == 10


def test_prepare_passes_on_the_errors_of_the_index(mixed, path):
    (mixed / "data" / "3.mat").write_text("not a slice")
    with pytest.raises(ValueError, match=r"1 of 10 files cannot be used"):
        store.prepare(mixed, path, progress=False)
    with pytest.warns(UserWarning, match="1 of 10 files left out"):
        assert len(store.prepare(mixed, path, skip_bad=True, progress=False)) == 9


def test_open_refuses_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"brain\.h5: no such file; pack\.build writes it"):
        store.open(path)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_open_refuses_a_truncated_pack(built, path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=r"brain\.h5: a damaged pack .*; build it again"):
        store.open(path)


def test_open_refuses_what_is_no_pack(mixed):
    with pytest.raises(ValueError, match=r"1\.mat: expected 'medsr pack 1', found None; build it"):
        store.open(mixed / "data" / "1.mat")


def test_open_refuses_another_version(built, path):
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "medsr pack 99"
    with pytest.raises(ValueError, match="found 'medsr pack 99'; build it again"):
        store.open(path)


def test_open_refuses_a_pack_with_a_part_missing(built, path):
    with h5py.File(path, "a") as file:
        del file["borders"]
    with pytest.raises(ValueError, match=r"brain\.h5: a damaged pack"):
        store.open(path)


def test_build_refuses_an_empty_table(table, path):
    with pytest.raises(ValueError, match="no rows; there is nothing to pack"):
        store.build(table.iloc[:0], path)


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_former_pack(built, table, path, monkeypatch, error):
    before, read, calls = path.read_bytes(), figshare.read_slice, []

    def fail_at_the_third(slice_path):
        calls.append(slice_path)
        if len(calls) == 3:
            raise error
        return read(slice_path)

    monkeypatch.setattr(figshare, "read_slice", fail_at_the_third)
    with pytest.raises(type(error)):
        store.build(table, path, progress=False)
    assert path.read_bytes() == before
    assert files(path) == ["brain.h5"]


KILLED = """
import sys, time
from medsr_lib.data import figshare, pack

table = figshare.index(sys.argv[1], progress=False)
read = figshare.read_slice
figshare.read_slice = lambda path: (time.sleep(0.3), read(path))[1]
store.build(table, sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_leaves_the_former_pack(built, mixed, path):
    before = path.read_bytes()
    command = [sys.executable, "-c", KILLED, mixed, path]
    with subprocess.Popen(command) as process:
        while len(files(path)) == 1:
            time.sleep(0.05)
        time.sleep(0.7)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(store.open(path)) == 10
