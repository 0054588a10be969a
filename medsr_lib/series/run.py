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
from medsr_lib.series import clean, execute, manifest, page, report, sources, summary
from medsr_lib.series.parameters import Parameter, check, parameters_of, parse
from medsr_lib.series.progress import watch
from medsr_lib.series.report import Result

__all__ = ["Parameter", "Result", "check", "find", "parameters_of", "parse", "refresh", "run"]

FOLDERS = {"data_dir": "--data", "out_dir": "--out"}  # every notebook has these two
LARGEST = 5_000_000  # bytes of a notebook that is kept with its outputs


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
    data: Path | str | Sequence[Path | str],
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
        data: folder of the data, or several: each notebook is given the one that holds what its own
            `data_dir` names, slices or radiographs. Of all notebooks, those without data are left
            out; `out/index.html` says so.
        out: folder of the run, given as `out_dir`.
        parameters: further values, each for all of the notebooks that have it.
        folder: where the notebooks are; by default beside the package or in the current folder.
        progress: show on stderr what is running: bars on a terminal, lines in a log.
        timeout: seconds that a single cell may take.

    Raises:
        FileNotFoundError: a folder of `data` is not there.
        ValueError: an unknown notebook or parameter, a value of the wrong type, or a notebook that
            was named and whose kind of data is not given.
    """
    notebooks = find(names, folder or notebooks_folder())
    out = Path(out)
    given_data = [data] if isinstance(data, str | Path) else data
    places = [Path(one) for one in given_data]
    given = accepted(notebooks, parameters or {})
    folders, without = sources.assign(notebooks, places, named=bool(names))
    results = [_waiting(path, given[path] | _folders(folders[path], out)) for path in folders]
    report_index = partial(
        _index,
        out,
        manifest.earlier(out),
        data=[str(one) for one in places],
        command=_command(names, places, out, parameters or {}),
        without=without,
    )
    report_index(results)
    with execute.Stop() as stop, watch(_cells(list(folders)), show=progress) as shown:
        for line in without:
            shown.end(f"left out: {line}")
        for number, path in enumerate(folders):
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


def _folders(data: Path, out: Path) -> dict[str, str]:
    return {"data_dir": str(data.resolve()), "out_dir": str(out.resolve())}


def _waiting(path: Path, given: Mapping[str, object]) -> Result:
    defaults = {p.name: p.default for p in parameters_of(path).values()}
    changed = [k for k, v in given.items() if k not in FOLDERS and v != defaults[k]]
    notebook = clean.read(path)
    return Result(
        notebook=path.stem,
        title=report.title_of(notebook),
        question=report.question_of(notebook),
        digest=manifest.digest(path),
        parameters=defaults | dict(given),
        changed=tuple(sorted(changed)),
    )


def _one(
    path: Path, result: Result, out: Path, position: execute.Position, timeout: float | None
) -> Result:
    """Run one notebook and write its page; what an earlier run left there goes first."""
    copy, html, own = out / path.name, out / f"{path.stem}.html", out / path.stem
    own.mkdir(parents=True, exist_ok=True)
    (own / "results.json").unlink(missing_ok=True)
    html.unlink(missing_ok=True)
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
        page=html,
        record=report.load_record(own),
    )
    report.write(copy, clean.text(clean.executed(clean.read(copy))))
    page.notebook_page(copy, html, failed_cell=done.cell)
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


def _index(out: Path, before: Sequence[Result], results: Sequence[Result], **about: Any) -> None:
    """Write `run.json` and the index: this run, and what earlier runs left in the same folder."""
    former = {result.notebook: result for result in before}
    others = [former[name] for name in former.keys() - {result.notebook for result in results}]
    # What has not run yet may have left results of before, made with the parameters of before.
    told = [former.get(r.notebook, r) if r.status == "not run" else r for r in results]
    manifest.write(out, [*told, *others], **about)
    shown = [r if r.record else replace(r, record=_left(out, r)) for r in results]
    summary.index_page(out, [*shown, *others], **about)


def _left(out: Path, result: Result) -> dict[str, Any] | None:
    return report.load_record(out / result.notebook)


def _command(
    names: Sequence[str], data: Sequence[Path], out: Path, parameters: Mapping[str, object]
) -> str:
    """The command line that makes the same run."""
    settings = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    flags = [word for setting in settings for word in ("-p", setting)]
    folders = [word for folder in data for word in ("--data", str(folder))]
    return shlex.join(["medsr", "run", *names, *folders, "--out", str(out), *flags])


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
