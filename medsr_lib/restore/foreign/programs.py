"""Methods that are other people's code: a Python function or a program."""

import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medsr_lib.restore.foreign import stored

PYTHON = re.compile(r".+\.py:[A-Za-z_]\w*|[\w.]+:[A-Za-z_]\w*")


def is_python(what: str) -> bool:
    """Whether this is package.module:function or file.py:function."""
    return PYTHON.fullmatch(what) is not None


def python(what: str, *, scale: int, **expected: object) -> Callable[..., Any]:
    """A function of the user's Python, which is run by that wish.

    A function with a parameter `scale` is given it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such module, or nothing in it that can be called with images.
    """
    place, _, name = what.rpartition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _by_name(place, what)
    function = getattr(module, name, None)
    if not callable(function) or isinstance(function, type):
        there = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ValueError(
            f"{what}: {name} is no function or network, but {type(function).__name__}; "
            f"there are {', '.join(there) or 'none'}"
        )
    if not isinstance(function, nn.Module) and _takes_scale(function):
        return partial(function, scale=scale)
    return function


def _takes_scale(function: Callable[..., Any]) -> bool:
    try:
        return "scale" in inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return False


def _from_file(path: Path) -> object:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"_of_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickles look it up
    spec.loader.exec_module(module)
    return module


def _by_name(place: str, what: str) -> object:
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise ValueError(
            f"{what}: cannot import {place} ({error}); install it, or give file.py:function"
        ) from error


def command(what: str, *, scale: int, **expected: object) -> "Program":
    """A program that restores all images of a folder into another.

    Raises:
        ValueError: {input}, or {input_tiff}, and {output} are not both in it.
    """
    words = shlex.split(what.removeprefix("cmd:"))
    text = " ".join(words[1:])
    if not ("{input}" in text or "{input_tiff}" in text) or "{output}" not in text:
        raise ValueError(
            f"{what}: write cmd:program {{input}} {{output}}, the folders of its LR and SR images; "
            "{input_tiff} for LR in TIFF"
        )
    return Program(words, scale)


class Program:
    """A program as a method: LR (B, C, h, w) -> SR (B, C, H, W), through files.

    LR is written as 16-bit PNG, clipped to [0, 1], or as float32 TIFF for {input_tiff}; SR is read
    as PNG of 8 or 16 bits or TIFF of the same names. {scale} is replaced too. No shell is involved.
    """

    value_range = "[0, 1]"  # of what files hold, whatever their bits

    def __init__(self, words: list[str], scale: int) -> None:
        self._words, self._scale = words, scale

    def __call__(self, lr: Tensor) -> Tensor:
        """Restore a batch of grey images by one run.

        Raises:
            FileNotFoundError: no such program, or no image from it.
            RuntimeError: it failed; with the end of what it said.
            ValueError: images that are not grey or RGB.
        """
        if lr.shape[1] != 1:
            raise ValueError("programs are given grey images")
        with tempfile.TemporaryDirectory() as temporary:
            into, out = Path(temporary, "lr"), Path(temporary, "sr")
            into.mkdir()
            out.mkdir()
            tiff = any("{input_tiff}" in word for word in self._words)
            names = [f"{i:04d}" for i in range(len(lr))]
            for name, image in zip(names, lr[:, 0].cpu().numpy()):
                stored.write(into / f"{name}{'.tif' if tiff else '.png'}", image)
            self._run({"input": into, "input_tiff": into, "output": out, "scale": self._scale})
            paths = [stored.find(out, name, lacks="the program wrote no") for name in names]
            made = [stored.as_tensor(stored.read(path)) for path in paths]
            return torch.stack(made).to(lr.device)

    def _run(self, places: dict[str, object]) -> None:
        words = list(self._words)
        for key, value in places.items():
            words = [word.replace(f"{{{key}}}", str(value)) for word in words]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise FileNotFoundError(f"{words[0]}: cannot be run ({error.strerror})") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-500:]
            raise RuntimeError(f"{words[0]} failed with status {done.returncode}: {said}")
