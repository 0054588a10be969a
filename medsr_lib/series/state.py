"""`chain_state.json`: how far a chain has come, written last, verified before it counts.

It lies beside the checkpoints of a session and tells their checksums. A session that has none, or
whose files do not agree with it, has not ended well.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "medsr chain 1"
NAME = "chain_state.json"
FREE = {"hours", "data_dir", "out_dir", "resume_from"}  # may differ from session to session
NETWORKS = ("network", "generator", "discriminator", "average")  # of a training's checkpoint


@dataclass(frozen=True)
class State:
    """What a session left.

    Attributes:
        notebook: its name, `03_srgan`.
        chain: what tells this chain from others; None of a notebook that was run by itself.
        session: its number in the chain, from 1.
        done: whether all steps were taken, and nothing is left for a further session.
        step, steps: taken and asked for, of all trainings together, over all sessions.
        fingerprint: of the weights in all the checkpoints.
        files: of every file in the folder its `sha256` and `bytes`.
        checkpoints: of those that are a training's its `step`, `steps` and `configuration`.
        parameters: of the notebook, those that must not change.
        docker_image: of the container, where it is known.
        versions: of Python and of what the numbers depend on.
        hours, hours_before: what this session took, and those before it.
    """

    notebook: str
    chain: str | None
    session: int
    done: bool
    step: int
    steps: int
    fingerprint: str
    files: dict[str, dict[str, Any]]
    checkpoints: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    docker_image: str | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    hours: float = 0.0
    hours_before: float = 0.0

    def __str__(self) -> str:
        end = "done" if self.done else "to be continued"
        return f"session {self.session}, {self.step} of {self.steps} steps: {end}"


def write(folder: Path, state: State) -> Path:
    """Write the state of `folder` into it, all or nothing."""
    from medsr_lib.series import report

    content = {"format": FORMAT} | dataclasses.asdict(state)
    return report.write(folder / NAME, json.dumps(content, indent=1, allow_nan=False) + "\n")


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
        _check_types(state)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the state of a chain ({error}); fetch it again") from None
    return state


def verify(folder: Path, state: State | None = None) -> State:
    """Read the state of a folder and make sure that the files agree with it.

    Sizes and sha256 of all files, and of the checkpoints the step and the weights' fingerprint.

    Raises:
        FileNotFoundError: no state, or a file is missing.
        ValueError: a file that is truncated, damaged or another one.
    """
    state = state or read(folder)
    for name, known in state.files.items():
        path = inside(folder, name)
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: {name} is missing, which {NAME} lists")
        agrees(path, known)
    found = describe(folder, state.checkpoints)
    if found.checkpoints != state.checkpoints or found.fingerprint != state.fingerprint:
        raise ValueError(
            f"{folder}: the checkpoints hold {_said(found.checkpoints)}, weights "
            f"{found.fingerprint}, but {NAME} tells of {_said(state.checkpoints)}, weights "
            f"{state.fingerprint}; they are not of one session"
        )
    return state


def agrees(path: Path, known: Mapping[str, Any]) -> None:
    """Raise a ValueError unless the file has the `bytes` and the `sha256` that are known of it."""
    size = path.stat().st_size
    if size != known["bytes"]:
        raise ValueError(f"{path}: {size} bytes of {known['bytes']}: truncated; fetch it again")
    if _sha256(path) != known["sha256"]:
        raise ValueError(f"{path}: does not agree with its sha256: damaged; fetch it again")


@dataclass(frozen=True)
class Found:
    """What the files of a folder say themselves."""

    files: dict[str, dict[str, Any]]
    checkpoints: dict[str, dict[str, Any]]
    fingerprint: str

    @property
    def step(self) -> int:
        """Steps taken, of all trainings together."""
        return sum(int(c["step"]) for c in self.checkpoints.values())

    @property
    def steps(self) -> int:
        """Steps asked for, of those trainings that have begun."""
        return sum(int(c["steps"]) for c in self.checkpoints.values())


def describe(folder: Path, names: Iterable[str] | None = None) -> Found:
    """Look into the networks and checkpoints (`*.pt`) of a folder; into those of `names` only.

    Raises:
        ValueError: one that cannot be read.
    """
    from medsr_lib.restore.training import checkpoint

    names = sorted(p.name for p in folder.glob("*.pt")) if names is None else sorted(names)
    files, checkpoints, weights = {}, {}, hashlib.sha256()
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
    return Found(files, checkpoints, weights.hexdigest()[:16])


def sums(path: Path) -> dict[str, Any]:
    """What is known of a file, for `agrees`."""
    return {"sha256": _sha256(path), "bytes": path.stat().st_size}


def kept(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that must not change from session to session."""
    return {name: value for name, value in sorted(parameters.items()) if name not in FREE}


def refuse_other(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, what: str, remedy: str
) -> None:
    """Raise a ValueError that names every parameter which differs."""
    names = sorted(
        name
        for name in (ours.keys() | theirs.keys()) - FREE
        if ours.get(name) != theirs.get(name) or (name in ours) != (name in theirs)
    )
    if names:
        listed = "; ".join(
            f"{name} is {_value(ours, name)} here and {_value(theirs, name)} there"
            for name in names
        )
        raise ValueError(f"{what} has another configuration: {listed}. {remedy}")


def inside(folder: Path, name: str) -> Path:
    """The path of a file called `name` in `folder`; a name that leads elsewhere is refused."""
    parts = name.replace("\\", "/").split("/")
    if not name or name != "/".join(parts) or ":" in name or {"", ".", ".."} & set(parts):
        raise ValueError(f"{name!r} is no file name inside {folder}; it was refused")
    return folder.joinpath(*parts)


def _check_types(state: State) -> None:
    kinds: dict[str, type | tuple[type, ...]] = {
        "notebook": str,
        "session": int,
        "done": bool,
        "step": int,
        "steps": int,
        "fingerprint": str,
        "files": dict,
        "checkpoints": dict,
        "parameters": dict,
        "hours": (int, float),
        "hours_before": (int, float),
    }
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(state, name), kind)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} of an unexpected type")
    if not state.checkpoints.keys() <= state.files.keys():
        raise ValueError("a checkpoint without its checksum")


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _said(checkpoints: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{n} after step {c['step']}" for n, c in checkpoints.items()) or "nothing"


def _value(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not given"
