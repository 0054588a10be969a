"""The brain in one slice of MRI, found from the slice alone: axial, coronal or sagittal, upright.

After contrast, brain is the largest region of even intensity, and the dark skull lies around it.
From seeds of even intensity a closed contour is drawn: along each of 96 rays the best place where
brain ends, neighbouring rays alike (dynamic programming, as Amini et al. 1990, 10.1109/34.57681,
for active contours). Lengths are in mm; the constants were set on 60 slices of the figshare set
while looking at them, and on the phantom, whose brain is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.filters import threshold_otsu

Mask = NDArray[np.bool_]
Array = NDArray[np.floating[Any]]

AREA, SOLIDITY, TUMOUR, BORDER = (0.2, 0.97), 0.75, 10.0, 0.6
"""What a brain must have to be believed: see `find_brain`. TUMOUR is in mm."""

_FINE = 0.94  # mm: side of a pixel where the skull is looked for, which can be 3 mm thick
_RAYS, _STEP, _REACH = 96, 1.25, 124.0  # rays; mm from place to place along one; mm of its length
_BENDS = 4  # places by which neighbouring rays differ at most
_EVEN = 0.3  # standard deviation over mean within 9 mm: brain with its folds, unlike a face
_BAND = (-0.45, 0.3)  # of log(intensity / brain's): white and grey matter
_LIKE = (
    (-1.8, -1.1, -0.75, -0.5, -0.35, 0.25, 0.35, 0.65),
    (-5.0, -2.5, -1.5, 0.0, 1.0, 1.0, 0.0, -2.0),
)
"""How much log(intensity / brain's) speaks for brain: bone is dark, fat and marrow are bright."""

_LOST = 5.6  # mm x how much it speaks against brain: after so much a ray has left the brain
_OUTWARDS = 1.1  # mm from the best place to the surface of the phantom's brain
_ROUNDS = 3
_PLACES = _STEP / (2 * _FINE) * np.arange(1, 1 + round(_REACH / _STEP))  # coarse pixels


@dataclass(frozen=True)
class _Slice:
    """A slice on two grids of about 0.94 and 1.9 mm, and what is worked out once for all seeds."""

    log: Array  # (2 h, 2 w) of the intensity, fine
    even: Array  # (h, w) standard deviation over mean
    darkest: Array  # (h, w) of the log intensity in the pixels of the fine grid
    coarse: Array  # (h, w) log intensity
    line: Array  # (2 h, 2 w) how much darker than what is on both sides, within 8 mm; from 0.12 on
    depth: Array  # (h, w) distance from the head's outside in pixels
    shallow: Array  # (h, w) 1 outside, nearly 0 from 20 pixels on
    near: Array  # (h, w) 3 outside, 1 from 14 on: under the scalp, bone is thin and must be found
    head: Mask  # (h, w)
    tumour: Mask  # (h, w)


@dataclass
class _Try:
    """A seed and the contour that grew from it."""

    level: float  # log intensity of brain
    seed: Mask
    disc: Mask | None  # where everything is taken for brain at first: ventricles, oedema
    alone: bool  # whether only the seed's largest piece is followed
    bias: Array  # of the log intensity, (h, w)
    inside: Mask = field(default_factory=lambda: np.zeros((0, 0), bool))
    centre: Sequence[float] = (0, 0)
    radius: Array = field(default_factory=lambda: np.zeros(0))
    border: float = 0.0
    score: float = -np.inf


def find_brain(hr: Array, tumour: Mask, head: Mask, *, pixel: float) -> Mask:
    """Brain with the fluid in it, and the tumour; without skull, scalp, face, orbits and neck.

    Nothing where it is not believed: unless its area is 20 to 97 % of the head's and at least 75 %
    of that of its convex hull, the tumour reaches to within 10 mm of it (a pituitary one lies below
    it), and bone, fluid or fat lies beyond 60 % of its border.

    Args:
        hr: (H, W) in [0, 1]; may be cut to the head with some pixels of air around.
        tumour: (H, W), not empty.
        head: (H, W), as `regions.find_head` finds it.
        pixel: side of a pixel in mm, at least roughly.

    Returns:
        (H, W) bool, empty where no brain is found.
    """
    shrink, enlarge = max(1, round(_FINE / pixel)), max(1, round(pixel / _FINE))
    s = _prepare(hr, tumour, head, shrink, enlarge)
    tries = _seeds(s)
    for n in range(_ROUNDS):
        _grow(s, tries, first=n == 0)
        tries = sorted(tries, key=lambda one: -one.score)[:2]
    nothing = np.zeros(hr.shape, bool)
    if not tries or not np.isfinite(tries[0].score):
        return nothing
    best, size = tries[0], 2 * shrink / enlarge
    radius = size * (best.radius + _OUTWARDS / (2 * _FINE))
    centre = tuple((at + 0.5) * size - 0.5 for at in best.centre)
    brain = _fill(hr.shape, centre, radius) & head
    hull = _hull_area(_points(centre, radius))
    share = brain.sum() / max(1, head.sum())
    rows, columns = np.nonzero(tumour)
    near = _inside(rows, columns, centre, radius + TUMOUR / pixel)
    plausible = (
        AREA[0] <= share <= AREA[1]
        and brain.sum() >= SOLIDITY * hull
        and near.any()
        and best.border >= BORDER
    )
    return brain | tumour if plausible else nothing


def dilated(mask: Mask, radius: int) -> Mask:
    """Every pixel of an image (H, W) within whole pixels of a mask."""
    down = np.arange(-radius, radius + 1)
    across = np.sqrt(radius**2 - down**2).astype(int)  # how far the disc reaches in each row
    wide, found = mask.copy(), mask.copy()
    for width in range(radius + 1):
        wide[:, width:] |= mask[:, : mask.shape[1] - width]
        wide[:, : mask.shape[1] - width] |= mask[:, width:]
        for row in down[across == width].tolist():
            to, of = (slice(max(0, k), mask.shape[0] + min(0, k)) for k in (row, -row))
            found[to] |= wide[of]
    return found


def filled(mask: Mask) -> Mask:
    """A mask (H, W) and its holes: what is not joined to the image's frame around it."""
    labels, n = ndimage.label(~mask)
    outside = np.zeros(n + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[side] = True
    outside[0] = False  # the mask
    return np.asarray(~outside[labels])


def _prepare(hr: Array, tumour: Mask, head: Mask, shrink: int, enlarge: int) -> _Slice:
    """Bring a slice to both grids."""
    if enlarge > 1:
        hr = ndimage.gaussian_filter(_enlarged(hr, enlarge), enlarge / 2)
        tumour, head = _enlarged(tumour, enlarge), _enlarged(head, enlarge)
    short = tuple((0, -n % (2 * shrink)) for n in hr.shape)
    hr = np.pad(hr, short, mode="edge")
    tumour, head = np.pad(tumour, short, mode="edge"), np.pad(head, short, mode="edge")
    fine = ndimage.gaussian_filter(_means(hr, shrink), 0.5)
    coarse = _means(hr, 2 * shrink)
    smooth = ndimage.gaussian_filter(coarse, 0.7)
    flat = smooth.min() == smooth.max()
    dark = np.log(1e-4 if flat else max(1e-4, threshold_otsu(smooth) / 3))
    log = np.log(np.maximum(fine, 1e-4))
    above = np.maximum(log, dark - 0.5)
    mean = ndimage.uniform_filter(coarse, 5)
    variance = ndimage.uniform_filter(coarse**2, 5) - mean**2
    (h, w), inside = coarse.shape, _means(head, 2 * shrink) >= 0.5
    depth = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    return _Slice(
        log=log,
        even=np.sqrt(np.maximum(variance, 0)) / (mean + 1e-6),
        darkest=log.reshape(h, 2, w, 2).min((1, 3)),
        coarse=np.log(np.maximum(coarse, 1e-4)),
        line=8 * np.maximum(ndimage.grey_closing(above, size=(9, 9)) - above - 0.12, 0),
        depth=depth,
        shallow=np.exp(-((depth / 10) ** 2)),
        near=1 + 2 * np.exp(-((depth / 7) ** 2)),
        head=inside,
        tumour=_means(tumour, 2 * shrink) >= 0.5,
    )


def _seeds(s: _Slice) -> list[_Try]:
    """Even tissue of the commonest intensities: the largest piece, the larger ones, those deep in
    the head."""
    tries = []
    deepest = np.unravel_index(np.argmax(s.depth), s.depth.shape)
    rows, columns = np.ogrid[: s.depth.shape[0], : s.depth.shape[1]]
    away = np.hypot(rows - deepest[0], columns - deepest[1])
    nowhere = np.zeros_like(s.coarse)
    for level in _levels(s):
        even = _even(s, level, nowhere)
        labels, n = ndimage.label(even)
        if not n:
            continue
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        tries.append(_Try(level, labels == sizes.argmax(), None, True, nowhere))
        large = sizes > 0.1 * sizes.max()
        if large.sum() > 1:
            near = away < s.depth.max() + 4
            tries.append(_Try(level, large[labels] & near, None, False, nowhere))
        disc = away < 0.6 * s.depth.max()
        tries.append(_Try(level, even & disc, disc, False, nowhere))
    return [one for one in tries if one.seed.any()]


def _levels(s: _Slice) -> list[float]:
    """Log intensities that may be the brain's: the commonest in even tissue, and the next one."""
    chosen = s.head & (s.depth > 6) & ~s.tumour
    if not chosen.any():
        return []
    weights = np.exp(-((s.even[chosen] / 0.12) ** 2))
    counts, edges = np.histogram(s.coarse[chosen], bins=100, range=(-4.5, 0), weights=weights)
    counts = ndimage.gaussian_filter1d(counts, 0.1 / (edges[1] - edges[0]))
    middles = (edges[1:] + edges[:-1]) / 2
    first = middles[counts.argmax()]
    others = counts * (abs(middles - first) > 0.25)
    second = [middles[others.argmax()]] if others.max() > 0.25 * counts.max() else []
    return [float(level) for level in (first, *second)]


def _even(s: _Slice, level: float, bias: Array) -> Mask:
    """Pieces of even tissue of the brain's intensity that are wider than 12 mm, and the tumour."""
    own = level + bias
    like = (s.coarse - own > _BAND[0]) & (s.coarse - own < _BAND[1]) & (s.darkest - own > -0.75)
    even = like & s.head & (s.even < _EVEN)
    narrow = dilated(np.pad(~(even | s.tumour), 3, constant_values=True), 3)
    return dilated(~narrow, 3)[3:-3, 3:-3]


def _grow(s: _Slice, tries: Sequence[_Try], *, first: bool) -> None:
    """Draw the contour around each seed, and judge it; in place."""
    grown, rays = [], []
    for one in tries:
        one.score = -np.inf
        seed = one.seed
        if not first:
            seed = _even(s, one.level, one.bias) & one.inside
            if one.alone:
                seed = _largest(seed & ~s.tumour) | (seed & s.tumour)
        reach = 2 if first else 4
        closed = ~dilated(~dilated(np.pad(seed, 5), reach), reach)[5:-5, 5:-5]
        whole = filled(closed | s.tumour) & (s.depth > 3)
        if first and one.disc is not None:
            whole |= one.disc
        if seed.any() and whole.any():
            one.centre = ndimage.center_of_mass(whole)
            grown.append(one)
            rays.append(_look(s, one, whole))
    if not grown:
        return
    ends = _smoothest(np.stack([gained for gained, _ in rays]))
    for one, end, (_, beyond) in zip(grown, ends, rays):
        one.radius = _PLACES[end]
        one.inside = _fill(s.head.shape, one.centre, one.radius)
        ahead = np.clip(end + np.arange(-1, 5)[:, None], 0, len(_PLACES) - 1)
        not_brain = np.interp(beyond[ahead, np.arange(_RAYS)].min(0), (-1.5, 0), (1, 0))
        one.border = float(np.average(not_brain, weights=one.radius))
        one.bias = _bias(s, one)
        coarse, even, tumour = (of[one.inside] for of in (s.coarse, s.even, s.tumour))
        off = coarse - one.level - one.bias[one.inside]
        fits = np.interp(off, *_FITS) - np.interp(even, *_UNEVEN)
        one.score = float(np.where(tumour, 1, fits).sum()) * one.border**2


_FITS = ((-1.0, -0.5, -0.35, 0.25, 0.35, 0.7), (-1.5, 0.0, 1.0, 1.0, 0.0, -1.5))
_UNEVEN = ((0.12, 0.35), (0.0, 1.0))


def _look(s: _Slice, one: _Try, whole: Mask) -> tuple[Array, Array]:
    """Along each ray (places, rays): what is gained by ending the brain there, and how much the
    tissue there speaks for brain."""
    outside, at = np.zeros((len(_PLACES), _RAYS), bool), []  # on the fine grid
    for of, n in zip(_sides(one.centre, _PLACES[:, None]), s.log.shape):
        of = np.rint(2 * of + 0.5).astype(int)
        outside |= (of < 0) | (of >= n)
        at.append(of.clip(0, n - 1))
    rows, columns = at
    coarse = (rows // 2, columns // 2)
    depth, tumour = s.depth[coarse], s.tumour[coarse]
    speaks = np.interp(s.log[rows, columns] - one.level - one.bias[coarse], *_LIKE)
    line = s.line[rows, columns]
    beyond = np.where(outside, -5, np.minimum(speaks, 1 - line))
    speaks, near = np.minimum(speaks, 1 - line * s.shallow[coarse]).clip(-5), s.near[coarse]
    speaks = np.where(speaks < 0, speaks * near, speaks / np.sqrt(near))
    speaks[whole[coarse] | tumour] = 1
    speaks[(depth <= max(2, 0.07 * s.depth.max())) & ~tumour | outside] = -6
    gained = np.cumsum(speaks, 0) * _PLACES[0]
    lost = np.maximum.accumulate(np.maximum(gained, 0), 0) - gained > _LOST / (2 * _FINE)
    left = np.logical_or.accumulate(lost, 0)
    return np.where(left, -1e3 - 15 * np.arange(len(gained))[:, None], gained), beyond


def _smoothest(gained: Array) -> NDArray[np.intp]:
    """The place on each ray (n, rays): greatest gains (n, places, rays) less squared steps.

    The circle is unrolled with half of it once more on both sides, so that it closes.
    """
    n, places, rays = gained.shape
    half = rays // 2
    order = np.arange(-half, rays + half) % rays
    steps = np.arange(-_BENDS, _BENDS + 1)
    penalty = ((steps * _PLACES[0]) ** 2)[:, None, None]
    totals = np.full((len(order), n, places + 2 * _BENDS), -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(totals, places, axis=2).swapaxes(1, 2)
    inner, gains = totals[:, :, _BENDS:-_BENDS], gained.transpose(2, 0, 1)
    inner[0] = gains[order[0]]
    for k, ray in enumerate(order[1:], 1):
        np.maximum.reduce(windows[k - 1] - penalty, out=inner[k])
        inner[k] += gains[ray]
    path = [inner[-1].argmax(1)]
    for k in range(len(order) - 2, half - 1, -1):
        before = windows[k][:, np.arange(n), path[-1]] - penalty[:, 0]
        path.append(path[-1] + before.argmax(0) - _BENDS)
    return np.stack(path[::-1], 1)[:, :rays]


def _bias(s: _Slice, one: _Try) -> Array:
    """How the log intensity of even tissue inside drifts over the slice: the coil's shading."""
    difference = s.coarse - one.level
    off = difference - one.bias
    used = one.inside & (s.even < 0.2) & (off > _BAND[0]) & (off < _BAND[1]) & s.head
    both = np.stack((used, np.where(used, difference, 0))).astype(np.float32)
    for _ in range(2):  # nearly a Gaussian of standard deviation 10
        both = ndimage.uniform_filter(both, (0, 25, 25))
    known, drift = both
    return np.clip(drift / (known + 1e-3), -0.5, 0.5)


def _fill(shape: tuple[int, ...], centre: Sequence[float], radius: Array) -> Mask:
    """The pixels within the contour of some radius (rays,) around a centre."""
    reach = radius.max() + 1
    tops, ends = (
        np.clip(np.array(centre) + side, 0, shape).astype(int) for side in (-reach, reach)
    )
    box = (slice(tops[0], ends[0] + 1), slice(tops[1], ends[1] + 1))
    mask = np.zeros(shape, bool)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask[box] = _inside(rows[box[0]], columns[:, box[1]], centre, radius)
    return mask


def _inside(rows: Any, columns: Any, centre: Sequence[float], radius: Array) -> Mask:
    """Which pixels lie within the contour of some radius (rays,) around a centre."""
    down, across = rows - centre[0], columns - centre[1]
    distance = np.hypot(down, across)
    inside = distance <= radius.min()
    unsure = ~inside & (distance <= radius.max())
    down, across = (np.broadcast_to(of, inside.shape)[unsure] for of in (down, across))
    ray = np.arctan2(down, across) * (_RAYS / (2 * np.pi))
    reach = np.interp(ray, np.arange(_RAYS), radius, period=_RAYS)
    inside[unsure] = distance[unsure] <= reach
    return np.asarray(inside)


def _points(centre: Sequence[float], radius: Array) -> Array:
    """Row and column (..., rays, 2) of the places at some radius (..., rays) on each ray."""
    return np.stack(_sides(centre, radius), -1)


def _sides(centre: Sequence[float], radius: Array) -> tuple[Array, Array]:
    angle = np.arange(_RAYS) * 2 * np.pi / _RAYS
    return centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)


def _hull_area(at: Array) -> float:
    """Area of the convex hull of points (n, 2)."""
    return float(ConvexHull(at).volume)  # of two dimensions


def _largest(mask: Mask) -> Mask:
    labels, n = ndimage.label(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1 if n else mask


def _means(image: NDArray[Any], n: int) -> Array:
    """Means of squares of n x n pixels."""
    of, (h, w) = image.astype(np.float32), (side // n * n for side in image.shape)
    total = sum(of[i:h:n, j:w:n] for i in range(n) for j in range(n))
    return np.asarray(total / np.float32(n * n))


def _enlarged(image: NDArray[Any], n: int) -> NDArray[Any]:
    return image.repeat(n, 0).repeat(n, 1)
