"""Run the notebooks of the series, two at a time, with parameters checked beforehand."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from joblib import cpu_count
from tqdm import tqdm

from medsr_lib import checks
from medsr_lib.data import source
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs, report
from medsr_lib.series.notebook import FOLDERS, Notebook
from medsr_lib.series.pages import formatting, index, page
from medsr_lib.series.parameters import dump
from medsr_lib.series.report import Result, Run, Status
from medsr_lib.series.running import crate, execute, folders, lock

TRAINS = "resume_from"  # a parameter of notebooks that train networks for those after them
AT_A_TIME = 2  # notebooks: most wait for one before them


def run(
    names: Sequence[str],
    *,
    data: Path | Sequence[Path] | Mapping[str, Path] | None = None,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
    at_a_time: int | None = None,
) -> list[Result]:
    """Run notebooks by papermill; each leaves its copy, its page and its own folder in `out`.

    A notebook begins when those of the same data that it may need have ended: the first, which
    packs the images, and all before it that train networks. Beside it runs one that is as far.
    stderr shows what is running: a bar each on a terminal, lines in a log. After a cell has failed
    no further notebook begins. `out/index.html` says how far it came, also after Ctrl-C.

    Args:
        names: numbers or names of notebooks, [] for all.
        data: folder of the data, or several: each notebook is given the one that holds what it
            reads, as its parameters cell says (see `folders`). Of all notebooks, those without data
            are left out; `out/index.html` says so. A mapping gives each notebook, by its name, its
            own without asking. By default the embedded data; those that are missing are written
            one after the other, while notebooks whose data are there run.
        out: folder of the run, given as `out_dir`.
        parameters: further values, each for all of the notebooks that have it.
        folder: where the notebooks are; see `notebook.find`.
        at_a_time: so many notebooks run side by side, and share the processor's cores; None: two,
            or one where there is one core.

    Raises:
        FileNotFoundError: a folder of `data` does not exist.
        ValueError: `at_a_time` below 1, an unknown notebook or parameter, a value that it cannot
            have, a notebook that was named and whose kind of data is not given, or another run in
            `out`.
    """
    if at_a_time is not None:
        checks.whole("at_a_time", at_a_time, least=1)
    found, values = notebooks.find(names, folder), dict(parameters or {})
    given = notebooks.accepted(found, values)
    options = notebooks.reading(values)
    without: list[str] = []
    if isinstance(data, Mapping):
        assigned, places = dict(data), list(data.values())
    else:
        there = folders.embedded(found) if data is None else data
        there = [there] if isinstance(there, Path) else there
        places = list(there)
        for place in places if data is None else ():
            if place.exists():
                folders.write(place)  # refuses other files; what is missing is written in time
        assigned, without = folders.assign(found, there, named=bool(names), options=options)
    found = [notebook for notebook in found if notebook.name in assigned]
    results = [_waiting(one, given[one.name], assigned[one.name], out) for one in found]
    about = Run(
        folder=out,
        results=(),
        command=_command(names, places, out, values),
        data=[str(place) for place in places],
        without=without,
        versions=report.versions(),
        inputs=crate.of_files(assigned, out, values),
    )
    if data is not None:  # the embedded data may not be there before the end
        about = replace(about, inputs={**about.inputs, **crate.of_data(places, options)})
    needs = _needs(found, assigned)
    at_a_time = at_a_time or min(AT_A_TIME, cpu_count())
    running: dict[Future[Result], int] = {}
    with (
        lock.hold(out),
        execute.Stop() as stop,
        ThreadPoolExecutor(1) as writer,
        ThreadPoolExecutor(at_a_time) as pool,
    ):
        written = {
            place.resolve(): writer.submit(folders.write, place, stop.follow)
            for place in (places if data is None else ())
        }
        about = replace(about, results=report.earlier(out))
        _write(about, results)
        for line in without:
            tqdm.write(f"left out: {line}", file=sys.stderr)
        while True:
            for i in _ready(results, needs) if not stop.presses else ():
                if len(running) < at_a_time and i not in running.values():
                    position = execute.Position(found[i], stop, at_a_time)
                    ready = written.get(Path(str(results[i].parameters["data_dir"])))
                    running[pool.submit(_one, results[i], out.resolve(), position, ready)] = i
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                i = running.pop(future)
                results[i] = future.result()
                tqdm.write(outcome(results[i]), file=sys.stderr)
                _write(about, results)
        if data is None:
            about = replace(about, inputs={**about.inputs, **crate.of_data(places, options)})
            _write(about, results)
        crate.write(replace(about, results=results, created=report.now()))
    if stop.presses:
        raise KeyboardInterrupt
    return results


def _needs(found: Sequence[Notebook], data: Mapping[str, Path]) -> list[set[int]]:
    """For each notebook, the places in `found` of those that must have ended before it begins."""
    needs = []
    for i, one in enumerate(found):
        same = [j for j in range(i) if data[found[j].name] == data[one.name]]
        needs.append({j for j in same if j == same[0] or TRAINS in found[j].parameters})
    return needs


def _ready(results: Sequence[Result], needs: Sequence[set[int]]) -> list[int]:
    """The places of notebooks that may begin or have begun; none after one has failed."""
    if any(result.status in (Status.FAILED, Status.STOPPED) for result in results):
        return []
    waiting = {i for i, result in enumerate(results) if result.status is Status.WAITING}
    return sorted(i for i in waiting if not needs[i] & waiting)


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
        parameters=defaults | dict(given) | places,
        changed=tuple(sorted(name for name, value in given.items() if value != defaults[name])),
    )


def _one(
    result: Result, out: Path, position: execute.Position, written: Future[None] | None = None
) -> Result:
    """Run one notebook and write its page; what an earlier run left there is removed first.

    It starts when its data, where they are the embedded ones, are `written`.
    """
    notebook = position.notebook
    copy, html, own = out / notebook.path.name, out / f"{notebook.name}.html", out / notebook.name
    own.mkdir(parents=True, exist_ok=True)
    for left in (own / report.RECORD, html):
        left.unlink(missing_ok=True)
    started, data = time.monotonic(), Path(str(result.parameters["data_dir"]))
    try:
        if written:
            written.result()
        reading = notebooks.reading(result.parameters)
        result = replace(result, content=source.content(data, reading=reading))
    except (KeyboardInterrupt, OSError, ValueError) as none:
        position.bar.close()
        stopped = isinstance(none, KeyboardInterrupt)
        status, why = (Status.STOPPED, execute.STOPPED) if stopped else (Status.FAILED, str(none))
        return replace(result, status=status, seconds=time.monotonic() - started, error=why)
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
