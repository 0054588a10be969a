"""What a notebook in a chain is given about itself: its parameter `chain`, as plain values."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.state import State


class Kind(StrEnum):
    """What the output of an earlier session is found in; the first two as Kaggle mounts them."""

    NOTEBOOKS = "notebooks"
    DATASETS = "datasets"
    FOLDER = "folder"


@dataclass(frozen=True)
class Plan:
    """What a chain was started with.

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


@dataclass(frozen=True)
class Previous:
    """What a session resumes from: a state, in a `source` ("owner/slug" on Kaggle, or a folder)."""

    source: str
    kind: Kind
    state: State


@dataclass(frozen=True)
class Context:
    """One session of a chain, before it runs.

    Attributes:
        plan: of the chain.
        session: its number, from 1.
        previous: what it resumes from; None starts from zero.
        hours: it may take.
        docker_image: to run in, on Kaggle; None for the newest.
    """

    plan: Plan
    session: int
    previous: Previous | None
    hours: float
    docker_image: str | None = None

    @property
    def step_before(self) -> int:
        """Steps that were taken before this session."""
        return self.previous.state.step if self.previous else 0

    def values(self) -> dict[str, Any]:
        """As plain values, for the notebook's parameter `chain`."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From the notebook's parameter `chain`.

        Raises:
            ValueError: these are not the values of a session.
        """
        try:
            given = {**values, "plan": Plan(**values["plan"])}
            if before := given["previous"]:
                state = State(**before["state"])
                given["previous"] = Previous(before["source"], Kind(before["kind"]), state)
            return cls(**given)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"the parameter chain is set by medsr chain and medsr kaggle chain, and by nobody "
                f"else; got {values!r} ({error})"
            ) from None

    def marked(self, state: State) -> State:
        """The state of a folder, as what this session left."""
        plan = self.plan
        return replace(
            state,
            notebook=plan.notebook,
            chain=plan.chain,
            session=self.session,
            parameters=plan.parameters,
        )

    def check(self, state: State, folder: Path) -> None:
        """Refuse a state that this session was not to go on from.

        Raises:
            ValueError: it is of another chain, step or configuration, or of other weights.
        """
        plan, wanted = self.plan, vars(self.previous.state if self.previous else state)
        wanted = wanted | {"notebook": plan.notebook, "chain": plan.chain}
        wrong = [
            f"other {name}"
            if isinstance(found, dict)
            else f"{name} {found!r}, not {wanted[name]!r}"
            for name, found in vars(state).items()
            if found != wanted[name] and name != "parameters"
        ]
        if other := states.differences(plan.parameters, state.parameters):
            wrong.append(f"another configuration: {other}")
        if wrong:
            raise ValueError(
                f"{folder} is not what session {self.session} resumes from: it has "
                f"{'; '.join(wrong)}. Attach the output of the session before"
            )
