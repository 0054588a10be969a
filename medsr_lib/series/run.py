"""Run the notebooks of the series, one after the other, with parameters checked beforehand."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import medsr_lib
from medsr_lib.series import clean, execute, report
from medsr_lib.series.parameters import Parameter, check, parameters_of, parse
from medsr_lib.series.progress import watch
from medsr_lib.series.report import Result

__all__ = ["Parameter", "Result", "check", "find", "parameters_of", "parse", "refresh", "run"]

FOLDERS = {"data_dir": "--data", "out_dir": "--out"}  # every notebook has these two
LARGEST = 1_500_000  # bytes of a notebook that is kept with its outputs


def find(names: Sequence[str], folder: Path) -> list[Path]:
    """The notebooks called `names` in `folder`, by number ("02") or name ("02_espcn"); all for [].

    Raises:
        FileNotFoundError: the folder is not there or has no notebooks.
        ValueError: a name that no notebook has; the message lists those that exist.
    """
    present = sorted(folder.glob("*.ipynb"))
    if not present:
        raise FileNotFoundError(f"no notebooks in {folder}")
    if not names:
        return present
    wanted = {path for name in names for path in _matching(name, present)}
    return sorted(wanted)


def run(
    names: Sequence[str],
    *,
    data: Path | str,
    out: Path | str,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
    progress: bool = True,
    timeout: float | None = None,
) -> list[Result]:
    """Run notebooks by papermill; each leaves its copy, its page and its own folder in `out`.

    The first cell that fails ends the run. `out/index.html` says how far it came, also after
    Ctrl-C.

    Args:
        names: numbers or names of notebooks, [] for all.
        data: folder of the slices, given to every notebook as `data_dir`.
        out: folder of the run, given as `out_dir`.
        parameters: further values, each for all of the notebooks that have it.
        folder: where the notebooks are; by default beside the package or in the current folder.
        progress: show on stderr what is running: bars on a terminal, lines in a log.
        timeout: seconds that a single cell may take.

    Raises:
        FileNotFoundError: `data` is not there.
        ValueError: an unknown notebook or parameter, or a value of the wrong type.
    """
    notebooks = find(names, folder or notebooks_folder())
    data, out = Path(data), Path(out)
    given = accepted(notebooks, parameters or {})
    if not data.is_dir():
        raise FileNotFoundError(f"there is no folder {data}; give the folder of the slices")
    report_index = partial(_index, out, str(data), _command(names, data, out, parameters or {}))
    folders = {"data_dir": str(data.resolve()), "out_dir": str(out.resolve())}
    results = [_waiting(path, given[path] | folders) for path in notebooks]
    report_index(results)
    with execute.Stop() as stop, watch(_cells(notebooks), show=progress) as shown:
        for number, path in enumerate(notebooks):
            position = execute.Position(shown, stop)
            results[number] = _one(path, results[number], out.resolve(), position, timeout)
            report_index(results)
            if stop.asked:
                raise KeyboardInterrupt
            if results[number].status == "failed":
                break
    return results


def refresh(results: Sequence[Result], folder: Path | None = None) -> list[Path]:
    """Put the outputs of a finished run into the notebooks themselves: all of them, or none.

    Raises:
        ValueError: a notebook failed, ran with other parameters than its own, was edited since,
            shows a local path, or becomes too large.
    """
    folder = folder or notebooks_folder()
    texts = {folder / f"{result.notebook}.ipynb": _refreshed(result, folder) for result in results}
    return [report.write(path, text) for path, text in texts.items()]


def notebooks_folder() -> Path:
    """The notebooks beside the package, as in a clone, or those of the current folder."""
    beside = Path(medsr_lib.__file__).resolve().parents[1] / "notebooks"
    return beside if beside.is_dir() else Path("notebooks").resolve()


def _matching(name: str, present: Sequence[Path]) -> list[Path]:
    stem = name.removesuffix(".ipynb")
    found = [p for p in present if p.stem == stem or p.stem.partition("_")[0] == stem.zfill(2)]
    if not found:
        raise ValueError(f"no notebook {name!r}; there are {', '.join(p.stem for p in present)}")
    return found


def accepted(
    notebooks: Sequence[Path], parameters: Mapping[str, object]
) -> dict[Path, dict[str, object]]:
    """`check`, and the folders are where `run` can give them."""
    for name, option in FOLDERS.items():
        if name in parameters:
            raise ValueError(f"{name} is not given as a parameter; use {option}")
    for path in notebooks:
        missing = FOLDERS.keys() - parameters_of(path).keys()
        if missing:
            raise ValueError(f"{path.name}: no {', '.join(sorted(missing))} in its parameters cell")
    return check(parameters, notebooks)


def _waiting(path: Path, given: Mapping[str, object]) -> Result:
    defaults = {p.name: p.default for p in parameters_of(path).values()}
    changed = [k for k, v in given.items() if k not in FOLDERS and v != defaults[k]]
    return Result(
        notebook=path.stem,
        title=report.title_of(clean.read(path)),
        parameters=defaults | dict(given),
        changed=tuple(sorted(changed)),
    )


def _one(
    path: Path, result: Result, out: Path, position: execute.Position, timeout: float | None
) -> Result:
    """Run one notebook and write its page; what an earlier run left there goes first."""
    copy, page, folder = out / path.name, out / f"{path.stem}.html", out / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").unlink(missing_ok=True)
    page.unlink(missing_ok=True)
    position.progress.start(path.stem, _cells([path]))
    started = time.monotonic()
    told = {name: result.parameters[name] for name in (*FOLDERS, *result.changed)}
    error = execute.execute(path, copy, told, position, timeout)
    done = replace(
        result,
        status="failed" if error else "done",
        seconds=time.monotonic() - started,
        error=error,
        cell=position.number or None if error else None,
        source=position.source if error else None,
        executed=copy,
        page=page,
        record=report.load_record(folder),
    )
    report.write(copy, clean.text(clean.executed(clean.read(copy))))
    report.notebook_page(copy, page, failed_cell=done.cell)
    position.progress.end(said(done))
    return done


def said(result: Result) -> str:
    """One line on how a notebook ended."""
    took = report.duration(result.seconds)
    if not result.error:
        return f"{result.notebook}  {result.status}{f' in {took}' if took else ''}"
    where = f"in cell {result.cell} " if result.cell else ""
    return f"{result.notebook}  failed {where}after {took}: {result.error.splitlines()[0]}"


def _cells(notebooks: Sequence[Path]) -> int:
    return sum(len(clean.code_cells(clean.read(path))) for path in notebooks)


def _index(out: Path, data: str, command: str, results: Sequence[Result]) -> None:
    """Write the index: this run, and what earlier runs left in the same folder."""
    ours = {result.notebook for result in results}
    shown = [r if r.record else replace(r, record=_left(out, r)) for r in results]
    earlier = [
        _earlier(out, path.parent.name)
        for path in out.glob("*/results.json")
        if path.parent.name not in ours
    ]
    report.index_page(out, shown + earlier, data=data, command=command)


def _left(out: Path, result: Result) -> dict[str, Any] | None:
    return report.load_record(out / result.notebook)


def _earlier(out: Path, name: str) -> Result:
    copy, page = out / f"{name}.ipynb", out / f"{name}.html"
    return Result(
        notebook=name,
        status="earlier run",
        title=report.title_of(clean.read(copy)) if copy.is_file() else "",
        executed=copy if copy.is_file() else None,
        page=page if page.is_file() else None,
        record=report.load_record(out / name),
    )


def _command(names: Sequence[str], data: Path, out: Path, parameters: Mapping[str, object]) -> str:
    """The command line that makes the same run."""
    settings = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    flags = [word for setting in settings for word in ("-p", setting)]
    return shlex.join(["medsr", "run", *names, "--data", str(data), "--out", str(out), *flags])


def _refreshed(result: Result, folder: Path) -> str:
    name = result.notebook
    if result.status != "done" or result.executed is None:
        raise ValueError(f"{name}: {result.status}; only a finished run can be kept")
    if result.changed:
        raise ValueError(f"{name} ran with its own {', '.join(result.changed)}; run the defaults")
    local = [Path(str(result.parameters[n])) for n in FOLDERS]
    local += [Path.home(), Path.cwd(), folder.resolve(), Path(sys.prefix), Path(gettempdir())]
    source = clean.read(folder / f"{name}.ipynb")
    try:
        text = clean.text(clean.with_outputs(source, clean.read(result.executed), local=local))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    size = len(text.encode())
    if size > LARGEST:
        raise ValueError(
            f"{name} has {size / 1000:.0f} kB with its outputs, more than {LARGEST / 1000:.0f} kB; "
            "make its figures smaller"
        )
    return text
