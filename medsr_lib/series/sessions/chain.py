"""A chain of sessions on one's own machine: what is published on Kaggle, tested at home.

Each session is a fresh process that runs the notebook once. Its only input beside the data is the
output of the session before, which it cannot change.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from medsr_lib import files
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.parameters import dump
from medsr_lib.series.running import lock
from medsr_lib.series.sessions import plan as plans
from medsr_lib.series.sessions import session
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.actions import Known, Push, check, next_action, outlook
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous
from medsr_lib.series.sessions.state import State


def run_chain(
    notebook: Notebook,
    *,
    sessions: int,
    hours: float,
    data: Path,
    out: Path,
    parameters: Mapping[str, object],
    log: Callable[[str], None],
) -> State:
    """Run a notebook in sessions until it is done, each in a folder `s01`, `s02`, ... of `out`.

    Whatever ends it, a second call with the same arguments goes on: sessions that have ended well
    are verified and not run again, and one that has not resumes from its own checkpoint. While a
    session still runs, because only the call that started it was killed, the next call is refused.

    Args:
        notebook: to run.
        sessions: at most, over all calls.
        hours: of each session.
        data: folder of the data.
        out: folder of the chain.
        parameters: further values for the notebook.
        log: receives each line about how it goes.

    Returns:
        The state after the last session; `done` is True if all steps were taken.

    Raises:
        ValueError: an unknown parameter, another chain in `out`, or one that is running; a session
            that failed, took no step, or left what cannot be resumed.
    """
    if sessions < 1 or not hours > 0:
        raise ValueError(f"give at least one session and hours above 0, not {sessions} and {hours}")
    wanted = plans.new(notebook, parameters)
    with lock.hold(out):
        _tidy(out)
        plan = plans.kept(out, wanted)
        plans.write(out, plan)
        known = _ended(out, plan, sessions)
        while True:
            match next_action(known, at_most=sessions, hours=hours):
                case Push(number, previous):
                    log(f"session {number} of at most {sessions} starts")
                    one = _session(out, plan, number, previous, hours)
                    _run(one, data=data, notebooks=notebook.path.parent)
                    session.tidy(one.folder.parent)
                    known.append(_complete(one))
                case State() as state:
                    log(outlook(state, hours))
                    return state


def _session(out: Path, plan: Plan, number: int, previous: Previous | None, hours: float) -> Known:
    context = Context(plan, number, previous, hours)
    folder = (out / f"s{number:02d}" / plan.notebook).resolve()
    return Known(context, str(folder), Kind.FOLDER, folder)


def _ended(out: Path, plan: Plan, at_most: int) -> list[Known]:
    """The sessions of earlier calls, up to one that did not end well or took no step."""
    known: list[Known] = []
    previous = None
    while len(known) < at_most:
        one = _session(out, plan, len(known) + 1, previous, hours=0.0)
        if not (one.folder / states.NAME).exists():
            break
        one = _complete(one)
        if one.stalled:
            break
        known.append(one)
        previous = one.left
    return known


def _complete(one: Known) -> Known:
    """A session that has ended, with its state, verified."""
    try:
        state = states.verify(one.folder)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"{error}\nSession {one.number} cannot be resumed. Restore {one.folder.parent}, or "
            "remove it to run this session again from the one before"
        ) from None
    check(one, state)
    return replace(one, state=state)


def _run(one: Known, *, data: Path, notebooks: Path) -> None:
    """Run one session in a process of its own."""
    context, out, before = one.context, one.folder.parent, one.context.previous
    given = context.plan.parameters | {"hours": context.hours, "chain": context.values()}
    if before is not None:
        given["resume_from"] = before.source
    values = [w for n, v in given.items() for w in ("-p", f"{n}={dump(v)}")]
    command = [sys.executable, "-m", "medsr_lib", "run", context.plan.notebook, "--data", str(data)]
    command += ["--out", str(out), "--notebooks", str(notebooks), *values]
    with lock.hold(out):  # not by a session that outlived the call which started it
        pass
    with _read_only(None if before is None else Path(before.source).parent):
        code = _wait(command)
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise ValueError(
            f"session {one.number} failed: see {one.folder}.html. What it has saved stays; the "
            "same command resumes there"
        )


def _wait(command: list[str]) -> int:
    """Run a process; a Ctrl-C reaches it too, and it is given the time to save."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


@contextmanager
def _read_only(folder: Path | None) -> Iterator[None]:
    """This user writes nothing into the folder while the block runs."""
    if folder:
        _let_write(folder, allowed=False)
    try:
        yield
    finally:
        if folder:
            _let_write(folder, allowed=True)


def _tidy(out: Path) -> None:
    """Undo in a chain's folder what a killed call left: read-only sessions, temporary files."""
    for folder in out.glob("s[0-9]*/"):
        if not folder.stat().st_mode & stat.S_IWUSR:
            _let_write(folder, allowed=True)
        for inside in (folder, *folder.glob("*/")):
            files.sweep(inside)


def _let_write(folder: Path, *, allowed: bool) -> None:
    """Whether this user may write to a folder and what is in it; links and others' files stay."""
    user = os.getuid() if os.name == "posix" else 0
    for path in (folder, *folder.rglob("*")):
        about = path.lstat()
        if about.st_uid == user and not stat.S_ISLNK(about.st_mode):
            mode = stat.S_IMODE(about.st_mode)
            path.chmod(mode | stat.S_IWUSR if allowed else mode & ~stat.S_IWUSR)
