"""The figshare brain tumour data set: 3064 T1-weighted contrast-enhanced slices of 233 patients.

Jun Cheng, *brain tumor dataset*, doi 10.6084/m9.figshare.1512427. Each slice is a MATLAB v7.3 file
(HDF5) named `N.mat` with the struct `cjdata`: image, tumorMask, tumorBorder, label and PID.
MATLAB stores columns first, so that every array is transposed when read through HDF5.
`cvind.mat` holds the author's five folds.
"""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsr_lib.case import Case
from medsr_lib.data import splits
from medsr_lib.fetch import download

__all__ = ["TUMOURS", "download", "find", "read_slice", "with_folds"]

TUMOURS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FIELDS = ("PID", "image", "label", "tumorBorder", "tumorMask")
HUGE = 1e30  # no intensity or coordinate; float32 ends at 3e38


def read_slice(path: str | Path, *, percentiles: tuple[float, float] = (0.0, 100.0)) -> Case:
    """Read one `N.mat`, upright.

    The image is normalised by a rule that depends on the slice alone: `percentiles` of its stored
    intensities become 0 and 1 (the default is its minimum and maximum), and what lies outside is
    clipped.

    Returns:
        The case; `id` is the number in the file's name, `patient` the PID without the letter that
        marks a repeat examination (233 PIDs are 209 patients). `about` holds

        - pid: the examination's PID as stored, `MR040240B`;
        - border: (n, 2) float32, the outline as (x, y) = (column, row) in pixels, 0 the first
          centre;
        - raw_min, raw_max: the stored intensities that became 0 and 1.

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
        image = torch.from_numpy(raw.astype(np.float32)).sub_(low).div_(high - low).clamp_(0, 1)
        pid = _pid(fields["PID"])
        return Case(
            id=path.stem,
            patient=re.sub(r"(?<=\d)[A-Za-z]$", "", pid),
            label=_tumour(fields["label"]),
            image=image,
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


def _pid(stored: np.ndarray) -> str:
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


def find(folder: Path) -> list[Path]:
    """The `N.mat` files in or below a folder (`data/`, `dataset/data/`), by number."""
    paths = [p for p in folder.rglob("*.mat") if p.name != "cvind.mat" and p.name[0] != "."]
    return sorted(paths, key=lambda p: (not p.stem.isdigit(), p.stem.zfill(9), p))


def with_folds(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """An index with the author's folds, where `cvind.mat` lies beside the slices or above them.

    The examinations of one patient are united.

    Raises:
        ValueError: a `cvind.mat` that is none, or whose folds split an examination.
    """
    cvind = _find_cvind(folder, Path(table["path"].iloc[0]).parent)
    return table if cvind is None else table.assign(fold=splits.from_cvind(cvind, table))


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
