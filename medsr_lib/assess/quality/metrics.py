"""Full-reference metrics: one value per image, never reduced over the batch.

Images `sr` and `hr` are float tensors (B, 1, H, W) of one shape in [0, data_range]. All functions
raise TypeError or ValueError for others, integers and values out of range among them: a negative
PSNR always means a range error. To add a metric, write its function here and give it a line in
`score.MEASURES`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from medsr_lib import checks, images
from medsr_lib.assess.quality.regions import bounding_box
from medsr_lib.assess.quality.ssim import (
    INNER,
    MAPS,
    WINDOW,
    full_precision,
    maps,
    mirror,
    to_double,
)

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents; Wang et al. 2003, section 3.2
MS_LEAST = WINDOW * 2 ** (len(SCALES) - 1)  # pixels; smaller images lack multi-scale SSIM
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
NO_EDGES = 1e-9  # standard deviation of filtered intensities in [0, 1]; rounding leaves less


def mse(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Mean squared error, (B,), in units of intensity squared."""
    check_pair(sr, hr, data_range=data_range)
    return (sr - hr).square().mean((1, 2, 3))


def psnr(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(data_range^2 / MSE), (B,), in dB; infinite if equal.

    The mean of this over images is not the PSNR of their mean MSE.

    >>> hr = torch.zeros(1, 1, 16, 16)
    >>> psnr(hr + 0.1, hr, data_range=1.0)
    tensor([20.])
    """
    return decibels(mse(sr, hr, data_range=data_range), data_range=data_range)


def decibels(mean_squared_error: Tensor, *, data_range: float) -> Tensor:
    """PSNR of a mean squared error: 10 log10(data_range^2 / MSE)."""
    return 10 * torch.log10(data_range**2 / mean_squared_error)


def ssim(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Structural similarity of Wang et al. 2004 (10.1109/TIP.2003.819861), (B,), 1 if equal.

    The mean of `ssim_map` without its outer 5 pixels, whose windows reach beyond the image.

    Raises:
        ValueError: images smaller than 11 x 11 pixels.
    """
    return ssim_map(sr, hr, data_range=data_range)[INNER].mean((1, 2))


def ssim_map(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """SSIM at every pixel, (B, H, W), Wang et al. 2004 equation (13).

    S = (2 ux uy + C1)(2 vxy + C2) / ((ux^2 + uy^2 + C1)(vx + vy + C2)) with local means u and
    population (co)variances v under a Gaussian window of 11 x 11 pixels, sigma 1.5; the images are
    mirrored at their edges. It equals scikit-image's map with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False` within 1e-5.

    Raises:
        ValueError: images smaller than 11 x 11 pixels.
    """
    return ssim_maps(sr, hr, ("ssim",), data_range=data_range)["ssim"]


def ssim_maps(
    sr: Tensor, hr: Tensor, names: Sequence[str] = MAPS, *, data_range: float
) -> dict[str, Tensor]:
    """Several maps at once, (B, H, W) each: windows are averaged once for all.

    `ssim` is that of `ssim_map`. It is the product of `luminance`, `contrast` and `structure`, Wang
    et al. 2004, equations (6), (9) and (10) with C3 = C2 / 2: l = (2 ux uy + C1) / (ux^2 + uy^2 +
    C1), c = (2 sx sy + C2) / (vx + vy + C2), s = (vxy + C3) / (sx sy + C3), where sx is the root of
    vx. Blur lowers contrast, a change of brightness luminance, and invented detail structure.
    `contrast_structure` is the product of these two, which `ms_ssim` takes.

    Computed in float64 where the device has it, and without gradients.

    Args:
        sr, hr: as in all of these.
        names: which of `ssim.MAPS`.

    Raises:
        ValueError: images smaller than 11 x 11 pixels, or a map that does not exist.
    """
    unknown = [name for name in names if name not in MAPS]
    if unknown:
        raise ValueError(f"no map {unknown[0]!r}; there are {', '.join(MAPS)}")
    check_pair(sr, hr, data_range=data_range, least=WINDOW, what="SSIM")
    full = full_precision(hr.device)
    found = maps([sr[:, 0]], hr[:, 0], names, data_range=data_range, dtype=full)
    return {name: of[0].to(hr.dtype) for name, of in found.items()}


def ssim_map_within(sr: Tensor, hr: Tensor, mask: Tensor, *, data_range: float) -> Tensor:
    """SSIM at the pixels of a mask from its pixels alone, (B, H, W); NaN outside the mask.

    Normalised convolution (Knutsson & Westin 1993): every mean is sum(w m x) / sum(w m) with
    SSIM's window w and the mask m, so nothing leaks in from beyond the mask's border. It equals
    `ssim_map` where the whole window lies in the mask. Near the border it rests on fewer pixels.

    The mask is (B, H, W) or (H, W), bool.

    Raises:
        TypeError, ValueError: images smaller than 11 x 11 pixels, or a mask of another type or
            shape.
    """
    check_pair(sr, hr, data_range=data_range, least=WINDOW, what="SSIM")
    mask = check_mask(mask, hr)
    result = torch.full_like(hr[:, 0], torch.nan)
    box = (slice(None), *bounding_box(mask.any(0).cpu().numpy(), margin=WINDOW))
    x, y, inside = (of[box] for of in (sr[:, 0], hr[:, 0], mask))
    if inside.numel():
        x, y, used = (mirror(of) for of in (x, y, inside))
        full = full_precision(hr.device)
        (found,) = maps([x], y, data_range=data_range, dtype=full, mask=used)["ssim"]
        result[box] = found.masked_fill(~inside, torch.nan).to(hr.dtype)
    return result


def ms_ssim(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Multi-scale SSIM of Wang, Simoncelli & Bovik 2003 (10.1109/ACSSC.2003.1292216), (B,).

    Their equation (7): the product over five scales of the mean contrast times structure, each to
    the power of `SCALES`, with luminance at the coarsest scale alone. As in their program, and as
    in `ssim`, the means leave out 5 pixels at the edge of each scale. (torchmetrics keeps them at
    the coarsest one.) A negative mean counts as 0, since its power is not real.

    Raises:
        ValueError: images smaller than 176 x 176 pixels.
    """
    maps = ms_ssim_maps(sr, hr, data_range=data_range)
    everywhere = torch.ones_like(hr, dtype=torch.bool)
    return ms_ssim_within(maps, ms_shares(everywhere))[:, 0].to(hr.dtype)


def ms_ssim_maps(sr: Tensor, hr: Tensor, *, data_range: float) -> list[Tensor]:
    """The five maps of multi-scale SSIM, (B, H / 2^j, W / 2^j) for j = 0 to 4.

    Contrast times structure at the four finer scales, whole SSIM at the coarsest. From one scale
    to the next, images are averaged over 2 x 2 pixels; an odd last row or column is left out.

    Raises:
        ValueError: images smaller than 176 x 176 pixels.
    """
    check_pair(sr, hr, data_range=data_range, least=MS_LEAST, what="multi-scale SSIM")
    x, y = (image[:, 0].to(full_precision(hr.device)) for image in (sr, hr))
    found = ms_maps([x], y, len(SCALES), data_range=data_range, dtype=y.dtype)
    return [of_scale[0].to(hr.dtype) for of_scale in found]


def ms_maps(
    every: Sequence[Tensor], hr: Tensor, n: int, *, data_range: float, dtype: torch.dtype
) -> list[Tensor]:
    """Multi-scale SSIM's maps (M, B, h, w) of M SR and HR (B, H, W) at n scales.

    Each is half as fine as the one before; the last one is of whole SSIM.
    """
    found = []
    for scale in range(n):
        if scale:
            *every, hr = (avg_pool2d(x, 2) for x in (*every, hr))
        name = "contrast_structure" if scale < n - 1 else "ssim"
        found.append(maps(every, hr, (name,), data_range=data_range, dtype=dtype)[name])
    return found


def ms_shares(masks: Tensor, *, first: int = 0) -> list[Tensor]:
    """How much of each pixel masks (B, R, H, W) cover at the five scales, (B, R, pixels) in [0, 1].

    Without the 5 pixels at the edge of each scale, whose SSIM is not used, and without the scales
    before `first`.
    """
    h, w = (side // 2 * 2 for side in masks.shape[2:])
    counts = masks[..., :h, :w].to(torch.uint8)
    for down, across in ((2, 1), (1, 2)):
        counts = counts[..., ::down, ::across] + counts[..., down - 1 :: down, across - 1 :: across]
    shares = [masks, to_double(counts) / 4]
    for _ in SCALES[2:]:
        shares.append(avg_pool2d(shares[-1], 2))
    return [to_double(share[INNER].flatten(2)) for share in shares[first:]]


def ms_ssim_within(maps: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    """Multi-scale SSIM of regions, (B, R), from the maps of the whole, unmasked images.

    The product over scales of the mean of the scale's map over the region, to the power of
    `SCALES`. At a coarser scale a pixel weighs as the share of it that the region covers, so that
    a small region never vanishes. This is a choice: the paper knows no regions. At the coarsest
    scale a window spans 176 pixels of HR, most of which lie outside a tumour.

    Args:
        maps: of `ms_ssim_maps`.
        shares: of `ms_shares`.

    Returns:
        NaN where, at some scale, the region lies wholly in the outer 5 pixels or is empty.
    """
    return ms_product([mean_within(*both) for both in zip(maps, shares)])


def mean_within(of_scale: Tensor, share: Tensor) -> Tensor:
    """Means (..., B, R) of maps (..., B, H, W) over regions, of which `share` is one of
    `ms_shares`."""
    values = to_double(of_scale[INNER].flatten(-2))
    of_image = values.movedim(-2, 0).reshape(len(share), -1, values.shape[-1])
    sums = (share @ of_image.mT).movedim(-1, 0).reshape(*values.shape[:-1], -1)
    return sums / share.sum(2)


def ms_product(means: Sequence[Tensor]) -> Tensor:
    """Multi-scale SSIM of the means of its maps at the five scales; a negative one counts as 0."""
    powers = [mean.clamp(min=0) ** exponent for mean, exponent in zip(means, SCALES)]
    return torch.stack(powers).prod(0)


def edge_preservation(sr: Tensor, hr: Tensor) -> Tensor:
    """Edge preservation index of Sattar et al. 1997 (10.1109/83.585239), (B,), 1 if equal.

    Their equation for beta: the correlation over the image of high-pass filtered HR and SR,

        sum (ds - mean ds) (dr - mean dr) / sqrt(sum (ds - mean ds)^2 sum (dr - mean dr)^2),

    with d the 3 x 3 standard approximation of the Laplacian (four neighbours). The outer pixel,
    whose neighbours are unknown, is left out. 0 where SR's detail has nothing to do with HR's; NaN
    where one of them has no detail at all. It is a correlation: edges that became fainter, all by
    the same share, cost nothing.

    Raises:
        ValueError: images smaller than 3 x 3 pixels, or out of [0, 1].
    """
    check_pair(sr, hr, least=3, what="the index of edges")
    kernel = torch.tensor(LAPLACIAN, dtype=full_precision(hr.device), device=hr.device)
    details = (conv2d(x.to(kernel.dtype), kernel[None, None]).flatten(1) for x in (hr, sr))
    ds, dr = (detail - detail.mean(1, keepdim=True) for detail in details)
    spread = ds.square().mean(1).sqrt() * dr.square().mean(1).sqrt()
    index = torch.where(spread > NO_EDGES**2, (ds * dr).mean(1) / spread, torch.nan)
    return index.to(hr.dtype)


def check_mask(mask: Tensor, images: Tensor) -> Tensor:
    """A mask (B, H, W) or (H, W) as (B, H, W), if it fits images (B, 1, H, W).

    Raises:
        TypeError: not a bool tensor.
        ValueError: another shape.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask: expected a bool tensor, got {got}; compare it with 0 first")
    batch, _, height, width = images.shape
    if tuple(mask.shape) not in ((batch, height, width), (height, width)):
        raise ValueError(
            f"mask is {tuple(mask.shape)}, the images are {tuple(images.shape)}; "
            "it must be (B, H, W) or (H, W)"
        )
    return mask.to(images.device).expand(batch, height, width)


def check_pair(
    sr: Tensor, hr: Tensor, *, data_range: float = 1.0, least: int = 1, what: str = ""
) -> None:
    """Refuse images that are not (B, 1, H, W) in [0, data_range], of one shape and large enough."""
    checks.positive("data_range", data_range)
    images.check(sr, "sr", data_range=data_range)
    images.check(hr, "hr", data_range=data_range)
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
    height, width = hr.shape[-2:]
    if min(height, width) < least:
        raise ValueError(f"{what} needs at least {least} x {least} pixels, got {height} x {width}")
