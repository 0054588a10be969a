"""A grid of parameters: each combination is a run in a folder of its own, and all are tabulated."""

import csv
import hashlib
import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import medsr_lib
from medsr_lib.series import manifest, page, readable, report, run, session, sources, summary
from medsr_lib.series.parameters import parse
from medsr_lib.series.report import Result

TABLE = "sweep.csv"
LONGEST = 80  # characters of a folder's name
Ended = Literal["done", "skipped", "failed", "not run"]


@dataclass(frozen=True)
class Combination:
    """One point of the grid.

    Attributes:
        values: of its parameters.
        folder: of its run.
        status: "skipped" where all of it was done before.
        seconds: that its notebooks took, now or before; None where it has not run.
        results: of its notebooks.
        error: why it failed.
    """

    values: Mapping[str, object]
    folder: Path
    status: Ended = "not run"
    seconds: float | None = None
    results: tuple[Result, ...] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        """Its values as text."""
        return ", ".join(f"{k} = {readable.value(v)}" for k, v in self.values.items()) or "defaults"


def grid(assignments: Iterable[str]) -> list[dict[str, object]]:
    """All combinations of `name=value,value,...`; the values are YAML, a list is given in brackets.

    >>> grid(["scale=2,3", "degradation=kspace"])
    [{'scale': 2, 'degradation': 'kspace'}, {'scale': 3, 'degradation': 'kspace'}]
    >>> grid(["methods=[bicubic, ESPCN],null"])
    [{'methods': ['bicubic', 'ESPCN']}, {'methods': None}]

    Raises:
        ValueError: not name=value, a name that is given twice, a value that is missing or given
            twice.
    """
    axes: dict[str, list[object]] = {}
    for text in assignments:
        name, _, choices = text.partition("=")
        known = parse([f"{name}=[{choices}]" if choices.strip() else text])
        for name, found in known.items():  # one
            if name in axes:
                raise ValueError(f"{name} is given twice; write {name}=one,other")
            axes[name] = _choices(name, found)
    return [dict(zip(axes, point)) for point in itertools.product(*axes.values())]


def folder_name(values: Mapping[str, object]) -> str:
    """A readable name for the folder of a combination.

    >>> folder_name({"scale": 2, "degradation": "kspace"})
    'scale=2_degradation=kspace'
    """
    text = "_".join(f"{name}={_plain(value)}" for name, value in values.items()) or "defaults"
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 9]}_{hashlib.sha256(repr(dict(values)).encode()).hexdigest()[:8]}"


def sweep(
    names: Sequence[str],
    combinations: Sequence[Mapping[str, object]],
    *,
    data: Sequence[Path],
    out: Path,
    folder: Path | None = None,
    progress: bool = True,
    timeout: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Combination]:
    """Run notebooks with every combination; tables of what they recorded lie in `out`.

    What is done is not run again: a notebook with the same code, parameters, data and library
    that has recorded its results. A combination that fails is noted, and the next one begins.
    `out/sweep.csv` and `out/index.html` are written anew after each.

    Args:
        names: numbers or names of notebooks; they run one after the other in each combination.
        combinations: of `grid`.
        data, folder, progress, timeout: as for `run.run`.
        out: folder of the sweep.
        say: told a line about each combination.

    Raises:
        FileNotFoundError, ValueError: as `run.run`, before anything runs; or two combinations
            whose folders would have the same name.
    """
    folder = folder or run.notebooks_folder()
    notebooks = run.find(names, folder)
    for values in combinations:
        run.accepted(notebooks, values)
    sources.assign(notebooks, data, named=True)
    points = [Combination(values, out / folder_name(values)) for values in combinations]
    _refuse_same_folders(points)
    try:
        for number, point in enumerate(points):
            where = f"{number + 1}/{len(points)}  {point.name}"
            points[number] = done = _before(point, notebooks, data)
            if done.status == "skipped":
                say(f"{where}  skipped, was done before")
                continue
            say(where)
            points[number] = _run(point, notebooks, done.results, data, folder, progress, timeout)
            tables(points, out)
    finally:
        tables(points, out)
    return points


def tables(points: Sequence[Combination], out: Path) -> Path:
    """Write `out/sweep.csv` and `out/index.html`; return the latter."""
    rows = [_row(point) for point in points]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: _plain(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows
    )
    report.write(out / TABLE, text.getvalue())
    found = {point.folder: headlines(point) for point in points}
    varied, same = _varied(points)
    html = page.render(
        "sweep.html.j2",
        title="Sweep: " + (", ".join(varied) or "-"),
        points=points,
        parameters=varied,
        same=same,
        headlines=found,
        columns=list(dict.fromkeys(name for values in found.values() for name in values)),
        table=TABLE,
        created=report.now()[:16].replace("T", " "),
        versions=report.versions(),
        command="",
    )
    return report.write(out / "index.html", html)


def headlines(point: Combination) -> dict[str, Any]:
    """The headline values of its notebooks, each with the notebook's number before it."""
    return {
        f"{result.notebook.partition('_')[0]} {name}": found
        for result in point.results
        if result.record and isinstance(result.record.get("values"), dict)
        for name, found in summary.headline(result.record["values"]).items()
    }


def _varied(points: Sequence[Combination]) -> tuple[list[str], dict[str, object]]:
    """The parameters that differ between the combinations, and the values of the others."""
    names = dict.fromkeys(name for point in points for name in point.values)
    varied = [n for n in names if len({repr(point.values.get(n)) for point in points}) > 1]
    if not varied:  # a single combination
        return list(names), {}
    return varied, {name: points[0].values[name] for name in names if name not in varied}


def _choices(name: str, found: object) -> list[object]:
    choices = found if isinstance(found, list) else [found]
    if not choices:
        raise ValueError(f"{name} has no value; write {name}=null for none at all")
    if len({repr(choice) for choice in choices}) < len(choices):
        raise ValueError(f"{name} has a value twice: {readable.value(choices)}")
    return choices


def _plain(value: object) -> str:
    """A value as a part of a folder's name, or a cell of the CSV."""
    text = "-".join(map(_plain, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text)


def _refuse_same_folders(points: Sequence[Combination]) -> None:
    names = [point.folder.name.casefold() for point in points]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"two combinations would have the folder {twice.pop()}; run them as two sweeps, each "
            "with its own --out"
        )


def _before(point: Combination, notebooks: Sequence[Path], data: Sequence[Path]) -> Combination:
    """The combination with the notebooks that are done: from the first to the last one in a row."""
    left = {result.notebook: result for result in manifest.earlier(point.folder)}
    places, _ = sources.assign(notebooks, data, named=True)
    given = run.accepted(notebooks, point.values)
    done = []
    for path in notebooks:
        result = left.get(path.stem)
        if result is None or not _same(result, path, given[path], places[path]):
            break
        done.append(replace(result, status="done"))
    status: Ended = "skipped" if len(done) == len(notebooks) else "not run"
    return replace(point, status=status, results=tuple(done), seconds=_seconds(done))


def _same(result: Result, notebook: Path, given: Mapping[str, object], data: Path) -> bool:
    """Whether this is what a run of the notebook would record again."""
    defaults = {p.name: p.default for p in run.parameters_of(notebook).values()}
    wanted = defaults | dict(given) | {"data_dir": str(data.resolve())}
    record = result.record or {}
    return (
        result.digest == manifest.digest(notebook)
        and {k: v for k, v in result.parameters.items() if k != "out_dir"}
        == {k: v for k, v in wanted.items() if k != "out_dir"}
        and record.get("versions", {}).get("medsr_lib") == medsr_lib.__version__
    )


def _run(
    point: Combination,
    notebooks: Sequence[Path],
    done: Sequence[Result],
    data: Sequence[Path],
    folder: Path,
    progress: bool,
    timeout: float | None,
) -> Combination:
    """Run what is not done of a combination."""
    results = run.run(
        [path.stem for path in notebooks[len(done) :]],
        data=data,
        out=point.folder,
        parameters=_known(notebooks[len(done) :], point.values),
        folder=folder,
        progress=progress,
        timeout=timeout,
    )
    session.tidy(str(point.folder))
    every = [*done, *results]
    failed = next((result for result in results if result.status == "failed"), None)
    return replace(
        point,
        status="failed" if failed else "done",
        results=tuple(every),
        seconds=_seconds(every),
        error=run.said(failed) if failed else None,
    )


def _known(notebooks: Sequence[Path], values: Mapping[str, object]) -> dict[str, object]:
    """The values that one of these notebooks has."""
    names = {name for path in notebooks for name in run.parameters_of(path)}
    return {name: value for name, value in values.items() if name in names}


def _seconds(results: Sequence[Result]) -> float | None:
    times = [result.seconds for result in results if result.seconds is not None]
    return sum(times) if times else None


def _row(point: Combination) -> dict[str, Any]:
    """A combination as a row of the CSV: its parameters, how it ended, its headline values."""
    row: dict[str, Any] = {**point.values, "status": point.status, "seconds": point.seconds}
    for name, found in headlines(point).items():
        if readable.is_estimate(found):
            row |= {name: readable.centre(found)}
            row |= {f"{name} {end}": found[end] for end in readable.ENDS}
        else:
            row[name] = found
    return row | {"folder": point.folder.name, "error": point.error}
