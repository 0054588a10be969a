"""Are the edges still where they were? Denoising that blurs loses them, noise hides them."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from medsr_lib import images
from medsr_lib.assess.quality.ssim import full_precision

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
NO_EDGES = 1e-9  # standard deviation of filtered intensities in [0, 1]; rounding leaves less


def edge_preservation(sr: Tensor, hr: Tensor) -> Tensor:
    """Edge preservation index of Sattar et al. 1997 (10.1109/83.585239), (B,), 1 if equal.

    Their equation for beta: the correlation over the image of high-pass filtered HR and SR,

        sum (ds - mean ds) (dr - mean dr) / sqrt(sum (ds - mean ds)^2 sum (dr - mean dr)^2),

    with d the 3 x 3 standard approximation of the Laplacian (four neighbours). The outer pixel,
    whose neighbours are unknown, is left out. 0 where SR's detail has nothing to do with HR's; NaN
    where one of them has no detail at all. It is a correlation: edges that became fainter, all by
    the same share, cost nothing.

    Raises:
        TypeError, ValueError: images that are not (B, 1, H, W) floats in [0, 1], of different
            shapes, or smaller than 3 x 3.
    """
    images.check(sr, "sr")
    images.check(hr, "hr")
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr is {tuple(hr.shape)}; they must be equal")
    if min(hr.shape[-2:]) < 3:
        raise ValueError(f"edges need at least 3 x 3 pixels, got {tuple(hr.shape[-2:])}")
    kernel = torch.tensor(LAPLACIAN, dtype=full_precision(hr.device), device=hr.device)
    ds, dr = (_centred(conv2d(x.to(kernel.dtype), kernel[None, None])) for x in (hr, sr))
    spread = ds.square().mean(1).sqrt() * dr.square().mean(1).sqrt()
    index = torch.where(spread > NO_EDGES**2, (ds * dr).mean(1) / spread, torch.nan)
    return index.to(hr.dtype)


def _centred(detail: Tensor) -> Tensor:
    """(B, 1, h, w) -> (B, h w) of mean 0."""
    flat = detail.flatten(1)
    return flat - flat.mean(1, keepdim=True)
