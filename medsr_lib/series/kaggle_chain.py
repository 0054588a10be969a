"""A chain of sessions on Kaggle: a kernel for each, with the output of the one before as its input.

Where the chain stands is asked of the service each time. What is pushed carries the chain's own
number, so that nothing is pushed twice and nothing of another chain is gone on from.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsr_lib.series import kaggle, kernel, passing, report, run, session
from medsr_lib.series import plan as plans
from medsr_lib.series import state as chain_state
from medsr_lib.series.kaggle import Account, NotThere
from medsr_lib.series.plan import Plan
from medsr_lib.series.state import State

SUITED = {"processes": "auto"}  # both of Kaggle's GPUs
PULLED = re.compile(r"\.(pt|pt\.sha256|json|csv)$")
ALLOWANCE = 0.5  # hours that a session may last beyond its notebook's own
PUSHED = "pushed.json"  # in the folder of a session, as soon as it is on Kaggle
AGAIN = "furthest"  # go on from the furthest state that is known


def run_chain(
    name: str,
    *,
    account: Account,
    sessions: int,
    hours: float,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
    base: str | None = None,
    gpu: bool | None = None,
    data: str | None = None,
    from_checkpoint: str | None = None,
    take_over: bool = False,
    limit: float = kernel.LIMIT,
    say: Callable[[str], None] = lambda line: None,
    poll: float = 60.0,
    pause: Callable[[float], None] = time.sleep,
) -> State:
    """Run a notebook on Kaggle in sessions, until it is done.

    Session k is the kernel `<owner>/<base>-s0k`. Ctrl-C ends the waiting, not the session; the same
    call goes on from wherever the chain stands.

    Args:
        name: number or name of the notebook.
        account: whose kernels they are.
        sessions: to run at most, over all calls.
        hours: of each session.
        out: folder of the chain; what its sessions leave is fetched into `s01`, `s02`, ... of it.
        parameters: further values for the notebook.
        folder: where the notebooks are.
        base: name of the kernels; by default `medsr-` and the notebook's.
        gpu: whether the sessions have GPUs; by default where the notebook needs them.
        data: the data set of slices, "owner/slug".
        from_checkpoint: after a session that did not end well, or to begin with: a folder with
            checkpoints to go on from, or "furthest" for what was fetched.
        take_over: go on with a chain that was started from another folder, which is lost.
        limit: hours after which Kaggle ends a session.
        say: told each line about how it goes.
        poll, pause: how often to look, in seconds, and how to wait.

    Returns:
        The state after the last session; `done` tells whether all steps were taken.

    Raises:
        ValueError: wrong arguments; another chain in `out` or of the same name on Kaggle; a
            session that failed, or whose output cannot be gone on from; see `kaggle.Account`.
        OSError: the service cannot be reached.
    """
    if sessions < 1 or sessions > 99:
        raise ValueError(f"sessions must be 1 to 99, not {sessions}")
    kernel.check_hours(hours, limit)
    (notebook, *others) = run.find([name], folder or run.notebooks_folder())
    if others:
        raise ValueError(f"{name!r} means several notebooks; a chain runs one")
    have = run.parameters_of(notebook)
    suited = {key: value for key, value in SUITED.items() if key in have}
    base = base or kernel.slug_of(notebook.stem)
    kind = kernel.KINDS.get(notebook.stem, kernel.Kind())
    wanted = plans.new(notebook, suited | dict(parameters or {}), kernel=f"{account.owner}/{base}")
    chain = _Chain(
        account=account,
        notebook=notebook,
        out=out,
        plan=wanted,
        hours=hours,
        limit=limit,
        gpu=kind.gpu if gpu is None else gpu,
        data=data or kind.data[0],
        say=say,
        poll=poll,
        pause=pause,
    )
    chain.check_name(1)
    with plans.only_one(out):
        chain.begin(take_over=take_over)
        return chain.run(sessions, from_checkpoint)


@dataclass
class _Chain:
    """One chain, while it is being looked after."""

    account: Account
    notebook: Path
    out: Path
    plan: Plan
    hours: float
    limit: float
    gpu: bool
    data: str
    say: Callable[[str], None]
    poll: float
    pause: Callable[[float], None]
    contexts: dict[int, dict[str, Any]] = field(default_factory=dict)  # of what was pushed

    def begin(self, *, take_over: bool) -> None:
        """Find out where the chain stands, and refuse what is not this one."""
        there = plans.read(self.out)
        if there is not None:
            self.plan = plans.kept(self.out, self.plan)
        quota = self.account.quota()  # the first thing to ask: it tells a wrong key, too
        enough = f", enough for {quota.left // self.hours:.0f} sessions" if self.gpu else ""
        self.say(f"Kaggle: {quota}{enough}")
        self._look(take_over=take_over and there is None)
        if self.plan.wheel is None:
            self.plan = replace(self.plan, wheel=self._library())
        plans.write(self.out, self.plan)
        self._pushed_are_there()
        kept = self.out / "kernels" / self.notebook.name  # it may be edited in the meantime
        if not kept.exists():
            report.write(kept, self.notebook.read_text(encoding="utf-8"))
        self.notebook = kept

    def run(self, sessions: int, from_checkpoint: str | None) -> State:
        """Go on until it is done, or the sessions are used up."""
        number = max(self.contexts, default=0)
        if number == 0:
            number, from_checkpoint = self._first(from_checkpoint), None
        while True:
            ref = self.ref(number)
            source: dict[str, Any] | None
            status = kaggle.wait(self.account, ref, say=self.say, poll=self.poll, pause=self.pause)
            if status.name == "COMPLETE":
                state = self._fetched(number)
                self.say(plans.outlook(state, self.hours))
                context = self.contexts[number]
                if plans.stalled(state, context["previous"]) and self.hours <= context["hours"]:
                    plans.refuse_stalled(state)
                if state.done or number >= sessions:
                    return state
                source = plans.previous(ref, "notebooks", state)
                image = context.get("docker_image") or state.docker_image
            else:
                if from_checkpoint and number >= sessions:
                    raise ValueError(f"session {number} was the last of {sessions}; give more")
                source, image = self._after_failure(number, status, from_checkpoint)
            from_checkpoint = None
            number += 1
            self._push(number, source, image)

    def ref(self, number: int) -> str:
        """The kernel of a session."""
        return f"{self.plan.kernel}-s{number:02d}"

    def folder(self, number: int) -> Path:
        """Where the output of a session is fetched to."""
        return self.out / f"s{number:02d}"

    def check_name(self, number: int) -> None:
        """Refuse a name that Kaggle would not take, before anything is asked of it."""
        kernel.check(
            kernel.metadata(self.ref(number), notebook="x", gpu=self.gpu, datasets=[self.data])
        )

    def _look(self, *, take_over: bool) -> None:
        """Read which sessions there are on Kaggle, and whether they are ours."""
        for number in range(1, 100):
            ref = self.ref(number)
            try:
                context = kernel.context_of(self.account.source(ref))
            except NotThere:
                break
            if context is None:
                raise ValueError(
                    f"the kernel {ref} is there, and not made by a chain; give another --name"
                )
            chain_state.refuse_other(
                self.plan.parameters,
                context.get("parameters", {}),
                what=f"the chain {self.plan.kernel} on Kaggle",
                remedy="Go on with its parameters, or give another --name.",
            )
            if take_over and number == 1:
                self.plan = replace(self.plan, chain=context["chain"], wheel=context.get("wheel"))
            if context["chain"] != self.plan.chain:
                raise ValueError(
                    f"the kernel {ref} belongs to another chain, started from another folder: go "
                    "on with that --out, give another --name, or --take-over if it is lost"
                )
            self.contexts[number] = context
        if take_over and not self.contexts:
            raise ValueError(f"there is no {self.ref(1)} to take over; leave --take-over out")

    def _pushed_are_there(self) -> None:
        """A session that was pushed must not be pushed again because it cannot be seen."""
        for number in range(1, 100):
            if (self.folder(number) / PUSHED).exists() and number not in self.contexts:
                raise ValueError(
                    f"session {number} was pushed as {self.ref(number)}, which Kaggle does not "
                    "show: if it was deleted there, start a chain of another --name with "
                    f"--from-checkpoint and the newest folder in {self.out}"
                )

    def _first(self, from_checkpoint: str | None) -> int:
        if from_checkpoint == AGAIN:
            raise ValueError(
                "there is no session yet: give --from-checkpoint a folder, or leave it"
            )
        source = None
        if from_checkpoint:
            source = self._as_dataset(Path(from_checkpoint), 0)
        self._push(1, source, None)
        return 1

    def _push(self, number: int, source: Mapping[str, Any] | None, image: str | None) -> None:
        """Build the kernel of a session and push it."""
        if self.gpu:
            self._refuse_without_quota(number)
        self.check_name(number)
        self._refuse_taken(number)
        attached = [source["source"]] if source else []
        is_kernel = source is not None and source["kind"] == "notebooks"
        context = self.plan.context(
            number,
            previous=source,
            hours=self.hours,
            docker_image=image,
            wheel=self.plan.wheel,
        )
        built = kernel.build(
            self.notebook,
            self.out / "kernels",
            parameters=self.plan.parameters | {"hours": self.hours},
            owner=self.account.owner,
            slug=self.ref(number).rpartition("/")[2],
            gpu=self.gpu,
            data=self.data,
            kernels=attached if is_kernel else [],
            datasets=[] if is_kernel else attached,
            context=context,
            docker_image=image,
            library=self.plan.wheel,
        )
        self.account.push(built, hours=min(self.limit, self.hours + ALLOWANCE))
        self.contexts[number] = context
        note = {"kernel": self.ref(number), "chain": self.plan.chain}
        report.write(self.folder(number) / PUSHED, json.dumps(note) + "\n")
        self._owned(number)
        after = "" if source is None else f", goes on from step {source['step']}"
        self.say(f"session {number} pushed as {self.ref(number)}{after}")

    def _owned(self, number: int) -> None:
        """After a push: another chain may have pushed at the same moment."""
        for attempt in range(passing.TRIES):
            try:
                context = kernel.context_of(self.account.source(self.ref(number))) or {}
                break
            except NotThere:  # it may take a moment to appear
                if attempt == passing.TRIES - 1:
                    raise
                self.pause(self.poll)
        if context.get("chain") != self.plan.chain:
            raise ValueError(
                f"another chain pushed {self.ref(number)} at the same time and has it now; give "
                "another --name"
            )

    def _refuse_taken(self, number: int) -> None:
        """A push to a name that is there would be a second version, not a session."""
        try:
            self.account.source(self.ref(number))
        except NotThere:
            return
        raise ValueError(
            f"the kernel {self.ref(number)} is there already, and this chain did not push it; give "
            "another --name"
        )

    def _refuse_without_quota(self, number: int) -> None:
        quota = self.account.quota()
        if quota.left < self.hours:
            raise ValueError(
                f"session {number} needs {self.hours:g} GPU hours: {quota}. Give fewer --hours, or "
                "start the same command again when there are more; nothing is lost"
            )

    def _fetched(self, number: int) -> State:
        """The state of a session that has ended well, with its files, verified."""
        ref, folder = self.ref(number), self.folder(number)
        inside = f"{self.plan.notebook}/{chain_state.NAME}"
        for _ in range(passing.TRIES):
            urls = self.account.outputs(ref)
            if inside in urls:
                break
            self.pause(self.poll)  # the list may take a moment longer than the status
        else:
            raise ValueError(
                f"{ref} is COMPLETE and left no {inside}: it is not the notebook that was pushed. "
                "Nothing was removed; look at it on Kaggle"
            )
        state = self._state(ref, urls, folder)
        self._expected(number, state)
        for name in state.files:
            known = state.files[name]
            path = f"{self.plan.notebook}/{name}"
            self.account.fetch(ref, path, folder, urls=urls, known=known)
        return chain_state.verify(folder / self.plan.notebook, state)

    def _state(self, ref: str, urls: Mapping[str, str], folder: Path) -> State:
        inside = f"{self.plan.notebook}/{chain_state.NAME}"
        for attempt in range(passing.TRIES):
            self.account.fetch(ref, inside, folder, urls=urls)
            try:
                return chain_state.read(folder / self.plan.notebook)
            except ValueError:  # it came as a part only
                if attempt == passing.TRIES - 1:
                    raise
                self.pause(self.poll)
        raise AssertionError

    def _expected(self, number: int, state: State) -> None:
        """Refuse the state of another chain, session or configuration, or of no progress."""
        ours = (self.plan.notebook, self.plan.chain, number)
        theirs = (state.notebook, state.chain, state.session)
        if ours != theirs:
            raise ValueError(
                f"{self.ref(number)} left the state of {theirs}, not of {ours}: another kernel has "
                "taken its place; look at it on Kaggle"
            )
        chain_state.refuse_other(
            chain_state.kept(self.plan.parameters),
            state.parameters,
            what=f"what {self.ref(number)} left",
            remedy="Look at it on Kaggle.",
        )
        plans.follows(state, self.contexts[number].get("previous"))

    def _fetch_all(self, ref: str, urls: Mapping[str, str], folder: Path) -> None:
        """What a session has left that ended without a state."""
        for name in urls:
            top, _, rest = name.partition("/")
            if top == self.plan.notebook and PULLED.search(rest):
                self.account.fetch(ref, name, folder, urls=urls)

    def _after_failure(
        self, number: int, status: kaggle.Status, from_checkpoint: str | None
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Fetch what a session has left; what the next one goes on from, if that was asked for."""
        found = self._rescued(number)
        previous = self.contexts[number].get("previous")
        image = self.contexts[number].get("docker_image")
        before = previous["step"] if previous else 0
        if not from_checkpoint:
            left = f"its checkpoint of step {found} was fetched" if found else "it left nothing"
            raise ValueError(
                f"session {number} ({self.ref(number)}) ended with {status}; {left}, and session "
                f"{number} had begun at step {before}. See why at kaggle.com/code/"
                f"{self.ref(number)}, and go on with --from-checkpoint"
            )
        if from_checkpoint != AGAIN:
            return self._as_dataset(Path(from_checkpoint), number), image
        if found is not None and found > before:
            return self._as_dataset(self.folder(number) / self.plan.notebook, number), image
        self.say(f"session {number + 1} begins where session {number} did, at step {before}")
        return previous, image

    def _rescued(self, number: int) -> int | None:
        """Fetch what a failed session has left; the step of its checkpoints, None for none."""
        folder = self.folder(number)
        for attempt in range(passing.TRIES):
            try:
                urls = self.account.outputs(self.ref(number))
                self._fetch_all(self.ref(number), urls, folder)
                found = chain_state.describe(folder / self.plan.notebook)
                return found.step if found.checkpoints else None
            except (ValueError, OSError) as error:
                self.say(f"session {number}: its output cannot be used: {error}")
                if isinstance(error, NotThere) or attempt == passing.TRIES - 1:
                    break
                self.pause(self.poll)  # what came damaged may come whole
        return None

    def _as_dataset(self, source: Path, number: int) -> dict[str, Any]:
        """Make a data set of a folder's checkpoints; what the next session must find there."""
        if (source / self.plan.notebook).is_dir():
            source = source / self.plan.notebook
        if not list(source.glob("*_checkpoint.pt")):
            raise FileNotFoundError(f"{source}: no checkpoints (*_checkpoint.pt) to go on from")
        ref = f"{self.plan.kernel}-from-s{number:02d}"
        folder = self.out / ref.rpartition("/")[2]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in [*source.glob("*.pt"), *source.glob("*.pt.sha256")]:
            shutil.copyfile(path, folder / path.name)
        state = session.recovered(folder, self.plan.context(number))
        content = kernel.dataset_metadata(ref, subtitle="Checkpoints that a session goes on from")
        (folder / kernel.DATASET).write_text(json.dumps(content, indent=1) + "\n")
        self.say(f"the checkpoint of step {state.step} goes into the data set {ref}")
        self.account.push_dataset(folder)
        return plans.previous(ref, "datasets", state)

    def _library(self) -> str:
        """Pack the library; its sha256."""
        from medsr_lib.series import wheel

        folder = self.out / "kernels" / kernel.LIBRARY
        return wheel.sha256(kernel.library_folder(folder, owner=self.account.owner))
