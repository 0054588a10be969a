"""Paints the brain: folded cortex, nuclei, ventricles, cerebellum, stem, membranes and vessels."""

import numpy as np

from medsr_lib.data.phantom.brain.solids import (
    Array,
    cover,
    cut,
    ellipsoid,
    paint,
    ramp,
    rod,
    sheet,
)
from medsr_lib.data.phantom.brain.view import View, solid


def draw_cerebrum(s: View) -> None:
    """White matter, the folded cortex and the deep nuclei."""
    grey = s.head.grey
    depth, csf = _sulci(s)
    white = grey["white"] * (1 + 0.02 * s.at["slow"])
    tissue = white + (grey["grey"] - white) * ramp(-np.minimum(csf, depth), -4.2, -2.2)
    nuclei = cover(s.at["deep"] + 0.5 * s.at["small"], 2.0)
    tissue = tissue + 0.6 * nuclei * (grey["grey"] - tissue)
    surface = s.at["cerebrum"] + 0.45 * s.at["small"]
    paint(s.canvas, surface, tissue * (1 + 0.026 * s.grain), s.mm)
    # A narrow sulcus slants through the slice, so that its fluid looks less dark.
    fluid = grey["csf"] + (grey["grey"] - grey["csf"]) * 0.5 * ramp(-s.at["mid"], -0.5, 1.5)
    paint(s.canvas, np.maximum(csf, surface), fluid, s.mm)
    callosum: Array = np.abs(solid(s, ellipsoid, (0, -4, 0), (60, 39, 24))) - 3.0
    callosum = cut(callosum, np.maximum(s.half[0] - 12, -2 - s.p[2]), 3)
    paint(s.canvas, callosum, 1.10 * grey["white"], 2 * s.mm)


def _sulci(s: View) -> tuple[Array, Array]:
    """Depth below the brain's surface, and distance to the fluid in its folds."""
    at = s.at
    # The cleft between the hemispheres ends at the corpus callosum.
    fissure = np.abs(s.p[0] + 0.5 * at["mid"]) + np.maximum(0, -at["arch"])
    depth = np.minimum(-at["cerebrum"], fissure + 1)
    reach = 15 + 6 * at["reach"]
    open_ = s.head.atrophy * (1 + 0.35 * np.tanh(at["mid"]))
    mouth = np.exp(-np.maximum(np.minimum(-at["cerebrum"], fissure + 5), 0) / 4)
    deep = at["sulcus"] + 0.5 * np.maximum(depth - reach, 0)
    deep = deep - open_ * (0.25 + 1.3 * mouth)
    side = sheet(at["branch"], s.mm) + np.maximum(0, 2 - at["core"])
    side = side + 0.6 * np.maximum(depth - 0.45 * reach, 0)
    side = side - open_ * (0.08 + 0.9 * mouth)
    csf = np.minimum(np.minimum(deep, side), fissure - 0.5 - 0.2 * at["small"])
    return depth, np.minimum(csf, _sylvian(s))


def _sylvian(s: View) -> Array:
    """The lateral fissure above the temporal lobe, and the cleft over the insula at its end."""
    side = s.half[0] + 2.0 * s.at["mid"] + 0.8 * s.at["small"]
    y = s.p[1] + 3 * s.at["mid"]
    height = s.p[2] + 14 - 0.36 * (32 - y) + 1.8 * s.at["small"]
    along = np.maximum(np.maximum(y - 34, -34 - y), 0)
    fissure = np.abs(height) + np.maximum(38 - side, 0) + along
    bow = side - 38 + 0.02 * height**2 + 0.004 * y**2
    insula = np.abs(bow) + np.maximum(np.abs(height - 1) - 8, 0) + along
    return np.minimum(fissure - 0.7, insula - 0.4) - 0.35 * s.at["small"]


def draw_hindbrain(s: View) -> None:
    """Cerebellum with its leaves, brain stem, ventricles."""
    grey = s.head.grey
    _, y, z = s.p
    leaves = np.arctan2(z + 20, -(y + 26)) * 28 + 0.9 * s.at["mid"] + 0.5 * s.at["small"]
    depth = -s.at["cerebellum"]
    gap = np.abs((leaves + 100) % 4.0 - 2.0) - 0.6 * np.clip(1 - depth / 12, 0, 1)
    core = grey["white"] + (grey["grey"] - grey["white"]) * np.clip(1.4 - depth / 11, 0, 1)
    paint(s.canvas, s.at["cerebellum"], core * (1 + 0.026 * s.grain), s.mm)
    gap = np.maximum(gap, s.at["cerebellum"])
    paint(s.canvas, gap, 0.5 * (grey["grey"] + grey["csf"]), s.mm)
    stem = grey["white"] * (0.98 + 0.02 * s.at["slow"] + 0.026 * s.grain)
    paint(s.canvas, s.at["stem"], stem, s.mm)
    paint(s.canvas, s.at["ventricles"] + 0.3 * s.at["small"], grey["csf"], s.mm)


def draw_midline(s: View) -> None:
    """Falx and tentorium: thin, and a little bright after contrast."""
    inside = s.at["cavity"]
    beside = np.abs(s.p[0] + 0.5 * s.at["mid"])
    falx = np.maximum(beside - 0.35, 8 - s.at["arch"])
    falx = np.maximum(np.maximum(falx, inside), -5 - s.at["tentorium"])
    paint(s.canvas, falx, 0.16 + 0.12 * ramp(s.at["small"], -0.5, 1), s.mm)
    leaf = np.maximum(np.abs(s.at["tentorium"] + 1.5) - 0.4, np.maximum(inside, s.p[1] + 28))
    paint(s.canvas, np.maximum(leaf, 10 - s.half[0]), 0.34, s.mm)


def draw_vessels(s: View) -> None:
    """Sinuses, the larger arteries and veins, plexus, and twigs in the sulci."""
    bright, wander = s.head.grey["vessel"], 0.5 * s.at["small"]
    wall = s.at["cavity"] + 1.5
    sagittal = np.hypot(s.p[0] * np.clip(1 - 0.25 * wall, 0.6, 2), wall) - 2.4
    sagittal = np.maximum(sagittal, np.maximum(-s.p[2] - 12, s.p[1] - 66))
    transverse = np.hypot(1.8 * s.at["tentorium"], wall) - 2.3
    transverse = np.maximum(transverse, s.p[1] + 38)
    paint(s.canvas, np.minimum(sagittal, transverse), bright, s.mm)
    for start, end, r0, r1 in _VESSELS:
        paint(s.canvas, solid(s, rod, start, end, r0, r1, pair=True) + wander, bright, s.mm)
    arch = np.hypot(s.at["arch"] - 2 + wander, s.half[0] - 1.5) - 0.7
    paint(s.canvas, np.maximum(arch, -5 - s.p[2]), bright, s.mm)  # pericallosal artery
    plexus = solid(s, ellipsoid, (21, -38, 8), (2.5, 7, 4), pair=True) + 1.2 * s.at["small"]
    paint(s.canvas, plexus, bright * (0.85 + 0.15 * s.grain), s.mm)
    twig = np.hypot(sheet(s.at["vein"], s.mm), s.at["sulcus"]) - 0.7
    depth = -s.at["cerebrum"]
    twig = np.maximum(np.maximum(twig, 8 - s.half[0]), np.maximum(depth - 16, -3 - depth))
    paint(s.canvas, twig, bright, s.mm)


_VESSELS = (  # start, end and the radii at both; one on either side
    ((12, 8, -46), (12, 15, -36), 2.0, 2.0),  # internal carotid
    ((12, 15, -36), (11, 10, -24), 2.0, 1.8),
    ((10, 11, -22), (24, 13, -20), 1.3, 1.2),  # middle cerebral
    ((24, 13, -20), (38, 20, -15), 1.2, 1.0),
    ((38, 20, -15), (39, -10, 2), 0.9, 0.6),
    ((38, 20, -15), (38, 16, 2), 0.8, 0.6),
    ((1.5, 14, -20), (1.5, 34, -8), 1.1, 0.9),  # anterior cerebral
    ((0, 2, -44), (0, 3, -20), 1.6, 1.4),  # basilar
    ((2, 2, -19), (14, -8, -16), 1.1, 1.0),  # posterior cerebral
    ((14, -8, -16), (20, -28, -9), 1.0, 0.8),
    ((2, 2, 11), (1.5, -20, 10), 0.9, 1.0),  # internal cerebral
    ((1.5, -20, 10), (0, -40, 5), 1.0, 1.6),
    ((0, -40, 5), (0, -84, -13), 1.3, 1.6),  # straight sinus
)
