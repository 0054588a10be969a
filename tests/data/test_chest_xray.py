import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medsr_lib.data import chest_xray
from medsr_lib.data.source import index

# read_image


def test_image_is_the_files_grey_levels(tmp_path, write_jpeg):
    path = write_jpeg(tmp_path / "person7_bacteria_24.jpeg", shape=(30, 50), quality=75)
    image = chest_xray.read_image(path)
    levels = np.asarray(Image.open(path))
    assert image.image.dtype == torch.float32
    np.testing.assert_array_equal(image.image, levels.astype(np.float32) / 255)
    assert (image.id, image.mask) == ("person7_bacteria_24", None)
    size = path.stat().st_size
    expected = {"subtype": "bacteria", "channels": 1, "jpeg_quality": 75, "bytes": size}
    assert image.about == expected


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
        ("BACTERIA-1008087-0001.jpeg", "1008087", "PNEUMONIA", "bacteria"),
        ("VIRUS-2040583-0002.jpeg", "2040583", "PNEUMONIA", "virus"),
        ("NORMAL-1003233-0001.jpeg", "1003233", "NORMAL", "none"),
    ],
)
def test_what_the_name_says(tmp_path, write_jpeg, name, patient, label, subtype):
    image = chest_xray.read_image(write_jpeg(tmp_path / name))
    assert (image.patient, image.label, image.about["subtype"]) == (patient, label, subtype)


@pytest.mark.parametrize("shape", [(140, 400), (8, 9), (217, 163)])
def test_any_size(tmp_path, write_jpeg, shape):
    path = write_jpeg(tmp_path / "IM-0115-0001.jpeg", shape=shape)
    assert chest_xray.read_image(path).image.shape == shape


def test_three_equal_channels(tmp_path, write_jpeg):
    path = write_jpeg(tmp_path / "person7_virus_24.jpeg", mode="RGB")
    image = chest_xray.read_image(path)
    assert (image.about["channels"], image.image.ndim) == (3, 2)


@pytest.mark.parametrize(
    "name", ["IM-0115.jpeg", "person1_fungus_2.jpeg", "chest.jpeg", "person_bacteria_1.jpeg"]
)
def test_a_name_without_a_patient_is_refused(tmp_path, write_jpeg, name):
    with pytest.raises(ValueError, match=rf"{name}: the name tells no patient; expected IM-0115"):
        chest_xray.read_image(write_jpeg(tmp_path / name))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"IM-0115-0001\.jpeg: no such file"):
        chest_xray.read_image(tmp_path / "IM-0115-0001.jpeg")


def test_masks_are_read_and_checked(chest):
    path, mask = chest / "train/PNEUMONIA/person3_virus_9.jpeg", chest / "masks/person3_virus_9.png"
    mask.parent.mkdir()
    Image.new("L", (80, 60), 255).save(mask)
    assert chest_xray.read_image(path).mask.all()
    assert chest_xray.read_image(chest / "train/NORMAL/IM-0115-0001.jpeg").mask is None
    Image.new("L", (60, 60)).save(mask)
    with pytest.raises(ValueError, match=r"its mask .* is \(60, 60\), the radiograph is"):
        chest_xray.read_image(path)
    mask.write_text("no image")
    with pytest.raises(ValueError, match=r"person3_virus_9\.png cannot be read as a PNG"):
        chest_xray.read_image(path)


# index


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


def test_the_same_name_in_two_splits_gets_the_split_before_it(chest, write_jpeg):
    write_jpeg(chest / "test/PNEUMONIA/person3_virus_9.jpeg", seed=99)
    table = index(chest)
    found = table["id"][table["patient"] == "person3"].tolist()
    assert found == ["train/person3_virus_9", "test/person3_virus_9"]


def test_folders_inside_a_class_are_read_and_must_fit_the_names(chest, write_jpeg):
    expected = index(chest)
    (chest / "masks").mkdir()
    Image.new("L", (80, 60), 255).save(chest / "masks" / "person3_virus_9.png")
    for place in chest.glob("*/PNEUMONIA"):
        for path in list(place.iterdir()):
            inside = place / ("VIRUS" if "virus" in path.name else "BACTERIA")
            inside.mkdir(exist_ok=True)
            path.rename(inside / path.name)
    found = index(chest).sort_values("id", ignore_index=True)
    assert found["mask_pixels"].dropna().tolist() == [4800]
    columns = ["id", "patient", "label", "subtype", "split"]
    wanted = expected.sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(found[columns], wanted[columns])
    write_jpeg(chest / "train/PNEUMONIA/VIRUS/person3_bacteria_9.jpeg", seed=99)
    with pytest.raises(ValueError, match="a name of bacteria in the folder VIRUS"):
        index(chest)


def test_the_same_name_twice_in_a_split_gets_the_folders_before_it(chest, write_jpeg):
    write_jpeg(chest / "train/PNEUMONIA/more/person3_virus_9.jpeg", seed=99)
    found = index(chest).query("patient == 'person3'")["id"].tolist()
    assert sorted(found) == ["train/more/person3_virus_9", "train/person3_virus_9"]


def test_repeated_files_are_marked(chest):
    first = chest / "train/PNEUMONIA/person3_virus_9.jpeg"
    shutil.copy(first, chest / "test/PNEUMONIA/person99_virus_999.jpeg")
    repeats = index(chest).set_index("id")["duplicate_of"].dropna()
    assert repeats.to_dict() == {"person99_virus_999": "person3_virus_9"}


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


# train_val_test


@pytest.fixture
def many():
    """The table of 60 patients, one of them on two sides, and one repeated file."""
    n = np.arange(120)
    subtype = np.array(["none", "bacteria", "virus"])[n // 2 % 3]
    return pd.DataFrame(
        {
            "id": n.astype(str),
            "patient": (n // 2).astype(str),
            "subtype": subtype,
            "label": np.where(subtype == "none", "NORMAL", "PNEUMONIA"),
            "split": np.select([n < 90, n < 97], ["train", "val"], "test"),
            "duplicate_of": pd.array([pd.NA] * 118 + ["3", "4"], "string"),
        },
        index=n + 1000,
    )


def test_no_patient_is_on_two_sides(many):
    part = chest_xray.train_val_test(many, seed=0)
    assert many["patient"].groupby(part).nunique().sum() == many["patient"][part.notna()].nunique()
    assert set(part.dropna()) == {"train", "validation", "test"}


def test_validation_is_drawn_from_train_and_val_and_stratified(many):
    part = chest_xray.train_val_test(many, seed=0, validation=0.2)
    chosen = many[part == "validation"]
    assert set(chosen["split"]) <= {"train", "val"}
    assert 14 <= len(chosen) <= 24
    assert chosen["subtype"].value_counts().min() >= 4
    assert set(many["split"][part == "train"]) == {"train", "val"}


def test_patients_of_the_test_set_and_repeats_are_left_out(many):
    part = chest_xray.train_val_test(many, seed=0)
    # Images 96 and 97 are one patient's, in val and in test: the test keeps it.
    assert part[1097] == "test"
    assert part[part.isna()].index.tolist() == [1096, 1118, 1119]
    assert (part[many["split"] == "test"].dropna() == "test").all()


def test_train_val_test_follow_the_seed(many):
    first, again, other = (chest_xray.train_val_test(many, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_series_equal(first, again)
    assert (first.fillna("") != other.fillna("")).any()


def test_train_val_test_of_the_small_set(chest):
    part = chest_xray.train_val_test(index(chest), seed=0, validation=0.5)
    assert part.value_counts().sum() == 16


def test_train_val_test_refuse_what_cannot_be_split(many):
    with pytest.raises(ValueError, match=r"there is no test set .*cross_fit"):
        chest_xray.train_val_test(many[many["split"] != "test"], seed=0)
    with pytest.raises(ValueError, match="nothing is left to train on"):
        chest_xray.train_val_test(many[many["split"] == "test"], seed=0)
    with pytest.raises(ValueError, match=r"above 0 and at most at 0\.5, got 0\.7"):
        chest_xray.train_val_test(many, seed=0, validation=0.7)
    with pytest.raises(ValueError, match="has no NORMAL; more patients are needed"):
        chest_xray.train_val_test(many[many["label"] == "PNEUMONIA"], seed=0)


def test_cross_fitting_tests_each_patient_once(many):
    parts = chest_xray.cross_fit(many, folds=3, seed=0, validation=0.25)
    assert list(parts) == [1, 2, 3]
    assert (parts == "test").sum(axis=1).tolist() == [1] * 118 + [0, 0]  # two are repeats
    for part in parts.values.T:
        of = many["patient"].groupby(part)
        assert of.nunique().sum() == 59
        assert set(of.groups) == {"train", "validation", "test"}
        assert many["subtype"].groupby(part).nunique().eq(3).all()
    other = chest_xray.cross_fit(many, folds=3, seed=1, validation=0.25)
    assert (parts[1].fillna("") != other[1].fillna("")).any()
    with pytest.raises(ValueError, match="n_folds must be"):
        chest_xray.cross_fit(many, folds=1, seed=0)
