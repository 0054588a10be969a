"""Run the notebooks of the series, one after the other, with parameters checked beforehand."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from medsr_lib.data import source
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs, report
from medsr_lib.series.notebook import FOLDERS, Notebook
from medsr_lib.series.pages import formatting, index, page
from medsr_lib.series.parameters import dump
from medsr_lib.series.report import Result, Run, Status
from medsr_lib.series.running import execute, folders, lock

BAR = "{desc} {bar:20} {percentage:3.0f}% {elapsed}{postfix}"  # on a terminal; a log has lines


def run(
    names: Sequence[str],
    *,
    data: Path | Sequence[Path] | Mapping[str, Path] | None = None,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
) -> list[Result]:
    """Run notebooks by papermill; each leaves its copy, its page and its own folder in `out`.

    stderr shows what is running: a bar on a terminal, lines in a log. The first cell that fails
    ends the run. `out/index.html` says how far it came, also after Ctrl-C.

    Args:
        names: numbers or names of notebooks, [] for all.
        data: folder of the data, or several: each notebook is given the one that holds what it
            reads, as its parameters cell says (see `folders`). Of all notebooks, those without data
            are left out; `out/index.html` says so. A mapping gives each notebook, by its name, its
            own without asking. By default the embedded data, which are written where they are
            missing.
        out: folder of the run, given as `out_dir`.
        parameters: further values, each for all of the notebooks that have it.
        folder: where the notebooks are; see `notebook.find`.

    Raises:
        FileNotFoundError: a folder of `data` does not exist.
        ValueError: an unknown notebook or parameter, a value that it cannot have, a notebook that
            was named and whose kind of data is not given, or another run in `out`.
    """
    found, values = notebooks.find(names, folder), dict(parameters or {})
    given = notebooks.accepted(found, values)
    if data is None:
        data = folders.write_embedded(found)
    options = notebooks.reading(values)
    without: list[str] = []
    if isinstance(data, Mapping):
        assigned, places = dict(data), list(data.values())
    else:
        places = [data] if isinstance(data, Path) else list(data)
        assigned, without = folders.assign(found, places, named=bool(names), options=options)
    found = [notebook for notebook in found if notebook.name in assigned]
    results = [_waiting(one, given[one.name], assigned[one.name], out) for one in found]
    about = Run(
        folder=out,
        results=(),
        command=_command(names, places, out, values),
        data=[str(place) for place in places],
        without=without,
        versions=report.versions(),
    )
    cells = sum(len(notebook.code) for notebook in found)
    with (
        lock.hold(out),
        execute.Stop() as stop,
        tqdm(total=cells, bar_format=BAR, disable=None, leave=False, dynamic_ncols=True) as bar,
    ):
        about = replace(about, results=report.earlier(out))
        _write(about, results)
        for line in without:
            bar.write(f"left out: {line}", file=sys.stderr)
        for number, notebook in enumerate(found):
            position = execute.Position(notebook, bar, stop)
            results[number] = _one(results[number], out.resolve(), position)
            bar.write(outcome(results[number]), file=sys.stderr)
            _write(about, results)
            if stop.presses:
                raise KeyboardInterrupt
            if results[number].status is Status.FAILED:
                break
    return results


def outcome(result: Result) -> str:
    """One line on how a notebook ended."""
    took = formatting.duration(result.seconds)
    if not result.error:
        return f"{result.notebook}  {result.status} in {took}"
    where = f"in cell {result.cell} " if result.cell else ""
    return f"{result.notebook}  {result.status} {where}after {took}: {result.error.splitlines()[0]}"


def _write(about: Run, results: Sequence[Result]) -> None:
    """Write `run.json` and the index of a run whose folder has the results `about` from before."""
    before = {result.notebook: result for result in about.results}
    known = before | {result.notebook: result for result in results}
    waiting = [r for r in results if r.status is Status.WAITING and r.notebook in before]
    # run.json keeps the parameters with which the results there were made
    kept = known | {r.notebook: before[r.notebook] for r in waiting}
    shown = known | {r.notebook: replace(r, record=before[r.notebook].record) for r in waiting}
    about = replace(about, created=report.now())
    report.write_run(replace(about, results=list(kept.values())))
    index.write(replace(about, results=list(shown.values())))


def _waiting(notebook: Notebook, given: Mapping[str, object], data: Path, out: Path) -> Result:
    """A notebook that will run with these values."""
    defaults = notebook.defaults
    places = {"data_dir": str(data.resolve()), "out_dir": str(out.resolve())}
    return Result(
        notebook=notebook.name,
        title=notebook.title,
        question=notebook.question,
        digest=notebook.digest,
        content=source.content(data, reading=notebooks.reading(given)),
        parameters=defaults | dict(given) | places,
        changed=tuple(sorted(name for name, value in given.items() if value != defaults[name])),
    )


def _one(result: Result, out: Path, position: execute.Position) -> Result:
    """Run one notebook and write its page; what an earlier run left there is removed first."""
    notebook = position.notebook
    copy, html, own = out / notebook.path.name, out / f"{notebook.name}.html", out / notebook.name
    own.mkdir(parents=True, exist_ok=True)
    for left in (own / report.RECORD, html):
        left.unlink(missing_ok=True)
    started = time.monotonic()
    values = {name: result.parameters[name] for name in (*FOLDERS, *result.changed)}
    error = execute.execute(copy, values, position)
    ended_badly = Status.STOPPED if error == execute.STOPPED else Status.FAILED
    notes: list[str] = []
    done = replace(
        result,
        status=ended_badly if error else Status.DONE,
        seconds=time.monotonic() - started,
        error=error,
        cell=position.number or None if error else None,
        source=position.source if error else None,
        executed=copy,
        page=html,
        record=report.load_record(own, notes),
        notes=notes,
    )
    try:
        run = notebooks.read(copy)
        report.write(copy, outputs.text(outputs.clean(run.content)))
        page.write(run, html, record=done.record, failed_cell=done.cell)
    except Exception as unwritten:  # of whatever makes pages: the notebook has run all the same
        note = f"{html.name} could not be written ({type(unwritten).__name__}: {unwritten})"
        position.bar.write(note, file=sys.stderr)
        done = replace(done, page=None, notes=[*notes, note])
    return done


def _command(
    names: Sequence[str], data: Sequence[Path], out: Path, parameters: Mapping[str, object]
) -> str:
    """The command line that makes the same run."""
    flags = [w for name, v in parameters.items() for w in ("-p", f"{name}={dump(v)}")]
    places = [word for place in data for word in ("--data", str(place))]
    return shlex.join(["medsr", "run", *names, *places, "--out", str(out), *flags])
