"""Full-reference metrics: one value per image, never reduced over the batch.

Images are float tensors (B, 1, H, W) in [0, data_range]. Integers and values out of range are
errors: a negative PSNR always means a range error.
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medsr_lib import images

WINDOW = 11  # pixels; Wang et al. 2004, section III-B
SIGMA = 1.5  # pixels
BORDER = WINDOW // 2  # pixels of the map whose window reaches beyond the image
K1, K2 = 0.01, 0.03
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents; Wang et al. 2003, section 3.2
BAND = 65536  # pixels at once on a CPU: what its cache holds in float64, some times over


def mse(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Mean squared error, (B,), in units of intensity squared.

    Raises:
        TypeError, ValueError: images that are not (B, 1, H, W) floats in [0, data_range], or of
            different shapes.
    """
    _check(sr, hr, data_range)
    return (sr - hr).square().mean((1, 2, 3))


def psnr(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(data_range^2 / MSE), (B,), in dB; infinite if equal.

    The mean of this over images is not the PSNR of their mean MSE.

    Raises:
        TypeError, ValueError: as `mse`.

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
        TypeError, ValueError: as `mse`, or images smaller than 11 pixels.
    """
    inner = ssim_map(sr, hr, data_range=data_range)[..., BORDER:-BORDER, BORDER:-BORDER]
    return inner.mean((1, 2))


def ssim_map(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """SSIM at every pixel, (B, H, W), Wang et al. 2004 equation (13).

    S = (2 ux uy + C1)(2 vxy + C2) / ((ux^2 + uy^2 + C1)(vx + vy + C2)) with local means u and
    population (co)variances v under a Gaussian window of 11 x 11 pixels, sigma 1.5; the images are
    mirrored at their edges. It equals scikit-image's map with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False` within 1e-5.

    Computed from the sum s = x + y and the difference d = x - y: vx + vy = (vs + vd) / 2 and
    2 vxy = (vs - vd) / 2, and the same for means, which takes four filters instead of five. It is
    done in float64 where the device has it: E[x^2] - E[x]^2 loses digits that C2 does not cover.

    Raises:
        TypeError, ValueError: as `ssim`.
    """
    _check(sr, hr, data_range)
    if min(hr.shape[-2:]) < WINDOW:
        size = f"{hr.shape[-2]} x {hr.shape[-1]}"
        raise ValueError(f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {size}")
    C1, C2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    dtype = torch.float32 if hr.device.type == "mps" else torch.float64
    x, y = _mirror(sr[:, 0].to(dtype)), _mirror(hr[:, 0].to(dtype))
    if hr.device.type != "cpu":
        return _equation_13(x, y, C1, C2).to(hr.dtype)
    batch, _, height, width = hr.shape
    rows = max(1, BAND // width)
    result = torch.empty_like(hr[:, 0])
    for b, top in product(range(batch), range(0, height, rows)):
        band = (slice(b, b + 1), slice(top, top + rows + 2 * BORDER))  # with the windows' reach
        result[b, top : top + rows] = _equation_13(x[band], y[band], C1, C2)[0]
    return result


def ssim_parts(sr: Tensor, hr: Tensor, *, data_range: float) -> dict[str, Tensor]:
    """What SSIM is made of at every pixel: luminance, contrast and structure, (B, H, W) each.

    Wang et al. 2004, equations (6), (9) and (10) with C3 = C2 / 2: l = (2 ux uy + C1) /
    (ux^2 + uy^2 + C1), c = (2 sx sy + C2) / (vx + vy + C2), s = (vxy + C3) / (sx sy + C3), where
    sx is the root of vx. Windows and edges are those of `ssim_map`, which is their product. Blur
    lowers contrast, a change of brightness luminance, and invented detail structure.

    Raises:
        TypeError, ValueError: as `ssim`.
    """
    x, y, C1, C2 = _prepared(sr, hr, data_range)
    x, y = _mirror(x), _mirror(y)
    ux, uy = gaussian_filter(x), gaussian_filter(y)
    vx = (gaussian_filter(x * x) - ux * ux).clamp_(min=0)
    vy = (gaussian_filter(y * y) - uy * uy).clamp_(min=0)
    vxy = gaussian_filter(x * y) - ux * uy
    sxsy = (vx * vy).sqrt_()
    parts = {
        "luminance": (2 * ux * uy + C1) / (ux * ux + uy * uy + C1),
        "contrast": (2 * sxsy + C2) / (vx + vy + C2),
        "structure": (vxy + C2 / 2) / (sxsy + C2 / 2),
    }
    return {name: part.to(hr.dtype) for name, part in parts.items()}


def ssim_map_within(sr: Tensor, hr: Tensor, mask: Tensor, *, data_range: float) -> Tensor:
    """SSIM at the pixels of a mask from its pixels alone, (B, H, W); NaN outside the mask.

    Normalised convolution (Knutsson & Westin 1993): every mean is sum(w m x) / sum(w m) with
    SSIM's window w and the mask m, so nothing leaks in from beyond the mask's border. It equals
    `ssim_map` where the whole window lies in the mask. Near the border it rests on fewer pixels.

    Args:
        sr, hr: (B, 1, H, W).
        mask: (B, H, W) or (H, W), bool.
        data_range: of the images.

    Raises:
        TypeError, ValueError: as `ssim`, or a mask of another type or shape.
    """
    x, y, C1, C2 = _prepared(sr, hr, data_range)
    mask = check_mask(mask, hr)
    result = torch.full_like(hr[:, 0], torch.nan)
    at = mask.any(0).nonzero()
    if len(at) == 0:
        return result
    (top, left), (bottom, right) = at.amin(0).tolist(), (at.amax(0) + 1).tolist()
    reach = (..., slice(top, bottom + 2 * BORDER), slice(left, right + 2 * BORDER))
    x, y, m = (_mirror(v)[reach] for v in (x, y, mask.to(x.dtype)))
    weight = gaussian_filter(m)  # 0 where the result is NaN, and at least w's maximum elsewhere
    ux, uy, xx, yy, xy = (gaussian_filter(m * v) / weight for v in (x, y, x * x, y * y, x * y))
    found = (2 * ux * uy + C1) * (2 * (xy - ux * uy) + C2)
    found /= (ux * ux + uy * uy + C1) * (xx + yy - ux * ux - uy * uy + C2)
    inside = mask[:, top:bottom, left:right]
    found[~inside] = torch.nan
    result[:, top:bottom, left:right] = found.to(hr.dtype)
    return result


def ms_ssim(sr: Tensor, hr: Tensor, *, data_range: float) -> Tensor:
    """Multi-scale SSIM of Wang, Simoncelli & Bovik 2003 (10.1109/ACSSC.2003.1292216), (B,).

    Their equation (7): the product over five scales of the mean contrast times structure, each to
    the power of `SCALES`, with luminance at the coarsest scale alone. As in their program, and as
    in `ssim`, the means leave out 5 pixels at the edge of each scale. (torchmetrics keeps them at
    the coarsest one.) A negative mean counts as 0, since its power is not real.

    Raises:
        TypeError, ValueError: as `mse`, or images smaller than 176 pixels.
    """
    maps = ms_ssim_maps(sr, hr, data_range=data_range)
    return ms_ssim_within(maps, hr.new_ones(hr.shape[-2:], dtype=torch.bool))


def ms_ssim_maps(sr: Tensor, hr: Tensor, *, data_range: float) -> list[Tensor]:
    """The five maps of multi-scale SSIM, (B, H / 2^j, W / 2^j) for j = 0 to 4.

    Contrast times structure at the four finer scales, whole SSIM at the coarsest. From one scale
    to the next, images are averaged over 2 x 2 pixels; an odd last row or column is left out.

    Raises:
        TypeError, ValueError: as `ms_ssim`.
    """
    x, y, C1, C2 = _prepared(sr, hr, data_range)
    least = WINDOW * 2 ** (len(SCALES) - 1)
    if min(hr.shape[-2:]) < least:
        size = f"{hr.shape[-2]} x {hr.shape[-1]}"
        raise ValueError(f"multi-scale SSIM needs at least {least} x {least} pixels, got {size}")
    maps = []
    for scale in range(len(SCALES)):
        if scale > 0:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        a, b = _mirror(x), _mirror(y)
        last = scale == len(SCALES) - 1
        found = _equation_13(a, b, C1, C2) if last else _contrast_structure(a, b, C2)
        maps.append(found.to(hr.dtype))
    return maps


def ms_ssim_within(maps: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Multi-scale SSIM of a region, (B,), from the maps of the whole, unmasked images.

    The product over scales of the mean of the scale's map over the region, to the power of
    `SCALES`. At a coarser scale a pixel weighs as the share of it that the region covers, so that
    a small region never vanishes. This is a choice: the paper knows no regions. At the coarsest
    scale a window spans 176 pixels of HR, most of which lie outside a tumour.

    Args:
        maps: of `ms_ssim_maps`.
        mask: (B, H, W) or (H, W), bool.

    Returns:
        NaN where, at some scale, the region lies wholly in the outer 5 pixels or is empty.

    Raises:
        TypeError, ValueError: a mask of another type or shape.
    """
    share = check_mask(mask, maps[0][:, None]).to(_wide(maps[0].device))
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    result = share.new_ones(len(share))
    for scale, (exponent, of_scale) in enumerate(zip(SCALES, maps)):
        if scale > 0:
            share = avg_pool2d(share, 2)
        weights = share[inner]
        mean = (weights * of_scale[inner]).sum((1, 2)) / weights.sum((1, 2))
        result *= mean.clamp(min=0) ** exponent
    return result.to(maps[0].dtype)


def _contrast_structure(x: Tensor, y: Tensor, C2: float) -> Tensor:
    """SSIM's second factor (2 vxy + C2) / (vx + vy + C2), by the way of `_equation_13`."""
    s, d = x + y, x - y
    us, ud = gaussian_filter(s), gaussian_filter(d)
    vs = gaussian_filter(s.square_()).addcmul_(us, us, value=-1).add_(C2)
    vd = gaussian_filter(d.square_()).addcmul_(ud, ud, value=-1).add_(C2)
    return (vs - vd + 2 * C2).div_(vs.add_(vd))


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


def _prepared(sr: Tensor, hr: Tensor, data_range: float) -> tuple[Tensor, Tensor, float, float]:
    """Both images (B, H, W) in the precision `ssim_map` computes in, and its C1 and C2."""
    _check(sr, hr, data_range)
    if min(hr.shape[-2:]) < WINDOW:
        size = f"{hr.shape[-2]} x {hr.shape[-1]}"
        raise ValueError(f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {size}")
    wide = _wide(hr.device)
    return (
        sr[:, 0].to(wide),
        hr[:, 0].to(wide),
        (K1 * data_range) ** 2,
        (K2 * data_range) ** 2,
    )


def _wide(device: torch.device) -> torch.dtype:
    """Float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def _equation_13(x: Tensor, y: Tensor, C1: float, C2: float) -> Tensor:
    """SSIM of (B, H + 10, W + 10) -> (B, H, W)."""
    s, d = x + y, x - y
    us, ud = gaussian_filter(s), gaussian_filter(d)
    vs = gaussian_filter(s.square_()).addcmul_(us, us, value=-1)
    vd = gaussian_filter(d.square_()).addcmul_(ud, ud, value=-1)
    us, ud = us.square_().add_(C1), ud.square_().sub_(C1)
    vs, vd = vs.add_(C2), vd.sub_(C2)
    return ((us - ud) * (vs - vd)).div_((us + ud + 2 * C1).mul_(vs + vd + 2 * C2))


def _mirror(x: Tensor) -> Tensor:
    """Add BORDER pixels on each side of (B, H, W), like d c b a | a b c d | d c b a."""
    for dim in (-2, -1):
        first, last = x.narrow(dim, 0, BORDER), x.narrow(dim, x.shape[dim] - BORDER, BORDER)
        x = torch.cat((first.flip(dim), x, last.flip(dim)), dim)
    return x


def gaussian_filter(x: Tensor) -> Tensor:
    """Filter (B, H + 10, W + 10) with SSIM's Gaussian window -> (B, H, W).

    Adds up 11 shifted copies along each side: for so small a window no convolution is faster.
    """
    at = torch.arange(-BORDER, BORDER + 1, dtype=torch.float64)
    weights = torch.softmax(-(at**2) / (2 * SIGMA**2), 0).tolist()
    for dim in (-2, -1):
        n = x.shape[dim] - 2 * BORDER
        result = x.narrow(dim, 0, n) * weights[0]
        for k in range(1, WINDOW):
            result.add_(x.narrow(dim, k, n), alpha=weights[k])
        x = result
    return x


def _check(sr: Tensor, hr: Tensor, data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be positive, got {data_range}")
    images.check(sr, "sr", data_range=data_range)
    images.check(hr, "hr", data_range=data_range)
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
