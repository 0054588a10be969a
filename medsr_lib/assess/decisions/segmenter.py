"""Do outlines change? What a fixed segmenter finds, loses and invents on SR and on HR."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medsr_lib import checks
from medsr_lib.assess.decisions import readers
from medsr_lib.assess.decisions.readers import ABOUT, Network
from medsr_lib.assess.quality.regions import RIM
from medsr_lib.assess.restored import REFERENCE

Mask = NDArray[np.bool_]

_TOUCHING = np.ones((3, 3))  # pixels that share a corner belong to one component


def segment(
    segmenter: Network,
    images: Mapping[str, Tensor],
    masks: Tensor,
    cases: pd.DataFrame,
    *,
    min_dice: float,
    min_pixels: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Have a segmenter outline the lesion in the same cases, as each method shows them.

    A lesion is found if the Dice of outline and expert's mask is `min_dice` or more. An invented
    lesion is a component of the outline (pixels that share an edge or a corner) of `min_pixels` or
    more, all of which lie farther than 5 pixels (`regions.RIM`) from the mask. Some of them may be
    true: experts outline one lesion, and an image may hold another. `new` counts those that share
    no pixel with HR's outline, hence are not seen on HR.

    Args:
        segmenter: images (B, 1, H, W) -> logits (B, 1, H, W), a lesion where they are above 0; a
            network is put into evaluation mode, and stays on the device it was on. Not one trained
            on these patients.
        images: method -> (N, 1, H, W) in [0, 1]; "HR" among them.
        masks: (N, 1, H, W) bool, the expert's; may be empty.
        cases: a row per image, in their order: columns id, patient, label; others are left.
        min_dice: above 0 and at most 1; 0.5, for example.
        min_pixels: of an invented lesion, at the size of these images.
        device: "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        Columns id, patient, label, method, region ("tumour"), then numbers: mask_pixels; pixels (of
        the outline); dice; covered (the share of the mask in the outline); invented and new
        (numbers of lesions); found; lost and gained, whether it was found on HR alone, or here
        alone (each 0 or 1). Where the mask is empty, dice, covered, found, lost and gained are NaN.

    Raises:
        TypeError, ValueError: a segmenter that was trained on one of the cases, where they have a
            column digest; methods without HR or of images that do not belong to `cases` or to
            the masks, a least Dice or size out of range, logits of another shape or not finite.
    """
    readers.check_images(segmenter, images, cases)
    if masks.dtype != torch.bool:
        raise TypeError(f"masks: expected bool, got {masks.dtype}")
    if masks.shape != images[REFERENCE].shape:
        size = tuple(images[REFERENCE].shape)
        raise ValueError(f"images are {size}, but masks {tuple(masks.shape)}")
    if not 0 < min_dice <= 1:
        raise ValueError(f"min_dice must be above 0 and at most 1, got {min_dice}")
    checks.whole("min_pixels", min_pixels, least=1)
    shape = tuple(masks.shape[1:])
    logits = readers.answers(segmenter, images, shape=shape, batch=8, device=device)
    outlines = {method: (z[:, 0] > 0).numpy() for method, z in logits.items()}
    expert = masks[:, 0].cpu().numpy()
    far = [ndimage.distance_transform_edt(~m) > RIM if m.any() else ~m for m in expert]
    numbers = {}
    for method, of_method in outlines.items():
        four = zip(of_method, expert, far, outlines[REFERENCE])
        table = pd.DataFrame([_compare(*each, min_pixels) for each in four])
        found = (table["dice"] >= min_dice).astype(float).where(table["dice"].notna())
        numbers[method] = table.assign(found=found)
    before = numbers[REFERENCE]["found"]
    tables = []
    for method, measured in numbers.items():
        now = measured["found"]
        about = cases[ABOUT].reset_index(drop=True).assign(method=method, region="tumour")
        tables.append(
            about.join(measured).assign(lost=before * (1 - now), gained=(1 - before) * now)
        )
    return pd.concat(tables, ignore_index=True)


def segment_summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per method of what `segment` gave.

    Returns:
        Index method; columns cases, patients, lesions (cases whose mask is not empty), dice (mean),
        dice_difference (from HR, the mean over cases), found, lost, gained (numbers of cases), p of
        McNemar's exact test that lesions are lost as often as gained (NaN for HR and below 8
        patients), invented, new (numbers of lesions), cases_invented (cases with any).

    The test takes cases as independent. Where a patient has several, prefer
    `statistics.paired_difference` of `found`, whose p is over patients.

    Raises:
        ValueError: a table without HR.
    """
    readers.check_reference(table["method"].unique(), REFERENCE)
    before = table[table["method"] == REFERENCE].set_index("id")["dice"]
    rows = []
    for method, of in table.groupby("method", sort=False, observed=True):
        lost, gained = int(of["lost"].sum()), int(of["gained"].sum())
        p = readers.flip_test(lost, gained, patients=of["patient"].nunique())
        row = {
            "method": str(method),
            "cases": len(of),
            "patients": of["patient"].nunique(),
            "lesions": int(of["found"].count()),
            "dice": of["dice"].mean(),
            "dice_difference": (of.set_index("id")["dice"] - before).mean(),
            "found": int(of["found"].sum()),
            "lost": lost,
            "gained": gained,
            "p": np.nan if method == REFERENCE else p,
            "invented": int(of["invented"].sum()),
            "new": int(of["new"].sum()),
            "cases_invented": int((of["invented"] > 0).sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def _compare(
    outline: Mask, mask: Mask, far: Mask, on_reference: Mask, min_pixels: int
) -> dict[str, float]:
    """The numbers of one case and method, all masks (H, W)."""
    n, m, both = int(outline.sum()), int(mask.sum()), int((outline & mask).sum())
    invented = _invented(outline, far, min_pixels)
    return {
        "mask_pixels": m,
        "pixels": n,
        "dice": 2 * both / (n + m) if m else np.nan,
        "covered": both / m if m else np.nan,
        "invented": len(invented),
        "new": sum(not (component & on_reference).any() for component in invented),
    }


def _invented(outline: Mask, far: Mask, min_pixels: int) -> list[Mask]:
    """The components that lie wholly in `far` and are large enough, (H, W) each."""
    labels, n = ndimage.label(outline, structure=_TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    near = set(np.unique(labels[~far]).tolist())
    return [labels == k for k in range(1, n + 1) if k not in near and sizes[k] >= min_pixels]
