"""What an image is, for every room: a float tensor (B, 1, H, W) with values in [0, 1]."""

import torch
from torch import Tensor

from medsr_lib import checks

TOLERANCE = 1e-5  # of the range check: rounding of float32, far below one of 65 536 grey levels


def check_shape(images: Tensor, name: str = "images") -> None:
    """Refuse what is not a floating-point tensor (B, 1, H, W), without looking at the values.

    Raises:
        TypeError: not a tensor, or integers.
        ValueError: another shape.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"{name}: expected a tensor (B, 1, H, W), got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(
            f"{name}: expected floating point in [0, 1], got {images.dtype}; "
            "normalise the image first (figshare.read_slice does)"
        )
    if images.ndim != 4 or images.shape[1] != 1 or images.numel() == 0:
        raise ValueError(f"{name}: expected shape (B, 1, H, W), got {tuple(images.shape)}")


def check(images: Tensor, name: str = "images", *, data_range: float = 1.0) -> None:
    """Refuse what is not a floating-point tensor (B, 1, H, W) with values in [0, data_range].

    Raises:
        TypeError: not a tensor, or integers.
        ValueError: another shape, NaN or infinite values, values out of range.
    """
    check_shape(images, name)
    low, high = (float(v) for v in torch.aminmax(images))  # NaN goes through aminmax
    if not (low > float("-inf") and high < float("inf")):
        raise ValueError(f"{name}: holds NaN or infinite values")
    slack = TOLERANCE * data_range
    if low < -slack or high > data_range + slack:
        raise ValueError(
            f"{name}: expected values in [0, {data_range:g}], got [{low:.4g}, {high:.4g}]; "
            "normalise by the HR slice's own range, and clip SR to it"
        )


def centre_crop(images: Tensor, *, multiple: int) -> Tensor:
    """Crop (..., H, W) around its centre to the largest size that `multiple` divides.

    Raises:
        ValueError: the images are smaller than `multiple`.
    """
    checks.whole("scale", multiple, least=1)
    height, width = images.shape[-2:]
    h, w = height - height % multiple, width - width % multiple
    if h == 0 or w == 0:
        raise ValueError(f"an image of {height} x {width} pixels is smaller than scale {multiple}")
    top, left = (height - h) // 2, (width - w) // 2
    return images[..., top : top + h, left : left + w]
