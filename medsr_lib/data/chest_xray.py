"""Chest radiographs of children: 5856 JPEG files, normal or with bacterial or viral pneumonia.

Kermany et al., *Chest X-Ray Images (Pneumonia)*, CC BY 4.0, doi 10.17632/rscbjbr9sj (Cell 2018,
172:1122). The folders are `train`, `val` and `test`, in each `NORMAL` and `PNEUMONIA`; the archive
of Kaggle holds a second copy of them in `chest_xray/chest_xray`, and in `__MACOSX` files `._*.jpeg`
that are no images.

All that is known of the patients is in the file names. `IM-0115-0001.jpeg` and
`NORMAL2-IM-0115-0001-0002.jpeg` are taken for one patient, IM-0115; `person7_bacteria_24.jpeg` and
`person7_virus_15.jpeg` too, person7 (109 numbers occur with both). Version 3 of the set has other
names: `BACTERIA-1008087-0001.jpeg`, and those with VIRUS or NORMAL, are of patient 1008087. Whether
numbers were given out twice is not known: equal ones count as one patient, so that nothing can leak
from training into test, and intervals over patients are rather too wide than too narrow. Normal
patients and those with pneumonia have no names in common; a file whose name belongs to the other
class is refused.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsr_lib import pictures
from medsr_lib.case import Case
from medsr_lib.data import jpeg, splits
from medsr_lib.data.layouts import visible

LABELS = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")
MASKS = "masks"  # beside the splits; the phantom alone has it
_NORMAL = re.compile(r"(?:NORMAL2-)?(?P<patient>IM-\d+)-\d+(?:-\d+)*|NORMAL-(?P<patient3>\d+)-\d+")
_PNEUMONIA = re.compile(
    r"(?P<patient>person\d+)_(?P<subtype>bacteria|virus)_\d+"
    r"|(?P<subtype3>BACTERIA|VIRUS)-(?P<patient3>\d+)-\d+"
)
_LEFT = {"thumbs.db", "desktop.ini"}  # by programs
_DEPTH = 4  # how far below the root the tree is looked for


def read_image(path: str | Path) -> Case:
    """Read one JPEG file.

    Three equal channels are taken as the grey image they are.

    Returns:
        The case: `id` is the file's name without its ending, `patient` what the name tells
        (`IM-0115` or `person7`; see the module), `label` "NORMAL" or "PNEUMONIA", `image` the grey
        levels over 255. `mask` is where the opacities are, which only the phantom knows:
        `masks/<id>.png` beside the folders of the splits. `about` holds

        - subtype: "none", "bacteria" or "virus";
        - channels: 1, or 3 equal ones;
        - jpeg_quality: 1 to 100, estimated from the quantisation (`jpeg.quality_of`);
        - bytes: size of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, damaged or no JPEG, not 8 bits, CMYK, coloured, a name that tells no
            patient or belongs to another class than the folder, or a mask that cannot be read or
            has another size; names file and reason.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        patient, label, subtype = _named(path)
        pixels, channels, quality = jpeg.read(data)
        mask = _mask(path, pixels.shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Case(
        id=path.stem,
        patient=patient,
        label=label,
        image=torch.from_numpy(pixels.astype(np.float32) / 255),
        mask=None if mask is None else torch.from_numpy(mask),
        about={
            "subtype": subtype,
            "channels": channels,
            "jpeg_quality": quality,
            "bytes": len(data),
        },
    )


def _named(path: Path) -> tuple[str, str, str]:
    """Patient, label and subtype, as the name and the folder say."""
    normal, pneumonia = _NORMAL.fullmatch(path.stem), _PNEUMONIA.fullmatch(path.stem)
    found = normal or pneumonia
    if found is None:
        raise ValueError(
            "the name tells no patient; expected IM-0115-0001.jpeg, NORMAL2-IM-1427-0001.jpeg or "
            "NORMAL-1003233-0001.jpeg (NORMAL), or person7_bacteria_24.jpeg, person7_virus_15.jpeg "
            "or BACTERIA-1008087-0001.jpeg (PNEUMONIA)"
        )
    label, place = LABELS[0] if normal else LABELS[1], _class(path)
    subtype = "none" if normal else (found["subtype"] or found["subtype3"]).lower()
    inside = path.parent.name.lower()
    misplaced = place and place.name != label
    if misplaced or (inside in ("bacteria", "virus") and inside != subtype):
        raise ValueError(
            f"a name of {label if misplaced else subtype} in the folder {path.parent.name}; a "
            "patient belongs to one class, move or remove the file"
        )
    return found["patient"] or found["patient3"], label, subtype


def _class(path: Path) -> Path | None:
    """The folder NORMAL or PNEUMONIA that a radiograph is in, perhaps in a folder of it."""
    return next((above for above in path.absolute().parents if above.name in LABELS), None)


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """(H, W), true inside an opacity; None where none is outlined."""
    place = _class(path)
    name = place and place.parents[1] / MASKS / f"{path.stem}.png"
    if name is None or not name.is_file():
        return None
    try:
        mask = np.asarray(pictures.decoded(name.read_bytes())[0].convert("L")) > 127
    except (OSError, ValueError) as error:
        raise ValueError(f"its mask {name} cannot be read as a PNG ({error})") from None
    if mask.shape != shape:
        raise ValueError(f"its mask {name} is {mask.shape}, the radiograph is {shape}")
    return mask


# --- index ---------------------------------------------------------------------------------------


def find(folder: Path) -> list[Path]:
    """The files in the splits in or below a folder, by split, class and name.

    One of `train`, `val` and `test` must be there; a class may have folders, such as BACTERIA and
    VIRUS. The second copy that lies inside the first, all of `__MACOSX` and hidden files are passed
    over; other files are to be read, and to be refused by name, whatever they are.

    Raises:
        ValueError: several such trees, or a class without images.
    """
    tree, paths = _tree(folder), []
    splits_there = [tree / split for split in SPLITS if (tree / split).is_dir()] if tree else []
    for place in (split / label for split in splits_there for label in LABELS):
        found = [path for path in visible(place) if path.name.lower() not in _LEFT]
        if not found:
            raise ValueError(
                f"{place}: the class has no images; both {' and '.join(LABELS)} are needed in "
                f"{place.parent.name} (remove {place.parent.name} if it is not wanted)"
            )
        paths += found
    return paths


def find_masks(folder: Path) -> list[Path]:
    """The phantom's masks, in the folder beside the splits."""
    tree = _tree(folder)
    return sorted((tree / MASKS).glob("*.png")) if tree else []


def _tree(root: Path) -> Path | None:
    """The folder that holds the splits."""
    classes = [f"{split}/{label}" for split in SPLITS for label in LABELS]
    level = [root]
    for _ in range(_DEPTH):
        trees = [folder for folder in level if any((folder / name).is_dir() for name in classes)]
        if len(trees) > 1:
            names = ", ".join(map(str, trees))
            raise ValueError(f"{root}: holds several sets of radiographs, name one of {names}")
        if trees:
            return trees[0]
        inside = (child for folder in level for child in sorted(folder.glob("[!.]*/")))
        level = [child for child in inside if child.name != "__MACOSX"]
    return None


def with_splits(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """An index with the columns split (as found) and duplicate_of.

    An id that two files share gets the split, and the folders inside the class, before it;
    duplicate_of is the id of an earlier image with the same pixels, or <NA>.
    """
    parts = [Path(path).relative_to(_tree(folder) or folder).parts for path in table["path"]]
    split = pd.Series([split for split, *_ in parts], table.index)
    below = ["/".join((*inside, Path(name).stem)) for _, _, *inside, name in parts]
    shared = table["id"].duplicated(keep=False)
    table = table.assign(id=table["id"].where(~shared, split + "/" + below))
    table.insert(list(table).index("channels"), "split", split)
    first = table["id"].groupby(table["checksum"]).transform("first")
    return table.assign(duplicate_of=first.where(first != table["id"], pd.NA).astype("string"))


# --- splits --------------------------------------------------------------------------------------


def train_val_test(table: pd.DataFrame, *, seed: int, validation: float = 0.15) -> pd.Series:
    """Assign the radiographs to training, validation and test, no patient on two sides.

    The official test set stays what it is. The official validation set is not used as such: 8
    normal and 8 other images cannot choose a model (of 16 images, one more that is right moves the
    accuracy by 6 points, and 14 right of 16 go with anything from 62 to 98 %: Clopper & Pearson
    1934, Biometrika 26:404, at 95 %). It is pooled with the training set, and validation patients
    are assigned again, stratified by none, bacteria and virus.

    Training and validation go without the patients of the test set, and everything goes without
    repeats of an earlier file: those rows are <NA>.

    Args:
        table: from `source.index`.
        seed: of the assignment.
        validation: share of the pooled patients, at most a half; rounded to one in 2, 3, 4, ...

    Returns:
        "train", "validation", "test" or <NA> for each row, with the table's index.

    Raises:
        ValueError: no test set (`cross_fit` needs none), nothing to train on, a class that is
            missing in a part, or a share out of range.
    """
    is_test = table["split"] == "test"
    if not is_test.any():
        raise ValueError(
            "there is no test set among the splits; take `cross_fit`, which tests all patients"
        )
    fresh = table["duplicate_of"].isna()
    pooled = ~is_test & fresh & ~table["patient"].isin(table["patient"][is_test])
    if not pooled.any():
        raise ValueError("all patients are in the test set; nothing is left to train on")
    return _parts(table, is_test & fresh, pooled, seed=seed, validation=validation)


def cross_fit(
    table: pd.DataFrame, *, folds: int, seed: int, validation: float = 0.15
) -> pd.DataFrame:
    """Assign the radiographs `folds` times, so that each patient is tested once.

    The folders' splits do not count. Patients are drawn into folds, stratified by none, bacteria
    and virus; each fold is the test set once, and validation patients are drawn from the others.
    Repeats of an earlier file are <NA>, as in `train_val_test`.

    Args:
        table: from `source.index`.
        folds: at least 2; fewer patients are a fold each, and a warning says so.
        seed: of the assignment.
        validation: share of the patients who are not tested, as in `train_val_test`.

    Returns:
        A column for each fold, from 1: "train", "validation", "test" or <NA> for each row,
        with the table's index.

    Raises:
        ValueError: one patient, a class that is missing in a part, or a share out of
            range.
    """
    fresh = table["duplicate_of"].isna()
    of = table[fresh].assign(label=table["subtype"])
    fold = splits.by_patient(of, n_folds=folds, seed=seed).reindex(table.index, fill_value=0)
    parts = {
        k: _parts(table, fold == k, fresh & (fold != k), seed=seed, validation=validation)
        for k in range(1, fold.max() + 1)
    }
    return pd.DataFrame(parts)


def _parts(
    table: pd.DataFrame, test: pd.Series, pooled: pd.Series, *, seed: int, validation: float
) -> pd.Series:
    """The part of each row: the test set as it is, the pool divided by patient."""
    if not 0 < validation <= 0.5:
        raise ValueError(f"validation must lie above 0 and at most at 0.5, got {validation}")
    pool = table[pooled]
    pool = pool.assign(label=pool["subtype"])
    fold = splits.by_patient(pool, n_folds=round(1 / validation), seed=seed)
    part = pd.Series(pd.NA, index=table.index, dtype="string", name="part")
    part[test] = "test"
    part[pool.index[fold > 1]] = "train"
    part[pool.index[fold == 1]] = "validation"
    for name, of in table["label"].groupby(part):
        if missing := set(LABELS) - set(of):
            raise ValueError(f"{name} has no {missing.pop()}; more patients are needed")
    return part
