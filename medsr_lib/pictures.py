"""Image files by one door: their size is known before they are decoded, and how they are turned."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MOST_PIXELS = 2**26  # 8192 x 8192; as float32 a quarter of a gigabyte
MOST_SCANS = 100  # of a progressive JPEG, where libjpeg writes 10; each takes as long as a file
TURNED = "turned by its EXIF orientation"
_ORIENTATION = 0x0112  # in EXIF and TIFF
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_DAMAGED = (
    *(OSError, SyntaxError, LookupError, TypeError, ValueError, EOFError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, Image.DecompressionBombError),
)


def decoded(data: bytes) -> tuple[Image.Image, bool]:
    """Decode the bytes of an image file, and turn the picture as every viewer does.

    A damaged byte in the middle can decode to other pixels that nobody can tell from true ones;
    damage that the file format itself reveals is refused.

    Returns:
        The picture, and whether its EXIF orientation turned or mirrored it.

    Raises:
        ValueError: no image file, truncated, damaged, or too large to decode.
    """
    if not data:
        raise ValueError("the file is empty")
    with _damage_named(data):
        picture = Image.open(io.BytesIO(data))
    check_size(*picture.size)
    if picture.format in ("JPEG", "MPO"):
        if data.rfind(_END_OF_IMAGE) < data.rfind(_START_OF_SCAN):  # Pillow may fill up the rest
            raise ValueError("truncated; fetch the file again (its end marker is missing)")
        if (scans := data.count(_START_OF_SCAN)) > MOST_SCANS:
            raise ValueError(f"a JPEG of {scans} scans; more than {MOST_SCANS} are not decoded")
    with _damage_named(data):
        picture.load()
        turned = picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
        ImageOps.exif_transpose(picture, in_place=True)
    return picture, turned


def tiff(path: Path) -> tuple[NDArray[np.generic], list[str]]:
    """The values (H, W) or (H, W, channels) of a TIFF file of one page, turned as viewers do.

    Returns:
        The values, and what to know of them.

    Raises:
        ValueError: truncated, damaged, no TIFF, of several pages, or too large to decode.
    """
    import tifffile  # with scikit-image

    try:
        with tifffile.TiffFile(path) as file:
            page, n = file.pages.first, len(file.pages)
            kind = tifffile.COMPRESSION(page.compression).name
            white = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            to = page.tags.valueof(_ORIENTATION, 1)
            check_size(*page.shape)
            if "LZW" in kind and not white:  # tifffile would need another package
                values = np.asarray(decoded(path.read_bytes())[0])
            else:
                values = page.asarray()
                values = values.swapaxes(0, 1) if to in (5, 6, 7, 8) else values
                values = values[::-1] if to in (3, 4, 7, 8) else values
                values = values[:, ::-1] if to in (2, 3, 6, 7) else values
    except (tifffile.TiffFileError, *_DAMAGED) as error:
        raise ValueError(f"truncated, damaged or no TIFF ({error})") from None
    if n > 1:
        raise ValueError(f"holds {n} pages; save each in a file of its own")
    notes = [TURNED] * (to in range(2, 9)) + ["lossy JPEG in a TIFF"] * ("JPEG" in kind)
    if white:
        values, notes = values.max() - values, [*notes, "white is zero: inverted"]
    return values, notes


@contextmanager
def _damage_named(data: bytes) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        if data.startswith(b"\xff\xd8"):
            raise ValueError(
                "truncated or damaged in its header, or not of 8 bits a sample; fetch the file "
                "again, or convert it"
            ) from None
        raise ValueError("not an image file") from None
    except _DAMAGED as error:
        raise ValueError(f"truncated or damaged; fetch the file again ({error})") from None


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file, to be written by oneself: Pillow does not notice a full disk."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def check_size(*shape: int) -> None:
    """Refuse pictures of more than `MOST_PIXELS`, by a ValueError, before they are decoded."""
    if np.prod(shape, dtype=float) > MOST_PIXELS:
        raise ValueError(
            f"{' x '.join(map(str, shape))} pixels; more than {MOST_PIXELS:,} are not decoded: "
            "crop it or make it smaller"
        )


def scaled(stored: NDArray[np.generic], low: float, high: float) -> Tensor:
    """Stored grey levels as float32, `low` as 0 and `high` as 1; what lies outside is clipped.

    The computation is of float64, so that levels on a large offset stay apart.
    """
    levels = (stored.astype(np.float64) - low) / (high - low)
    return torch.from_numpy(levels.astype(np.float32)).clamp_(0, 1)
