"""Where quality is measured: the tumour, the zones around its border, and what to compare it with.

Radii are Euclidean: dilate(M, r) is every pixel within r of M.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

from medsr_lib import checks, images
from medsr_lib.assess.quality.brain import dilated, filled, find_brain
from medsr_lib.assess.quality.symmetry import midline, reflect
from medsr_lib.case import Case

NAMES = (
    *("whole", "tumour", "core", "rim", "peritumoural"),
    *("brain", "normal", "matched", "mirror", "rest_of_head", "head", "air"),
)
RIM, RIM_MM = 5, 2.5  # pixels of a 0.49 mm grid, and mm, on each side of the tumour's border
AROUND, AROUND_MM = 15, 7.5  # beyond the border, that may still be affected by the tumour

WIDTH = 240.0  # mm that a slice of unknown spacing is taken to be wide, to look for the brain

Mask = NDArray[np.bool_]
Tissue = str | Tensor | Mapping[str, Tensor]
"""What is compared with the tumour: "brain", "head", "foreground", "everything" or a mask (H, W);
for many cases also masks by case id, such as those of files."""

TISSUES = ("brain", "head", "foreground", "everything")


def regions(
    image: Tensor | ArrayLike,
    mask: Tensor | ArrayLike,
    *,
    names: Sequence[str] = NAMES,
    spacing: float | None = None,
    tissue: str | Tensor = "brain",
) -> dict[str, Tensor]:
    """The regions of one slice, from its HR image and tumour mask M.

    - `whole`: every pixel; `tumour`: M
    - `core`: erode(M, 5); `rim`: dilate(M, 5) without erode(M, 5), the border with 5 pixels
    - `peritumoural`: dilate(M, 15) without dilate(M, 5)
    - `brain`: brain with the fluid in it, and M (`brain.find_brain`), or the tissue of a mask
    - `normal`: the tissue without dilate(M, 15): brain far from the tumour; not always healthy,
      other lesions may be unmasked
    - `matched`: M moved to the place in `normal` whose mean intensity and gradient are most alike
    - `mirror`: M reflected at the head's midline (`symmetry.midline`), the other side in axial and
      coronal slices; the part in `normal`, where that is half of it and 95 % lie in the tissue
    - `rest_of_head`: head without the tissue and dilate(M, 15): scalp, skull, face, neck
    - `head`: foreground by threshold, closed and filled; `air`: the rest

    A region may be empty: `core` of a small tumour; `brain`, and with it `normal`, `matched`,
    `mirror` and `rest_of_head`, where no brain is found that can be believed; `matched` where M
    fits nowhere into `normal`; `mirror` of a tumour on the midline, and in a slice without a left
    and a right. The image's frame is no border of M: `core` reaches it where M does. A constant
    image is all head.

    Args:
        image: (H, W) HR in [0, 1]; also (1, H, W) or (1, 1, H, W).
        mask: the same shape, bool or 0 and 1.
        names: the regions wanted, all by default.
        spacing: side of a pixel in mm. With it the radii are 2.5 and 7.5 mm in place of 5 and 15
            pixels.
        tissue: what `normal`, `matched` and `mirror` lie in. "brain", of a slice of MRI; "head";
            "foreground", all that is brighter than a third of Otsu's threshold; "everything"; or
            (H, W) bool, a mask of your own. Without a brain or a mask, `brain` is empty.

    Returns:
        (H, W) bool by name, in the order of `names`.

    Raises:
        TypeError, ValueError: shapes that differ, an image with NaN, a mask that is not binary or
            is empty, no such region, no such tissue.
    """
    check_names(names)
    if spacing is not None:
        checks.positive("spacing", spacing)
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
    if found.keys() >= set(names):  # the head takes longest
        return {name: torch.from_numpy(found[name]) for name in names}
    head = find_head(hr) | tumour
    found |= {"head": head, "air": ~head}
    if found.keys() >= set(names):
        return {name: torch.from_numpy(found[name]) for name in names}
    compared = _tissue(tissue, hr, tumour, head, spacing)
    nothing, of_brain = np.zeros_like(tumour), not isinstance(tissue, str) or tissue == "brain"
    found["brain"] = compared if of_brain else nothing
    found["normal"] = normal = compared & ~around
    found["rest_of_head"] = head & ~compared & ~around if compared.any() else nothing
    if "mirror" in names:
        found["mirror"] = mirror(hr, tumour, head, compared, normal)
    if "matched" in names:
        found["matched"] = match(hr, tumour, normal)
    return {name: torch.from_numpy(found[name]) for name in names}


def of_case(case: Case, names: Sequence[str], *, tissue: Tissue = "brain") -> dict[str, Tensor]:
    """`regions` of a case, (H, W) bool by name, in mm where its spacing is known.

    `whole` needs no mask. A mask as `tissue` may be larger than a cropped case: it is cropped
    around its centre, as cases are.

    Raises:
        TypeError, ValueError: a case without a mask, or with an empty one, or without a tissue
            mask; no such region or tissue. Names the case.
    """
    if tuple(names) == ("whole",):
        return {"whole": torch.ones_like(case.image, dtype=torch.bool)}
    if case.mask is None:
        raise ValueError(
            f'case {case.id} has no mask: only its region "whole" can be measured, '
            f"not {', '.join(names)}"
        )
    if isinstance(tissue, Mapping):
        if case.id not in tissue:
            raise ValueError(f"case {case.id}: tissue holds no mask of it")
        tissue = tissue[case.id]
    if isinstance(tissue, Tensor) and tissue.ndim == 2:
        (height, width), (h, w) = tissue.shape, case.image.shape
        top, left = max(0, height - h) // 2, max(0, width - w) // 2
        tissue = tissue[top : top + h, left : left + w]
    try:
        return regions(case.image, case.mask, names=names, spacing=case.spacing, tissue=tissue)
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
    foreground = find_foreground(hr)
    if foreground.all():
        return foreground
    box = bounding_box(foreground)  # beyond it nothing is closed
    reach = max(1, round(min(hr.shape) / 64))
    grown = filled(dilated(np.pad(foreground[box], 2 * reach), reach))
    closed = ~dilated(~grown, reach)[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    labels, _ = ndimage.label(closed | foreground[box])
    largest = np.argmax(np.bincount(labels.ravel())[1:]) + 1
    head = np.zeros_like(foreground)
    head[box] = filled(labels == largest)
    return head


def find_foreground(hr: NDArray[np.floating]) -> Mask:
    """What is brighter than a third of Otsu's threshold after some smoothing; all of a constant."""
    smooth = ndimage.gaussian_filter(hr, 1.5)
    if smooth.min() == smooth.max():
        return np.ones(hr.shape, bool)
    return np.asarray(smooth > threshold_otsu(smooth) / 3)


def mirror(hr: NDArray[np.floating], mask: Mask, head: Mask, tissue: Mask, normal: Mask) -> Mask:
    """Reflect a mask at the head's midline: the part in `normal`, which is part of the tissue.

    Nothing without a midline, where 5 % leave the tissue, or less than half lies in `normal`.
    """
    line = midline(hr, head) if normal.any() else None
    if line is None:
        return np.zeros_like(mask)
    reflected, size = reflect(mask, line), mask.sum()
    kept = reflected & normal
    fits = (reflected & tissue).sum() >= 0.95 * size and kept.sum() >= 0.5 * size
    return kept if fits else np.zeros_like(mask)


def match(hr: NDArray[np.floating], mask: Mask, normal: Mask) -> Mask:
    """Move a mask to where, wholly inside `normal`, the image is most like it is under the mask.

    Alike means the least sum of squared differences of mean intensity and mean gradient magnitude,
    each divided by its standard deviation over all places that fit. Empty if there is none.
    """
    shape, box = mask[bounding_box(mask)], bounding_box(normal)
    gradient, used = np.zeros_like(hr), bounding_box(mask | normal, margin=1)
    gradient[used] = np.hypot(*np.gradient(hr[used]))
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


def _tissue(
    tissue: str | Tensor, hr: NDArray[np.floating], tumour: Mask, head: Mask, spacing: float | None
) -> Mask:
    """The pixels that the tumour is compared with, and the tumour."""
    if isinstance(tissue, Tensor):
        if tissue.dtype != torch.bool:
            raise TypeError(f"tissue must be a mask of bool, got {tissue.dtype}")
        if tuple(tissue.shape) != hr.shape:
            raise ValueError(f"tissue is {tuple(tissue.shape)} and the image {hr.shape}")
        return tissue.cpu().numpy() | tumour
    if tissue == "brain":
        pixel = WIDTH / min(hr.shape) if spacing is None else spacing
        box = bounding_box(head, margin=8)  # air around it, where the slice has some
        brain = np.zeros_like(head)
        brain[box] = find_brain(hr[box], tumour[box], head[box], pixel=pixel)
        return brain
    if tissue == "head":
        return head
    if tissue == "foreground":
        return find_foreground(hr) | tumour
    if tissue == "everything":
        return np.ones_like(head)
    raise ValueError(f"no tissue {tissue!r}; there are {', '.join(TISSUES)}, or a mask (H, W)")


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
    try:
        hr, stored = (torch.as_tensor(v).detach().cpu() for v in (image, mask))
    except (TypeError, ValueError, RuntimeError):
        kinds = f"{type(image).__name__} and {type(mask).__name__}"
        raise TypeError(f"image and mask must be arrays (H, W), got {kinds}") from None
    shape, other = tuple(hr.shape), tuple(stored.shape)
    if shape != other or hr.ndim < 2 or hr.numel() != shape[-1] * shape[-2]:
        raise ValueError(f"image is {shape} and mask {other}; both must be (H, W)")
    images.check(hr.reshape(1, 1, *shape[-2:]), "image")
    hr = hr.reshape(shape[-2:]).to(torch.promote_types(hr.dtype, torch.float32))
    marked = stored.reshape(shape[-2:]).numpy()
    if not np.isin(marked, (0, 1)).all():
        raise ValueError(f"mask is not binary: values {np.unique(marked)[:5].tolist()} ...")
    if not marked.any():
        raise ValueError("mask is empty; there is no tumour to measure")
    return hr.numpy(), marked.astype(bool)
