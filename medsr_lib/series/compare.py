"""Two runs side by side: their parameters, what they found, and the cases they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medsr_lib.series import report
from medsr_lib.series.notebook import FOLDERS
from medsr_lib.series.outputs import packed
from medsr_lib.series.pages import formatting, index, page
from medsr_lib.series.report import Result, Run, Status

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("psnr", "ssim", "perceptual")
REGIONS = ("whole", "tumour", "rim", "normal", "matched")
CONDITIONS = ("noise", "level", "scale", "degradation")  # of a row, where a run has several
KEYS = (*CONDITIONS, "seed", "diameter", "contrast")  # numbers that say which row of a table it is
WORDS = ("words", "reason")  # texts that do not
UNCOMPARED = {*KEYS, *formatting.UNSHOWN, *formatting.ENDS}  # columns
SCORES = "scores.csv"
SAME = ("id", "patient", "region", "pixels")  # of a case that two runs share
MOST = 100  # methods and conditions of a run
WIDEST = 1400  # pixels of a picture in a page


@dataclass(frozen=True)
class Pair:
    """One notebook in both runs."""

    a: Result
    b: Result
    parameters: dict[str, tuple[object, object]]  # those that differ, with both values
    headlines: list[dict[str, Any]]  # estimates and gains, with both values and their difference
    tables: dict[str, list[dict[str, Any]]]  # of each recorded table the rows that differ
    paired: list[dict[str, Any]]  # differences B - A over the cases of both, with intervals
    figures: list[tuple[str, Path | None, Path | None]]  # caption and files
    notes: list[str]  # what could not be compared, and why

    @property
    def name(self) -> str:
        """Of the notebook."""
        return self.a.notebook


@dataclass(frozen=True)
class Comparison:
    """Two runs, their names, the notebooks that both have finished, and notes on the others."""

    a: Run
    b: Run
    names: tuple[str, str]
    pairs: list[Pair]
    notes: list[str]


def compare(a: Path, b: Path, *, seed: int) -> Comparison:
    """Compare what two runs have recorded, notebook by notebook.

    Where both have scores of the same cases, the difference B - A is taken within each case, and
    its interval over patients; other differences are those of two numbers and have none.

    Args:
        a, b: their folders.
        seed: of bootstrap and permutation.

    Raises:
        FileNotFoundError: a folder does not exist, or is not that of a run.
        ValueError: a run of another version, or no notebook that both have finished.
    """
    first, second = report.read_run(a), report.read_run(b)
    names = _names(a, b)
    by_name = [{r.notebook: r for r in run.results} for run in (first, second)]
    pairs, notes = [], []
    for name in sorted(by_name[0].keys() | by_name[1].keys()):
        if note := _missing(name, by_name, names):
            notes.append(note)
        else:
            pairs.append(_pair(first, second, by_name[0][name], by_name[1][name], seed=seed))
    if not pairs:
        raise ValueError(
            "there is no notebook that both runs have finished:\n  " + "\n  ".join(notes)
        )
    return Comparison(first, second, names, pairs, notes + _versions(first, second))


def write(comparison: Comparison, path: Path) -> Path:
    """Write a comparison as one page that holds its pictures."""
    text = page.render(
        "compare.html.j2",
        title=f"{comparison.names[0]} and {comparison.names[1]}",
        comparison=comparison,
        runs=list(zip("AB", comparison.names, (comparison.a, comparison.b))),
        embedded=_embedded,
        versions=report.versions(),
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
            yield f"  {name}: {formatting.value(a)} | {formatting.value(b)}"
        for row in pair.headlines:
            yield f"  {row['name']}: {formatting.value(row['A'])} | {formatting.value(row['B'])}"
        for row in pair.paired:
            if row["region"] in ("whole", "tumour") and row["metric"] != "perceptual":
                shown = formatting.value(row)
                yield f"  {row['metric']}, {row['region']}, {row['method']}: B - A {shown}"
        for note in pair.notes:
            yield f"  ! {note}"


def _names(a: Path, b: Path) -> tuple[str, str]:
    """What to call two folders: as much of their paths as differs."""
    one, two = a.resolve().parts, b.resolve().parts
    whole = min(len(one), len(two))
    depth = next((n for n in range(1, whole) if one[-n] != two[-n]), whole)
    return "/".join(one[-depth:]), "/".join(two[-depth:])


def _missing(name: str, by_name: list[dict[str, Result]], names: tuple[str, str]) -> str:
    """Why a notebook cannot be compared; "" where it can."""
    for results, run in zip(by_name, names):
        result = results.get(name)
        if result is None:
            return f"{name}: not in {run}"
        if not result.record:
            done = result.status is Status.DONE
            why = "".join(f": {note}" for note in result.notes)
            return f"{name}: {'has no results.json' if done else result.status} in {run}{why}"
    return ""


def _versions(a: Run, b: Run) -> list[str]:
    """A note where the two runs were made by different versions, or on different machines."""
    one, two = (
        [r.record for r in run.results if r.record][-1].get("versions", {}) for run in (a, b)
    )
    different = [f"{n} {one[n]} | {two[n]}" for n in sorted(one) if one[n] != two.get(n, one[n])]
    return [f"made by different versions or machines: {', '.join(different)}"] if different else []


def _pair(first: Run, second: Run, a: Result, b: Result, *, seed: int) -> Pair:
    one, two = _settings(a), _settings(b)
    folders = (first.folder / a.notebook, second.folder / b.notebook)
    paired, notes = _paired(*folders, seed=seed)
    if not (one and two):
        notes = ["its parameters are not known in both runs", *notes]
    elif a.digest != b.digest:
        notes = ["the code of the notebook differs between the two runs", *notes]
    notes = [*a.notes, *b.notes, *notes]
    chosen, other = index.headline(a.values), index.headline(b.values)
    captions = [
        {f["file"]: f["caption"] for f in (r.record or {}).get("figures", [])} for r in (a, b)
    ]
    return Pair(
        a=a,
        b=b,
        parameters={n: (one.get(n), two.get(n)) for n in one | two if one.get(n) != two.get(n)},
        headlines=[
            {"name": name} | _both(chosen.get(name), other.get(name)) for name in chosen | other
        ],
        tables={
            name: rows
            for name in a.values
            if (rows := _differing(a.values[name], b.values.get(name)))
        },
        paired=paired,
        figures=[_figure(name, folders, captions) for name in captions[0] | captions[1]],
        notes=notes,
    )


def _settings(result: Result) -> dict[str, object]:
    """The parameters, and the data by their name."""
    found = {name: v for name, v in result.parameters.items() if name not in FOLDERS}
    folder = result.parameters.get("data_dir")
    return found | {"data": Path(str(folder)).name} if folder else found


def _both(a: Any, b: Any) -> dict[str, Any]:
    """Two values, and the difference of what are numbers or estimates."""
    numbers = [v[formatting.centre(v)] if formatting.is_estimate(v) else v for v in (a, b)]
    known = all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers)
    return {"A": a, "B": b, "B − A": float(numbers[1]) - float(numbers[0]) if known else None}


def _differing(a: object, b: object) -> list[dict[str, Any]]:
    """Of two recorded tables, a row for each number that differs."""
    one, two = ({_key(row): row for row in formatting.as_rows(found)} for found in (a, b))
    return [
        dict(key) | {"of": column.replace("_", " ")} | both
        for key in one
        if key in two
        for column, value in one[key].items()
        if column in two[key] and column not in UNCOMPARED
        if (both := _both(value, two[key][column]))["B − A"]
    ]


def _key(row: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What distinguishes a row of a recorded table: its texts, and what it was measured at."""
    named = {name: v for name, v in row.items() if name not in WORDS and isinstance(v, str)}
    keys = {name: row[name] for name in KEYS if isinstance(row.get(name), int | float)}
    return tuple((named | keys).items())


def _paired(a: Path, b: Path, *, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Differences B - A within the cases that both have scored, and notes on what is left out."""
    if not ((a / SCORES).is_file() and (b / SCORES).is_file()):
        return [], []
    import pandas as pd

    from medsr_lib.assess import statistics

    try:
        one, two = _scores(a / SCORES), _scores(b / SCORES)
    except ValueError as error:
        return [], [f"{SCORES} cannot be read: {error}"]
    shared = one[list(SAME)].drop_duplicates().merge(two[list(SAME)].drop_duplicates())
    if shared.empty:
        return [], ["the two runs have no case in common; nothing can be paired"]
    runs = [t.merge(shared).assign(run=x) for x, t in zip("AB", (one, two))]
    both = runs[0][["method", "region"]].drop_duplicates().merge(runs[1][["method", "region"]])
    measured = set(both.itertuples(index=False, name=None))
    specs = [
        statistics.Contrast(metric, f"{method}, B", f"{method}, A", region)
        for metric, region, method in product(METRICS, REGIONS, one["method"].unique())
        if metric in one and metric in two and (method, region) in measured
    ]
    if not specs:
        return [], ["the two runs have no method in common; nothing can be paired"]
    table = pd.concat([t.assign(method=t["method"] + ", " + t["run"]) for t in runs])
    found = statistics.as_table(statistics.contrasts(table, specs, seed=seed))
    found["method"] = found["method"].str.removesuffix(", B")
    found = found[(found["cases"] > 0) & ((found["value"] != 0) | found["low"].notna())]
    columns = ["metric", "region", "method", "value", "low", "high", "p", "p_adjusted"]
    rows: Any = found[[*columns, "patients", "cases"]].to_dict("records")
    n, in_a, in_b = (t["id"].nunique() for t in (shared, one, two))
    note = [] if n == in_a == in_b else [f"{n} cases are in both, of {in_a} in A and {in_b} in B"]
    return rows, note


def _scores(path: Path) -> "pd.DataFrame":
    """A table of scores, in which the conditions of a run that has several are in `method`.

    Of several trainings (`score.by_seed`), the mean over them.
    """
    import pandas as pd

    table = pd.read_csv(path, dtype={"id": str, "patient": str})
    if missing := {*SAME, "method"} - set(table.columns):
        raise ValueError(f"no column {', '.join(sorted(missing))}; run it again with this version")
    for name in ("id", "patient", "region", "method"):
        if not table[name].map(lambda one: isinstance(one, str)).all():
            raise ValueError(f"the column {name} must hold a text in each row")
    for name in {"pixels", *METRICS} & set(table.columns):
        numbers = pd.to_numeric(table[name].astype(str), errors="coerce")
        if (numbers.isna() & table[name].notna()).any() or np.isinf(numbers).any():
            raise ValueError(f"the column {name} must hold finite numbers")
        table[name] = numbers.astype(float)
    if "seed" in table:
        floats = set(table.select_dtypes("float")) - set(CONDITIONS)
        names = [c for c in table if c not in floats and c != "seed"]
        of = table.drop(columns="seed").groupby(names, as_index=False, sort=False, dropna=False)
        table = of.mean()
    for column in [c for c in CONDITIONS if c in table and table[c].nunique() > 1]:
        table["method"] = table["method"] + ", " + table[column].astype(str)
    if table.duplicated(["id", "region", "method"]).any():
        raise ValueError("a case has two rows of the same region and method")
    if table["method"].nunique() > MOST:
        raise ValueError(f"it has more than {MOST} methods and conditions")
    return table


def _figure(
    name: str, folders: Sequence[Path], captions: Sequence[Mapping[str, str]]
) -> tuple[str, Path | None, Path | None]:
    """The caption of a figure, and its file in either run that has recorded it."""
    texts = dict.fromkeys(known[name] for known in captions if name in known)
    a, b = (f / name if name in known else None for f, known in zip(folders, captions))
    return " | ".join(texts), a, b


def _embedded(path: Path) -> str:
    """A picture as a `data:` address; "" where it cannot be read."""
    from medsr_lib import pictures  # it loads torch, which no run without figures needs

    try:
        image = pictures.decoded(path.read_bytes())[0].convert("RGBA")
    except (OSError, ValueError):
        return ""
    image.thumbnail((WIDEST, image.height), Image.Resampling.LANCZOS, reducing_gap=None)
    return f"data:image/png;base64,{packed(image)}"
