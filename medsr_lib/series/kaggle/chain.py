"""A chain of sessions on Kaggle: a kernel for each, with the output of the one before as its input.

Where the chain stands is asked of the service each time. What is pushed carries the chain's own
number, so that nothing is pushed twice and no other chain is resumed.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from medsr_lib.files import sha256
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import report
from medsr_lib.series.kaggle import client, kernel, metadata
from medsr_lib.series.kaggle.account import Account, KernelStatus
from medsr_lib.series.kaggle.client import NotThere
from medsr_lib.series.kaggle.metadata import Needs
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.running import lock
from medsr_lib.series.sessions import actions, session
from medsr_lib.series.sessions import plan as plans
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.actions import Known, Push
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous
from medsr_lib.series.sessions.state import State

RESCUED = re.compile(r"\.(pt|json|csv)$")
ALLOWANCE = 0.5  # hours that a session may last beyond its notebook's own
PUSHED = "pushed.json"  # in the folder of a session, as soon as it is on Kaggle
MOST = 99  # sessions
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Chain:
    """A chain that is to be run: session k is the kernel `<plan.kernel>-s0k`.

    Attributes:
        plan: of the chain; its `kernel` is the `owner/slug` of the kernels without a number.
        notebook: to run.
        needs: of the notebook.
        account: whose kernels they are.
        out: folder; what the sessions leave is fetched into `s01`, `s02`, ... of it.
        hours: of each session.
        limit: hours after which Kaggle ends a session.
        poll: how often to look, in seconds.
        log: receives each line about how it goes.
    """

    plan: Plan
    notebook: Notebook
    needs: Needs
    account: Account
    out: Path
    hours: float
    limit: float
    poll: float
    log: Callable[[str], None]

    def ref(self, number: int) -> str:
        """The kernel of a session."""
        return f"{self.plan.kernel}-s{number:02d}"

    def folder(self, number: int) -> Path:
        """Where the output of a session is fetched to."""
        return self.out / f"s{number:02d}"


def run(chain: Chain, *, sessions: int, from_checkpoint: str | None, take_over: bool) -> State:
    """Run a notebook on Kaggle in sessions, until it is done.

    Ctrl-C ends the waiting, not the session; the same call resumes wherever the chain stands.

    Args:
        chain: to run.
        sessions: at most, over all calls.
        from_checkpoint: after a session that did not end well, or to begin with: a folder with
            checkpoints to go on from, or "furthest" for what was fetched.
        take_over: go on with a chain that was started from another folder, which is lost.

    Returns:
        The state after the last session; `done` is True if all steps were taken.

    Raises:
        ValueError: wrong arguments; another chain in its folder or of the same name on Kaggle; a
            session that failed, or whose output cannot be resumed; see `Account`.
        OSError: the service cannot be reached.
    """
    if not 1 <= sessions <= MOST:
        raise ValueError(f"sessions must be 1 to {MOST}, not {sessions}")
    metadata.check_hours(chain.hours, chain.limit)
    metadata.check(metadata.of_kernel(chain.ref(1), notebook="", needs=chain.needs))
    with lock.hold(chain.out):
        chain, known = _opened(chain, take_over=take_over)
        while True:
            match actions.next_action(
                known, at_most=sessions, hours=chain.hours, checkpoint=from_checkpoint
            ):
                case State() as state:
                    return state
                case Push() as wanted:
                    known.append(_push(chain, wanted))
                    from_checkpoint = None
                case None:
                    known[-1] = _ended(chain, known[-1])


def _opened(chain: Chain, *, take_over: bool) -> tuple[Chain, list[Known]]:
    """Find out where the chain stands, and refuse what is not this one."""
    plan = plans.kept(chain.out, chain.plan)
    quota = chain.account.quota()  # asked first: a wrong key is found here
    enough = f", enough for {quota.left // chain.hours:.0f} sessions" if chain.needs.gpu else ""
    chain.log(f"Kaggle: {quota}{enough}")
    found = _pushed(chain)
    if take_over and plan is chain.plan:
        if not found:
            raise ValueError(f"there is no {chain.ref(1)} to take over; leave --take-over out")
        plan = found[0].context.plan
    for one in found:
        theirs = one.context.plan
        if other := states.differences(plan.parameters, theirs.parameters):
            raise ValueError(
                f"the chain {plan.kernel} on Kaggle has another configuration: {other}. Go on with "
                "its parameters, or give another --name"
            )
        if theirs.chain != plan.chain:
            raise ValueError(
                f"the kernel {one.source} belongs to another chain, started from another folder: "
                "go on with that --out, give another --name, or --take-over if it is lost"
            )
    if plan.wheel is None:
        packed = chain.out / "kernels" / metadata.LIBRARY
        wheel = sha256(kernel.library_folder(packed, owner=chain.account.owner))
        plan = replace(plan, wheel=wheel)
    plans.write(chain.out, plan)
    for number in range(len(found) + 1, MOST + 1):
        if (chain.folder(number) / PUSHED).exists():
            raise ValueError(
                f"session {number} was pushed as {chain.ref(number)}, which Kaggle does not show: "
                "if it was deleted there, start a chain of another --name with --from-checkpoint "
                f"and the newest folder in {chain.out}"
            )
    kept = chain.out / "kernels" / chain.notebook.path.name  # it may be edited in the meantime
    if not kept.exists():
        report.write(kept, chain.notebook.path.read_text(encoding="utf-8"))
    return replace(chain, plan=plan, notebook=notebooks.read(kept)), found


def _pushed(chain: Chain) -> list[Known]:
    """The sessions that are on Kaggle under the names of this chain."""
    found = []
    for number in range(1, MOST + 1):
        ref = chain.ref(number)
        try:
            context = kernel.context_of(chain.account.source(ref))
        except NotThere:
            break
        if context is None:
            raise ValueError(
                f"the kernel {ref} is there, and not made by a chain; give another --name"
            )
        found.append(_known(chain, context))
    return found


def _known(chain: Chain, context: Context) -> Known:
    number = context.session
    folder = chain.folder(number) / chain.plan.notebook
    return Known(context, chain.ref(number), Kind.NOTEBOOKS, folder)


def _push(chain: Chain, action: Push) -> Known:
    """Build the kernel of a session and push it."""
    number, previous = action.number, action.previous
    ref, account = chain.ref(number), chain.account
    if action.checkpoints:
        previous = _published(chain, action.checkpoints, number - 1)
    quota = account.quota()
    if chain.needs.gpu and quota.left < chain.hours:
        raise ValueError(
            f"session {number} needs {chain.hours:g} GPU hours: {quota}. Give fewer --hours, or "
            "start the same command again when there are more; nothing is lost"
        )
    context = Context(chain.plan, number, previous, chain.hours, action.image)
    built = kernel.build(
        chain.notebook,
        chain.out / "kernels",
        needs=chain.needs,
        parameters=chain.plan.parameters | {"hours": chain.hours},
        ref=ref,
        context=context,
    )
    account.push(built, hours=min(chain.limit, chain.hours + ALLOWANCE), new=True)
    report.write(chain.folder(number) / PUSHED, ref + "\n")
    # It may take a moment to appear; and another chain may have pushed at the same moment.
    there = kernel.context_of(_patiently(chain, lambda: account.source(ref), NotThere))
    if there is None or there.plan.chain != chain.plan.chain:
        raise ValueError(
            f"another chain pushed {ref} at the same time and has it now; give another --name"
        )
    after = f", resumes from step {previous.state.step}" if previous else ""
    chain.log(f"session {number} pushed as {ref}{after}")
    return _known(chain, context)


def _patiently(chain: Chain, call: Callable[[], Answer], *errors: type[Exception]) -> Answer:
    """Call again after these errors."""
    return client.again(
        call,
        on=lambda error: isinstance(error, errors),
        pause=chain.account.pause,
        seconds=chain.poll,
    )


def _ended(chain: Chain, one: Known) -> Known:
    """A session when it has ended, with what it left."""
    progress = chain.account.wait(one.source, log=chain.log, poll=chain.poll)
    if progress.status is KernelStatus.COMPLETE:
        return replace(one, state=_fetched(chain, one))
    return replace(one, failure=str(progress), saved=_rescued(chain, one))


def _fetched(chain: Chain, one: Known) -> State:
    """The state of a session that has ended well, with its files, verified."""
    account, folder, notebook = chain.account, chain.folder(one.number), chain.plan.notebook
    inside = f"{notebook}/{states.NAME}"

    def listed() -> tuple[dict[str, str], State]:
        urls = account.outputs(one.source)
        account.fetch(one.source, inside, folder, urls=urls)
        return urls, states.read(one.folder)

    # The list may take a moment longer than the status, and the file come in part only.
    urls, state = _patiently(chain, listed, ValueError, FileNotFoundError)
    actions.check(one, state)
    for name, known in state.files.items():
        account.fetch(one.source, f"{notebook}/{name}", folder, urls=urls, known=known)
    states.verify(one.folder)
    chain.log(actions.outlook(state, chain.hours))
    return state


def _rescued(chain: Chain, one: Known) -> int:
    """Fetch what a failed session has left; the step of its checkpoints, 0 for none."""

    def fetched() -> int:
        urls = chain.account.outputs(one.source)
        for name in urls:
            top, _, rest = name.partition("/")
            if top == chain.plan.notebook and RESCUED.search(rest):
                chain.account.fetch(one.source, name, chain.folder(one.number), urls=urls)
        return states.describe(one.folder).step

    try:
        return _patiently(chain, fetched, ValueError, OSError)
    except (ValueError, OSError) as error:
        chain.log(f"session {one.number}: its output cannot be used: {error}")
        return 0


def _published(chain: Chain, source: Path, number: int) -> Previous:
    """Make a data set of a folder's checkpoints; what the next session must find there."""
    if (source / chain.plan.notebook).is_dir():
        source = source / chain.plan.notebook
    if not list(source.glob("*_checkpoint.pt")):
        raise FileNotFoundError(f"{source}: no checkpoints (*_checkpoint.pt) to go on from")
    ref = f"{chain.plan.kernel}-from-s{number:02d}"
    folder = chain.out / ref.rpartition("/")[2]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in source.glob("*.pt"):
        shutil.copyfile(path, folder / path.name)
    state = session.recover(folder, Context(chain.plan, number, None, chain.hours))
    report.save(folder / metadata.DATASET, metadata.of_dataset(ref))
    chain.log(f"the checkpoint of step {state.step} goes into the data set {ref}")
    chain.account.push_dataset(folder)
    return Previous(ref, Kind.DATASETS, state)
