"""What a run leaves for people: `results.json` per notebook, a page per notebook, an index."""

import dataclasses
import json
import math
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import medsr_lib
from medsr_lib.files import atomic

PAGES = Path(__file__).parent / "pages"
PACKAGES = ("torch", "numpy", "scikit-image")
Status = Literal["done", "failed", "not run", "earlier run"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one notebook in a run."""

    notebook: str
    status: Status = "not run"
    title: str = ""
    seconds: float | None = None
    parameters: Mapping[str, object] = dataclasses.field(default_factory=dict)
    changed: tuple[str, ...] = ()  # the parameters that are not at the notebook's default
    error: str | None = None
    cell: int | None = None  # the code cell that failed, counted from 1
    source: str | None = None  # its first line
    executed: Path | None = None
    page: Path | None = None
    record: Mapping[str, Any] | None = None


def record(
    folder: Path | str, values: Mapping[str, object], figures: Mapping[str, str] | None = None
) -> Path:
    """Write what a notebook found to `folder/results.json`, all or nothing.

    Args:
        folder: the notebook's folder of the run; its name is the notebook's.
        values: what tests and pages read: numbers, texts, lists, dicts, tables, arrays, frozen
            records. NaN becomes null, infinity the text "inf".
        figures: caption of each image file in `folder` that the index is to show.

    Raises:
        FileNotFoundError: an image is not in the folder.
        TypeError: a value that JSON has no form for; the message has its name.
    """
    folder = Path(folder)
    figures = dict(figures or {})
    missing = [name for name in figures if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} has no {', '.join(missing)}; save the figure first")
    content = {
        "notebook": folder.resolve().name,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions(),
        "values": {str(name): _plain(value, str(name)) for name, value in values.items()},
        "figures": [{"file": name, "caption": text} for name, text in figures.items()],
    }
    return save(folder / "results.json", content)


def save(path: Path | str, values: Mapping[str, object]) -> Path:
    """Write values, tables and arrays as JSON that any program reads, all or nothing.

    Tables become lists of rows. NaN becomes null, infinity the text "inf".

    Raises:
        TypeError: a value that JSON has no form for; the message has its name.
    """
    content = {str(name): _plain(value, str(name)) for name, value in values.items()}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write(Path(path), text + "\n")


def versions() -> dict[str, str]:
    """The versions a number depends on."""
    found = {"python": platform.python_version(), "medsr_lib": medsr_lib.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write(path: Path, text: str) -> Path:
    """Write a text file so that there is always the old one or the new one, never a part."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def notebook_page(executed: Path, page: Path, *, failed_cell: int | None = None) -> Path:
    """Write an executed notebook as a page that needs no network: equations are MathML."""
    from markupsafe import Markup
    from nbconvert import HTMLExporter

    from medsr_lib.series import clean, mathml

    notebook = clean.executed(clean.read(executed))
    for number, cell in enumerate(clean.code_cells(notebook), start=1):
        cell.metadata.page = {"number": number, "failed": number == failed_cell}
        cell.outputs = [o for o in cell.outputs if clean.WIDGET not in o.get("data", {})]
    exporter = HTMLExporter(
        template_name="basic",
        raw_template=(PAGES / "cells.html.j2").read_text(encoding="utf-8"),
        filters={"markdown2html": mathml.markdown_filter},
        anchor_link_text="#",
    )
    body, _ = exporter.from_notebook_node(notebook)
    text = _render("notebook.html.j2", title=title_of(notebook), body=Markup(body))
    return write(page, text)


def title_of(notebook: Any) -> str:
    """The first heading of a notebook, without Markdown's signs."""
    text = "\n".join(str(c.source) for c in notebook.cells if c.cell_type == "markdown")
    heading = re.search(r"^#+ *(.+)$", text, flags=re.MULTILINE)
    return re.sub(r"[*`_#]", "", heading[1]).strip() if heading else ""


def index_page(
    out: Path,
    results: Iterable[Result],
    *,
    title: str = "What does super-resolution do to the diseased region?",
    data: str = "",
    command: str = "",
) -> Path:
    """Write `out/index.html`: every notebook with its status, key figures, values and links."""
    ordered = sorted(results, key=lambda result: result.notebook)
    this_run = [result for result in ordered if result.status != "earlier run"]
    text = _render(
        "index.html.j2",
        title=title,
        results=ordered,
        this_run=this_run,
        seconds=sum(result.seconds or 0 for result in this_run),
        data=data,
        command=command,
        versions=versions(),
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )
    return write(out / "index.html", text)


def load_record(folder: Path) -> dict[str, Any] | None:
    """The `results.json` of a notebook's folder, None where there is none to be read."""
    try:
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) else None


def duration(seconds: float | None) -> str:
    """A time as people say it.

    >>> duration(3.21), duration(133)
    ('3.2 s', '2 min 13 s')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _plain(value: Any, name: str) -> Any:
    """`value` as JSON has it; pandas, NumPy and torch are known by what they can do."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "to_dict"):
        value = _table(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(k): _plain(v, f"{name}[{k!r}]") for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(v, f"{name}[{n}]") for n, v in enumerate(value)]
        case Path():
            return value.as_posix()
        case _ if hasattr(value, "isoformat"):
            return value.isoformat()
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON has no form for")


def _table(value: Any) -> Any:
    """A pandas table as a list of rows, its named index as columns; a series as a dict."""
    if not hasattr(value, "columns"):
        return value.to_dict()
    if any(name is not None for name in value.index.names):
        value = value.reset_index()
    joined = [" ".join(map(str, c)).strip() if isinstance(c, tuple) else str(c) for c in value]
    return value.set_axis(joined, axis=1).to_dict("records")


def _render(template: str, **content: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=duration, value=_value, entries=_entries, cells=_cells)
    css = (PAGES / "page.css").read_text(encoding="utf-8") + _code_colours()
    return environment.get_template(template).render(css=css, **content)


def _code_colours() -> str:
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    rules = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    return re.sub(r"background: #[0-9a-f]+;?|^pre .*$", "", rules, flags=re.MULTILINE | re.I)


def _value(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() if len(value) > 12:
            return ", ".join(_value(v) for v in value[:12]) + f", … ({len(value)})"
        case list():
            return ", ".join(_value(v) for v in value)
        case {"value": middle, "low": low, "high": high, **rest}:  # an estimate with its interval
            interval = f"{_value(middle)} ({_value(low)} to {_value(high)})"
            return f"{interval}, {_value(rest)}" if rest else interval
        case dict():
            return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    return str(value)


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A table as text, the numbers of a column with the same number of decimals."""
    columns = []
    for name in rows[0]:
        column = [row.get(name) for row in rows]
        sizes = [abs(v) for v in column if isinstance(v, float)]
        decimals = 4 - min(len(str(int(max(sizes)))), 4) if sizes and max(sizes) >= 1 else 4
        columns.append([_number(v, decimals) for v in column])
    return [list(row) for row in zip(*columns)]


def _number(value: object, decimals: int) -> str:
    if not isinstance(value, float):
        return _value(value)
    text = f"{value:.{decimals}f}"
    return f"{value:.2g}" if value and not float(text) else text


def _entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded values by how they are shown: how much was looked at, single values, tables."""
    counts = {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and (name in ("patients", "slices") or name[:2] in ("n", "n_"))
    }
    tables = {
        name: value
        for name, value in values.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }
    return {
        "counts": [
            f"n = {v}" if k == "n" else f"{v} {k[2:] if k[:2] == 'n_' else k}"
            for k, v in counts.items()
        ],
        "single": {k: v for k, v in values.items() if k not in tables and k not in counts},
        "tables": tables,
    }
