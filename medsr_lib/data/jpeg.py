"""JPEG files of grey pictures: read with every doubt named, and simulated in memory."""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from medsr_lib import images as image_rules

# ITU-T T.81 (1992), table K.1: the quantisation of luminance, row by row.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).ravel()
_QUALITIES = np.arange(1, 101)
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# Frame markers C0 to CF but for DHT, JPG and DAC (T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PILLOW_RAISES = (
    OSError,
    SyntaxError,
    KeyError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class GreyJpeg:
    """A decoded file.

    Attributes:
        pixels: (H, W) uint8.
        channels: 1, or 3 where the file stores three equal ones.
        quality: 1 to 100, see `quality_of`.
    """

    pixels: NDArray[np.uint8]
    channels: int
    quality: int


def read(data: bytes) -> GreyJpeg:
    """Decode the bytes of a JPEG file of a grey picture.

    A damaged byte in the middle can decode to other pixels that nobody can tell from true ones;
    what the file format itself gives away is refused.

    Raises:
        ValueError: no JPEG, truncated or damaged, not 8 bits a sample, CMYK, or in colours.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format not in ("JPEG", "MPO"):
                raise ValueError(f"a {image.format} file ({image.mode}); expected a JPEG")
            _require_end(data)
            image.load()
            quality = quality_of(image.quantization[0])  # type: ignore[attr-defined]
            return GreyJpeg(_grey(image), len(image.getbands()), quality)
    except UnidentifiedImageError:
        raise ValueError(_why_unreadable(data)) from None
    except _PILLOW_RAISES as error:
        raise ValueError(f"truncated or damaged; fetch the file again ({error})") from None


def _require_end(data: bytes) -> None:
    """Where the end marker is missing, Pillow may fill up the picture instead of complaining."""
    if data.rfind(_END_OF_IMAGE) < data.rfind(_START_OF_SCAN):
        raise ValueError("truncated; fetch the file again (its end marker is missing)")


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels (H, W) of a picture that is provably grey."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "RGB":
        red, green, blue = (np.asarray(band) for band in image.split())
        unequal = int(((red != green) | (green != blue)).sum())
        if not unequal:
            return red
        raise ValueError(
            f"in colours: its three channels differ in {unequal} of {red.size} pixels; a radiograph"
            " is grey, convert the file to grey if its colours mean nothing"
        )
    raise ValueError(
        f"its colours are {image.mode}; expected grey, or RGB with three equal channels: "
        "convert the file to grey"
    )


def _why_unreadable(data: bytes) -> str:
    if not data.startswith(b"\xff\xd8"):
        return "not an image file"
    bits = _bits_per_sample(data)
    if bits not in (None, 8):
        return f"{bits} bits a sample; only JPEGs of 8 bits are read, convert the file"
    return "truncated or damaged in its header; fetch the file again"


def _bits_per_sample(data: bytes) -> int | None:
    """From the frame header (T.81, B.2.2), where there is one."""
    at = 2
    while at + 4 < len(data) and data[at] == 0xFF:
        if data[at + 1] in _FRAMES:
            return data[at + 4]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def quality_of(table: Sequence[int]) -> int:
    """The setting from 1 to 100 of the IJG library whose quantisation is nearest to a table.

    The library (libjpeg, jcparam.c: jpeg_quality_scaling, jpeg_add_quant_table) makes table K.1 of
    ITU-T T.81 coarser or finer by the setting; programs that follow other rules, as the one did
    that wrote most NORMAL files of the chest set, get the setting with the least sum of absolute
    differences.

    Args:
        table: 64 divisors of luminance row by row, as Pillow gives them.

    Raises:
        ValueError: not 64 numbers.

    >>> quality_of((LUMINANCE + 1) // 2)
    75
    """
    if len(table) != 64:
        raise ValueError(f"a quantisation table has 64 numbers, got {len(table)}")
    return int(_QUALITIES[np.abs(_TABLES - np.asarray(table)).sum(1).argmin()])


def _tables() -> NDArray[np.int64]:
    """(100, 64): what libjpeg uses at each setting, of 8-bit baseline files."""
    percent = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)
    return np.clip((LUMINANCE * percent[:, None] + 50) // 100, 1, 255)


_TABLES = _tables()


def encode(pixels: NDArray[np.uint8], *, quality: int) -> bytes:
    """A baseline JPEG file of (H, W) grey pixels, at a setting from 1 to 100."""
    check_quality(quality)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


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
    that the compression of the files they came from tells a classifier less of their class. What
    the first compression took away does not come back. The same images give the same pixels with
    the same libjpeg; another version may differ by a grey level.

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
    check_quality(quality)
    levels = images.detach().clamp(0, 1).mul(255).round_().to("cpu", torch.uint8)
    decoded = [torch.from_numpy(once_more(image[0].numpy(), quality=quality)) for image in levels]
    return torch.stack(decoded)[:, None].to(images).div_(255)


def once_more(pixels: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """(H, W) pixels after a compression; see `recompress`."""
    with Image.open(io.BytesIO(encode(pixels, quality=quality))) as image:
        return np.array(image)
