"""Which folder of data each notebook reads, and the embedded data, which anyone can make.

The comment at `data_dir` in a notebook's parameters cell says what it reads, in the names of
`source.SOURCES` and `source.OPEN`, of those that may be given the best first:

    data_dir = "../data/phantom"  # brain slices, or images and masks

Or it says "any images". A comment that names none of them leaves it at the kind of the embedded
data that `data_dir` names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medsr_lib.data import phantom, source
from medsr_lib.data.layouts import DEFAULTS, Options
from medsr_lib.data.phantom.files import Progress, bar
from medsr_lib.data.source import Source
from medsr_lib.series.notebook import Notebook

EMBEDDED = {  # folders of synthetic data; a notebook whose `data_dir` is called so reads the source
    Path("data/phantom"): source.FIGSHARE,
    Path("data/phantom-chest"): source.CHEST_XRAY,
}
ANY = "any images"


def embedded(notebooks: Sequence[Notebook]) -> dict[Path, list[Source]]:
    """The folders of the embedded data that the notebooks read, and the kind in each."""
    wanted = [_embedded(notebook) or source.FIGSHARE for notebook in notebooks]
    return {folder: [kind] for folder, kind in EMBEDDED.items() if kind in wanted}


def write(folder: Path, progress: Progress = bar) -> None:
    """Write embedded data into their own folder, unless they are there; nothing into others."""
    kind = {place.resolve(): kind for place, kind in EMBEDDED.items()}.get(folder.resolve())
    if kind is source.FIGSHARE:
        phantom.write_figshare(folder, **phantom.EMBEDDED, progress=progress)
    elif kind is source.CHEST_XRAY:
        phantom.write_chest_xray(folder, **phantom.EMBEDDED_CHEST, progress=progress)


def write_embedded(notebooks: Sequence[Notebook] | None = None) -> list[Path]:
    """Write the embedded data that the notebooks read, all by default; their folders."""
    found = list(EMBEDDED if notebooks is None else embedded(notebooks))
    for folder in found:
        write(folder)
    return found


def assign(
    notebooks: Sequence[Notebook],
    folders: Sequence[Path] | Mapping[Path, list[Source]],
    *,
    named: bool,
    options: Options = DEFAULTS,
) -> tuple[dict[str, Path], list[str]]:
    """The folder of data for each notebook, by its name, and a line on each that is left out.

    Of several kinds of data that a notebook reads, it is given the first that is there. One that
    reads data of an unknown source is given the first folder.

    Args:
        notebooks: to be run.
        folders: of data, one or several; a mapping says what each holds, and none need be there.
        named: they were chosen by name, so that none may be left out.
        options: how a folder of images and masks is to be understood.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no folder holds what a notebook needs, and it was named or nothing else can run;
            or two folders hold it; or as `source.held`.
    """
    if not isinstance(folders, Mapping):
        folders = {folder: source.held(folder, options=options) for folder in folders}
    given: dict[str, Path] = {}
    without: list[str] = []
    for notebook in notebooks:
        kinds = _reads(notebook)
        kind = next(
            (kind for kind in kinds if any(kind in held for held in folders.values())), None
        )
        fit = [folder for folder in folders if kind in folders[folder]]
        if kind and len(fit) > 1:
            both = " and ".join(map(str, fit))
            raise ValueError(f"{notebook.name}: {both} both hold {kind.name}; give one of them")
        if fit or not kinds:
            given[notebook.name] = (fit or list(folders))[0]
        else:
            held = ", ".join(
                f"{folder} holds {' and '.join(s.name for s in found) or 'no data of a known kind'}"
                for folder, found in folders.items()
            )
            needs = " or ".join(f"{kind.name} ({kind.layout})" for kind in kinds)
            without.append(f"{notebook.name} needs {needs}, but {held}")
    if without and (named or not given):
        raise ValueError("\n".join(without))
    return given, without


def _reads(notebook: Notebook) -> list[Source]:
    """The kinds of data that a notebook reads, the best first; none if they are not known."""
    own, every = _embedded(notebook), [*source.SOURCES, source.OPEN]
    comment = notebook.parameters["data_dir"].comment if "data_dir" in notebook.parameters else ""
    if ANY in comment:
        return sorted(every, key=lambda kind: kind is not own)
    named = [kind for kind in every if kind.name in comment]
    named.sort(key=lambda kind: comment.index(kind.name))
    return named or ([own] if own else [])


def _embedded(notebook: Notebook) -> Source | None:
    """The source of the embedded data that a notebook's own `data_dir` names; None if unknown."""
    name = Path(str(notebook.defaults.get("data_dir", ""))).name
    return next((kind for folder, kind in EMBEDDED.items() if folder.name == name), None)
