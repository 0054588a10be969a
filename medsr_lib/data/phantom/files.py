"""A phantom's folder: it appears when it is whole, and is never written over other files."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from medsr_lib.files import atomic_folder

NOTE = "phantom.json"


def write(
    root: Path,
    recipe: Mapping[str, int],
    jobs: Callable[[Path], Mapping[Path, Callable[[], None]]],
    *,
    present: Iterable[Path],
) -> None:
    """Do the jobs in a temporary folder, note the recipe in `phantom.json`, and make it `root`.

    Nothing is done where `root` holds this very phantom. The bar is shown in terminals alone.

    Args:
        root: the phantom's folder.
        recipe: the numbers that it was drawn with.
        jobs: given a folder, the files that the phantom consists of, and the call that writes each.
        present: files of that kind that are in `root` already.

    Raises:
        FileExistsError: there are such files, and not this very phantom.
    """
    text = json.dumps(recipe, indent=1) + "\n"

    def is_whole() -> bool:
        known = (root / NOTE).is_file() and (root / NOTE).read_bytes() == text.encode()
        return known and all(path.is_file() for path in jobs(root))

    if is_whole():
        return
    for path in sorted(present):
        if path.name[0] != ".":
            raise FileExistsError(
                f"{path} is not of this phantom, or some of it is missing. It is left alone: write "
                f"to another folder, or remove {path.parent} if nothing in it is needed"
            )
    try:
        with atomic_folder(root) as folder:
            for write_file in tqdm(jobs(folder).values(), "phantom", leave=False, disable=None):
                write_file()
            (folder / NOTE).write_text(text)
    except OSError:
        if not is_whole():  # else another process was quicker
            raise
