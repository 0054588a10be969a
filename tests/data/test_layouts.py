"""The same patients in every layout, and what each layout pairs."""

import json

import medical
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from medsr_lib.data import layouts, phantom, source, store
from medsr_lib.data.layouts import Options


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Five patients, the last of whom was examined twice: (examination, its cases), in order."""
    root = tmp_path_factory.mktemp("figshare")
    phantom.write_figshare(root, patients=5, slices_per_patient=2, seed=0, size=64)
    visits = {}
    for case in store.prepare(root, root / "cases.h5"):
        visits.setdefault(case.about["pid"], []).append(case)
    return visits


def every(visits):
    return [case for cases in visits.values() for case in cases]


def raw(case):
    low, high = case.about["raw_min"], case.about["raw_max"]
    return (case.image * (high - low) + low).round().numpy().astype(np.int16)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


def png(path, mask):
    return save(path, mask.numpy().astype(np.uint8) * 255)


def volumes(visits):
    """Patient, the number of the examination, pictures and masks."""
    seen = {}
    for cases in visits.values():
        patient = cases[0].patient
        seen[patient] = number = seen.get(patient, -1) + 1
        masks = np.stack([case.mask.numpy() for case in cases]).astype(np.uint8)
        yield patient, number, np.stack([raw(case) for case in cases]), masks


def beside(root, visits):
    for case in every(visits):
        folder = root / case.patient
        save(folder / f"{case.id}.tif", raw(case))
        top = case.mask.clone()
        top[: case.mask.any(1).nonzero().median()] = False
        png(folder / f"{case.id}_mask.png", top)
        png(folder / f"{case.id}_mask_1.png", case.mask & ~top)


def two_folders(root, visits):
    for case in every(visits):
        save(root / "images" / case.patient / f"{case.id}.png", raw(case).astype(np.uint16))
        png(root / "masks" / case.patient / f"{case.id}.bmp", case.mask)


def eight_bits(root, visits):
    for case in every(visits):
        values = (case.image * 255).round().byte().numpy()
        save(root / "images" / case.patient / f"{case.id}.png", values)
        png(root / "masks" / case.patient / f"{case.id}_segmentation.png", case.mask)


def nnunet(root, visits):
    for patient, number, pictures, masks in volumes(visits):
        name = f"{patient}_{number}"
        medical.write_nifti(root / f"imagesTr/{name}_0000.nii.gz", pictures)
        medical.write_nifti(root / f"imagesTr/{name}_0001.nii.gz", pictures // 2)
        medical.write_nifti(root / f"labelsTr/{name}.nii.gz", masks)
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumour": 1}}))


def brats(root, visits):
    for patient, number, pictures, masks in volumes(visits):
        stem = root / f"{patient}-{number:03d}" / f"{patient}-{number:03d}"
        medical.write_nifti(f"{stem}-t1c.nii.gz", pictures, codes="LPS")
        medical.write_nifti(f"{stem}-t2f.nii.gz", pictures // 2)
        labels = masks * np.where(np.arange(64) < 30, 3, 1)  # parts of the tumour
        medical.write_nifti(f"{stem}-seg.nii.gz", labels.astype(np.uint8), codes="RAS")


def bids(root, visits):
    for patient, number, pictures, masks in volumes(visits):
        name = f"sub-{patient}_ses-{number}"
        where = f"sub-{patient}/ses-{number}/anat"
        lesions = root / "derivatives" / "seg" / where
        medical.write_nifti(root / where / f"{name}_T1w.nii.gz", pictures, codes="PIR")
        medical.write_nifti(lesions / f"{name}_label-lesion_mask.nii.gz", masks, codes="RSA")
        medical.write_nifti(lesions / f"{name}_desc-brain_mask.nii.gz", masks * 0 + 1)


def dicom(root, visits):
    for patient, number, pictures, masks in volumes(visits):
        folder = root / patient / str(number)
        images = medical.write_series(folder, pictures, patient=patient, SeriesNumber=number)
        medical.write_segmentation(folder / "seg.dcm", images[::-1], masks[::-1])


def table(root, visits):
    rows = []
    for case in every(visits):
        image = save(root / "i" / f"{case.id}.tif", raw(case).astype(np.float32)).relative_to(root)
        mask = png(root / "m" / f"{case.id}.png", case.mask).relative_to(root)
        rows.append([image, mask, case.patient, case.label, case.fold, 0.49])
    columns = ["image", "mask", "patient", "label", "fold", "spacing"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "cases.csv", index=False)


PATTERN = {nnunet: r"/(?P<patient>\w+)_\d_0000"}


@pytest.mark.parametrize(
    ("write", "layout", "spacing"),
    [(beside, "beside", None), (two_folders, "folders", None), (eight_bits, "folders", None),
     (nnunet, "folders", 0.5), (brats, "brats", 0.5), (bids, "bids", 0.5), (dicom, "dicom", 0.5),
     (table, "table", 0.49)],
)  # fmt: skip
def test_every_layout_gives_the_cases_of_the_original(write, layout, spacing, original, tmp_path):
    write(tmp_path / "data", original)
    options = Options(slices=None, percentiles=(0, 100), patient_pattern=PATTERN.get(write))
    entries = source.find_entries(tmp_path / "data", options)
    assert {entry.layout for entry in entries} == {layout}
    packed = store.prepare(tmp_path / "data", tmp_path / "cases.h5", options=options)
    expected = sorted(every(original), key=lambda c: (c.patient, int(c.id)))
    found = list(packed)
    if spacing != 0.5:
        found.sort(key=lambda c: int(c.id))
        assert {c.id: c.patient for c in found} == {c.id: c.patient for c in expected}
    found.sort(key=lambda c: c.patient)
    assert [c.patient for c in found] == [c.patient for c in expected]
    for case, of in zip(found, expected):
        tolerance = 0.51 / 255 if write is eight_bits else 0
        torch.testing.assert_close(case.image, of.image, rtol=0, atol=tolerance)
        assert torch.equal(case.mask, of.mask)
        assert case.spacing == spacing
        if write is table:
            assert (case.label, case.fold) == (of.label, of.fold)


# what names tell


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def pairs(root, **options):
    """Image -> patient, masks and whether it is at fault, all below the folder."""
    return {
        entry.image.relative_to(root).as_posix(): (
            entry.patient, [m.relative_to(root).as_posix() for m in entry.masks], entry.fault,
        )
        for entry in source.find_entries(root, Options(**options))
    }  # fmt: skip


def test_masks_beside_images(tmp_path):
    touch(tmp_path, "malignant/malignant (2).png", "malignant/malignant (2)_mask.png",
          "malignant/malignant (2)_mask_1.png", "TCGA_X/TCGA_X_1.tif", "TCGA_X/TCGA_X_1_mask.tif",
          "ISIC_1.jpg", "ISIC_1_segmentation.png", "._ISIC_1.jpg", "__MACOSX/x.png", "a_mask.png",
          "TCGA_X/TCGA_X_1.png")  # fmt: skip
    found = pairs(tmp_path)
    assert found["malignant/malignant (2).png"][:2] == (
        "malignant (2)", ["malignant/malignant (2)_mask.png", "malignant/malignant (2)_mask_1.png"],
    )  # fmt: skip
    assert found["TCGA_X/TCGA_X_1.png"] == ("TCGA_X", ["TCGA_X/TCGA_X_1_mask.tif"], "")
    assert found["ISIC_1.jpg"] == ("ISIC_1", ["ISIC_1_segmentation.png"], "")
    assert found["a_mask.png"][2] == "a mask without an image"
    assert "another image of that name" in found["TCGA_X/TCGA_X_1.tif"][2]
    assert len(found) == 5
    labels = {entry.id: entry.label for entry in source.find_entries(tmp_path)}
    assert (labels["malignant (2)"], labels["ISIC_1"]) == ("malignant", "")


def test_folders_that_look_like_classes_are_said(tmp_path):
    touch(
        tmp_path, *(f"glioma/{n}.png" for n in range(60)), *(f"other/x{n}.png" for n in range(60))
    )
    (note,) = source.find_entries(tmp_path)[0].notes
    assert note == "2 patients (glioma, other): if these are classes, state patient_pattern"


def test_patterns_of_masks_and_patients(tmp_path):
    touch(tmp_path, "glioma_7_2.png", "glioma_7_2_roi_b.png", "other.png")
    found = pairs(
        tmp_path, mask_pattern="{stem}_roi*", patient_pattern=r"(?P<label>[a-z]+)_(?P<patient>\d+)"
    )
    assert found["glioma_7_2.png"] == ("7", ["glioma_7_2_roi_b.png"], "")
    assert "is not found in other.png" in found["other.png"][2]
    options = Options(mask_pattern="{stem}_roi*", patient_pattern=r"([a-z]+)_")
    entry = source.find_entries(tmp_path, options)[0]
    assert (entry.id, entry.patient, entry.label) == ("glioma_7_2", "glioma", "")


def test_unknown_patients_are_said_once_and_equal_names_get_their_folders(tmp_path):
    touch(tmp_path, "images/1.png", "images/2.png", "masks/1.png", "masks/3.png")
    entries = source.find_entries(tmp_path)
    assert [e.patient for e in entries[:2]] == ["1", "2"]
    assert entries[0].notes == ("2 of 2 images have no known patient and count as one each: "
                                "state patient_pattern",)  # fmt: skip
    assert entries[1].notes == entries[1].masks == ()
    assert entries[2].fault == "a mask without an image"
    touch(tmp_path, "more/images/1.png", "more/masks/1.png")
    assert [e.id for e in source.find_entries(tmp_path)][::3] == ["images/1", "more/images/1"]


def test_channels_are_chosen_by_the_names_of_their_layouts(tmp_path):
    touch(tmp_path / "n", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    touch(tmp_path / "b", "p/p-t1n.nii", "p/p-t2w.nii", "p/p-seg.nii", "q/q-seg.nii")
    touch(tmp_path / "s", "sub-1/anat/sub-1_T1w.nii", "sub-1/anat/sub-1_FLAIR.nii",
          "derivatives/sub-1/anat/sub-1_space-T1w_dseg.nii")  # fmt: skip
    assert list(pairs(tmp_path / "n")) == ["imagesTr/a_0000.nii.gz"]
    assert list(pairs(tmp_path / "n", channel="0001")) == ["imagesTr/a_0001.nii.gz"]
    said = source.find_entries(tmp_path / "n")[0].notes
    assert said[1] == "1 other files are not read: imagesTr/a_0001.nii.gz"
    assert set(pairs(tmp_path / "b")) == {"p/p-t1n.nii", "q/q-seg.nii"}
    assert pairs(tmp_path / "b")["q/q-seg.nii"][2].startswith("no image beside it")
    assert pairs(tmp_path / "b", channel="t1c")["p/p-seg.nii"][2].startswith("no t1c beside it")
    mask = ["derivatives/sub-1/anat/sub-1_space-T1w_dseg.nii"]
    assert pairs(tmp_path / "s") == {"sub-1/anat/sub-1_T1w.nii": ("1", mask, "")}
    assert pairs(tmp_path / "s", channel="FLAIR") == {"sub-1/anat/sub-1_FLAIR.nii": ("1", mask, "")}


def test_names_that_resemble_another_layout(tmp_path):
    touch(tmp_path / "d", "imagesTr/la_0003.nii.gz", "labelsTr/la_0003.nii.gz", "imagesTs/b.nii.gz")
    decathlon = {"imagesTr/la_0003.nii.gz": ("la_0003", ["labelsTr/la_0003.nii.gz"], "")}
    assert pairs(tmp_path / "d") == decathlon
    touch(tmp_path / "b", "P1.nii", "P1_seg.nii")
    assert pairs(tmp_path / "b") == {"P1.nii": ("P1", ["P1_seg.nii"], "")}
    touch(tmp_path / "c", "t/cases.csv", "i/a.png")
    (tmp_path / "c" / "t" / "cases.csv").write_text("image,patient\n../i/a.png,P1\n")
    (entry,) = source.find_entries(tmp_path / "c" / "t", Options(patient_pattern="i/(.)"))
    assert (entry.patient, entry.id) == ("a", "a")


def test_a_table_names_the_line_that_is_wrong(tmp_path):
    touch(tmp_path, "a.png", "b.png", "m.png")
    rows = "a.png,m.png;b.png,P1,2 x.png,,P1, b.png,,, a.png,,P2, m.png,,P3,two b.png,,P3,0"
    (tmp_path / "cases.csv").write_text("image,mask,patient,fold\n" + rows.replace(" ", "\n"))
    first, *wrong = source.find_entries(tmp_path)
    assert (first.fault, first.fold, [m.name for m in first.masks]) == ("", 2, ["m.png", "b.png"])
    for entry, reason in zip(
        wrong, ["no file .*x.png", "no patient", "two rows", "'two'", "'0' is no"]
    ):
        with pytest.raises(ValueError, match=rf"/cases.csv, line [3-7]: .*{reason}"):
            source.read_entry(entry)
    (tmp_path / "cases.csv").write_text("image,mask\na.png,m.png")
    with pytest.raises(
        ValueError, match=r"cases.csv: no column patient, found \['image', 'mask'\]"
    ):
        source.of(tmp_path)


def test_a_layout_can_be_stated(tmp_path):
    touch(tmp_path, "images/a.png", "images/a_mask.png", "masks/a.png")
    assert pairs(tmp_path)["images/a.png"][1] == ["masks/a.png"]
    assert pairs(tmp_path, layout="beside")["images/a.png"][1] == ["images/a_mask.png"]
    for layout, reason in {
        "dicom": "nothing in it is in the layout",
        "A": "must be one of",
    }.items():
        with pytest.raises(ValueError, match=reason):
            source.of(tmp_path, options=Options(layout=layout))


def test_options_are_for_images_and_masks_alone_and_make_another_store(folder, tmp_path):
    with pytest.raises(ValueError, match="brain slices, which are read without options"):
        source.index(folder, options=Options(slices=2))
    y, x = np.mgrid[:20, :30]
    save(tmp_path / "data" / "a.png", (7 * x + y).astype(np.uint8))
    path = tmp_path / "a.h5"
    plain = store.prepare(tmp_path / "data", path)
    assert plain.table.attrs["notes"][str(tmp_path / "data" / "a.png")].startswith(
        "1 of 1 images have no"
    )
    cut = store.prepare(tmp_path / "data", path, options=Options(percentiles=(10, 90)))
    assert cut[0].about["raw_max"] < plain[0].about["raw_max"]
    written = path.stat().st_mtime_ns
    store.prepare(tmp_path / "data", path, options=Options(percentiles=(10, 90)))
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"plane": "oblique"}, "plane must be one of"), ({"slices": 0}, "slices must be at least 1"),
     ({"least_area": -1.0}, "least_area"), ({"percentiles": (9, 1)}, "percentiles must rise"),
     ({"mask_pattern": "_roi"}, "needs {stem}"), ({"patient_pattern": "("}, "no regular expres")],
)  # fmt: skip
def test_options_out_of_range(options, reason):
    with pytest.raises(ValueError, match=reason):
        Options(**options)


def test_options_by_name_are_as_yaml_and_the_command_line_write_them():
    given = {"lesion_labels": [1, 4], "percentiles": ["1", 99], "slices": "all", "channel": 1}
    expected = Options(lesion_labels=(1, 4), percentiles=(1, 99), slices=None, channel="1")
    assert layouts.options_of(given) == expected
    assert layouts.options_of({"lesion_labels": 4, "slices": None}).lesion_labels == (4,)
    assert layouts.options_of({}) == layouts.DEFAULTS
    for wrong, text in {
        "layuot": "no option layuot; there are layout, mask_pattern",
        "slices": r"slices cannot be \[1\]",
        "layout": r"layout must be text, got \[1\]",
        "percentiles": r"percentiles cannot be \[1\]",
    }.items():
        with pytest.raises(ValueError, match=text):
            layouts.options_of({wrong: [1]})
