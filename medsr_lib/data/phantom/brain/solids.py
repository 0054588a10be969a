"""Distances to simple solids, random fields and soft painting: what a head is drawn with.

A distance is in mm and negative inside; points are (3, H, W) in mm.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Array = NDArray[np.floating[Any]]


def column(values: Sequence[float] | Array) -> Array:
    """Three numbers as (3, 1, 1), to meet points (3, H, W)."""
    return np.asarray(values, np.float32).reshape(3, 1, 1)


def ellipsoid(p: Array, centre: Sequence[float] | Array, radii: Sequence[float] | Array) -> Array:
    """Approximate distance to an ellipsoid: k0 (k0 - 1) / k1 (Quilez, *Ellipsoid SDF*)."""
    scaled = (p - column(centre)) / column(radii)
    k0 = np.sqrt(np.einsum("irc,irc->rc", scaled, scaled))
    scaled /= column(radii)
    k1 = np.sqrt(np.einsum("irc,irc->rc", scaled, scaled))
    return k0 * (k0 - 1) / (k1 + np.float32(1e-6))


def rod(p: Array, start: Sequence[float], end: Sequence[float], r0: float, r1: float) -> Array:
    """Distance to a round rod whose radius goes from r0 at its start to r1 at its end."""
    along = column(end) - column(start)
    away = p - column(start)
    share = np.einsum("irc,i->rc", away, along.ravel()) / np.float32(np.sum(along**2))
    share = np.clip(share, 0, 1)
    away -= share * along
    return np.sqrt(np.einsum("irc,irc->rc", away, away)) - (r0 + (r1 - r0) * share)


def join(a: Array, b: Array, width: float) -> Array:
    """Union, its seam rounded over `width` mm (polynomial smooth minimum)."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b + (a - b) * h - width * h * (1 - h)


def cut(a: Array, b: Array, width: float) -> Array:
    """Intersection, its edge rounded over `width` mm."""
    return -join(-a, -b, width)


def ramp(x: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sheet(field: Array, mm: float) -> Array:
    """Distance to the zero set of a field on the slice, |f| / |grad f|; pixels are `mm` wide."""
    rows, columns = np.gradient(field)
    slope = np.sqrt(rows**2 + columns**2) / np.float32(mm)
    return np.abs(field) / (slope + np.float32(0.02))


def field(lattice: Array, p: Array, spacing: float) -> Array:
    """A smooth random field at points (3, H, W), of about unit variance.

    The values of `lattice` (n, n, n) are its cubic B-spline coefficients, `spacing` mm apart; its
    structures are some 2.5 `spacing` wide.
    """
    points = p / np.float32(spacing) + np.float32(len(lattice) / 2)
    values = map_coordinates(
        lattice, points, order=3, prefilter=False, mode="grid-wrap", output=np.float32
    )
    # White coefficients lose variance: on average over a cell to 0.479 a dimension.
    return values * np.float32(0.479**-1.5)


def enlarge_weights(position: Array, n: int) -> Array:
    """(len(position), n) Catmull-Rom weights that read n samples at `position`."""
    d = np.abs(position[:, None] - np.arange(n))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0)).astype(np.float32)


def cover(distance: Array, mm: float) -> Array:
    """The share of each pixel that lies inside, for an edge `mm` wide."""
    return np.clip(0.5 - distance / np.float32(mm), 0, 1)


def paint(canvas: Array, distance: Array, value: Array | float, edge: float) -> None:
    """Lay a region of signal `value` over `canvas`, in place, its border `edge` mm wide."""
    hit = distance < edge / 2
    rows, columns = (np.flatnonzero(hit.any(axis)) for axis in (1, 0))
    if rows.size:
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        new = value[box] if isinstance(value, np.ndarray) else value
        canvas[box] += cover(distance[box], edge) * (new - canvas[box])
