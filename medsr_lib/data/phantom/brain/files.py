"""Synthetic brain slices with tumours, written in the layout of the figshare set.

The set *brain tumor dataset* (Jun Cheng, doi 10.6084/m9.figshare.1512427) holds one MATLAB v7.3
file a slice (transposed arrays, a tumour outline in MATLAB's 1-based coordinates, patient ids as
character codes) and a five-fold index by patient. `write_figshare` writes the same layout, drawn by
the other files here, so that everything that reads the original runs without it.
"""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from medsr_lib import checks
from medsr_lib.data.figshare import TUMOURS
from medsr_lib.data.phantom import files
from medsr_lib.data.phantom.brain.head import NORMAL, PLANES, Head, make_head
from medsr_lib.data.phantom.brain.picture import brain_mask, draw
from medsr_lib.data.phantom.brain.tumour import Tumour, make_tumour
from medsr_lib.files import atomic

VERSION = 2  # of the drawing: a folder drawn by another one is not taken for the same phantom
SHARES = {"meningioma": 0.23, "glioma": 0.47, "pituitary": 0.30}  # original: 708, 1426, 930 slices
FOLDS = 5
# What notebooks run on by default: 16 tested patients, at a quarter of the original's pixels.
EMBEDDED = {"patients": 80, "slices_per_patient": 2, "seed": 0, "size": 256}
RAW_MAX = (300.0, 12_000.0)  # of an examination's brightest raw value; the original: 238 to 12 740
# mm from slice to slice, less where the tumour is small. The original's slices are 6 mm thick and
# 1 mm apart (Cheng et al. 2015, PLoS ONE 10(10):e0140381).
SLICE_STEP = 7.0
_TWICE = 8  # one patient in so many is examined twice
_EVEN = 15  # patients drawn evenly over tumours and folds, before SHARES decides
_USERBLOCK = 512  # bytes before the HDF5 signature in a MATLAB v7.3 file
_LEAST = {"patients": 1, "slices_per_patient": 1, "seed": 0, "size": 64}


@dataclass(frozen=True)
class Examination:
    """One visit of one patient: what all of its slices share."""

    patient_id: str
    person: int  # both examinations of a patient share it
    repeat: bool
    slices: range  # of all slices of the patient
    tumour: str
    plane: str
    fold: int  # 1 to 5


def write_figshare(
    root: str | os.PathLike[str],
    *,
    patients: int,
    slices_per_patient: int,
    seed: int,
    size: int = 512,
    progress: files.Progress = files.bar,
) -> Path:
    """Write synthetic slices as `root/data/N.mat`, and their folds as `root/cvind.mat`.

    A patient's slices do not depend on how many other patients there are. One patient in eight is
    examined twice: the second half of the slices bears an id that differs by its last letter, and
    lies in the same fold. All three tumours occur from 3 patients on, and in every fold from 15 on.
    A folder that holds this phantom already is left as it is; nothing of one that was interrupted
    is left behind.

    Args:
        root: folder to write; made when missing.
        patients: number of patients.
        slices_per_patient: neighbouring slices of each.
        seed: the same seed gives the same arrays.
        size: height and width in pixels, 64 or more; the field of view is the same.
        progress: as in `files.write`.

    Returns:
        `root` as a path.

    Raises:
        ValueError: an argument that is out of range.
        FileExistsError: the folder holds other files, or not all of the phantom.
    """
    recipe = {
        "patients": patients,
        "slices_per_patient": slices_per_patient,
        "seed": seed,
        "size": size,
    }
    for name, value in recipe.items():
        checks.whole(name, value, least=_LEAST[name])
    root, recipe = Path(root), {"phantom": VERSION, **recipe}
    title = "MATLAB 7.3 MAT-file, medsr phantom " + " ".join(str(v) for v in recipe.values())
    slices = _slices(patients, slices_per_patient, seed)

    def jobs(folder: Path) -> dict[Path, files.Job]:
        of: dict[Path, files.Job] = {}
        for number, (visit, k) in enumerate(slices, 1):
            path, place = folder / "data" / f"{number}.mat", (k, slices_per_patient)
            of[path] = partial(_write_slice, path, visit, place, seed=seed, size=size, title=title)
        cvind = folder / "cvind.mat"
        return of | {
            cvind: partial(_write_folds, cvind, [visit.fold for visit, _ in slices], title)
        }

    files.write(root, recipe, jobs, progress)
    return root


def figshare_brains(
    *, patients: int, slices_per_patient: int, seed: int, size: int = 512
) -> Iterator[NDArray[np.bool_]]:
    """The brain in each slice of `write_figshare`, in the order of its files.

    The files do not hold it, as those of the original do not: it is the truth that a method which
    looks for the brain can be tested on. A tumour may reach beyond it.

    Args:
        patients, slices_per_patient, seed, size: as in `write_figshare`.

    Yields:
        (size, size) bool: cerebrum, cerebellum and stem with the fluid in their folds, ventricles
        and basal cisterns, without the membranes and the fluid around them.
    """
    for visit, k in _slices(patients, slices_per_patient, seed):
        head, _, level = _anatomy(visit, (k, slices_per_patient), seed)
        yield brain_mask(head, plane=visit.plane, level=level, size=size)


def examinations(patients: int, *, slices_per_patient: int, seed: int) -> list[Examination]:
    """The examinations of a phantom in order, each with its id, slices, tumour, plane and fold."""
    kinds = _tumours(patients)
    start = int(np.random.default_rng([seed]).integers(980_000))
    visits = []
    for person in range(patients):
        twice = person % _TWICE == _TWICE // 2 and slices_per_patient > 1
        cut = (slices_per_patient + 1) // 2 if twice else slices_per_patient
        for repeat in (False, True)[: 1 + twice]:
            visit = Examination(
                patient_id=_patient_id(person, start, "AB"[repeat] if twice else ""),
                person=person,
                repeat=repeat,
                slices=range(cut, slices_per_patient) if repeat else range(cut),
                tumour=kinds[person],
                plane=PLANES[(person + person // 3) % 3],  # every tumour in every plane
                fold=person % FOLDS + 1,
            )
            visits.append(visit)
    return visits


def _slices(patients: int, slices_per_patient: int, seed: int) -> list[tuple[Examination, int]]:
    """Every slice in the order of the files: its examination, its number among the patient's."""
    visits = examinations(patients, slices_per_patient=slices_per_patient, seed=seed)
    return [(visit, k) for visit in visits for k in visit.slices]


def _tumours(patients: int) -> list[str]:
    """Each patient's tumour: evenly at first, then what SHARES lacks most."""
    kinds = ["glioma", "meningioma", "pituitary"] * (_EVEN // 3)
    while len(kinds) < patients:
        lack = {k: share * (len(kinds) + 1) - kinds.count(k) for k, share in SHARES.items()}
        kinds.append(max(lack, key=lambda k: lack[k]))
    return kinds


def _patient_id(person: int, start: int, letter: str) -> str:
    """Like the original's: five or six digits, or MR, six digits and sometimes a letter."""
    # 417 311 has no factor in common with 980 000, so that no number comes twice.
    number = 10_000 + (start + 417_311 * person) % 980_000
    if letter or person % 2:
        return f"MR{number:06d}{letter}"
    return str(number)


def _write_slice(
    path: Path, visit: Examination, place: tuple[int, int], *, seed: int, size: int, title: str
) -> None:
    image, mask, border = _draw_slice(visit, place, seed=seed, size=size)
    codes = np.array([ord(c) for c in visit.patient_id], np.uint16)
    with _new_mat(path, title) as file:
        group = file.create_group("cjdata")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        _put(group, "PID", codes[:, None], "char", decode=2)
        _put(group, "image", image.T, "int16")
        label = next(number for number, name in TUMOURS.items() if name == visit.tumour)
        _put(group, "label", np.array([[float(label)]]), "double")
        _put(group, "tumorBorder", border.reshape(1, -1) + 1, "double")  # MATLAB counts from 1
        _put(group, "tumorMask", mask.T.astype(np.uint8), "logical", decode=1)


def _draw_slice(
    visit: Examination, place: tuple[int, int], *, seed: int, size: int
) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.float64]]:
    """Image (size, size), mask (size, size) and border (n, 2) as x, y from 0; upright."""
    head, tumour, level = _anatomy(visit, place, seed)
    shared = np.random.default_rng([seed, visit.person, 2 + visit.repeat])
    raw_max = math.exp(shared.uniform(*np.log(RAW_MAX)))
    own = np.random.default_rng([seed, visit.person, 2 + visit.repeat, place[0]])
    picture, outline = draw(head, tumour, plane=visit.plane, level=level, size=size, rng=own)
    raw = np.round(picture * (raw_max * own.uniform(0.96, 1))).astype(np.int16)
    border = _thin(outline, step=4 * size / 512)
    mask = polygon2mask((size, size), border[:, ::-1])
    return raw, mask, border


def _anatomy(visit: Examination, place: tuple[int, int], seed: int) -> tuple[Head, Tumour, float]:
    """Whose head, which tumour, and the slice's level in mm.

    `place` is the slice's number and how many there are; they lie in the tumour's middle part.
    """
    person = np.random.default_rng([seed, visit.person, 1])
    head = make_head(person, visit.plane)
    tumour = make_tumour(visit.tumour, person)
    if visit.repeat:
        shared = np.random.default_rng([seed, visit.person, 2 + visit.repeat])
        shared.uniform()  # of the intensities
        tumour = replace(tumour, radii=float(shared.uniform(0.8, 1.15)) * tumour.radii)
    reach = float(tumour.radii[NORMAL[visit.plane]])
    spacing = min(SLICE_STEP, reach / place[1])
    level = float((head.turn @ (head.scale * tumour.centre))[NORMAL[visit.plane]])
    return head, tumour, level + spacing * (place[0] - (place[1] - 1) / 2)


def _thin(outline: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Keep a point about every `step` pixels; the original's borders have some 25 to 100."""
    length = np.hypot(*np.diff(outline, axis=0).T)
    travelled = np.concatenate([[0], np.cumsum(length)])
    stops = np.linspace(0, travelled[-1], max(12, round(travelled[-1] / step)) + 1)[:-1]
    return np.stack([np.interp(stops, travelled, axis) for axis in outline.T], axis=1)


# --- files ---------------------------------------------------------------------------------------


@contextmanager
def _new_mat(path: Path, title: str) -> Iterator[h5py.File]:
    """A MATLAB v7.3 file, built in memory: HDF5 takes a full disk badly."""
    built = io.BytesIO()
    with h5py.File(built, "w", userblock_size=_USERBLOCK) as file:
        yield file
    built.seek(0)
    # 116 bytes of text, 8 of an offset that is unused, version 2.0, byte order.
    built.write(title.ljust(116).encode("ascii") + bytes(8) + b"\x00\x02IM")
    with atomic(path) as temporary:
        temporary.write_bytes(built.getbuffer())


def _put(
    group: h5py.Group, name: str, values: NDArray[Any], matlab_class: str, decode: int | None = None
) -> None:
    packed = {"compression": "gzip", "compression_opts": 1} if values.size > 4096 else {}
    data = group.create_dataset(name, data=values, **packed)
    data.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    if decode is not None:
        data.attrs["MATLAB_int_decode"] = np.int32(decode)


def _write_folds(path: Path, folds: list[int], title: str) -> None:
    with _new_mat(path, title) as file:
        _put(file, "cvind", np.array([folds], np.float64), "double")
