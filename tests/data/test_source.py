import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medsr_lib.case import Case
from medsr_lib.data import figshare, source, store
from medsr_lib.data.layouts import Options
from medsr_lib.data.source import CHEST_XRAY, FIGSHARE, Source, index

COMMON = [
    "id", "path", "patient", "label", "fold", "height", "width", "mask_pixels", "spacing",
]  # fmt: skip


# which source


def test_of_and_held_recognise_folders(folder, chest, tmp_path):
    assert source.of(folder) is source.of(str(folder / "data")) is FIGSHARE
    assert source.of(chest) is source.of(chest.parent / "chest_xray") is CHEST_XRAY
    assert source.held(tmp_path) == [FIGSHARE, CHEST_XRAY]


def test_a_folder_without_data_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; give the folder"):
        source.of(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="found nothing; expected one of\n  brain slices:"):
        source.of(tmp_path)
    for n in range(7):
        (tmp_path / f"{n}.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"4\.txt, \.\.\.; expected .*\n.*\n  chest radio"):
        index(tmp_path)


def test_several_kinds_of_data_are_named(folder, chest):
    with pytest.raises(ValueError, match="holds brain slices and chest radiographs; give the"):
        source.of(folder.parent)


def read_dots(path):
    """Files `person-number.dots`: a digit a pixel."""
    lines = path.read_text().splitlines()
    if not lines:
        raise ValueError("no pixels")
    image = torch.tensor([[int(digit) / 9 for digit in line] for line in lines])
    patient = path.stem.split("-")[0]
    return Case(path.stem, patient, "", image, spacing=0.5, about={"lines": len(lines)})


def test_another_source_is_a_file_and_a_line(tmp_path, monkeypatch):
    dots = Source("dot pictures", "NAME-N.dots", find=lambda f: sorted(f.rglob("*.dots")),
                  read=read_dots, columns=("lines",))  # fmt: skip
    monkeypatch.setattr(source, "SOURCES", (*source.SOURCES, dots))
    for name, text in {"ann-1": "0123\n4567", "ann-2": "999\n000\n999", "bob-1": ""}.items():
        path = tmp_path / "dots" / f"{name}.dots"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert source.of(tmp_path / "dots") is dots
    with pytest.warns(UserWarning, match=r"1 of 3 files left out:\n.*bob-1\.dots: no pixels"):
        packed = store.prepare(tmp_path / "dots", tmp_path / "dots.h5", skip_bad=True)
    assert list(packed.table) == [*COMMON, "lines", "digest"]
    assert packed.table["mask_pixels"].isna().all()
    for case, path in zip(packed, packed.table["path"]):
        expected = read_dots(Path(path))
        torch.testing.assert_close(case.image, expected.image, rtol=0, atol=1 / 65534)
        assert (case.id, case.patient, case.label) == (expected.id, "ann", "")
        about = {**expected.about, "digest": expected.digest}
        assert (case.spacing, case.about, case.mask) == (0.5, about, None)


# the index of brain slices


def test_index_of_slices(folder):
    table = index(folder)
    assert list(table) == [*COMMON, "pid", "raw_min", "raw_max", "digest"]
    assert table["id"].tolist() == [str(n) for n in range(1, 11)]  # by number, not by text
    assert table["patient"].tolist()[2:6] == ["MR000001"] * 4
    assert table["label"].tolist()[::2] == ["meningioma", "glioma", "glioma", "pituitary",
                                            "meningioma"]  # fmt: skip
    assert set(table["mask_pixels"]) == {113}
    assert (table["height"].unique(), table["width"].unique()) == ([64], [56])
    assert all(Path(path).is_file() for path in table["path"])
    assert table.attrs["bad"] == {}
    types = table.dtypes.astype(str)
    assert set(types[["fold", "mask_pixels"]]) == {"Int64"}
    assert set(types[["height", "width"]]) == {"int64"}
    assert set(types[["raw_min", "raw_max", "spacing"]]) == {"float64"}


def test_slices_of_many_sizes(folder, write_mat):
    write_mat(folder / "data" / "5.mat", image=np.arange(30 * 70).reshape(30, 70), pid="MR000001B")
    assert index(folder).loc[4, ["height", "width"]].tolist() == [30, 70]


@pytest.fixture
def spoilt_slices(folder, write_mat):
    """The folder with a truncated, a foreign, an empty-masked and two duplicate slices."""
    data = folder / "data"
    (data / "2.mat").write_bytes((data / "2.mat").read_bytes()[:3000])
    (data / "4.mat").write_text("not a slice")
    write_mat(data / "6.mat", mask=np.zeros((64, 56), bool))
    write_mat(data / "12.mat", seed=1)  # the pixels of 1
    write_mat(data / "more" / "8.mat", seed=99)  # another 8
    return folder, 12, {
        "data/2.mat": "truncated",
        "data/4.mat": "cannot be read",
        "data/6.mat": "mask is empty",
        "data/12.mat": "duplicate, the same pixels as",
        "more/8.mat": "duplicate, 8 was there before",
    }  # fmt: skip


# the index of radiographs


def test_index_of_radiographs(chest):
    table = index(chest)
    about = ["subtype", "split", "channels", "jpeg_quality", "bytes", "digest", "duplicate_of"]
    assert list(table) == COMMON + about
    assert table["split"].tolist() == ["train"] * 10 + ["val"] * 2 + ["test"] * 4
    assert table["label"].value_counts().to_dict() == {"PNEUMONIA": 9, "NORMAL": 7}
    assert table["subtype"].value_counts().to_dict() == {"none": 7, "bacteria": 6, "virus": 3}
    assert table["id"].is_unique
    assert [Path(p).stem for p in table["path"]] == table["id"].tolist()
    assert table[["duplicate_of", "fold", "mask_pixels", "spacing"]].isna().all(axis=None)
    row = table.set_index("id").loc["person3_virus_9"]
    assert (row["height"], row["width"], row["channels"], row["jpeg_quality"]) == (60, 80, 1, 75)
    assert row["bytes"] == Path(row["path"]).stat().st_size


def test_equal_numbers_are_one_patient(chest):
    patient = index(chest).set_index("id")["patient"]
    assert set(patient[["person1_bacteria_1", "person1_virus_6"]]) == {"person1"}
    assert set(patient[["IM-0117-0001", "NORMAL2-IM-0117-0001-0002"]]) == {"IM-0117"}


@pytest.fixture
def spoilt_radiographs(chest, write_jpeg):
    """The set with a truncated, a CMYK, a coloured, a misplaced, a foreign and a 12-bit file."""
    train = chest / "train"
    cut = train / "NORMAL" / "IM-0115-0001.jpeg"
    cut.write_bytes(cut.read_bytes()[:700])
    write_jpeg(train / "NORMAL" / "IM-0122-0001.jpeg", mode="CMYK")
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 9).convert("P").save(
        train / "NORMAL" / "IM-0117-0001.jpeg", "GIF"
    )
    write_jpeg(train / "NORMAL" / "person8_virus_80.jpeg")
    write_jpeg(train / "PNEUMONIA" / "IM-0115-0001.jpeg")
    Image.new("I;16", (9, 9)).save(train / "PNEUMONIA" / "person9_virus_81.png")
    deep = train / "PNEUMONIA" / "person1_virus_6.jpeg"
    content = bytearray(deep.read_bytes())
    content[content.index(b"\xff\xc0") + 4] = 12
    deep.write_bytes(content)
    return chest, 19, {
        "NORMAL/IM-0115-0001.jpeg": "truncated",
        "NORMAL/IM-0117-0001.jpeg": "a GIF file",
        "NORMAL/IM-0122-0001.jpeg": "its colours are CMYK",
        "NORMAL/person8_virus_80.jpeg": "a name of PNEUMONIA in the folder NORMAL",
        "PNEUMONIA/IM-0115-0001.jpeg": "a name of NORMAL in the folder PNEUMONIA",
        "PNEUMONIA/person1_virus_6.jpeg": "8 bits a sample",
        "PNEUMONIA/person9_virus_81.png": "a PNG file (I;16); expected a JPEG",
    }  # fmt: skip


# bad files


@pytest.mark.parametrize("kind", ["spoilt_slices", "spoilt_radiographs"])
def test_bad_files_are_reported_in_one_error_or_left_out(kind, request):
    root, n_files, reasons = request.getfixturevalue(kind)
    n_bad = len(reasons)
    with pytest.raises(ValueError, match=rf"^{n_bad} of {n_files} files cannot be used") as caught:
        index(root)
    lines = str(caught.value).splitlines()[1:]
    for name, reason in reasons.items():
        assert sum(f"{name}: " in line and reason in line for line in lines) == 1
    with pytest.warns(UserWarning, match=rf"{n_bad} of {n_files} files left out:\n") as warned:
        table = index(root, skip_bad=True)
    assert warned[0].filename == __file__
    assert len(table) == n_files - n_bad
    assert {"/".join(Path(path).parts[-2:]) for path in table.attrs["bad"]} == set(reasons)


@pytest.mark.parametrize("kind", ["folder", "chest"])
def test_skip_bad_with_nothing_left(kind, request):
    root = request.getfixturevalue(kind)
    shutil.rmtree(root / "val", ignore_errors=True)
    paths = source.of(root).find(root)
    for path in paths:
        path.write_text("no image")
    n = len(paths)
    with (
        pytest.warns(UserWarning, match=f"{n} of {n} files left out"),
        pytest.raises(FileNotFoundError, match=f"none of its {n} files of images is usable"),
    ):
        index(root, skip_bad=True)


def test_the_index_does_not_depend_on_the_number_of_threads(chest, monkeypatch):
    expected = index(chest)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    pd.testing.assert_frame_equal(index(chest), expected)


# what is read


@pytest.mark.parametrize("kind", ["folder", "chest"])
def test_content_is_that_of_every_file_and_not_of_the_folders_name(kind, request, tmp_path):
    root = request.getfixturevalue(kind)
    if kind == "chest":
        (root / "masks").mkdir()
        Image.new("L", (80, 60), 255).save(root / "masks" / "person3_virus_9.png")
    (root / "notes.txt").touch()
    known = {source.content(root)}
    (root / "notes.txt").write_text("not read")
    moved = root.rename(tmp_path / "moved")
    assert {source.content(moved)} == known
    read = [path for path in moved.rglob("*.*") if path.name != "notes.txt" and path.is_file()]
    for number, path in enumerate(read):
        os.utime(path, ns=(0, number + 1))
        known.add(source.content(moved))
    read[0].unlink()
    known.add(source.content(moved))
    assert len(known) == 1 + len(read) + 1


def test_the_whole_content_is_that_of_a_copy_and_changes_with_a_byte(tmp_path):
    for name in ("a.png", "a_mask.png"):
        Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 9).save(tmp_path / name)
    known = source.content(tmp_path, whole=True)
    os.utime(tmp_path / "a.png", ns=(0, 1))
    assert source.content(tmp_path, whole=True) == known
    Image.new("L", (40, 40), 255).save(tmp_path / "a_mask.png")
    assert source.content(tmp_path, whole=True) != known


def test_folds_above_the_slices_are_of_the_content(folder, write_cvind):
    (folder / "cvind.mat").unlink()
    before = source.content(folder / "data")
    write_cvind(folder.parent / "cvind.mat", [1, 1, 2, 2, 2, 2, 2, 2, 3, 3])
    assert source.content(folder / "data") != before


def test_content_of_images_and_masks_is_of_what_is_read_of_them(tmp_path):
    for name in ("a.png", "a_mask.png", "a_roi.png"):
        Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 9).save(tmp_path / name)
    plain = source.content(tmp_path)
    assert source.content(tmp_path, reading=Options(mask_pattern="{stem}_roi")) != ""
    os.utime(tmp_path / "a_mask.png", ns=(0, 1))
    assert source.content(tmp_path) != plain


@pytest.mark.parametrize("kind", ["folder", "chest"])
def test_hidden_folders_are_passed_over_and_links_to_nothing_named(kind, request):
    root = request.getfixturevalue(kind)
    expected = index(root)["id"].tolist()
    first = Path(index(root)["path"][0])
    hidden = first.parent / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(first, hidden / first.name)
    assert index(root)["id"].tolist() == expected
    before = source.content(root)
    link = first.with_name("IM-0999-0001" + first.suffix)
    link.symlink_to(root / "gone")
    assert source.content(root) != before
    with pytest.raises(ValueError, match=rf"1 of \d+ files .*\n.*{link.name}: no such file"):
        index(root)
    with pytest.warns(UserWarning, match="1 of .* files left out"):
        assert index(root, skip_bad=True)["id"].tolist() == expected


def test_links_to_nothing_among_images_and_volumes_are_named(tmp_path):
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 9).save(tmp_path / "a.png")
    for name in ("b.png", "c.nii.gz"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="2 of 3 files left out"):
        assert index(tmp_path, skip_bad=True)["id"].tolist() == ["a"]


def test_names_may_be_in_capitals(folder):
    for path in [*folder.rglob("*.mat")]:
        path.rename(path.with_suffix(".MAT"))
    assert index(folder)["fold"].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]


def test_a_reader_that_fails_in_a_way_nobody_foresaw_hides_no_other_file(folder, monkeypatch):
    def read(path):
        if path.stem == "3":
            raise AttributeError("'bytes' object has no attribute 'dtype'")
        return figshare.read_slice(path)

    monkeypatch.setattr(source, "SOURCES", (replace(FIGSHARE, read=read),))
    with pytest.raises(ValueError, match=r"3\.mat: cannot be read \(AttributeError: 'bytes' obj"):
        index(folder)
    with pytest.warns(UserWarning, match="1 of 10 files left out"):
        assert len(index(folder, skip_bad=True)) == 9
