"""What a chain does next: a pure function of its plan and of what is known of its sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Context, Kind, Previous
from medsr_lib.series.sessions.state import State

FURTHEST = "furthest"  # go on from the furthest state that is known


@dataclass(frozen=True)
class Known:
    """What is known of one session of a chain; whether it has ended, if it has a state or failed.

    Attributes:
        context: what it was started with.
        source, kind: where its output is found by the next session.
        folder: where its output is, or is fetched to.
        state: what it left, verified.
        failure: the service's words about one.
        saved: the step of the checkpoints that a failed one left, 0 for none.
    """

    context: Context
    source: str
    kind: Kind
    folder: Path
    state: State | None = None
    failure: str = ""
    saved: int = 0

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
        return Previous(self.source, self.kind, self.state) if self.state else None


@dataclass(frozen=True)
class Push:
    """Start session `number`: after `previous`, or from the `checkpoints` in a folder, or zero."""

    number: int
    previous: Previous | None = None
    checkpoints: Path | None = None
    image: str | None = None


def next_action(
    sessions: Sequence[Known], *, at_most: int, hours: float, checkpoint: str | None = None
) -> Push | State | None:
    """Decide what a chain does next.

    Args:
        sessions: all that were started, in their order.
        at_most: so many sessions, over all calls.
        hours: of the next session.
        checkpoint: after a session that failed, or to begin with: a folder with checkpoints to go
            on from, or `FURTHEST` for what the failed one left.

    Returns:
        The session to start; or the last state, if it is done or no further session is wanted;
        or None: find out first how the last session ended.

    Raises:
        ValueError: the chain cannot go on; the message says what to do.
    """
    if not sessions:
        if checkpoint == FURTHEST:
            raise ValueError(
                "there is no session yet: give --from-checkpoint a folder, or leave it out"
            )
        return Push(1, checkpoints=Path(checkpoint) if checkpoint else None)
    last = sessions[-1]
    if last.failure:
        return _after_failure(last, at_most, checkpoint)
    state = last.state
    if state is None:
        return None
    if last.stalled and hours <= last.context.hours:
        raise ValueError(
            f"session {last.number} took no step (it is at step {state.step} of {state.steps}): "
            "its hours were used up before the training began; start again with more --hours"
        )
    if state.done or last.number >= at_most:
        return state
    image = last.context.docker_image or state.docker_image
    return Push(last.number + 1, previous=last.left, image=image)


def check(session: Known, state: State) -> None:
    """Refuse a state that this session should not have left.

    Raises:
        ValueError: it is of another chain, session or configuration, or did not go on from the
            session before.
    """
    context, plan = session.context, session.context.plan
    ours = (plan.notebook, plan.chain, session.number)
    theirs = (state.notebook, state.chain, state.session)
    if ours != theirs:
        raise ValueError(
            f"{session.source} left the state of {theirs}, not of {ours}: it was replaced"
        )
    if other := states.differences(plan.parameters, state.parameters):
        raise ValueError(f"what {session.source} left has another configuration: {other}")
    before = context.previous.state.checkpoints if context.previous else {}
    changed = [
        name
        for name, known in before.items()
        if state.checkpoints.get(name, {}).get("configuration") != known["configuration"]
    ]
    if state.step < context.step_before or changed:
        raise ValueError(
            f"session {session.number} did not go on from the one before: it ended with step "
            f"{state.step} after step {context.step_before}"
            + (f", and {', '.join(changed)} is of another configuration" if changed else "")
            + ". Nothing was removed; look at its notebook"
        )


def outlook(state: State, hours: float) -> str:
    """How far a chain has come, and what is left at this speed, in sessions of so many hours."""
    spent = state.hours + state.hours_before
    if state.done:
        return f"{state}, after {spent:.1f} h"
    left = spent * (state.steps - state.step) / max(1, state.step)
    sessions = max(1, -(-left // hours))
    return f"{state}; at this speed about {sessions:.0f} more of {hours:g} h, {left:.1f} h in all"


def _after_failure(last: Known, at_most: int, checkpoint: str | None) -> Push:
    number, before = last.number, last.context.step_before
    if checkpoint is None:
        left = (
            f"its checkpoint of step {last.saved} was fetched" if last.saved else "it left nothing"
        )
        raise ValueError(
            f"session {number} ({last.source}) ended with {last.failure}; {left}, and it had begun "
            f"at step {before}. See why at kaggle.com/code/{last.source}, and go on with "
            "--from-checkpoint"
        )
    if number >= at_most:
        raise ValueError(f"session {number} was the last of {at_most}; give more --sessions")
    image = last.context.docker_image
    if checkpoint != FURTHEST:
        return Push(number + 1, checkpoints=Path(checkpoint), image=image)
    if last.saved > before:
        return Push(number + 1, checkpoints=last.folder, image=image)
    return Push(number + 1, previous=last.context.previous, image=image)
