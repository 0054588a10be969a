"""A phantom's folder: completed where it was interrupted, and never written over other files."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from medsr_lib.files import atomic

NOTE = "phantom.json"


@dataclass(frozen=True)
class Job:
    """Something to write: its files, and the call that writes them, each of them atomically."""

    paths: Sequence[Path]
    write: Callable[[], None]


def check_counts(least: Mapping[str, int], **counts: int) -> None:
    """Refuse what is not a whole number, or is smaller than the least of its name.

    Raises:
        ValueError: names the argument.
    """
    for name, value in counts.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least[name]:
            raise ValueError(
                f"{name} must be a whole number of at least {least[name]}, got {value!r}: "
                f"give for example {name}={max(least[name], 4)}"
            )


def write(
    root: Path,
    recipe: Mapping[str, int],
    jobs: Sequence[Job],
    *,
    present: Iterable[Path],
    is_own: Callable[[Path], bool],
) -> None:
    """Do the jobs whose files are not all there, and note the recipe in `root/phantom.json`.

    The note is written last: where it is there with this very recipe, and all files are, nothing is
    done. The bar is shown in terminals alone.

    Args:
        root: the phantom's folder.
        recipe: the numbers that it was drawn with.
        jobs: everything that the phantom consists of.
        present: files of that kind that are in `root` already.
        is_own: whether such a file was written with this recipe.

    Raises:
        FileExistsError: a file that was not.
    """
    note, text = root / NOTE, json.dumps(recipe, indent=1) + "\n"
    left = [job for job in jobs if not all(path.is_file() for path in job.paths)]
    if not left and note.is_file() and note.read_text() == text:
        return
    for path in sorted(present):
        if path.name[0] != "." and not is_own(path):
            raise FileExistsError(
                f"{path} is not of this phantom and is left alone: write to another folder, or "
                f"remove {path.parent} if nothing in it is needed"
            )
    for job in tqdm(left, "phantom", leave=False, disable=None):
        job.write()
    with atomic(note) as temporary:
        temporary.write_text(text)
