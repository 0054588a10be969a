"""What a training has written so far: its checkpoint, or the tables beside it.

`fit` and `fit_gan` replace their checkpoint as a whole at the beginning, every two minutes and at
the end, so that it can be read at any time. Tables are read to their last whole line.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsr_lib.show.panels import as_array

ADVERSARIAL = (
    "generator_loss",
    "pixel_loss",
    "content_loss",
    "adversarial_loss",
    "discriminator_loss",
    "d_real",
    "d_fake",
)
"""The columns of an adversarial training's log, whose checkpoint does not name them."""

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
    copy that a notebook leaves of a log, comes last. A file is one by itself.

    Raises:
        ValueError: no such folder, or nothing of a training in it.
    """
    if place.is_file():
        return {place.name: place}
    if not place.is_dir():
        raise ValueError(f"{place}: no such folder yet; the notebook makes it when it starts")
    files = [*place.glob("*checkpoint*.pt"), *place.glob(f"*{TABLE}")]
    if not files:
        raise ValueError(
            f"{place}: no training here yet; a checkpoint (*checkpoint*.pt) is written when fit "
            "begins, if it is given one"
        )
    files.sort(key=lambda path: (path.name == TABLE, -stamp(path)[0], path.name))
    return {path.name: path for path in files}


def stamp(path: Path) -> tuple[float, int]:
    """What changes when a file was written; zeros where there is none."""
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
        training = _table(path)
        beside = path.with_name(path.name.removesuffix(TABLE) + VALIDATION)
        validation = _table(beside) if beside.is_file() else pd.DataFrame({"step": []})
        if "step" not in training:
            raise ValueError(f"{path}: no column step; its columns are {list(training)}")
        return Log(training, validation, int(training["step"].max()) if len(training) else 0)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = found["state"]
        return _of_checkpoint(state)
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path}: no history can be read from it: half written, damaged, or no checkpoint of "
            f"a training ({type(error).__name__}: {text})"
        ) from None


def _of_checkpoint(state: dict[str, Any]) -> Log:
    """The log of a checkpoint holds sums over the steps of a row."""
    asked, sums, step = state["configuration"], state["log"].numpy(), int(state["step"])
    every = int(asked.get("log_every", 1))
    counts = np.clip(step - np.arange(len(sums)) * every, 1, every).astype(np.float32)
    log, width = sums / counts[:, None], sums.shape[1]
    names = ["loss"] if width == 1 else list(ADVERSARIAL)
    if len(names) != width:
        names = [f"column {n + 1}" for n in range(width)]
    last = np.minimum((np.arange(len(log)) + 1) * every, step)
    training = pd.DataFrame({"step": last, **dict(zip(names, log.T))})
    validation = pd.DataFrame(state["validation"] or {"step": []})
    pictures = {int(n): as_array(shot, "picture") for n, shot in state["pictures"].items()}
    return Log(training, validation, step, int(asked["steps"]), float(state["seconds"]), pictures)


def _table(path: Path) -> pd.DataFrame:
    """The whole lines of a table that may be in the middle of being written."""
    whole, line_end, _ = path.read_text(errors="replace").rpartition("\n")
    if not line_end:
        return pd.DataFrame({"step": []})
    table = pd.read_csv(io.StringIO(whole), on_bad_lines="skip")
    return table.apply(pd.to_numeric, errors="coerce").dropna(subset=list(table)[:1])
