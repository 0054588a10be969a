"""Draws a whole slice: from the skin inwards, then the tumour, then what the scanner does to it.

Signals are shares of the brightest fat, distances mm.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medsr_lib.data.phantom.brain import brain, outside
from medsr_lib.data.phantom.brain.head import FORAMEN, MEMBRANES, Head
from medsr_lib.data.phantom.brain.solids import Array
from medsr_lib.data.phantom.brain.tumour import Tumour, draw_tumour
from medsr_lib.data.phantom.brain.view import AIR, View, line_of, view


def draw(
    head: Head, tumour: Tumour, *, plane: str, level: float, size: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.float64]]:
    """One slice.

    Args:
        head: whose.
        tumour: what grows in it.
        plane: "axial", "coronal" or "sagittal".
        level: mm along the plane's normal, in the scanner's coordinates.
        size: height and width in pixels.
        rng: for texture and noise.

    Returns:
        The picture (size, size) in [0, 1], upright, the face up or to the left; and the tumour's
        outline (n, 2) as x (column) and y (row), where whole numbers from 0 are pixels' centres.
    """
    s = view(head, plane, level, size, rng)
    outside.draw_soft_tissue(s)
    if s.p[2].min() < 5:
        outside.draw_muscles(s)
        outside.draw_bones(s)
        outside.draw_air(s)
        outside.draw_orbits(s)
    outside.draw_skull(s)
    brain.draw_cerebrum(s)
    brain.draw_hindbrain(s)
    brain.draw_midline(s)
    brain.draw_vessels(s)
    outline = draw_tumour(s, tumour)
    return _acquire(s, rng), outline


def brain_mask(head: Head, *, plane: str, level: float, size: int) -> NDArray[np.bool_]:
    """The pixels (size, size) of a slice whose centres lie in the brain, as `draw` paints it.

    Cerebrum, cerebellum and stem with the fluid in their folds, ventricles and basal cisterns, down
    to the foramen magnum, below which the stem is called cord.
    """
    s = view(head, plane, level, size, np.random.default_rng(0))  # the texture alone is random
    mask = np.zeros((size, size), bool)
    mask[s.box] = (s.at["cavity"] < -MEMBRANES) & (s.p[2] > FORAMEN)
    return mask


def _acquire(s: View, rng: np.random.Generator) -> Array:
    """Coil shading, point spread, Rician noise and the rim that unwarping leaves empty.

    The width of the point spread was set so that bicubic x 4 scores as it does on real slices. It
    is the same in pixels at every size: the scanner enlarged what it had acquired.
    """
    near_coil = np.exp(np.clip(s.at["skin"], -50, 0) / 25)
    shading = rng.uniform(0.1, 0.3) * s.at["coil"] * near_coil + 0.03 * s.at["slow"]
    picture = np.full((s.size, s.size), AIR, np.float32)
    picture[s.box] = s.canvas * (0.9 + 0.15 * near_coil) * np.exp(shading)
    picture = gaussian_filter(picture, s.head.blur)
    up = line_of(s.size, 2 / s.size)[:, None]
    noise = np.float32(0.008) * rng.standard_normal((2, s.size, s.size), dtype=np.float32)
    picture = np.hypot(picture + noise[0], noise[1])
    picture *= np.abs(line_of(s.size, 2 / s.size)) < 1 - s.head.pillow * (1 - 0.5 * up**2)
    picture -= picture.min()
    return picture / picture.max()
