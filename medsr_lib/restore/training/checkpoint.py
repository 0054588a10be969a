"""A training's state in one file: all of it or nothing, and never any code.

Beside `x.pt` lies `x.pt.sha256`, in the format of `sha256sum -c`.
"""

import hashlib
import io
import pickle
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from medsr_lib.files import atomic, sha256

FORMAT = "medsr checkpoint 2"


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` under a temporary name, read it back, and only then rename it.

    A full disk or a process killed at any moment leaves the former file, which still agrees with
    its sha256.

    Args:
        path: the file.
        state: tensors, numbers, text, None, and lists and dicts of these.

    Raises:
        TypeError: something else in `state`, which `load` would refuse.
        OSError: the disk is full, or did not keep what was written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "state": state}, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            f"{path}: a checkpoint holds tensors, numbers, text, lists and dicts only; {error}"
        ) from None
    content = buffer.getbuffer()
    _replace(
        Path(path), lambda file: file.write_bytes(content), hashlib.sha256(content).hexdigest()
    )


def load(path: str | Path) -> dict[str, Any] | None:
    """Read what `save` wrote, on the CPU; None where there is no file.

    Only tensors and plain values are read (`weights_only`): no code in the file is run. The file
    must agree with the sha256 beside it, where there is one.

    Raises:
        ValueError: a truncated or damaged file, another version of the format, or not ours.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        sums = _noted(path)
        if sums and sha256(path) not in sums:
            raise ValueError(f"it does not agree with {_beside(path).name}")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: truncated, damaged or not a checkpoint ({reason}); "
            "nothing was changed: restore the file, or remove it to start again"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        other = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"{path}: expected {FORMAT!r}, found {other!r}; not written by this version"
        )
    state: dict[str, Any] = found["state"]
    return state


def carry(source: str | Path, target: str | Path) -> list[Path]:
    """Copy the checkpoints of an earlier session, which may be read-only, into this one's folder.

    Every `*.pt` of the folder `source` is verified and copied into the folder `target`, with its
    sha256. One that is already there and has come as far stays: a session that is started again
    resumes from its own state.

    Returns:
        The files in `target`.

    Raises:
        FileNotFoundError: no such folder, or no checkpoints in it.
        ValueError: a checkpoint that `load` refuses; nothing is copied.
        OSError: the disk is full, or did not keep what was copied.
    """
    source, target = Path(source), Path(target)
    found = sorted(source.glob("*.pt"))
    if not found:
        raise FileNotFoundError(
            f"{source}: no checkpoints (*.pt) to resume from; give the folder of the notebook in "
            "the output of the earlier session, or leave resume_from out to start anew"
        )
    steps = {path: _step(load(path)) for path in found}
    ours = {path: target / path.name for path in found}
    wanted = [p for p in found if not ours[p].exists() or _step(load(ours[p])) < steps[p]]
    for path in wanted:
        _replace(ours[path], partial(shutil.copyfile, path), sha256(path))
    return list(ours.values())


def _replace(path: Path, write: Callable[[Path], object], new: str) -> None:
    """Put what `write` writes in place of `path`, and its sum, which should be `new`, beside it.

    For the moment between the two renames, both sums are in the file beside it.
    """
    with atomic(path) as temporary:
        write(temporary)
        if sha256(temporary) != new:
            raise OSError(f"{path}: the disk did not keep what was written; nothing was replaced")
        former = _noted(path) or ([sha256(path)] if path.exists() else [])
        _note(path, [new, *former])
    _note(path, [new])


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _noted(path: Path) -> list[str]:
    """The sums in the file beside `path`; none where there is no such file."""
    if not _beside(path).is_file():
        return []
    return [line.split()[0] for line in _beside(path).read_text().splitlines() if line.strip()]


def _note(path: Path, sums: Iterable[str]) -> None:
    with atomic(_beside(path)) as temporary:
        temporary.write_text("".join(f"{sum_}  {path.name}\n" for sum_ in sums))


def _step(state: dict[str, Any] | None) -> int:
    """How far a training had come; 0 for a finished network."""
    return int((state or {}).get("step", 0))
