"""One picture on its way: where its pixels lie in the head, and how far they are from its surfaces.

Smooth surfaces and fields are worked out on a coarse grid and enlarged, so that a slice takes a
fraction of a second; people differ from the mean anatomy by a smooth bend of the coordinates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medsr_lib.data.phantom.brain.head import Head, folds, mirrored, surfaces
from medsr_lib.data.phantom.brain.solids import Array, column, enlarge_weights, field, sheet

_COARSE = 2.5  # mm: smooth fields are evaluated on this grid, then enlarged
_BEND = 1.8  # mm, standard deviation: how far people differ from the mean anatomy
AIR = 0.003  # signal
_FAR = 50.0  # mm: the distance given to pixels that a small solid does not reach


@dataclass(frozen=True)
class View:
    """One picture on its way: the canvas, where its pixels lie, and what lies there."""

    head: Head
    size: int  # of the whole picture
    box: tuple[slice, slice]  # rows and columns of it that hold the head: H x W pixels
    mm: float  # a pixel's side
    canvas: Array  # (H, W)
    p: Array  # (3, H, W) head coordinates, bent
    half: Array  # (3, H, W) the same with |x|
    raw: Array  # (3, H, W) not bent
    coarse: Array  # (3, h, w) p on the coarse grid, which holds the whole picture
    coarse_raw: Array  # (3, h, w)
    weights: tuple[Array, Array]  # (H, h) and (W, w): from the coarse grid to the pixels
    at: dict[str, Array]  # distances and fields (H, W) by name
    grain: Array  # (H, W) fine texture, unit variance


def view(head: Head, plane: str, level: float, size: int, rng: np.random.Generator) -> View:
    """The slice at `level` mm along the plane's normal, its canvas still empty."""
    mm = head.field_of_view / size
    n = int(np.ceil(head.field_of_view / _COARSE)) + 4
    line = line_of(n, _COARSE)
    coarse_raw = _head_coordinates(head, plane, level, line, line)
    bend = _BEND * np.stack([field(head.lattices[k], coarse_raw, 42) for k in range(3)])
    coarse = coarse_raw + bend
    named = {**surfaces(head, coarse), **folds(head, coarse), **_textures(head, coarse_raw)}

    box = _box(named["skin"] < 5, size, mm)
    rows, columns = (line_of(size, mm)[part] for part in box)
    down, across = (enlarge_weights(x / _COARSE + (n - 1) / 2, n) for x in (rows, columns))
    raw = _head_coordinates(head, plane, level, rows, columns)
    p = raw + np.stack([down @ b @ across.T for b in bend])
    at = {name: down @ values.astype(np.float32) @ across.T for name, values in named.items()}
    at["sulcus"] = sheet(at["fold"], mm) + np.maximum(0, 2 - at["core"])
    grain = gaussian_filter(rng.standard_normal(p[0].shape, dtype=np.float32), 1.3)
    canvas = np.full(p[0].shape, AIR, np.float32)
    return View(
        head, size, box, mm, canvas, p, mirrored(p), raw, coarse, coarse_raw, (down, across), at,
        grain / grain.std(),
    )  # fmt: skip


def line_of(n: int, step: float) -> Array:
    """n places `step` mm apart, 0 in the middle."""
    return (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2)) * np.float32(step)


def _box(near: NDArray[np.bool_], size: int, mm: float) -> tuple[slice, slice]:
    """The pixels (rows, columns) of the whole picture that a coarse grid's true samples span."""
    spans = []
    for axis in (1, 0):
        hits = np.flatnonzero(near.any(axis))
        if not hits.size:
            return slice(0, 0), slice(0, 0)
        ends = (np.array((hits[0] - 1, hits[-1] + 1)) - (len(near) - 1) / 2) * _COARSE / mm
        low, high = ends + (size - 1) / 2
        spans.append(slice(min(max(0, int(low)), size), min(max(0, int(high) + 2), size)))
    return spans[0], spans[1]


def _head_coordinates(head: Head, plane: str, level: float, rows: Array, columns: Array) -> Array:
    """(3, H, W) head coordinates where rows (H,) and columns (W,), in mm, cross."""
    across, up = np.meshgrid(columns + head.shift[0], head.shift[1] - rows)
    depth = np.full_like(across, level)
    scanner = {
        "axial": (across, up, depth),
        "coronal": (across, depth, up),
        "sagittal": (depth, -across, up),
    }[plane]
    turned = np.einsum("ji,jrc->irc", head.turn, np.stack(scanner))
    return turned / head.scale[:, None, None]


def _textures(head: Head, p: Array) -> dict[str, Array]:
    long = p * column((1, 0.8, 0.4))  # muscles run down the neck
    return {
        "small": field(head.lattices[7], p, 6),
        "mid": field(head.lattices[8], p, 11),
        "slow": field(head.lattices[9], p, 32),
        "coil": field(head.lattices[8], p, 80),
        "muscle": field(head.lattices[10], long, 4.5),
        "fascia": field(head.lattices[11], long, 5),
    }


def solid(s: View, measure: Callable[..., Array], *args: object, pair: bool = False) -> Array:
    """Distance (H, W) to a small solid, worked out only near it; `pair` puts one on either side."""
    coarse = measure(mirrored(s.coarse) if pair else s.coarse, *args)
    out = np.full(s.canvas.shape, _FAR, np.float32)
    rows, columns = (
        slice(max(0, part.start - whole.start), max(0, part.stop - whole.start))
        for part, whole in zip(_box(coarse < 6, s.size, s.mm), s.box)
    )
    if rows.stop and columns.stop:
        out[rows, columns] = measure((s.half if pair else s.p)[:, rows, columns], *args)
    return out
