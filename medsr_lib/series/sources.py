"""Which data a notebook reads, and which of the given folders holds them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsr_lib.series.parameters import parameters_of

SPLITS = ("train", "val", "test")
LABELS = ("NORMAL", "PNEUMONIA")


@dataclass(frozen=True)
class Source:
    """A kind of data.

    Attributes:
        name: as people say it.
        embedded: the folder that the synthetic ones are written to; a notebook whose `data_dir`
            has this name by default reads this kind.
        marker: what is found in every folder of it, for `session.data_folder`.
        layout: how its folders look.
    """

    name: str
    embedded: Path
    marker: str
    layout: str


SLICES = Source("slices", Path("data/phantom"), "1.mat", "N.mat files")
RADIOGRAPHS = Source(
    "radiographs",
    Path("data/phantom-chest"),
    "train/NORMAL",
    "train/ and test/ with NORMAL/ and PNEUMONIA/",
)
SOURCES = (SLICES, RADIOGRAPHS)


def source_of(notebook: Path) -> Source | None:
    """The kind of data that the notebook's own `data_dir` names; None of an unknown one."""
    default = parameters_of(notebook).get("data_dir")
    name = Path(str(default.default)).name if default else ""
    return next((source for source in SOURCES if source.embedded.name == name), None)


def held(folder: Path) -> list[Source]:
    """The kinds of data in a folder, or in folders below it.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the folder of the data")
    return [source for source in SOURCES if _holds(folder, source)]


def embedded(notebooks: Iterable[Path]) -> list[Path]:
    """The folders of the synthetic data that these notebooks read."""
    wanted = [source_of(path) or SLICES for path in notebooks]
    return [source.embedded for source in SOURCES if source in wanted]


def assign(
    notebooks: Sequence[Path], folders: Sequence[Path], *, named: bool
) -> tuple[dict[Path, Path], list[str]]:
    """The folder of data for each notebook, and a line on each one that is left out.

    A notebook that reads a kind of data unknown here is given the first folder.

    Args:
        notebooks: to be run.
        folders: of data, one or several.
        named: they were asked for by name, so that none may be left out.

    Raises:
        FileNotFoundError: a folder is not there.
        ValueError: no folder holds what a notebook needs, and it was named or is one of all that
            cannot run; or two folders hold it.
    """
    there = {folder: held(folder) for folder in folders}
    given: dict[Path, Path] = {}
    without: list[str] = []
    for path in notebooks:
        source = source_of(path)
        fit = [f for f in folders if source in there[f]] if source else list(folders[:1])
        if len(fit) > 1:
            kind = source.name if source else "data"
            both = " and ".join(map(str, fit))
            raise ValueError(f"{path.stem}: {both} both hold {kind}; give one of them")
        if fit:
            given[path] = fit[0]
        elif source:
            without.append(f"{path.stem} needs {source.name} ({source.layout}), {_found(there)}")
    if without and (named or not given):
        raise ValueError("\n".join(without))
    return given, without


def _holds(folder: Path, source: Source) -> bool:
    if source is SLICES:
        return any(p.name[0] != "." and p.name != "cvind.mat" for p in folder.rglob("*.mat"))
    if any((folder / split / label).is_dir() for split in SPLITS for label in LABELS):
        return True
    below = (path for label in LABELS for path in folder.rglob(f"*/{label}"))
    return any(path.is_dir() and path.parent.name in SPLITS for path in below)


def _found(there: dict[Path, list[Source]]) -> str:
    parts = [
        f"{folder} holds {' and '.join(s.name for s in kinds) or 'neither slices nor radiographs'}"
        for folder, kinds in there.items()
    ]
    return "but " + ", ".join(parts)
