"""The folder of a run: `run.json` says what ran there, with which parameters, and how it ended."""

import ast
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsr_lib.series import clean, report
from medsr_lib.series.parameters import parameters_of
from medsr_lib.series.report import Result

FORMAT = "medsr run 1"
NAME = "run.json"
LOCAL = ("data_dir", "out_dir")
LEFT_OUT = {"executed", "page", "record"}  # of a result: found anew in the folder


@dataclass(frozen=True)
class Run:
    """What a folder tells of a run.

    Attributes:
        folder: of the run.
        results: of all notebooks, in their order.
        command, data, without: as `write` was given them; empty of a run of before.
        versions: of what the numbers depend on.
        created: when it was written, ISO 8601.
    """

    folder: Path
    results: tuple[Result, ...]
    command: str = ""
    data: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


def write(
    out: Path,
    results: Sequence[Result],
    *,
    command: str = "",
    data: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Path:
    """Write `out/run.json`, all or nothing.

    Args:
        out: folder of the run.
        results: of its notebooks.
        command: the command line that makes the same run.
        data: the folders of data.
        without: a line on each notebook that was left out.
    """
    content = {
        "format": FORMAT,
        "created": report.now(),
        "command": command,
        "data": list(data),
        "without": list(without),
        "versions": report.versions(),
        "notebooks": [_told(result) for result in sorted(results, key=lambda r: r.notebook)],
    }
    return report.save(out / NAME, content)


def read(folder: Path) -> Run:
    """What is known of the run in a folder.

    A folder without `run.json`, as runs of before have left them, is read from its notebooks.

    Raises:
        FileNotFoundError: no such folder, or no run in it.
        ValueError: `run.json` is damaged or of another version.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    path = folder / NAME
    if not path.is_file():
        results = left(folder)
        if not results:
            raise FileNotFoundError(
                f"{folder} is not the folder of a run: no {NAME} in it, and no NN/results.json; "
                "give the folder that `medsr run --out` wrote"
            )
        return Run(folder, tuple(results))
    content = _content(path)
    try:
        results = [_result(folder, told) for told in content["notebooks"]]
        return Run(
            folder,
            tuple(results),
            command=content["command"],
            data=tuple(content["data"]),
            without=tuple(content["without"]),
            versions=content["versions"],
            created=content["created"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error!r} is missing); run it again") from None


def earlier(folder: Path) -> list[Result]:
    """What earlier runs have finished in a folder, as far as it can be read; [] of a new one."""
    try:
        found = read(folder).results
    except (OSError, ValueError):
        found = tuple(left(folder)) if folder.is_dir() else ()
    return [replace(r, status="earlier run") for r in found if r.record and r.status != "failed"]


def left(folder: Path) -> list[Result]:
    """The notebooks whose results lie in a folder, with their parameters where a copy is there."""
    names = sorted(path.parent.name for path in folder.glob("*/results.json"))
    return [_found(folder, name) for name in names]


def digest(notebook: Path) -> str:
    """What tells one state of a notebook's code from another: its cells, not their outputs."""
    cells = [cell.source for cell in clean.code_cells(clean.read(notebook))]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def settings(result: Result) -> dict[str, object]:
    """The parameters of a notebook that are not folders."""
    return {name: v for name, v in result.parameters.items() if name not in LOCAL}


def _told(result: Result) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(result) if f.name not in LEFT_OUT]
    return {name: getattr(result, name) for name in fields}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error}); run it again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        there = content.get("format") if isinstance(content, dict) else None
        raise ValueError(
            f"{path}: of another version: its format is {there!r}, expected {FORMAT!r}; run it "
            "again with this version"
        )
    return content


def _result(folder: Path, told: Mapping[str, Any]) -> Result:
    names = {f.name for f in dataclasses.fields(Result)} - LEFT_OUT
    known = {name: v for name, v in told.items() if name in names}
    known["changed"] = tuple(known.get("changed", ()))
    return _with_files(folder, Result(**known))


def _with_files(folder: Path, result: Result) -> Result:
    copy, page = folder / f"{result.notebook}.ipynb", folder / f"{result.notebook}.html"
    return replace(
        result,
        executed=copy if copy.is_file() else None,
        page=page if page.is_file() else None,
        record=report.load_record(folder / result.notebook),
    )


def _found(folder: Path, name: str) -> Result:
    """A notebook of a run that has no `run.json`."""
    result = _with_files(folder, Result(name, "earlier run"))
    if result.executed is None:
        return result
    try:
        notebook = clean.read(result.executed)
        defaults = {p.name: p.default for p in parameters_of(result.executed).values()}
    except ValueError:  # cannot be read; the results can
        return result
    given = _injected(notebook)
    changed = [k for k, v in given.items() if k not in LOCAL and v != defaults.get(k)]
    return replace(
        result,
        title=report.title_of(notebook),
        question=report.question_of(notebook),
        parameters=defaults | given,
        changed=tuple(sorted(changed)),
    )


def _injected(notebook: Any) -> dict[str, object]:
    """The values that papermill has written into a copy."""
    values: dict[str, object] = {}
    for cell in notebook.cells:
        if clean.INJECTED in clean.tags(cell):
            for line in ast.parse(cell.source).body:
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                    values[line.targets[0].id] = _literal(line.value)
    return values


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:  # float("nan"), for one
        return ast.unparse(node)
