"""The page that a run ends with: question, answer, data, methods, figures, how it was made."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from medsr_lib.series import notebook as notebooks
from medsr_lib.series import report
from medsr_lib.series.notebook import tags
from medsr_lib.series.pages import formatting, page
from medsr_lib.series.report import Result, Run, Status

TITLE = "What does super-resolution do to the diseased region?"
METHODS = json.loads((page.TEMPLATES / "methods.json").read_text("utf-8"))
KEY = "key-figure"  # tag of the code cells that save what the page shows first
TRAINED = {"steps": "steps", "fold": "fold left out", "degradation": "degradation", "scale": "×"}


def write(run: Run) -> Path:
    """Write `index.html` into the folder of a run; a reader needs no notebook to understand it."""
    ordered = sorted(run.results, key=lambda result: result.notebook)
    this_run = [result for result in ordered if result.status is not Status.EARLIER]
    headlines = [(r, name, v) for r in ordered for name, v in headline(r.values).items()]
    text = page.render(
        "index.html.j2",
        title=TITLE,
        run=run,
        results=ordered,
        this_run=this_run,
        done=sum(result.status is Status.DONE for result in this_run),
        seconds=sum(result.seconds or 0 for result in this_run),
        headlines=headlines,
        figures={r.notebook: _figures(r, run.folder) for r in ordered},
        verdicts=[(r, verdict) for r in ordered for verdict in r.values.get("verdicts") or []],
        sources=[row for result in ordered if (row := _source(result))],
        methods=_methods(ordered),
    )
    return report.write(run.folder / "index.html", text)


def headline(values: Mapping[str, Any]) -> dict[str, Any]:
    """The few recorded values that represent a notebook.

    They are what it has recorded as `headlines`, words -> estimate or number; else its estimates
    and gains; else PSNR and SSIM of the last method of its table.

    >>> headline({"gain_psnr": 1.5, "steps": 3, "primary": {"value": 1, "low": 0, "high": 2}})
    {'primary': {'value': 1, 'low': 0, 'high': 2}, 'gain_psnr': 1.5}
    """
    if isinstance(chosen := values.get("headlines"), dict) and chosen:
        return chosen
    found = {name: v for name, v in values.items() if formatting.is_estimate(v)}
    gains = {k: v for k, v in values.items() if k.startswith("gain_") and isinstance(v, float)}
    return found | gains or _last_method(values)


def _last_method(values: Mapping[str, Any]) -> dict[str, Any]:
    """PSNR and SSIM of the method that a table ends with, in the tumour and in the whole."""
    rows = [row for row in formatting.as_rows(values.get("table")) if "method" in row]
    last = [row for row in rows if row["method"] == rows[-1]["method"]]
    return {
        ", ".join(filter(None, (row["method"], row.get("region"), metric))): row[metric]
        for row in last
        if row.get("region") in (None, "whole", "tumour")
        for metric in ("psnr", "ssim")
        if isinstance(row.get(metric), float)
    }


def _source(result: Result) -> dict[str, Any] | None:
    """What a notebook looked at, and how much of it; the embedded phantoms are called synthetic."""
    count = formatting.count(result.values)
    left_out = result.values.get("left_out")
    if isinstance(left_out, int) and left_out > 0:
        count = f"{count}; {left_out} left out"
    if not count and result.status not in (Status.DONE, Status.EARLIER):
        return None
    folder = Path(str(result.parameters.get("data_dir", "")))
    synthetic = False
    with suppress(OSError):  # a damaged name, too long for one
        synthetic = (folder / "phantom.json").is_file()
    name = folder.name or "–"
    return {"result": result, "count": count or "–", "name": name, "synthetic": synthetic}


def _figures(result: Result, folder: Path) -> list[dict[str, Any]]:
    """The figures that a notebook has recorded; `key` are those that cells tagged `KEY` save."""
    code: list[Any] = []
    with suppress(OSError, ValueError):
        code = notebooks.read(result.executed).code if result.executed else code
    keys = {name for c in code if KEY in tags(c) for name in page.SAVED.findall(c.source)}
    found = page.figures(folder / result.notebook, result.record)
    return [figure | {"result": result, "key": figure["file"] in keys} for figure in found]


def _methods(results: Sequence[Result]) -> list[dict[str, str]]:
    """What was compared: its name, what it is, and what its network was trained with."""
    names: dict[str, dict[str, Any]] = {}
    for result in results:
        about = result.values.get("methods")
        about = about if isinstance(about, dict) else {}
        for key, found in result.values.items():
            for row in formatting.as_rows(found):
                name = str(row.get("method", ""))
                if name in METHODS or (name and key == "verdicts"):
                    names[name] = names.get(name, {}) | about.get(name, {})
    return [
        {
            "name": name,
            "what": METHODS.get(name) or a.get("what", ""),
            "trained": ", ".join(f"{t} {a[k]}" for k, t in TRAINED.items() if k in a)
            or a.get("training", ""),
        }
        for name, a in names.items()
    ]
