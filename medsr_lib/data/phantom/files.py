"""A phantom's folder: it appears when it is whole, and is never written over other files."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from medsr_lib.files import atomic_folder

NOTE = "phantom.json"

Job = Callable[[], None]  # writes a file
Progress = Callable[[Collection[Job]], Iterable[Job]]


def bar(jobs: Collection[Job]) -> Iterable[Job]:
    """The jobs, with a bar in terminals alone."""
    return tqdm(jobs, "writing data", leave=False, disable=None)


def write(
    root: Path,
    recipe: Mapping[str, int],
    jobs: Callable[[Path], Mapping[Path, Job]],
    progress: Progress,
) -> None:
    """Do the jobs in a temporary folder, note the recipe in `phantom.json`, and make it `root`.

    Nothing is done where `root` holds this very phantom.

    Args:
        root: the phantom's folder.
        recipe: the numbers that it was drawn with.
        jobs: given a folder, the files that the phantom consists of, and the call that writes each.
        progress: goes through the calls, and may show how far it is; what it raises ends the
            writing, and leaves nothing.

    Raises:
        FileExistsError: `root` holds other files, or not all of this phantom.
    """
    text = json.dumps(recipe, indent=1) + "\n"

    def is_whole() -> bool:
        known = (root / NOTE).is_file() and (root / NOTE).read_bytes() == text.encode()
        return known and all(path.is_file() for path in jobs(root))

    if is_whole():
        return
    if root.is_dir() and (held := sorted(p.name for p in root.iterdir() if p.suffix != ".tmp")):
        raise FileExistsError(
            f"{root} holds {held[0]} and is not this phantom, or not all of it. It is left alone: "
            "write to another folder, or remove it if nothing in it is needed"
        )
    try:
        with atomic_folder(root) as folder:
            with threadpool_limits(1, "blas"):  # more cost more than they gain in small steps
                for write_file in progress(jobs(folder).values()):
                    write_file()
            (folder / NOTE).write_text(text)
    except OSError:
        if not is_whole():  # else another process was quicker
            raise
