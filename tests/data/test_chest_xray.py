import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medsr_lib.data import chest_xray

COLUMNS = [
    "image_id", "path", "patient", "label", "subtype", "split", "height", "width", "channels",
    "jpeg_quality", "bytes", "duplicate_of",
]  # fmt: skip


def index(root, **arguments):
    return chest_xray.index(root, progress=False, **arguments)


# read_image


def test_image_is_the_files_grey_levels(tmp_path, write_jpeg):
    path = write_jpeg(tmp_path / "person7_bacteria_24.jpeg", shape=(30, 50), quality=75)
    image = chest_xray.read_image(path)
    levels = np.asarray(Image.open(path))
    assert image.image.dtype == torch.float32
    np.testing.assert_array_equal(image.image, levels.astype(np.float32) / 255)
    assert (image.image_id, image.jpeg_quality) == ("person7_bacteria_24", 75)
    assert (image.channels, image.n_bytes) == (1, path.stat().st_size)
    assert "PNEUMONIA (bacteria), patient person7, 30 x 50, JPEG quality 75" in repr(image)


@pytest.mark.parametrize(
    ("name", "patient", "label", "subtype"),
    [
        ("IM-0115-0001.jpeg", "IM-0115", "NORMAL", "none"),
        ("IM-0509-0001-0002.jpeg", "IM-0509", "NORMAL", "none"),
        ("NORMAL2-IM-1427-0001.jpeg", "IM-1427", "NORMAL", "none"),
        ("NORMAL2-IM-0115-0001-0002.jpg", "IM-0115", "NORMAL", "none"),
        ("person1_bacteria_1.jpeg", "person1", "PNEUMONIA", "bacteria"),
        ("person1_virus_6.jpeg", "person1", "PNEUMONIA", "virus"),
        ("person1946_bacteria_4874.JPEG", "person1946", "PNEUMONIA", "bacteria"),
    ],
)
def test_what_the_name_says(tmp_path, write_jpeg, name, patient, label, subtype):
    image = chest_xray.read_image(write_jpeg(tmp_path / name))
    assert (image.patient, image.label, image.subtype) == (patient, label, subtype)


@pytest.mark.parametrize("shape", [(140, 400), (8, 9), (217, 163)])
def test_any_size(tmp_path, write_jpeg, shape):
    path = write_jpeg(tmp_path / "IM-0115-0001.jpeg", shape=shape)
    assert chest_xray.read_image(path).image.shape == shape


def test_three_equal_channels(tmp_path, write_jpeg):
    path = write_jpeg(tmp_path / "person7_virus_24.jpeg", mode="RGB")
    image = chest_xray.read_image(path)
    assert (image.channels, image.image.ndim) == (3, 2)


@pytest.mark.parametrize(
    "name", ["IM-0115.jpeg", "person1_fungus_2.jpeg", "chest.jpeg", "person_bacteria_1.jpeg"]
)
def test_a_name_without_a_patient_is_refused(tmp_path, write_jpeg, name):
    with pytest.raises(ValueError, match=rf"{name}: the name tells no patient; expected IM-0115"):
        chest_xray.read_image(write_jpeg(tmp_path / name))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"IM-0115-0001\.jpeg: no such file"):
        chest_xray.read_image(tmp_path / "IM-0115-0001.jpeg")


# index


def test_index_columns_and_rows(chest):
    table = index(chest)
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 16
    assert table["split"].tolist() == ["train"] * 10 + ["val"] * 2 + ["test"] * 4
    assert table["label"].value_counts().to_dict() == {"PNEUMONIA": 9, "NORMAL": 7}
    assert table["subtype"].value_counts().to_dict() == {"none": 7, "bacteria": 6, "virus": 3}
    assert table["image_id"].is_unique
    assert [Path(p).stem for p in table["path"]] == table["image_id"].tolist()
    assert table["duplicate_of"].isna().all()
    assert table.attrs["bad"] == {}


def test_index_measures_each_file(chest):
    row = index(chest).set_index("image_id").loc["person3_virus_9"]
    assert (row["height"], row["width"], row["channels"], row["jpeg_quality"]) == (60, 80, 1, 75)
    assert row["bytes"] == Path(row["path"]).stat().st_size


def test_equal_numbers_are_one_patient(chest):
    patient = index(chest).set_index("image_id")["patient"]
    assert set(patient[["person1_bacteria_1", "person1_virus_6"]]) == {"person1"}
    assert set(patient[["IM-0117-0001", "NORMAL2-IM-0117-0001-0002"]]) == {"IM-0117"}


def test_index_passes_over_the_second_copy_and_what_macos_leaves(chest):
    expected = index(chest)
    shutil.copytree(chest, chest.parent / "copy")
    (chest.parent / "copy").rename(chest / "chest_xray")
    for folder in ("__MACOSX/chest_xray/train/NORMAL", "train/NORMAL"):
        path = chest / folder / "._IM-0115-0001.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\26\7")
    (chest / "train" / "NORMAL" / ".DS_Store").write_bytes(b"Bud1")
    (chest / "train" / ".DS_Store").write_bytes(b"Bud1")
    pd.testing.assert_frame_equal(index(chest), expected)
    pd.testing.assert_frame_equal(index(chest.parent), expected)


def test_index_is_the_same_with_any_number_of_threads(chest):
    pd.testing.assert_frame_equal(index(chest, workers=1), index(chest, workers=5))


def test_the_same_name_in_two_splits_gets_the_split_before_it(chest, write_jpeg):
    write_jpeg(chest / "test/PNEUMONIA/person3_virus_9.jpeg", seed=99)
    table = index(chest)
    found = table["image_id"][table["patient"] == "person3"].tolist()
    assert found == ["train/person3_virus_9", "test/person3_virus_9"]


def test_repeated_files_are_marked(chest):
    first = chest / "train/PNEUMONIA/person3_virus_9.jpeg"
    shutil.copy(first, chest / "test/PNEUMONIA/person99_virus_999.jpeg")
    repeats = index(chest).set_index("image_id")["duplicate_of"].dropna()
    assert repeats.to_dict() == {"person99_virus_999": "person3_virus_9"}


def test_a_folder_of_another_shape_says_what_is_expected(tmp_path, chest, write_jpeg):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        index(tmp_path / "nowhere")
    write_jpeg(tmp_path / "flat" / "IM-0115-0001.jpeg")
    with pytest.raises(FileNotFoundError, match=r"expected train/, val/ or test/ .*found IM-0115"):
        index(tmp_path / "flat")
    with pytest.raises(FileNotFoundError, match="found NORMAL, PNEUMONIA: name the folder above"):
        index(chest / "train")


def test_two_sets_side_by_side_are_refused(chest):
    shutil.copytree(chest, chest.parent / "other")
    with pytest.raises(ValueError, match=r"several sets of radiographs, name one of .*other"):
        index(chest.parent)


@pytest.mark.parametrize("how", ["empty", "missing"])
def test_a_class_without_images_is_named(chest, how):
    shutil.rmtree(chest / "val" / "NORMAL")
    if how == "empty":
        (chest / "val" / "NORMAL").mkdir()
    with pytest.raises(ValueError, match=r"val/NORMAL: the class has no images; both NORMAL and"):
        index(chest)


def test_a_set_without_val_is_fine(chest):
    shutil.rmtree(chest / "val")
    assert set(index(chest)["split"]) == {"train", "test"}


@pytest.fixture
def spoilt(chest, write_jpeg):
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
    return chest


REASONS = {
    "NORMAL/IM-0115-0001.jpeg": "truncated",
    "NORMAL/IM-0117-0001.jpeg": "a GIF file",
    "NORMAL/IM-0122-0001.jpeg": "its colours are CMYK",
    "NORMAL/person8_virus_80.jpeg": "a name of PNEUMONIA in the folder NORMAL",
    "PNEUMONIA/IM-0115-0001.jpeg": "a name of NORMAL in the folder PNEUMONIA; a patient belongs to",
    "PNEUMONIA/person1_virus_6.jpeg": "12 bits a sample",
    "PNEUMONIA/person9_virus_81.png": "a PNG file (I;16); expected a JPEG",
}


def test_index_reports_all_bad_files_in_one_error(spoilt):
    with pytest.raises(ValueError, match=r"^7 of 19 files cannot be used; .*skip_bad") as caught:
        index(spoilt)
    lines = str(caught.value).splitlines()[1:]
    for name, reason in REASONS.items():
        assert sum(f"{name}: " in line and reason in line for line in lines) == 1


def test_skip_bad_leaves_them_out_warns_and_lists_them(spoilt):
    with pytest.warns(UserWarning, match=r"7 of 19 files left out:\n.*0001\.jpeg: truncated"):
        table = index(spoilt, skip_bad=True)
    assert len(table) == 12
    bad = [Path(path).parent.name + "/" + Path(path).name for path in table.attrs["bad"]]
    assert bad == list(REASONS)


def test_skip_bad_with_nothing_left(chest):
    for path in chest.rglob("*.jpeg"):
        path.write_text("no image")
    with (
        pytest.warns(UserWarning, match="16 of 16 files left out"),
        pytest.raises(FileNotFoundError, match="none of its 16 files is a usable radiograph"),
    ):
        index(chest, skip_bad=True)


# parts


@pytest.fixture
def many():
    """The table of 60 patients, one of them on two sides, and one repeated file."""
    n = np.arange(120)
    subtype = np.array(["none", "bacteria", "virus"])[n // 2 % 3]
    return pd.DataFrame(
        {
            "image_id": n.astype(str),
            "patient": (n // 2).astype(str),
            "subtype": subtype,
            "label": np.where(subtype == "none", "NORMAL", "PNEUMONIA"),
            "split": np.select([n < 90, n < 97], ["train", "val"], "test"),
            "duplicate_of": pd.array([pd.NA] * 118 + ["3", "4"], "string"),
        },
        index=n + 1000,
    )


def test_no_patient_is_on_two_sides(many):
    part = chest_xray.parts(many, seed=0)
    assert many["patient"].groupby(part).nunique().sum() == many["patient"][part.notna()].nunique()
    assert set(part.dropna()) == {"train", "validation", "test"}


def test_validation_is_dealt_from_train_and_val_and_stratified(many):
    part = chest_xray.parts(many, seed=0, validation=0.2)
    chosen = many[part == "validation"]
    assert set(chosen["split"]) <= {"train", "val"}
    assert 14 <= len(chosen) <= 24
    assert chosen["subtype"].value_counts().min() >= 4
    assert set(many["split"][part == "train"]) == {"train", "val"}


def test_patients_of_the_test_set_and_repeats_are_left_out(many):
    part = chest_xray.parts(many, seed=0)
    # Images 96 and 97 are one patient's, in val and in test: the test keeps it.
    assert part[1097] == "test"
    assert part[part.isna()].index.tolist() == [1096, 1118, 1119]
    assert (part[many["split"] == "test"].dropna() == "test").all()


def test_parts_follow_the_seed(many):
    first, again, other = (chest_xray.parts(many, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_series_equal(first, again)
    assert (first.fillna("") != other.fillna("")).any()


def test_parts_of_the_small_set(chest):
    part = chest_xray.parts(index(chest), seed=0, validation=0.5)
    assert part.value_counts().sum() == 16


def test_parts_refuse_what_cannot_be_dealt(many):
    with pytest.raises(ValueError, match=r"there is no test set .*folds\.by_patient"):
        chest_xray.parts(many[many["split"] != "test"], seed=0)
    with pytest.raises(ValueError, match="nothing is left to train on"):
        chest_xray.parts(many[many["split"] == "test"], seed=0)
    with pytest.raises(ValueError, match=r"above 0 and at most at 0\.5, got 0\.7"):
        chest_xray.parts(many, seed=0, validation=0.7)
    with pytest.raises(ValueError, match="has no NORMAL; more patients are needed"):
        chest_xray.parts(many[many["label"] == "PNEUMONIA"], seed=0)


# read_mask


def test_real_radiographs_have_no_masks(chest):
    with pytest.raises(FileNotFoundError, match=r"masks: no such folder; only phantom\.write"):
        chest_xray.read_mask(chest / "train/PNEUMONIA/person3_virus_9.jpeg")


def test_masks_are_read_and_checked(chest):
    path = chest / "train/PNEUMONIA/person3_virus_9.jpeg"
    (chest / "masks").mkdir()
    with pytest.raises(FileNotFoundError, match=r"person3_virus_9\.png: no such file"):
        chest_xray.read_mask(path)
    Image.new("L", (80, 60), 255).save(chest / "masks/person3_virus_9.png")
    assert chest_xray.read_mask(path).all()
    assert not chest_xray.read_mask(chest / "train/NORMAL/IM-0115-0001.jpeg").any()
    Image.new("L", (60, 60)).save(chest / "masks/person3_virus_9.png")
    with pytest.raises(ValueError, match=r"the mask is \(60, 60\), the radiograph is \(60, 80\)"):
        chest_xray.read_mask(path)
    (chest / "masks/person3_virus_9.png").write_text("no image")
    with pytest.raises(ValueError, match=r"person3_virus_9\.png: cannot be read as a PNG"):
        chest_xray.read_mask(path)
    assert len(index(chest)) == 16
