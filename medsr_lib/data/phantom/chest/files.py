"""Synthetic chest radiographs in the folders, names and files of *Chest X-Ray Images (Pneumonia)*.

What the other files here draw is written with the flaw of the original: files of PNEUMONIA are
smaller, wider and more compressed than those of NORMAL, so that the files reveal the class. Beside
the radiographs lies what the original lacks, the masks of the opacities.
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medsr_lib import checks, pictures
from medsr_lib.data.chest_xray import LABELS, MASKS, SPLITS
from medsr_lib.data.phantom import files
from medsr_lib.data.phantom.chest.chest import make_chest
from medsr_lib.data.phantom.chest.opacity import make_opacity
from medsr_lib.data.phantom.chest.picture import draw
from medsr_lib.files import atomic

VERSION = 2  # of the drawing: a folder drawn by another one is not taken for the same phantom
EMBEDDED_CHEST = {"patients": 50, "seed": 0}  # what notebooks run on by default: 17 tested
# Of one patient after the other. The original's images: 27 %, 47 % and 26 %.
KINDS = ("normal", "bacteria", "virus", "normal", "bacteria")
# Of the JPEG files; estimated of nearly all files of the original (`jpeg.quality_of`).
QUALITY = {"NORMAL": 96, "PNEUMONIA": 75}
# Height as a share of `size`, and width over height, from and to. In the development sample the
# medians are 1300 and 751 pixels, 1.21 and 1.47.
_HEIGHT = {"NORMAL": (0.78, 1.0), "PNEUMONIA": (0.54, 0.74)}
_ASPECT = {"NORMAL": (1.06, 1.38), "PNEUMONIA": (1.26, 1.7)}
_COLOURED = 12  # one file of PNEUMONIA in so many has three equal channels
_LEAST = {"patients": 5, "seed": 0, "size": 96}  # 5 patients: both classes in both splits


@dataclass(frozen=True)
class Exposure:
    """One radiograph to draw."""

    person: int
    number: int  # of this patient's, from 0
    kind: str  # "normal", "bacteria" or "virus"
    split: str
    label: str
    name: str  # without its ending


def write_chest_xray(
    root: str | os.PathLike[str],
    *,
    patients: int,
    seed: int,
    size: int = 460,
    progress: files.Progress = files.bar,
) -> Path:
    """Write synthetic radiographs as `root/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg`.

    Two patients in five are normal, two have bacterial and one viral pneumonia; one in three of
    each is in `test`. Some have several images. A patient's images do not depend on how many other
    patients there are. `root/masks/<name>.png` shows the opacity of each PNEUMONIA image in white;
    `chest_xray.read_image` reads it. A folder that holds this phantom already is left as it is;
    nothing of one that was interrupted is left behind.

    Args:
        root: folder to write; made when missing.
        patients: number of patients, 5 or more.
        seed: the same seed gives the same images.
        size: height of the largest images in pixels, 96 or more; those of PNEUMONIA are smaller.
        progress: as in `files.write`.

    Returns:
        `root` as a path.

    Raises:
        ValueError: an argument that is out of range.
        FileExistsError: the folder holds other files, or not all of the phantom.
    """
    recipe = {"patients": patients, "seed": seed, "size": size}
    for name, value in recipe.items():
        checks.whole(name, value, least=_LEAST[name])
    root, recipe = Path(root), {"chest phantom": VERSION, **recipe}
    title = "medsr chest phantom " + " ".join(str(value) for value in recipe.values())

    def jobs(folder: Path) -> dict[Path, files.Job]:
        write = partial(_write, masks=folder / MASKS, seed=seed, size=size, title=title)
        paths = ((s, folder / s.split / s.label / f"{s.name}.jpeg") for s in exposures(patients))
        return {path: partial(write, shot, path) for shot, path in paths}

    files.write(root, recipe, jobs, progress)
    return root


def exposures(patients: int) -> list[Exposure]:
    """The radiographs of a phantom in order of patients."""
    shots, of_kind = [], dict.fromkeys(KINDS, 0)
    for person in range(patients):
        kind = KINDS[person % len(KINDS)]
        turn = of_kind[kind]
        of_kind[kind] += 1
        split = SPLITS[2] if turn % 3 == 1 else SPLITS[0]
        ill = kind != "normal"
        count = ((1, 2, 2, 3) if ill else (1, 1, 1, 2))[turn % 4]
        for number in range(count):
            # As in the original, some have had both kinds.
            other = "virus" if kind == "bacteria" else "bacteria"
            shown = other if ill and turn % 4 == 2 and number else kind
            name = _name(person, number, shown)
            shots.append(Exposure(person, number, shown, split, LABELS[ill], name))
    return shots


def _name(person: int, number: int, kind: str) -> str:
    if kind != "normal":
        return f"person{person + 1}_{kind}_{4 * person + number + 1}"
    delivery = "NORMAL2-" if person % 2 else ""
    return f"{delivery}IM-{115 + person:04d}-0001" + (f"-{number + 1:04d}" if number else "")


def _draw(shot: Exposure, *, seed: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The radiograph (H, W) and its mask; all of a patient's show one chest."""
    person = np.random.default_rng([seed, shot.person, 1])
    chest = make_chest(person)
    own = np.random.default_rng([seed, shot.person, 2, shot.number])
    height = round(size * own.uniform(*_HEIGHT[shot.label]))
    shape = (height, round(height * own.uniform(*_ASPECT[shot.label])))
    opacity, course = None, float(own.uniform(0.85, 1.1))  # it grows or heals
    if shot.kind != "normal":
        ill = np.random.default_rng([seed, shot.person, 3])
        opacity = make_opacity(shot.kind, chest, ill)
        opacity = replace(opacity, density=opacity.density * course)
    return draw(chest, opacity, shape=shape, rng=own)


# --- files ---------------------------------------------------------------------------------------


def _write(shot: Exposure, path: Path, masks: Path, *, seed: int, size: int, title: str) -> None:
    pixels, mask = _draw(shot, seed=seed, size=size)
    picture = Image.fromarray(pixels)
    if shot.kind != "normal":  # the mask first, so that no radiograph is without
        with atomic(masks / f"{shot.name}.png") as temporary:
            temporary.write_bytes(pictures.encoded(Image.fromarray(mask), "PNG"))
        if shot.person % _COLOURED == 1:
            picture = Image.merge("RGB", [picture] * 3)
    how = {"quality": QUALITY[shot.label], "comment": title.encode()}
    with atomic(path) as temporary:
        temporary.write_bytes(pictures.encoded(picture, "JPEG", **how))
