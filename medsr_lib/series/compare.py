"""Two runs side by side: what they were told, what they found, and the slices they share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsr_lib.series import manifest, page, readable, report, summary
from medsr_lib.series.manifest import Run
from medsr_lib.series.report import Result

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("psnr", "ssim", "perceptual")
REGIONS = ("whole", "tumour", "rim", "normal", "matched")
CONDITIONS = ("noise", "level", "scale", "degradation")  # of a row, where a run has several
SCORES = "scores.csv"
SAME = ("slice_id", "patient", "region", "pixels")  # of a slice that two runs share


@dataclass(frozen=True)
class Pair:
    """One notebook in both runs.

    Attributes:
        name: of the notebook.
        a, b: what became of it.
        parameters: those that differ, with both values; None for one that only the other has.
        headlines: estimates and gains, with both values and their difference.
        tables: of each recorded table the rows whose numbers differ.
        paired: differences B - A over the slices of both, with intervals over patients.
        figures: caption and file of each figure, `None` where a run lacks it.
        notes: what could not be compared, and why.
    """

    name: str
    a: Result
    b: Result
    parameters: dict[str, tuple[object, object]]
    headlines: list[dict[str, Any]]
    tables: dict[str, list[dict[str, Any]]]
    paired: list[dict[str, Any]]
    figures: list[tuple[str, Path | None, Path | None]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """Two runs, their names, the notebooks that both have finished, and notes on the others."""

    a: Run
    b: Run
    names: tuple[str, str]
    pairs: list[Pair]
    notes: list[str]


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> Comparison:
    """Compare what two runs have recorded, notebook by notebook.

    Where both have scores of the same slices, the difference B - A is taken within each slice, and
    its interval over patients; other differences are those of two numbers and have none.

    Args:
        a, b: folders of runs.
        seed: of bootstrap and permutation.

    Raises:
        FileNotFoundError: a folder is not there, or is not that of a run.
        ValueError: a run of another version, or no notebook that both have finished.
    """
    first, second = (manifest.read(Path(folder)) for folder in (a, b))
    names = _names(first.folder, second.folder)
    by_name = [{r.notebook: r for r in run.results} for run in (first, second)]
    every = sorted(by_name[0].keys() | by_name[1].keys())
    notes = [note for name in every if (note := _missing(name, by_name, names))]
    both = [name for name in every if not _missing(name, by_name, names)]
    if not both:
        raise ValueError(
            "there is no notebook that both runs have finished:\n  " + "\n  ".join(notes)
        )
    pairs = [_pair(first, second, by_name[0][n], by_name[1][n], seed=seed) for n in both]
    return Comparison(first, second, names, pairs, notes + _versions(first, second, names))


def write(comparison: Comparison, path: Path) -> Path:
    """Write a comparison as one page that holds its pictures."""
    text = page.render(
        "compare.html.j2",
        title=f"{comparison.names[0]} and {comparison.names[1]}",
        comparison=comparison,
        runs=list(zip("AB", comparison.names, (comparison.a, comparison.b))),
        embedded=_embedded,
        versions=report.versions(),
        command="",
    )
    return report.write(path, text)


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison as a short table for a terminal."""
    for letter, name in zip("AB", comparison.names):
        yield f"{letter}  {name}"
    for note in comparison.notes:
        yield f"!  {note}"
    for pair in comparison.pairs:
        yield f"\n{pair.name}"
        for name, (a, b) in pair.parameters.items():
            yield f"  {name}: {readable.value(a)} | {readable.value(b)}"
        for row in pair.headlines:
            yield f"  {row['name']}: {readable.value(row['A'])} | {readable.value(row['B'])}"
        for row in pair.paired:
            if row["region"] in ("whole", "tumour") and row["metric"] != "perceptual":
                shown = readable.value({**row, "value": float(f"{row['value']:.4g}")})
                yield f"  {row['metric']}, {row['region']}, {row['method']}: B - A {shown}"
        for note in pair.notes:
            yield f"  ! {note}"


def _names(a: Path, b: Path) -> tuple[str, str]:
    """What to call two folders: as much of their paths as tells them apart."""
    one, two = a.resolve(), b.resolve()
    for depth in range(1, 1 + min(len(one.parts), len(two.parts))):
        names = ("/".join(one.parts[-depth:]), "/".join(two.parts[-depth:]))
        if names[0] != names[1]:
            return names
    return names


def _missing(name: str, by_name: list[dict[str, Result]], names: tuple[str, str]) -> str:
    """Why a notebook cannot be compared; "" where it can."""
    for results, run in zip(by_name, names):
        result = results.get(name)
        if result is None:
            return f"{name}: not in {run}"
        if not result.record:
            reason = {"failed": "failed", "done": "has no results.json"}
            return f"{name}: {reason.get(result.status, 'not finished')} in {run}"
        if not isinstance(result.record.get("values"), dict):
            return f"{name}: results.json in {run} is of an older version; run it again"
    return ""


def _versions(a: Run, b: Run, names: tuple[str, str]) -> list[str]:
    """A note where the two runs were made by different versions."""
    found = [_made_by(run) for run in (a, b)]
    different = [
        f"{name} {found[0][name]} | {found[1][name]}"
        for name in found[0].keys() & found[1].keys()
        if found[0][name] != found[1][name]
    ]
    return [f"made by different versions: {', '.join(sorted(different))}"] if different else []


def _made_by(run: Run) -> Mapping[str, str]:
    records = [r.record for r in run.results if r.record]
    return records[-1].get("versions", {}) if records else run.versions


def _pair(first: Run, second: Run, a: Result, b: Result, *, seed: int) -> Pair:
    values = [(result.record or {})["values"] for result in (a, b)]
    settings = [_settings(result) for result in (a, b)]
    names = dict.fromkeys([*settings[0], *settings[1]])
    paired, notes = _paired(first.folder / a.notebook, second.folder / b.notebook, seed=seed)
    if not all(settings):
        notes = ["its parameters are not known in both runs", *notes]
    elif a.digest and b.digest and a.digest != b.digest:
        notes = ["the code of the notebook differs between the two runs", *notes]
    return Pair(
        name=a.notebook,
        a=a,
        b=b,
        parameters={
            n: (settings[0].get(n), settings[1].get(n))
            for n in names
            if settings[0].get(n) != settings[1].get(n)
        },
        headlines=_headlines(*values),
        tables=_tables(*values),
        paired=paired,
        figures=_figures(first.folder, second.folder, a, b),
        notes=notes,
    )


def _settings(result: Result) -> dict[str, object]:
    """The parameters, and the data by their name."""
    found = manifest.settings(result)
    folder = result.parameters.get("data_dir")
    return found | {"data": Path(str(folder)).name} if folder else found


def _headlines(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for values in (a, b):
        headline = summary.headline(values)
        found.append({name.partition(":")[0]: v for name, v in headline.items()})
        names = {name.partition(":")[0]: name for name in headline} | names
    rows = []
    for key, name in names.items():
        one, two = found[0].get(key), found[1].get(key)
        numbers = [_number(v) for v in (one, two)]
        rows.append({"name": name, "A": one, "B": two, "B − A": _difference(*numbers)})
    return rows


def _number(found: Any) -> object:
    return readable.centre(found) if readable.is_estimate(found) else found


def _tables(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of recorded tables that both have, one for each number that differs."""
    found = {}
    for name in a:
        one, two = ({_key(row): row for row in readable.as_rows(v.get(name))} for v in (a, b))
        rows = [
            dict(key)
            | {"of": column.replace("_", " "), "A": row[column], "B": other[column]}
            | {"B − A": _difference(row[column], other[column])}
            for key, row in one.items()
            if (other := two.get(key)) is not None
            for column in row.keys() & other.keys()
            if column not in (*dict(key), *readable.UNSHOWN, *readable.ENDS)
            and _difference(row[column], other[column])
        ]
        if rows:
            found[name] = rows
    return found


def _key(row: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What tells a row of a recorded table from others: its texts, and what it was measured at."""
    conditions = (*CONDITIONS, "diameter", "contrast")
    texts = {k: v for k, v in row.items() if isinstance(v, str) or k in conditions}
    return tuple((k, v) for k, v in texts.items() if k not in ("words", "reason"))


def _difference(a: object, b: object) -> float | None:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    return float(b) - float(a) if numbers else None  # type: ignore[arg-type]


def _paired(a: Path, b: Path, *, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Differences B - A within the slices that both have scored, and notes on what is left out."""
    from medsr_lib.assess import statistics

    if not ((a / SCORES).is_file() and (b / SCORES).is_file()):
        return [], []
    try:
        one, two = _scores(a / SCORES), _scores(b / SCORES)
    except (ValueError, KeyError) as error:
        return [], [f"{SCORES} cannot be read: {error}"]
    shared = one[list(SAME)].drop_duplicates().merge(two[list(SAME)].drop_duplicates())
    if shared.empty:
        return [], ["the two runs have no slice in common; nothing can be paired"]
    table = _joined(one.merge(shared), two.merge(shared))
    specs = [
        statistics.Contrast(metric, f"{method}, B", f"{method}, A", region)
        for metric in METRICS
        if metric in one and metric in two
        for region in REGIONS
        for method in dict.fromkeys(one["method"])
        if all(f"{method}, {x}" in _methods(table, region) for x in "AB")
    ]
    if not specs:
        return [], ["the two runs have no method in common; nothing can be paired"]
    found = statistics.as_table(statistics.contrasts(table, specs, seed=seed))
    found["method"] = found["method"].str.removesuffix(", B")
    found = found[(found["slices"] > 0) & ((found["value"] != 0) | (found["low"] != 0))]
    columns = ["metric", "region", "method", "value", "low", "high", "p", "p_adjusted"]
    rows = found[[*columns, "patients", "slices"]].to_dict("records")
    alone = (len(set(t["slice_id"])) for t in (one, two))
    n, (in_a, in_b) = shared["slice_id"].nunique(), alone
    note = [] if n == in_a == in_b else [f"{n} slices are in both, of {in_a} in A and {in_b} in B"]
    return [{str(k): v for k, v in row.items()} for row in rows], note


def _scores(path: Path) -> "pd.DataFrame":
    import pandas as pd

    table = pd.read_csv(path, dtype={"slice_id": str, "patient": str, "patient_id": str})
    missing = {*SAME, "method"} - set(table.columns)
    if missing:
        raise ValueError(f"no column {', '.join(sorted(missing))}; it is of an older version")
    several = [c for c in CONDITIONS if c in table and table[c].nunique() > 1]
    for column in several:
        table["method"] = table["method"] + ", " + table[column].astype(str)
    return table


def _joined(a: "pd.DataFrame", b: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(
        [a.assign(method=a["method"] + ", A"), b.assign(method=b["method"] + ", B")],
        ignore_index=True,
    )


def _methods(table: "pd.DataFrame", region: str) -> set[str]:
    return set(table.loc[table["region"] == region, "method"])


def _figures(
    one: Path, two: Path, a: Result, b: Result
) -> list[tuple[str, Path | None, Path | None]]:
    """The figures of both, by file."""
    found: list[dict[str, str]] = [
        {f["file"]: f["caption"] for f in (result.record or {}).get("figures", [])}
        for result in (a, b)
    ]
    rows = []
    for name in dict.fromkeys([*found[0], *found[1]]):
        paths = [folder / a.notebook / name for folder in (one, two)]
        there = [p if name in known and p.is_file() else None for p, known in zip(paths, found)]
        captions = [known[name] for known in found if name in known]
        rows.append((" | ".join(dict.fromkeys(captions)), there[0], there[1]))
    return rows


def _embedded(path: Path) -> str:
    """The picture, or nothing where it cannot be read."""
    try:
        return page.embedded(path)
    except OSError:
        return ""
