import re
from collections import Counter, defaultdict

import h5py
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from medsr_lib.data import phantom
from medsr_lib.data.phantom.brain import files

SMALL = {"patients": 9, "slices_per_patient": 2, "seed": 3, "size": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom.write_figshare(tmp_path_factory.mktemp("phantom"), **SMALL)


@pytest.fixture(scope="module")
def slices(folder):
    return [_read(folder / "data" / f"{n}.mat") for n in range(1, 19)]


def _read(path):
    """The arrays of one file, upright, the border from 0."""
    with h5py.File(path) as file:
        group = file["cjdata"]
        border = group["tumorBorder"][0].reshape(-1, 2) - 1
        patient = "".join(chr(c) for c in group["PID"][:, 0])
        mask = group["tumorMask"][()].T.astype(bool)
        return group["image"][()].T, mask, border, patient, int(group["label"][0, 0])


def test_the_layout_of_a_file_is_the_originals(folder):
    path = folder / "data" / "1.mat"
    with h5py.File(path) as file:
        group = file["cjdata"]
        assert group.attrs["MATLAB_class"] == b"struct"
        assert {n: (d.dtype, d.attrs["MATLAB_class"]) for n, d in group.items()} == {
            "PID": (np.uint16, b"char"),
            "image": (np.int16, b"int16"),
            "label": (np.float64, b"double"),
            "tumorBorder": (np.float64, b"double"),
            "tumorMask": (np.uint8, b"logical"),
        }
        assert group["PID"].attrs["MATLAB_int_decode"] == 2
        assert group["tumorMask"].attrs["MATLAB_int_decode"] == 1
        shape = {name: data.shape for name, data in group.items()}
    assert shape["image"] == shape["tumorMask"] == (128, 128)
    assert shape["label"] == (1, 1)
    assert shape["PID"][1] == shape["tumorBorder"][0] == 1
    assert shape["tumorBorder"][1] % 2 == 0
    header = path.read_bytes()[:520]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header[124:128] == b"\x00\x02IM"
    assert header[512:] == b"\x89HDF\r\n\x1a\n"


def test_outline_and_mask_agree_within_a_pixel(slices):
    for _, mask, border, *_ in slices:
        rows, columns = np.nonzero(mask)
        assert np.abs(border.min(0) - (columns.min(), rows.min())).max() < 1.05
        assert np.abs(border.max(0) - (columns.max(), rows.max())).max() < 1.05


def test_outline_is_transposed_like_the_mask(slices):
    for _, mask, border, *_ in slices:
        x, y = border.T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        inside = mask[border.mean(0).round().astype(int)[1], border.mean(0).round().astype(int)[0]]
        assert inside or np.abs(border.mean(0) - np.argwhere(mask).mean(0)[::-1]).max() < 4
        assert area == pytest.approx(mask.sum(), rel=0.08)


def test_images_start_at_zero_and_their_ranges_differ(slices):
    peaks = [image.max() for image, *_ in slices]
    assert all(image.min() == 0 for image, *_ in slices)
    assert min(peaks) > 250
    assert max(peaks) <= 12_000
    assert max(peaks) > 3 * min(peaks)


def test_slices_of_an_examination_share_a_range(slices):
    peaks = defaultdict(list)
    for image, *_, patient, _ in slices:
        peaks[patient].append(float(image.max()))
    assert all(max(values) / min(values) < 1.05 for values in peaks.values())


def test_neighbouring_slices_resemble_each_other(slices):
    pictures = np.array([image / image.max() for image, *_ in slices]).reshape(9, 2, -1)
    neighbours = [np.corrcoef(pair)[0, 1] for pair in pictures]
    assert min(neighbours) > 0.4  # near the temples the head's size changes within a step
    assert 0.7 < np.mean(neighbours) < 0.98


def test_tumours_have_the_originals_sizes(slices):
    share = [mask.mean() for _, mask, *_ in slices]
    assert min(share) > 0.003
    assert max(share) < 0.065


def test_ids_look_like_the_originals(slices):
    ids = {patient for *_, patient, _ in slices}
    assert len(ids) == 10  # of nine patients
    assert all(re.fullmatch(r"\d{5,6}|MR\d{6}[A-Z]?", patient) for patient in ids)


def test_fold_index_is_one_row_by_patient(folder, slices):
    with h5py.File(folder / "cvind.mat") as file:
        assert file["cvind"].dtype == np.float64
        assert file["cvind"].attrs["MATLAB_class"] == b"double"
        folds = file["cvind"][()]
    assert folds.shape == (1, 18)
    assert len({(s[3], f) for s, f in zip(slices, folds[0])}) == 10


def test_repeat_examinations_differ_by_letter_and_share_fold_and_tumour():
    visits = files.examinations(24, slices_per_patient=4, seed=0)
    assert len({v.person for v in visits}) == 24
    assert sum(len(v.slices) for v in visits) == 96
    repeated = [v for v in visits if v.patient_id[-1] in "AB"]
    assert len(repeated) == 6
    for first, second in zip(repeated[::2], repeated[1::2]):
        assert (first.fold, first.tumour, first.person, first.patient_id[:-1] + "B") == (
            *(second.fold, second.tumour, second.person, second.patient_id),
        )
        assert [*first.slices, *second.slices] == [0, 1, 2, 3]


@pytest.mark.parametrize("patients", [3, 8, 15, 24, 233])
def test_all_tumours_and_planes_occur_and_all_tumours_in_every_fold(patients):
    visits = files.examinations(patients, slices_per_patient=1, seed=0)
    assert {v.tumour for v in visits} == set(files.SHARES)
    assert len({v.plane for v in visits}) == 3
    assert len({v.patient_id for v in visits}) == patients
    if patients >= 15:
        assert len({(v.fold, v.tumour) for v in visits}) == 15
    if patients == 233:  # as many as the original's examinations
        kinds = Counter(v.tumour for v in visits)
        for kind, share in files.SHARES.items():
            assert kinds[kind] / 233 == pytest.approx(share, abs=0.02)


def test_bicubic_finds_real_slices_as_hard(tmp_path):
    """Real slices: 33.2 dB after bicubic x 4 down and up (shared measures, 150 slices)."""
    phantom.write_figshare(tmp_path, patients=9, slices_per_patient=1, seed=0)
    values = [_bicubic_psnr(_read(tmp_path / f"data/{n}.mat")[0]) for n in range(1, 10)]
    assert min(values) > 28
    assert max(values) < 36
    assert 31.5 < np.mean(values) < 33.7


def test_the_exact_brains_belong_to_the_files(slices):
    brains = list(phantom.figshare_brains(**SMALL))
    assert len(brains) == len(slices)
    for (image, mask, *_), brain in zip(slices, brains):
        assert brain.shape == image.shape
        assert brain.dtype == bool
        assert 0.1 < brain.mean() < 0.6
        assert (image[brain] > 0.05 * image.max()).mean() > 0.85  # not the air of another slice
        assert (mask & brain).sum() > 0.1 * mask.sum()  # a pituitary one lies below it


def _bicubic_psnr(image):
    hr = torch.from_numpy(image / image.max())[None, None].float()
    lr = interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True)
    sr = interpolate(lr, scale_factor=4, mode="bicubic").clip(0, 1)
    return -10 * torch.log10(((sr - hr) ** 2).mean()).item()
