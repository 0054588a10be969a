"""Which folder of data each notebook reads, and the embedded data, which anyone can make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsr_lib.data import phantom, source
from medsr_lib.data.source import Source
from medsr_lib.series.notebook import Notebook


@dataclass(frozen=True)
class Embedded:
    """Synthetic data that stand in for a source where no folder is given.

    Attributes:
        source: what they look like.
        folder: where they are written to. A notebook whose `data_dir` has a folder of this name by
            default reads data of this source.
        write: writes them into a folder, unless they are there.
    """

    source: Source
    folder: Path
    write: Callable[[Path], object]


def _slices(folder: Path) -> None:
    phantom.write_figshare(folder, patients=24, slices_per_patient=4, seed=0)


def _radiographs(folder: Path) -> None:
    phantom.write_chest_xray(folder, patients=40, seed=0)


EMBEDDED = (
    Embedded(source.FIGSHARE, Path("data/phantom"), _slices),
    Embedded(source.CHEST_XRAY, Path("data/phantom-chest"), _radiographs),
)


def write_embedded(notebooks: Sequence[Notebook]) -> list[Path]:
    """The folders of the embedded data that the notebooks read; written unless they are there."""
    wanted = {_embedded(notebook) or EMBEDDED[0] for notebook in notebooks}
    for one in (found := [one for one in EMBEDDED if one in wanted]):
        one.write(one.folder)
    return [one.folder for one in found]


def assign(
    notebooks: Sequence[Notebook], folders: Sequence[Path], *, named: bool
) -> tuple[dict[str, Path], list[str]]:
    """The folder of data for each notebook, by its name, and a line on each that is left out.

    A notebook that reads data of an unknown source is given the first folder.

    Args:
        notebooks: to be run.
        folders: of data, one or several.
        named: they were chosen by name, so that none may be left out.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no folder holds what a notebook needs, and it was named or nothing else can run;
            or two folders hold it.
    """
    there = {folder: source.held(folder) for folder in folders}
    given: dict[str, Path] = {}
    without: list[str] = []
    for notebook in notebooks:
        reads = _embedded(notebook)
        fit = [f for f in folders if reads.source in there[f]] if reads else list(folders[:1])
        if reads and len(fit) > 1:
            both = " and ".join(map(str, fit))
            raise ValueError(f"{notebook.name}: {both} both hold {reads.source.name}; give one")
        if fit:
            given[notebook.name] = fit[0]
        elif reads:
            needed = f"{notebook.name} needs {reads.source.name} ({reads.source.layout})"
            without.append(f"{needed}, but {_found(there)}")
    if without and (named or not given):
        raise ValueError("\n".join(without))
    return given, without


def _embedded(notebook: Notebook) -> Embedded | None:
    """The embedded data that a notebook's own `data_dir` names; None of an unknown folder."""
    name = Path(str(notebook.defaults.get("data_dir", ""))).name
    return next((one for one in EMBEDDED if one.folder.name == name), None)


def _found(there: Mapping[Path, Sequence[Source]]) -> str:
    return ", ".join(
        f"{folder} holds {' and '.join(s.name for s in found) or 'no data of a known kind'}"
        for folder, found in there.items()
    )
