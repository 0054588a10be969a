"""What a radiologist would see change: brightness, contrast, sharpness, texture, size and shape.

`measure` takes one slice, `appearance` every case and method. Lengths are in pixels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medsr_lib.assess.fidelity import invention
from medsr_lib.assess.fidelity.texture import TEXTURE, texture
from medsr_lib.assess.quality.metrics import check_mask, check_pair
from medsr_lib.assess.quality.regions import Tissue, bounding_box, of_case
from medsr_lib.assess.quality.score import MIN_PIXELS, about
from medsr_lib.assess.restored import Method, restored
from medsr_lib.case import Case

LOG_SIZE, LOG_SIGMA = 15, 1.5  # pixels; Ravishankar & Bresler 2011
NO_DETAIL = 1e-9  # norm of filtered intensities in [0, 1]; rounding leaves less

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

REGIONS = ("tumour", "matched")  # of the table; `tumour` is measured with its border
EXTENT = ("area_hr", "area_sr", "area_ratio", "centroid_shift", "area_dice")

MEASURES: dict[str, tuple[str, str]] = {  # name -> (unit, meaning), of `measure`
    "pixels": ("pixel", "area of the tumour's mask"),
    "brightness_shift": ("intensity", "mean of SR less mean of HR in the tumour"),
    "brightness_shift_sd": ("1", "the same in standard deviations of HR in the tumour"),
    "contrast_hr": ("intensity", "mean of the tumour less mean of its surroundings, in HR"),
    "contrast_sr": ("intensity", "the same in SR"),
    "cnr_hr": (
        "1",
        "contrast-to-noise ratio |mean_t - mean_s| / sd_s of tumour and surroundings, in HR",
    ),
    "cnr_sr": ("1", "the same in SR"),
    "cnr_change": ("1", "cnr_sr less cnr_hr"),
    "sharpness_hr": ("intensity/pixel", "mean gradient magnitude in the rim, in HR"),
    "sharpness_sr": ("intensity/pixel", "the same in SR"),
    "sharpness_change": ("1", "sharpness_sr / sharpness_hr - 1"),
    "hfen": ("1", "high-frequency error norm in the tumour"),
    "hfen_rim": ("1", "high-frequency error norm in the rim"),
    "area_hr": ("pixel", "area of the tumour as a fixed threshold sees it, in HR"),
    "area_sr": ("pixel", "the same in SR"),
    "area_ratio": ("1", "area_sr / area_hr"),
    "centroid_shift": ("pixel", "distance of the centroids of these two areas"),
    "area_dice": ("1", "overlap of these two areas: 2 |A and B| / (|A| + |B|)"),
} | {
    f"{name}_{image}": (unit, f"IBSI {code}, in {image.upper()} in the tumour")
    for name, (unit, code) in TEXTURE.items()
    for image in ("hr", "sr")
}


@torch.inference_mode()
def appearance(
    methods: Mapping[str, Method],
    cases: Sequence[Case],
    *,
    degrade: Method,
    upsample: Method,
    scale: int,
    tissue: Tissue = "brain",
    device: str = "auto",
) -> pd.DataFrame:
    """Restore every case by every method, and measure appearance and invention in two regions.

    HR itself is in the table as a method whose changes are 0, so that `statistics.contrasts` with
    the baseline "HR" gives the change from HR, and with the reference region "matched" the change
    in the tumour minus that in comparable tissue.

    Args:
        methods: name -> LR (B, 1, h, w) -> SR (B, 1, H, W) in [0, 1].
        cases: with masks; cropped to what the scale divides.
        degrade: HR -> LR.
        upsample: LR -> HR's size, the interpolation that invention is measured against.
        scale: of the degradation.
        tissue: where "matched" lies, as in `regions.regions`; masks of your own by case id.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        Columns id, patient, label, fold, method, region ("tumour" and "matched"), those of
        `MEASURES` (NaN in "matched" where they need a border), consistency (mean |degrade(SR) -
        LR|, intensity; SR is degraded without noise, so that HR's is the noise in LR), those of
        `invention.Shares` (HR is all improvement, the interpolation all omission, by construction)
        and of `invention.Additions`. What cannot be measured is NaN, such as all of "matched" where
        no normal tissue is left; `statistics` counts it as skipped.

    Raises:
        TypeError, ValueError: what `restored.restored` refuses, or a case without a mask (names the
            case).
    """
    clean = getattr(degrade, "clean", degrade)
    rows: list[dict[str, Any]] = []
    for batch in restored(methods, cases, degrade=degrade, scale=scale, device=device):
        (case,), hr = batch.cases, batch.hr[0, 0].cpu()
        found = of_case(case, ("tumour", "rim", "peritumoural", "matched"), tissue=tissue)
        seen = {"tumour": found, "matched": {"tumour": found["matched"]}}
        masks = {region: found[region].to(batch.hr.device) for region in REGIONS}
        for name, sr in batch.images.items():
            gap = invention.data_consistency(sr, batch.lr, degrade=clean)
            gaps = invention.region_means(gap, masks)
            images = (sr, batch.hr, batch.lr, masks)
            shares = invention.region_shares(*images, upsample=upsample)
            additions = invention.region_additions(*images, upsample=upsample)
            for region in REGIONS:
                row = about(case) | {"method": name, "region": region}
                row |= measure(sr[0, 0].cpu(), hr, seen[region])
                row["consistency"] = gaps[region].item()
                invented = vars(shares[region]) | vars(additions[region])
                rows.append(row | {name: value.item() for name, value in invented.items()})
    return pd.DataFrame(rows)


def hfen(sr: Tensor, hr: Tensor, mask: Tensor) -> float:
    """High-frequency error norm over a region: 0 if equal, 1 for an SR without any detail.

    Ravishankar & Bresler 2011 (10.1109/TMI.2010.2090538): the norm of LoG(SR) - LoG(HR), with a
    Laplacian of Gaussian of 15 x 15 pixels and sigma 1.5; over the norm of LoG(HR), as has become
    usual, so that regions compare. The whole images are filtered, with repeated edges; the norms
    run over the region's pixels. NaN where HR has no detail at all, or the region is empty.

    Args:
        sr, hr: (H, W) in [0, 1].
        mask: (H, W) bool.
    """
    _check(sr, hr, mask)
    if not mask.any():
        return math.nan
    reach, (rows, columns) = LOG_SIZE // 2, bounding_box(mask.numpy())
    padded = functional.pad(torch.stack((sr - hr, hr)).double(), (reach,) * 4, mode="replicate")
    down, right = (slice(s.start, s.stop + 2 * reach) for s in (rows, columns))
    part = padded[:, down, right]
    kernel = torch.from_numpy(_laplacian_of_gaussian())
    spectra = (torch.fft.rfft2(v, s=part.shape[-2:]) for v in (part, kernel))
    detail = torch.fft.irfft2(torch.mul(*spectra), s=part.shape[-2:])[:, 2 * reach :, 2 * reach :]
    inside = mask[rows, columns]
    error, norm = (detail.square() * inside).sum((1, 2)).sqrt().tolist()
    return error / norm if norm > NO_DETAIL else math.nan


def _laplacian_of_gaussian() -> Array:
    """The filter (15, 15) of sum 0, as MATLAB's `fspecial('log', 15, 1.5)`, which HFEN came with.

    g (x^2 + y^2 - 2 sigma^2) / sigma^4 with a Gaussian g of sum 1, less its own mean.
    """
    at = np.arange(LOG_SIZE) - LOG_SIZE // 2
    squares = np.add.outer(at**2, at**2)
    gaussian = np.exp(-squares / (2 * LOG_SIGMA**2))
    kernel = gaussian / gaussian.sum() * (squares - 2 * LOG_SIGMA**2) / LOG_SIGMA**4
    return np.asarray(kernel - kernel.mean())


def extent(
    sr: Array, hr: Array, *, tumour: Mask, surroundings: Mask, within: Mask
) -> dict[str, float]:
    """Area, centroid and overlap of the tumour as one fixed rule sees it in SR and in HR.

    The threshold lies midway between HR's mean in the tumour and in its surroundings; the area is
    the largest connected part (8 neighbours) on the tumour's side of it that touches the mask and
    lies within a limit. HR alone sets the rule, which is then kept for SR.

    Args:
        sr, hr: one slice (H, W) in [0, 1].
        tumour: (H, W), the mask M.
        surroundings: (H, W), what the tumour stands out against.
        within: (H, W), where the area may lie: dilate(M, 15).

    Returns:
        area_hr, area_sr, area_ratio, centroid_shift, area_dice. NaN without contrast or regions,
        and where an area that is divided by, or located, is empty.
    """
    inside, outside = (float(hr[m].mean()) if m.any() else np.nan for m in (tumour, surroundings))
    if not abs(inside - outside) > 0:
        return dict.fromkeys(EXTENT, np.nan)
    sign, threshold, box = np.sign(inside - outside), (inside + outside) / 2, bounding_box(within)
    a, b = (
        _largest((sign * (image[box] - threshold) > 0) & within[box], tumour[box])
        for image in (hr, sr)
    )
    area_a, area_b = float(a.sum()), float(b.sum())
    shift = np.nan
    if area_a and area_b:
        shift = float(np.linalg.norm(np.argwhere(a).mean(0) - np.argwhere(b).mean(0)))
    ratio = area_b / area_a if area_a else np.nan
    dice = 2 * float((a & b).sum()) / (area_a + area_b) if area_a + area_b else np.nan
    return dict(zip(EXTENT, (area_a, area_b, ratio, shift, dice)))


def measure(sr: Tensor, hr: Tensor, regions: Mapping[str, Tensor]) -> dict[str, float]:
    """Every measure of `MEASURES` for one slice.

    Standard deviations are those of the population. The contrast-to-noise ratio is the difference
    in signal of two tissues over the standard deviation of noise (Hendrick 2008, Breast MRI,
    chapter 7, 10.1007/978-0-387-73507-8_7). For noise we take the surroundings themselves, texture
    of tissue included: air, where it is usually read, is exactly what SR changes most. A method
    that smooths the surroundings raises it without making the tumour any more different: see the
    contrast beside it. Gradients are central differences of the whole image, so that a pixel's
    neighbours outside its region count.

    Args:
        sr, hr: (H, W) in [0, 1], on the CPU.
        regions: (H, W) bool by name, of `regions.regions`; `tumour`, `rim` and `peritumoural` are
            read. `{"tumour": found["matched"]}` measures what needs no border in normal tissue.

    Returns:
        All names of `MEASURES` in their order; NaN where a region is missing, has fewer than
        `MIN_PIXELS`, or does not define the measure (the texture or noise of a constant one).
        `pixels` is always given.
    """
    _check(sr, hr, *regions.values())
    nowhere = torch.zeros(hr.shape, dtype=torch.bool)
    masks = [regions.get(name, nowhere) for name in ("tumour", "rim", "peritumoural")]
    kept = [mask if mask.sum() >= MIN_PIXELS else nowhere for mask in masks]
    tumour, rim, around = kept
    found = {
        "pixels": float(masks[0].sum()),
        "hfen": hfen(sr, hr, tumour),
        "hfen_rim": hfen(sr, hr, rim),
    }
    of_sr, of_hr = sr.double(), hr.double()
    found["brightness_shift"] = _mean(of_sr, tumour) - _mean(of_hr, tumour)
    found["brightness_shift_sd"] = _over(found["brightness_shift"], _sd(of_hr, tumour))
    for name, image in (("hr", of_hr), ("sr", of_sr)):
        contrast = _mean(image, tumour) - _mean(image, around)
        found[f"contrast_{name}"] = contrast
        found[f"cnr_{name}"] = _over(abs(contrast), _sd(image, around))
        found[f"sharpness_{name}"] = _mean(torch.hypot(*torch.gradient(image)), rim)
    found["cnr_change"] = found["cnr_sr"] - found["cnr_hr"]
    found["sharpness_change"] = _over(found["sharpness_sr"], found["sharpness_hr"]) - 1
    t, r, p = (mask.numpy() for mask in kept)
    complete = t | r | p if r.any() else np.zeros_like(t)
    images = {"hr": of_hr.numpy(), "sr": of_sr.numpy()}
    found |= extent(images["sr"], images["hr"], tumour=t, surroundings=p, within=complete)
    inside = images["hr"][t]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 0.0)
    for name, array in images.items():
        of_tumour = texture(array, t, low=low, high=high)
        found |= {f"{key}_{name}": value for key, value in of_tumour.items()}
    return {name: found[name] for name in MEASURES}


def _check(sr: Tensor, hr: Tensor, *masks: Tensor) -> None:
    """Refuse what is not one slice (H, W) in [0, 1] with its masks (H, W) bool."""
    if wrong := [x for x in (sr, hr, *masks) if not isinstance(x, Tensor) or x.ndim != 2]:
        got = tuple(getattr(wrong[0], "shape", ())) or type(wrong[0]).__name__
        raise TypeError(f"sr, hr and masks must be tensors (H, W), got {got}")
    check_pair(sr[None, None], hr[None, None])
    for mask in masks:
        check_mask(mask, hr[None, None])


def _largest(candidates: Mask, touched: Mask) -> Mask:
    """The largest connected part of the candidate pixels that touches a mask; empty if none."""
    labels, _ = ndimage.label(candidates, structure=np.ones((3, 3)))
    ours = np.setdiff1d(labels[touched], [0])
    if ours.size == 0:
        return np.zeros_like(candidates)
    return np.asarray(labels == ours[np.argmax(np.bincount(labels.ravel())[ours])])


def _mean(x: Tensor, mask: Tensor) -> float:
    """Mean of float64 (H, W) over a mask; NaN over an empty one."""
    return float((x * mask).sum() / mask.sum())


def _sd(x: Tensor, mask: Tensor) -> float:
    """Population standard deviation of float64 (H, W) over a mask; exactly 0 if constant."""
    from_low = x - x.masked_fill(~mask, torch.inf).amin()
    return math.sqrt(_mean((from_low - _mean(from_low, mask)).square(), mask))


def _over(part: float, of: float) -> float:
    """The ratio; NaN where what to divide by is 0, or not known."""
    return part / of if of > 0 else math.nan
