"""`chain_state.json`: how far a chain has come, written last, verified before it counts.

It lies beside the checkpoints of a session, with their checksums. A session without it, or whose
files do not agree with it, has not ended well.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsr_lib.files import sha256
from medsr_lib.series import report
from medsr_lib.series.parameters import dump

FORMAT = "medsr chain 1"
NAME = "chain_state.json"
NETWORKS = ("network", "generator", "discriminator", "average")  # of a training's checkpoint


@dataclass(frozen=True)
class State:
    """What a session left.

    Attributes:
        notebook: its name, `03_srgan`.
        step, steps: taken and requested, of all trainings together, over all sessions; requested
            are those of trainings that have not begun, too, where the session ended well.
        fingerprint: of the weights in all the checkpoints.
        files: the `sha256` and `bytes` of every file in the folder.
        checkpoints: the `step`, `steps` and `configuration` of those that belong to a training.
        done: whether all steps were taken, and nothing is left for a further session.
        chain: identifies the chain; None for a notebook that was run by itself.
        session: its number in the chain, from 1.
        parameters: of the notebook, without those that each session sets.
        docker_image: of the container, where it is known.
        hours, hours_before: of this session, and of those before it.
    """

    notebook: str
    step: int
    steps: int
    fingerprint: str
    files: dict[str, dict[str, Any]]
    checkpoints: dict[str, dict[str, Any]]
    done: bool = False
    chain: str | None = None
    session: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)
    docker_image: str | None = None
    hours: float = 0.0
    hours_before: float = 0.0

    def __str__(self) -> str:
        end = "done" if self.done else "to be continued"
        return f"session {self.session}, {self.step} of {self.steps} steps: {end}"


def write(folder: Path, state: State) -> Path:
    """Write the state of `folder` into it, all or nothing."""
    return report.write(folder / NAME, dump({"format": FORMAT} | vars(state)) + "\n")


def read(folder: Path) -> State:
    """Read the state of a folder.

    Raises:
        FileNotFoundError: there is none: the session did not end well, or this is not its folder.
        ValueError: the file is damaged, or of another version of the format.
    """
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {NAME}; the session did not end well, or this is not the folder of its "
            "notebook"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("format", None)
        if found != FORMAT:
            raise ValueError(f"expected the format {FORMAT!r}, found {found!r}")
        state = State(**content)
        if not state.checkpoints.keys() <= state.files.keys():
            raise ValueError("a checkpoint without its checksum")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the state of a chain ({error}); fetch it again") from None
    return state


def verify(folder: Path) -> State:
    """Read the state of a folder, and make sure that its files agree with it.

    Compared are sizes and sha256 of all files, and of the checkpoints the step and the weights.

    Raises:
        FileNotFoundError: no state, or a file is missing.
        ValueError: a file that is truncated, damaged or another one.
    """
    state = read(folder)
    for name, known in state.files.items():
        path = inside(folder, name)
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: {name} is missing, which {NAME} lists")
        agrees(path, known)
    found = describe(folder, state.checkpoints)
    if found.checkpoints != state.checkpoints or found.fingerprint != state.fingerprint:
        raise ValueError(
            f"{folder}: the checkpoints hold {_steps(found.checkpoints)}, weights "
            f"{found.fingerprint}, but {NAME} lists {_steps(state.checkpoints)}, weights "
            f"{state.fingerprint}; they are not of one session"
        )
    return state


def agrees(path: Path, known: Mapping[str, Any]) -> None:
    """Raise a ValueError unless the file has the `bytes` and the `sha256` that are known of it."""
    size = path.stat().st_size
    if size != known["bytes"]:
        raise ValueError(f"{path}: {size} bytes of {known['bytes']}: truncated; fetch it again")
    if sha256(path) != known["sha256"]:
        raise ValueError(f"{path}: does not agree with its sha256: damaged; fetch it again")


def describe(folder: Path, names: Iterable[str] | None = None) -> State:
    """What the networks and checkpoints of a folder say: those of `names`, or all (`*.pt`).

    Raises:
        FileNotFoundError: one of `names` is missing.
        ValueError: one that cannot be read.
    """
    from medsr_lib.restore.training import checkpoint

    names = sorted(p.name for p in folder.glob("*.pt")) if names is None else sorted(names)
    files: dict[str, dict[str, Any]] = {}
    checkpoints: dict[str, dict[str, Any]] = {}
    weights = hashlib.sha256()
    for name in names:
        path = inside(folder, name)
        content = checkpoint.load(path)
        if content is None:
            raise FileNotFoundError(f"{folder}: {name} is missing")
        files[name] = sums(path)
        if "step" in content and "configuration" in content:
            checkpoints[name] = {
                "step": int(content["step"]),
                "steps": int(content["configuration"]["steps"]),
                "configuration": str(content["fingerprint"]),
            }
            weights.update(f"{name}\n".encode())
            _add(weights, {part: content[part] for part in NETWORKS if part in content})
    return State(
        notebook=folder.name,
        step=sum(known["step"] for known in checkpoints.values()),
        steps=sum(known["steps"] for known in checkpoints.values()),
        fingerprint=weights.hexdigest()[:16],
        files=files,
        checkpoints=checkpoints,
    )


def sums(path: Path) -> dict[str, Any]:
    """What is known of a file, for `agrees`."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Every parameter that differs, with both values; "" for none."""

    def shown(values: Mapping[str, Any], name: str) -> str:
        return repr(values[name]) if name in values else "not given"

    return "; ".join(
        f"{name} is {shown(ours, name)} here and {shown(theirs, name)} there"
        for name in sorted(ours.keys() | theirs.keys())
        if shown(ours, name) != shown(theirs, name)
    )


def inside(folder: Path, name: str) -> Path:
    """The path of a file called `name` in `folder`; a name that leads elsewhere is refused."""
    parts = name.replace("\\", "/").split("/")
    if not name or name != "/".join(parts) or ":" in name or {"", ".", ".."} & set(parts):
        raise ValueError(f"{name!r} is no file name inside {folder}; it was refused")
    return folder.joinpath(*parts)


def _add(digest: "hashlib._Hash", values: Any) -> None:
    if isinstance(values, Mapping):
        for name, value in values.items():
            digest.update(f"{name}:".encode())
            _add(digest, value)
    else:
        import torch

        flat = values.detach().cpu().flatten()
        digest.update(f"{values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")


def _steps(checkpoints: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{n} after step {c['step']}" for n, c in checkpoints.items()) or "nothing"
