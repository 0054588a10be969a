"""What a source of cases is, which source a folder holds, and the table of what is in it.

A data set is one file like `figshare.py`, with a function that finds its images in a folder and one
that reads an image as a `Case`, and one entry in `SOURCES`.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from medsr_lib.case import Case
from medsr_lib.data import chest_xray, figshare

A = TypeVar("A")
B = TypeVar("B")

OF_CASE = ("id", "patient", "label", "fold", "spacing")  # columns that are attributes of it
COLUMNS = (
    *("id", "path", "patient", "label", "fold"),
    *("height", "width", "mask_pixels", "spacing"),
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A kind of data.

    Attributes:
        name: as people say it, in the plural.
        layout: how its folders look, for messages.
        find: the files of its images in or below a folder, in the order of the index; none where
            the folder holds no such data.
        read: one file as a `Case`; raises ValueError for one that cannot be used.
        find_others: further files that it reads, such as folds or masks.
        columns: what of `Case.about` goes into the index.
        complete: given the index and the folder, returns the index with what only all files
            together tell, such as folds. It sees a column `checksum` of the pixels.
        keeps_repeats: True where `complete` deals with an id or an image that occurs twice; these
            are unusable files otherwise.
    """

    name: str
    layout: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Path], Case]
    find_others: Callable[[Path], list[Path]] = lambda folder: []
    columns: tuple[str, ...] = ()
    complete: Callable[[pd.DataFrame, Path], pd.DataFrame] = lambda table, folder: table
    keeps_repeats: bool = False


FIGSHARE = Source(
    "brain slices",
    "N.mat files in it or below",
    find=figshare.find,
    read=figshare.read_slice,
    find_others=figshare.find_folds,
    columns=("pid", "raw_min", "raw_max"),
    complete=figshare.with_folds,
)
CHEST_XRAY = Source(
    "chest radiographs",
    "train/ and test/ with NORMAL/ and PNEUMONIA/ in each",
    find=chest_xray.find,
    read=chest_xray.read_image,
    find_others=chest_xray.find_masks,
    columns=("subtype", "channels", "jpeg_quality", "bytes"),
    complete=chest_xray.with_splits,
    keeps_repeats=True,
)
SOURCES = (FIGSHARE, CHEST_XRAY)


def held(folder: str | Path) -> list[Source]:
    """The kinds of data in a folder, or in folders below it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds several sets of one kind, or an incomplete one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the folder of the data")
    return [source for source in SOURCES if source.find(folder)]


def of(folder: str | Path) -> Source:
    """The one kind of data that a folder holds.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no data of a known kind.
        ValueError: it holds several.
    """
    found = held(folder)
    if len(found) > 1:
        both = " and ".join(source.name for source in found)
        raise ValueError(f"{folder}: holds {both}; give the folder of one of them")
    if not found:
        names = sorted(path.name for path in Path(folder).iterdir())
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
        kinds = "".join(f"\n  {source.name}: {source.layout}" for source in SOURCES)
        raise FileNotFoundError(
            f"{folder}: holds no images of a known kind, found {listed}; expected one of{kinds}\n"
            "`medsr data phantom DIR` writes synthetic slices, `medsr data figshare DIR` fetches "
            "real ones"
        )
    return found[0]


def index(folder: str | Path, *, skip_bad: bool = False) -> pd.DataFrame:
    """List the images in a folder: a row each. Every file is read, by several threads.

    Args:
        folder: of one kind of data.
        skip_bad: leave out files that cannot be used, warn, and list them in `attrs["bad"]`
            (path -> reason), instead of raising.

    Returns:
        Columns id, path, patient, label, fold (<NA> where the source assigns none), height and
        width in pixels, mask_pixels (<NA> where no lesion is outlined), spacing (mm, NaN where it
        is not known), then those of the source:

        - brain slices: pid (the examination), raw_min, raw_max;
        - chest radiographs: subtype, split (as found), channels, jpeg_quality, bytes, duplicate_of
          (the id of an earlier image with the same pixels, or <NA>).

    Raises:
        FileNotFoundError: no such folder, no data in it, or none of its files is usable.
        ValueError: several kinds of data, or unusable files, all of them named.
    """
    folder, source = Path(folder), of(folder)
    paths = source.find(folder)
    read = in_threads(partial(_row, source), paths, f"reading {source.name}")
    found = dict(zip(map(str, paths), read))
    bad = {path: row for path, row in found.items() if isinstance(row, str)}
    rows = [row for row in found.values() if not isinstance(row, str)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *source.columns, "checksum"])
    table = table.astype({"fold": "Int64", "mask_pixels": "Int64", "spacing": float})
    if not source.keeps_repeats:
        repeats = _repeats(table)
        bad |= repeats
        table = table[~table["path"].isin(repeats)].reset_index(drop=True)
    if bad:
        listed = "\n".join(f"  {path}: {reason}" for path, reason in bad.items())
        if not skip_bad:
            raise ValueError(
                f"{len(bad)} of {len(paths)} files cannot be used; fix or remove them, "
                f"or pass skip_bad=True to leave them out:\n{listed}"
            )
        warnings.warn(f"{len(bad)} of {len(paths)} files left out:\n{listed}", stacklevel=2)
    if table.empty:
        raise FileNotFoundError(f"{folder}: none of its {len(paths)} files of images is usable")
    table = source.complete(table, folder).drop(columns="checksum")
    table.attrs["bad"] = bad
    return table


def in_threads(function: Callable[[A], B], items: Iterable[A], doing: str) -> Iterator[B]:
    """`map(function, items)` by a thread on every core, in order, with a bar that says `doing`."""
    items = list(items)
    results = Parallel(n_jobs=-1, backend="threading", return_as="generator")(
        delayed(function)(item) for item in items
    )
    yield from tqdm(results, doing, total=len(items), leave=False)


def _row(source: Source, path: Path) -> dict[str, Any] | str:
    """The row of the table, or why there is none."""
    try:
        case = source.read(path)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    height, width = case.image.shape
    scale = [height, width, case.about.get("raw_min"), case.about.get("raw_max")]
    pixels = hashlib.sha256(case.image.numpy().tobytes() + repr(scale).encode())
    return {
        **{name: getattr(case, name) for name in OF_CASE},
        "path": str(path),
        "height": height,
        "width": width,
        "mask_pixels": None if case.mask is None else int(case.mask.sum()),
        **{name: case.about[name] for name in source.columns},
        "checksum": pixels.hexdigest(),
    }


def _repeats(table: pd.DataFrame) -> dict[str, str]:
    """The rows whose pixels or id were there before: path -> reason."""
    repeats: dict[str, str] = {}
    seen: dict[str, str] = {}
    for path, name, checksum in zip(table["path"], table["id"], table["checksum"]):
        if checksum in seen:
            repeats[path] = f"a duplicate, the same pixels as {seen[checksum]}"
        elif name in seen:
            repeats[path] = f"a duplicate, {name} was there before: {seen[name]}"
        else:
            seen[checksum] = seen[name] = path
    return repeats
