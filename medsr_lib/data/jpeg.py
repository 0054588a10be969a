"""JPEG files of grey pictures: read with every doubt named, and simulated in memory."""

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medsr_lib import images as image_rules
from medsr_lib import pictures


def read(data: bytes) -> tuple[NDArray[np.uint8], int, int]:
    """Decode the bytes of a JPEG file of a grey picture.

    Returns:
        Its pixels (H, W) uint8, turned by its EXIF orientation; the number of channels, 1, or 3
        where the file stores three equal ones; and the quality, 1 to 100, see `quality_of`.

    Raises:
        ValueError: as `pictures.decoded`; or no JPEG, not 8 bits a sample, CMYK, or in colours.
    """
    picture, _ = pictures.decoded(data)
    if picture.format not in ("JPEG", "MPO"):
        raise ValueError(f"a {picture.format} file ({picture.mode}); expected a JPEG")
    quality = quality_of(picture.quantization[0])  # type: ignore[attr-defined]
    return _grey(picture), len(picture.getbands()), quality


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels (H, W) of a picture that is provably grey."""
    if image.mode not in ("L", "RGB"):
        raise ValueError(
            f"its colours are {image.mode}; expected grey, or RGB with three equal channels: "
            "convert the file to grey"
        )
    first, *others = (np.asarray(band) for band in image.split())
    unequal = np.any([first != other for other in others], axis=0).sum()
    if unequal:
        raise ValueError(
            f"in colours: its three channels differ in {unequal} of {first.size} pixels; a "
            "radiograph is grey, convert the file to grey if its colours mean nothing"
        )
    return first


def quality_of(table: Sequence[int]) -> int:
    """The setting from 1 to 100 of libjpeg whose quantisation is nearest to a table.

    libjpeg makes table K.1 of ITU-T T.81 coarser or finer by the setting (jcparam.c). Programs that
    follow other rules, as the one did that wrote most NORMAL files of the chest set, get the
    setting with the least sum of absolute differences.

    Args:
        table: 64 divisors of luminance row by row, as Pillow gives them.
    """
    return int(np.abs(_tables() - np.asarray(table)).sum(1).argmin()) + 1


@cache
def _tables() -> NDArray[np.int64]:
    """(100, 64): what libjpeg uses at each setting."""
    pixels = np.zeros((8, 8), np.uint8)
    files = (encode(pixels, quality=quality) for quality in range(1, 101))
    opened = (Image.open(io.BytesIO(file)) for file in files)
    return np.array([image.quantization[0] for image in opened])  # type: ignore[attr-defined]


def encode(pixels: NDArray[np.uint8], *, quality: int) -> bytes:
    """A baseline JPEG file of (H, W) grey pixels, at a setting from 1 to 100."""
    check_quality(quality)
    return pictures.encoded(Image.fromarray(pixels), "JPEG", quality=quality)


def check_quality(quality: int) -> None:
    """Refuse what is no quality.

    Raises:
        ValueError: not a whole number from 1 to 100.
    """
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality must be a whole number from 1 to 100, got {quality!r}")


def recompress(images: Tensor, *, quality: int) -> Tensor:
    """Compress and decode images in memory: one simulated JPEG for all.

    Applied after all images were brought to one size, it leaves them with equal quantisation, so
    that the compression of the files they came from reveals less of their class. What the first
    compression took away does not come back. The same images give the same pixels with the same
    libjpeg; another version may differ by a grey level.

    Args:
        images: (B, 1, H, W) float in [0, 1]; rounded to 256 grey levels.
        quality: IJG setting from 1 to 100; most PNEUMONIA files of the chest set were written
            with 75.

    Returns:
        (B, 1, H, W) of the same type, on the same device.

    Raises:
        TypeError, ValueError: not such images, or not such a quality.
    """
    image_rules.check(images)
    levels = images.detach().clamp(0, 1).mul(255).round_().to("cpu", torch.uint8)
    decoded = [torch.from_numpy(once_more(image[0].numpy(), quality=quality)) for image in levels]
    return torch.stack(decoded)[:, None].to(images).div_(255)


def once_more(pixels: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """(H, W) pixels after a compression; see `recompress`."""
    with Image.open(io.BytesIO(encode(pixels, quality=quality))) as image:
        return np.array(image)
