"""A session of a notebook: what it resumes from, and what it leaves for the next one.

A notebook calls `begin` first and `Session.record` last. Run by itself it needs no more. In a chain
its parameter `chain` says which session it is, and what it must go on from.
"""

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsr_lib import checks
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Context
from medsr_lib.series.sessions.state import State

if TYPE_CHECKING:
    from medsr_lib.restore.training.loop import History

PACKED = ("*.h5", "*/*.h5")  # images in one file: made again in every session, and large


@dataclass(frozen=True)
class Session:
    """A session that has begun.

    Attributes:
        folder: of the notebook in this run, with the checkpoints of an earlier session.
        hours: after which it is to end, counted from the start of the process; None for no limit.
        context: its place in a chain; None for a notebook that is run by itself.
        hours_before: of the sessions before it.
    """

    folder: Path
    hours: float | None
    context: Context | None
    hours_before: float

    def record(self, trainings: Mapping[str, "History"]) -> Path:
        """Write `chain_state.json`: the last thing that a session does.

        Args:
            trainings: the history of each training by the name of its checkpoint.

        Raises:
            ValueError: a checkpoint has not come as far as its history: the disk is full, perhaps.
        """
        from medsr_lib.restore.training import clock

        found = states.describe(self.folder)
        for name, history in trainings.items():
            step = found.checkpoints.get(name, {"step": 0})["step"]
            if step != history.steps_done:
                raise ValueError(
                    f"{self.folder / name} was saved after step {step}, but the training came to "
                    f"{history.steps_done}; the session is not complete: run the notebook again"
                )
        left_out = {states.NAME, *found.files}
        others = {
            path.name: states.sums(path)
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.name[0] != "." and path.name not in left_out
        }
        to_come = [h.steps for name, h in trainings.items() if name not in found.checkpoints]
        state = replace(
            found,
            steps=found.steps + sum(to_come),
            done=all(history.done for history in trainings.values()),
            files=found.files | others,
            docker_image=os.environ.get("KAGGLE_DOCKER_IMAGE"),
            hours=round(clock.session_age() / 3600, 4),
            hours_before=self.hours_before,
        )
        return states.write(self.folder, self.context.marked(state) if self.context else state)


def seeds(name: str, *, seed: int, trainings: int) -> dict[str, int]:
    """The seeds of several trainings of one network, by the names of their files.

    The first keeps the plain name, by which other notebooks find it.

    >>> seeds("espcn", seed=0, trainings=3)
    {'espcn': 0, 'espcn_seed1': 1, 'espcn_seed2': 2}

    Raises:
        ValueError: fewer than one training.
    """
    checks.whole("trainings", trainings, least=1)
    others = range(seed + 1, seed + trainings)
    return {name: seed} | {f"{name}_seed{other}": other for other in others}


def begin(
    out_dir: str | Path,
    notebook: str,
    *,
    hours: float | None,
    resume_from: str | Path | None,
    chain: Mapping[str, Any] | None,
) -> Session:
    """Make the folder of a notebook, and bring the checkpoints of an earlier session, verified.

    The last three are parameters of the notebook.

    Args:
        out_dir: folder of the run.
        notebook: its name, `03_srgan`.
        hours: after which the session is to end, counted from the start of the process.
        resume_from: the folder of the notebook in an earlier session's output, which is not
            changed; None starts from zero, or resumes what is in the folder already.
        chain: which session of a chain this is; None for a notebook that is run by itself.

    Raises:
        FileNotFoundError: no such folder, or it lacks a checkpoint.
        ValueError: a checkpoint is damaged, or of another step or configuration than expected; or a
            later session of a chain has no `resume_from` and would start from zero.
    """
    from medsr_lib.restore.training import checkpoint

    context = None if chain is None else Context.of(chain)
    hours_before = 0.0
    pinned, image = context and context.docker_image, os.environ.get("KAGGLE_DOCKER_IMAGE")
    if pinned and image and image != pinned:
        warnings.warn(
            f"this session runs in the image {image!r}, not in {pinned!r} as the first one of its "
            "chain: the weights may differ in their last bits",
            stacklevel=2,
        )
    if context and context.previous and resume_from is None:
        raise ValueError(
            f"session {context.session} of this chain resumes an earlier one, but resume_from "
            "is None: it would start from zero; attach the earlier session's output"
        )
    folder = Path(out_dir) / notebook
    if resume_from is not None:
        source = Path(resume_from)
        if context or (source / states.NAME).is_file():  # an interrupted session has none
            found = states.verify(source)
            if context:
                context.check(found, source)
            hours_before = found.hours + found.hours_before
        checkpoint.carry(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return Session(folder, hours, context, hours_before)


def recover(folder: Path, context: Context) -> State:
    """Write the state of a session that did not end well, from the checkpoints that it left.

    Raises:
        FileNotFoundError: there are none.
        ValueError: one that cannot be read.
    """
    found = states.describe(folder)
    if not found.checkpoints:
        raise FileNotFoundError(f"{folder}: no checkpoints to go on from (*_checkpoint.pt)")
    state = context.marked(found)
    states.write(folder, state)
    return state


def tidy(out_dir: str | Path) -> None:
    """Remove from a run's folder what is large and made again by every session."""
    for path in [found for pattern in PACKED for found in Path(out_dir).glob(pattern)]:
        with suppress(OSError):
            path.unlink(missing_ok=True)
