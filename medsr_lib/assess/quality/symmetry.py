"""The midline of a head in a slice that has a left and a right: axial or coronal, not sagittal."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SYMMETRY = 0.7
"""Least symmetry (`midline`) of a slice with a left and a right. Of 120 slices of the figshare set,
46 of the 47 sagittal ones stay below it, and 64 of the other 73 reach it."""

_GRID = 64  # pixels of the smaller side, on which the line is looked for
_TILT = 20  # degrees from upright, at most
_PREFERENCE = 0.002  # of symmetry for each degree nearer to upright, which decides for round heads

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Line:
    """A line through a point in pixels (row, column), tilted clockwise from upright by radians."""

    point: tuple[float, Any]  # numbers; arrays stand for many lines
    tilt: Any

    def mirrored(self, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Where points lie after reflection at the line."""
        normal = (np.sin(self.tilt), np.cos(self.tilt))
        away = (rows - self.point[0]) * normal[0] + (columns - self.point[1]) * normal[1]
        return rows - 2 * away * normal[0], columns - 2 * away * normal[1]


def midline(hr: NDArray[np.floating[Any]], head: Mask) -> Line | None:
    """The line at which the head is most like its mirror image, or None if it is not much alike.

    Symmetry is the correlation of the head's pixels with those at their reflections, times the
    share of these that lie in the head. The image is smoothed over a 64th of its smaller side, and
    what is brighter than the head's median, such as fat and most tumours, counts as that. Lines up
    to 20 degrees from upright are tried.

    Args:
        hr: (H, W) in [0, 1], upright.
        head: (H, W).
    """
    found = best_line(hr, head)
    return found[0] if found is not None and found[1] >= SYMMETRY else None


def best_line(hr: NDArray[np.floating[Any]], head: Mask) -> tuple[Line, float] | None:
    """The most symmetrical line and its symmetry; None without a head."""
    if not head.any():
        return None
    size = max(1, min(hr.shape) // _GRID)
    h, w = (side // size for side in hr.shape)
    small, inside = (
        of[: h * size, : w * size].astype(np.float32).reshape(h, size, w, size).mean((1, 3))
        for of in (hr, head)
    )
    within = inside >= 0.5
    rows, columns = np.nonzero(within)
    if not len(rows):
        return None
    capped = np.minimum(small, np.median(small[within]))
    smooth = ndimage.gaussian_filter(np.where(within, capped, 0), 1)
    row, column, width = rows.mean(), columns.mean(), np.ptp(columns) + 1
    shift, tilt, best = 0.0, 0.0, -1.0
    for by, turn, n in ((0.03 * width, 5.0, 4), (0.01 * width, 1.25, 3)):
        steps = np.arange(-n, n + 1)
        across = np.repeat(shift + by * steps, len(steps))
        degrees = np.tile(tilt + turn * steps, len(steps))
        upright = abs(degrees) <= _TILT
        across, degrees = across[upright], degrees[upright]
        line = Line((row, (column + across)[:, None]), np.deg2rad(degrees)[:, None])
        found = _alike(smooth, rows, columns, line)
        liked = found - _PREFERENCE * abs(degrees)
        most = liked.argmax()
        if liked[most] > best - _PREFERENCE * abs(tilt):
            shift, tilt, best = across[most], degrees[most], found[most]
    point = ((row + 0.5) * size - 0.5, (column + shift + 0.5) * size - 0.5)
    line = Line((row, column + shift), np.deg2rad(tilt))
    overlap = (reflect(within, line) & within).sum() / within.sum()
    return Line(point, line.tilt), float(best * overlap)


def reflect(mask: Mask, line: Line) -> Mask:
    """Reflect a mask (H, W) at a line."""
    reflected, (h, w) = np.zeros_like(mask), mask.shape
    if not mask.any():
        return reflected
    sides = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
    corners = line.mirrored(*np.meshgrid(*sides))
    box = [slice(max(0, int(of.min()) - 2), max(0, int(of.max()) + 3)) for of in corners]
    rows, columns = np.ogrid[:h, :w]
    i, j = (np.rint(of).astype(int) for of in line.mirrored(rows[box[0]], columns[:, box[1]]))
    known = (i >= 0) & (i < h) & (j >= 0) & (j < w)
    reflected[tuple(box)][known] = mask[i[known], j[known]]
    return reflected


def _alike(
    image: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], lines: Line
) -> NDArray[np.floating[Any]]:
    """Correlation of the head's pixels with their mirror images, (lines,); air beyond the image."""
    padded, (h, w) = np.pad(image, 1), image.shape
    i, j = (np.rint(of).clip(-1, n) for of, n in zip(lines.mirrored(rows, columns), (h, w)))
    at = ((i + 1) * (w + 2) + (j + 1)).astype(np.intp)
    own, other = image[rows, columns], padded.ravel().take(at)
    own, other = own - own.mean(), other - other.mean(1, keepdims=True)
    scale = np.sqrt((own**2).sum() * np.einsum("lp,lp->l", other, other))
    return np.divide(other @ own, scale, out=np.ones_like(scale), where=scale > 0)
