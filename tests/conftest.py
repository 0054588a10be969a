"""Small synthetic slices, folders of them, and images, for all tests."""

import gc
import os
from pathlib import Path

import medsr_lib  # isort: skip  # noqa: F401  (before torch: it sets how threads wait)

import h5py
import numpy as np
import pytest
import small
import torch

from medsr_lib.data import figshare, phantom
from medsr_lib.series import report, run

gc.set_threshold(50_000, 20, 100)  # torch and pandas alone are 300 000 objects to look through

PATIENTS = {  # patient id -> (label, fold); the MR ones are two examinations of one patient
    "103414": (1, 1),
    "MR000001A": (2, 2),
    "MR000001B": (2, 3),
    "98765": (3, 2),
    "MR000007": (1, 3),
}


def _picture(seed, shape=(64, 56)):
    """An uneven head in air, (H, W) int16: no flip or transpose of it looks the same."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y - 31) / 26) ** 2 + ((x - 27) / 23) ** 2 < 1
    noise = np.random.default_rng(seed).integers(0, 60, shape)
    return (inside * (300 + 9 * y + 4 * x) + noise).astype(np.int16)


def _tumour(shape=(64, 56), row=24, column=34, radius=6):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """No power cut is meant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def picture():
    """`picture(seed)` -> (64, 56) int16."""
    return _picture


@pytest.fixture(scope="session")
def write_mat():
    """`write_mat(path, **overrides)` writes one slice in the original layout.

    image and mask are given upright and stored transposed; a field that is None is left out.
    """

    def write(path, *, image=None, mask=None, pid="103414", seed=0, **fields):
        image = _picture(seed) if image is None else np.asarray(image)
        mask = _tumour(image.shape) if mask is None else np.asarray(mask)
        stored = {
            "PID": np.array([[ord(c)] for c in pid], np.uint16),
            "image": image.T,
            "label": np.array([[1.0]]),
            "tumorBorder": np.array([[35.0, 19.0, 41.0, 25.0, 35.0, 31.0]]),
            "tumorMask": mask.astype(np.uint8).T if mask.dtype == bool else mask.T,
        } | fields
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in stored.items():
                if value is not None:
                    file[f"cjdata/{name}"] = value
        return path

    return write


@pytest.fixture(scope="session")
def write_cvind():
    """`write_cvind(path, folds)` writes the author's list of folds."""

    def write(path, folds):
        with h5py.File(path, "w") as file:
            file["cvind"] = np.array(folds, float)[:, None]
        return path

    return write


@pytest.fixture
def folder(tmp_path, write_mat, write_cvind):
    """`root/data/1.mat` to `10.mat`, two of each patient id in PATIENTS, and `root/cvind.mat`."""
    root, number, cvind = tmp_path / "brain", 0, []
    for pid, (label, fold) in PATIENTS.items():
        for _ in range(2):
            number += 1
            path = root / "data" / f"{number}.mat"
            write_mat(path, pid=pid, label=np.array([[float(label)]]), seed=number)
            cvind.append(fold)
    write_cvind(root / "cvind.mat", cvind)
    return root


@pytest.fixture
def slices(folder):
    """The ten slices of `folder`."""
    return [figshare.read_slice(folder / "data" / f"{n}.mat") for n in range(1, 11)]


@pytest.fixture
def random_images():
    """`random_images(B, H, W)` -> (B, 1, H, W) float32 in [0, 1], smooth enough to interpolate."""

    def make(*shape, seed=0, dtype=torch.float32):
        rng = np.random.default_rng(seed)
        images = torch.from_numpy(rng.random((shape[0], 1, *shape[1:])))
        kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64) / 9
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.conv2d(padded, kernel).to(dtype)

    return make


@pytest.fixture(scope="session")
def brains(tmp_path_factory):
    """A folder of 15 small synthetic patients, two slices each."""
    folder = tmp_path_factory.mktemp("brains") / "data"
    phantom.write_figshare(folder, patients=15, slices_per_patient=2, seed=1, size=128)
    return folder


@pytest.fixture(scope="session")
def ran_all(brains, tmp_path_factory):
    """The notebooks on slices, run once for all tests that look at them; nobody else's network.

    Two have kernels and pages; the others are run in this process, which takes half the time, since
    other tests run 03 and 04 in kernels, too.
    """
    out = tmp_path_factory.mktemp("ran_all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        given = small.parameters_of("01") | small.parameters_of("02")
        results = run.run(["01", "02"], data=brains, out=out, parameters=given, at_a_time=1)
        assert [(r.notebook[:2], r.error) for r in results] == [("01", None), ("02", None)]
        for number in ("03", "04", "05", "06", "07"):
            small.played(number, brains, out)
    records = sorted(out.glob("0*/results.json"))
    values = {r.parent.name: report.load_record(r.parent)["values"] for r in records}
    return small.Ran(brains, out, values)
