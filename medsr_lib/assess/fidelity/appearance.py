"""What a radiologist would see change: brightness, contrast, sharpness, texture, size and shape.

Images are float tensors (B, 1, H, W) in [0, 1], masks bool, (B, H, W) or (H, W); one value per
image, (B,) float64, NaN over an empty region. Extent, and texture (`texture.texture`), take one
slice as arrays (H, W). `measure` collects all of it for one slice. Lengths are in pixels:
millimetres are not known.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medsr_lib import images
from medsr_lib.assess.fidelity.texture import TEXTURE, texture
from medsr_lib.assess.quality.metrics import check_mask
from medsr_lib.assess.quality.regions import bounding_box
from medsr_lib.assess.quality.score import MIN_PIXELS

LOG_SIZE, LOG_SIGMA = 15, 1.5  # pixels; Ravishankar & Bresler 2011
NO_DETAIL = 1e-9  # norm of filtered intensities in [0, 1]; rounding leaves less

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

EXTENT = ("area_hr", "area_sr", "area_ratio", "centroid_shift", "area_dice")

MEASURES: dict[str, tuple[str, str]] = {  # name -> (unit, meaning), of `measure`
    "pixels": ("pixel", "area of the tumour's mask"),
    "brightness_shift": ("intensity", "mean of SR less mean of HR in the tumour"),
    "brightness_shift_sd": ("1", "the same in standard deviations of HR in the tumour"),
    "contrast_hr": ("intensity", "mean of the tumour less mean of its surroundings, in HR"),
    "contrast_sr": ("intensity", "the same in SR"),
    "cnr_hr": ("1", "contrast-to-noise ratio of the tumour and its surroundings, in HR"),
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


def brightness_shift(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean of SR less mean of HR over a region, (B,); positive if SR is brighter.

    Raises:
        TypeError, ValueError: images that are not (B, 1, H, W) in [0, 1] or differ in shape, a
            mask that does not fit.
    """
    _check(sr, hr)
    return _mean(sr, mask) - _mean(hr, mask)


def brightness_shift_sd(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """`brightness_shift` in (population) standard deviations of HR over the region, (B,).

    NaN where HR is constant. Raises as `brightness_shift`.
    """
    shift, sd = brightness_shift(sr, hr, mask), _sd(hr, mask)
    return torch.where(sd > 0, shift / sd, torch.nan)


def contrast(image: Tensor, mask: Tensor, surroundings: Tensor) -> Tensor:
    """Mean over a region less mean over its surroundings, (B,); negative for a darker region."""
    images.check(image)
    return _mean(image, mask) - _mean(image, surroundings)


def cnr(image: Tensor, mask: Tensor, surroundings: Tensor) -> Tensor:
    """Contrast-to-noise ratio |mean_t - mean_s| / sd_s, (B,), NaN over constant surroundings.

    The difference in signal of two tissues over the standard deviation of noise (Hendrick 2008,
    Breast MRI, chapter 7, 10.1007/978-0-387-73507-8_7). For noise we take the (population)
    standard deviation of the surroundings s themselves, texture of tissue included: air, where it
    is usually read, is exactly what SR changes most. A method that smooths the surroundings
    raises it without making the tumour any more different: see `contrast` beside it.
    """
    sd = _sd(image, surroundings)
    return torch.where(sd > 0, contrast(image, mask, surroundings).abs() / sd, torch.nan)


def sharpness(image: Tensor, mask: Tensor) -> Tensor:
    """Mean gradient magnitude over a region, (B,), in intensity per pixel.

    Central differences of the whole image, so that a pixel's neighbours outside count. In `rim`
    it is the sharpness of the tumour's border.
    """
    images.check(image)
    by_row, by_column = torch.gradient(_double(image[:, 0]), dim=(1, 2))
    return _mean(torch.hypot(by_row, by_column)[:, None], mask)


def hfen(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """High-frequency error norm over a region, (B,): 0 if equal, 1 for an SR without any detail.

    Ravishankar & Bresler 2011 (10.1109/TMI.2010.2090538): the norm of LoG(SR) - LoG(HR), with a
    Laplacian of Gaussian of 15 x 15 pixels and sigma 1.5; over the norm of LoG(HR), as has become
    usual, so that regions compare. The whole images are filtered, with repeated edges; the norms
    run over the region's pixels. NaN where HR has no detail at all.
    """
    _check(sr, hr)
    pair = _double(torch.stack(((sr - hr)[:, 0], hr[:, 0]), 1))  # (B, 2, H, W)
    mask = check_mask(mask, pair[:, :1])
    reach, (rows, columns) = LOG_SIZE // 2, bounding_box(mask.any(0).cpu().numpy())
    if not mask.any():
        return pair.new_full((len(pair),), torch.nan)
    padded = functional.pad(pair, (reach,) * 4, mode="replicate")
    down, right = (slice(s.start, s.stop + 2 * reach) for s in (rows, columns))
    part = padded[..., down, right]
    kernel = torch.from_numpy(_laplacian_of_gaussian()).to(part)
    spectra = (torch.fft.rfft2(v, s=part.shape[-2:]) for v in (part, kernel))
    detail = torch.fft.irfft2(torch.mul(*spectra), s=part.shape[-2:])[..., 2 * reach :, 2 * reach :]
    inside = mask[:, None, rows, columns]
    error, norm = (detail.square() * inside).sum((2, 3)).sqrt().unbind(1)
    return torch.where(norm > NO_DETAIL, error / norm, torch.nan)


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
        sr, hr: (H, W).
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


def measure(
    sr: Tensor, hr: Tensor, regions: Mapping[str, Tensor], *, min_pixels: int = MIN_PIXELS
) -> dict[str, float]:
    """Every measure of `MEASURES` for one slice.

    Args:
        sr, hr: (H, W) in [0, 1]; also (1, H, W) or (1, 1, H, W).
        regions: (H, W) bool by name, of `regions.regions`; `tumour`, `rim` and `peritumoural` are
            read. `{"tumour": found["matched"]}` measures what needs no border in normal tissue.
        min_pixels: a smaller region counts as missing.

    Returns:
        All names of `MEASURES` in their order; NaN where a region is missing, too small, or does
        not define the measure (the texture of a constant one). `pixels` is always given.

    Raises:
        TypeError, ValueError: as `brightness_shift`.
    """
    sr, hr = _one(sr), _one(hr)
    _check(sr, hr)
    nowhere = torch.zeros(hr.shape[-2:], dtype=torch.bool)
    given = {name: regions.get(name, nowhere) for name in ("tumour", "rim", "peritumoural")}
    masks = {name: check_mask(mask, hr)[0].cpu() for name, mask in given.items()}
    kept = [mask if mask.sum() >= min_pixels else nowhere for mask in masks.values()]
    tumour, rim, around = kept
    found = {
        "pixels": float(masks["tumour"].sum()),
        "brightness_shift": brightness_shift(sr, hr, tumour).item(),
        "brightness_shift_sd": brightness_shift_sd(sr, hr, tumour).item(),
        "hfen": hfen(sr, hr, tumour).item(),
        "hfen_rim": hfen(sr, hr, rim).item(),
    }
    for name, image in (("hr", hr), ("sr", sr)):
        found[f"contrast_{name}"] = contrast(image, tumour, around).item()
        found[f"cnr_{name}"] = cnr(image, tumour, around).item()
        found[f"sharpness_{name}"] = sharpness(image, rim).item()
    found["cnr_change"] = found["cnr_sr"] - found["cnr_hr"]
    steepness = found["sharpness_hr"]
    found["sharpness_change"] = found["sharpness_sr"] / steepness - 1 if steepness else np.nan
    of_sr, of_hr = (_double(image[0, 0]).numpy() for image in (sr, hr))
    t, r, p = (mask.numpy() for mask in kept)
    complete = t | r | p if r.any() else np.zeros_like(t)
    found |= extent(of_sr, of_hr, tumour=t, surroundings=p, within=complete)
    low, high = (of_hr[t].min(), of_hr[t].max()) if t.any() else (0.0, 0.0)
    for name, array in (("hr", of_hr), ("sr", of_sr)):
        of_tumour = texture(array, t, low=low, high=high)
        found |= {f"{key}_{name}": value for key, value in of_tumour.items()}
    return {name: found[name] for name in MEASURES}


def _largest(candidates: Mask, touched: Mask) -> Mask:
    """The largest connected part of the candidate pixels that touches a mask; empty if none."""
    labels, _ = ndimage.label(candidates, structure=np.ones((3, 3)))
    ours = np.setdiff1d(labels[touched], [0])
    if ours.size == 0:
        return np.zeros_like(candidates)
    return np.asarray(labels == ours[np.argmax(np.bincount(labels.ravel())[ours])])


def _mean(image: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 1, H, W) over a mask, (B,) float64; NaN over an empty one."""
    x = _double(image[:, 0])
    inside = check_mask(mask, x[:, None])
    return (x * inside).sum((1, 2)) / inside.sum((1, 2))


def _sd(image: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation of (B, 1, H, W) over a mask, (B,); exactly 0 if constant."""
    x = _double(image[:, 0])
    outside = ~check_mask(mask, x[:, None])
    low = x.masked_fill(outside, torch.inf).amin((1, 2))
    from_low = (x - low[:, None, None])[:, None]
    spread = _mean((from_low - _mean(from_low, mask)[:, None, None, None]).square(), mask)
    return spread.sqrt()


def _double(x: Tensor) -> Tensor:
    """Float64; MPS has none, so the CPU does it."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _one(image: Tensor) -> Tensor:
    """One slice as (1, 1, H, W), whatever axes of length 1 it came with."""
    images_at_once = image.numel() // max(image.shape[-1] * image.shape[-2], 1)
    if images_at_once != 1:
        raise ValueError(f"measure takes one slice (H, W), got {tuple(image.shape)}")
    return image.reshape(1, 1, *image.shape[-2:]).cpu()


def _check(sr: Tensor, hr: Tensor) -> None:
    images.check(sr, "sr")
    images.check(hr, "hr")
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
