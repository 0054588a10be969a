"""The loop of every training: its log, its checkpoint, its evaluations, the time it has."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib.restore.training import checkpoint as checkpoint_file
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine, ready

SAVE_EVERY = 120.0  # seconds between checkpoints
WORSE = 100  # times the lowest validation loss: this is no fluctuation
AGREE_EVERY = 16  # steps after which several processes agree whether there is time left
MAX_ROWS = 100_000  # of the log; in a longer training each row is the mean over several steps
State = dict[str, Any]


class Diverged(ValueError):
    """A training that cannot become good any more; its checkpoint keeps the last good state."""


@dataclass(frozen=True, repr=False)
class History:
    """What a training did.

    Attributes:
        table: column step (from 1), and one for each number that was logged. A row is a step, or in
            trainings of 200,000 steps and more the mean over several, the last of which it names.
        validation: column step, and one for each measure: its mean over the validation images.
        steps, steps_done: asked for and taken, over all sessions.
        done: whether all steps were taken, or the training ended early for lack of improvement.
        epochs_done: crops seen over training images; one epoch is one crop an image.
        best_step: after how many steps the network was as it is left.
        pictures: the watched image as it was restored, by step, (1, 1, H, W) in [0, 1].
        seconds: spent training, over all sessions.
        step_share: the share of this session's time that was spent in optimisation steps (on a GPU:
            in launching them).
    """

    table: pd.DataFrame
    validation: pd.DataFrame
    steps: int
    steps_done: int
    done: bool
    epochs_done: float
    best_step: int
    pictures: dict[int, Tensor]
    seconds: float
    step_share: float

    def __repr__(self) -> str:
        state = "done" if self.done else "to be continued"
        return (
            f"History({self.steps_done} of {self.steps} steps, {self.epochs_done:.1f} epochs, "
            f"{self.seconds:.0f} s, best after step {self.best_step}: {state})"
        )


@dataclass(frozen=True)
class Evaluation:
    """How a network is evaluated while it is trained, and which of its states is kept.

    Attributes:
        measure: gives the means over the validation images by name; None without such images.
        every: steps between evaluations; the last step is always followed by one.
        choose: the measure whose lowest value picks the state; None for the last state.
        patience: evaluations without a lower value after which the training ends; None for never.
        picture: an LR image (1, 1, h, w) to be restored each time, for the eye.
    """

    measure: Callable[[], dict[str, float]] | None
    every: int
    choose: str | None = None
    patience: int | None = None
    picture: Tensor | None = None


class Training:
    """Iterates over the steps that are still to be taken, while the session's time lasts.

    The body of the loop takes the step and calls `note` once; `finish` follows the loop. Between
    the steps, this evaluates, saves, shows a progress bar, and stops what is no longer a number.

    Args:
        parts: all that changes from step to step, by name: anything with `state_dict` and
            `load_state_dict`.
        configuration: all that a continued training must have in common with the first session;
            `steps`, `batch` and `n_images` (to train on) among it.
        network: what is evaluated, and left in the chosen state: one of the parts.
        columns: of the log; the first is the loss that is minimised.
        engine: says which process this is.
        clock: the session's time.
        checkpoint: the file; two tables of the log are written beside it. None for no files.
        evaluation: how the network is evaluated.
        check: called when the log is looked at; raises `Diverged`.
        progress: show a progress bar.

    Raises:
        ValueError: a checkpoint that is unreadable or of another configuration.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        configuration: State,
        *,
        network: nn.Module,
        engine: Engine,
        clock: Clock,
        checkpoint: str | Path | None,
        evaluation: Evaluation,
        columns: tuple[str, ...] = ("loss",),
        check: Callable[["Training"], None] | None = None,
        progress: bool = True,
    ) -> None:
        self.parts, self.network, self.columns = parts, network, columns
        self.engine, self.clock, self.evaluation = engine, clock, evaluation
        self.check, self.progress = check, progress
        self.steps = int(configuration["steps"])
        self.log_every = max(1, self.steps // MAX_ROWS)
        self.configuration = configuration | {"log_every": self.log_every}
        self.log = torch.zeros(-(-self.steps // self.log_every), len(columns), device=engine.device)
        self.step = 0
        self.validation: list[dict[str, float]] = []
        self.pictures: dict[int, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.seconds_before = 0.0
        self.path = None if checkpoint is None else Path(checkpoint)
        self.beside = self.path  # the tables are beside it; None where their disk fails
        self.written: tuple[int, int] | None = None  # rows of the two tables so far
        self._load()

    def __iter__(self) -> Iterator[int]:
        first = self.step
        if not self._begin():
            return
        with tqdm(
            total=self.steps,
            initial=first,
            desc="training",
            unit="step",
            disable=not self.progress or self.engine.rank > 0,
            leave=False,
        ) as bar:
            while self._goes_on(self.step - first):
                yield self.step
                self.step += 1
                bar.update()
                if self.engine.rank == 0:
                    self._between(bar)
        if self.engine.rank == 0 and self.step > first:
            self._save()
            self._write_tables()
        self.engine.wait()

    def note(self, *values: Tensor) -> None:
        """Log the numbers of this step, one for each column."""
        row = torch.stack([value.detach().float() for value in values])
        self.log[self.step // self.log_every] += self.engine.mean(row)

    def means(self, first: int = 0) -> Tensor:
        """(rows, columns) of the log from a row on; the last may be the mean over fewer steps."""
        begun = torch.arange(first, self.rows, device=self.log.device) * self.log_every
        counts = (self.step - begun).clamp(max=self.log_every)
        return self.log[first : self.rows] / counts[:, None]

    def table(self, first: int = 0) -> pd.DataFrame:
        """The log from a row on, with the last step of each row."""
        last = (np.arange(first, self.rows) + 1) * self.log_every
        values = dict(zip(self.columns, self.means(first).cpu().T.numpy()))
        return pd.DataFrame({"step": last.clip(max=self.step), **values})

    @property
    def rows(self) -> int:
        """Of the log, so far."""
        return -(-self.step // self.log_every)

    @property
    def best_step(self) -> int:
        """After which step the chosen measure was lowest; the last one if none is chosen."""
        if not self._chosen:
            return self.step
        return int(self.validation[int(np.argmin(self._chosen))]["step"])  # the first of equals

    @property
    def done(self) -> bool:
        """Whether all steps were taken, or patience is exhausted."""
        if self.evaluation.patience is None or not self._chosen:
            return self.step >= self.steps
        since = len(self._chosen) - 1 - int(np.argmin(self._chosen))
        return self.step >= self.steps or since >= self.evaluation.patience

    def finish(self) -> History:
        """Leave the network ready for use in the state to keep, and say what was done."""
        if self.best:
            self.network.load_state_dict(self.best)
        ready(self.network)
        columns = self.validation[0] if self.validation else ["step", self.evaluation.choose]
        validation = pd.DataFrame(self.validation, columns=[name for name in columns if name])
        return History(
            table=self.table(),
            validation=validation.astype(float).astype({"step": int}),
            steps=self.steps,
            steps_done=self.step,
            done=self.done,
            epochs_done=self.step * self.configuration["batch"] / self.configuration["n_images"],
            best_step=self.best_step,
            pictures=self.pictures,
            seconds=self.seconds_before + self.clock.elapsed(),
            step_share=self.clock.share("step"),
        )

    @property
    def _chosen(self) -> list[float]:
        """The measure that picks the state, at each evaluation."""
        name = self.evaluation.choose
        return [] if name is None else [row[name] for row in self.validation]

    def _begin(self) -> bool:
        """Whether there is anything to do; if so, save: is the disk good, how long does it take?"""
        if self.engine.rank == 0 and self.step > 0:
            self._write_tables()  # of the checkpoint, whenever the former session was killed
        if self.done:
            return False
        if not self.engine.agree(self.clock.has_time_left()):
            warnings.warn(
                f"no time for a single step of training: {self.step} of {self.steps} taken so far. "
                "hours counts from the start of the process (of the notebook's kernel)",
                stacklevel=4,
            )
            return False
        if self.engine.rank == 0:
            if self.step == 0:
                self._keep_picture()
            self._save()
            self._write_tables()
        return True

    def _goes_on(self, taken: int) -> bool:
        if self.step >= self.steps:
            return False
        if self.engine.world == 1:
            return not self.done and self.clock.has_time_left()
        if taken % AGREE_EVERY:
            return True
        return self.engine.agree(not self.done and self.clock.has_time_left(AGREE_EVERY))

    def _between(self, bar: Any) -> None:
        if self.step % self.evaluation.every == 0 or self.step == self.steps:
            with self.clock.measure("validate"):
                self._keep_picture()
                self._evaluate()
        if self.clock.is_due("look", 1.0):  # once a second: reading a loss waits for the device
            bar.set_postfix_str(self._status())
            self._write_tables()
        if self.clock.is_due("save", SAVE_EVERY):
            self._save()

    @torch.inference_mode()
    def _keep_picture(self) -> None:
        if self.evaluation.picture is not None:
            was_training = self.network.training
            sr = self.network.eval()(self.evaluation.picture.to(self.engine.device))
            self.network.train(was_training)
            self.pictures[self.step] = sr.clamp(0, 1).float().cpu()

    def _evaluate(self) -> None:
        """Note the measures after this step, and the weights if they are the best."""
        if self.evaluation.measure is None:
            return
        self.validation.append({"step": self.step, **self.evaluation.measure()})
        *before, now = self._chosen or [0.0]
        if before and now > WORSE * min(before) and self.evaluation.patience is None:
            raise Diverged(
                f"the validation {self.evaluation.choose} is {now:.2g} after step {self.step} and "
                f"has been {min(before):.2g}: the training has blown up. The checkpoint keeps the "
                "last saved state; lower the learning rate, or give `clip`"
            )
        if self.evaluation.choose is not None and self.best_step == self.step:
            state = self.network.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}

    def _status(self) -> str:
        """The latest losses as text; refuses to go on when they are no longer numbers."""
        latest, loss = self.means(max(0, self.rows - 50)), self.columns[0].replace("_", " ")
        self._refuse_not_finite(latest, f"the {loss}")
        if self.check is not None:
            self.check(self)
        text = f"{loss} {latest[:, 0].mean().item():.2e}"
        if self.validation:
            name, value = list(self.validation[-1].items())[1]
            text += f", validation {'' if name == 'loss' else name + ' '}{value:.4g}"
        return text

    def _refuse_not_finite(self, values: Tensor, what: str) -> None:
        if not torch.isfinite(values).all():
            raise Diverged(
                f"{what} became NaN or infinite before step {self.step}; "
                "the checkpoint keeps the last good state: lower the learning rate"
            )

    def _save(self) -> None:
        self._status()
        if self.path is None:
            return
        text = json.dumps(self.configuration, sort_keys=True)
        with self.clock.measure("save"):
            states = {name: part.state_dict() for name, part in self.parts.items()}
            for values in states.values():
                for value in values.values():
                    if isinstance(value, Tensor) and value.is_floating_point():
                        self._refuse_not_finite(value, "a weight")
            state = {
                "configuration": self.configuration,
                "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
                "step": self.step,
                **states,
                "columns": list(self.columns),
                "log": self.log[: self.rows].cpu().clone(),  # a view would bring the rest along
                "validation": self.validation,
                "pictures": self.pictures,
                "best": self.best,
                "seconds": self.seconds_before + self.clock.elapsed(),
            }
            checkpoint_file.save(self.path, state)

    def _write_tables(self) -> None:
        """Append what has come since the last call to two tables beside the checkpoint.

        They are for the eye while a training runs; what it resumes from is its checkpoint alone,
        and a disk that fails ends the tables, not the training. The first call replaces the files
        by what the checkpoint holds: what a killed session wrote beyond it goes.
        """
        if self.beside is None:
            return
        begun = self.written is not None
        rows, evaluated = self.written or (0, 0)
        self.written = self.step // self.log_every, len(self.validation)
        log, validation = (
            self.beside.with_name(f"{self.beside.stem}_{name}.csv")
            for name in ("training", "validation")
        )
        try:
            _append(log, self.table(rows)[: self.written[0] - rows], begun)
            if self.validation[evaluated:]:
                _append(validation, pd.DataFrame(self.validation[evaluated:]), evaluated > 0)
            elif not begun:
                validation.unlink(missing_ok=True)  # that of another training
        except OSError:
            self.beside = None

    def _load(self) -> None:
        """Continue from the checkpoint, if there is one."""
        state = None if self.path is None else checkpoint_file.load(self.path)
        if state is None:
            return
        found, wanted = state.get("configuration", {}), self.configuration
        keys = [k for k in wanted | found if found.get(k) != wanted.get(k)]
        if keys:
            lines = [
                f"  {k}: {found.get(k)!r} in the file, {wanted.get(k)!r} asked for" for k in keys
            ]
            raise ValueError(
                f"{self.path}: a checkpoint of another configuration; it differs in "
                f"{', '.join(keys)}. Nothing was changed. Take another file (for a notebook: "
                "another out_dir), go back to the former settings, or remove the file to start "
                "again:\n" + "\n".join(lines)
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
            if isinstance(part, torch.optim.Optimizer):
                _lay_out(part)
        self.step = state["step"]
        self.log[: self.rows] = state["log"].to(self.log.device)
        self.validation, self.pictures = state["validation"], state["pictures"]
        self.best, self.seconds_before = state["best"], state["seconds"]


def _append(path: Path, rows: pd.DataFrame, begun: bool) -> None:
    """Write rows at the end of a file, or with a head in its place if it has not begun."""
    text = rows.to_csv(index=False, header=not begun, float_format="%.7g", lineterminator="\n")
    with path.open("a" if begun else "w", encoding="utf-8") as file:
        file.write(text)


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Keep moments in memory as their weights are: a fused step takes that for granted, and another
    session may have trained with another `Precision.channels_last`.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight).copy_(value)


def describe(function: object) -> str:
    """A degradation, loss or network as text, the same in every process.

    A function by its qualified name, a `functools.partial` with its keywords, anything else (a
    frozen dataclass, a module) by its `repr`.
    """
    if isinstance(function, partial):
        keywords = ", ".join(f"{k}={v!r}" for k, v in sorted(function.keywords.items()))
        return f"{describe(function.func)}({keywords})"
    name = getattr(function, "__qualname__", None)
    return repr(function) if name is None else f"{getattr(function, '__module__', '')}.{name}"
