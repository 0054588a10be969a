"""Methods by name: interpolations, and networks that were saved."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from medsr_lib.restore import networks, resample

INTERPOLATIONS: dict[str, Callable[..., Tensor]] = {
    "nearest": resample.nearest,
    "bicubic": resample.bicubic,
    "lanczos": resample.lanczos,
    "zero_fill": resample.zero_fill,
}


def methods(
    names: Sequence[str],
    *,
    scale: int,
    saved: Mapping[str, str | Path] | None = None,
    **expected: str | int | float | None,
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Find methods by what people call them.

    Args:
        names: each an interpolation ("nearest", "bicubic", "lanczos", "zero_fill"), a name in
            `saved`, or the path of a file of `networks.save`. A path is called as its file is
            (without .pt), or as stands before it in "NAME=PATH". What was found before counts once.
        scale: of all of them.
        saved: name -> file of a network.
        expected: what a network must be about, as for `networks.load`: `fold`, for one.

    Returns:
        Name -> function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1], in the order
        asked for; networks as modules in evaluation mode, on the CPU.

    Raises:
        ValueError: a name that is none of these, two files of one name, or a network for another
            scale or about something else.
        FileNotFoundError: no such file.
    """
    known = {name: Path(path) for name, path in (saved or {}).items()}
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    files: dict[str, Path] = {}
    for asked in names:
        if asked in found:
            continue
        if asked in INTERPOLATIONS:
            found[asked] = partial(INTERPOLATIONS[asked], scale=scale)
            continue
        name, path = (asked, known[asked]) if asked in known else _file(asked, [*known])
        if name in INTERPOLATIONS or files.get(name, path) != path:
            raise ValueError(
                f"two methods would be called {name!r}; give one of them as ANOTHER_NAME={path}"
            )
        files[name] = path
        found[name] = networks.load(path, scale=scale, **expected)
    return found


def _file(asked: str, saved: Sequence[str]) -> tuple[str, Path]:
    """What is asked for as "NAME=PATH" or "PATH", as a name and a path."""
    name, separator, path = asked.rpartition("=")
    if not path.endswith(".pt"):
        known = ", ".join([*INTERPOLATIONS, *saved])
        raise ValueError(
            f"no method {asked!r}; there are {known}, and files of saved networks (.pt)"
        )
    return (name if separator else Path(path).stem), Path(path)
