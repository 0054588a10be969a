"""Methods that are other people's code: a Python function, a program, or its results."""

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

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from medsr_lib import images as image_rules
from medsr_lib.case import ALTERED, Case
from medsr_lib.restore.foreign import need

PYTHON = re.compile(r".+\.py:[A-Za-z_]\w*|[\w.]+:[A-Za-z_]\w*")
MOST = {"uint8": 255.0, "uint16": 65535.0}  # white in files of whole numbers
FORMATS = (".tif", ".tiff", ".png", ".nii", ".nii.gz", ".npy")


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
                _write(into / f"{name}{'.tif' if tiff else '.png'}", image)
            self._run({"input": into, "input_tiff": into, "output": out, "scale": self._scale})
            return torch.stack([_tensor(_read(_one_of(out, name))) for name in names]).to(lr.device)

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


def images(what: str, *, scale: int, **expected: object) -> "Images":
    """Images restored already.

    Raises:
        ValueError: a pattern that does not tell images apart.
        FileNotFoundError: no such folder.
    """
    pattern = what.removeprefix("dir:")
    if "{id}" not in pattern:
        raise ValueError(f"{what}: write dir:folder/{{id}}.png; {{id}} is the name of the case")
    before = Path(pattern.split("{")[0] + "x").parent
    if not before.is_dir():
        raise FileNotFoundError(f"{what}: no folder {before}")
    return Images(pattern)


class Images:
    """Images that another program has restored, one a case, found by the case's identity.

    They are of the pixels of the cases as these are, restored from the degradation that is named
    beside their scores: nobody can check that here. What their values mean, `Units` finds out.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.units = Units()

    def of(self, case: Case) -> Callable[[Tensor], Tensor]:
        """The function that gives SR (1, 1, H, W) in [0, 1] of a case, whatever its LR is.

        Raises:
            FileNotFoundError: no image of this case.
            ValueError: an image of another size, or with values out of [0, 1].
            TypeError: a case with `altered` pixels.
        """
        if ALTERED in case.about:
            self(case.image)
        path = self.pattern
        for key in ("id", "patient", "label"):
            path = path.replace(f"{{{key}}}", str(getattr(case, key)))
        if not Path(path).is_file():
            raise FileNotFoundError(f"no image {path}")
        pixels = _read(Path(path))
        if pixels.shape[:2] != case.image.shape:
            raise ValueError(f"{path} is {pixels.shape[:2]}, the case {tuple(case.image.shape)}")
        sr = self.units.normalised(pixels, case, like=case.image, name=path)
        return lambda lr: sr[None, None].to(lr.device)

    def __call__(self, lr: Tensor) -> Tensor:
        """Refuse: nothing new can be restored.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"dir:{self.pattern} holds images restored already; this measure restores new ones and "
            "needs a network, a function or a program"
        )


class Units:
    """What the values of stored images mean; found out at the first image, and kept.

    Either white is that of the file's type (255, 65 535, or 1 for floating point), or the values
    are in the units of the cases' own files, and are normalised as the case was: by its `raw_min`
    and `raw_max`. The one that is nearer to the case is taken.
    """

    def __init__(self) -> None:
        self.of_cases: bool | None = None

    def normalised(self, pixels: NDArray[Any], case: Case, *, like: Tensor, name: str) -> Tensor:
        """Stored pixels (H, W) or (H, W, C) as an image (H, W) in [0, 1].

        Args:
            pixels: as they are stored.
            case: whose image it is.
            like: (H, W) in [0, 1], about what they show.
            name: of the file, for errors.

        Raises:
            ValueError: values out of [0, 1] by their type, where they are not in the case's units.
        """
        plain = _tensor(pixels).mean(0)
        low, high = case.about.get("raw_min"), case.about.get("raw_max")
        if low is None or high is None:
            image_rules.check(plain[None, None], name)
            return plain
        stored = plain * MOST.get(str(pixels.dtype), 1.0)
        of_case = ((stored - low) / (high - low)).clamp(0, 1)
        if self.of_cases is None:
            nearer = (of_case - like).square().mean() < (plain - like).square().mean()
            self.of_cases = bool(nearer)
        if not self.of_cases:
            image_rules.check(plain[None, None], name)
        return of_case if self.of_cases else plain


def image_of(folder: Path, name: str) -> NDArray[Any]:
    """The pixels of the image of this name in a folder, in any of `FORMATS`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read.
    """
    path = next((p for end in FORMATS if (p := folder / f"{name}{end}").is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: no image {name}.png or .tif")
    return _read(path)


def _one_of(folder: Path, name: str) -> Path:
    for suffix in FORMATS:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
    raise FileNotFoundError(f"the program wrote no {name}.png or .tif into {{output}}, but {there}")


def _write(path: Path, image: NDArray[np.float32]) -> None:
    if path.suffix == ".tif":
        Image.fromarray(image).save(path)
    else:
        Image.fromarray((image.clip(0, 1) * 65535).round().astype(np.uint16)).save(path)


def _read(path: Path) -> NDArray[Any]:
    """The pixels of a file, (H, W) or (H, W, C)."""
    name = path.name.lower()
    try:
        if name.endswith((".tif", ".tiff")):
            return np.asarray(need("tifffile", str(path)).imread(path))
        if name.endswith((".nii", ".nii.gz")):
            volume = need("nibabel", str(path), "medical").load(path)
            return np.squeeze(np.asarray(volume.dataobj))
        if name.endswith(".npy"):
            return np.asarray(np.load(path, allow_pickle=False))
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB") if image.mode in ("P", "1") else image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path.name}: cannot be read ({error})") from error


def _tensor(pixels: NDArray[Any]) -> Tensor:
    """Grey or RGB pixels as (C, H, W) in [0, 1]; a fourth channel, opacity, is left out."""
    values = pixels.astype(np.float32) / MOST.get(str(pixels.dtype), 1.0)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(f"an image must be grey or RGB, got {pixels.shape}")
    colours = values[..., : 1 if values.shape[-1] < 3 else 3]
    return torch.from_numpy(np.ascontiguousarray(colours)).movedim(-1, 0)
