"""A notebook file, read once: its cells, parameters, title, question, and a digest of its code."""

import difflib
import hashlib
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import medsr_lib
from medsr_lib.series import parameters
from medsr_lib.series.parameters import Parameter

if TYPE_CHECKING:
    from medsr_lib.data.layouts import Options

FOLDERS = {"data_dir": "--data", "out_dir": "--out"}  # parameters that every notebook has
READING = "reading"  # the one that says how images and masks are to be understood
SERIES = re.compile(r"\d\d_(?!.*-Copy\d).+")  # what its notebooks are called
INJECTED = "injected-parameters"  # papermill's tag of the cell that it adds


@dataclass(frozen=True, eq=False)
class Notebook:
    """A notebook.

    Attributes:
        path: of its file.
        content: the file in nbformat 4.
    """

    path: Path
    content: Any

    @property
    def name(self) -> str:
        """Of the file, without `.ipynb`."""
        return self.path.stem

    @property
    def code(self) -> list[Any]:
        """The code cells as their author wrote them, without the one that papermill adds."""
        cells = self.content.cells
        return [c for c in cells if c.cell_type == "code" and INJECTED not in tags(c)]

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """What its one code cell tagged `parameters` defines.

        Raises:
            ValueError: there is no such cell, or several, or it holds more than assignments of
                literals.
        """
        cells = [cell for cell in self.code if "parameters" in tags(cell)]
        if len(cells) != 1:
            raise ValueError(
                f"{self.path.name} has {len(cells) or 'no'} code cells tagged 'parameters'; one is "
                "needed"
            )
        return parameters.read(cells[0].source, where=self.path.name)

    @property
    def defaults(self) -> dict[str, object]:
        """The value of each parameter in the file."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @property
    def title(self) -> str:
        """The first heading, without Markdown's signs."""
        headings = (line.lstrip("#").strip() for line in self._prose if line[:1] == "#")
        return plain(next(filter(None, headings), ""))

    @property
    def question(self) -> str:
        """The paragraph in bold type below the title: what the notebook asks."""
        first, second = [*filter(str.strip, self._prose), "", ""][:2]
        bold, end, _ = second.removeprefix("**").partition("**")
        asked = first.lstrip()[:1] == "#" and second[:2] == "**" and end
        return plain(bold) if asked and "*" not in bold else ""

    @cached_property
    def digest(self) -> str:
        """The sha256 of its code cells; outputs and text do not change it."""
        code = "\0".join(cell.source for cell in self.code)
        return hashlib.sha256(code.encode()).hexdigest()

    @property
    def _prose(self) -> list[str]:
        texts = (c.source for c in self.content.cells if c.cell_type == "markdown")
        return [line for text in texts for line in text.splitlines()]


def read(path: Path) -> Notebook:
    """Read a notebook.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a Jupyter notebook.
    """
    # Where JupyterLab is installed, jsonschema would spend a second on a grammar of addresses.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import nbformat

    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a mark
        return Notebook(path, nbformat.reads(text, as_version=4))
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook (nbformat 4)") from error


def find(names: Sequence[str], folder: Path | None = None) -> list[Notebook]:
    """Read the notebooks `names`, given by number ("02") or name ("02_espcn"); all for [].

    They are the files `NN_name.ipynb` in `folder`, by default the `default_folder`; a warning names
    other notebooks there, such as JupyterLab's untitled ones and copies.

    Raises:
        FileNotFoundError: the folder does not exist or has no notebooks.
        ValueError: no notebook has this name (the message lists those that exist), or a file is no
            notebook.
    """
    folder = folder or default_folder()
    every = sorted(folder.glob("*.ipynb"))
    present = [path for path in every if SERIES.fullmatch(path.stem)]
    if others := [path.name for path in every if path not in present]:
        warnings.warn(f"{folder}: not of the series: {', '.join(others)}", stacklevel=1)
    if not present:
        raise FileNotFoundError(f"no notebooks in {folder} (NN_name.ipynb)")
    wanted: set[Path] = set()
    for name in names:
        stem = name.removesuffix(".ipynb")
        found = {p for p in present if p.stem == stem or p.stem.split("_")[0] == stem.zfill(2)}
        if not found:
            raise ValueError(
                f"no notebook {name!r}; there are {', '.join(p.stem for p in present)}"
            )
        wanted |= found
    return [read(path) for path in sorted(wanted or present)]


def default_folder() -> Path:
    """The notebooks beside the package, as in a clone, or those of the current folder."""
    beside = Path(medsr_lib.__file__).resolve().parents[1] / "notebooks"
    return beside if beside.is_dir() else Path("notebooks").resolve()


def accepted(
    notebooks: Sequence[Notebook], values: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """For each notebook, by its name, those of the `values` that are parameters of it.

    Raises:
        ValueError: a name that no notebook has, a value of the wrong type or out of range (all such
            problems are listed), a folder given as a parameter, or a notebook without `data_dir` or
            `out_dir`.
    """
    for name, option in FOLDERS.items():
        if name in values:
            raise ValueError(f"{name} is not given as a parameter; use {option}")
    for one in notebooks:
        if missing := FOLDERS.keys() - one.parameters.keys():
            names = ", ".join(sorted(missing))
            raise ValueError(f"{one.path.name}: no {names} in its parameters cell")
    known = sorted({name for one in notebooks for name in one.parameters})
    problems = [_unknown(name, known) for name in values if name not in known] + [
        f"{one.name}: {problem}"
        for one in notebooks
        for name, parameter in one.parameters.items()
        if name in values and (problem := parameter.problem(values[name]))
    ]
    if problems:
        raise ValueError("\n".join(problems))
    reading(values)
    return {
        one.name: {name: value for name, value in values.items() if name in one.parameters}
        for one in notebooks
    }


def reading(values: Mapping[str, object]) -> "Options":
    """How images and masks are to be understood, as parameters say.

    Raises:
        ValueError: as `layouts.options_of`; it names the parameter.
    """
    from medsr_lib.data import layouts

    try:
        return layouts.options_of(values.get(READING, {}))  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{READING}: {error}") from None


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def plain(markdown: str) -> str:
    """A line of Markdown as plain text."""
    return re.sub(r"[*`_#$]", "", re.sub(r"\[([^][]*)\]\([^()]*\)", r"\1", markdown)).strip()


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"no parameter {name!r}{hint} The notebooks have: {', '.join(known) or 'none'}"
