import contextlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.data import figshare

COLUMNS = [
    "slice_id", "path", "patient_id", "patient", "tumour", "fold", "height", "width",
    "tumour_pixels", "raw_min", "raw_max",
]  # fmt: skip


@pytest.fixture
def read(tmp_path, write_mat):
    """`read(**overrides)` -> the TumourSlice of a file written with them."""
    return lambda **overrides: figshare.read_slice(write_mat(tmp_path / "17.mat", **overrides))


def codes(text):
    return np.array([[ord(c) for c in text]], np.uint16)


def index(root, **arguments):
    return figshare.index(root, progress=False, **arguments)


# read_slice


def test_image_and_mask_come_upright(read, picture):
    s = read(seed=4)
    raw = picture(4).astype(np.float32)
    assert s.image.shape == s.mask.shape == (64, 56)
    np.testing.assert_array_equal(s.image, (raw - raw.min()) / (raw.max() - raw.min()))
    np.testing.assert_array_equal(s.raw, picture(4))
    assert torch.nonzero(s.mask).float().mean(0).tolist() == [24, 34]  # row, column


@pytest.mark.parametrize("shape", [(512, 512), (256, 256), (40, 90), (91, 33)])
@pytest.mark.parametrize("kind", ["int16", "uint8", "float32", "float64"])
def test_sizes_and_types(read, shape, kind):
    image = np.arange(np.prod(shape)).reshape(shape) % 251
    mask = np.zeros(shape, bool)
    mask[5:20, 7:12] = True
    s = read(image=image.astype(kind), mask=mask)
    assert s.image.dtype == torch.float32
    np.testing.assert_allclose(s.image, image / 250, atol=1e-7)
    np.testing.assert_array_equal(s.mask, mask)


def test_int16_of_full_range_does_not_overflow(read):
    image = np.linspace(-32768, 32767, 60 * 50).reshape(60, 50).astype(np.int16)
    s = read(image=image)
    expected = (image.astype(float) + 32768) / 65535
    np.testing.assert_allclose(s.image, expected, atol=1e-6)
    assert (s.raw_min, s.raw_max) == (-32768, 32767)


def test_percentiles_clip_what_lies_outside(tmp_path, write_mat):
    image = np.arange(2000).reshape(40, 50)
    path = write_mat(tmp_path / "1.mat", image=image.astype(np.int16))
    s = figshare.read_slice(path, percentiles=(1, 99))
    low, high = np.percentile(image, (1, 99))
    assert (s.raw_min, s.raw_max) == (low, high)
    np.testing.assert_allclose(s.image, np.clip((image - low) / (high - low), 0, 1), atol=1e-6)


@pytest.mark.parametrize("turn", [codes("MR040240B"), codes("MR040240B").T])
def test_pid_in_either_orientation(read, turn):
    s = read(PID=turn)
    assert (s.patient_id, s.patient) == ("MR040240B", "MR040240")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["float64", "uint8"])
def test_labels(read, n, kind):
    assert read(label=np.array([[n]], kind)).tumour == figshare.TUMOURS[n]


@pytest.mark.parametrize("turn", [np.atleast_2d, np.transpose])
def test_border_pairs_count_from_0(read, turn):
    border = turn(np.array([[1.0, 1.0, 35.0, 19.5, 56.0, 64.0]]))
    assert read(tumorBorder=border).border.tolist() == [[0, 0], [34, 18.5], [55, 63]]


def test_border_lies_around_the_mask(read):
    s = read()
    x, y = s.border.long().T
    assert s.mask[y, x].all()


def test_slice_knows_its_number_and_shows_itself(read):
    s = read()
    assert s.slice_id == "17"
    assert "17: meningioma, patient 103414, 64 x 56, tumour 113 pixels" in repr(s)


@pytest.mark.parametrize(
    ("pid", "base"),
    [
        ("MR040240B", "MR040240"),
        ("MR040240", "MR040240"),
        ("103414", "103414"),
        ("98765C", "98765"),
    ],
)
def test_patient_base(pid, base):
    assert figshare.patient_base(pid) == base


picture_of_nan = np.full((64, 56), np.nan)
half_infinite = np.where(np.arange(56) < 28, np.inf, np.zeros((64, 56)))
a_tumour = np.zeros((64, 56), np.uint8)
a_tumour[20:30, 20:30] = 1
BAD = {
    "no image": ({"image": np.ones((64, 56)), "tumorMask": None}, "no field tumorMask"),
    "two fields": ({"PID": None, "label": None}, "no field PID, label"),
    "border": ({"tumorBorder": None}, "no field tumorBorder"),
    "mask shape": ({"mask": a_tumour[:, :40]}, r"mask is \(64, 40\), image is \(64, 56\)"),
    "mask transposed": ({"mask": a_tumour.T}, r"mask is \(56, 64\), image is \(64, 56\)"),
    "mask empty": ({"mask": a_tumour * 0}, "mask is empty"),
    "mask of no pixels": ({"mask": a_tumour[:, :0]}, "mask is empty"),
    "mask grey": ({"mask": a_tumour * 255}, r"mask is not binary \(values \[0, 255\]"),
    "mask NaN": ({"mask": a_tumour * np.nan}, "mask is not binary"),
    "image NaN": ({"image": picture_of_nan}, "image holds NaN or infinite"),
    "image infinite": ({"image": half_infinite}, "image holds NaN or infinite"),
    "image huge": ({"image": half_infinite.clip(0, 1e200)}, "image holds NaN or infinite"),
    "image empty": (
        {"image": np.ones((0, 56)), "mask": a_tumour},
        r"image is float64 \(56, 0\); expected a",
    ),
    "image constant": ({"image": np.full((64, 56), 7)}, r"image is constant \(7\)"),
    "image 3-D": (
        {"image": np.ones((3, 64, 56)), "mask": a_tumour},
        r"expected a numeric \(H, W\)",
    ),
    "image text": ({"image": np.full((64, 56), b"a"), "mask": a_tumour}, "no numbers in image"),
    "label 0": ({"label": np.array([[0.0]])}, r"label is \[0.0\]; expected 1 \(meningioma\)"),
    "label 4": ({"label": np.array([[4.0]])}, r"label is \[4.0\]"),
    "label 1.5": ({"label": np.array([[1.5]])}, r"label is \[1.5\]"),
    "label NaN": ({"label": np.array([[np.nan]])}, r"label is \[nan\]"),
    "two labels": ({"label": np.array([[1.0, 2.0]])}, r"label is \[1.0, 2.0\]"),
    "PID empty": ({"PID": np.zeros((1, 0), np.uint16)}, "PID is unreadable"),
    "PID control": ({"PID": np.array([[3, 7]], np.uint16)}, r"PID is unreadable \(\[3, 7\]\)"),
    "PID sign": ({"PID": codes("MR/../1")}, "PID is unreadable"),
    "border NaN": ({"tumorBorder": np.full((1, 4), np.nan)}, "border holds NaN"),
    "border odd": ({"tumorBorder": np.ones((1, 5))}, "border is float64 with 5 values"),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses_unusable_content_and_names_the_file(read, kind):
    overrides, reason = BAD[kind]
    with pytest.raises(ValueError, match=rf"17\.mat: .*{reason}"):
        read(**overrides)


@pytest.mark.parametrize("field", figshare.FIELDS)
def test_names_the_missing_field(tmp_path, write_mat, field):
    path = write_mat(tmp_path / "17.mat")
    with h5py.File(path, "a") as file:
        del file["cjdata"][field]
    with pytest.raises(ValueError, match=rf"17\.mat: `cjdata` has no field {field}$"):
        figshare.read_slice(path)


def test_names_a_field_of_another_kind(tmp_path, write_mat):
    path = write_mat(tmp_path / "17.mat", image=None, label=None)
    with h5py.File(path, "a") as file:
        file.create_group("cjdata/label")
    with pytest.raises(ValueError, match=r"17\.mat: cannot be read as a MATLAB"):
        figshare.read_slice(path)


def test_a_foreign_mat_says_what_is_in_it(tmp_path):
    with h5py.File(tmp_path / "17.mat", "w") as file:
        file["volume"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"17\.mat: no struct `cjdata` \(found \['volume'\]\)"):
        figshare.read_slice(tmp_path / "17.mat")


@pytest.mark.parametrize("kept", [0, 1, 600, 0.3, 0.9])
def test_a_truncated_file_is_to_be_downloaded_again(tmp_path, write_mat, kept):
    path = write_mat(tmp_path / "17.mat")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=r"17\.mat: cannot be read as a MATLAB.*download it again"):
        figshare.read_slice(path)


def test_damage_of_any_kind_raises_nothing_else(tmp_path, write_mat):
    path = write_mat(tmp_path / "17.mat")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(512, 4000, 8):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):  # damaged pixels alone cannot be told
            figshare.read_slice(path)


def test_a_file_that_is_not_hdf5(tmp_path):
    (tmp_path / "17.mat").write_text("MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"17\.mat: cannot be read as a MATLAB v7\.3"):
        figshare.read_slice(tmp_path / "17.mat")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"17\.mat: no such file"):
        figshare.read_slice(tmp_path / "17.mat")


# index


def test_index_columns_and_rows(folder):
    table = index(folder)
    assert table.columns.tolist() == COLUMNS
    assert table["slice_id"].tolist() == [str(n) for n in range(1, 11)]  # by number, not by text
    assert table["patient"].tolist()[2:6] == ["MR000001"] * 4
    assert table["tumour"].tolist()[::2] == ["meningioma", "glioma", "glioma", "pituitary",
                                             "meningioma"]  # fmt: skip
    assert set(table["tumour_pixels"]) == {113}
    assert (table["height"].unique(), table["width"].unique()) == ([64], [56])
    assert all(Path(path).is_file() for path in table["path"])
    assert table.attrs["bad"] == {}


def test_index_types(folder):
    types = index(folder).dtypes.astype(str)
    assert types["fold"] == "Int64"
    assert set(types[["height", "width", "tumour_pixels"]]) == {"int64"}
    assert set(types[["raw_min", "raw_max"]]) == {"float64"}


def test_index_unites_the_folds_of_repeat_examinations(folder, write_mat, write_cvind):
    write_mat(folder / "data" / "11.mat", pid="MR000001B", seed=11)
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 3])
    table = index(folder)
    assert table.groupby("patient")["fold"].nunique().max() == 1
    assert set(table.query("patient == 'MR000001'")["fold"]) == {3}  # three slices against two


@pytest.mark.parametrize("place", ["data/cvind.mat", "cvind.mat", "../cvind.mat"])
def test_index_finds_cvind_beside_and_above(folder, place):
    (folder / "cvind.mat").rename(folder / place)
    assert index(folder)["fold"].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]
    assert index(folder / "data")["fold"].notna().all()


def test_index_without_cvind_has_no_folds(folder):
    (folder / "cvind.mat").unlink()
    fold = index(folder)["fold"]
    assert fold.isna().all()
    assert fold.dtype == "Int64"


def test_index_refuses_folds_that_split_an_examination(folder, write_cvind):
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 2, 2, 2, 3, 3, 3])
    with pytest.raises(ValueError, match="1 of 5 patients stand in several folds: 98765"):
        index(folder)


def test_index_refuses_a_list_of_folds_that_is_too_short(folder, write_cvind):
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 3, 3, 2, 2, 3])
    with pytest.raises(ValueError, match=r"lists slices 1\.\.9; it has no fold for 10"):
        index(folder)


@pytest.mark.parametrize("content", ["text", "hdf5"])
def test_index_names_an_unreadable_cvind(folder, content):
    (folder / "cvind.mat").write_text("text")
    if content == "hdf5":
        with h5py.File(folder / "cvind.mat", "w") as file:
            file.create_group("cvind")
    with pytest.raises(ValueError, match=r"cvind\.mat: no list of folds can be read"):
        index(folder)


def test_a_missing_or_empty_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; `medsr data figshare"):
        index(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"no \.mat slices in it; `medsr data figshare DIR`"
    ):
        index(tmp_path)


@pytest.fixture
def spoilt(folder, write_mat):
    """The folder with a truncated, a foreign, an empty-masked and two duplicate slices."""
    data = folder / "data"
    (data / "2.mat").write_bytes((data / "2.mat").read_bytes()[:3000])
    (data / "4.mat").write_text("not a slice")
    write_mat(data / "6.mat", mask=np.zeros((64, 56), bool))
    write_mat(data / "12.mat", seed=1)  # the pixels of 1
    write_mat(data / "more" / "8.mat", seed=99)  # another 8
    return folder


def test_index_reports_all_bad_files_in_one_error(spoilt):
    with pytest.raises(ValueError, match=r"^5 of 12 files cannot be used; .*skip_bad") as caught:
        index(spoilt)
    lines = str(caught.value).splitlines()[1:]
    for name, reason in {
        "2.mat": "truncated",
        "4.mat": "cannot be read",
        "6.mat": "mask is empty",
        "12.mat": "duplicate, the same pixels as",
        "8.mat": "duplicate, slice 8 was there before",
    }.items():
        assert sum(f"{name}: " in line and reason in line for line in lines) == 1


def test_skip_bad_leaves_them_out_warns_and_lists_them(spoilt):
    with pytest.warns(UserWarning, match=r"5 of 12 files left out:\n.*2\.mat: cannot be read"):
        table = index(spoilt, skip_bad=True)
    assert table["slice_id"].tolist() == ["1", "3", "5", "7", "8", "9", "10"]
    assert [Path(path).name for path in table.attrs["bad"]] == [
        "2.mat", "4.mat", "6.mat", "8.mat", "12.mat",
    ]  # fmt: skip


def test_skip_bad_with_nothing_left(tmp_path):
    (tmp_path / "1.mat").write_text("not a slice")
    with (
        pytest.warns(UserWarning, match="1 of 1 files left out"),
        pytest.raises(FileNotFoundError, match=r"none of its 1 \.mat files is a usable slice"),
    ):
        index(tmp_path, skip_bad=True)


def test_slices_of_many_sizes(folder, write_mat):
    write_mat(folder / "data" / "5.mat", image=np.arange(30 * 70).reshape(30, 70), pid="MR000001B")
    table = index(folder)
    assert table.loc[4, ["height", "width"]].tolist() == [30, 70]
    assert isinstance(table, pd.DataFrame)
