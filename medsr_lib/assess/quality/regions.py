"""Where quality is measured: the tumour, the zones around its border, and what to compare it with.

Radii are Euclidean: dilate(M, r) is every pixel within r of M.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_dilation, isotropic_erosion
from torch import Tensor

from medsr_lib.case import Case

NAMES = (
    *("whole", "tumour", "core", "rim", "peritumoural"),
    *("head", "normal", "mirror", "matched", "air"),
)
RIM, RIM_MM = 5, 2.5  # pixels of a 0.49 mm grid, and mm, on each side of the tumour's border
AROUND, AROUND_MM = 15, 7.5  # beyond the border, that may still be affected by the tumour

Mask = NDArray[np.bool_]


def regions(
    image: Tensor | ArrayLike,
    mask: Tensor | ArrayLike,
    *,
    names: Sequence[str] = NAMES,
    spacing: float | None = None,
) -> dict[str, Tensor]:
    """The regions of one slice, from its HR image and tumour mask M.

    - `whole`: every pixel; `tumour`: M
    - `core`: erode(M, 5); `rim`: dilate(M, 5) without erode(M, 5), the border with 5 pixels
    - `peritumoural`: dilate(M, 15) without dilate(M, 5)
    - `head`: foreground by threshold, closed and filled; `air`: the rest
    - `normal`: head without dilate(M, 15); not always healthy, other lesions may be unmasked
    - `mirror`: M reflected at the head's vertical axis, where that lies in `normal`; the other side
      in axial and coronal slices, without meaning in sagittal ones
    - `matched`: M moved to the place in `normal` whose mean intensity and gradient are most alike

    A region may be empty: `core` of a small tumour, `mirror` of one on the midline, `matched` where
    M fits nowhere into `normal`, and `normal` with these two where the tumour leaves none of it.
    The image's frame is no border of M: `core` reaches it where M does. A constant image is all
    head.

    Args:
        image: (H, W) HR in [0, 1]; also (1, H, W) or (1, 1, H, W).
        mask: the same shape, bool or 0 and 1.
        names: the regions wanted, all by default.
        spacing: side of a pixel in mm. With it the radii are 2.5 and 7.5 mm in place of 5 and 15
            pixels.

    Returns:
        (H, W) bool by name, in the order of `names`.

    Raises:
        ValueError: shapes that differ, an image with NaN, a mask that is not binary or is empty,
            no such region.
    """
    check_names(names)
    hr, tumour = _as_arrays(image, mask)
    rim, reach = (RIM, AROUND) if spacing is None else (RIM_MM / spacing, AROUND_MM / spacing)
    outside, inside = _distances(tumour, reach)
    near, around, core = outside <= rim, outside <= reach, inside > rim
    found = {
        "whole": np.ones_like(tumour),
        "tumour": tumour,
        "core": core,
        "rim": near & ~core,
        "peritumoural": around & ~near,
    }
    if not found.keys() >= set(names):  # the head takes longest
        head = find_head(hr) | tumour
        normal = head & ~around
        found |= {"head": head, "normal": normal, "air": ~head}
    if "mirror" in names:
        found["mirror"] = reflect(tumour, head) & normal
    if "matched" in names:
        found["matched"] = match(hr, tumour, normal)
    return {name: torch.from_numpy(found[name]) for name in names}


def of_case(case: Case, names: Sequence[str]) -> dict[str, Tensor]:
    """`regions` of a case, (H, W) bool by name, in mm where its spacing is known.

    `whole` needs no mask.

    Raises:
        ValueError: a case without a mask, or with an empty one; no such region. Names the case.
    """
    if tuple(names) == ("whole",):
        return {"whole": torch.ones_like(case.image, dtype=torch.bool)}
    if case.mask is None:
        raise ValueError(
            f'case {case.id} has no mask: only its region "whole" can be measured, '
            f"not {', '.join(names)}"
        )
    try:
        return regions(case.image, case.mask, names=names, spacing=case.spacing)
    except ValueError as error:
        raise ValueError(f"case {case.id}: {error}") from None


def check_names(names: Sequence[str]) -> None:
    """Refuse names of regions that do not exist."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        wrong = ", ".join(map(repr, unknown)) or "is named"
        raise ValueError(f"no region {wrong}; there are {', '.join(NAMES)}")


def find_head(hr: NDArray[np.floating]) -> Mask:
    """The head as one filled region: smoothed, above a third of Otsu's threshold, closed, largest.

    Otsu's threshold (1979) separates bright fat and enhancing tissue from the rest; a third of it
    separates dark brain and fluid from air. The closing, 8 pixels at 512, spans skull and sinuses.
    """
    smooth = ndimage.gaussian_filter(hr, 1.5)
    if smooth.min() == smooth.max():
        return np.ones(hr.shape, bool)
    foreground = smooth > threshold_otsu(smooth) / 3
    box = bounding_box(foreground)  # beyond it nothing is closed
    reach = max(1, round(min(hr.shape) / 64))
    grown = isotropic_dilation(np.pad(foreground[box], 2 * reach), reach)
    closed = isotropic_erosion(ndimage.binary_fill_holes(grown), reach)
    closed = closed[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    labels, _ = ndimage.label(closed | foreground[box])
    largest = np.argmax(np.bincount(labels.ravel())[1:]) + 1
    head = np.zeros_like(foreground)
    head[box] = ndimage.binary_fill_holes(labels == largest)
    return head


def reflect(mask: Mask, head: Mask) -> Mask:
    """Reflect a mask left to right at the mean column of the head."""
    axis = np.nonzero(head)[1].mean()
    rows, columns = np.nonzero(mask)
    columns = np.rint(2 * axis - columns).astype(int)
    kept = (columns >= 0) & (columns < mask.shape[1])
    reflected = np.zeros_like(mask)
    reflected[rows[kept], columns[kept]] = True
    return reflected


def match(hr: NDArray[np.floating], mask: Mask, normal: Mask) -> Mask:
    """Move a mask to where, wholly inside `normal`, the image is most like it is under the mask.

    Alike means the least sum of squared differences of mean intensity and mean gradient magnitude,
    each divided by its standard deviation over all places that fit. Empty if there is none.
    """
    shape, box = mask[bounding_box(mask)], bounding_box(normal)
    gradient = np.hypot(*np.gradient(hr))
    matched = np.zeros_like(mask)
    inside = matched[box]  # a view: to write to it writes to `matched`
    if any(place < of_mask for place, of_mask in zip(inside.shape, shape.shape)):
        return matched
    outside, *sums = _sums_under(shape, np.stack((~normal[box], hr[box], gradient[box])))
    fits = outside < 0.5
    if not fits.any():
        return matched
    unlikeness = np.zeros(fits.shape)
    for feature, of_places in zip((hr, gradient), sums):
        means = of_places / shape.sum()
        difference = means - feature[mask].mean()
        unlikeness += (difference / (means[fits].std() + 1e-12)) ** 2
    unlikeness[~fits] = np.inf
    row, column = np.unravel_index(np.argmin(unlikeness), fits.shape)
    inside[row : row + shape.shape[0], column : column + shape.shape[1]] = shape
    return matched


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold all of a mask (H, W) and a margin; none if it is empty."""
    if not mask.any():
        return slice(0, 0), slice(0, 0)
    places = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    rows, columns = (slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in places)
    return rows, columns


def _sums_under(shape: Mask, features: NDArray[np.floating]) -> NDArray[np.float64]:
    """The sum of each feature (n, H, W) under a mask (h, w), for every place inside the image.

    A circular convolution: where the mask lies inside the image, it does not reach round.
    """
    size = [fft.next_fast_len(n, real=True) for n in features.shape[-2:]]
    kernel = fft.rfft2(shape[::-1, ::-1].astype(np.float64), size)
    sums = fft.irfft2(fft.rfft2(features.astype(np.float64), size) * kernel, size)
    (height, width), (h, w) = features.shape[-2:], shape.shape
    return np.asarray(sums[:, h - 1 : height, w - 1 : width])


def _distances(tumour: Mask, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of every pixel to the tumour, and to what is not tumour; infinite beyond a reach."""
    box = bounding_box(tumour, margin=int(reach) + 2)
    outside, inside = np.full(tumour.shape, np.inf), np.zeros(tumour.shape)
    outside[box] = ndimage.distance_transform_edt(~tumour[box])
    inside[box] = ndimage.distance_transform_edt(tumour[box]) if not tumour.all() else np.inf
    return outside, inside


def _as_arrays(
    image: Tensor | ArrayLike, mask: Tensor | ArrayLike
) -> tuple[NDArray[np.floating], Mask]:
    hr, stored = (torch.as_tensor(v).detach().cpu().numpy() for v in (image, mask))
    if hr.shape != stored.shape or hr.ndim < 2 or hr.size != hr.shape[-1] * hr.shape[-2]:
        raise ValueError(f"image is {hr.shape} and mask {stored.shape}; both must be (H, W)")
    hr, stored = hr.reshape(hr.shape[-2:]), stored.reshape(hr.shape[-2:])
    if not np.isfinite(hr).all():
        raise ValueError("image holds NaN or infinite values")
    if not np.isin(stored, (0, 1)).all():
        raise ValueError(f"mask is not binary: values {np.unique(stored)[:5].tolist()} ...")
    if not stored.any():
        raise ValueError("mask is empty; there is no tumour to measure")
    return hr, stored.astype(bool)
