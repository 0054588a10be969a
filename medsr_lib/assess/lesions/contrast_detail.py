"""Contrast and detail: lesions put into normal tissue, and the smallest that is still detected.

Every lesion's detectability d' is an observer's, of `observers`: in HR, and in what each method
makes of it after a degradation.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess.lesions import insert
from medsr_lib.assess.lesions.observers import RESAMPLES, Observer, detectability
from medsr_lib.assess.quality.score import REFERENCE, Method, on_device


def contrast_detail(
    methods: Mapping[str, Method],
    images: Sequence[Tensor],
    normal_masks: Sequence[Tensor],
    *,
    patients: Sequence[Any],
    degrade: Method,
    diameters: Sequence[float],
    contrasts: Sequence[float],
    places_per_image: int,
    psf: float,
    seed: int,
    observer: Observer = "cho",
    shape: insert.Shape = "sphere",
    resamples: int = RESAMPLES,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Put lesions into normal tissue, degrade, restore, and measure how well they are detected.

    In every image some places are chosen, far enough apart for patches of 3 diameters (of the
    largest lesion, and its blur) not to overlap. All methods, diameters and contrasts share them,
    and every patch stands beside the same one without a lesion: differences are within backgrounds.
    d' need not grow with the diameter: in tissue whose power falls as steeply as anatomy's, the
    edges of a small lesion stand out more than a large one (Burgess et al. 2001,
    10.1118/1.1355308). Responses to real tissue have tails; where d' and AUC disagree, trust AUC.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, H, W) in [0, 1].
        images: (H, W) HR in [0, 1], of sizes that the scale divides (`images.centre_crop`).
        normal_masks: (H, W) bool; where lesions may lie. Lesions stay where they fit into [0, 1].
        patients: a label for each image; d' is held out, and its interval taken, by patient.
        degrade: HR -> LR.
        diameters: in HR pixels; also the width of the observer's channels.
        contrasts: intensity added, absolute, as in `insert.insert`.
        places_per_image: wanted; fewer where no more fit.
        psf: blur of the lesions in pixels, as in `insert.insert`. It decides the d' of HR: a
            lesion sharper than the images are is given away by frequencies they do not have.
        seed: of places, outlines and bootstrap.
        observer: "cho" or "npw".
        shape: of the lesions, "sphere" or "irregular".
        resamples: of the bootstrap.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        A row for each method, first `HR` itself, diameter and contrast: columns method, observer,
        shape, diameter, contrast, d, low, high, auc, backgrounds, images, patients, skipped (images
        in which no place was found).

    Raises:
        ValueError: nothing to measure, sequences of different lengths, a method called HR or one
            whose SR has a wrong size or values, fewer than 3 patients with a place.
    """
    _check_design(methods, images, normal_masks, patients, diameters, contrasts)
    signals = [(d, c) for d in diameters for c in contrasts]
    reach = max(diameters) * (insert.REACH if shape == "irregular" else 1)
    patch = 2 * math.ceil(1.5 * reach + 3 * psf) + 1
    cut: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (REFERENCE, *methods)}
    of_patch, used = [], []
    bar = tqdm(total=len(images), desc="lesions", unit="image", disable=not progress, leave=False)
    on = devices.choose(device)
    with on_device(methods, on), torch.inference_mode():
        for i, (image, normal) in enumerate(zip(images, normal_masks)):
            at = _places(image, normal, reach, patch, contrasts, places_per_image, [seed, i])
            bar.update()
            if not at:
                continue
            hr = _insert_all(image, at, signals, shape, psf, [seed, i]).to(on)
            for name, sr in _restored(methods, hr, degrade, i):
                cut[name].append(_cut(sr, at, patch))  # (1 + signals, places, P, P)
            of_patch += [str(patients[i])] * len(at)
            used.append(i)
    bar.close()
    if not used:
        raise ValueError(
            f"no lesion of {max(diameters)} pixels fits into any image's normal tissue"
        )
    measure = partial(
        detectability, groups=of_patch, observer=observer, seed=seed, resamples=resamples
    )
    rows = []
    for name, of_images in cut.items():
        absent, *with_signal = np.concatenate(of_images, 1)  # (N, P, P) each
        for (diameter, contrast), present in zip(signals, with_signal):
            found = measure(present, absent, width=diameter if observer == "cho" else None)
            rows.append(
                {"method": name, "observer": observer, "shape": shape}
                | {"diameter": diameter, "contrast": contrast}
                | {"d": found.value, "low": found.low, "high": found.high, "auc": found.auc}
                | {"backgrounds": found.backgrounds, "patients": found.groups}
                | {"images": len(used), "skipped": len(images) - len(used)}
            )
    return pd.DataFrame(rows)


def smallest_detectable(table: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """The smallest diameter that is detected, for each method and contrast of `contrast_detail`.

    Args:
        table: of `contrast_detail`.
        threshold: of d'. Not given here, as it is a convention: at 1 an observer that sees two
            images, one with a lesion, chooses the right one in 76 % (AUC = Phi(d' / sqrt 2)), at
            2 in 92 %; Rose's criterion of 1948 is a signal-to-noise ratio of 5.

    Returns:
        Columns method, contrast, diameter (NaN where none reaches the threshold), and d at it.

    Raises:
        ValueError: a threshold that is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    rows = []
    for (method, contrast), part in table.groupby(["method", "contrast"], sort=False):
        enough = part[part["d"] >= threshold].nsmallest(1, "diameter")
        diameter, d = enough[["diameter", "d"]].iloc[0] if len(enough) else (math.nan, math.nan)
        rows.append({"method": method, "contrast": contrast, "diameter": diameter, "d": d})
    return pd.DataFrame(rows)


def _places(
    image: Tensor,
    normal: Tensor,
    reach: float,
    patch: int,
    contrasts: Sequence[float],
    n: int,
    seed: Sequence[int],
) -> list[tuple[int, int]]:
    """Centres for lesions whose contrast fits into [0, 1] and whose patches do not overlap."""
    room = torch.zeros_like(normal)
    edge = patch // 2 - math.floor(reach / 2)  # `places` keeps the lesion inside, this the patch
    if min(normal.shape) > 2 * edge:
        room[edge:-edge, edge:-edge] = True
    fits = (image + max(contrasts) <= 1) & (image + min(contrasts) >= 0)
    try:
        apart = math.sqrt(2) * patch  # then even at a corner
        found = insert.places(
            image, normal & room & fits, n=n, diameter=reach, seed=seed, apart=apart
        )
    except ValueError:
        return []
    return found


def _insert_all(
    image: Tensor,
    at: Sequence[tuple[int, int]],
    signals: Sequence[tuple[float, float]],
    shape: insert.Shape,
    psf: float,
    seed: Sequence[int],
) -> Tensor:
    """The image without and with each signal at all places, (1 + signals, 1, H, W)."""
    found = [image]
    for diameter, contrast in signals:
        changed = image
        for k, centre in enumerate(at):
            changed, _ = insert.insert(
                changed,
                centre=centre,
                diameter=diameter,
                contrast=contrast,
                shape=shape,
                seed=[*seed, k],
                psf=psf,
            )
        found.append(changed)
    return torch.stack(found)[:, None]


def _restored(
    methods: Mapping[str, Method], hr: Tensor, degrade: Method, number: int
) -> Iterator[tuple[str, Tensor]]:
    """The images themselves, then every method's, by name."""
    yield REFERENCE, hr
    lr = degrade(hr)
    for name, method in methods.items():
        sr = method(lr)
        if sr.shape != hr.shape:
            raise ValueError(
                f"method {name!r}, image {number}: SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; "
                "crop images to multiples of the scale (images.centre_crop)"
            )
        image_rules.check(sr, f"method {name!r}, image {number}")
        yield name, sr


def _cut(sr: Tensor, at: Sequence[tuple[int, int]], patch: int) -> NDArray[np.float32]:
    """Patches (B, places, P, P) around the places."""
    half = patch // 2
    cut = [sr[:, 0, r - half : r + half + 1, c - half : c + half + 1] for r, c in at]
    return torch.stack(cut, 1).cpu().numpy()


def _check_design(
    methods: Mapping[str, Method],
    images: Sequence[Tensor],
    normal_masks: Sequence[Tensor],
    patients: Sequence[Any],
    diameters: Sequence[float],
    contrasts: Sequence[float],
) -> None:
    if REFERENCE in methods:
        raise ValueError(f"no method may be called {REFERENCE!r}: that is the reference's name")
    if not (methods and len(images) and len(diameters) and len(contrasts)):
        raise ValueError("give at least one method, image, diameter and contrast")
    if not len(images) == len(normal_masks) == len(patients):
        raise ValueError(
            f"got {len(images)} images, {len(normal_masks)} masks and {len(patients)} patients; "
            "there must be one of each per image"
        )
