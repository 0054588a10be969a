"""The figshare brain tumour data set: 3064 T1-weighted contrast-enhanced slices of 233 patients.

Jun Cheng, *brain tumor dataset*, doi 10.6084/m9.figshare.1512427. Each slice is a MATLAB v7.3 file
(HDF5) named `N.mat` with the struct `cjdata`: image, tumorMask, tumorBorder, label and PID.
MATLAB stores columns first, so that every array is transposed when read through HDF5.
`cvind.mat` holds the author's five folds.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsr_lib.data import splits, unusable
from medsr_lib.fetch import download

__all__ = ["TUMOURS", "TumourSlice", "download", "index", "patient_base", "read_slice"]

TUMOURS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FIELDS = ("PID", "image", "label", "tumorBorder", "tumorMask")
HUGE = 1e30  # no intensity or coordinate; float32 ends at 3e38


@dataclass(frozen=True, repr=False)
class TumourSlice:
    """One slice, upright, normalised once by its own range.

    Attributes:
        image: (H, W) float32 in [0, 1].
        mask: (H, W) bool, true inside the tumour.
        tumour: "meningioma", "glioma" or "pituitary".
        patient_id: the examination's PID as stored, `MR040240B`.
        border: (n, 2) float32, the outline as (x, y) = (column, row) in pixels, 0 the first centre.
        raw_min, raw_max: the stored intensities that became 0 and 1.
        slice_id: the number in the file's name, as text.
        fold: the author's fold, 1 to 5, where `cvind.mat` was read (`index`), else None.
        raw: (H, W) the stored intensities.
    """

    image: Tensor
    mask: Tensor
    tumour: str
    patient_id: str
    border: Tensor
    raw_min: float
    raw_max: float
    slice_id: str = ""
    fold: int | None = None
    raw: np.ndarray | None = None

    @property
    def patient(self) -> str:
        """The patient, whatever the examination: the PID without its letter."""
        return patient_base(self.patient_id)

    def __repr__(self) -> str:
        h, w = self.image.shape
        return (
            f"TumourSlice({self.slice_id}: {self.tumour}, patient {self.patient_id}, {h} x {w}, "
            f"tumour {int(self.mask.sum())} pixels, raw {self.raw_min:g}..{self.raw_max:g})"
        )


def patient_base(patient_id: str) -> str:
    """Strip the letter that marks a repeat examination: 233 PIDs are 209 patients.

    >>> patient_base("MR040240B"), patient_base("103414")
    ('MR040240', '103414')
    """
    return re.sub(r"(?<=\d)[A-Za-z]$", "", patient_id)


def read_slice(path: str | Path, *, percentiles: tuple[float, float] = (0.0, 100.0)) -> TumourSlice:
    """Read one `N.mat`.

    The image is normalised by a rule that depends on the slice alone: `percentiles` of its stored
    intensities become 0 and 1 (the default is its minimum and maximum), and what lies outside is
    clipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not such a slice, or its content is unusable; names file and reason.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        fields = _read_fields(path)
        raw, mask = _image(fields["image"]), _mask(fields["tumorMask"])
        if mask.shape != raw.shape:
            raise ValueError(f"mask is {mask.shape}, image is {raw.shape}; they must be equal")
        low, high = (float(v) for v in np.percentile(raw, percentiles))
        if not low < high:
            raise ValueError(f"image is constant ({low:g}) between percentiles {percentiles}")
        return TumourSlice(
            image=normalise(torch.from_numpy(raw.astype(np.float32)), low, high),
            mask=torch.from_numpy(mask),
            tumour=_tumour(fields["label"]),
            patient_id=_patient_id(fields["PID"]),
            border=_border(fields["tumorBorder"]),
            raw_min=low,
            raw_max=high,
            slice_id=path.stem,
            raw=raw,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def normalise(raw: Tensor, low: float, high: float) -> Tensor:
    """Map float32 intensities `low`..`high` to [0, 1] and clip, in place."""
    return raw.sub_(low).div_(high - low).clamp_(0.0, 1.0)


def _read_fields(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path) as file:
            group = file.get("cjdata")
            if not isinstance(group, h5py.Group):
                raise ValueError(f"no struct `cjdata` (found {sorted(file)}); not a tumour slice")
            missing = [name for name in FIELDS if name not in group]
            if missing:
                raise ValueError(f"`cjdata` has no field {', '.join(missing)}")
            fields = {name: group[name][()] for name in FIELDS}
    except (OSError, KeyError, RuntimeError, TypeError) as error:  # h5py raises all of these
        raise ValueError(
            "cannot be read as a MATLAB v7.3 (HDF5) file: truncated, damaged or another format; "
            f"download it again ({error})"
        ) from None
    strange = [name for name, stored in fields.items() if stored.dtype.kind not in "biuf"]
    if strange:
        raise ValueError(f"`cjdata` holds no numbers in {', '.join(strange)}; not a tumour slice")
    return fields


def _image(stored: np.ndarray) -> np.ndarray:
    if stored.ndim != 2 or stored.size == 0 or stored.dtype.kind not in "iuf":
        raise ValueError(f"image is {stored.dtype} {stored.shape}; expected a numeric (H, W)")
    if not -HUGE < stored.min() <= stored.max() < HUGE:  # false for NaN, too
        raise ValueError("image holds NaN or infinite values")
    if stored.min() == stored.max():
        raise ValueError(f"image is constant ({stored.flat[0]})")
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


def _patient_id(stored: np.ndarray) -> str:
    """Decode character codes, a row or a column of them."""
    codes = np.ravel(stored)
    if codes.dtype.kind in "iuf" and codes.size and ((codes > 32) & (codes < 127)).all():
        text = "".join(chr(int(code)) for code in codes)
        if re.fullmatch(r"[A-Za-z0-9_-]+", text):
            return text
    raise ValueError(f"PID is unreadable ({codes[:8].tolist()}); expected character codes")


def _border(stored: np.ndarray) -> Tensor:
    """MATLAB's x1, y1, x2, y2, ... counted from 1, as pairs counted from 0."""
    flat = np.ravel(stored)
    if flat.dtype.kind not in "iuf" or flat.size % 2:
        raise ValueError(f"border is {flat.dtype} with {flat.size} values; expected x, y pairs")
    if not (np.abs(flat) < HUGE).all():
        raise ValueError("border holds NaN or infinite values")
    return torch.from_numpy(flat.reshape(-1, 2).astype(np.float32) - 1.0)


def index(root: str | Path, *, skip_bad: bool = False, progress: bool = True) -> pd.DataFrame:
    """List the slices in a folder: a row each, sorted by number.

    Args:
        root: the folder, with `N.mat` files in it or in folders below (`data/`, `dataset/data/`).
        skip_bad: leave out files that cannot be used, warn, and list them in `attrs["bad"]`
            (path -> reason), instead of raising.
        progress: show a progress bar.

    Returns:
        Columns slice_id, path, patient_id, patient (without the letter of a repeat examination),
        tumour, fold (from `cvind.mat` beside the slices or above them, <NA> without one; the
        examinations of one patient are united), height, width, tumour_pixels, raw_min, raw_max.

    Raises:
        FileNotFoundError: no such folder, or no slices in it.
        ValueError: unusable files, all of them named, or folds that split an examination.
    """
    root = Path(root)
    paths = _find(root)
    rows: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    pixels_of: dict[bytes, Path] = {}
    numbers: set[str] = set()
    for path in tqdm(paths, "reading slices", disable=not progress, leave=False):
        try:
            row, checksum = _row(path)
            if checksum in pixels_of:
                raise ValueError(f"a duplicate, the same pixels as {pixels_of[checksum]}")
            if row["slice_id"] in numbers:
                raise ValueError(f"a duplicate, slice {row['slice_id']} was there before")
        except (ValueError, OSError) as error:
            bad[str(path)] = str(error).removeprefix(f"{path}: ")
            continue
        pixels_of[checksum] = path
        numbers.add(row["slice_id"])
        rows.append(row)
    if bad:
        unusable.report(bad, len(paths), skip_bad)
    if not rows:
        raise FileNotFoundError(f"{root}: none of its {len(paths)} .mat files is a usable slice")
    table = pd.DataFrame(rows)
    cvind = _find_cvind(root, paths[0].parent)
    unknown = pd.Series(pd.NA, index=table.index, dtype="Int64")
    table.insert(5, "fold", unknown if cvind is None else splits.from_cvind(cvind, table))
    table.attrs["bad"] = bad
    return table


def _find(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; `medsr data figshare {root}` fetches it")
    paths = [p for p in root.rglob("*.mat") if p.name != "cvind.mat" and p.name[0] != "."]
    if not paths:
        raise FileNotFoundError(
            f"{root}: no .mat slices in it; `medsr data figshare DIR` fetches them, "
            "`medsr data phantom DIR` writes synthetic ones"
        )
    return sorted(paths, key=lambda p: (not p.stem.isdigit(), p.stem.zfill(9), p))


def _row(path: Path) -> tuple[dict[str, Any], bytes]:
    """The slice's row of the table, and a checksum of its pixels."""
    s = read_slice(path)
    height, width = s.image.shape
    row = {
        "slice_id": s.slice_id,
        "path": str(path),
        "patient_id": s.patient_id,
        "patient": s.patient,
        "tumour": s.tumour,
        "height": height,
        "width": width,
        "tumour_pixels": int(s.mask.sum()),
        "raw_min": s.raw_min,
        "raw_max": s.raw_max,
    }
    assert s.raw is not None  # read_slice keeps it
    return row, hashlib.sha256(s.raw.tobytes()).digest()  # 32 bits would collide in 1 of 1000 sets


def _find_cvind(root: Path, folder: Path) -> np.ndarray | None:
    """The author's folds (3064,), from `cvind.mat` beside the slices or in a folder above."""
    for place in (folder, folder.parent, folder.parent.parent, root):
        path = place / "cvind.mat"
        if path.is_file():
            try:
                with h5py.File(path) as file:
                    return np.ravel(file["cvind"][()]).astype(int)
            except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
                raise ValueError(
                    f"{path}: no list of folds can be read from it ({error})"
                ) from None
    return None
