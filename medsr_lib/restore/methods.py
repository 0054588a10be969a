"""Any method by one name: interpolation, or a network that was saved.

A method is a function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1]. Another way to
come by one is one file with a `Loader`, and one line in `LOADERS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from medsr_lib.restore import networks, resample

Method = Callable[[Tensor], Tensor]

INTERPOLATIONS: dict[str, Callable[..., Tensor]] = {
    "nearest": resample.nearest,
    "bicubic": resample.bicubic,
    "lanczos": resample.lanczos,
    "zero_fill": resample.zero_fill,
}


@dataclass(frozen=True)
class Loader:
    """One way to come by a method.

    Attributes:
        example: how it is written, for messages: "NAME=net.pt".
        accepts: whether WHAT of "NAME=WHAT" (or a bare WHAT) is for this loader.
        load: WHAT, scale= and what a network must be about -> the method.
    """

    example: str
    accepts: Callable[[str], bool]
    load: Callable[..., Method]


def _interpolation(what: str, *, scale: int, **expected: Any) -> Method:
    return partial(INTERPOLATIONS[what], scale=scale)


def _saved_network(what: str, *, scale: int, **expected: Any) -> Method:
    return networks.load(what, scale=scale, **expected)


LOADERS: tuple[Loader, ...] = (
    Loader(", ".join(INTERPOLATIONS), INTERPOLATIONS.__contains__, _interpolation),
    Loader("NAME=net.pt (saved by networks.save)", lambda w: w.endswith(".pt"), _saved_network),
)


def find(
    names: Sequence[str],
    *,
    scale: int,
    saved: Mapping[str, str | Path] | None = None,
    **expected: str | int | float | None,
) -> dict[str, Method]:
    """Find methods by what people call them.

    Args:
        names: each a name in `saved`, or WHAT or "NAME=WHAT" as `LOADERS` read it: an interpolation
            ("nearest", "bicubic", "lanczos", "zero_fill"), or the path of a file of
            `networks.save`, which is called as the file is (without .pt) where it has no NAME. What
            was found before counts once.
        scale: of all of them.
        saved: name -> file of a network.
        expected: what a network must be about, as for `networks.load`; for example `fold`.

    Returns:
        Name -> method, in the order asked for; networks as modules in evaluation mode, on the CPU.

    Raises:
        ValueError: a name that is none of these, two methods of one name, or a network for another
            scale or about something else.
        FileNotFoundError: no such file.
    """
    known = {name: str(path) for name, path in (saved or {}).items()}
    found: dict[str, Method] = {}
    sources: dict[str, str] = {}
    for asked in names:
        if asked in found:
            continue
        name, separator, what = asked.partition("=")
        what = what if separator else known.get(asked, asked)
        loader = next((one for one in LOADERS if one.accepts(what)), None)
        if loader is None:
            there = "; ".join([*known, *(one.example for one in LOADERS)])
            raise ValueError(f"no method {asked!r}; there are {there}")
        if not separator and asked not in known:
            name = Path(what).stem
        if sources.get(name, what) != what or (name in INTERPOLATIONS and what != name):
            raise ValueError(
                f"two methods would be called {name!r}; give one of them as ANOTHER_NAME={what}"
            )
        sources[name] = what
        found[name] = loader.load(what, scale=scale, **expected)
    return found
