"""Contrast and detail: lesions put into normal tissue, and how well each is still detected.

Every lesion's detectability d' is that of the observer in `observers`: in HR, and in what each
method makes of it after a degradation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib.assess.lesions import insert
from medsr_lib.assess.lesions.observers import detectability
from medsr_lib.assess.quality.regions import of_case
from medsr_lib.assess.restored import Method, on_device, restored
from medsr_lib.case import Case

COLUMNS = (
    *("method", "diameter", "contrast", "d", "low", "high", "auc"),
    *("backgrounds", "cases", "patients", "skipped"),
)
Centres = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Design:
    """Which lesions are put into each case: every diameter at every contrast, at the same places.

    Attributes:
        diameters: in HR pixels; also the width of the observer's channels.
        contrasts: intensity added, absolute, as in `insert.insert`.
        places: wanted in each case; fewer where no more fit.
        psf: blur of the lesions in pixels, as in `insert.insert`. It decides the d' of HR: a lesion
            sharper than the images are is revealed by frequencies they do not have.

    Raises:
        ValueError: no diameter or no contrast.
    """

    diameters: Sequence[float]
    contrasts: Sequence[float]
    places: int
    psf: float

    def __post_init__(self) -> None:
        if not (len(self.diameters) and len(self.contrasts)):
            raise ValueError("give at least one diameter and one contrast")

    @property
    def signals(self) -> list[tuple[float, float]]:
        """Diameter and contrast of each lesion."""
        return list(product(self.diameters, self.contrasts))

    @property
    def patch(self) -> int:
        """Side of the square around a lesion that the observer sees, in pixels: 3 diameters."""
        return 2 * math.ceil(1.5 * max(self.diameters) + 3 * self.psf) + 1


def contrast_detail(
    methods: Mapping[str, Method],
    cases: Sequence[Case],
    design: Design,
    *,
    degrade: Method,
    scale: int,
    seed: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Put lesions into normal tissue, degrade, restore, and measure how well they are detected.

    In every case some places are chosen, far enough apart for patches of 3 diameters (of the
    largest lesion, and its blur) not to overlap. All methods, diameters and contrasts share them,
    and every patch is compared with the same one without a lesion: differences are within
    backgrounds. d' need not grow with the diameter: in tissue whose power falls as steeply as
    anatomy's, the edges of a small lesion stand out more than a large one (Burgess et al. 2001,
    10.1118/1.1355308). Responses to real tissue have tails; where d' and AUC disagree, trust AUC.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, H, W) in [0, 1].
        cases: with masks; cropped to what the scale divides. Lesions go into the region `normal`,
            where they fit into [0, 1]; d' is held out, and its interval taken, by patient.
        design: the lesions.
        degrade: HR -> LR.
        scale: of the degradation.
        seed: of places and bootstrap.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        A row for each method, first `HR` itself, diameter and contrast: `COLUMNS`, of which skipped
        counts the cases in which no place was found.

    Raises:
        TypeError, ValueError: what `restored.restored` refuses, images restored already in place of
            a function, a case without a mask, or fewer than 3 patients with a place.
    """
    cut: dict[str, list[NDArray[np.float32]]] = {}
    patients: list[str] = []
    used = 0
    restore = partial(restored, degrade=degrade, scale=scale, device=device, progress=False)
    with on_device(methods.values(), devices.choose(device)):
        for i, case in enumerate(tqdm(cases, "lesions", unit="case", leave=False)):
            cropped = case.cropped(scale)
            at = _places(cropped, design, [seed, i])
            if not at:
                continue
            made = _with_lesions(cropped, at, design)
            (batch,) = restore(methods, made, batch=len(made))
            for name, images in batch.images.items():
                cut.setdefault(name, []).append(_patches(images, at, design.patch))
            patients += [case.patient] * len(at)
            used += 1
    if not used:
        raise ValueError(
            f"no lesion of {max(design.diameters)} pixels fits into any case's normal tissue"
        )
    rows = []
    for name, of_cases in cut.items():
        absent, *with_signal = np.concatenate(of_cases, 1)  # (N, P, P) each
        for (diameter, contrast), present in zip(design.signals, with_signal):
            d, auc = detectability(present, absent, groups=patients, width=diameter, seed=seed)
            found = (d.value, d.low, d.high, auc, d.cases, used, d.patients, len(cases) - used)
            rows.append((name, diameter, contrast, *found))
    return pd.DataFrame(rows, columns=COLUMNS)


def _places(case: Case, design: Design, seed: Sequence[int]) -> list[tuple[int, int]]:
    """Centres for lesions whose contrast fits into [0, 1] and whose patches do not overlap."""
    normal = of_case(case, ("normal",))["normal"]
    diameter = max(design.diameters)
    room = torch.zeros_like(normal)
    # `insert.places` keeps the lesion inside the image, this the patch.
    edge = design.patch // 2 - math.floor(diameter / 2)
    if min(normal.shape) > 2 * edge:
        room[edge:-edge, edge:-edge] = True
    lightest, darkest = case.image + max(design.contrasts), case.image + min(design.contrasts)
    fits = (lightest <= 1) & (darkest >= 0)
    apart = math.sqrt(2) * design.patch  # then they do not overlap even at a corner
    return insert.places(
        normal & room & fits, n=design.places, diameter=diameter, apart=apart, seed=seed
    )


def _with_lesions(case: Case, at: Centres, design: Design) -> list[Case]:
    """The case without any, and with each lesion at all places."""
    made = [case]
    for diameter, contrast in design.signals:
        image = case.image
        for centre in at:
            image = insert.insert(
                image, centre=centre, diameter=diameter, contrast=contrast, psf=design.psf
            )
        made.append(case.altered(image, "lesions put in"))
    return made


def _patches(images: Tensor, at: Centres, side: int) -> NDArray[np.float32]:
    """Squares of images (B, 1, H, W) around the places, (B, places, P, P)."""
    half = side // 2
    cut = [images[:, 0, r - half : r + half + 1, c - half : c + half + 1] for r, c in at]
    return torch.stack(cut, 1).cpu().numpy()
