"""A phantom's folder: completed where it was interrupted, and never written over other files."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from medsr_lib.files import atomic

NOTE = "phantom.json"


def write(
    root: Path,
    recipe: Mapping[str, int],
    jobs: Mapping[Path, Callable[[], None]],
    *,
    present: Iterable[Path],
) -> None:
    """Note the recipe in `root/phantom.json`, and do the jobs whose files are not there.

    The bar is shown in terminals alone.

    Args:
        root: the phantom's folder.
        recipe: the numbers that it was drawn with.
        jobs: the files that the phantom consists of, and the call that writes each atomically.
        present: files of that kind that are in `root` already.

    Raises:
        FileExistsError: there are such files, and no note of this very recipe.
    """
    note, text = root / NOTE, json.dumps(recipe, indent=1) + "\n"
    if not note.is_file() or note.read_text() != text:
        for path in sorted(present):
            if path.name[0] != ".":
                raise FileExistsError(
                    f"{path} is not of this phantom and is left alone: write to another folder, or "
                    f"remove {path.parent} if nothing in it is needed"
                )
        with atomic(note) as temporary:
            temporary.write_text(text)
    left = [write_file for path, write_file in jobs.items() if not path.is_file()]
    for write_file in tqdm(left, "phantom", leave=False, disable=None):
        write_file()
