"""What a source of cases is, which source a folder holds, and the table of what is in it.

A data set is one file like `figshare.py`, with a function that finds its images in a folder and one
that reads an image as a `Case`, and one entry in `SOURCES`. Folders that none of them knows are
read as images or volumes and masks, in one of the `LAYOUTS`.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from medsr_lib.case import Case
from medsr_lib.data import chest_xray, figshare, layouts, volumes
from medsr_lib.data import folder as image_files
from medsr_lib.data.layouts import DEFAULTS, Entry, Options
from medsr_lib.files import sha256

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
        read: one of these as a `Case`, or a volume as several; raises ValueError for one that
            cannot be used.
        find_others: further files that it reads, such as folds or masks.
        columns: what of `Case.about` goes into the index.
        complete: given the index and the folder, returns the index with what only all files
            together tell, such as folds. It sees a column `checksum` of the pixels.
        keeps_repeats: True where `complete` deals with an id or an image that occurs twice; these
            are unusable files otherwise.
        takes_options: True for `OPEN`, whose `find` is given the options as well, and finds entries
            that know their files.
    """

    name: str
    layout: str
    find: Callable[..., Sequence[Any]]
    read: Callable[[Any], Case | Sequence[Case]]
    find_others: Callable[[Path], list[Path]] = lambda folder: []
    columns: tuple[str, ...] = ()
    complete: Callable[[pd.DataFrame, Path], pd.DataFrame] = lambda table, folder: table
    keeps_repeats: bool = False
    takes_options: bool = False

    def items(self, folder: Path, options: Options) -> Sequence[Any]:
        """What `read` takes, in the order of the index: paths, or entries of `OPEN`."""
        return self.find(folder, options) if self.takes_options else self.find(folder)

    def cases(self, item: Any) -> Sequence[Case]:
        """All cases of one of the items."""
        read = self.read(item)
        return [read] if isinstance(read, Case) else read


FIGSHARE = Source(
    "brain slices",
    "N.mat files in it or below",
    find=figshare.find,
    read=figshare.read_slice,
    find_others=figshare.find_others,
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

LAYOUTS: dict[str, Callable[[Path, Options], Iterable[Entry]]] = {  # the first that fits is taken
    "table": layouts.table,
    "bids": layouts.bids,
    "brats": layouts.brats,
    "dicom": volumes.series,
    "folders": layouts.two_folders,
    "beside": layouts.beside,
}


def find_entries(folder: Path, options: Options = DEFAULTS) -> list[Entry]:
    """The images or volumes of a folder in the first layout that fits, or in the stated one.

    Raises:
        ValueError: no such layout, or nothing in the folder is in the stated one.
    """
    if options.layout not in (None, *LAYOUTS):
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {options.layout!r}")
    for name in [options.layout] if options.layout else LAYOUTS:
        entries = list(LAYOUTS[name](folder, options))
        if entries:
            return layouts.finished(folder, entries, layout=name, options=options)
    if options.layout:
        raise ValueError(f"{folder}: nothing in it is in the layout {options.layout!r}")
    return []


def read_entry(entry: Entry) -> Case | list[Case]:
    """An image, or slices of a volume.

    Raises:
        ValueError: it cannot be used; names the file and the reason.
    """
    if entry.fault:
        raise ValueError(f"{entry}: {entry.fault}")
    if entry.layout == "dicom" or layouts.is_volume(entry.image):
        return volumes.read(entry)
    return image_files.read(entry)


OPEN = Source(
    "images and masks",
    "image files, NIfTI or DICOM, with masks beside them, in a second folder, or in cases.csv",
    find=find_entries,
    read=read_entry,
    columns=("raw_min", "raw_max"),
    takes_options=True,
)


def held(folder: str | Path, *, options: Options = DEFAULTS) -> list[Source]:
    """The kinds of data in a folder, or in folders below it; `OPEN` where it is none of `SOURCES`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds several sets of one kind, or an incomplete one; or none in the layout
            that the options state.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the folder of the data")
    found = [] if options.layout else [source for source in SOURCES if source.find(folder)]
    return found or [OPEN] * bool(find_entries(folder, options))


def of(folder: str | Path, *, options: Options = DEFAULTS) -> Source:
    """The one kind of data that a folder holds.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no data of a known kind.
        ValueError: it holds several, or one that no options are for.
    """
    found = held(folder, options=options)
    if len(found) > 1:
        both = " and ".join(source.name for source in found)
        raise ValueError(f"{folder}: holds {both}; give the folder of one of them")
    if not found:
        names = sorted(path.name for path in Path(folder).iterdir())
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
        kinds = "".join(f"\n  {source.name}: {source.layout}" for source in (*SOURCES, OPEN))
        raise FileNotFoundError(
            f"{folder}: holds no images of a known kind, found {listed}; expected one of{kinds}\n"
            "`medsr data phantom DIR` writes synthetic slices, `medsr data figshare DIR` fetches "
            "real ones"
        )
    if options != DEFAULTS and not found[0].takes_options:
        raise ValueError(f"{folder}: holds {found[0].name}, which are read without options")
    return found[0]


def content(folder: str | Path, *, reading: Options = DEFAULTS, whole: bool = False) -> str:
    """What a folder of data holds, as a digest: another one where anything that is read changed.

    That is every file that decides the cases: images, masks, tables, and folds wherever they lie
    above; each by its name relative to the folder, its size and the time it was written. A folder
    that was renamed has the same content: keep no paths under this digest, but relative names.

    Args:
        folder: of data of one or several kinds.
        reading: how a folder of images and masks is to be understood: it decides what is read.
        whole: take files by their bytes, not by size and time: slower, and the same for a copy.

    Raises:
        FileNotFoundError, ValueError: as `held`.
    """
    folder = Path(folder)
    known: list[tuple[str | int, ...]] = []
    for source in held(folder, options=reading):
        items = source.items(folder, reading)
        paths = [p for item in items for p in (item.files if isinstance(item, Entry) else [item])]
        for path in paths + source.find_others(folder):
            name = Path(os.path.relpath(path, folder)).as_posix()
            with suppress(OSError):  # one that cannot be read is known by its size and time
                if whole:
                    known.append((name, sha256(path)))
                    continue
            state = path.stat() if path.exists() else path.lstat()  # of a link to nothing
            known.append((name, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr(sorted(known)).encode()).hexdigest()


def index(
    folder: str | Path, *, skip_bad: bool = False, options: Options = DEFAULTS
) -> pd.DataFrame:
    """List the images in a folder: a row each. Every file is read, by several threads.

    Args:
        folder: of one kind of data.
        skip_bad: leave out files that cannot be used, warn, and list them in `attrs["bad"]`
            (path -> reason), instead of raising.
        options: how a folder of images and masks is to be understood.

    Returns:
        Columns id, path, patient, label, fold (<NA> where the source assigns none), height and
        width in pixels, mask_pixels (<NA> where no lesion is outlined), spacing (mm, NaN where it
        is not known), then those of the source:

        - brain slices: pid (the examination), raw_min, raw_max;
        - chest radiographs: subtype, split (as found), channels, jpeg_quality, bytes, duplicate_of
          (the id of an earlier image with the same pixels, or <NA>);
        - images and masks: raw_min, raw_max; a row each slice of a volume;

        and `digest`, that of the case.

        `attrs["notes"]` is what to know of some files (path -> text): lossy compression, values
        that were taken for lesion, and the like. `attrs["kind"]` names the source, and the layout
        of images and masks.

    Raises:
        FileNotFoundError: no such folder, no data in it, or none of its files is usable.
        ImportError: a package that reads these files is not installed; names the extra.
        ValueError: several kinds of data, or unusable files, all of them named.
    """
    folder, source = Path(folder), of(folder, options=options)
    paths = source.items(folder, options)
    read = in_threads(partial(_rows, source), paths, f"reading {source.name}")
    found = dict(zip(map(str, paths), read))
    bad = {path: rows for path, rows in found.items() if isinstance(rows, str)}
    rows = [row for rows in found.values() if not isinstance(rows, str) for row in rows]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *source.columns, "digest", "checksum", "notes"])
    table = table.astype({"fold": "Int64", "mask_pixels": "Int64", "spacing": float})
    if not source.keeps_repeats:
        repeats = _repeats(table)
        bad |= repeats
        table = table[~table["path"].isin(repeats)].reset_index(drop=True)
    if bad and not skip_bad:
        raise ValueError(
            f"{len(bad)} of {len(paths)} files cannot be used; fix or remove them, "
            f"or pass skip_bad=True to leave them out:\n{_listed(bad)}"
        )
    table.attrs["bad"] = bad
    warn_of_left_out(table)
    if table.empty:
        raise FileNotFoundError(f"{folder}: none of its {len(paths)} files of images is usable")
    table = source.complete(table, folder).drop(columns="checksum")
    notes = {path: text for path, text in zip(table["path"], table.pop("notes")) if text}
    layout = f", layout {paths[0].layout!r}" if source.takes_options else ""
    table.attrs.update(kind=source.name + layout, bad=bad, notes=notes)
    return table


def warn_of_left_out(table: pd.DataFrame) -> None:
    """Warn of the files that an index leaves out, each with its reason; none, no warning."""
    if bad := table.attrs["bad"]:
        n = table["path"].nunique() + len(bad)
        warnings.warn(f"{len(bad)} of {n} files left out:\n{_listed(bad)}", stacklevel=3)


def _listed(bad: dict[str, str]) -> str:
    return "\n".join(f"  {path}: {reason}" for path, reason in bad.items())


def in_threads(
    function: Callable[[A], B], items: Iterable[A], doing: str
) -> Generator[B, None, None]:
    """`map(function, items)` by a thread on every core, in order, with a bar that says `doing`."""
    items = list(items)
    results = Parallel(n_jobs=-1, backend="threading", return_as="generator")(
        delayed(function)(item) for item in items
    )
    with closing(results):
        yield from tqdm(results, doing, total=len(items), leave=False)


def _rows(source: Source, item: Any) -> list[dict[str, Any]] | str:
    """The rows of the table, or why there are none."""
    try:
        return [_row(source, str(item), case) for case in source.cases(item)]
    except (ValueError, OSError) as error:
        return str(error).removeprefix(f"{item}: ")
    except ImportError:
        raise
    except Exception as error:  # of a program that reads them: one file must not hide the others
        return f"cannot be read ({type(error).__name__}: {error})"


def _row(source: Source, path: str, case: Case) -> dict[str, Any]:
    height, width = case.image.shape
    scale = [height, width, case.about.get("raw_min"), case.about.get("raw_max")]
    pixels = hashlib.sha256(case.image.numpy().tobytes() + repr(scale).encode())
    return {
        **{name: getattr(case, name) for name in OF_CASE},
        "path": path,
        "height": height,
        "width": width,
        "mask_pixels": None if case.mask is None else int(case.mask.sum()),
        **{name: case.about[name] for name in source.columns},
        "digest": case.digest,
        "checksum": pixels.hexdigest(),
        "notes": "; ".join(case.about.get("notes", ())),
    }


def _repeats(table: pd.DataFrame) -> dict[str, str]:
    """The files whose pixels or id were there before in another: path -> reason."""
    repeats: dict[str, str] = {}
    seen: dict[str, tuple[str, str]] = {}
    columns = (table[name] for name in ("path", "id", "patient", "checksum"))
    for path, name, patient, checksum in zip(*columns):
        before, of = seen.get(checksum, (path, patient))
        if before != path:
            other = "" if of == patient else f", which is of another patient ({of}, not {patient})"
            repeats[path] = f"a duplicate, the same pixels as {before}{other}"
        elif name in seen:
            repeats[path] = f"a duplicate, {name} was there before: {seen[name][0]}"
        else:
            seen[checksum] = seen[name] = (path, patient)
    return repeats
