"""Where a classifier looks: Grad-CAM maps, how far they move, and how much lies on the lesion."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medsr_lib import images as image_rules
from medsr_lib.assess.decisions.readers import Network

Array = NDArray[np.floating]


BATCH = 32  # images at a time


def gradcam(features: Network, head: Network, images: Tensor, *, target: int) -> Tensor:
    """Where in each image a class is seen: Grad-CAM, (N, H, W), not negative.

    Selvaraju et al. 2017 (arXiv 1610.02391, equations 1 and 2): each channel A_k of the features
    weighs the mean over places of its gradient d y / d A_k, and the map is ReLU(sum_k w_k A_k),
    brought to the size of the image by bilinear interpolation. y is the log-odds of the class,
    y = logit - log sum exp of the others, so that what speaks against the others counts too.

    A map tells where, not why; it is coarse, and two networks that decide alike may have other
    maps. Where nothing speaks for the class, it is 0 all over.

    Args:
        features: images (B, 1, H, W) -> activations A (B, C, h, w): the first part of a classifier
            in evaluation mode, such as `LesionClassifier.last_features`.
        head: A -> logits (B, K): the second part, such as `LesionClassifier.head`.
        images: (N, 1, H, W) float in [0, 1], on the classifier's device.
        target: the class, its place among the logits.

    Raises:
        TypeError, ValueError: invalid images, or no such class.
    """
    image_rules.check(images)
    maps = []
    for part in images.split(BATCH):
        with torch.no_grad():
            A = features(part)
        A = A.detach().requires_grad_()
        with torch.enable_grad():
            logits = head(A)
            if not 0 <= target < logits.shape[1]:
                raise ValueError(f"target {target} is not one of the {logits.shape[1]} classes")
            others = [k for k in range(logits.shape[1]) if k != target]
            y = logits[:, target] - logits[:, others].logsumexp(1)
            (gradient,) = torch.autograd.grad(y.sum(), A)
        w = gradient.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        cam = torch.relu((w * A.detach()).sum(1, keepdim=True))  # (B, 1, h, w)
        size = part.shape[-2:]
        maps.append(F.interpolate(cam, size, mode="bilinear", align_corners=False)[:, 0])
    return torch.cat(maps)


def map_similarity(maps: Tensor, reference: Tensor) -> pd.DataFrame:
    """How similar other maps of the same images are to the reference's, a row per image.

    Returns:
        correlation, Pearson's over pixels, and shift, how far the centre of mass moved, in pixels;
        NaN where one of the maps is 0 all over, correlation also where one is constant.

    Raises:
        ValueError: shapes that differ, or maps that are negative or not finite.
    """
    a, b = _as_maps(maps, "maps"), _as_maps(reference, "reference")
    if a.shape != b.shape:
        raise ValueError(f"maps are {a.shape}, those of the reference {b.shape}")
    centres = _centres(a) - _centres(b)
    x, y = (v.reshape(len(v), -1) for v in (a, b))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        r = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return pd.DataFrame({"correlation": r, "shift": np.hypot(*centres.T)})


def similarity_of_others(maps: Tensor, patients: Sequence[object]) -> pd.DataFrame:
    """`map_similarity` of each map to that of the next image of another patient: its zero line.

    Maps of different patients are alike, too, because organs lie where they lie: on radiographs
    they correlated by 0.59 to 0.75. Only what lies above shows that the same is looked at.

    Args:
        maps: (N, H, W), none of them negative.
        patients: N, whose image it is.

    Raises:
        ValueError: one patient only, another number of patients, or as `map_similarity`.
    """
    who, n = list(patients), len(maps)
    if len(who) != n or len(set(who)) < 2:
        raise ValueError(
            f"expected a patient for each of {n} maps, and two patients or more; got {len(who)}, "
            f"{len(set(who))} of them different"
        )
    round_trip = (range(i + 1, i + n) for i in range(n))
    other = [
        next(j % n for j in ahead if who[j % n] != who[ahead.start - 1]) for ahead in round_trip
    ]
    return map_similarity(maps[other], maps)


def lesion_overlap(maps: Tensor, masks: Tensor) -> pd.DataFrame:
    """How much of each map lies on the lesion, a row per image.

    Returns:
        share, of the map's sum inside the mask; area, the mask's share of the image: what a map
        that knows nothing has inside; hit, 1 where the map's highest pixel lies inside (the
        pointing game of Zhang et al. 2018, IJCV 126:1084), else 0. NaN where the map is 0 all over
        or the mask empty.

    Raises:
        TypeError, ValueError: masks that are not bool or of another shape, or maps as in
            `map_similarity`.
    """
    a = _as_maps(maps, "maps")
    if masks.dtype != torch.bool:
        raise TypeError(f"masks: expected bool, got {masks.dtype}")
    m = masks.cpu().numpy()
    if m.shape != a.shape:
        raise ValueError(f"maps are {a.shape}, masks {m.shape}")
    a, m = a.reshape(len(a), -1), m.reshape(len(m), -1)
    known = (a.sum(1) > 0) & m.any(1)
    with np.errstate(invalid="ignore"):
        share = (a * m).sum(1) / a.sum(1)
    hit = m[np.arange(len(a)), a.argmax(1)].astype(float)
    found = pd.DataFrame({"share": share, "area": m.mean(1), "hit": hit})
    return found.where(pd.Series(known), axis=0)


def _as_maps(maps: Tensor, name: str) -> Array:
    found = maps.detach().cpu().double().numpy()
    if found.ndim != 3:
        raise ValueError(f"{name}: expected (N, H, W), got {found.shape}")
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(f"{name}: hold NaN, infinite or negative values")
    return found


def _centres(maps: Array) -> Array:
    """Row and column of each map's centre of mass, (N, 2)."""
    total = maps.sum((1, 2))
    rows, columns = (np.arange(n) for n in maps.shape[1:])
    with np.errstate(invalid="ignore"):
        return np.stack(
            [(maps.sum(2) * rows).sum(1) / total, (maps.sum(1) * columns).sum(1) / total], 1
        )
