"""What a chain of sessions was started with, kept in its folder so that it can go on."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from medsr_lib.series import notebook as notebooks
from medsr_lib.series import report
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.parameters import dump, load
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Plan

NAME = "chain.json"
CHAINED = ("hours", "resume_from", "chain")  # what a notebook must have to be run in sessions


def one(name: str, folder: Path | None) -> Notebook:
    """The one notebook that `name` means, in a folder as of `notebook.find`.

    Raises:
        ValueError: there is none, or there are several.
    """
    found, *others = notebooks.find([name], folder)
    if others:
        raise ValueError(f"{name!r} means several notebooks; a chain runs one")
    return found


def new(notebook: Notebook, parameters: Mapping[str, object], *, kernel: str | None = None) -> Plan:
    """A plan for a chain of this notebook.

    Raises:
        ValueError: the notebook cannot be run in sessions; or a parameter that it does not have, of
            a wrong type, or that each session sets itself.
    """
    for name in CHAINED:
        if name not in notebook.parameters:
            raise ValueError(
                f"{notebook.name} cannot be run in sessions: it has no parameter {name}; run it as "
                "a whole"
            )
        if name in parameters:
            raise ValueError(f"{name} is set for each session; do not give it with -p")
    given = notebooks.accepted([notebook], parameters)[notebook.name]
    read = {name: load(dump(value)) for name, value in given.items()}
    return Plan(secrets.token_hex(6), notebook.name, read, kernel)  # as the sessions read them


def kept(folder: Path, plan: Plan) -> Plan:
    """The plan of the chain in `folder`, which must be the same; `plan` if it is a new one.

    Raises:
        ValueError: a chain of another notebook, configuration or name is there, or a damaged plan.
    """
    path = folder / NAME
    if not path.is_file():
        return plan
    try:
        there = Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: not the plan of a chain ({error}); restore it, or give another --out"
        ) from None
    for what in ("notebook", "kernel"):
        ours, theirs = getattr(plan, what), getattr(there, what)
        if ours != theirs:
            raise ValueError(
                f"{folder} holds a chain of the {what} {theirs}, not {ours}; give another --out"
            )
    if other := states.differences(plan.parameters, there.parameters):
        raise ValueError(
            f"the chain in {folder} has another configuration: {other}. Go on with its parameters, "
            "or give another --out"
        )
    return there


def write(folder: Path, plan: Plan) -> None:
    """Keep the plan in a folder, all or nothing."""
    report.write(folder / NAME, dump(vars(plan)) + "\n")
