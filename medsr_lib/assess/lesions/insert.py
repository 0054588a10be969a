"""Lesions put in and taken out: what super-resolution makes of a tumour that is known exactly.

An inserted lesion has a known place, size and contrast, so that what SR did to it needs no outline
drawn by hand; a removed one leaves tissue in which SR must not draw it again.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from medsr_lib.images import TOLERANCE

Shape = Literal["sphere", "irregular"]
Seed = int | Sequence[int]

REACH = 1.5
"""Radii an irregular lesion of the same area reaches at most; a round one reaches 1."""

_SAMPLES = 16  # along each side of a pixel: its share of the lesion is known to 1/256
_WAVES = np.arange(2, 7)  # around an irregular outline; one wave would only move it
_ROUGHNESS = 0.3  # of the radius, divided by the number of waves: the outline is smooth
_CLIPPED = 0.01  # of the contrast asked for; more than this is an error


def insert(
    image: Tensor,
    *,
    centre: tuple[float, float],
    diameter: float,
    contrast: float,
    shape: Shape = "sphere",
    seed: Seed | None,
    psf: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Add a lesion of one intensity to an image.

    A pixel gets `contrast` times the share of it that the lesion covers, as partial volume within
    a thin slice does. The slice goes through the centre of the sphere: a disc. An irregular lesion
    has the outline r(t) = 1 + sum a_k cos(k t + p_k), k = 2 to 6, of random a_k and p_k, scaled to
    the area of that disc.

    Args:
        image: (..., H, W) in [0, 1]; every image of a batch gets the same lesion.
        centre: row and column in pixels; (0, 0) is the centre of the first pixel.
        diameter: in pixels, of the disc of the same area.
        contrast: added intensity, in units of the data range 1; below 0 for a dark lesion. It is
            absolute, so that one number means one signal on every background.
        shape: "sphere" or "irregular".
        seed: of the irregular outline; None for a sphere.
        psf: standard deviation in pixels of a Gaussian that blurs the lesion as the scanner
            would; 0 leaves the edge as sharp as pixels allow. Interpolated images hold little
            above some frequency (the figshare slices, 512 pixels from about 256, above half of
            Nyquist), and a sharper lesion is trivial to detect there: 1 fits those.

    Returns:
        The image with the lesion, within [0, 1], and its mask (H, W) bool: pixels covered by half
        or more, before the blur.

    Raises:
        ValueError: a shape that does not exist, an irregular one without seed, a diameter or
            contrast that is none, a lesion that reaches out of the image, or one that would
            leave [0, 1], so that its contrast were not what was asked for.
    """
    _check(image, diameter, contrast, shape, seed, psf)
    height, width = image.shape[-2:]
    rows, columns, covered = _coverage(centre, diameter, shape, seed, math.ceil(4 * psf))
    if rows.start < 0 or columns.start < 0 or rows.stop > height or columns.stop > width:
        raise ValueError(
            f"a lesion of diameter {diameter} at {centre} reaches out of the {height} x {width} "
            "image; choose its centre with `places`"
        )
    share = torch.from_numpy(ndimage.gaussian_filter(covered, psf) if psf else covered).to(image)
    result = image.clone()
    wanted = image[..., rows, columns] + contrast * share
    result[..., rows, columns] = wanted.clamp(0, 1)
    lost = (wanted - wanted.clamp(0, 1)).abs().sum((-2, -1)) / (abs(contrast) * share.sum())
    if lost.max() > _CLIPPED:
        raise ValueError(
            f"contrast {contrast:+g} at {centre} leaves [0, 1]: {float(lost.max()):.0%} of it "
            "would be clipped away; choose less contrast or another place"
        )
    mask = torch.zeros(height, width, dtype=torch.bool, device=image.device)
    mask[rows, columns] = torch.from_numpy(covered >= 0.5).to(image.device)
    return result, mask


def places(
    image: Tensor,
    normal_mask: Tensor,
    *,
    n: int,
    diameter: float,
    seed: Seed,
    apart: float | None = None,
) -> list[tuple[int, int]]:
    """Choose centres at which round lesions lie wholly within normal tissue, without overlap.

    Args:
        image: (..., H, W), for its size only.
        normal_mask: (H, W) bool; where lesions may lie.
        n: centres wanted; fewer are returned where no more fit.
        diameter: in pixels; for irregular lesions `REACH` times theirs.
        seed: of the choice.
        apart: least distance between centres in pixels; by default one diameter and a pixel.

    Raises:
        ValueError: a mask of another size or type, n or diameter below 1, or no place at all.
    """
    if normal_mask.shape != image.shape[-2:] or normal_mask.dtype != torch.bool:
        raise ValueError(
            f"normal_mask must be bool and {tuple(image.shape[-2:])}, got {normal_mask.dtype} "
            f"and {tuple(normal_mask.shape)}"
        )
    if n < 1 or diameter < 1:
        raise ValueError(f"n and diameter must be at least 1, got {n} and {diameter}")
    inside = ndimage.distance_transform_edt(np.pad(normal_mask.cpu().numpy(), 1))[1:-1, 1:-1]
    free = np.argwhere(inside > diameter / 2 + math.sqrt(0.5))  # half the diagonal of a pixel
    if not len(free):
        raise ValueError(f"no lesion of {diameter} pixels fits wholly into the normal tissue")
    generator = np.random.default_rng(seed)
    chosen: list[tuple[int, int]] = []
    while len(free) and len(chosen) < n:
        row, column = (int(v) for v in free[generator.integers(len(free))])
        chosen.append((row, column))
        distance = np.hypot(*(free - (row, column)).T)
        free = free[distance >= (diameter + 1 if apart is None else max(apart, 1))]
    return chosen


def remove(image: Tensor, mask: Tensor, *, margin: int = 3) -> tuple[Tensor, Tensor]:
    """Replace a lesion by what its surroundings suggest: a smooth surface without texture.

    Harmonic inpainting (Chan and Shen 2002, 10.1137/S0036139900368844): Laplace's
    equation with the surrounding pixels as border values. It stays between their least and
    greatest value, which the biharmonic equation does not on a noisy border.

    Args:
        image: (..., H, W) in [0, 1].
        mask: (H, W) bool; of the lesion.
        margin: pixels filled beyond the mask, which still mix lesion and tissue.

    Returns:
        The image without the lesion, and what was filled, (H, W) bool.

    Raises:
        ValueError: a mask of another size or type, empty, or one that leaves nothing around it.
    """
    if mask.shape != image.shape[-2:] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool and {tuple(image.shape[-2:])}, got {mask.dtype} and "
            f"{tuple(mask.shape)}"
        )
    if not mask.any():
        raise ValueError("mask is empty; there is no lesion to remove")
    outside = ndimage.distance_transform_edt(~mask.cpu().numpy())
    hole = outside <= margin
    if hole.all():
        raise ValueError("the mask with its margin covers the image; nothing is left to fill from")
    known = image.detach().cpu().double().numpy().reshape(-1, *mask.shape)
    filled = torch.from_numpy(_harmonic(known, hole)).to(image)
    result = image.clone().reshape(-1, *mask.shape)
    at = torch.from_numpy(hole).to(image.device)
    result[:, at] = filled
    return result.reshape(image.shape), at


def _harmonic(known: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Solve Laplace's equation in the hole of images (N, H, W) -> its pixels (N, n)."""
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    at = np.argwhere(hole)
    neighbours = np.zeros(len(at))
    border = np.zeros((len(at), len(known)))
    pairs = []
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = at + step
        within = np.all((beside >= 0) & (beside < hole.shape), axis=1)
        row, column = beside[within].T
        neighbours += within
        unknown = number[row, column] >= 0
        here = np.flatnonzero(within)
        pairs.append(np.stack((here[unknown], number[row, column][unknown])))
        border[here[~unknown]] += known[:, row, column].T[~unknown]
    i, j = np.concatenate(pairs, axis=1)
    beside_each = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(len(at), len(at)))
    solved = spsolve((sparse.diags(neighbours) - beside_each).tocsc(), border)
    return np.asarray(solved).reshape(len(at), len(known)).T


def _coverage(
    centre: tuple[float, float], diameter: float, shape: Shape, seed: Seed | None, pad: int
) -> tuple[slice, slice, NDArray[np.float32]]:
    """The share of each pixel that a lesion covers, and the rows and columns where that is."""
    reach = math.ceil(diameter / 2 * (REACH if shape == "irregular" else 1) + 0.5)
    top, left = round(centre[0]) - reach, round(centre[1]) - reach
    n = 2 * reach + 1
    fine = (np.arange(n * _SAMPLES) + 0.5) / _SAMPLES - 0.5
    y, x = (fine + top - centre[0])[:, None], (fine + left - centre[1])[None, :]
    radius = diameter / 2 * (_outline(np.arctan2(y, x), seed) if shape == "irregular" else 1)
    covered = np.hypot(y, x) <= radius
    share = covered.reshape(n, _SAMPLES, n, _SAMPLES).mean((1, 3)).astype(np.float32)
    first, last = np.argwhere(share).min(0), np.argwhere(share).max(0) + 1
    share = np.pad(share[first[0] : last[0], first[1] : last[1]], pad)
    starts, stops = ((top + y, left + x) for y, x in (first - pad, last + pad))
    rows, columns = (slice(int(start), int(stop)) for start, stop in zip(starts, stops))
    return rows, columns, share


def _outline(angle: NDArray[np.float64], seed: Seed | None) -> NDArray[np.float64]:
    """The radius of an irregular outline at each angle; that of a disc of its area is 1."""
    generator = np.random.default_rng(seed)
    height = generator.normal(0, _ROUGHNESS / _WAVES)
    phase = generator.uniform(0, 2 * np.pi, len(_WAVES))

    def radius(at: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = (a * np.cos(k * at + p) for a, k, p in zip(height, _WAVES, phase))
        return np.clip(1 + sum(waves), 0.6, 1.4)

    around = radius(np.linspace(0, 2 * np.pi, 720, endpoint=False))
    return np.minimum(radius(angle) / np.sqrt(np.mean(around**2)), REACH)


def _check(
    image: Tensor, diameter: float, contrast: float, shape: str, seed: Seed | None, psf: float
) -> None:
    if image.ndim < 2 or not image.is_floating_point():
        raise ValueError(
            f"image must be floating point and (..., H, W), got {image.dtype} and "
            f"{tuple(image.shape)}"
        )
    low, high = (float(v) for v in torch.aminmax(image))
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ValueError(f"image: expected values in [0, 1], got [{low:.4g}, {high:.4g}]")
    if shape not in get_args(Shape):
        raise ValueError(f"no shape {shape!r}; there are {', '.join(get_args(Shape))}")
    if shape == "irregular" and seed is None:
        raise ValueError("an irregular lesion needs a seed for its outline, got None")
    if not (diameter > 0 and math.isfinite(diameter)):
        raise ValueError(f"diameter must be positive (pixels), got {diameter}")
    if not (psf >= 0 and math.isfinite(psf)):
        raise ValueError(f"psf must be 0 or more (pixels), got {psf}")
    if not (0 < abs(contrast) <= 1):
        raise ValueError(f"contrast must be in [-1, 1] and not 0, got {contrast}")
