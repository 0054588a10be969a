"""NIfTI and DICOM: how volumes are turned and cut, and what is refused or said by name."""

import gzip
import shutil
import sys
from pathlib import Path

import medical
import nibabel
import numpy as np
import pytest
import torch
from medical import UPRIGHT
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLosslessSV1

from medsr_lib.data import source
from medsr_lib.data.layouts import Options

K, Y, X = np.mgrid[:5, :24, :32]
PICTURES = (400 * K + 11 * Y + 3 * X).astype(np.int16)  # axial, from the top down
RADIUS = np.array([0, 3, 6, 4, 0])[:, None, None]
MASKS = (np.hypot(Y - 9, X - 20) < RADIUS).astype(np.uint8)
ALL = {"slices": None, "percentiles": (0, 100)}


@pytest.fixture
def nifti(tmp_path):
    """`nifti(pictures, masks, ...)` -> cases and notes of `images/v.nii` and `masks/v.nii`."""

    def read(pictures=PICTURES, masks=MASKS, *, codes="RAS", mask_codes="RAS", mask_spacing=None,
             spacing=(0.5, 0.5, 6.0), units="mm", slope=None, **options):  # fmt: skip
        path = tmp_path / "images" / "v.nii"
        medical.write_nifti(path, pictures, codes=codes, spacing=spacing, units=units, slope=slope)
        if masks is not None:
            medical.write_nifti(
                tmp_path / "masks" / "v.nii", masks, codes=mask_codes,
                spacing=mask_spacing or spacing, units=units,
            )  # fmt: skip
        return cases(tmp_path, patient_pattern="v", **options)

    return read


@pytest.fixture
def dicom(tmp_path):
    """`dicom(pictures, masks, ...)` -> cases and notes of a series and its segmentation."""

    def read(pictures=PICTURES, masks=MASKS, *, numbers=None, seg=(), options=(), **header):
        images = medical.write_series(tmp_path / "s", pictures, **header)
        if masks is not None:
            pairs = images if len(images) == len(masks) else [images[2]] * len(masks)
            path = tmp_path / "seg"
            medical.write_segmentation(path, pairs, masks, numbers=numbers, **dict(seg))
        return cases(tmp_path, **dict(options))

    return read


def cases(folder, **options):
    settings = Options(**options)
    table = source.index(folder, options=settings)
    entries = source.find_entries(folder, settings)
    found = [case for entry in entries for case in source.read_entry(entry)]
    assert [case.id for case in found] == table["id"].tolist()
    return found, "; ".join(table.attrs["notes"].values())


def like(case, picture, mask=None, *, tolerance=0.0):
    low, high = picture.min(), picture.max()
    wanted = torch.from_numpy((picture - low) / np.float32(high - low)).float()
    torch.testing.assert_close(case.image, wanted, rtol=0, atol=1e-6 + tolerance)
    if mask is not None:
        assert torch.equal(case.mask, torch.from_numpy(mask > 0))


# which slices


def test_the_slice_of_the_largest_lesion_with_percentiles_by_default(nifti):
    (case,), said = nifti()
    low, high = np.percentile(PICTURES[2], (0.5, 99.5))
    torch.testing.assert_close(
        case.image, torch.tensor((PICTURES[2] - low) / (high - low)).clamp(0, 1).float()
    )
    assert (case.id, case.spacing, case.about["raw_min"]) == ("v:2", 0.5, low)
    assert torch.equal(case.mask, torch.from_numpy(MASKS[2] > 0))
    assert said == ""


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({"slices": 2}, [2, 3]), ({"slices": None}, [1, 2, 3]), ({"slices": 9}, [1, 2, 3]),
     ({"slices": None, "least_area": 10.0}, [2, 3]), ({"slices": 1, "least_area": 10.0}, [2])],
)  # fmt: skip
def test_slices_are_chosen_by_the_lesions_area_in_square_millimetres(options, wanted, nifti):
    found, _ = nifti(codes="LPI", **options)
    assert [case.id for case in found] == [f"v:{k}" for k in wanted]


def test_without_a_lesion_the_middle_is_taken(nifti):
    found, said = nifti(masks=None, codes="LPI", slices=3)
    assert [case.id for case in found] == ["v:1", "v:2", "v:3"]
    assert all(case.mask is None for case in found)
    assert said == "no mask: measures of the whole image only"


def test_too_small_lesions_are_an_error(nifti):
    with pytest.raises(ValueError, match=r"v.nii: no slice has a lesion of 1000, the largest is 2"):
        nifti(least_area=1000.0)


# orientation and spacing


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR", "SAL"])
def test_image_and_mask_are_turned_alike_however_each_is_stored(codes, nifti):
    found, _ = nifti(codes=codes, mask_codes="ASR", **ALL)
    assert [int(case.id[2:]) for case in found] == ([3, 2, 1] if "S" in codes else [1, 2, 3])
    for case, k in zip(found, (1, 2, 3)):
        like(case, PICTURES[k], MASKS[k])


@pytest.mark.parametrize(
    ("plane", "spacing", "picture"),
    [(None, (6, 1, 1), PICTURES[:, :, 20]), (None, (1, 6, 1), PICTURES[:, 9]),
     (None, (1, 1, 1), PICTURES[2]), ("sagittal", (1, 1, 1), PICTURES[:, :, 20]),
     ("coronal", (1, 1, 1), PICTURES[:, 9])],
)  # fmt: skip
def test_the_front_or_right_is_on_the_left_and_the_top_above(plane, spacing, picture, nifti):
    (case,), _ = nifti(spacing=spacing, plane=plane, percentiles=(0, 100))
    like(case, picture)
    assert case.spacing == 1


@pytest.mark.parametrize(("units", "side"), [("mm", 0.5), ("micron", 0.0005), ("meter", 500.0)])
def test_spacing_is_in_millimetres(units, side, nifti):
    assert nifti(units=units)[0][0].spacing == pytest.approx(side)


def test_pixels_that_are_not_square_are_refused(nifti):
    with pytest.raises(ValueError, match=r"v.nii: pixels of coronal slices are 0.5 x 6 mm, not sq"):
        nifti(plane="coronal")


# NIfTI: refused and said


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"masks": MASKS[:, 1:]}, "the sizes of v.nii and of the image differ: 32 x 23 x 5 and"),
     ({"masks": MASKS * (1 + (X > 19)).astype(np.uint8)}, "v.nii holds the labels 0, 1, 2; state"),
     ({"mask_spacing": (0.5, 0.5, 7.0)}, "v.nii lies elsewhere in the patient, by up to 4 mm"),
     ({"pictures": PICTURES * 0}, "slice 2: the image is constant")],
)  # fmt: skip
def test_volumes_that_are_refused(given, reason, nifti):
    with pytest.raises(ValueError, match=rf"images/v.nii: .*{reason}"):
        nifti(**given)


def test_slope_and_smoothed_masks_are_said(nifti):
    smooth = np.clip(RADIUS - np.hypot(Y - 9, X - 20), 0, 1).astype(np.float32)
    found, said = nifti(masks=smooth, slope=(2.0, -5.0), slices=None)
    assert said.startswith("slope 2, intercept -5 applied; v.nii: ")
    assert "pixels between 0 and 1: above 0.5 is taken as lesion" in said
    assert [float(np.abs(c.mask.numpy() ^ (MASKS[k] > 0)).mean()) < 0.05
            for c, k in zip(found, (1, 2, 3))] == [True] * 3  # fmt: skip


def test_parts_of_a_fourth_dimension_are_chosen(tmp_path):
    four = np.stack([PICTURES, -PICTURES], -1).transpose(2, 1, 0, 3)
    nibabel.save(nibabel.Nifti1Image(four, np.diag([-1, -1, -3, 1])), tmp_path / "v.nii.gz")
    (case,), said = cases(tmp_path, percentiles=(0, 100))
    like(case, PICTURES[2])
    assert "; channel 0 of 2 is read" in said
    (case,), said = cases(tmp_path, percentiles=(0, 100), channel="1")
    like(case, -PICTURES[2])
    with pytest.raises(ValueError, match=r"v.nii.gz: there is no channel 2 of 2"):
        cases(tmp_path, channel="2")


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 800])
def test_damaged_volumes_are_refused(name, keep, tmp_path):
    medical.write_nifti(tmp_path / name, np.random.default_rng(0).random((4, 20, 20)))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{name} is truncated, damaged or no NIfTI"):
        source.index(tmp_path)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    medical.write_nifti(tmp_path / "v.nii", PICTURES)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"nibabel reads .*pip install 'medsr-lib\[medical\]'"):
        source.index(tmp_path)


# DICOM: said


SIX = PICTURES[2][None]


@pytest.mark.parametrize(
    ("header", "picture", "note"),
    [
        ({"RescaleSlope": 2, "RescaleIntercept": -1024}, 2 * SIX, "slope and intercept applied"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, -SIX, "MONOCHROME1: inverted"),
        ({"LossyImageCompression": "01"}, SIX, "lossy compression (Explicit VR Little Endian)"),
        ({"PixelSpacing": [0, 0]}, SIX, "no spacing in its header: sizes are in pixels"),
        ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, SIX, ""),
    ],
)  # fmt: skip
def test_what_headers_do_to_the_pixels_is_said(header, picture, note, dicom):
    (case,), said = dicom(SIX, MASKS[2][None], options={"percentiles": (0, 100)}, **header)
    like(case, picture[0], MASKS[2])
    assert said == note
    assert case.spacing == (None if "spacing" in note else 0.5)


def test_a_series_is_ordered_by_place_and_joined_to_its_segmentation_by_uid(dicom):
    found, said = dicom(options=ALL)
    assert [case.id for case in found] == ["P1-1:3", "P1-1:2", "P1-1:1"]  # counted upwards
    for case, k in zip(found, (1, 2, 3)):
        like(case, PICTURES[k], MASKS[k])
    assert (said, found[0].patient, found[0].spacing) == ("", "P1", 0.5)


def test_frames_of_one_slice_are_united_and_segments_chosen(dicom):
    left, right = MASKS[2] * (X[0] < 20), MASKS[2] * (X[0] >= 20)
    (case,), said = dicom(masks=np.stack([left, right]))
    assert torch.equal(case.mask, torch.from_numpy(MASKS[2] > 0))
    assert said == "seg: 1 slices have several frames, united"


@pytest.mark.parametrize("labels", [(1,), (2,), (1, 2)])
def test_segments_are_chosen_by_number(labels, dicom):
    parts = np.stack([MASKS[2] * (X[0] < 20), MASKS[2] * (X[0] >= 20)])
    (case,), _ = dicom(masks=parts, numbers=[1, 2], options={"lesion_labels": labels})
    wanted = sum(parts[label - 1] for label in labels)
    assert torch.equal(case.mask, torch.from_numpy(wanted > 0))


def test_fractional_segmentations_are_cut_at_a_half_with_a_count(dicom):
    (case,), said = dicom(SIX, MASKS[2][None] * np.where(Y[0] < 9, 60, 30), seg={"maximum": 100})
    assert torch.equal(case.mask, torch.from_numpy((MASKS[2] > 0) & (Y[0] < 9)))
    assert (
        said == f"seg: {int(MASKS[2].sum())} pixels between 0 and 100: above 50 is taken as lesion"
    )


def test_colours_with_equal_channels_are_taken_as_grey(dicom, tmp_path):
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0,
           "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}  # fmt: skip
    levels = (SIX[0] - SIX.min()).astype(np.uint8)
    equal = np.dstack([levels] * 3).tobytes()
    (case,), said = dicom(SIX, None, PixelData=equal, options={"percentiles": (0, 100)}, **rgb)
    like(case, levels.astype(int))
    assert said.startswith("3 equal channels, taken as grey")
    unequal = np.dstack([levels, levels // 2, levels]).tobytes()
    with pytest.raises(ValueError, match=r"i1: in colours: its channels differ"):
        dicom(SIX, None, PixelData=unequal, **rgb)


# DICOM: refused


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"numbers": [1, 2, 1, 2, 1]}, r"segments 1 \(part 1\), 2 \(part 2\); state the lesion's"),
        ({"masks": MASKS[:, :-1]}, "the sizes of seg and of the image differ: 23 x 32 and 24 x 32"),
        ({"seg": {"directions": [0, 1, 0, 1, 0, 0]}}, "seg is turned against its images"),
        ({"ImagePositionPatient": [0, 0, 5]}, "several images at one place"),
        ({"lists": {"ImageOrientationPatient": [UPRIGHT] * 4 + [[0, 1, 0, 0, 0, -1]]}},
         "images of several directions in one series"),
        ({"lists": {"Rows": [24, 24, 24, 24, 12]}}, "images of several sizes in one series"),
        ({"PixelSpacing": [0.5, 0.7]}, "pixels of axial slices are 0.7 x 0.5 mm, not square"),
        ({"syntax": JPEGLosslessSV1}, r"i\d is compressed as JPEG Loss.*pip install python-gdcm"),
        ({"NumberOfFrames": 3}, "holds 3 frames in one file"),
        ({"PixelData": b"\0\0"}, "is truncated or damaged"),
    ],
)  # fmt: skip
def test_series_that_are_refused_by_name(given, reason, dicom):
    with pytest.raises(ValueError, match=rf"s/i\d: .*{reason}"):
        dicom(**given)


def test_missing_slices_and_frames_of_other_images_are_said(dicom, tmp_path):
    dicom()
    (tmp_path / "s" / "i4").unlink()
    found, said = cases(tmp_path, slices=None)
    assert said == "slices are 6 to 12 mm apart; seg: 1 frames are of images that are not here"
    assert [int(case.mask.sum()) for case in found] == [MASKS[2].sum(), MASKS[3].sum()]


def test_all_slices_without_a_mask_but_the_empty_ones(nifti):
    found, _ = nifti(pictures=PICTURES * (K > 2), masks=None, codes="LPI", slices=None)
    assert [case.id for case in found] == ["v:3", "v:4"]
    with pytest.raises(ValueError, match=r"v.nii: all slices are constant"):
        nifti(pictures=PICTURES * 0, masks=None, slices=None)


def test_a_segmentation_without_its_images_and_other_objects_are_named(dicom, tmp_path):
    images = medical.write_series(tmp_path / "elsewhere", PICTURES)
    medical.write_segmentation(tmp_path / "lonely", images, MASKS)
    for path in (tmp_path / "elsewhere").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"1 of 2 files .*\n.*/lonely: a mask without an image"):
        dicom()
    (tmp_path / "lonely").unlink()
    medical.write_series(tmp_path / "dose", SIX[:, :9], Modality="RTDOSE")
    assert "not images, not read: {'RTDOSE': 1}" in cases(tmp_path)[1]


# real headers


REAL = {
    "CT_small.dcm": ("1CT1", 0.661468, "slope and intercept applied"),
    "MR_small.dcm": ("4MR1", 0.3125, ""),
    "MR_small_RLE.dcm": ("4MR1", 0.3125, ""),
    "MR_small_bigendian.dcm": ("4MR1", 0.3125, ""),
    "JPEG2000.dcm": ("8NM1", 2.26, "lossy compression (JPEG 2000 Image Compression)"),
    "RG1_UNCR.dcm": ("9RG1", None, "MONOCHROME1: inverted"),
    "MR_truncated.dcm": "is truncated or damaged",
    "US1_UNCR.dcm": "in colours: its channels differ in 15862 of 307200 pixels",
    "OBXXXX1A.dcm": "in colours of a palette",
    "JPEG-LL.dcm": "compressed as JPEG Lossless.*pip install python-gdcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "compressed as JPEG Lossless.*pip install python-gdcm",
    "emri_small.dcm": "holds 10 frames in one file; convert it to NIfTI",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "its header is incomplete",
    "ExplVR_LitEndNoMeta.dcm": "no DICOM file: it does not begin with DICM",
    "liver.dcm": "a mask without an image: none that it names is here",
}


def real(name):
    path = get_testdata_file(name, download=False)
    return Path(path) if path else pytest.skip("pydicom-data is not installed")


@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_headers_that_scanners_wrote(name, tmp_path):
    shutil.copy(real(name), tmp_path)
    if isinstance(REAL[name], str):
        with pytest.raises(ValueError, match=rf"{name}: .*{REAL[name]}"):
            cases(tmp_path)
    else:
        (case,), said = cases(tmp_path, percentiles=(0, 100))
        stored = torch.from_numpy(dcmread(real(name)).pixel_array.astype(np.float32))
        sign = -1 if "MONOCHROME1" in said else 1
        assert (
            torch.corrcoef(torch.stack([case.image.ravel(), sign * stored.ravel()]))[0, 1] > 0.9999
        )
        assert (case.patient, case.spacing) == REAL[name][:2]
        assert REAL[name][2] in said


def test_a_segmentation_that_a_program_wrote(tmp_path):
    found = dcmread(real("liver.dcm"))
    frames = found.pixel_array
    series = medical.write_series(
        tmp_path, (np.arange(512 * 512).reshape(512, 512) % 997 + np.zeros((3, 1, 1))).astype("i2"),
        PixelSpacing=[0.810547, 0.810547],
    )  # fmt: skip
    for path, image, frame in zip(
        (f"i{k}" for k in (3, 2, 1)), series, found.PerFrameFunctionalGroupsSequence
    ):
        source_image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        image.SOPInstanceUID = source_image.ReferencedSOPInstanceUID
        image.ImagePositionPatient = frame.PlanePositionSequence[0].ImagePositionPatient
        image.save_as(tmp_path / path, enforce_file_format=True)
    shutil.copy(real("liver.dcm"), tmp_path)
    got, _ = cases(tmp_path, slices=None)
    place = [f.PlanePositionSequence[0].ImagePositionPatient[2]
             for f in found.PerFrameFunctionalGroupsSequence]  # fmt: skip
    top_down = [frames[k] for k in np.argsort(place)[::-1] if frames[k].any()]
    assert len(got) == len(top_down) > 0
    for case, frame in zip(got, top_down):
        assert torch.equal(case.mask, torch.from_numpy(frame > 0))
        assert case.spacing == 0.810547


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "note"),
    [("anatomical.nii", (41, 33), 2.0, ""), ("example4d.nii.gz", (96, 128), 2.0, "channel 0 of 2"),
     ("example_nifti2.nii.gz", (20, 32), 2.0, "channel 0 of 2"),
     ("functional.nii", (21, 17), 4.0, "slope 0.075407, intercept 3100.76 applied")],
)  # fmt: skip
def test_volumes_of_nibabel(name, shape, spacing, note, tmp_path):
    path = Path(nibabel.__file__).parent / "tests" / "data" / name
    if not path.is_file():
        pytest.skip("nibabel came without its tests")
    shutil.copy(path, tmp_path)
    (case,), said = cases(tmp_path)
    assert tuple(case.image.shape) == shape
    assert case.spacing == pytest.approx(spacing)
    assert note in said


def test_an_anatomical_volume_is_cut_like_nibabel_does(tmp_path):
    path = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    if not path.is_file():
        pytest.skip("nibabel came without its tests")
    shutil.copy(path, tmp_path)
    (case,), _ = cases(tmp_path, percentiles=(0, 100), plane="axial")
    upright = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()  # right, front, top
    like(case, upright[::-1, ::-1, (upright.shape[2]) // 2].T.astype(np.float32))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_volume_that_states_more_voxels_than_any_has_is_refused(ending, tmp_path):
    path = medical.write_nifti(tmp_path / f"a{ending}", PICTURES)
    content = path.read_bytes()
    content = bytearray(gzip.decompress(content) if ending == ".nii.gz" else content)
    content[42:48] = np.full(3, 30_000, "<i2").tobytes()
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(ValueError, match=r"its header states \(30000, 30000, 30000\) voxels"):
        source.index(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"(\0\x10\0US\2\0", b"(\0\x10\0US\3\0"), (b"\x08\0\x18\0UI", b"\x08\0\x18\0QQ")],
)
def test_a_damaged_header_is_named_and_hides_no_other_image(old, new, tmp_path):
    medical.write_series(tmp_path, PICTURES)
    path = sorted(tmp_path.iterdir())[-1]
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.warns(UserWarning, match=rf"1 of 2 files left out:\n.*{path.name}: its header is"):
        table = source.index(tmp_path, skip_bad=True, options=Options(slices=None))
    assert len(table) == len(PICTURES) - 1
