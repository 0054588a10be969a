"""What a notebook leaves for people and programs: `results.json`, written all or nothing."""

import dataclasses
import json
import math
import platform
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import medsr_lib
from medsr_lib.files import atomic

PACKAGES = ("torch", "numpy", "scikit-image")
Status = Literal["done", "failed", "not run", "earlier run"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one notebook in a run."""

    notebook: str
    status: Status = "not run"
    title: str = ""
    question: str = ""
    digest: str = ""  # of its code; see `manifest.digest`
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
        "created": now(),
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


def title_of(notebook: Any) -> str:
    """The first heading of a notebook, without Markdown's signs."""
    heading = re.search(r"^#+ *(.+)$", _prose(notebook), flags=re.MULTILINE)
    return without_signs(heading[1]) if heading else ""


def question_of(notebook: Any) -> str:
    """The paragraph in bold type below the title: what the notebook asks."""
    bold = re.match(r"\s*#+ *[^\n]+\n+\*\*([^*\n]+)\*\*", _prose(notebook))
    return without_signs(bold[1]) if bold else ""


def without_signs(markdown: str) -> str:
    """A line of Markdown as plain text."""
    return re.sub(r"[*`_#$]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)).strip()


def now() -> str:
    """This moment, ISO 8601 with the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _prose(notebook: Any) -> str:
    return "\n".join(str(c.source) for c in notebook.cells if c.cell_type == "markdown")


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
