"""Image files and the masks of lesions: PNG, TIFF, JPEG and BMP, read with every doubt named.

What cannot be trusted is refused; what is taken in a way that a user should know of is noted in
`Case.about["notes"]`. Images are grey: one channel, 8 or 16 bits or float.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medsr_lib import pictures
from medsr_lib.case import Case
from medsr_lib.data import jpeg
from medsr_lib.data.layouts import Entry, Options

Array = NDArray[Any]
Notes = list[str]
MOST_LABELS = 31  # a mask of small whole numbers holds labels; greater ones are grey levels


def read(entry: Entry) -> Case:
    """Read an image and unite its masks.

    Returns:
        The case; `about` holds raw_min and raw_max, the stored intensities that became 0 and 1, and
        notes: what to know of it, a tuple of sentences.

    Raises:
        ValueError: a file that cannot be used; names it and the reason.
    """
    options = entry.options
    try:
        raw, notes = pixels(entry.image, options)
        masks = []
        for path in entry.masks:
            values, said = mask_pixels(path)
            same_shape(values.shape, raw.shape, path)
            mask, more = lesion(values, path, options, any_label=entry.any_label)
            masks.append(mask)
            notes += [f"{path.name}: {note}" for note in said + more]
        united, more = unite(masks)
        return as_case(entry, raw, united, notes + more, percentiles=(0, 100))
    except ValueError as error:
        raise ValueError(f"{entry.image}: {error}") from None


def as_case(
    entry: Entry,
    raw: Array,
    mask: NDArray[np.bool_] | None,
    notes: Notes,
    *,
    percentiles: tuple[float, float],
    spacing: float | None = None,
) -> Case:
    """The case of an entry, from grey levels and a mask (H, W).

    Percentiles and spacing (mm) are used where the entry has none of its own.

    Raises:
        ValueError: as `normalised`.
    """
    image, low, high = normalised(raw, entry.options.percentiles or percentiles)
    return Case(
        id=entry.id,
        patient=entry.patient,
        label=entry.label,
        image=image,
        mask=None if mask is None else torch.from_numpy(np.ascontiguousarray(mask)),
        fold=entry.fold,
        spacing=spacing if entry.spacing is None else entry.spacing,
        about={"raw_min": low, "raw_max": high, "notes": (*entry.notes, *notes)},
    )


def normalised(raw: Array, percentiles: tuple[float, float]) -> tuple[Tensor, float, float]:
    """(H, W) float32 in [0, 1], and the intensities that became 0 and 1.

    `percentiles` of the image's own intensities become 0 and 1; what lies outside is clipped.

    Raises:
        ValueError: values that are not finite, or a constant image.
    """
    raw = raw.astype(np.uint8) if raw.dtype == bool else raw
    if not np.isfinite(raw).all():
        raise ValueError(f"NaN or infinite values in {(~np.isfinite(raw)).sum()} of {raw.size}")
    low, high = (float(value) for value in np.percentile(raw, percentiles))
    if not 0 < high - low < np.inf:
        raise ValueError(
            f"the image is constant between percentiles {percentiles} ({low:g} and {high:g})"
        )
    return pictures.scaled(np.ascontiguousarray(raw), low, high), low, high


# --- pixels --------------------------------------------------------------------------------------


def pixels(path: Path, options: Options) -> tuple[Array, Notes]:
    """The grey levels (H, W) of an image file, and what to say of them."""
    values, notes, palette = _decoded(path)
    if palette is not None:
        values = palette[values]
    return grey(values, notes, options.number)


def mask_pixels(path: Path) -> tuple[Array, Notes]:
    """The values (H, W) of a mask; in a palette of colours those are the places in it."""
    values, notes, palette = _decoded(path)
    if palette is not None:
        colours = palette[values]
        if not (colours == colours[..., :1]).all():
            return values, notes
        values = colours[..., 0]
    values, notes = grey(values, notes, None)
    return values, [note for note in notes if "lossy" in note]


def grey(values: Array, notes: Notes, channel: int | None) -> tuple[Array, Notes]:
    """(H, W) of a picture (H, W) or (H, W, channels) that is provably grey, or its channel.

    Raises:
        ValueError: in colours, and no channel is chosen; or partly transparent.
    """
    if values.ndim == 2:
        return values, notes
    if values.ndim != 3 or values.shape[2] > 4:
        raise ValueError(f"expected one picture, found an array of {values.shape}")
    n = values.shape[2]
    if n in (2, 4):
        if (values[..., -1] != values[..., -1].max()).any():
            raise ValueError("partly transparent; save it without an alpha channel")
        values, n = values[..., :-1], n - 1
    if channel is not None and n > 1:
        if channel >= n:
            raise ValueError(f"there is no channel {channel}; it has {n}, counted from 0")
        return values[..., channel], [*notes, f"channel {channel} of {n} is read"]
    unequal = int((values != values[..., :1]).any(-1).sum())
    if unequal:
        raise ValueError(
            f"in colours: its channels differ in {unequal} of {values[..., 0].size} pixels; "
            "convert it to grey, or choose a channel (0, 1 or 2)"
        )
    return values[..., 0], notes + [f"{n} equal channels, taken as grey"] * (n > 1)


def _decoded(path: Path) -> tuple[Array, Notes, Array | None]:
    """The stored values, what to say of them, and the colours (256, 3) of a palette."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return *pictures.tiff(path), None
        picture, turned = pictures.decoded(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    values, notes, palette = np.asarray(picture), [pictures.TURNED] * turned, None
    if picture.format in ("JPEG", "MPO"):
        quality = jpeg.quality_of(picture.quantization[0])  # type: ignore[attr-defined]
        notes.insert(0, f"lossy JPEG of quality {quality}")
    if picture.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        palette[values] = np.asarray(picture.convert("RGB"))
    return values, notes, palette


# --- masks ---------------------------------------------------------------------------------------


def same_shape(mask: tuple[int, ...], image: tuple[int, ...], path: Path) -> None:
    """Refuse a mask of another size than its image; names the mask."""
    if mask != image:
        sizes = " and ".join(" x ".join(map(str, shape)) for shape in (mask, image))
        raise ValueError(f"the sizes of {path.name} and of the image differ: {sizes}")


def lesion(
    values: Array, path: Path, options: Options, *, any_label: bool = False
) -> tuple[NDArray[np.bool_], Notes]:
    """Where the values of a mask mean lesion.

    Two values are background and lesion. Of more, small whole numbers and grey levels that fill
    areas are labels, and the options must say which are lesion; other grey levels are edges that
    were smoothed, and more than half of the greatest is lesion.

    Raises:
        ValueError: labels and no choice among them, not finite values, or no background; names the
            mask.
    """
    if values.dtype == bool:
        return values, []
    found = np.unique(values)
    if not np.isfinite(found.astype(float)).all():
        raise ValueError(f"{path.name} holds NaN or infinite values")
    if options.lesion_labels is not None:
        return np.isin(values, options.lesion_labels), []
    if found[0] != 0:
        raise ValueError(f"{path.name} has no background: no value is 0, the least is {found[0]}")
    if len(found) <= 2 or any_label:
        return values != 0, []
    middle = float(found[-1]) / 2
    if _are_labels(values, found):
        listed = ", ".join(f"{value:g}" for value in found[:8])
        raise ValueError(f"{path.name} holds the labels {listed}; state the lesion's lesion_labels")
    between = int(((values != 0) & (values != found[-1])).sum())
    note = f"{between} pixels between 0 and {found[-1]:g}: above {middle:g} is taken as lesion"
    return values > middle, [note]


def _are_labels(values: Array, found: Array) -> bool:
    """Whether values between the least and the greatest are labels, not smoothed edges."""
    if found[-1] <= MOST_LABELS and (found == found.round()).all():
        return True
    even = ndimage.minimum_filter(values, 3) == ndimage.maximum_filter(values, 3)
    between = (values > 0.1 * found[-1]) & (values < 0.9 * found[-1])
    return bool((even & between).any())


def unite(masks: list[NDArray[np.bool_]]) -> tuple[NDArray[np.bool_] | None, Notes]:
    """All masks of an image as one; None where there is no lesion in them."""
    if not masks:
        return None, ["no mask: measures of the whole image only"]
    united = np.logical_or.reduce(masks)
    if not united.any():
        return None, ["no lesion in its mask: measures of the whole image only"]
    notes = [f"{len(masks)} masks united"] * (len(masks) > 1)
    share = united.mean()
    if share > 0.5:
        notes.append(f"the mask covers {share:.0%} of the image; is it inverted?")
    return united, notes
