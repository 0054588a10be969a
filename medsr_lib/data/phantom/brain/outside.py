"""Paints what lies outside the brain: skin, fat, muscles, bones, air, orbits and the skull."""

import numpy as np

from medsr_lib.data.phantom.brain.solids import ellipsoid, join, paint, ramp, rod, sheet
from medsr_lib.data.phantom.brain.view import View, solid


def draw_soft_tissue(s: View) -> None:
    """Skin, fat under it, and the muscles of temple, face and neck with fat between them."""
    skin, fat, muscle = s.at["skin"], s.head.grey["fat"], s.head.grey["muscle"]
    paint(s.canvas, skin, 0.6 * fat, s.mm)
    layer = fat * (1 + 0.05 * s.at["small"] + 0.05 * s.at["mid"] + 0.045 * s.grain)
    paint(s.canvas, skin + 1.5, layer, s.mm)
    paint(s.canvas, np.abs(skin + 4.6 + 0.8 * s.at["mid"]) - 0.3, 0.7 * fat, s.mm)  # galea
    below = ramp(-s.p[2] - 0.25 * s.half[0], -14, 10)  # no muscles on the crown
    deep = skin + 6 + 2.5 * s.at["slow"] + 14 * (1 - below)
    gap = np.exp(-((sheet(s.at["fascia"], s.mm) / 0.8) ** 2)) * ramp(s.at["mid"], -0.6, 0.8)
    lumps = ramp(s.at["muscle"] + 0.6 * s.at["small"] + 0.15 * s.grain, 0.7, 1.6)
    tissue = muscle * (1 + 0.15 * s.at["small"] + 0.12 * s.at["mid"] + 0.06 * s.grain)
    tissue = tissue + (0.8 * fat - tissue) * np.maximum(0.6 * gap, 0.8 * lumps)
    tissue = tissue * (1 - 0.6 * ramp(-s.at["fascia"] - 0.4 * s.at["mid"], 1.1, 1.5))
    paint(s.canvas, deep, tissue, 2 * s.mm)


def draw_muscles(s: View) -> None:
    """The larger muscles, each in its sleeve of fat."""
    grey = s.head.grey
    for start, end, r0, r1 in _MUSCLES:
        body = solid(s, rod, start, end, r0, r1, pair=True) + 1.6 * s.at["mid"]
        body = np.maximum(body, s.at["skin"] + 4)
        paint(s.canvas, body - 1.0, 0.75 * grey["fat"], 2 * s.mm)
        fibres = 0.10 * s.at["small"] + 0.12 * s.at["muscle"] + 0.05 * s.grain
        paint(s.canvas, body, grey["muscle"] * (1 + fibres), 2 * s.mm)


_MUSCLES = (  # start, end and the radii at both; one on either side
    ((60, 18, -10), (54, 22, -52), 6, 8),  # temporalis
    ((58, 16, -54), (50, 22, -98), 7, 8),  # masseter
    ((22, 18, -54), (46, 8, -58), 7, 7),  # lateral pterygoid
    ((26, 12, -60), (38, 18, -96), 6, 7),  # medial pterygoid
    ((54, -28, -58), (30, 15, -170), 8, 9),  # sternocleidomastoid
    ((18, 0, -60), (20, -4, -200), 8, 9),  # before the spine
    ((14, -62, -66), (12, -62, -200), 9, 9),  # semispinalis
    ((32, -62, -62), (28, -66, -200), 8, 9),  # splenius
    ((16, -84, -72), (24, -86, -200), 5, 6),  # trapezius
    ((14, 40, -112), (16, 20, -130), 6, 6),  # floor of the mouth
)


def draw_bones(s: View) -> None:
    """Jaw with its teeth, palate, spine with its canal."""
    rough, grey = 0.5 * s.at["small"], s.head.grey
    jaw = solid(s, rod, (46, 14, -60), (42, 28, -100), 6, 7, pair=True)
    jaw = join(jaw, solid(s, rod, (42, 28, -100), (8, 86, -108), 7, 7, pair=True), 6)
    spine = solid(s, rod, (0, -14, -70), (0, -22, -200), 11, 11)
    palate = solid(s, ellipsoid, (0, 62, -70), (26, 34, 3))
    base = solid(s, rod, (0, 8, -44), (0, -14, -66), 8, 6)  # clivus
    for bone in (jaw, spine, palate, base):
        paint(s.canvas, bone + rough, 0.05, s.mm)
        marrow = grey["marrow"] * (1.1 + 0.15 * s.at["small"] + 0.08 * s.grain)
        paint(s.canvas, bone + 1.5 + rough, marrow, s.mm)
    disc = np.abs((s.p[2] + 0.15 * s.p[1] + 90) % 17 - 8.5) - 1.6
    paint(s.canvas, np.maximum(spine + 1, disc), 0.13, s.mm)
    teeth = solid(s, ellipsoid, (0, 66, -86), (27, 30, 9))
    row = np.maximum(np.abs(teeth + 2.5) - 3.5, teeth - 4)
    crown = np.abs((np.arctan2(s.p[1] - 55, s.p[0]) * 28) % 7 - 3.5) - 2.6
    paint(s.canvas, row, 0.08, s.mm)
    paint(s.canvas, np.maximum(row + 1, crown), 0.30, s.mm)
    canal = solid(s, rod, (0, -35, -66), (0, -44, -200), 8.5, 8)
    paint(s.canvas, canal, grey["csf"] * 1.2, s.mm)
    tongue = solid(s, ellipsoid, (0, 50, -92), (24, 34, 18)) + rough
    paint(s.canvas, tongue - 1.2, 0.04, s.mm)
    stripes = 0.012 * np.sin((s.p[2] - 0.6 * s.p[1]) * 1.1 + 3 * s.at["mid"])
    paint(s.canvas, tongue, 1.2 * grey["muscle"] + stripes + 0.02 * s.grain, s.mm)


def draw_air(s: View) -> None:
    """Nose with its conchae, sinuses, throat, and the cells of ethmoid and mastoid."""
    wavy = 1.2 * s.at["small"]
    lining = 0.75 * s.head.grey["fat"]
    nose = solid(s, ellipsoid, (0, 60, -50), (15, 40, 21))
    nose = np.maximum(nose, 0.9 - np.abs(s.p[0] + 0.6 * s.at["mid"]))
    throat = solid(s, rod, (0, 14, -52), (0, 5, -78), 8, 5) + wavy
    throat = np.minimum(throat, solid(s, rod, (0, 5, -78), (0, 24, -150), 4.5, 6) + wavy)
    sphenoid = solid(s, ellipsoid, (2, 26, -44), (13, 13, 9)) + 0.5 * wavy
    sphenoid = np.maximum(sphenoid, 0.5 - np.abs(s.p[0] - 1.5))
    maxillary = solid(s, ellipsoid, (28, 56, -57), (12, 17, 15), pair=True) + wavy
    frontal = solid(s, ellipsoid, (0, 93, -8), (15, 5, 11)) + wavy
    for space in (nose, throat, sphenoid, maxillary, frontal):
        paint(s.canvas, space - 1.4, lining * (0.75 + 0.1 * s.at["small"] + 0.08 * s.grain), s.mm)
        paint(s.canvas, space + 0.2 * wavy, 0.012, s.mm)
    for height, long in ((-63, 30), (-53, 28), (-43, 22)):
        concha = solid(s, ellipsoid, (7.5, 56, height), (5.2, long, 4.2), pair=True) + 0.7 * wavy
        paint(s.canvas, concha, lining * (0.85 + 0.06 * s.at["mid"] + 0.05 * s.grain), s.mm)
    ethmoid = solid(s, ellipsoid, (0, 52, -31), (11, 22, 9))
    mastoid = solid(s, ellipsoid, (54, -26, -46), (9, 11, 14), pair=True) + wavy
    wall = np.exp(-((sheet(s.at["small"], s.mm) / 0.7) ** 2))
    for cells in (ethmoid, mastoid):
        paint(s.canvas, cells, 0.02 + 0.38 * wall, s.mm)


def draw_orbits(s: View) -> None:
    """Eyes, the nerves behind them and their muscles, in a cone of fat."""
    fat = s.head.grey["fat"]
    cone = solid(s, ellipsoid, (31, 70, -32), (17, 18, 16), pair=True)
    cone = join(cone, solid(s, rod, (30, 68, -32), (14, 24, -30), 13, 3, pair=True), 8)
    cone = np.maximum(cone, s.at["skin"] + 2.5)
    paint(s.canvas, cone - 1.0, 0.05, s.mm)
    paint(s.canvas, cone, fat * (0.95 + 0.05 * s.at["small"] + 0.03 * s.grain), s.mm)
    for right, up in ((10, 0), (-10, 0), (0, 10), (0, -10)):
        start, end = (31 + right, 70, -32 + up), (17 + 0.2 * right, 32, -30 + 0.2 * up)
        paint(s.canvas, solid(s, rod, start, end, 2.0, 1.0, pair=True), 0.42, s.mm)
    nerve = solid(s, rod, (31, 66, -32), (14, 22, -29), 2.2, 2.0, pair=True)
    paint(s.canvas, nerve, 0.28, s.mm)
    globe = solid(s, ellipsoid, (32, 75, -32), (12, 12, 12), pair=True)
    globe = np.maximum(globe, s.at["skin"] + 2)
    paint(s.canvas, globe - 0.8, 0.45, s.mm)
    paint(s.canvas, globe, 0.09, s.mm)
    paint(s.canvas, solid(s, ellipsoid, (32, 84, -32), (4.5, 2.2, 4.5), pair=True), 0.25, s.mm)


def draw_skull(s: View) -> None:
    """Two dark tables of bone with marrow between, round the cranial cavity, and the dura."""
    cavity = s.at["cavity"]
    thin = np.maximum(ramp(-s.p[2], 15, 40), ramp(-s.p[2], 4, 16) * ramp(s.p[1], 10, 30) * 1.35)
    thick = 6.4 + 0.8 * s.at["slow"] - 3.5 * thin
    paint(s.canvas, cavity - thick, 0.035, s.mm)
    marrow = np.abs(cavity - 0.55 * thick) - 0.2 * thick - 0.35 * s.at["small"]
    signal = s.head.grey["marrow"] * (0.85 + 0.22 * s.at["mid"] + 0.1 * s.grain)
    paint(s.canvas, marrow, signal, 2 * s.mm)
    paint(s.canvas, cavity - 0.7, 0.22 + 0.1 * ramp(s.at["small"], 0, 1), s.mm)
    paint(s.canvas, cavity, s.head.grey["csf"] * (1.3 + 0.5 * s.at["mid"]), s.mm)
