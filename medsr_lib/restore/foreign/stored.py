"""Images in files: restored by another program, acquired, or handed to a program and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medsr_lib import images as image_rules
from medsr_lib import pictures
from medsr_lib.case import ALTERED, Case
from medsr_lib.restore.foreign import need

MOST = {"uint8": 255.0, "uint16": 65535.0}  # white in files of whole numbers
FORMATS = (".tif", ".tiff", ".png", ".nii", ".nii.gz", ".npy")


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
            self(case.image)  # refuses
        path = self.pattern
        for key in ("id", "patient", "label"):
            path = path.replace(f"{{{key}}}", str(getattr(case, key)))
        if not Path(path).is_file():
            raise FileNotFoundError(f"no image {path}")
        pixels = read(Path(path))
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
        plain = as_tensor(pixels).mean(0)
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


def find(folder: Path, name: str, *, lacks: str = "no image") -> Path:
    """The image of this name in a folder, in any of `FORMATS`; `lacks` begins what is said of none.

    Raises:
        FileNotFoundError: there is none; says what is there.
    """
    for suffix in FORMATS:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
    raise FileNotFoundError(f"{lacks} {name}.png or .tif in {folder}, but {there}")


def write(path: Path, image: NDArray[np.float32]) -> None:
    """Write an image (H, W): float32 as TIFF, or clipped to [0, 1] as 16-bit PNG."""
    if path.suffix == ".tif":
        path.write_bytes(pictures.encoded(Image.fromarray(image), "TIFF"))
    else:
        levels = (image.clip(0, 1) * 65535).round().astype(np.uint16)
        path.write_bytes(pictures.encoded(Image.fromarray(levels), "PNG"))


def read(path: Path) -> NDArray[Any]:
    """The pixels of a file, (H, W) or (H, W, C).

    Raises:
        ImportError: nibabel, which reads `.nii`, is not installed.
        ValueError: the file cannot be read; names it.
    """
    name = path.name.lower()
    try:
        if name.endswith((".tif", ".tiff")):
            values = pictures.tiff(path)[0]
        elif name.endswith((".nii", ".nii.gz")):
            volume = need("nibabel", str(path), "medical").load(path)
            pictures.check_size(*volume.shape)
            values = np.squeeze(np.asarray(volume.dataobj))
        elif name.endswith(".npy"):
            values = np.array(np.lib.format.open_memmap(path, mode="r"))  # no more than is in it
        else:
            image, _ = pictures.decoded(path.read_bytes())
            values = np.asarray(image.convert("RGB") if image.mode in ("P", "1") else image)
    except ImportError:
        raise
    except Exception as error:  # nibabel's have no class in common
        raise ValueError(f"{path.name}: cannot be read ({error})") from error
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path.name}: cannot be read (it holds {values.dtype}, no numbers)")
    return values


def as_tensor(pixels: NDArray[Any]) -> Tensor:
    """Grey or RGB pixels as (C, H, W) in [0, 1]; a fourth channel, opacity, is left out."""
    values = pixels.astype(np.float32) / MOST.get(str(pixels.dtype), 1.0)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(f"an image must be grey or RGB, got {pixels.shape}")
    colours = values[..., : 1 if values.shape[-1] < 3 else 3]
    return torch.from_numpy(np.ascontiguousarray(colours)).movedim(-1, 0)
