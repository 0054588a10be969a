"""What a training has written so far: its checkpoint, and the tables beside it.

`fit` and `fit_gan` replace their checkpoint as a whole at the beginning, every two minutes and at
the end, so that it can be read at any time, and append to `<checkpoint>_training.csv` and
`<checkpoint>_validation.csv` every second. Tables are read to their last whole line.
"""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsr_lib.show.panels import as_array

TABLE, VALIDATION = "training.csv", "validation.csv"


@dataclass
class Log:
    """A training as far as it has come.

    Attributes:
        training: the column step, and one for each number logged.
        validation: the column step, and one for each measure; maybe empty.
        step: taken.
        steps: asked for, where that is known.
        seconds: spent training, where that is known.
        pictures: the watched image as it was restored, by step.
    """

    training: pd.DataFrame
    validation: pd.DataFrame
    step: int
    steps: int | None = None
    seconds: float | None = None
    pictures: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all steps were taken."""
        return self.steps is not None and self.step >= self.steps


def find(place: Path) -> dict[str, Path]:
    """The trainings of a folder by the names of their files, the latest first; `training.csv`, the
    copy that a notebook leaves of a log, comes last. A file is one by itself, and the tables of a
    checkpoint belong to it.

    Raises:
        ValueError: no such folder, or nothing of a training in it.
    """
    if place.is_file():
        return {place.name: place}
    if not place.is_dir():
        raise ValueError(f"{place}: no such folder yet; the notebook makes it when it starts")
    checkpoints = [*place.glob("*checkpoint*.pt")]
    theirs = {tables(path)[0] for path in checkpoints}
    files = [*checkpoints, *(path for path in place.glob(f"*{TABLE}") if path not in theirs)]
    if not files:
        raise ValueError(
            f"{place}: no training here yet; a checkpoint (*checkpoint*.pt) is written when fit "
            "begins, if it is given one"
        )
    files.sort(key=lambda path: (path.name == TABLE, -stamp(path)[0], path.name))
    return {path.name: path for path in files}


def tables(path: Path) -> tuple[Path, Path]:
    """The tables of the training and of the validation that belong to a checkpoint or table."""
    if path.suffix == ".csv":
        return path, path.with_name(path.name.removesuffix(TABLE) + VALIDATION)
    training, validation = (path.with_name(f"{path.stem}_{name}") for name in (TABLE, VALIDATION))
    return training, validation


def stamp(path: Path) -> tuple[float, int]:
    """What changes when a training's files were written: the time of the last, and their bytes;
    zeros where there is none.
    """
    states = [_state(file) for file in {path, *tables(path)}]
    return max(time for time, _ in states), sum(size for _, size in states)


def _state(path: Path) -> tuple[float, int]:
    """When a file was written, and its bytes."""
    try:
        state = path.stat()
    except OSError:
        return 0.0, 0
    return state.st_mtime, state.st_size


def read(path: Path) -> Log:
    """Read a checkpoint or a table.

    Raises:
        ValueError: no such file, damaged or half written, or not of a training.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; has the training begun?")
    if path.suffix == ".csv":
        return _of_tables(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = found["state"]
        log = _of_checkpoint(state)
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path}: no history can be read from it: half written, damaged, or no checkpoint of "
            f"a training ({type(error).__name__}: {text})"
        ) from None
    return _brought_up_to_date(log, path)


def _of_checkpoint(state: dict[str, Any]) -> Log:
    """The log of a checkpoint holds sums over the steps of a row; an old one does not name them."""
    asked, sums, step = state["configuration"], state["log"].numpy(), int(state["step"])
    every = int(asked.get("log_every", 1))
    counts = np.clip(step - np.arange(len(sums)) * every, 1, every).astype(np.float32)
    log = sums / counts[:, None]
    names = state.get("columns") or [f"column {n + 1}" for n in range(sums.shape[1])]
    last = np.minimum((np.arange(len(log)) + 1) * every, step)
    training = pd.DataFrame({"step": last, **dict(zip(names, log.T))})
    validation = pd.DataFrame(state["validation"] or {"step": []})
    pictures = {int(n): as_array(shot, "picture") for n, shot in state["pictures"].items()}
    return Log(training, validation, step, int(asked["steps"]), float(state["seconds"]), pictures)


def _of_tables(path: Path) -> Log:
    """The log of a table, with that of the validation beside it if there is one."""
    beside = tables(path)[1]
    training = _table(path)
    validation = _table(beside) if beside.is_file() else pd.DataFrame({"step": []})
    for file, table in ((path, training), (beside, validation)):
        if "step" not in table:
            raise ValueError(f"{file}: no column step; its columns are {list(table)}")
    return Log(training, validation, int(training["step"].max()) if len(training) else 0)


def _brought_up_to_date(log: Log, path: Path) -> Log:
    """The log of a checkpoint with the curves of the tables beside it, if they have come further;
    since the checkpoint was written, the training has trained.
    """
    file = tables(path)[0]
    try:
        since = _of_tables(file)
    except (OSError, ValueError):  # none, or no table: the checkpoint has all that matters
        return log
    if since.step <= log.step:
        return log
    seconds = (log.seconds or 0.0) + max(0.0, _state(file)[0] - _state(path)[0])
    validation = max(since.validation, log.validation, key=len)
    return replace(
        log, training=since.training, validation=validation, step=since.step, seconds=seconds
    )


def whole_lines(path: Path) -> tuple[str, str]:
    """The whole lines of a table, and the beginning of one that is still being written."""
    whole, line_end, rest = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    return whole + line_end, rest


def _table(path: Path) -> pd.DataFrame:
    """Numbers by step; lines that are none are left out."""
    lines, _ = whole_lines(path)
    if not lines:
        return pd.DataFrame({"step": []})
    table = pd.read_csv(io.StringIO(lines), on_bad_lines="skip")
    return table.apply(pd.to_numeric, errors="coerce").dropna(subset=list(table)[:1])
