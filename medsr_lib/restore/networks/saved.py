"""Networks in files: their weights, what they were made with, and what they were trained for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medsr_lib.case import Case, digests, trained_on
from medsr_lib.restore.linear import LinearFilter
from medsr_lib.restore.networks.denoise import DenoisingAutoencoder
from medsr_lib.restore.networks.ensemble import Ensemble
from medsr_lib.restore.networks.readers import LesionClassifier, UNet
from medsr_lib.restore.networks.sr import ESPCN, WDSR, Discriminator, SRResNet
from medsr_lib.restore.training import checkpoint

CLASSES = {
    c.__name__: c
    for c in (
        *(ESPCN, SRResNet, WDSR, Discriminator, LesionClassifier, UNet),
        *(DenoisingAutoencoder, LinearFilter),
    )
}
"""What `load` can make again: a network that keeps what it was made with in `arguments`; and an
`Ensemble` of these."""

Value = str | int | float | None
REMEDY = "use another --out (out_dir), or delete"  # of what an earlier run left


def n_parameters(network: nn.Module) -> int:
    """How many parameters training adjusts."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def fingerprint(network: nn.Module) -> str:
    """Tell weights apart: 16 hex digits that change with any bit of a network's state.

    The first digits of a SHA-256 over the names, types, shapes and bytes of the `state_dict`, which
    batch norm's running means belong to. The same on every device.
    """
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save(
    network: nn.Module, path: str | Path, *, cases: Sequence[Case] = (), **about: Value
) -> None:
    """Write a trained network to one file, for `load`.

    Args:
        network: one of `restore.networks`, or an `Ensemble` of such.
        path: the file; replaced as a whole or not at all.
        cases: what it was trained on, besides what its `trained_on` names: `fit`, `fit_gan` and
            `linear.fit` note that there themselves, what trains on patches of cases does not.
        about: what to remember with it: fold, degradation, steps ... The weights' `fingerprint` is
            remembered too.

    Raises:
        OSError: the disk is full; a former file is kept.
        ValueError: a network of another class, which `load` could not make again.
    """
    name, arguments = _plan(network, path)
    state = {
        "network": name,
        "arguments": arguments,
        "weights": network.state_dict(),
        "cases": sorted(trained_on(network) | digests(cases)),
        "about": {**about, "fingerprint": fingerprint(network)},
    }
    checkpoint.save(path, state)


def load(path: str | Path, *, cases: Sequence[Case] | None = None, **expected: Value) -> nn.Module:
    """Read a network that `save` wrote, ready to be applied: in evaluation mode, on the CPU.

    What was remembered with it is its attribute `about`; the cases are in `trained_on`.

    Args:
        path: the file.
        cases: what it must have been trained on, neither more nor less: for a file that stands for
            a training which would be done now.
        expected: what must have been remembered with it. For example `fold`: a network must
            not be tested on patients it was trained on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a saved network, one about something else than expected or trained on other
            cases, or weights of another fingerprint than was remembered.
    """
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(f"{path}: no such file; train the network and save it first")
    name = state.get("network")  # a training's checkpoint has the weights here
    complete = {"arguments", "weights", "about", "cases"} <= state.keys()
    kinds = (*CLASSES, Ensemble.__name__)
    if not isinstance(name, str) or name not in kinds or not complete:
        raise ValueError(f"{path}: not a network written by networks.save")
    about, known = state["about"], frozenset(state["cases"])
    other = [
        f"{k} is {about.get(k)!r}, not {v!r}" for k, v in expected.items() if about.get(k) != v
    ]
    if other:
        remedy = "" if cases is None else f"; {REMEDY} {path}"
        raise ValueError(
            f"{path}: a network trained for something else: {'; '.join(other)}{remedy}"
        )
    if cases is not None and (differing := known ^ digests(cases)):
        raise ValueError(
            f"{path} was trained on other cases ({len(differing)} of {len(known | differing)} "
            f"differ): {REMEDY} {path}"
        )
    network = _built(name, state["arguments"])
    network.load_state_dict(state["weights"])
    found = fingerprint(network)
    if about["fingerprint"] != found:
        raise ValueError(
            f"{path}: holds weights of fingerprint {found}, but {about['fingerprint']} were saved; "
            "the file was changed: restore it, or train the network again"
        )
    network.about, network.trained_on = about, known  # type: ignore[assignment]
    return network.eval()


def _plan(network: nn.Module, path: str | Path) -> tuple[str, dict[str, Any]]:
    """The name of a network's class, and what the network was made with."""
    name = type(network).__name__
    if isinstance(network, Ensemble):
        return name, {"members": [_plan(member, path) for member in network.members]}
    if CLASSES.get(name) is not type(network):
        raise ValueError(
            f"{path}: cannot save a network of class {name}, only {', '.join(CLASSES)}; "
            "save its state_dict with torch.save"
        )
    return name, network.arguments


def _built(name: str, arguments: dict[str, Any]) -> nn.Module:
    if name == Ensemble.__name__:
        return Ensemble([_built(*member) for member in arguments["members"]])
    network: nn.Module = CLASSES[name](**arguments)
    return network
