"""Lesions put in and taken out: what super-resolution makes of a tumour that is known exactly.

An inserted lesion has a known place, size and contrast, so that what SR did to it needs no outline
drawn by hand; a removed one leaves tissue in which SR must not draw it again.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from medsr_lib import checks

MARGIN = 3  # pixels filled beyond a lesion that is removed, which still mix lesion and tissue
_SAMPLES = 16  # along each side of a pixel: its share of the lesion is known to 1/256
_CLIPPED = 0.01  # of the contrast; an error if more is lost


def insert(
    image: Tensor,
    *,
    centre: tuple[int, int],
    diameter: float,
    contrast: float,
    psf: float = 0.0,
) -> Tensor:
    """Add a spherical lesion of one intensity to an image.

    A pixel gets `contrast` times the share of it that the lesion covers, as partial volume within
    a thin slice does. The slice goes through the centre of the sphere: a disc.

    Args:
        image: (..., H, W) in [0, 1]; every image of a batch gets the same lesion.
        centre: row and column of a pixel, whose centre is that of the lesion.
        diameter: in pixels.
        contrast: added intensity, in units of the data range 1; below 0 for a dark lesion. It is
            absolute, so that one number means one signal on every background.
        psf: standard deviation in pixels of a Gaussian that blurs the lesion as the scanner
            would; 0 leaves the edge as sharp as pixels allow. Interpolated images hold little
            above some frequency (the figshare slices, 512 pixels from about 256, above half of
            Nyquist), and a sharper lesion is trivial to detect there: 1 fits those.

    Raises:
        ValueError: a diameter, contrast or psf out of range, a lesion that reaches out of the
            image, or one that would leave [0, 1], so that its contrast would not be as stated.
    """
    check(diameter=diameter, contrast=contrast, psf=psf)
    height, width = image.shape[-2:]
    added = contrast * torch.from_numpy(_disc(diameter, psf)).to(image)
    half = len(added) // 2
    rows, columns = (slice(middle - half, middle + half + 1) for middle in centre)
    if min(rows.start, columns.start) < 0 or rows.stop > height or columns.stop > width:
        raise ValueError(
            f"a lesion of diameter {diameter} at {centre} reaches out of the {height} x {width} "
            "image; choose its centre with `places`"
        )
    wanted = image[..., rows, columns] + added
    lost = (wanted - wanted.clamp(0, 1)).abs().sum((-2, -1)) / added.sum().abs()
    if lost.max() > _CLIPPED:
        raise ValueError(
            f"contrast {contrast:+g} at {centre} leaves [0, 1]: {float(lost.max()):.0%} of it "
            "would be clipped away; choose less contrast or another place"
        )
    result = image.clone()
    result[..., rows, columns] = wanted.clamp(0, 1)
    return result


def check(*, diameter: float, contrast: float, psf: float) -> None:
    """Refuse numbers of a lesion that are out of range."""
    checks.positive("diameter", diameter)
    if checks.finite("psf", psf) < 0:
        raise ValueError(f"psf must be 0 or more (pixels), got {psf}")
    if not 0 < abs(checks.finite("contrast", contrast)) <= 1:
        raise ValueError(f"contrast must be in [-1, 1] and not 0, got {contrast}")


def places(
    normal: Tensor, *, n: int, diameter: float, apart: float, seed: int | Sequence[int]
) -> list[tuple[int, int]]:
    """Choose centres at random at which lesions lie wholly within normal tissue.

    Args:
        normal: (H, W) bool; where lesions may lie.
        n: centres wanted; fewer are returned where no more fit, none where none does.
        diameter: in pixels.
        apart: least distance between centres in pixels, at least 1.
        seed: of the choice.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: n or diameter below 1, or another number out of range.
    """
    checks.whole("n", n, least=1)
    checks.positive("apart", apart)
    for one in np.atleast_1d(np.asarray(seed)):
        checks.whole("seed", one, least=0)
    if checks.finite("diameter", diameter) < 1:
        raise ValueError(f"diameter must be at least 1, got {diameter}")
    if not isinstance(normal, Tensor) or normal.dtype != torch.bool or normal.ndim != 2:
        raise TypeError(f"normal must be a bool tensor (H, W), got {type(normal).__name__}")
    inside = ndimage.distance_transform_edt(np.pad(normal.cpu().numpy(), 1))[1:-1, 1:-1]
    free = np.argwhere(inside > diameter / 2 + math.sqrt(0.5))  # half the diagonal of a pixel
    generator = np.random.default_rng(seed)
    chosen: list[tuple[int, int]] = []
    while len(free) and len(chosen) < n:
        row, column = (int(v) for v in free[generator.integers(len(free))])
        chosen.append((row, column))
        distance = np.hypot(*(free - (row, column)).T)
        free = free[distance >= max(apart, 1)]
    return chosen


def reach(diameter: float, psf: float) -> int:
    """Pixels from the centre of an inserted lesion to the farthest row and column it changes."""
    return len(_disc(diameter, psf)) // 2


def remove(image: Tensor, mask: Tensor) -> Tensor:
    """Replace a lesion by what its surroundings suggest: a smooth surface without texture.

    Harmonic inpainting (Chan and Shen 2002, 10.1137/S0036139900368844): Laplace's equation with the
    surrounding pixels as border values. It stays between their least and greatest value, which the
    biharmonic equation does not on a noisy border. The lesion is filled with `MARGIN` pixels around
    it.

    Args:
        image: (..., H, W) in [0, 1].
        mask: (H, W) bool; of the lesion.

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
    hole = outside <= MARGIN
    if hole.all():
        raise ValueError("the mask with its margin covers the image; nothing is left to fill from")
    known = image.detach().cpu().double().numpy().reshape(-1, *mask.shape)
    filled = torch.from_numpy(_harmonic(known, hole)).to(image)
    result = image.clone().reshape(-1, *mask.shape)
    result[:, torch.from_numpy(hole).to(image.device)] = filled
    return result.reshape(image.shape)


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


def _disc(diameter: float, psf: float) -> NDArray[np.float32]:
    """The share of each pixel that a disc around the central one covers, blurred, (P, P)."""
    reach = math.ceil(diameter / 2 + 0.5)
    n = 2 * reach + 1
    at = (np.arange(n * _SAMPLES) + 0.5) / _SAMPLES - 0.5 - reach
    covered = np.hypot(at[:, None], at) <= diameter / 2
    share = covered.reshape(n, _SAMPLES, n, _SAMPLES).mean((1, 3)).astype(np.float32)
    used = share.any(0)
    return np.asarray(
        ndimage.gaussian_filter(np.pad(share[used][:, used], math.ceil(4 * psf)), psf)
    )
