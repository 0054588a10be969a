"""A training's state in one file: all of it or nothing, and never any code.

The file is what `torch.save` writes, a zip archive, with the sha256 of all its bytes as the comment
at the end: `torch.load` reads it, and whatever byte was changed, `load` here notices.
"""

import hashlib
import io
import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from medsr_lib.files import atomic

FORMAT = "medsr checkpoint 3"
_MARK = b"medsr sha256 "  # before the 64 hexadecimal digits of the sum
_SUM = len(_MARK) + 64


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` under a temporary name, read it back, and only then rename it.

    A full disk or a process killed at any moment leaves the former file.

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
        strange = re.search(r"GLOBAL (\S+)", str(error))
        raise TypeError(
            f"{path}: a checkpoint holds tensors, numbers, text, lists and dicts only, not "
            f"{strange[1] if strange else 'objects'}"
        ) from None
    body = buffer.getvalue()[:-2] + _SUM.to_bytes(2, "little")  # the length of the zip's comment
    _write(Path(path), body + _MARK + hashlib.sha256(body).hexdigest().encode())


def load(path: str | Path) -> dict[str, Any] | None:
    """Read what `save` wrote, on the CPU; None where there is no file.

    Only tensors and plain values are read (`weights_only`): no code in the file is run. Nothing of
    it is looked at before it agrees with its sha256.

    Raises:
        ValueError: a truncated or damaged file, another version of the format, or not ours.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
        _verify(content)
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what agrees with its sum may still be anything
        reason = f"({error})" if isinstance(error, OSError | ValueError) else ""
        raise ValueError(
            f"{path}: truncated, damaged or not a checkpoint {reason}; "
            "nothing was changed: restore the file, or remove it to start again"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        other = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"{path}: expected {FORMAT!r}, found {other!r}; not written by this version"
        )
    state: dict[str, Any] = found["state"]
    return state


def is_ours(path: str | Path) -> bool:
    """Whether a file ends as those do that `save` writes."""
    with suppress(OSError), Path(path).open("rb") as file:
        file.seek(-_SUM, os.SEEK_END)
        return file.read(len(_MARK)) == _MARK
    return False


def carry(source: str | Path, target: str | Path) -> list[Path]:
    """Copy the checkpoints of an earlier session, which may be read-only, into this one's folder.

    Every `*.pt` of the folder `source` is verified and copied into the folder `target`. One that is
    already there and has come as far stays: a session that is started again resumes from its own
    state.

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
            "the output of the earlier session, or leave resume_from out to start from zero"
        )
    steps = {path: _step(load(path)) for path in found}
    ours = {path: target / path.name for path in found}
    wanted = [p for p in found if not ours[p].exists() or _step(load(ours[p])) < steps[p]]
    for path in wanted:
        _write(ours[path], path.read_bytes())
    return list(ours.values())


def _write(path: Path, content: bytes) -> None:
    """Put a file with this content in place of `path`."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
        if temporary.read_bytes() != content:
            raise OSError(f"{path}: the disk did not keep what was written; nothing was replaced")


def _verify(content: bytes) -> None:
    body, mark, digits = content[:-_SUM], content[-_SUM:-64], content[-64:]
    if mark != _MARK:
        raise ValueError("it does not end with its sha256, which all our files do")
    if hashlib.sha256(body).hexdigest().encode() != digits:
        raise ValueError("it does not agree with its sha256")


def _step(state: dict[str, Any] | None) -> int:
    """How far a training had come; 0 for a finished network."""
    return int((state or {}).get("step", 0))
