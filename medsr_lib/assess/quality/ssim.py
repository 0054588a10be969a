"""SSIM's window, and what it averages: local means, and the factors of SSIM made of them."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

WINDOW = 11  # pixels; Wang et al. 2004, section III-B
SIGMA = 1.5  # pixels
BORDER = WINDOW // 2  # pixels of a map whose window reaches beyond the image
INNER = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))  # where a map is used
PARTS = ("luminance", "contrast", "structure")
MAPS = ("ssim", "contrast_structure", *PARTS)  # of `at_windows`
BAND = 32768  # pixels at once on a CPU: what its cache holds in float64, some times over


def bands(maps: Tensor) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Where to compute maps (B, H, W), and what their windows reach of the mirrored images.

    On a CPU band by band, which its cache holds; elsewhere all at once.
    """
    batch, height, width = maps.shape
    if maps.device.type != "cpu":
        yield (slice(None), slice(None)), (slice(None), slice(None))
        return
    rows = max(1, BAND // width)
    for b, top in product(range(batch), range(0, height, rows)):
        one = slice(b, b + 1)
        yield (one, slice(top, top + rows)), (one, slice(top, top + rows + 2 * BORDER))


def at_windows(
    x: Tensor, y: Tensor, C1: float, C2: float, names: Sequence[str]
) -> dict[str, Tensor]:
    """The named ones of MAPS, and others that cost nothing; (B, H + 10, W + 10) -> (B, H, W)."""
    averaged = terms(x, y)
    means = gaussian_filter(averaged)
    luminance, contrast_structure = factors(means, C1, C2)
    maps = {
        "ssim": luminance * contrast_structure,
        "contrast_structure": contrast_structure,
        "luminance": luminance,
    }
    if "contrast" in names or "structure" in names:
        us, ud, ss, dd = means
        both = (ss - us * us + dd - ud * ud) / 2  # vx + vy
        apart = gaussian_filter(averaged[0] * averaged[1]) - us * ud  # vx - vy = vsd
        sxsy = ((both + apart).clamp_(min=0) * (both - apart).clamp_(min=0)).sqrt_() / 2
        maps["contrast"] = (2 * sxsy + C2) / (both + C2)
        maps["structure"] = contrast_structure / maps["contrast"]
    return maps


def terms(x: Tensor, y: Tensor) -> Tensor:
    """What SSIM's windows average: s, d, s^2 and d^2 of s = x + y and d = x - y, (4, B, H, W).

    Four filters instead of five, since vx + vy = (vs + vd) / 2, 2 vxy = (vs - vd) / 2, and the
    same for means.
    """
    s, d = x + y, x - y
    return torch.stack((s, d, s * s, d * d))


def factors(means: Tensor, C1: float, C2: float) -> tuple[Tensor, Tensor]:
    """SSIM's two factors from the local means of `terms`: luminance, and contrast x structure."""
    us, ud, ss, dd = means
    us2, ud2 = us * us, ud * ud
    vs, vd = ss - us2, dd - ud2
    luminance = (us2 - ud2 + 2 * C1) / (us2 + ud2 + 2 * C1)
    return luminance, (vs - vd + 2 * C2) / (vs + vd + 2 * C2)


def mirror(x: Tensor) -> Tensor:
    """Add BORDER pixels on each side of (B, H, W), like d c b a | a b c d | d c b a."""
    for dim in (-2, -1):
        first, last = x.narrow(dim, 0, BORDER), x.narrow(dim, x.shape[dim] - BORDER, BORDER)
        x = torch.cat((first.flip(dim), x, last.flip(dim)), dim)
    return x


def gaussian_filter(x: Tensor) -> Tensor:
    """Filter (..., H + 10, W + 10) with SSIM's Gaussian window -> (..., H, W).

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


def full_precision(device: torch.device) -> torch.dtype:
    """Float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def to_double(x: Tensor) -> Tensor:
    """Values in float64, in which a sum over a slice keeps its digits; for MPS on the CPU."""
    return (x.cpu() if x.device.type == "mps" else x).double()
