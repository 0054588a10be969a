import contextlib
import hashlib
import io
import os
import re
import shutil
from collections import namedtuple

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from servers import serving, zipped
from states import files_of_at_most

from medsr_lib.data import figshare, source, splits, store


@pytest.fixture
def read(tmp_path, write_mat):
    """`read(**overrides)` -> the case of a file written with them."""
    return lambda **overrides: figshare.read_slice(write_mat(tmp_path / "17.mat", **overrides))


def codes(text):
    return np.array([[ord(c) for c in text]], np.uint16)


# read_slice


def test_image_and_mask_come_upright(read, picture):
    s = read(seed=4)
    raw = picture(4).astype(np.float32)
    assert s.image.shape == s.mask.shape == (64, 56)
    np.testing.assert_array_equal(s.image, (raw - raw.min()) / (raw.max() - raw.min()))
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
    np.testing.assert_allclose(s.image, (image.astype(float) + 32768) / 65535, atol=1e-6)
    assert (s.about["raw_min"], s.about["raw_max"]) == (-32768, 32767)


@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
@pytest.mark.parametrize(
    ("pid", "patient"),
    [("MR040240B", "MR040240"), ("MR040240", "MR040240"), ("98765C", "98765"), ("1034", "1034")],
)
def test_pid_in_either_orientation_and_the_patient(read, turn, pid, patient):
    s = read(PID=turn(codes(pid)))
    assert (s.about["pid"], s.patient) == (pid, patient)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["float64", "uint8"])
def test_labels(read, n, kind):
    assert read(label=np.array([[n]], kind)).label == figshare.TUMOURS[n]


@pytest.mark.parametrize("turn", [np.atleast_2d, np.transpose])
def test_border_pairs_count_from_0(read, turn):
    border = turn(np.array([[1.0, 1.0, 35.0, 19.5, 56.0, 64.0]]))
    assert read(tumorBorder=border).about["border"].tolist() == [[0, 0], [34, 18.5], [55, 63]]


def test_a_border_of_n_by_2_is_the_same_outline_and_an_empty_one_none(read, tmp_path, write_mat):
    border = np.array([[1.0, 1.0], [35.0, 19.5], [56.0, 64.0]])
    stored = border.T  # MATLAB stores columns first
    assert read(tumorBorder=stored).about["border"].tolist() == [[0, 0], [34, 18.5], [55, 63]]
    path = write_mat(tmp_path / "1.mat", tumorBorder=np.zeros((1, 2), "uint64"))
    with h5py.File(path, "a") as file:
        file["cjdata/tumorBorder"].attrs["MATLAB_empty"] = np.uint8(1)
    assert figshare.read_slice(path).about["border"].shape == (0, 2)


@pytest.mark.parametrize("offset", [np.int32(2**30), np.int64(2**52), np.uint32(2**31), 1e9])
def test_grey_levels_on_a_large_offset_stay_apart(read, picture, offset):
    stored = read(image=picture(0).astype(type(offset)) + offset)
    assert torch.equal(stored.image, read(image=picture(0)).image)


@pytest.mark.parametrize("field", figshare.FIELDS)
@pytest.mark.parametrize("text", ["MR040240B", b"MR040240B", np.array([[b"MR04024"], [b"0B"]])])
def test_a_pid_may_be_text_and_text_in_another_field_is_named(tmp_path, write_mat, field, text):
    path = write_mat(tmp_path / "17.mat")
    with h5py.File(path, "a") as file:
        del file["cjdata"][field]
        file["cjdata"][field] = text
    if field == "PID":
        assert figshare.read_slice(path).about["pid"] == "MR040240B"
    else:
        with pytest.raises(ValueError, match=rf"17\.mat: `cjdata` holds no numbers in {field}"):
            figshare.read_slice(path)


def test_an_older_mat_says_how_to_save_it(tmp_path, folder):
    scipy.io.savemat(tmp_path / "1.mat", {"cjdata": {"label": 1}})
    with pytest.raises(ValueError, match=r"1\.mat: saved in an older MATLAB format.*-v7\.3"):
        figshare.read_slice(tmp_path / "1.mat")
    scipy.io.savemat(folder / "cvind.mat", {"cvind": np.ones(10)})
    with pytest.raises(ValueError, match=r"cvind\.mat: .*saved in an older MATLAB format"):
        source.index(folder)


def test_a_file_of_few_bytes_that_states_many_pixels_is_not_read(tmp_path, write_mat):
    path = write_mat(tmp_path / "17.mat")
    with h5py.File(path, "a") as file:
        del file["cjdata/image"]
        file.create_dataset("cjdata/image", (10**6, 10**6), "f8", chunks=(10, 10))
    with pytest.raises(ValueError, match=r"17\.mat: 1000000 x 1000000 .* are not decoded"):
        figshare.read_slice(path)


def test_border_lies_around_the_mask_and_the_slice_knows_its_number(read):
    s = read()
    x, y = s.about["border"].long().T
    assert s.mask[y, x].all()
    assert repr(s) == "Case(17: meningioma, patient 103414, 64 x 56, lesion 113 pixels)"


picture_of_nan = np.full((64, 56), np.nan)
half_infinite = np.where(np.arange(56) < 28, np.inf, np.zeros((64, 56)))
a_tumour = np.zeros((64, 56), np.uint8)
a_tumour[20:30, 20:30] = 1
BAD = {
    "two fields": ({"PID": None, "label": None}, "no field PID, label"),
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
    "border odd": ({"tumorBorder": np.ones((1, 5))}, r"border is float64 \(1, 5\); expected x, y"),
    "border of threes": ({"tumorBorder": np.ones((3, 4))}, r"border is float64 \(3, 4\)"),
    "image beyond float64": ({"image": 2**60 + a_tumour.astype(int)}, "too large ones"),
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


def test_a_foreign_mat_says_what_is_in_it(tmp_path, write_mat):
    path = write_mat(tmp_path / "17.mat", label=None)
    with h5py.File(path, "a") as file:
        file.create_group("cjdata/label")
    with pytest.raises(ValueError, match=r"17\.mat: cannot be read as a MATLAB"):
        figshare.read_slice(path)
    with h5py.File(path, "w") as file:
        file["volume"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"17\.mat: no struct `cjdata` \(found \['volume'\]\)"):
        figshare.read_slice(path)
    with pytest.raises(FileNotFoundError, match=r"18\.mat: no such file"):
        figshare.read_slice(tmp_path / "18.mat")


@pytest.mark.parametrize("kept", [0, 0.001, 0.05, 0.3, 0.9])
def test_a_truncated_file_is_to_be_downloaded_again(tmp_path, write_mat, kept):
    path = write_mat(tmp_path / "17.mat")
    os.truncate(path, int(kept * path.stat().st_size))
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


# folds


def test_index_unites_the_folds_of_repeat_examinations(folder, write_mat, write_cvind):
    write_mat(folder / "data" / "11.mat", pid="MR000001B", seed=11)
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 3])
    table = source.index(folder)
    assert table.groupby("patient")["fold"].nunique().max() == 1
    assert set(table.query("patient == 'MR000001'")["fold"]) == {3}  # three slices against two


@pytest.mark.parametrize("place", ["data/cvind.mat", "cvind.mat", "../cvind.mat"])
def test_index_finds_cvind_beside_and_above(folder, place):
    (folder / "cvind.mat").rename(folder / place)
    assert source.index(folder)["fold"].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]
    assert source.index(folder / "data")["fold"].notna().all()


def test_without_cvind_patients_are_drawn_into_folds_and_each_split_says_so(folder, write_mat):
    (folder / "cvind.mat").unlink()
    with pytest.warns(UserWarning, match="5 folds of 4 patients: 4 folds"):
        table = source.index(folder)
    assert table.groupby("patient")["fold"].nunique().tolist() == [1] * 4
    assert table["fold"].dtype == "Int64"
    with pytest.warns(UserWarning, match="no cvind.mat: 4 folds of patients were drawn at random"):
        train, test = splits.split(table[table["mask_pixels"] > 0], fold=1)
    assert len(train) + len(test) == len(table)
    for _ in range(2):  # packed, and opened again
        packed = store.prepare(folder, folder / "slices.h5")
        with pytest.warns(UserWarning, match="no cvind.mat"):
            assert splits.split(packed.table, fold=1)[1]["id"].tolist() == test["id"].tolist()


def test_the_slices_of_one_patient_have_no_folds(tmp_path, write_mat):
    write_mat(tmp_path / "1.mat")
    assert source.index(tmp_path)["fold"].isna().all()
    with pytest.raises(ValueError, match=r"there are \[\]: fold=None tests all images"):
        splits.split(source.index(tmp_path), fold=1)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan"), (0, "0"), (1.5, "1.5"), (1e40, "1e")])
def test_folds_that_are_no_whole_numbers_are_refused_with_the_value(folder, value, said):
    with h5py.File(folder / "cvind.mat", "w") as file:
        file["cvind"] = np.full((1, 10), value)
    with pytest.raises(ValueError, match=rf"cvind\.mat: .*whole number from 1, found {said}"):
        source.index(folder)


@pytest.fixture
def unknown(tmp_path, write_mat, monkeypatch):
    """Ten slices, each with a PID of its own, of which the author's folds are known."""
    monkeypatch.setattr(figshare, "MANY", 10)
    for n in range(1, 11):
        write_mat(tmp_path / "data" / f"{n}.mat", pid=f"F-{n:04}", label=np.array([[1]]), seed=n)
    return tmp_path


def test_runs_of_slices_stand_for_patients_whom_no_pid_tells(unknown, write_cvind):
    write_cvind(unknown / "cvind.mat", [1, 1, 1, 2, 2, 2, 2, 3, 3, 1])
    table = source.index(unknown).assign(n=lambda t: t["id"].astype(int)).sort_values("n")
    named = ["slices 1-3", "slices 4-7", "slices 8-9", "slices 10-10"]
    assert table["patient"].drop_duplicates().tolist() == named
    assert table["pid"].tolist() == [f"F-{n:04}" for n in range(1, 11)]
    (note,) = table.attrs["notes"].values()
    assert note.startswith("no PID has two slices, so patients are unknown: runs of slices stand")
    packed = store.prepare(unknown, unknown / "packed.h5")
    assert packed.table.attrs["notes"] == table.attrs["notes"]
    assert packed[0].patient in named


def test_validation_slices_are_no_neighbours_of_training_slices(unknown, write_cvind):
    write_cvind(unknown / "cvind.mat", [1, 1, 1, 2, 2, 2, 3, 2, 2, 2])
    train, _ = splits.split(source.index(unknown), fold=3)
    part = splits.by_patient(train, n_folds=3, seed=0).set_axis(train["id"].astype(int))
    for run in ([1, 2, 3], [4, 5, 6], [8, 9, 10]):
        assert part[run].nunique() == 1


def test_without_folds_unknown_patients_are_told_of_and_slices_stay_alone(unknown):
    table = source.index(unknown)
    assert table["patient"].nunique() == 10
    assert "each counts as one" in next(iter(table.attrs["notes"].values()))


def test_index_refuses_folds_that_split_an_examination(folder, write_cvind):
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 2, 2, 2, 3, 3, 3])
    with pytest.raises(ValueError, match="1 of 5 patients are in several folds: 98765"):
        source.index(folder)


def test_index_refuses_a_list_of_folds_that_is_too_short(folder, write_cvind):
    write_cvind(folder / "cvind.mat", [1, 1, 2, 2, 3, 3, 2, 2, 3])
    with pytest.raises(ValueError, match=r"lists slices 1\.\.9; it has no fold for 10"):
        source.index(folder)


@pytest.mark.parametrize("content", ["text", "hdf5"])
def test_index_names_an_unreadable_cvind(folder, content):
    (folder / "cvind.mat").write_text("text")
    if content == "hdf5":
        with h5py.File(folder / "cvind.mat", "w") as file:
            file.create_group("cvind")
    with pytest.raises(ValueError, match=r"cvind\.mat: no list of folds can be read"):
        source.index(folder)


# download

N = 6
SLICES = {n: bytes([n]) * (50_000 + n) for n in range(1, N + 1)}


def cvind(folds):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["cvind"] = folds[None].astype(float)
    return buffer.getvalue()


def remote(site, name, file_id, content, slices=range(0)):
    site.files[str(file_id)] = content
    md5 = hashlib.md5(content).hexdigest()
    return figshare.RemoteFile(name, file_id, md5, len(content), slices)


@pytest.fixture
def article(monkeypatch):
    """Two zips of three slices, the second with a folder in its names, and cvind.mat."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    first = zipped({f"{n}.mat": SLICES[n] for n in (1, 2, 3)})
    second = zipped({"part/": b""} | {f"part/{n}.mat": SLICES[n] for n in (4, 5, 6)})
    with serving() as site:
        replaced = {
            "ADDRESSES": (f"{site.address}/files/{{file_id}}",),
            "ZIPS": (
                remote(site, "a.zip", 11, first, range(1, 4)),
                remote(site, "b.zip", 12, second, range(4, 7)),
            ),
            "CVIND": remote(site, "cvind.mat", 13, cvind(np.arange(N) % 5 + 1)),
            "N_SLICES": N,
        }
        for name, value in replaced.items():
            monkeypatch.setattr(figshare, name, value)
        yield site


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_download_brings_all_files_and_again_only_what_is_missing(article, tmp_path):
    assert figshare.download(tmp_path) == tmp_path
    assert names(tmp_path) == {"data", "cvind.mat"}
    assert {p.stem: p.read_bytes() for p in (tmp_path / "data").glob("*.mat")} == {
        str(n): content for n, content in SLICES.items()
    }
    article.asked.clear()
    figshare.download(tmp_path)
    assert article.asked == []
    (tmp_path / "data" / "5.mat").unlink()
    figshare.download(tmp_path)
    assert article.asked == [("/files/12", None)]


def test_a_slice_that_changed_after_its_download_is_refused(article, tmp_path):
    figshare.download(tmp_path)
    before = source.content(tmp_path)
    path = tmp_path / "data" / "5.mat"
    with pytest.raises(ValueError, match="cannot be read as a MATLAB"):
        figshare.read_slice(path)
    damaged = bytearray(path.read_bytes())
    damaged[40_000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"5\.mat: not as it was downloaded .*delete it and call"):
        figshare.read_slice(path)
    path.unlink()
    figshare.download(tmp_path)
    assert path.read_bytes() == SLICES[5]
    assert source.content(tmp_path) != before
    before = source.content(tmp_path)
    (tmp_path / "data" / "slices.sfv").unlink()
    assert source.content(tmp_path) != before


def test_zip_fetched_by_hand_is_taken(article, tmp_path):
    (tmp_path / "a.zip").write_bytes(article.files["11"])
    figshare.download(tmp_path)
    assert [path for path, _ in article.asked] == ["/files/13", "/files/12"]


def test_interrupted_unpacking_keeps_the_zip(article, tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(OSError, match="No space"):
            figshare.download(tmp_path)
    article.asked.clear()
    figshare.download(tmp_path)
    assert article.asked == [("/files/12", None)]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (100, r"cvind\.mat\.part could .*; what came of it is kept"),
        (9000, r"1\.mat could .*; nothing"),
    ],
)
def test_a_full_disk_is_named_and_the_next_call_goes_on(article, tmp_path, limit, said):
    (tmp_path / "a.zip").write_bytes(article.files["11"])
    with files_of_at_most(limit), pytest.raises(OSError, match=f"disk full, .*{said}"):
        figshare.download(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    article.asked.clear()
    figshare.download(tmp_path)
    assert ("/files/13", "bytes=100-") in article.asked or limit > 100
    assert len(list(tmp_path.rglob("[0-9].mat"))) == N


def test_slices_missing_from_the_zips(article, tmp_path, monkeypatch):
    monkeypatch.setattr(figshare, "N_SLICES", N + 2)
    folds = remote(article, "cvind.mat", 13, cvind(np.ones(N + 2)))
    monkeypatch.setattr(figshare, "CVIND", folds)
    with pytest.raises(FileNotFoundError, match=r"2 of the 8 slices .* first of them 7, 8\."):
        figshare.download(tmp_path)


def test_the_numbers_of_the_article_fit_together():
    zips = figshare.ZIPS
    assert [n for file in zips for n in file.slices] == list(range(1, figshare.N_SLICES + 1))
    assert [re.findall(r"\d+", f.name) for f in zips] == [
        [str(f.slices[0]), str(f.slices[-1])] for f in zips
    ]
    assert all(re.fullmatch("[0-9a-f]{32}", f.md5) for f in (*zips, figshare.CVIND))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (cvind(np.ones(N - 1)), "6 folds from 1 to 5, but there are 5 values"),
        (cvind(np.arange(N)), r"a whole number from 1, found 0"),
        (cvind(np.arange(N) + 1), r"from 1 to 5, but there are 6 values, among them \[1, 2"),
        (b"no HDF5", "no list of folds can be read from it; delete it"),
    ],
)
def test_wrong_folds(article, tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(figshare, "CVIND", remote(article, "cvind.mat", 13, content))
    with pytest.raises(ValueError, match=reason):
        figshare.download(tmp_path)


def test_too_little_space_is_reported_before_anything_is_fetched(article, tmp_path, monkeypatch):
    needed = figshare._still_needed(tmp_path)
    (tmp_path / "a.zip.part").write_bytes(bytes(1000))
    assert figshare._still_needed(tmp_path) == needed - 1000  # what was enough stays enough
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    with pytest.raises(OSError, match=r"0\.00 GB are needed .* 0\.00 GB are free\. Make room"):
        figshare.download(tmp_path)
    assert article.asked == []


@pytest.mark.parametrize(
    "name",
    [
        *("../2.mat", "/2.mat", "a/../2.mat", "a/b/2.mat", "..\\2.mat"),
        *("7.mat", "0.mat", "02.mat", "٢.mat", "x.mat", "2.mat.exe", "2.mat\n"),
    ],
)
def test_other_names_in_a_zip_are_refused(article, tmp_path, monkeypatch, name):
    bad = remote(article, "a.zip", 11, zipped({"1.mat": b"good", name: b"bad"}), range(1, 7))
    monkeypatch.setattr(figshare, "ZIPS", (bad,))
    with pytest.raises(ValueError, match=re.escape(f"a.zip holds {name!r}, which is not one of")):
        figshare.download(tmp_path)
    assert names(tmp_path / "data") == set()
