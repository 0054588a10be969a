"""Chest radiographs of children: 5856 JPEG files, normal or with bacterial or viral pneumonia.

Kermany et al., *Chest X-Ray Images (Pneumonia)*, CC BY 4.0, doi 10.17632/rscbjbr9sj (Cell 2018,
172:1122). The folders are `train`, `val` and `test`, in each `NORMAL` and `PNEUMONIA`; the archive
of Kaggle holds a second copy of them in `chest_xray/chest_xray`, and in `__MACOSX` files `._*.jpeg`
that are no images.

All that is known of the patients is in the file names. `IM-0115-0001.jpeg` and
`NORMAL2-IM-0115-0001-0002.jpeg` are taken for one patient, IM-0115; `person7_bacteria_24.jpeg` and
`person7_virus_15.jpeg` too, person7 (109 numbers occur with both). Whether numbers were given out
twice is not known: equal ones count as one patient, so that nothing can leak from training into
test, and intervals over patients are rather too wide than too narrow. Normal patients and those
with pneumonia have no names in common; a file whose name belongs to the other class is refused.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from medsr_lib.data import jpeg, parallel, splits, unusable
from medsr_lib.data.jpeg import recompress

__all__ = [
    "LABELS", "SPLITS", "SUBTYPES", "Radiograph", "index", "parts", "read_image", "read_mask",
    "recompress",
]  # fmt: skip

LABELS = ("NORMAL", "PNEUMONIA")
SUBTYPES = ("none", "bacteria", "virus")
SPLITS = ("train", "val", "test")
MASKS = "masks"  # beside the splits; the phantom alone has it
_NORMAL = re.compile(r"(?:NORMAL2-)?(?P<patient>IM-\d+)-\d+(?:-\d+)*")
_PNEUMONIA = re.compile(r"(?P<patient>person\d+)_(?P<subtype>bacteria|virus)_\d+")
_LEFT_BY_PROGRAMS = {"thumbs.db", "desktop.ini"}
_DEPTH = 4  # how far below the root the tree is looked for


@dataclass(frozen=True, repr=False)
class Radiograph:
    """One radiograph.

    Attributes:
        image: (H, W) float32 in [0, 1], the file's grey levels over 255.
        image_id: the file's name without its ending.
        patient: from the name, `IM-0115` or `person7`; see the module.
        label: "NORMAL" or "PNEUMONIA".
        subtype: "none", "bacteria" or "virus".
        channels: 1, or 3 equal ones.
        jpeg_quality: 1 to 100, estimated from the quantisation (`jpeg.quality_of`).
        n_bytes: size of the file.
    """

    image: Tensor
    image_id: str
    patient: str
    label: str
    subtype: str
    channels: int
    jpeg_quality: int
    n_bytes: int

    def __repr__(self) -> str:
        h, w = self.image.shape
        kind = self.label if self.subtype == "none" else f"{self.label} ({self.subtype})"
        return (
            f"Radiograph({self.image_id}: {kind}, patient {self.patient}, {h} x {w}, "
            f"JPEG quality {self.jpeg_quality}, {self.n_bytes / 1000:.0f} kB)"
        )


def read_image(path: str | Path) -> Radiograph:
    """Read one JPEG file.

    Three equal channels are taken as the grey image they are.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, damaged or no JPEG, not 8 bits, CMYK, coloured, or a name that tells
            no patient or belongs to another class than the folder; names file and reason.
    """
    radiograph, pixels, _ = _read(Path(path))
    return Radiograph(image=torch.from_numpy(pixels.astype(np.float32) / 255), **radiograph)


def read_pixels(path: str | Path) -> NDArray[np.uint8]:
    """The grey levels alone, (H, W) uint8; errors as `read_image`."""
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, Any], NDArray[np.uint8], str]:
    """What a `Radiograph` holds besides its image, the pixels, and a checksum of the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        about = _about(path)
        decoded = jpeg.read(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    about |= {
        "channels": decoded.channels,
        "jpeg_quality": decoded.quality,
        "n_bytes": len(data),
    }
    return about, decoded.pixels, hashlib.sha256(data).hexdigest()


def _about(path: Path) -> dict[str, Any]:
    """What the name and the folder say."""
    normal, pneumonia = _NORMAL.fullmatch(path.stem), _PNEUMONIA.fullmatch(path.stem)
    found = normal or pneumonia
    if found is None:
        raise ValueError(
            "the name tells no patient; expected IM-0115-0001.jpeg or NORMAL2-IM-1427-0001.jpeg "
            "(NORMAL), or person7_bacteria_24.jpeg or person7_virus_15.jpeg (PNEUMONIA)"
        )
    label = LABELS[0] if normal else LABELS[1]
    folder = path.parent.name
    if folder in LABELS and folder != label:
        raise ValueError(
            f"a name of {label} in the folder {folder}; a patient belongs to one class, move the "
            "file or take it away"
        )
    subtype = "none" if normal else found["subtype"]
    return {
        "image_id": path.stem,
        "patient": found["patient"],
        "label": label,
        "subtype": subtype,
    }


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Where the opacities of a phantom's radiograph are.

    Args:
        path: the radiograph; its mask is `masks/<name>.png` beside the folders of the splits. A
            normal one has none.

    Returns:
        (H, W), true inside an opacity; all false for a normal radiograph.

    Raises:
        FileNotFoundError: no such radiograph, or no masks: real radiographs come without.
        ValueError: a mask that is none or of another size.
    """
    path = Path(path)
    image = read_image(path)
    folder, shape = path.parents[2] / MASKS, tuple(image.image.shape)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; only phantom.write_chest_xray writes masks"
        )
    if image.label == LABELS[0]:
        return np.zeros(shape, bool)
    name = folder / f"{path.stem}.png"
    if not name.is_file():
        raise FileNotFoundError(f"{name}: no such file; write the phantom again")
    try:
        with Image.open(name) as stored:
            mask = np.asarray(stored.convert("L")) > 127
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{name}: cannot be read as a PNG ({error})") from None
    if mask.shape != shape:
        raise ValueError(f"{name}: the mask is {mask.shape}, the radiograph is {shape}")
    return mask


# --- index ---------------------------------------------------------------------------------------


def index(
    root: str | Path, *, skip_bad: bool = False, progress: bool = True, workers: int | None = None
) -> pd.DataFrame:
    """List the radiographs in a folder: a row each, by split, class and name.

    Every file is decoded, by several threads.

    Args:
        root: the folder with `train`, `val`, `test` (one of them at least), or one above it. The
            second copy that lies inside the first and all of `__MACOSX` are passed over.
        skip_bad: leave out files that cannot be used, warn, and list them in `attrs["bad"]`
            (path -> reason), instead of raising.
        progress: show a progress bar.
        workers: threads; as many as processor cores where it is None.

    Returns:
        Columns image_id (the file's name; where two splits share a name, the split comes before
        it), path, patient, label, subtype, split (as found), height, width, channels, jpeg_quality,
        bytes, duplicate_of (the image_id of an earlier file with the same bytes, or <NA>).

    Raises:
        FileNotFoundError: no such folder, no such tree in it, or none of the files is usable.
        ValueError: several such trees, a class without images, or unusable files, all named.
    """
    root = Path(root)
    paths = find(root)
    rows: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    results = parallel.ordered(_row, paths, workers=workers)
    bar = partial(tqdm, desc="reading radiographs", disable=not progress, leave=False)
    for path, row in zip(paths, bar(results, total=len(paths))):
        if isinstance(row, str):
            bad[str(path)] = row
        else:
            rows.append(row)
    if bad:
        unusable.report(bad, len(paths), skip_bad)
    if not rows:
        raise FileNotFoundError(f"{root}: none of its {len(paths)} files is a usable radiograph")
    table = pd.DataFrame(rows)
    shared = table["image_id"].duplicated(keep=False)
    table.loc[shared, "image_id"] = table["split"] + "/" + table["image_id"]
    table["duplicate_of"] = _duplicates(table["image_id"], table.pop("checksum"))
    table.attrs["bad"] = bad
    return table


def find(root: str | Path) -> list[Path]:
    """The files of the tree in or below a folder, by split, class and name; errors as `index`."""
    tree = _tree(Path(root))
    paths: list[Path] = []
    for split in SPLITS:
        if not (tree / split).is_dir():
            continue
        for label in LABELS:
            found = sorted(_files(tree / split / label))
            if not found:
                raise ValueError(
                    f"{tree / split / label}: the class has no images; both {LABELS[0]} and "
                    f"{LABELS[1]} are needed in {split} (take {split} away if it is not wanted)"
                )
            paths += found
    return paths


def _files(folder: Path) -> Iterator[Path]:
    """All but hidden files: what is no JPEG is to be named, not passed over."""
    for path in folder.glob("*"):
        hidden = path.name[0] == "." or path.name.lower() in _LEFT_BY_PROGRAMS
        if path.is_file() and not hidden:
            yield path


def _tree(root: Path) -> Path:
    """The folder that holds the splits."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    level = [root]
    for _ in range(_DEPTH):
        trees = [folder for folder in level if _is_tree(folder)]
        if len(trees) > 1:
            names = ", ".join(map(str, trees))
            raise ValueError(f"{root}: holds several sets of radiographs, name one of {names}")
        if trees:
            return trees[0]
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if child.is_dir() and child.name[0] != "." and child.name != "__MACOSX"
        ]
    found = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing"
    above = ": name the folder above it" if (root / LABELS[0]).is_dir() else ""
    raise FileNotFoundError(
        f"{root}: expected train/, val/ or test/ in it, and in each {LABELS[0]}/ and {LABELS[1]}/; "
        f"found {found}{above}"
    )


def _is_tree(folder: Path) -> bool:
    return any((folder / split / label).is_dir() for split in SPLITS for label in LABELS)


def _row(path: Path) -> dict[str, Any] | str:
    """The row of the table, or why there is none."""
    try:
        about, pixels, checksum = _read(path)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    return {
        "image_id": about["image_id"],
        "path": str(path),
        "patient": about["patient"],
        "label": about["label"],
        "subtype": about["subtype"],
        "split": path.parents[1].name,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "channels": about["channels"],
        "jpeg_quality": about["jpeg_quality"],
        "bytes": about["n_bytes"],
        "checksum": checksum,
    }


def _duplicates(image_id: pd.Series, checksum: pd.Series) -> pd.Series:
    """For each file the first one with the same bytes, <NA> for that one itself."""
    first = image_id.groupby(checksum).transform("first")
    return first.where(first != image_id, pd.NA).astype("string")


# --- splits --------------------------------------------------------------------------------------


def parts(table: pd.DataFrame, *, seed: int, validation: float = 0.15) -> pd.Series:
    """Deal the radiographs into training, validation and test, no patient on two sides.

    The official test set stays what it is. The official validation set is not used as such: 8
    normal and 8 other images cannot choose a model (of 16 images, one more that is right moves the
    accuracy by 6 points, and 14 right of 16 go with anything from 62 to 98 %: Clopper & Pearson
    1934, Biometrika 26:404, at 95 %). It is pooled with the training set, and validation patients
    are dealt anew, stratified by none, bacteria and virus.

    Training and validation go without the patients of the test set, and everything goes without
    repeats of an earlier file: those rows are <NA>.

    Args:
        table: from `index`.
        seed: of the dealing.
        validation: share of the pooled patients, at most a half; rounded to one in 2, 3, 4, ...

    Returns:
        "train", "validation", "test" or <NA> for each row, with the table's index.

    Raises:
        ValueError: no test set (deal `splits.by_patient` then), nothing to train on, a class that
            is missing in a part, or a share out of range.
    """
    if not 0 < validation <= 0.5:
        raise ValueError(f"validation must lie above 0 and at most at 0.5, got {validation}")
    is_test = table["split"] == "test"
    if not is_test.any():
        raise ValueError(
            "there is no test set among the splits; deal all patients with "
            'folds.by_patient(table.assign(tumour=table["subtype"]), n_folds=5, seed=seed)'
        )
    fresh = table["duplicate_of"].isna()
    pooled = ~is_test & fresh & ~table["patient"].isin(table["patient"][is_test])
    if not pooled.any():
        raise ValueError("all patients are in the test set; nothing is left to train on")
    pool = table[pooled]
    with warnings.catch_warnings():  # few patients of a subtype: what matters is checked below
        warnings.filterwarnings("ignore", "The least populated class")
        dealt = splits.by_patient(
            pool.assign(tumour=pool["subtype"]), n_folds=round(1 / validation), seed=seed
        )
    part = pd.Series(pd.NA, index=table.index, dtype="string", name="part")
    part[is_test & fresh] = "test"
    part[pool.index[dealt > 1]] = "train"
    part[pool.index[dealt == 1]] = "validation"
    for name, of in table["label"].groupby(part):
        if missing := set(LABELS) - set(of):
            raise ValueError(f"{name} has no {missing.pop()}; more patients are needed")
    return part
