"""What a training has written so far: its checkpoint, and the tables of curves beside it.

`fit` and `fit_gan` replace their checkpoint as a whole at the beginning, every two minutes and at
the end, so that it can be read at any time, and append to `<checkpoint>_training.csv` and
`<checkpoint>_validation.csv` every second. Tables are read to their last whole line.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsr_lib.show.panels import as_array

TABLE, VALIDATION = "training.csv", "validation.csv"


@dataclass(frozen=True, eq=False)
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
    start = path.name.removesuffix(TABLE) if path.suffix == ".csv" else f"{path.stem}_"
    return path.with_name(start + TABLE), path.with_name(start + VALIDATION)


def stamp(path: Path) -> tuple[float, int]:
    """What changes when a training's files were written: the time of the last, and their bytes;
    zeros where there is none.
    """
    states = [file.stat() for file in {path, *tables(path)} if file.is_file()]
    last = max((state.st_mtime for state in states), default=0.0)
    return last, sum(state.st_size for state in states)


def read(path: Path) -> Log:
    """Read the tables of a training, and its checkpoint where it has one.

    Raises:
        ValueError: no such file, damaged or half written, or not of a training.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; has the training begun?")
    known = {} if path.suffix == ".csv" else _checkpoint(path)
    file, beside = tables(path)
    training = _table(file)
    validation = _table(beside) if beside.is_file() else pd.DataFrame({"step": []})
    written = int(training["step"].max()) if len(training) else 0
    if not known:
        return Log(training, validation, written)
    if written > known["step"]:  # since the checkpoint was written, it has trained
        known["seconds"] += max(0.0, file.stat().st_mtime - path.stat().st_mtime)
        known["step"] = written
    return Log(training, validation, **known)


def _checkpoint(path: Path) -> dict:
    """Steps, seconds and pictures of a checkpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state"]
        return {
            "step": int(state["step"]),
            "steps": int(state["configuration"]["steps"]),
            "seconds": float(state["seconds"]),
            "pictures": {
                int(n): as_array(shot, "picture") for n, shot in state["pictures"].items()
            },
        }
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path}: no training can be read from it: half written, damaged, or no checkpoint of "
            f"a training ({type(error).__name__}: {text})"
        ) from None


def whole_lines(path: Path) -> tuple[str, str]:
    """The whole lines of a table, and the beginning of one that is still being written."""
    whole, line_end, rest = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    return whole + line_end, rest


def _table(path: Path) -> pd.DataFrame:
    """Numbers by step; invalid lines are left out.

    Raises:
        ValueError: no such table, or one without steps.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such table; fit writes it beside its checkpoint")
    lines, _ = whole_lines(path)
    table = pd.read_csv(io.StringIO(lines or "step\n"), on_bad_lines="skip")
    if "step" not in table:
        raise ValueError(f"{path}: no column step; its columns are {list(table)}")
    return table.apply(pd.to_numeric, errors="coerce").dropna(subset=["step"])
