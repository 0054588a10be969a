"""What the library understands of a folder of data: in words and as a contact sheet."""

import argparse
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from medsr_lib.data.layouts import Options

MOST_PICTURES = 24
_NAMED = 3  # files that a note names
_TEXTS = {
    "layout": "table, bids, brats, dicom, folders or beside (default: found out)",
    "mask_pattern": "name of a mask without its ending, such as '{stem}_roi*'",
    "patient_pattern": "regular expression in the path; its group is the patient",
    "channel": "of several: a number from 0, or t1n, FLAIR, 0001, ...",
    "plane": "sagittal, coronal or axial (default: across the largest spacing)",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `data.layouts.Options`, for every command that reads a folder."""
    group = parser.add_argument_group("how images and masks are to be understood")
    for name, what in _TEXTS.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=what)
    group.add_argument(
        "--lesion-labels", type=_numbers(int), metavar="N,...", help="mask values of a lesion"
    )
    group.add_argument("--per-volume", metavar="N", help="slices of a volume, or all (default: 1)")
    group.add_argument("--least-area", type=float, metavar="MM2", help="least area of a lesion")
    group.add_argument(
        "--percentiles",
        type=_numbers(float),
        metavar="LOW,HIGH",
        help="percentiles for 0 and 1",
    )


def _numbers(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(kind(part) for part in text.split(","))

    return numbers


def options_of(arguments: argparse.Namespace) -> "Options":
    """The options of a command line; what is not given is left as it is by default.

    Raises:
        ValueError: as `layouts.options_of`.
    """
    from medsr_lib.data import layouts

    names = (*_TEXTS, "lesion_labels", "least_area", "percentiles")
    given = {name: getattr(arguments, name) for name in names} | {"slices": arguments.per_volume}
    return layouts.options_of({name: value for name, value in given.items() if value is not None})


def inspect(folder: Path, sheet: Path, options: "Options") -> list[str]:
    """What a folder holds, what is to be known of its files, and what was left out.

    Args:
        folder: of data of any kind.
        sheet: the PNG file with examples, evenly from all cases, that is written.
        options: how images and masks are to be understood.

    Returns:
        Lines of text.

    Raises:
        FileNotFoundError, ValueError: as `source.index`.
    """
    from medsr_lib import show
    from medsr_lib.data import source
    from medsr_lib.files import atomic

    kind = source.of(folder, options=options)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*files left out")  # they are listed below
            table = source.index(folder, skip_bad=True, options=options)
    except FileNotFoundError:
        table = source.index(folder, options=options)  # names every file with its reason
    items = [item for item in kind.items(folder, options) if str(item) in set(table["path"])]
    chosen = items[:: -(-len(items) // MOST_PICTURES)]
    cases = [case for item in chosen for case in kind.cases(item)][:MOST_PICTURES]
    figure = show.gallery(cases)
    with atomic(sheet) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return [*words(table), str(sheet)]


def words(table: "pd.DataFrame") -> list[str]:
    """What was understood of a folder, in lines: the table of `source.index` or of a store.

    The kind of data and layout, images and patients, labels, masks, sizes, spacing; what is to be
    known of its files; which were left out, and why.
    """
    return [table.attrs["kind"], *_contents(table), *_said(table)]


def _contents(table: "pd.DataFrame") -> Iterator[str]:
    files, patients = table["path"].nunique(), table["patient"].nunique()
    counts = {"image": len(table), "patient": patients, "file": files}
    images, people, sources = (f"{n} {what}" + "s" * (n != 1) for what, n in counts.items())
    yield f"{images} of {people}, from {sources}"
    labels = table["label"].replace("", "none").value_counts()
    yield "labels: " + ", ".join(f"{label} {n}" for label, n in labels.items())
    area = table["mask_pixels"].dropna()
    if area.empty:
        yield "masks: none, so that only whole images can be measured"
    else:
        yield f"masks: {len(area)}, lesions of {area.min()} to {area.max()} pixels"
    sizes = (table["height"].astype(str) + " x " + table["width"].astype(str)).value_counts()
    more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
    yield "sizes: " + ", ".join(f"{size} ({n})" for size, n in sizes.head().items()) + more
    spacing = table["spacing"].dropna()
    known = f"{spacing.min():.4g} to {spacing.max():.4g} mm for {len(spacing)}"
    yield "spacing: " + (known if len(spacing) else "not known, so that regions are in pixels")


def _said(table: "pd.DataFrame") -> Iterator[str]:
    """Equal notes once, with the first of their files; and every file that was left out."""
    files: dict[str, list[str]] = defaultdict(list)
    for path, notes in table.attrs["notes"].items():
        for note in notes.split("; "):
            files[note].append(Path(path).name)
    for note, of in files.items():
        more = f" and {len(of) - _NAMED} more" if len(of) > _NAMED else ""
        yield f"note: {note} ({', '.join(of[:_NAMED])}{more})"
    for path, reason in table.attrs["bad"].items():
        yield f"left out: {path}: {reason}"
