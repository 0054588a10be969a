"""What a radiologist would see change: brightness, contrast, sharpness, texture, size and shape.

Images are float tensors (B, 1, H, W) in [0, 1], masks bool, (B, H, W) or (H, W); one value per
image, (B,) float64, NaN over an empty region. Extent, and texture (`texture.texture`), take one
slice as arrays (H, W). `measure` collects all of it for one slice, `appearance` for every case and
method. Lengths are in pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medsr_lib import images
from medsr_lib.assess.fidelity import invention
from medsr_lib.assess.fidelity.texture import TEXTURE, texture
from medsr_lib.assess.quality.metrics import check_mask
from medsr_lib.assess.quality.regions import bounding_box, of_case
from medsr_lib.assess.quality.score import MIN_PIXELS, about
from medsr_lib.assess.quality.ssim import to_double
from medsr_lib.assess.restored import Method, restored
from medsr_lib.case import Case

LOG_SIZE, LOG_SIGMA = 15, 1.5  # pixels; Ravishankar & Bresler 2011
NO_DETAIL = 1e-9  # norm of filtered intensities in [0, 1]; rounding leaves less

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

REGIONS = ("tumour", "matched")  # of the table; `tumour` is measured with its border
INVENTION = ("improvement", "omission", "hallucination", "d_im", "d_om")
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


@torch.inference_mode()
def appearance(
    methods: Mapping[str, Method],
    cases: Sequence[Case],
    *,
    degrade: Method,
    upsample: Method,
    scale: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Restore every case by every method, and measure appearance and invention in two regions.

    HR itself is in the table as a method whose changes are 0, so that `statistics.contrasts` with
    the baseline "HR" gives the change from HR, and with the reference region "matched" the change
    in the tumour less that in comparable tissue.

    Args:
        methods: name -> LR (B, 1, h, w) -> SR (B, 1, H, W) in [0, 1].
        cases: with masks; cropped to what the scale divides.
        degrade: HR -> LR.
        upsample: LR -> HR's size, the interpolation that invention is measured against.
        scale: of the degradation.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        Columns id, patient, label, fold, method, region ("tumour" and "matched"), those of
        `MEASURES` (NaN in "matched" where they need a border), consistency (mean |degrade(SR) -
        LR|, intensity) and those of `INVENTION` (HR is all improvement, the interpolation all
        omission, by construction). What cannot be measured is NaN, such as all of "matched" where
        no normal tissue is left; `statistics` counts it as skipped.

    Raises:
        TypeError, ValueError: what `restored.restored` refuses, or a case without a mask (names the
            case).
    """
    loop = restored(methods, cases, degrade=degrade, scale=scale, device=device)
    rows: list[dict[str, Any]] = []
    for batch in loop:
        (case,) = batch.cases
        found = of_case(case, ("tumour", "rim", "peritumoural", "matched"))
        seen = {"tumour": found, "matched": {"tumour": found["matched"]}}
        masks = {region: found[region].to(batch.hr.device) for region in REGIONS}
        for name, sr in batch.images.items():
            gap = invention.data_consistency(sr, batch.lr, degrade=degrade)
            gaps = invention.region_means(gap, masks)
            shares = invention.region_shares(sr, batch.hr, batch.lr, masks, upsample=upsample)
            for region in REGIONS:
                row = about(case) | {"method": name, "region": region}
                row |= measure(sr.cpu(), batch.hr.cpu(), seen[region])
                row["consistency"] = gaps[region].item()
                rows.append(row | {k: getattr(shares[region], k).item() for k in INVENTION})
    return pd.DataFrame(rows)


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

    NaN where HR is constant. It refuses what `brightness_shift` refuses.
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
    by_row, by_column = torch.gradient(to_double(image[:, 0]), dim=(1, 2))
    return _mean(torch.hypot(by_row, by_column)[:, None], mask)


def hfen(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """High-frequency error norm over a region, (B,): 0 if equal, 1 for an SR without any detail.

    Ravishankar & Bresler 2011 (10.1109/TMI.2010.2090538): the norm of LoG(SR) - LoG(HR), with a
    Laplacian of Gaussian of 15 x 15 pixels and sigma 1.5; over the norm of LoG(HR), as has become
    usual, so that regions compare. The whole images are filtered, with repeated edges; the norms
    run over the region's pixels. NaN where HR has no detail at all.
    """
    _check(sr, hr)
    pair = to_double(torch.stack(((sr - hr)[:, 0], hr[:, 0]), 1))  # (B, 2, H, W)
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

    Args:
        sr, hr: (1, 1, H, W) in [0, 1], on the CPU.
        regions: (H, W) bool by name, of `regions.regions`; `tumour`, `rim` and `peritumoural` are
            read. `{"tumour": found["matched"]}` measures what needs no border in normal tissue.

    Returns:
        All names of `MEASURES` in their order; NaN where a region is missing, has fewer than
        `MIN_PIXELS`, or does not define the measure (the texture of a constant one). `pixels` is
        always given.

    Raises:
        TypeError, ValueError: images that are not (1, 1, H, W) in [0, 1] or differ in shape, a mask
            that does not fit.
    """
    _check(sr, hr)
    nowhere = torch.zeros(hr.shape[-2:], dtype=torch.bool)
    masks = [regions.get(name, nowhere) for name in ("tumour", "rim", "peritumoural")]
    kept = [mask if mask.sum() >= MIN_PIXELS else nowhere for mask in masks]
    tumour, rim, around = kept
    found = {
        "pixels": float(masks[0].sum()),
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
    of_sr, of_hr = (to_double(image[0, 0]).numpy() for image in (sr, hr))
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
    x = to_double(image[:, 0])
    inside = check_mask(mask, x[:, None])
    return (x * inside).sum((1, 2)) / inside.sum((1, 2))


def _sd(image: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation of (B, 1, H, W) over a mask, (B,); exactly 0 if constant."""
    x = to_double(image[:, 0])
    outside = ~check_mask(mask, x[:, None])
    low = x.masked_fill(outside, torch.inf).amin((1, 2))
    from_low = (x - low[:, None, None])[:, None]
    spread = _mean((from_low - _mean(from_low, mask)[:, None, None, None]).square(), mask)
    return spread.sqrt()


def _check(sr: Tensor, hr: Tensor) -> None:
    images.check(sr, "sr")
    images.check(hr, "hr")
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
