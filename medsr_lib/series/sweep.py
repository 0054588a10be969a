"""A grid of parameters: each combination is a run in a folder of its own, and all are tabulated."""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import medsr_lib
from medsr_lib import checks
from medsr_lib.data import source
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import report, run
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.pages import formatting, index, page
from medsr_lib.series.parameters import load, parse
from medsr_lib.series.report import Result, Status
from medsr_lib.series.running import cluster, folders, lock
from medsr_lib.series.sessions import session

TABLE = "sweep.csv"
LONGEST = 80  # characters of a folder's name


@dataclass(frozen=True)
class Combination:
    """One point of the grid."""

    values: Mapping[str, object]  # of its parameters
    folder: Path  # of its run
    status: Status = Status.WAITING
    results: tuple[Result, ...] = ()  # of its notebooks
    error: str | None = None  # why it failed

    @property
    def name(self) -> str:
        """Its values as text."""
        return ", ".join(f"{k} = {formatting.value(v)}" for k, v in self.values.items())

    @property
    def seconds(self) -> float | None:
        """What its notebooks took, now or before; None where it has not run."""
        times = [result.seconds for result in self.results if result.seconds is not None]
        return sum(times) if times else None

    @property
    def headlines(self) -> dict[str, Any]:
        """The headline values of its notebooks, each with the notebook's number before it."""
        return {
            f"{result.notebook.partition('_')[0]} {name}": found
            for result in self.results
            for name, found in index.headline(result.values).items()
        }


def grid(assignments: Iterable[str]) -> list[dict[str, object]]:
    """All combinations of `name=value,value,...`; a list is given in brackets.

    >>> grid(["scale=2,3", "degradation=kspace"])
    [{'scale': 2, 'degradation': 'kspace'}, {'scale': 3, 'degradation': 'kspace'}]

    Raises:
        ValueError: nothing is given, or not name=value; a name that is given twice, a value that is
            missing or given twice.
    """
    axes = parse(assignments, choices)
    for name, found in axes.items():
        if len({repr(choice) for choice in found}) < len(found):
            raise ValueError(f"{name} has a value twice: {formatting.value(found)}")
    if not axes:
        raise ValueError("a sweep needs values to try: give -p name=one,other")
    return [dict(zip(axes, point)) for point in itertools.product(*axes.values())]


def choices(text: str) -> list[object]:
    """The values in a text, separated by commas, each as of `parameters.load`.

    Raises:
        ValueError: a list, dict or quoted text that does not end.
    """
    found: list[object] = []
    begun = ""
    for piece in text.split(","):
        begun += piece if not begun else f",{piece}"
        with suppress(ValueError):  # a comma inside of a list
            found.append(load(begun.strip()))
            begun = ""
    return [*found, load(begun)] if begun else found


def folder_name(values: Mapping[str, object]) -> str:
    """A readable name for the folder of a combination, such as scale=2_degradation=kspace."""
    text = "_".join(f"{name}={_plain(value)}" for name, value in values.items())
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 9]}_{hashlib.sha256(repr(dict(values)).encode()).hexdigest()[:8]}"


def sweep(
    names: Sequence[str],
    combinations: Sequence[Mapping[str, object]],
    *,
    data: Sequence[Path] | None = None,
    out: Path,
    folder: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> list[Combination]:
    """Run notebooks with every combination; tables of what they recorded are written to `out`.

    What is done is not run again: a notebook that has recorded its results with the same code,
    parameters, data (see `source.content`) and library; else `log` gets which of them changed.
    A combination that fails is noted, and the next one begins. `out/sweep.csv` and
    `out/index.html` are rewritten after each.

    Without workers the combinations run one after the other in this process. With workers each runs
    one at a time; if a worker dies, its combination runs again.

    Args:
        names: numbers or names of notebooks; they run one after the other in each combination.
        combinations: of `grid`.
        data, folder: as for `run.run`.
        out: folder of the sweep.
        workers: processes on this machine; they end with the sweep.
        scheduler: in place of them, the address of a dask cluster.
        log: receives a line about each combination.

    Raises:
        FileNotFoundError, ValueError: as `run.run`, before anything runs; or two combinations
            whose folders would have the same name, another sweep in `out`, or `workers` below 1.
        ImportError, ConnectionError, ValueError: on workers, as `cluster.each`.
    """
    if workers is not None:
        checks.whole("workers", workers, least=1)
    found = notebooks.find(names, folder)
    for values in combinations:
        notebooks.accepted(found, values)
    points = [Combination(values, out / folder_name(values)) for values in combinations]
    places = [point.folder.name.casefold() for point in points]
    if twice := {name for name in places if places.count(name) > 1}:
        raise ValueError(
            f"two combinations would have the folder {twice.pop()}; run them as two sweeps, each "
            "with its own --out"
        )
    data = folders.write_embedded(found) if data is None else data
    for values in combinations:
        folders.assign(found, data, named=True, options=notebooks.reading(values))
    one = partial(_combination, found=found, data=data, folder=folder)

    def say(number: int, rest: str) -> None:
        log(f"{number + 1}/{len(points)}  {points[number].name}{rest}")

    with lock.hold(out):
        alone = workers is None and scheduler is None
        ends: Iterator[tuple[int, Combination | None]]
        if alone:
            ends = ((n, one(point, say=partial(say, n))) for n, point in enumerate(points))
        else:
            seen = out.resolve() / lock.HOLDER
            ends = cluster.each(one, points, workers=workers, scheduler=scheduler, witness=seen)
        dead = "four workers died of it: too little memory?"
        try:
            for number, end in ends:
                failed = replace(points[number], status=Status.FAILED, error=dead)
                points[number] = end or failed
                if not alone:
                    say(number, f"  {points[number].status}")
                tables(points, out)
        finally:
            tables(points, out)
    return points


def _combination(
    point: Combination,
    *,
    found: Sequence[Notebook],
    data: Sequence[Path],
    folder: Path | None,
    say: Callable[[str], None] = lambda rest: None,
) -> Combination:
    """Run what is not done of a combination, in whichever process."""
    given, reading = notebooks.accepted(found, point.values), notebooks.reading(point.values)
    assigned = folders.assign(found, data, named=True, options=reading)[0]
    content = {place: source.content(place, reading=reading) for place in data}
    done, why = _done(point, found, given, assigned, content)
    rest = found[len(done) :]
    say(why if rest else "  skipped, was done before")
    if not rest:
        return replace(point, status=Status.SKIPPED, results=tuple(done))
    results = run.run(
        [one.name for one in rest],
        data=data,
        out=point.folder,
        parameters={k: v for r in rest for k, v in given[r.name].items()},
        folder=folder,
    )
    session.tidy(point.folder)
    failed = next((one for one in results if one.status is Status.FAILED), None)
    return replace(
        point,
        status=Status.FAILED if failed else Status.DONE,
        results=(*done, *results),
        error=run.outcome(failed) if failed else None,
    )


def tables(points: Sequence[Combination], out: Path) -> Path:
    """Write `out/sweep.csv` and `out/index.html`; return the latter."""
    import pandas as pd

    table = pd.DataFrame([_row(point) for point in points], dtype=object)
    report.write(out / TABLE, table.to_csv(index=False, lineterminator="\n"))
    first = points[0].values
    varied = [n for n in first if len({repr(p.values[n]) for p in points}) > 1] or list(first)
    html = page.render(
        "sweep.html.j2",
        title="Sweep: " + ", ".join(varied),
        points=points,
        done=sum(point.status in (Status.DONE, Status.SKIPPED) for point in points),
        parameters=varied,
        same={name: value for name, value in first.items() if name not in varied},
        columns=list(dict.fromkeys(name for point in points for name in point.headlines)),
        table=TABLE,
        created=report.now(),
        versions=report.versions(),
    )
    return report.write(out / "index.html", html)


def _plain(value: object) -> str:
    """A value as a part of a folder's name, or a cell of the CSV."""
    text = "-".join(map(_plain, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text)


def _done(
    point: Combination,
    found: Sequence[Notebook],
    given: Mapping[str, Mapping[str, object]],
    places: Mapping[str, Path],
    content: Mapping[Path, str],
) -> tuple[list[Result], str]:
    """The results of the notebooks that are done, from the first to the last one in a row.

    And what was changed since the next one ran, in words: "" where it has not run.
    """
    before = {result.notebook: result for result in report.earlier(point.folder)}
    done: list[Result] = []
    for notebook in found:
        name, result = notebook.name, before.get(notebook.name)
        if result is None or result.record is None:
            break
        wanted = notebook.defaults | dict(given[name])
        wanted |= {"data_dir": str(places[name].resolve()), "out_dir": None}
        used = dict(result.parameters) | {"out_dir": None}  # the folder may have been moved
        pairs = {
            "code": (result.digest, notebook.digest),
            "parameters": (used, wanted),
            "data": (result.content, content[places[name]]),
            "library": (result.record.get("versions", {}).get("medsr_lib"), medsr_lib.__version__),
        }
        if changed := [what for what, (there, now) in pairs.items() if there != now]:
            return done, f"  {name} runs again: changed {' and '.join(changed)}"
        done.append(replace(result, status=Status.DONE))
    return done, ""


def _row(point: Combination) -> dict[str, Any]:
    """A combination as a row of the CSV: its parameters, how it ended, its headline values."""
    values = {k: _plain(v) if isinstance(v, list) else v for k, v in point.values.items()}
    row: dict[str, Any] = {**values, "status": point.status.value, "seconds": point.seconds}
    for name, found in point.headlines.items():
        if formatting.is_estimate(found):
            row[name] = found[formatting.centre(found)]
            row |= {f"{name} {end}": found[end] for end in formatting.ENDS}
        else:
            row[name] = found
    return row | {"folder": point.folder.name, "error": point.error}
