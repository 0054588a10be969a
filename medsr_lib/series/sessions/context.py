"""What a notebook in a chain is given about itself: its parameter `chain`, as plain values."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
class Previous:
    """What a session resumes from.

    Attributes:
        source: "owner/slug" on Kaggle, or a folder.
        kind: of that source.
        session, step, fingerprint: as of `State`.
        checkpoints: the sha256 of each.
        configurations: the fingerprint of each training's configuration.
    """

    source: str
    kind: Kind
    session: int
    step: int
    fingerprint: str
    checkpoints: dict[str, str]
    configurations: dict[str, str]

    @classmethod
    def of(cls, state: State, source: str, kind: Kind) -> Self:
        """A session's output, at a place."""
        return cls(
            source,
            kind,
            state.session,
            state.step,
            state.fingerprint,
            {name: state.files[name]["sha256"] for name in state.checkpoints},
            {name: known["configuration"] for name, known in state.checkpoints.items()},
        )


@dataclass(frozen=True)
class Context:
    """One session of a chain, before it runs.

    Attributes:
        chain, notebook, parameters: as of `Plan`.
        session: its number, from 1.
        previous: what it resumes from; None starts from zero.
        hours: it may take.
        docker_image: to run in, on Kaggle; None for the newest.
        wheel: on Kaggle, the sha256 of the library.
    """

    chain: str
    notebook: str
    parameters: dict[str, Any]
    session: int
    previous: Previous | None
    hours: float
    docker_image: str | None = None
    wheel: str | None = None

    @property
    def step_before(self) -> int:
        """Steps that were taken before this session."""
        return self.previous.step if self.previous else 0

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
            previous = values["previous"]
            if previous is not None:
                previous = Previous(**previous | {"kind": Kind(previous["kind"])})
            return cls(**{**values, "previous": previous})
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"the parameter chain is set by medsr chain and medsr kaggle chain, and by nobody "
                f"else; got {values!r} ({error})"
            ) from None

    def check(self, state: State, folder: Path) -> None:
        """Refuse a state that this session was not to go on from.

        Raises:
            ValueError: it is of another chain, step or configuration, or of other weights.
        """
        if other := states.differences(self.parameters, state.parameters):
            raise ValueError(
                f"{folder} has another configuration: {other}. A chain goes on with the parameters "
                "it was started with"
            )
        wanted: dict[str, Any] = {"notebook": self.notebook, "chain": self.chain}
        found: dict[str, Any] = {"notebook": state.notebook, "chain": state.chain}
        if before := self.previous:
            wanted |= vars(before)
            found |= vars(Previous.of(state, before.source, before.kind))
        wrong = [
            f"{name} {found[name]!r}, not {wanted[name]!r}"
            for name in wanted
            if found[name] != wanted[name]
        ]
        if wrong:
            raise ValueError(
                f"{folder} is not what session {self.session} resumes from: it has "
                f"{'; '.join(wrong)}. Attach the output of the session before"
            )
