"""What a run leaves for people and programs: `results.json` of each notebook, `run.json` of all."""

import dataclasses
import json
import math
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import medsr_lib
from medsr_lib.files import atomic
from medsr_lib.series.running import schema

PACKAGES = ("torch", "numpy", "scikit-image")
RECORD = "results.json"
RUN = "run.json"
FORMAT = "medsr run 1"
FOUND_ANEW = ("executed", "page", "record", "notes")  # of a result: not in run.json


class Status(StrEnum):
    """How far a notebook, or a combination of a sweep, has come."""

    WAITING = "not run"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # by Ctrl-C
    EARLIER = "earlier run"  # finished by an earlier run
    SKIPPED = "skipped"  # a sweep found it done

    @property
    def sign(self) -> str:
        """What pages show before the word."""
        return {"done": "✓", "failed": "✕", "stopped": "■", "not run": "–"}.get(self.value, "○")


@dataclass(frozen=True)
class Result:
    """What became of one notebook in a run."""

    notebook: str  # its name
    status: Status = Status.WAITING
    title: str = ""
    question: str = ""
    digest: str = ""  # of its code
    content: str = ""  # digest of the data, see `source.content`
    seconds: float | None = None  # that it took; None where it has not run
    parameters: Mapping[str, object] = field(default_factory=dict)  # all, with the run's values
    changed: Sequence[str] = ()  # the parameters that are not at the notebook's default
    error: str | None = None
    cell: int | None = None  # the code cell that failed, counted from 1
    source: str | None = None  # its first line
    executed: Path | None = None  # the copy with its outputs
    page: Path | None = None  # the same as HTML
    record: Mapping[str, Any] | None = None  # the content of its `results.json`
    notes: Sequence[str] = ()  # what of its files cannot be read or shown, and why

    @property
    def values(self) -> Mapping[str, Any]:
        """What the notebook recorded; {} where it recorded nothing."""
        values = (self.record or {}).get("values")
        return values if isinstance(values, Mapping) else {}


@dataclass(frozen=True)
class Run:
    """A run, as its folder tells."""

    folder: Path
    results: Sequence[Result]  # of all notebooks, in their order
    command: str = ""  # the command line that makes the same run
    data: Sequence[str] = ()  # the folders of data
    without: Sequence[str] = ()  # a line on each notebook that was left out
    versions: Mapping[str, str] = field(default_factory=dict)  # of what the numbers depend on
    inputs: Mapping[str, str] = field(default_factory=dict)  # sha256 of data and networks, by name
    created: str = ""  # when it was written, ISO 8601


def record(
    folder: Path | str, values: Mapping[str, object], figures: Mapping[str, str] | None = None
) -> Path:
    """Write what a notebook found to `folder/results.json`, all or nothing.

    Args:
        folder: the notebook's folder of the run; its name is the notebook's.
        values: what tests and pages read, as `save` takes them.
        figures: caption of each image file in `folder` that the index is to show.

    Raises:
        FileNotFoundError: an image is not in the folder.
        TypeError: as `save`.
    """
    folder = Path(folder)
    figures = figures or {}
    if missing := [name for name in figures if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder} has no {', '.join(missing)}; save the figure first")
    content = {
        "notebook": folder.resolve().name,
        "created": now(),
        "versions": versions(),
        "values": values,
        "figures": [{"file": name, "caption": text} for name, text in figures.items()],
    }
    return save(folder / RECORD, content)


def save(path: Path | str, values: Mapping[str, object]) -> Path:
    """Write numbers, texts, lists, dicts, tables, arrays, frozen records as JSON, all or nothing.

    Tables become lists of rows. NaN becomes null, infinity the text "inf".

    Raises:
        TypeError: a value that JSON has no form for; the message has its name.
    """
    content = {str(name): _plain(value, str(name)) for name, value in values.items()}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write(Path(path), text + "\n")


def write(path: Path, text: str) -> Path:
    """Write a text file so that there is always the old one or the new one, never a part."""
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace", newline="\n")
    return path


def load_record(folder: Path, notes: list[str] | None = None) -> dict[str, Any] | None:
    """The `results.json` of a notebook's folder, None where there is none to be read.

    What it holds is of the kinds of `schema.RECORD` and `schema.VALUES`: each field and each value
    that is not is left out, and `notes` gets a line on it.
    """
    notes = [] if notes is None else notes
    path = folder / RECORD
    try:
        content = schema.load(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        notes.append(f"{path} is damaged: {error}")
        return None
    kept = {name: content[name] for name in schema.RECORD if content.get(name) is not None}
    found: Any
    values = kept.get("values")
    for found, kinds, before in (values, schema.VALUES, "values."), (kept, schema.RECORD, ""):
        for name in list(found) if isinstance(found, dict) else ():
            if wrong := schema.mismatch(found[name], kinds.get(name, object), before + name):
                notes.append(f"{path} is damaged: {wrong}")
                del found[name]
    return kept


def trained(run: Path | str) -> dict[str, Any]:
    """The files of the networks that notebooks 02 and 03 train in a run; they need not be there."""
    first, second = Path(run) / "02_espcn", Path(run) / "03_srgan"
    of_second = {"SRResNet": second / "srresnet.pt", "SRGAN": second / "srgan.pt"}
    return {"ESPCN": first / "espcn.pt", **of_second}


def versions() -> dict[str, str]:
    """What a number depends on: versions, in a clone its commit (see `docs/protocol.md`), and the
    machine, since a training with other threads or on another processor ends elsewhere."""
    own = {"python": platform.python_version(), "medsr_lib": medsr_lib.__version__}
    return own | commit() | {package: version(package) for package in PACKAGES} | machine()


def machine() -> dict[str, str]:
    """The processor; where torch is loaded, its number of threads and the GPU, if there is one."""
    try:
        of_cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        of_cpu = []
    named = [line.partition(":")[2].strip() for line in of_cpu if line.startswith("model name")]
    found = {"processor": (named or [platform.processor() or platform.machine()])[0]}
    if torch := sys.modules.get("torch"):  # pages are written without it
        found["threads"] = str(torch.get_num_threads())
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


@cache
def commit() -> dict[str, str]:
    """The commit of the clone that the library runs from; {} where it is installed without one."""
    root = Path(medsr_lib.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return {}
    try:
        asked = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": done.stdout.strip()}


def now() -> str:
    """This moment, ISO 8601 with the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def write_run(run: Run) -> Path:
    """Write `run.json` into the folder of a run, all or nothing."""
    entries = [
        {name: value for name, value in vars(result).items() if name not in FOUND_ANEW}
        for result in sorted(run.results, key=lambda result: result.notebook)
    ]
    about = {name: v for name, v in vars(run).items() if name not in ("folder", "results")}
    return save(run.folder / RUN, {"format": FORMAT} | about | {"notebooks": entries})


def read_run(folder: Path) -> Run:
    """The run in a folder; of notebooks that ran without `medsr run` only what they recorded.

    Raises:
        FileNotFoundError: no such folder, or no run in it.
        ValueError: `run.json` is damaged or of another version.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    path = folder / RUN
    if not path.is_file():
        if not (results := _recorded(folder)):
            raise FileNotFoundError(
                f"{folder} is not the folder of a run: no {RUN} in it, and no NN/{RECORD}; "
                "give the folder that `medsr run --out` wrote"
            )
        return Run(folder, results)
    try:
        content = schema.load(path)
        if (there := content.pop("format", None)) != FORMAT:
            raise ValueError(f"its format is {there!r}, expected {FORMAT!r}")
        if wrong := schema.mismatch(content, schema.RUN, ""):
            raise ValueError(wrong)
        results = tuple(_result(folder, **_known(entry)) for entry in content.pop("notebooks"))
        return Run(folder, results, **_known(content))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: damaged, or of another version ({error}); run it again"
        ) from None


def earlier(folder: Path) -> list[Result]:
    """What earlier runs have finished in a folder, as far as it can be read; [] of a new one."""
    try:
        found = read_run(folder).results
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        found = [replace(one, notes=[*one.notes, str(error)]) for one in _recorded(folder)]
    ended_badly = (Status.FAILED, Status.STOPPED)
    kept = [result for result in found if result.record and result.status not in ended_badly]
    return [replace(result, status=Status.EARLIER) for result in kept]


def _recorded(folder: Path) -> tuple[Result, ...]:
    """The notebooks whose results are in a folder, whoever ran them."""
    names = sorted(path.parent.name for path in folder.glob(f"*/{RECORD}"))
    return tuple(_result(folder, notebook=name, status=Status.EARLIER) for name in names)


def _result(folder: Path, *, notebook: str, status: str, **known: Any) -> Result:
    """A result with the files that are in the folder.

    Raises:
        ValueError: no name of a notebook, no status, or a changed parameter that is not there.
    """
    if notebook in ("", "..") or notebook != Path(notebook).name:
        raise ValueError(f"no notebook can be called {notebook!r}")
    if missing := set(known.get("changed", ())) - set(known.get("parameters", ())):
        raise ValueError(f"{notebook}: no parameter {missing.pop()!r}, though it was changed")
    copy, page = folder / f"{notebook}.ipynb", folder / f"{notebook}.html"
    notes: list[str] = []
    return Result(
        notebook,
        Status(status),
        executed=copy if copy.is_file() else None,
        page=page if page.is_file() else None,
        record=load_record(folder / notebook, notes),
        notes=notes,
        **known,
    )


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a file as arguments; those that are null have their defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def _plain(value: Any, name: str) -> Any:
    """`value` as JSON has it; pandas, NumPy and torch are known by what they can do."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif hasattr(value, "columns"):
        value = _rows(value)
    elif hasattr(value, "to_dict"):
        value = value.to_dict()
    elif hasattr(value, "tolist"):
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


def _rows(value: Any) -> Any:
    """A pandas table as a list of rows, its named index as columns."""
    if any(name is not None for name in value.index.names):
        value = value.reset_index()
    joined = [" ".join(map(str, c)).strip() if isinstance(c, tuple) else str(c) for c in value]
    return value.set_axis(joined, axis=1).to_dict("records")
