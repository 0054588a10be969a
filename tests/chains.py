"""Sessions that take no time: what a kernel does in a chain, without training anything."""

import json
import os
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
import torch
from nbformat.v4 import new_code_cell
from states import identical, state_in

from medsr_lib.restore.training import checkpoint
from medsr_lib.series import outputs
from medsr_lib.series.kaggle import chain as kaggle_chain
from medsr_lib.series.kaggle import kernel, metadata, mounts
from medsr_lib.series.kaggle.account import Account
from medsr_lib.series.sessions import plan, session
from medsr_lib.series.sessions import state as states

NOTEBOOK = "03_srgan"
FIGSHARE = metadata.FIGSHARE
ONE_AT_A_TIME = threading.RLock()
STEPS, EACH = 100, 40  # of a chain, and of a session
DEFAULTS = {"sessions": 5, "from_checkpoint": None, "take_over": False}  # of `run`
PARAMETERS = {"scale": 2, "steps": 60, "pretraining": 40}
CLOCK = """\
from medsr_lib.restore.training.clock import Clock

taken, has_time_left = [], Clock.has_time_left
Clock.has_time_left = lambda self, steps=1: (
    has_time_left(self, steps) and not taken.append(1) and len(taken) <= {after}
)"""


@contextmanager
def variables(**values):
    """Environment variables for a while; one at a time."""
    with ONE_AT_A_TIME, pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def train(folder, *, each=EACH, total=STEPS):
    """Take some steps: the weights tell how many, and whether any was taken twice."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "srgan_checkpoint.pt"
    state = checkpoint.load(path) or {
        "configuration": {"steps": total},
        "fingerprint": f"of {total} steps",
        "step": 0,
        "network": {"weight": torch.zeros(3)},
    }
    for _ in range(each):
        if state["step"] < total:
            state["network"]["weight"] = torch.cos(state["network"]["weight"] + state["step"])
            state["step"] += 1
    checkpoint.save(path, state)
    done = state["step"]
    return {path.name: SimpleNamespace(steps=total, steps_done=done, done=done >= total)}


def run_session(started, inputs: Path, working: Path, *, each=EACH, record=True) -> None:
    """A session of the stand-in: the added cells' calls, and the notebook's two."""
    context = kernel.context_of(started.text).values()
    with variables(**{mounts.ROOT: str(started.root), "KAGGLE_DOCKER_IMAGE": started.image}):
        mounts.data_folder(FIGSHARE, marker="1.mat")
        this = begin(working, mounts.earlier_session(context), context)
        trainings = train(this.folder, each=each)
        if record:
            this.record(trainings)


def begin(out, resume_from=None, chain=None):
    """The first call of notebook 03."""
    return session.begin(out, NOTEBOOK, hours=None, resume_from=resume_from, chain=chain)


def uninterrupted(folder: Path) -> str:
    """The fingerprint of the weights after all steps in one session."""
    train(folder, each=STEPS)
    return states.describe(folder).fingerprint


@cache
def library_of(owner: str) -> TemporaryDirectory:
    """The library's data set, written once."""
    folder = TemporaryDirectory()
    kernel.library_folder(Path(folder.name), owner=owner)
    return folder


def prepare(service, folder: Path) -> None:
    """The data sets that a chain needs.

    What a session sets is there before and after: a thread that reads all variables, as `requests`
    does, fails at one that is removed meanwhile.
    """
    os.environ |= {mounts.ROOT: "/kaggle", "KAGGLE_DOCKER_IMAGE": ""}
    slices = folder / "slices" / "dataset" / "data"
    slices.mkdir(parents=True)
    (slices / "1.mat").write_bytes(b"a slice")
    service.add_dataset(FIGSHARE, folder / "slices")
    library = Path(library_of(service.owner).name)
    service.add_dataset(f"{service.owner}/{metadata.LIBRARY}", library)


def chain(out: Path, **options):
    """`medsr kaggle chain 03` without waiting, its lines appended to `said`, where connected."""
    log = options.pop("said", []).append
    notebook = plan.one(options.pop("name", "03"), options.pop("folder", None))
    account = Account(pause=options.pop("pause", lambda _: None))
    base = options.pop("base", metadata.slug_of(notebook.name))
    parameters = options.pop("parameters", PARAMETERS)
    made = kaggle_chain.Chain(
        plan.new(notebook, parameters, kernel=f"{account.owner}/{base}"),
        notebook,
        metadata.needs_of(notebook.name, gpu=None, data=options.pop("data", None)),
        account,
        out,
        hours=options.pop("hours", 1.0),
        limit=12.0,
        poll=options.pop("poll", 0.01),
        log=log,
    )
    return kaggle_chain.run(made, **DEFAULTS | options)


def notebook_that_stops(
    folder: Path, *, after: int, name: str = "03", behind: str = "classifier.about"
) -> Path:
    """A folder with a notebook, and a cell in it that plays a clock: so many steps a session, and
    one more look at the clock as each training begins. What is trained before the cell `behind`
    (the classifier of notebook 03) is not counted.
    """
    notebook = plan.one(name, None)
    content = notebook.content
    at = next(n for n, cell in enumerate(content.cells) if behind in cell.source)
    content.cells.insert(at + 1, new_code_cell(CLOCK.format(after=after), id="clock"))
    folder.mkdir(parents=True)
    (folder / f"{notebook.name}.ipynb").write_text(outputs.text(content), encoding="utf-8")
    return folder


def same_trainings(one: Path, other: Path, *, beside: str = "") -> bool:
    """Whether all trainings ended the same, bit for bit, and so did the networks in use.

    `beside` is a method that only the other run had to compare with.
    """
    names, others = ({p.name for p in f.glob("*_checkpoint.pt")} for f in (one, other))
    assert names == others
    assert all(identical(state_in(one / name), state_in(other / name)) for name in names)
    found, expected = (json.loads((f / "results.json").read_text())["values"] for f in (one, other))
    assert found["weights"] == expected["weights"]
    assert found["table"] == [row for row in expected["table"] if row["method"] != beside]
    return True


def pushed(service) -> list[str]:
    """The slugs of all accepted pushes, in their order."""
    return [push.session.slug for push in service.pushes if push.session]
