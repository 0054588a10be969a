"""A chain of sessions on one's own machine: what is published on Kaggle, tested at home.

Each session is a fresh process that runs the notebook once. Its only input beside the data is the
output of the session before, which it cannot change.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from medsr_lib.series import plan as plans
from medsr_lib.series import run, session
from medsr_lib.series import state as chain_state
from medsr_lib.series.plan import Plan
from medsr_lib.series.state import State


def run_chain(
    name: str,
    *,
    sessions: int,
    hours: float,
    data: Path,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> State:
    """Run a notebook in sessions until it is done, each in a folder `s01`, `s02`, ... of `out`.

    Whatever ends it, a second call with the same arguments goes on: sessions that have ended well
    are verified and not run again, and one that has not goes on from its own checkpoint.

    Args:
        name: number or name of the notebook.
        sessions: to run at most, over all calls.
        hours: of each session.
        data: folder of the slices.
        out: folder of the chain.
        parameters: further values for the notebook.
        folder: where the notebooks are.
        say: told each line about how it goes.

    Returns:
        The state after the last session; `done` tells whether all steps were taken.

    Raises:
        FileNotFoundError: no such data.
        ValueError: an unknown notebook or parameter, another chain in `out`, or one that is
            running; a session that failed, took no step, or left what cannot be gone on from.
    """
    if sessions < 1 or not hours > 0:
        raise ValueError(f"give at least one session and hours above 0, not {sessions} and {hours}")
    folder = folder or run.notebooks_folder()
    (notebook, *others) = run.find([name], folder)
    if others:
        raise ValueError(f"{name!r} means several notebooks; a chain runs one")
    if not data.is_dir():
        raise FileNotFoundError(f"there is no folder {data}; give the folder of the slices")
    wanted = plans.new(notebook, parameters or {})
    with plans.only_one(out):
        plan = plans.kept(out, wanted)
        state: State | None = None
        for number in range(1, sessions + 1):
            before = None if state is None else _expected(out, plan, state)
            ended = _ended(out, plan, number)
            if ended is None or plans.stalled(ended, before):
                say(f"session {number} of at most {sessions} starts")
                _run_session(out, plan, number, state, hours=hours, data=data, folder=folder)
                session.tidy(str(out / f"s{number:02d}"))
                ended = _verified(out, plan, number)
            plans.follows(ended, before)
            if plans.stalled(ended, before):
                plans.refuse_stalled(ended)
            state = ended
            say(plans.outlook(state, hours))
            if state.done:
                break
    assert state is not None
    return state


def session_folder(out: Path, plan: Plan, number: int) -> Path:
    """Where session `number` leaves its checkpoints and its state."""
    return out / f"s{number:02d}" / plan.notebook


def _ended(out: Path, plan: Plan, number: int) -> State | None:
    """The state of a session that was run before; None of one that was not, or did not end."""
    if not (session_folder(out, plan, number) / chain_state.NAME).exists():
        return None
    return _verified(out, plan, number)


def _verified(out: Path, plan: Plan, number: int) -> State:
    folder = session_folder(out, plan, number)
    try:
        state = chain_state.verify(folder)
        if (state.chain, state.session) != (plan.chain, number):
            raise ValueError(f"{folder} is of session {state.session} of the chain {state.chain}")
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"{error}\nSession {number} cannot be gone on from. Restore {folder.parent}, or remove "
            "it to run this session again from the one before"
        ) from None
    return state


def _run_session(
    out: Path,
    plan: Plan,
    number: int,
    before: State | None,
    *,
    hours: float,
    data: Path,
    folder: Path,
) -> None:
    """Run one session in a process of its own."""
    given: dict[str, object] = {"hours": hours, **plan.parameters}
    expected = None
    if before is not None:
        given["resume_from"] = str(session_folder(out, plan, before.session).resolve())
        expected = _expected(out, plan, before)
    context = plan.context(number, previous=expected)
    target = out / f"s{number:02d}"
    values = [word for n, v in given.items() for word in ("-p", f"{n}={json.dumps(v)}")]
    command = [sys.executable, "-m", "medsr_lib", "run", plan.notebook, "--data", str(data)]
    command += ["--out", str(target), "--notebooks", str(folder), *values]
    with _read_only(None if before is None else out / f"s{before.session:02d}"):
        code = _wait(command, _environment(context))
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise ValueError(
            f"session {number} failed: see {target / plan.notebook}.html. What it has saved stays; "
            "the same command goes on from there"
        )


def _expected(out: Path, plan: Plan, before: State) -> dict[str, object]:
    return plans.previous(str(session_folder(out, plan, before.session)), "folder", before)


def _wait(command: list[str], environment: dict[str, str]) -> int:
    """Run a process; a Ctrl-C reaches it too, and it is given the time to save."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _environment(context: Mapping[str, object]) -> dict[str, str]:
    from medsr_lib.restore.training import clock

    ours = {name: value for name, value in os.environ.items() if name != clock.STARTED}
    return ours | {session.CONTEXT: json.dumps(dict(context))}


@contextmanager
def _read_only(folder: Path | None) -> Iterator[None]:
    """Nobody writes into the folder while the block runs."""
    paths = [] if folder is None else [folder, *folder.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)
