"""The figshare brain tumour data set: 3064 T1-weighted contrast-enhanced slices of 233 patients.

Cheng, Jun: *brain tumor dataset*, figshare, article 1512427, version 5 (2017), CC BY 4.0, doi
10.6084/m9.figshare.1512427. Each slice is a MATLAB v7.3 file (HDF5) named `N.mat` with the struct
`cjdata`: image, tumorMask, tumorBorder, label and PID. MATLAB stores columns first, so that every
array is transposed when read through HDF5. `cvind.mat` holds the author's five folds. The article
has four zips of 766 slices each, 880 MB together, and `cvind.mat`.
"""

import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsr_lib import fetch, pictures
from medsr_lib.case import Case
from medsr_lib.data import splits
from medsr_lib.data.layouts import visible
from medsr_lib.files import atomic

TUMOURS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FIELDS = ("PID", "image", "label", "tumorBorder", "tumorMask")
MANY = 50  # slices of which no two share a PID: then it does not tell the patient
UNKNOWN = "no PID has two slices, so patients are unknown"
SUMS = "slices.sfv"  # beside the slices: the CRC-32 that each has in the article's zips
FOLDS = 5  # the author's
HUGE = 1e30  # no intensity or coordinate; float32 ends at 3e38


def read_slice(path: str | Path) -> Case:
    """Read one `N.mat`, upright; the least and the greatest stored intensity become 0 and 1.

    Returns:
        The case; `id` is the number in the file's name, `patient` the PID without the letter that
        marks a repeat examination (233 PIDs are 209 patients). `about` holds

        - pid: the examination's PID as stored, `MR040240B`;
        - border: (n, 2) float32, the outline as (x, y) = (column, row) in pixels, 0 the first
          centre; n is 0 where none is drawn;
        - raw_min, raw_max: the stored intensities that became 0 and 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not such a slice, or its content is unusable; names file and reason.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        _compare_sum(path)
        fields = _read_fields(path)
        raw, mask = _image(fields["image"]), _mask(fields["tumorMask"])
        if mask.shape != raw.shape:
            raise ValueError(f"mask is {mask.shape}, image is {raw.shape}; they must be equal")
        low, high = float(raw.min()), float(raw.max())
        pid = _pid(fields["PID"])
        return Case(
            id=path.stem,
            patient=re.sub(r"(?<=\d)[A-Za-z]$", "", pid),
            label=_tumour(fields["label"]),
            image=pictures.scaled(raw, low, high),
            mask=torch.from_numpy(mask),
            about={
                "pid": pid,
                "border": _border(fields["tumorBorder"]),
                "raw_min": low,
                "raw_max": high,
            },
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_fields(path: Path) -> dict[str, np.ndarray]:
    with _opened(path) as file:
        group = file.get("cjdata")
        if not isinstance(group, h5py.Group):
            raise ValueError(f"no struct `cjdata` (found {sorted(file)}); not a tumour slice")
        missing = [name for name in FIELDS if name not in group]
        if missing:
            raise ValueError(f"`cjdata` has no field {', '.join(missing)}")
        fields = {name: _values(group[name]) for name in FIELDS}
    if all(isinstance(part, bytes) for part in fields["PID"].ravel().tolist()):  # as text
        fields["PID"] = np.frombuffer(b"".join(fields["PID"].ravel().tolist()), np.uint8)
    strange = [name for name, stored in fields.items() if stored.dtype.kind not in "biuf"]
    if strange:
        raise ValueError(f"`cjdata` holds no numbers in {', '.join(strange)}; not a tumour slice")
    return fields


def _values(data: h5py.Dataset) -> np.ndarray:
    """What is stored; nothing where MATLAB notes that it is empty, and stores the sizes instead."""
    pictures.check_size(*data.shape or (), max(data.dtype.itemsize // 8, 1))
    return np.zeros(0) if np.any(data.attrs.get("MATLAB_empty")) else np.asarray(data[()])


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """A MATLAB v7.3 file; what h5py raises, here and while it is read, becomes a ValueError."""
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, LookupError, RuntimeError, TypeError, AttributeError) as error:
        with path.open("rb") as raw:
            older = raw.read(16) == b"MATLAB 5.0 MAT-f"
        raise ValueError(
            "saved in an older MATLAB format: load it in MATLAB and save it with -v7.3"
            if older
            else "cannot be read as a MATLAB v7.3 (HDF5) file: truncated, damaged or another "
            f"format; download it again ({error})"
        ) from None


def _image(stored: np.ndarray) -> np.ndarray:
    if stored.ndim != 2 or stored.size == 0 or stored.dtype.kind not in "iuf":
        raise ValueError(f"image is {stored.dtype} {stored.shape}; expected a numeric (H, W)")
    low, high = float(stored.min()), float(stored.max())
    most = 2**53 if stored.dtype.kind in "iu" else HUGE  # float64 has no greater whole numbers
    if not -most < low <= high < most:  # false for NaN, too
        raise ValueError("image holds NaN or infinite values, or too large ones")
    if low == high:
        raise ValueError(f"image is constant ({low:g})")
    return np.ascontiguousarray(stored.T)


def _mask(stored: np.ndarray) -> np.ndarray:
    values = np.unique(stored)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"mask is not binary (values {values[:5].tolist()} ...); expected 0 and 1")
    if not stored.any():
        raise ValueError("mask is empty; every slice of this data set shows a tumour")
    return np.ascontiguousarray(stored.T.astype(bool))


def _tumour(stored: np.ndarray) -> str:
    label = float(np.asarray(stored).ravel()[0]) if np.size(stored) == 1 else float("nan")
    if label not in TUMOURS:
        raise ValueError(
            f"label is {np.ravel(stored).tolist()}; expected 1 (meningioma), 2 (glioma) or "
            "3 (pituitary)"
        )
    return TUMOURS[int(label)]


def _pid(stored: np.ndarray) -> str:
    """Decode character codes, a row or a column of them."""
    codes = np.ravel(stored)
    if codes.dtype.kind in "iuf" and codes.size and ((codes > 32) & (codes < 127)).all():
        text = "".join(chr(int(code)) for code in codes)
        if re.fullmatch(r"[A-Za-z0-9_-]+", text):
            return text
    raise ValueError(f"PID is unreadable ({codes[:8].tolist()}); expected character codes")


def _border(stored: np.ndarray) -> Tensor:
    """MATLAB's x1, y1, x2, y2, ... counted from 1, or its n x 2, as pairs counted from 0."""
    vector = stored.size == max(stored.shape, default=0)
    pairs = stored.ndim == 2 and 2 in stored.shape
    if stored.dtype.kind not in "iuf" or stored.size % 2 or not (vector or pairs):
        raise ValueError(f"border is {stored.dtype} {stored.shape}; expected x, y pairs")
    if not (np.abs(stored.astype(float)) < HUGE).all():
        raise ValueError("border holds NaN or infinite values")
    rows = stored.T if len(stored) == 2 else stored
    return torch.from_numpy(rows.reshape(-1, 2).astype(np.float32) - 1.0)


@lru_cache
def _sums(path: Path, changed: int) -> dict[str, int]:
    """The CRC of each slice in the list that `download` wrote."""
    del changed
    found = re.findall(r"^(\d+\.mat) ([0-9A-F]{8})$", path.read_text("latin-1"), re.MULTILINE)
    return {name: int(crc, 16) for name, crc in found}


def _compare_sum(path: Path) -> None:
    sums = path.with_name(SUMS)
    known = _sums(sums, sums.stat().st_mtime_ns) if sums.is_file() else {}
    if path.name in known and zlib.crc32(path.read_bytes()) != known[path.name]:
        raise ValueError(
            "not as it was downloaded (another CRC than in slices.sfv): delete it and call "
            "download again, or delete slices.sfv if you changed the slices yourself"
        )


def find(folder: Path) -> list[Path]:
    """The `N.mat` files in or below a folder (`data/`, `dataset/data/`), by number."""
    paths = [path for path in visible(folder) if path.suffix.lower() == ".mat"]
    paths = [path for path in paths if path.name.lower() != "cvind.mat"]
    return sorted(paths, key=lambda p: (not p.stem.isdigit(), p.stem.zfill(9), p))


def find_folds(folder: Path) -> list[Path]:
    """The author's list of folds: `cvind.mat` beside the slices or above them, or none."""
    places = [place for path in find(folder)[:1] for place in list(path.parents)[:3]]
    name = "[Cc][Vv][Ii][Nn][Dd].[Mm][Aa][Tt]"
    return [path for place in [*places, folder] for path in sorted(place.glob(name))][:1]


def find_others(folder: Path) -> list[Path]:
    """What is read beside the slices: the list of folds, and those of their checksums."""
    sums = {path.with_name(SUMS) for path in find(folder)}
    return [*find_folds(folder), *sorted(path for path in sums if path.is_file())]


def with_folds(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """An index with the author's folds; a patient's examinations are united.

    Without `cvind.mat`, patients are drawn into as many folds; `attrs["drawn"]` says so, and
    `splits.split` warns of it.

    A copy whose slices all have a PID of their own does not know the patients (in the original, a
    patient has 13 slices on average, so that 50 slices without any in common do not occur by
    chance). Runs of slices (`splits.runs`) then stand for patients; the column `pid` stays as
    stored, and the first slice's notes say so.

    Raises:
        ValueError: an invalid `cvind.mat`, or whose folds split an examination.
    """
    unknown = len(table) >= MANY and not table["pid"].duplicated().any()
    for path in find_folds(folder):
        cvind = _read_cvind(path)
        table = table.assign(fold=splits.from_cvind(cvind, table))
        if unknown:
            table = table.assign(patient=splits.runs(table, folds=cvind))
            said = f"runs of slices stand for them, {table['patient'].nunique()} of {len(table)}"
            return _noted(table, f"{UNKNOWN}: {said}")
        return table
    if table["patient"].nunique() > 1:
        table = table.assign(fold=splits.by_patient(table, n_folds=FOLDS, seed=0))
        table.attrs["drawn"] = (
            f"no cvind.mat: {table['fold'].nunique()} folds of patients were drawn at random, "
            "always the same"
        )
    said = "each counts as one, so that intervals are too narrow; cvind.mat would tell more"
    return _noted(table, f"{UNKNOWN}: {said}") if unknown else table


def _noted(table: pd.DataFrame, text: str) -> pd.DataFrame:
    """The table with a note of what concerns the folder, at its first slice."""
    first = table.index == table.index[0]
    said = table["notes"].where(table["notes"] == "", table["notes"] + "; ") + text
    return table.assign(notes=table["notes"].mask(first, said))


def _read_cvind(path: Path) -> np.ndarray:
    """The fold of each slice, whole numbers from 1."""
    try:
        with _opened(path) as file:
            folds = np.ravel(_values(file["cvind"]))
        if folds.dtype.kind not in "iuf":
            raise ValueError(f"it holds {folds.dtype}")
        folds = folds.astype(np.float64)
        if (strange := folds[~((folds > 0) & (folds < 1e9) & (folds % 1 == 0))]).size:
            raise ValueError(f"a fold is a whole number from 1, found {strange[0]:g}")
    except ValueError as error:
        raise ValueError(
            f"{path}: no list of folds can be read from it; delete it and fetch it again ({error})"
        ) from None
    return folds.astype(int)


# --- download ------------------------------------------------------------------------------------

PAGE = "https://doi.org/10.6084/m9.figshare.1512427"
# Tried in this order; both lead to the same stored file. figshare.com/ndownloader/... is not among
# them: other projects report (2026) that it answers programs with an empty page, HTTP status 202.
ADDRESSES = (
    "https://ndownloader.figshare.com/files/{file_id}",
    "https://api.figshare.com/v2/file/download/{file_id}",
)
N_SLICES = 3064
UNPACKED = 1.5  # bytes of slices per byte of zip: an estimate


@dataclass(frozen=True)
class RemoteFile:
    """One file of the article: its name, its number at figshare, its MD5 and size, its slices."""

    name: str
    file_id: int
    md5: str
    n_bytes: int
    slices: range = range(0)


def _zip(first: int, last: int, *rest: *tuple[int, str, int]) -> RemoteFile:
    name = f"brainTumorDataPublic_{first}-{last}.zip"
    return RemoteFile(name, *rest, range(first, last + 1))


# Numbers, MD5 and sizes were read in several independent public programs that fetch this article
# (DOI above); they agree, but were not checked against the site. Only the MD5 decides; the sizes
# serve the check of the disk.
ZIPS = (
    _zip(1, 766, 3381290, "74b949ad33f042e6e103523091cd1428", 214_401_279),
    _zip(767, 1532, 3381296, "7e8a875500d2c8a346f270538e29890e", 217_848_429),
    _zip(1533, 2298, 3381293, "8227bf6080cb71f15a88be8d25c79ae7", 215_563_856),
    _zip(2299, 3064, 3381302, "b378a80d6174e5317d59eb28430c6652", 231_679_762),
)
CVIND = RemoteFile("cvind.mat", 7005344, "5ea82eb3212c9fcb84290ccf0beb486d", 5_736)


def download(root: str | Path) -> Path:
    """Fetch the data set: afterwards `root/data/1.mat` to `3064.mat` and `root/cvind.mat`.

    `root/data/slices.sfv` lists the slices' checksums; whoever reads a slice compares it.

    Call it as often as you like: what is there is not fetched again, a transfer that broke off goes
    on where it stopped, and when everything is there no request is made. The zips are fetched,
    unpacked and removed one after the other. Where figshare turns programs away, files that were
    fetched with a browser and put into `root` are taken as they are.

    Args:
        root: folder for the data set; made when missing.

    Returns:
        `root` as a path.

    Raises:
        ConnectionError: a file could not be fetched; what came of it is kept for the next call.
        OSError: too little space on the disk; nothing was fetched.
        ValueError: a file is not what it should be: MD5, names in a zip, content of cvind.mat.
        FileNotFoundError: the zips did not hold all the slices.
        ImportError: requests is not installed.
    """
    root = Path(root)
    (root / "data").mkdir(parents=True, exist_ok=True)
    pending = [remote for remote in ZIPS if _missing(root, remote.slices)]
    if pending:
        needed, free = _still_needed(root), shutil.disk_usage(root).free
        if free < needed:
            raise OSError(
                f"{needed / 1e9:.2f} GB are needed in {root}, {free / 1e9:.2f} GB are free. "
                "Make room or choose a folder on another disk."
            )
    if not (root / CVIND.name).is_file():
        _fetch(CVIND, root)
    _check_folds(root / CVIND.name)
    for remote in pending:
        archive = _fetch(remote, root)
        wanted = {f"{number}.mat" for number in remote.slices}
        sums = fetch.unpack(archive, root / "data", wanted=wanted, page=PAGE)
        _keep_sums(sums, root / "data" / SUMS)
        archive.unlink()
    if missing := _missing(root, range(1, N_SLICES + 1)):
        first = ", ".join(str(number) for number in missing[:5])
        raise FileNotFoundError(
            f"{len(missing)} of the {N_SLICES} slices are not in {root / 'data'}, the first of "
            f"them {first}. Call download again; if that does not help, the zips do not hold them."
        )
    return root


def _fetch(remote: RemoteFile, root: Path) -> Path:
    urls = [address.format(file_id=remote.file_id) for address in ADDRESSES]
    return fetch.fetch(urls, root / remote.name, md5=remote.md5, page=PAGE)


def _keep_sums(new: dict[str, int], path: Path) -> None:
    """Add to the list of checksums that `read_slice` looks at."""
    sums = new | (_sums(path, path.stat().st_mtime_ns) if path.is_file() else {})
    with atomic(path) as temporary:
        temporary.write_text("".join(f"{name} {crc:08X}\n" for name, crc in sorted(sums.items())))


def _check_folds(path: Path) -> None:
    """Make sure that cvind.mat holds a fold from 1 to 5 for every slice."""
    folds = _read_cvind(path)
    if folds.size != N_SLICES or not np.isin(folds, [1, 2, 3, 4, 5]).all():
        raise ValueError(
            f"{path} should hold {N_SLICES} folds from 1 to 5, but there are {folds.size} values, "
            f"among them {np.unique(folds)[:8].tolist()}. Delete it and call download again."
        )


def _missing(root: Path, slices: range) -> list[int]:
    return [number for number in slices if not (root / "data" / f"{number}.mat").is_file()]


def _still_needed(root: Path) -> int:
    """Bytes the disk must still take: all slices and, for a while, one zip, minus what is here."""
    sizes = [remote.n_bytes for remote in ZIPS]
    here = sum(path.stat().st_size for path in (*root.glob("*.zip*"), *root.glob("data/*.mat")))
    return int(UNPACKED * sum(sizes)) + max(sizes) - here
