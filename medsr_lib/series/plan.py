"""What a chain of sessions was started with, kept in its folder so that it can go on."""

import dataclasses
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsr_lib.series import run
from medsr_lib.series import state as chain_state
from medsr_lib.series.state import State

FORMAT = "medsr plan 1"
NAME = "chain.json"
CHAINED = ("hours", "resume_from")  # what a notebook must have to be run in sessions


@dataclass(frozen=True)
class Plan:
    """A chain.

    Attributes:
        chain: 12 hexadecimal digits of its own.
        notebook: its name, `03_srgan`.
        parameters: all that were given, without those that a session sets itself.
        kernel: on Kaggle, `owner/slug` without the session's number; None on one's own machine.
        wheel: on Kaggle, the sha256 of the library that all of its sessions run.
    """

    chain: str
    notebook: str
    parameters: dict[str, Any]
    kernel: str | None = None
    wheel: str | None = None

    def context(self, session: int, **more: Any) -> dict[str, Any]:
        """What session number `session` is told about itself."""
        return {
            "chain": self.chain,
            "notebook": self.notebook,
            "parameters": self.parameters,
            "session": session,
            "previous": None,
        } | more


def new(notebook: Path, parameters: Mapping[str, object], *, kernel: str | None = None) -> Plan:
    """A plan for a chain of this notebook.

    Raises:
        ValueError: the notebook cannot be run in sessions, a parameter it has not, of a wrong type,
            or one that each session sets itself.
    """
    have = run.parameters_of(notebook)
    missing = [name for name in CHAINED if name not in have]
    if missing:
        raise ValueError(
            f"{notebook.stem} cannot be run in sessions: it has no parameter {missing[0]}; "
            "run it as a whole"
        )
    for name in CHAINED:
        if name in parameters:
            raise ValueError(f"{name} is set for each session; do not give it with -p")
    given = run.accepted([notebook], parameters)[notebook]
    given = json.loads(json.dumps(given))  # as the sessions will read it
    return Plan(secrets.token_hex(6), notebook.stem, given, kernel)


def kept(folder: Path, plan: Plan) -> Plan:
    """The plan of the chain in `folder`, which must be the same; `plan` if it is a new one.

    Raises:
        ValueError: a chain of another notebook, configuration or name is there.
    """
    there = read(folder)
    if there is None:
        write(folder, plan)
        return plan
    for what, ours, theirs in (
        ("notebook", plan.notebook, there.notebook),
        ("kernel", plan.kernel, there.kernel),
    ):
        if ours != theirs:
            raise ValueError(
                f"{folder} holds a chain of the {what} {theirs}, not {ours}; give another --out"
            )
    chain_state.refuse_other(
        plan.parameters,
        there.parameters,
        what=f"the chain in {folder}",
        remedy="Go on with its parameters, or give another --out.",
    )
    return there


def read(folder: Path) -> Plan | None:
    """The plan in a folder, None where there is none.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"the format is not {FORMAT!r}")
        return Plan(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not the plan of a chain ({error}); restore it, or give another --out"
        ) from None


def write(folder: Path, plan: Plan) -> None:
    """Keep the plan in a folder, all or nothing."""
    from medsr_lib.series import report

    text = json.dumps({"format": FORMAT} | dataclasses.asdict(plan), indent=1)
    report.write(folder / NAME, text + "\n")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep a second chain out of the folder while the block runs; ends with the process, too.

    Raises:
        ValueError: there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            _lock(file.fileno())
        except OSError:
            raise ValueError(
                f"{folder}: a chain is running here already; wait for it, or give another --out"
            ) from None
        yield


def previous(source: str, kind: str, state: State) -> dict[str, Any]:
    """What a session must find of the one before it."""
    return {
        "source": source,
        "kind": kind,
        "session": state.session,
        "step": state.step,
        "fingerprint": state.fingerprint,
        "checkpoints": {name: state.files[name]["sha256"] for name in state.checkpoints},
        "configurations": {n: known["configuration"] for n, known in state.checkpoints.items()},
    }


def follows(state: State, before: Mapping[str, Any] | None) -> None:
    """Make sure that a session went on from the one before it.

    Args:
        state: of the session.
        before: what it was to go on from, as `previous` gives it; None for the first.

    Raises:
        ValueError: it has fewer steps, or another configuration.
    """
    known: dict[str, Any] = {"step": 0, "session": 0, "configurations": {}} | dict(before or {})
    changed = [
        name
        for name, configuration in known["configurations"].items()
        if state.checkpoints.get(name, {}).get("configuration") != configuration
    ]
    if state.step < known["step"] or changed:
        raise ValueError(
            f"session {state.session} did not go on from session {known['session']}: it ended "
            f"with step {state.step} after step {known['step']}"
            + (f", and {', '.join(changed)} is of another configuration" if changed else "")
            + ". Nothing was removed; look at its notebook"
        )


def stalled(state: State, before: Mapping[str, Any] | None) -> bool:
    """Whether a session ended without a single step, and without being done."""
    return not state.done and state.step == (before or {"step": 0})["step"]


def refuse_stalled(state: State) -> None:
    """Raise a ValueError that says what to do about a session without a step."""
    raise ValueError(
        f"session {state.session} took no step (it is at step {state.step} of {state.steps}): its "
        "hours were used up before the training began; start again with more --hours"
    )


def outlook(state: State, hours: float) -> str:
    """How far it has come, and what is left at this speed."""
    if state.done:
        return f"{state}, after {state.hours + state.hours_before:.1f} h"
    spent = state.hours + state.hours_before
    left = spent * (state.steps - state.step) / max(1, state.step)
    sessions = max(1, -(-left // hours)) if hours > 0 else 1
    return f"{state}; at this speed about {sessions:.0f} more of {hours:g} h, {left:.1f} h in all"


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
