"""Networks in files: their weights, what they were made with, and what they were trained for."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from medsr_lib.restore.networks.denoise import DenoisingAutoencoder
from medsr_lib.restore.networks.readers import LesionClassifier, UNet
from medsr_lib.restore.networks.sr import ESPCN, Discriminator, SRResNet
from medsr_lib.restore.training import checkpoint

CLASSES = {
    c.__name__: c
    for c in (ESPCN, SRResNet, Discriminator, LesionClassifier, UNet, DenoisingAutoencoder)
}
"""What `load` can make again: a network that keeps what it was made with in `arguments`."""


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


def save(network: nn.Module, path: str | Path, **about: str | int | float | None) -> None:
    """Write a trained network to one file, for `load`.

    Args:
        network: one of `restore.networks`.
        path: the file; replaced as a whole or not at all.
        about: what to remember with it: fold, degradation, steps ... The weights' `fingerprint` is
            remembered too.

    Raises:
        ValueError: a network of another class, which `load` could not make again.
    """
    name = type(network).__name__
    if CLASSES.get(name) is not type(network):
        raise ValueError(
            f"{path}: cannot save a network of class {name}, only {', '.join(CLASSES)}; "
            "save its state_dict with torch.save"
        )
    state = {
        "network": name,
        "arguments": network.arguments,
        "weights": network.state_dict(),
        "about": {**about, "fingerprint": fingerprint(network)},
    }
    checkpoint.save(path, state)


def load(path: str | Path, **expected: str | int | float | None) -> nn.Module:
    """Read a network that `save` wrote, ready to be applied: in evaluation mode, on the CPU.

    What was remembered with it is its attribute `about`.

    Args:
        path: the file.
        expected: what must have been remembered with it. For example `fold`: a network must
            not be tested on patients it was trained on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a saved network, one about something else than expected, or weights of
            another fingerprint than was remembered.
    """
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(f"{path}: no such file; train the network and save it first")
    name = state.get("network")  # a training's checkpoint has the weights here
    complete = {"arguments", "weights", "about"} <= state.keys()
    if not isinstance(name, str) or name not in CLASSES or not complete:
        raise ValueError(f"{path}: not a network written by networks.save")
    about = state["about"]
    other = [
        f"{k} is {about.get(k)!r}, not {v!r}" for k, v in expected.items() if about.get(k) != v
    ]
    if other:
        raise ValueError(f"{path}: a network trained for something else: {'; '.join(other)}")
    network: nn.Module = CLASSES[name](**state["arguments"])
    network.load_state_dict(state["weights"])
    found = fingerprint(network)
    if about["fingerprint"] != found:
        raise ValueError(
            f"{path}: holds weights of fingerprint {found}, but {about['fingerprint']} were saved; "
            "the file was changed: restore it, or train the network again"
        )
    network.about = about
    return network.eval()
