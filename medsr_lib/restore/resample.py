"""From LR to SR without learning: the baselines every network has to beat.

Every function takes images (B, 1, H, W) and gives (B, 1, scale H, scale W) in [0, 1], on the same
field of view: SR pixel i lies at LR position (i + 0.5) / scale - 0.5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from medsr_lib import images
from medsr_lib.restore.degrade import check_scale, kspace, shift_and_keep


def nearest(lr: Tensor, *, scale: int) -> Tensor:
    """Repeat every pixel."""
    return F.interpolate(_prepare(lr, scale), scale_factor=scale, mode="nearest").clamp(0, 1)


def bicubic(lr: Tensor, *, scale: int) -> Tensor:
    """Interpolate with the cubic kernel of Keys 1981, a = -0.75, as PyTorch and OpenCV do.

    Pillow and MATLAB take a = -0.5, which is softer: 0.3 dB less at scale 4 on brain MRI. The
    stronger of the two is the baseline here.
    """
    sr = F.interpolate(_prepare(lr, scale), scale_factor=scale, mode="bicubic", align_corners=False)
    return sr.clamp(0, 1)


def lanczos(lr: Tensor, *, scale: int) -> Tensor:
    """Interpolate with a sinc windowed by its own main lobe, over three zeros (Lanczos-3)."""
    lr = _prepare(lr, scale)
    down, across = (_lanczos_weights(n, scale, lr) for n in lr.shape[-2:])
    return (down @ lr @ across.T).clamp(0, 1)


def _lanczos_weights(n: int, scale: int, like: Tensor) -> Tensor:
    """(scale n, n) weights of the LR samples for each SR sample; rows sum to 1, at edges too."""
    sr_at = (torch.arange(n * scale, dtype=like.dtype, device=like.device) + 0.5) / scale - 0.5
    distance = sr_at[:, None] - torch.arange(n, dtype=like.dtype, device=like.device)
    weights = torch.sinc(distance) * torch.sinc(distance / 3) * (distance.abs() < 3)
    return weights / weights.sum(1, keepdim=True)


def zero_fill(lr: Tensor, *, scale: int, clip: bool = True) -> Tensor:
    """Put zeros where the spectrum was not measured: the natural inverse of `degrade.kspace`.

    Args:
        clip: False leaves ringing outside [0, 1] as it is; `zero_fill` after `kspace` is then an
            orthogonal projection.
    """
    lr = _prepare(lr, scale)
    rows, columns = lr.shape[-2:]
    factors = shift_and_keep(rows, columns, -(scale - 1) / (2 * scale), lr)
    measured = torch.fft.rfft2(lr) * factors * scale**2
    spectrum = measured.new_zeros(*lr.shape[:2], rows * scale, columns * scale // 2 + 1)
    half, wide = (rows + 1) // 2, columns // 2 + 1
    spectrum[..., :half, :wide] = measured[..., :half, :]
    if rows > 1:
        spectrum[..., -(rows // 2) :, :wide] = measured[..., -(rows // 2) :, :]
    sr = torch.fft.irfft2(spectrum, s=(rows * scale, columns * scale))
    return sr.clamp(0, 1) if clip else sr


def measured_part(image: Tensor, *, scale: int) -> Tensor:
    """The part of an image that k-space LR holds: `zero_fill` after `degrade.kspace`, unclipped.

    An orthogonal projection, linear in the image, which may be an error with values below 0: what
    is left of an error after it is the error's null-space part (Bhadra et al. 2021,
    10.1109/TMI.2021.3077857).

    Args:
        image: (B, 1, H, W), of sizes that the scale divides.
        scale: of the degradation.

    Raises:
        TypeError, ValueError: as `degrade.kspace`; a size that the scale does not divide.
    """
    if image.shape[-2] % scale or image.shape[-1] % scale:
        size = f"{image.shape[-2]} x {image.shape[-1]}"
        raise ValueError(f"scale {scale} does not divide {size}; crop with images.centre_crop")
    return zero_fill(kspace(image, scale=scale), scale=scale, clip=False)


def _prepare(lr: Tensor, scale: int) -> Tensor:
    check_scale(scale)
    images.check_shape(lr, "lr")
    return lr
