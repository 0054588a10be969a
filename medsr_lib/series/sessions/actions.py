"""What a chain does next: a pure function of its plan and of what is known of its sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Context, Kind, Previous
from medsr_lib.series.sessions.plan import Plan
from medsr_lib.series.sessions.state import State

FURTHEST = "furthest"  # go on from the furthest state that is known


class Status(Enum):
    """Of a session, as far as it is known."""

    STARTED = auto()  # whether it has ended has to be found out
    COMPLETE = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Known:
    """What is known of one session of a chain.

    Attributes:
        context: what it was started with.
        source, kind: where its output is found by the next session.
        folder: where its output is, or is fetched to.
        status: whether it has ended.
        why: the service's words about a failure.
        state: what it left, verified; None where that has to be fetched.
        saved: the step of the checkpoints that a failed one left, 0 for none; None where it has to
            be looked at.
    """

    context: Context
    source: str
    kind: Kind
    folder: Path
    status: Status = Status.STARTED
    why: str = ""
    state: State | None = None
    saved: int | None = None

    @property
    def number(self) -> int:
        """Of the session, from 1."""
        return self.context.session

    @property
    def stalled(self) -> bool:
        """Whether it ended without a single step, and without being done."""
        state = self.state
        return state is not None and not state.done and state.step == self.context.step_before

    @property
    def left(self) -> Previous | None:
        """Its output, for the next session; None of one without a state."""
        return Previous.of(self.state, self.source, self.kind) if self.state else None


@dataclass(frozen=True)
class Push:
    """Start session `number`: after `previous`, or from the `checkpoints` in a folder, or zero."""

    number: int
    previous: Previous | None = None
    checkpoints: Path | None = None
    image: str | None = None


class Look(Enum):
    """Find out more about the last session."""

    WAIT = auto()  # until it has ended
    FETCH = auto()  # what it left, which has ended well, and verify it
    RESCUE = auto()  # what it left, which has failed


@dataclass(frozen=True)
class Finish:
    """All steps are taken, or no further session is wanted."""

    state: State


@dataclass(frozen=True)
class Refuse:
    """The chain cannot go on; `why` says what to do."""

    why: str


Action = Push | Look | Finish | Refuse


def next_action(
    plan: Plan,
    sessions: Sequence[Known],
    *,
    at_most: int,
    hours: float,
    checkpoint: str | None = None,
) -> Action:
    """Decide what a chain does next.

    Args:
        plan: of the chain.
        sessions: all that were started, in their order.
        at_most: so many sessions, over all calls.
        hours: of the next session.
        checkpoint: after a session that failed, or to begin with: a folder with checkpoints to go
            on from, or `FURTHEST` for what the failed one left.
    """
    if not sessions and checkpoint == FURTHEST:
        return Refuse("there is no session yet: give --from-checkpoint a folder, or leave it out")
    if not sessions:
        return Push(1, checkpoints=Path(checkpoint) if checkpoint else None)
    last = sessions[-1]
    if last.status is Status.STARTED:
        return Look.WAIT
    if last.status is Status.FAILED:
        return _after_failure(last, at_most, checkpoint)
    state = last.state
    if state is None:
        return Look.FETCH
    for one in sessions:
        if one.state and (problem := unexpected(plan, one, one.state)):
            return Refuse(problem)
    if last.stalled and hours <= last.context.hours:
        return Refuse(
            f"session {last.number} took no step (it is at step {state.step} of {state.steps}): "
            "its hours were used up before the training began; start again with more --hours"
        )
    if state.done or last.number >= at_most:
        return Finish(state)
    image = last.context.docker_image or state.docker_image
    return Push(last.number + 1, previous=last.left, image=image)


def unexpected(plan: Plan, session: Known, state: State) -> str:
    """Why a state is not what this session of this chain should have left; "" if it is."""
    ours = (plan.notebook, plan.chain, session.number)
    theirs = (state.notebook, state.chain, state.session)
    if ours != theirs:
        return f"{session.source} left the state of {theirs}, not of {ours}: it was replaced"
    what = f"what {session.source} left"
    if other := states.differences(plan.parameters, state.parameters):
        return f"{what} has another configuration: {other}"
    before = session.context.previous
    changed = [
        name
        for name, configuration in (before.configurations if before else {}).items()
        if state.checkpoints.get(name, {}).get("configuration") != configuration
    ]
    if state.step < session.context.step_before or changed:
        return (
            f"session {session.number} did not go on from the one before: it ended with step "
            f"{state.step} after step {session.context.step_before}"
            + (f", and {', '.join(changed)} is of another configuration" if changed else "")
            + ". Nothing was removed; look at its notebook"
        )
    return ""


def outlook(state: State, hours: float) -> str:
    """How far a chain has come, and what is left at this speed, in sessions of so many hours."""
    spent = state.hours + state.hours_before
    if state.done:
        return f"{state}, after {spent:.1f} h"
    left = spent * (state.steps - state.step) / max(1, state.step)
    sessions = max(1, -(-left // hours))
    return f"{state}; at this speed about {sessions:.0f} more of {hours:g} h, {left:.1f} h in all"


def _after_failure(last: Known, at_most: int, checkpoint: str | None) -> Action:
    if last.saved is None:
        return Look.RESCUE
    number, before = last.number, last.context.step_before
    if checkpoint is None:
        left = (
            f"its checkpoint of step {last.saved} was fetched" if last.saved else "it left nothing"
        )
        return Refuse(
            f"session {number} ({last.source}) ended with {last.why}; {left}, and it had begun at "
            f"step {before}. See why at kaggle.com/code/{last.source}, and go on with "
            "--from-checkpoint"
        )
    if number >= at_most:
        return Refuse(f"session {number} was the last of {at_most}; give more --sessions")
    image = last.context.docker_image
    if checkpoint != FURTHEST:
        return Push(number + 1, checkpoints=Path(checkpoint), image=image)
    if last.saved > before:
        return Push(number + 1, checkpoints=last.folder, image=image)
    return Push(number + 1, previous=last.context.previous, image=image)
