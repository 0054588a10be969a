"""What lasts of a training beyond a step: its log, its checkpoint, the time it has."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsr_lib.restore.training import checkpoint as checkpoint_file
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine
from medsr_lib.restore.training.journal import Journal

SAVE_EVERY = 120.0  # seconds between checkpoints
WORSE = 100  # times the lowest validation loss: this is no fluctuation
AGREE_EVERY = 16  # steps after which several processes agree whether there is time left
State = dict[str, Any]


class Diverged(ValueError):
    """A training that cannot become good any more; its checkpoint keeps the last good state."""


@dataclass(frozen=True, repr=False)
class History:
    """What a training did.

    Attributes:
        log: (rows, columns) float32; a row is the mean over `log_every` steps, the last one perhaps
            over fewer.
        columns: names of the log's columns; the first is the loss that was minimised.
        log_every: steps a row; 1 but for very long trainings.
        validation: column step, and one for each measure: its mean over the validation images.
        steps, steps_done: asked for and taken, over all sessions.
        epochs_done: crops seen over training images; one epoch is one crop an image.
        best_step: after which the validation loss was lowest (the last step where nothing is
            chosen by validation).
        best: the state to use: that of `best_step`; of an adversarial training the running average
            of the generator.
        pictures: the watched image as it was restored, by step, (1, 1, H, W) in [0, 1].
        seconds: spent training, over all sessions.
        step_share: the share of this session's time that was spent in optimisation steps (on a GPU:
            in launching them).
    """

    log: Tensor
    columns: tuple[str, ...]
    log_every: int
    validation: pd.DataFrame
    steps: int
    steps_done: int
    epochs_done: float
    best_step: int
    best: dict[str, Tensor]
    pictures: dict[int, Tensor]
    seconds: float
    step_share: float

    @property
    def done(self) -> bool:
        """Whether all steps were taken."""
        return self.steps_done >= self.steps

    @property
    def losses(self) -> Tensor:
        """(rows,) float32, the loss that was minimised."""
        return self.log[:, 0]

    @property
    def table(self) -> pd.DataFrame:
        """Column step (from 1; the last of a row's steps), and one for each of the log's."""
        last = [min((r + 1) * self.log_every, self.steps_done) for r in range(len(self.log))]
        return pd.DataFrame({"step": last, **dict(zip(self.columns, self.log.T.numpy()))})

    def __repr__(self) -> str:
        state = "done" if self.done else "to be continued"
        return (
            f"History({self.steps_done} of {self.steps} steps, {self.epochs_done:.1f} epochs, "
            f"{self.seconds:.0f} s, best after step {self.best_step}: {state})"
        )


class Training:
    """Iterates over the steps that are still to be taken, while the session's time lasts.

    The body of the loop takes the step and calls `note` once. Between the steps, this validates,
    saves, shows a progress bar, and refuses to go on with what is no longer a number.

    Args:
        parts: all that changes from step to step, by name: anything with `state_dict` and
            `load_state_dict`.
        configuration: all that a continued training must have in common with the first session.
        columns: of the log.
        steps: to take in all, over all sessions.
        images: how many there are to train on.
        engine: says which process this is.
        clock: the session's time.
        path: the checkpoint; the tables of a `journal` stand beside it.
        validate: gives the measures; or None.
        validate_every: steps.
        choose: the name of the measure whose lowest value picks the best state; None: the last.
        best: gives the state to keep when it is the best.
        picture: gives the watched image as it is restored now; or None.
        check: called when the log is looked at; raises `Diverged`.
        log_every: steps a row of the log.
        progress: show a progress bar.
        title: of the bar.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        configuration: State,
        *,
        columns: tuple[str, ...],
        steps: int,
        images: int,
        engine: Engine,
        clock: Clock,
        path: str | Path | None,
        validate: Callable[[], dict[str, float]] | None,
        validate_every: int,
        choose: str | None,
        best: Callable[[], dict[str, Tensor]],
        picture: Callable[[], Tensor] | None = None,
        check: Callable[["Training"], None] | None = None,
        log_every: int = 1,
        progress: bool = True,
        title: str = "training",
    ) -> None:
        self.parts, self.configuration, self.columns = parts, configuration, columns
        self.steps, self.images, self.engine, self.clock = steps, images, engine, clock
        self.path = None if path is None else Path(path)
        self.journal = Journal(self.path)
        self.validate, self.validate_every = validate, validate_every
        self.choose, self.best_of, self.picture, self.check = choose, best, picture, check
        self.log_every, self.progress, self.title = log_every, progress, title
        rows = -(-steps // log_every)
        self.log = torch.zeros(rows, len(columns), device=engine.device)
        self.step = 0
        self.validation: list[dict[str, float]] = []
        self.pictures: dict[int, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.seconds_before = 0.0
        self._load()

    def __iter__(self) -> Iterator[int]:
        first = self.step
        if not self._begin():
            return
        with tqdm(
            total=self.steps,
            initial=first,
            desc=self.title,
            unit="step",
            disable=not self.progress or self.engine.rank > 0,
            leave=False,
        ) as bar:
            while self.step < self.steps and self._may_go_on(self.step - first):
                yield self.step
                self.step += 1
                bar.update()
                if self._first_of_all():
                    self._between(bar)
        if self._first_of_all() and self.step > first:
            self.state_of_play()
            self._save()
            self.journal.write(self)
        self.engine.wait()

    def note(self, *values: Tensor) -> None:
        """Log what this step gave, a number for each column."""
        row = torch.stack([value.detach().float() for value in values])
        self.log[self.step // self.log_every] += self.engine.mean(row)

    def means(self) -> Tensor:
        """(rows, columns) of the log so far; the last row may be the mean over fewer steps."""
        counts = self.step - torch.arange(self.rows, device=self.log.device) * self.log_every
        return self.log[: self.rows] / counts.clamp(max=self.log_every)[:, None]

    @property
    def rows(self) -> int:
        """Of the log, so far."""
        return -(-self.step // self.log_every)

    @property
    def best_step(self) -> int:
        """After which step the chosen measure was lowest; the last one if none is."""
        if self.choose is None or not self.validation:
            return self.step
        lowest = min(self.validation, key=lambda row: row[str(self.choose)])
        return int(lowest["step"])

    def history(self) -> History:
        """What there is to say after this session."""
        columns = ["step", *(self.validation[0] if self.validation else [self.choose or "step"])]
        validation = pd.DataFrame(self.validation, columns=list(dict.fromkeys(columns)))
        return History(
            log=self.means().cpu(),
            columns=self.columns,
            log_every=self.log_every,
            validation=validation.astype(float).astype({"step": int}),
            steps=self.steps,
            steps_done=self.step,
            epochs_done=self.step * self.configuration["batch"] / self.images,
            best_step=self.best_step,
            best=self.best or self.best_of(),
            pictures=self.pictures,
            seconds=self.seconds_before + self.clock.elapsed(),
            step_share=self.clock.share("step"),
        )

    def state_of_play(self) -> str:
        """The latest losses as text; refuses to go on when they are no longer numbers."""
        latest = self.means()[-50:]
        self._refuse_not_finite(latest, f"the {self.columns[0].replace('_', ' ')}")
        if self.check is not None:
            self.check(self)
        if not len(latest):
            return ""
        text = f"{self.columns[0].replace('_', ' ')} {latest[:, 0].mean().item():.2e}"
        if self.validation:
            name, value = list(self.validation[-1].items())[1]
            text += f", validation {'' if name == 'loss' else name + ' '}{value:.4g}"
        return text

    def _begin(self) -> bool:
        """Whether there is anything to do; if so, save: is the disk good, how long does it take?"""
        if self.step >= self.steps:
            return False
        if not self.engine.agree(self.clock.has_time_left()):
            warnings.warn(
                f"no time for a single step of {self.title}: {self.step} of {self.steps} taken "
                "so far. hours counts from the start of the process (of the notebook's kernel)",
                stacklevel=4,
            )
            return False
        if self._first_of_all():
            if self.step == 0:
                self._look_at_picture()
            self._save()
            self.journal.write(self)
        return True

    def _first_of_all(self) -> bool:
        return self.engine.rank == 0

    def _may_go_on(self, taken: int) -> bool:
        if self.engine.world == 1:
            return self.clock.has_time_left()
        return taken % AGREE_EVERY > 0 or self.engine.agree(self.clock.has_time_left(AGREE_EVERY))

    def _between(self, bar: Any) -> None:
        if self.step % self.validate_every == 0 or self.step == self.steps:
            with self.clock.measure("validate"):
                self._look_at_picture()
                self._validated()
        if self.clock.is_due("look", 1.0):  # once a second: reading a loss waits for the device
            bar.set_postfix_str(self.state_of_play())
            self.journal.write(self)
        if self.clock.is_due("save", SAVE_EVERY):
            self._save()

    def _look_at_picture(self) -> None:
        if self.picture is not None:
            self.pictures[self.step] = self.picture()

    def _validated(self) -> None:
        """Note the measures after this step, and the weights if they are the best."""
        if self.validate is None:
            return
        self.validation.append({"step": self.step, **self.validate()})
        if self.choose is not None:
            self._refuse_worse(self.choose)
        if self.choose is not None and self.best_step == self.step:
            self.best = self.best_of()

    def _refuse_worse(self, measure: str) -> None:
        *before, now = (row[measure] for row in self.validation)
        if before and now > WORSE * min(before):
            raise Diverged(
                f"the validation {measure} is {now:.2g} after step {self.step} and has been "
                f"{min(before):.2g}: the training has blown up. The checkpoint keeps the last "
                "saved state; lower the learning rate, or give `clip`"
            )

    def _refuse_not_finite(self, values: Tensor, what: str) -> None:
        if not torch.isfinite(values).all():
            raise Diverged(
                f"{what} became NaN or infinite before step {self.step}; "
                "the checkpoint keeps the last good state: lower the learning rate"
            )

    def _save(self) -> None:
        if self.path is None:
            return
        with self.clock.measure("save"):
            self.state_of_play()
            states = {name: part.state_dict() for name, part in self.parts.items()}
            for state in states.values():
                weights = [
                    w for w in state.values() if isinstance(w, Tensor) and w.is_floating_point()
                ]
                if weights:
                    self._refuse_not_finite(torch.cat([w.flatten() for w in weights]), "a weight")
            state = {
                "configuration": self.configuration,
                "fingerprint": fingerprint(self.configuration),
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

    def _load(self) -> None:
        """Continue from the checkpoint, if there is one."""
        state = None if self.path is None else checkpoint_file.load(self.path)
        if state is None:
            return
        refuse_other_configuration(self.path, state.get("configuration", {}), self.configuration)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
            if isinstance(part, torch.optim.Optimizer):
                _lay_out(part)
        self.step = state["step"]
        self.log[: self.rows] = state["log"].to(self.log.device)
        self.validation, self.pictures = state["validation"], state["pictures"]
        self.best, self.seconds_before = state["best"], state["seconds"]


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Keep moments in memory as their weights are: a fused step takes that for granted, and another
    session may have trained with another `Speed.channels_last`.
    """
    for weight, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight).copy_(value)


def describe(function: object) -> str:
    """A degradation or loss as text, the same in every process: `bicubic(scale=4)`."""
    if isinstance(function, partial):
        keywords = ", ".join(f"{k}={v!r}" for k, v in sorted(function.keywords.items()))
        return f"{describe(function.func)}({keywords})"
    return getattr(function, "__name__", None) or repr(function)


def fingerprint(configuration: State) -> str:
    """A configuration in 16 hexadecimal digits."""
    text = json.dumps(configuration, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refuse_other_configuration(path: Path | None, found: State, wanted: State) -> None:
    """Raise a ValueError that names what differs, if anything does."""
    keys = [k for k in wanted | found if found.get(k) != wanted.get(k)]
    if keys:
        lines = [f"  {k}: {found.get(k)!r} in the file, {wanted.get(k)!r} asked for" for k in keys]
        raise ValueError(
            f"{path}: a checkpoint of another configuration; it differs in {', '.join(keys)}. "
            "Nothing was changed. Take another file (for a notebook: another out_dir), go back to "
            "the former settings, or remove the file to start again:\n" + "\n".join(lines)
        )
