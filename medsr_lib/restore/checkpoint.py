"""A training's state in one file: all of it or nothing, and never any code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from medsr_lib.files import atomic

FORMAT = "medsr checkpoint 1"


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` under a temporary name, flush it, rename it.

    A full disk or a killed process leaves the former file as it was.

    Args:
        path: the file.
        state: tensors, numbers, text, None, and lists and dicts of these.

    Raises:
        TypeError: something else in `state`, which `load` would refuse.
    """
    with atomic(path) as temporary:
        torch.save({"format": FORMAT, "state": state}, temporary)
        try:
            torch.load(temporary, map_location="meta", weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError(
                f"{path}: a checkpoint holds tensors, numbers, text, lists and dicts only; {error}"
            ) from None


def load(path: str | Path) -> dict[str, Any] | None:
    """Read what `save` wrote, on the CPU; None where there is no file.

    Only tensors and plain values are read (`weights_only`): no code in the file is run.

    Raises:
        ValueError: a truncated or damaged file, another version of the format, or not ours.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
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
