"""Any method by one name: interpolation, a saved network, a network or program of other people.

A method is a function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1]. Another way to
come by one is one file with a `Loader`, and one line in `LOADERS`. What other people made goes
through `handshake.adapt` first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from medsr_lib.case import trained_on
from medsr_lib.restore import consistency, handshake, linear, networks, resample
from medsr_lib.restore.degrade import Degradation
from medsr_lib.restore.foreign import files, programs, shipped, stored
from medsr_lib.restore.foreign.adapted import Adapted
from medsr_lib.restore.training.checkpoint import is_ours

Method = Callable[[Tensor], Tensor]
UNKNOWN = "unknown, not checked"
CONSISTENT = "+consistent"  # after a name: the method made to agree with LR (`consistency`)

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
        foreign: whether `handshake.adapt` has to find out how it is called.
    """

    example: str
    accepts: Callable[[str], bool]
    load: Callable[..., Callable[..., Any]]
    foreign: bool = False


def _interpolation(what: str, *, scale: int, **expected: Any) -> Method:
    return partial(INTERPOLATIONS[what], scale=scale)


def _saved_network(what: str, *, scale: int, **expected: Any) -> Method:
    return networks.load(what, scale=scale, **expected)


def _unfitted(what: str, **expected: Any) -> Method:
    raise ValueError(
        "'linear' is fitted on training images: give what linear.fit or linear.cross_fit returns "
        "as saved={'linear': ...}, or the file of a filter as linear=filter.pt"
    )


def _ends(*endings: str) -> Callable[[str], bool]:
    return lambda what: what.lower().endswith(endings)


def _saved(what: str) -> bool:
    return what.lower().endswith(".pt") and (is_ours(what) or not Path(what).is_file())


def _begins(beginning: str) -> Callable[[str], bool]:
    return lambda what: what.startswith(beginning)


LOADERS: tuple[Loader, ...] = (
    Loader(", ".join(INTERPOLATIONS), INTERPOLATIONS.__contains__, _interpolation),
    Loader("linear", "linear".__eq__, _unfitted),
    Loader("NAME=cmd:program {input} {output}", _begins("cmd:"), programs.command, foreign=True),
    Loader("NAME=dir:folder/{id}.png", _begins("dir:"), stored.images),
    Loader(", ".join(shipped.KNOWN), shipped.KNOWN.__contains__, shipped.load, foreign=True),
    Loader("NAME=file.py:function, NAME=package.module:function", programs.is_python,
           programs.python, foreign=True),
    Loader("NAME=net.pt (saved by networks.save)", _saved, _saved_network),
    Loader("NAME=net.pth (.pt, .safetensors, .ckpt)",
           _ends(".pth", ".pt", ".safetensors", ".ckpt"), files.weights, foreign=True),
    Loader("NAME=net.onnx", _ends(".onnx"), files.onnx, foreign=True),
    Loader("NAME=net.pt2", _ends(".pt2"), files.exported, foreign=True),
    Loader("NAME=net.ts (TorchScript: runs its code)", _ends(".ts"), files.script, foreign=True),
)  # fmt: skip


def find(
    names: Sequence[str],
    *,
    scale: int,
    saved: Mapping[str, str | Path | Method] | None = None,
    degrade: Callable[[Tensor], Tensor] | None = None,
    **expected: str | int | float | None,
) -> dict[str, Method]:
    """Find methods by what people call them.

    Args:
        names: each a name in `saved`, or WHAT or "NAME=WHAT" as `LOADERS` read it: an interpolation
            ("nearest", "bicubic", "lanczos", "zero_fill"), a network that a package ships ("srmd"),
            a file of a network, or somebody's code, program or images. A file without NAME is
            called as it is, without its ending. Each may end in "+consistent", which makes the
            method agree with its LR image. What was found before counts once.
        scale: of all of them.
        saved: name -> file of a network, or a method that is there already, such as a linear filter
            that was fitted.
        degrade: what LR is made by, for "+consistent".
        expected: what a network must be about, as for `networks.load`; for example `fold`.

    Returns:
        Name -> method, in the order asked for; networks as modules in evaluation mode, on the CPU.
        Those of other people print what is done for them (`foreign.adapted.Findings`). Images
        restored already differ from case to case (`case.for_case`).

    Raises:
        ValueError: a name that is none of these, two methods of one name, a network for another
            scale or about something else, one that the handshake refuses, or "+consistent" without
            a degradation that can be repeated.
        FileNotFoundError: no such file.
        ImportError: a package of the extra `methods` is not installed.
    """
    made = {name: of for name, of in (saved or {}).items() if callable(of)}
    known = {name: str(path) for name, path in (saved or {}).items() if name not in made}
    found: dict[str, Method] = {}
    sources: dict[str, str] = {}
    for asked in names:
        if asked in found:
            continue
        plain = asked.removesuffix(CONSISTENT)
        if plain in made:
            method = made[plain]
            found[asked] = method if plain == asked else _consistent(plain, method, degrade)
            continue
        name, separator, what = plain.partition("=")
        what = what if separator else known.get(plain, plain)
        loader = next((one for one in LOADERS if one.accepts(what)), None)
        if loader is None:
            there = "; ".join([*made, *known, *(one.example for one in LOADERS)])
            raise ValueError(f"no method {asked!r}; there are {there}")
        if not separator and plain not in known:
            name = Path(what).stem
            if ":" in Path(what).name:
                raise ValueError(f"give {what} a name of your own: NAME={what}")
        if sources.get(name, what) != what or (name in INTERPOLATIONS and what != name):
            raise ValueError(
                f"two methods would be called {name!r}; give one of them as ANOTHER_NAME={what}"
            )
        sources[name] = what
        method = loader.load(what, scale=scale, **expected)
        if loader.foreign:
            method = _adapted(name, method, scale)
        if plain == asked:
            found[name] = method
        else:
            found[name + CONSISTENT] = _consistent(name, method, degrade)
    return found


def _consistent(name: str, method: Method, degrade: Method | None) -> Method:
    if degrade is None:
        raise ValueError(f"{name}{CONSISTENT}: give the degradation that LR is made by, degrade=")
    if not isinstance(degrade, Degradation):
        raise ValueError(f"{name}{CONSISTENT}: what made these LR images is not known ({degrade})")
    return consistency.project(method, degrade=degrade)


def _adapted(name: str, network: Callable[..., Any], scale: int) -> Method:
    try:
        return handshake.adapt(network, scale=scale)
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}") from error


def restores_anew(method: Method) -> bool:
    """Whether a method restores any LR image; False for images that are restored already (`dir:`).

    Those cannot show what becomes of a slice whose lesion was erased or put in (`Case.altered`).
    """
    inner = method.method if isinstance(method, consistency.Consistent) else method
    return not isinstance(inner, stored.Images)


def describe(methods: Mapping[str, Method]) -> dict[str, dict[str, Any]]:
    """What is known of methods, for a report, by name.

    Returns:
        Of each: `what` it is, with what the handshake found and adapted, and `training`, on what it
        was trained. Of other people's networks that is not known, so that nobody can check whether
        the tested patients were among them. Of a saved network also what was remembered with it.
    """
    return {name: _described(method) for name, method in methods.items()}


def _described(method: Method) -> dict[str, Any]:
    if isinstance(method, consistency.Consistent):
        inner = _described(method.method)
        return inner | {"what": f"{inner['what']}; then made to agree with LR"}
    if isinstance(method, Adapted):
        return {"what": f"foreign network or program, {method.findings}", "training": UNKNOWN}
    if isinstance(method, stored.Images):
        return {"what": f"images restored already, {method.pattern}", "training": UNKNOWN}
    if isinstance(method, linear.CrossFitted):
        return {"what": "best linear filter", "training": "other patients than the one tested"}
    about = getattr(method, "about", None)
    if about is not None:
        shown = {
            name: f"{value:.3g}" if isinstance(value, float) else value
            for name, value in about.items()
            if name != "fingerprint"
        }
        known = "; ".join(f"{name} {value}" for name, value in shown.items())
        known += f"; {len(trained_on(method))} cases"
        return {"what": type(method).__name__, "training": known, **about}
    if isinstance(method, linear.LinearFilter):
        n = len(trained_on(method))
        return {"what": "best linear filter", "training": f"{n} cases of the training part"}
    if getattr(method, "func", None) in INTERPOLATIONS.values():
        return {"what": "interpolation", "training": "nothing"}
    return {"what": str(getattr(method, "__name__", type(method).__name__)), "training": UNKNOWN}
