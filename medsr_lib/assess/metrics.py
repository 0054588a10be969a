"""Full-reference metrics: one value per image, never reduced over the batch.

Images are float tensors (B, 1, H, W) in [0, data_range]. Integers and values out of range are
errors: a negative PSNR always means a range error.
"""

import math
from itertools import product

import torch
from torch import Tensor

from medsr_lib import images

WINDOW = 11  # pixels; Wang et al. 2004, section III-B
SIGMA = 1.5  # pixels
BORDER = WINDOW // 2  # pixels of the map whose window reaches beyond the image
K1, K2 = 0.01, 0.03
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
