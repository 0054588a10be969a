"""Contrast and detail: lesions put into normal tissue, and how well each is still detected.

The observer of `observers` responds to the places with a lesion and to the same ones without: in
HR, and in what each method makes of it after a degradation (`contrast_detail`). From its responses
come the detectability d' of every lesion (`detectability`) and what a method changes in it
(`differences`). For what no method can change, see `LIMIT`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

from medsr_lib import checks, devices
from medsr_lib.assess.lesions import insert, observers
from medsr_lib.assess.quality.regions import Tissue, of_case
from medsr_lib.assess.restored import Method, on_device, restored
from medsr_lib.assess.statistics.bootstrap import estimates
from medsr_lib.assess.statistics.estimate import adjust
from medsr_lib.case import Case

COLUMNS = ("id", "patient", "place", "method", "diameter", "contrast", "present", "absent")

LIMIT = (
    "No processing makes a lesion easier to detect for an ideal observer: all that LR tells of it "
    "is in LR (data-processing inequality), so that a higher d' means only that this observer, "
    "which sees no more than a few channels, gets at more of it."
)
"""What no method can do, in a sentence for those who read d'."""

KEYS = ["method", "diameter", "contrast"]
PLACE = ["patient", "id", "place"]
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
        ValueError: no diameter, contrast or place, or one out of range.
    """

    diameters: Sequence[float]
    contrasts: Sequence[float]
    places: int
    psf: float

    def __post_init__(self) -> None:
        checks.whole("places", self.places, least=1)
        diameters = checks.finite("diameters", self.diameters, ndim=1)
        contrasts = checks.finite("contrasts", self.contrasts, ndim=1)
        if not (diameters.size and contrasts.size):
            raise ValueError("give at least one diameter and one contrast")
        for diameter, contrast in self.signals:
            insert.check(diameter=diameter, contrast=contrast, psf=self.psf)

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
    tissue: Tissue = "brain",
    device: str = "auto",
) -> pd.DataFrame:
    """Put lesions into normal tissue, degrade, restore, and measure how well they are detected.

    In every case some places are chosen, far enough apart for patches of 3 diameters (of the
    largest lesion, and its blur) not to overlap. All methods, diameters and contrasts share them,
    and every patch is compared with the same one without a lesion: differences are within
    backgrounds. d' need not grow with the diameter: in tissue whose power falls as steeply as
    anatomy's, the edges of a small lesion stand out more than a large one (Burgess et al. 2001,
    10.1118/1.1355308).

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, H, W) in [0, 1].
        cases: with masks; cropped to what the scale divides. Lesions go into the region `normal`,
            where they fit into [0, 1]; the observer learns from other patients.
        design: the lesions.
        degrade: HR -> LR. Noise of a case is the same with each of its lesions and without.
        scale: of the degradation.
        seed: of the places.
        tissue: what `normal` is, as in `regions.regions`; masks of your own by case id.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        A row for each place, method (first `HR` itself), diameter and contrast: `COLUMNS`, of which
        present and absent are the observer's responses (`observers.responses`). Place is counted
        from 0 in each case; a case in which none was found has place -1 and responses NaN.

    Raises:
        TypeError, ValueError: what `restored.restored` refuses, images restored already in place of
            a function, a case without a mask, or fewer than 3 patients with a place.
    """
    checks.whole("seed", seed, least=0)
    cut: dict[str, list[NDArray[np.float32]]] = {}
    of_places: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    restore = partial(restored, degrade=degrade, scale=scale, device=device, progress=False)
    with on_device(methods.values(), devices.choose(device)):
        for i, case in enumerate(tqdm(cases, "lesions", unit="case", leave=False)):
            cropped = case.cropped(scale)
            made, at = inserted(cropped, design, seed=[seed, i], tissue=tissue)
            if not at:
                without.append({"id": case.id, "patient": case.patient, "place": -1})
                continue
            (batch,) = restore(methods, made, batch=len(made))
            for name, images in batch.images.items():
                cut.setdefault(name, []).append(_patches(images, at, design.patch))
            about = {"id": case.id, "patient": case.patient}
            of_places += [about | {"place": place} for place in range(len(at))]
    if not of_places:
        raise ValueError(
            f"no lesion of {max(design.diameters)} pixels fits into any case's normal tissue"
        )
    backgrounds, skipped = pd.DataFrame(of_places), pd.DataFrame(without)
    patients = backgrounds["patient"].tolist()
    parts = []
    for name, of_cases in cut.items():
        absent, *with_signal = np.concatenate(of_cases, 1)  # (N, P, P) each
        for (diameter, contrast), present in zip(design.signals, with_signal):
            t1, t0 = observers.responses(present, absent, groups=patients, width=diameter)
            both = pd.concat([backgrounds.assign(present=t1, absent=t0), skipped])
            parts.append(both.assign(method=name, diameter=diameter, contrast=contrast))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def inserted(
    case: Case, design: Design, *, seed: Sequence[int], tissue: Tissue = "brain"
) -> tuple[list[Case], Centres]:
    """What `contrast_detail` measures of a case: without any lesion, then with each at all places.

    Args:
        case: of a size that the scale divides (`Case.cropped`).
        design: the lesions, in the order of `Design.signals`.
        seed: that of `contrast_detail`, and the number of the case there, from 0.
        tissue: where lesions may lie.

    Returns:
        The cases, and the centres (row, column) of the places; none where none fits.
    """
    at = _places(case, design, seed, tissue)
    made = [case]
    for diameter, contrast in design.signals:
        image = case.image
        for centre in at:
            image = insert.insert(
                image, centre=centre, diameter=diameter, contrast=contrast, psf=design.psf
            )
        made.append(case.altered(image, "lesions put in"))
    return made, at


def detectability(responses: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """How well every lesion is detected in HR and in what each method makes of it.

    To compare methods, do not look whether these intervals overlap, but at `differences`. Responses
    to real tissue have tails; where d' and AUC disagree, trust AUC.

    Args:
        responses: of `contrast_detail`.
        seed: of the bootstrap.

    Returns:
        A row for each method, diameter and contrast: d (d'), low, high (its 95 % interval over
        patients, `observers.detectability`), auc, backgrounds, cases, patients and skipped, which
        counts the cases in which no place was found.

    Raises:
        ValueError: no such table.
    """
    checks.columns(responses, *COLUMNS)
    rows = []
    for keys, of_lesion in responses.groupby(KEYS, sort=False):
        kept = of_lesion.dropna(subset=["present", "absent"])
        d, auc = observers.detectability(
            kept["present"], kept["absent"], groups=kept["patient"].tolist(), seed=seed
        )
        found: dict[str, Any] = {"d": d.value, "low": d.low, "high": d.high, "auc": auc}
        used, all_cases = kept["id"].nunique(), of_lesion["id"].nunique()
        found |= {"backgrounds": len(kept), "cases": used, "patients": d.patients}
        rows.append(dict(zip(KEYS, keys)) | found | {"skipped": all_cases - used})
    return pd.DataFrame(rows)


def differences(responses: pd.DataFrame, *, baseline: str, seed: int) -> pd.DataFrame:
    """How much easier each lesion is to detect than in a baseline, on the same backgrounds.

    The difference of d' is taken apart by patient (`observers.pseudo_values`); interval and p are
    those of `bootstrap.estimates` over patients, Holm's correction is over the whole table. What
    learning the template adds is left out, as in d' itself.

    Args:
        responses: of `contrast_detail`.
        baseline: a method, such as "bicubic".
        seed: of bootstrap and sign flips.

    Returns:
        A row for each other method (HR too), diameter and contrast: baseline, backgrounds, value
        (d' of the method minus that of the baseline), low, high (95 %), p, patients, p_adjusted.

    Raises:
        ValueError: no such table or baseline, no other method, or backgrounds that differ from
            those of the baseline.
    """
    checks.columns(responses, *COLUMNS)
    kept = responses.dropna(subset=["present", "absent"])
    lesions = {keys: of.sort_values(PLACE) for keys, of in kept.groupby(KEYS, sort=False)}
    known = list(dict.fromkeys(method for method, *_ in lesions))
    if baseline not in known or len(known) < 2:
        raise ValueError(f"no other methods to compare with {baseline!r}; there are {known}")
    rows, samples = [], []
    for (method, *lesion), ours in lesions.items():
        if method == baseline:
            continue
        theirs = lesions.get((baseline, *lesion))
        if theirs is None or not np.array_equal(ours[PLACE], theirs[PLACE]):
            raise ValueError(
                f"{method} and {baseline} were not measured at the same places for a lesion of "
                f"diameter {lesion[0]} and contrast {lesion[1]}"
            )
        groups = ours["patient"].tolist()
        a, b = (
            observers.pseudo_values(of["present"], of["absent"], groups=groups)
            for of in (ours, theirs)
        )
        samples.append(a - b)
        names = {"method": method, "baseline": baseline, **dict(zip(KEYS[1:], lesion))}
        rows.append(names | {"backgrounds": len(ours)})
    found = [
        row | {name: getattr(e, name) for name in ("value", "low", "high", "p", "patients")}
        for row, e in zip(rows, estimates(samples, seed=seed))
    ]
    table = pd.DataFrame(found)
    return table.assign(p_adjusted=adjust(table["p"]))


def _places(
    case: Case, design: Design, seed: Sequence[int], tissue: Tissue
) -> list[tuple[int, int]]:
    """Centres for lesions in normal tissue, where `insert` takes them: the discs in `normal`, their
    blurred edges in the image and where the contrast fits into [0, 1], their patches apart."""
    normal = of_case(case, ("normal",), tissue=tissue)["normal"]
    diameter = max(design.diameters)
    changed = insert.reach(diameter, design.psf)
    # `insert.places` keeps the disc inside the image, this the patch and all that is changed.
    edge = max(design.patch // 2, changed) - math.floor(diameter / 2)
    room = torch.zeros_like(normal)
    if min(normal.shape) > 2 * edge:
        room[edge:-edge, edge:-edge] = True
    lightest, darkest = case.image + max(design.contrasts), case.image + min(design.contrasts)
    clipped = ((lightest > 1) | (darkest < 0)).cpu().numpy()
    if design.psf and clipped.any():  # beyond the disc, its blur goes on
        clipped = ndimage.distance_transform_edt(~clipped) <= changed - diameter / 2
    apart = math.sqrt(2) * design.patch  # then they do not overlap even at a corner
    fits = normal & room & ~torch.from_numpy(clipped)
    return insert.places(fits, n=design.places, diameter=diameter, apart=apart, seed=seed)


def _patches(images: Tensor, at: Centres, side: int) -> NDArray[np.float32]:
    """Squares of images (B, 1, H, W) around the places, (B, places, P, P)."""
    half = side // 2
    cut = [images[:, 0, r - half : r + half + 1, c - half : c + half + 1] for r, c in at]
    return torch.stack(cut, 1).cpu().numpy()
