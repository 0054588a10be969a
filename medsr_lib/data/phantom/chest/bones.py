"""The bones of a chest, as thickness along the beam; coordinates as in `chest`."""

import numpy as np

from medsr_lib.data.phantom.chest.chest import Chest, Plane, arm_bones, blob, cage, rise

RIBS = 11


def bones(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Ribs, spine, clavicles, shoulder blades and upper arms together."""
    total = ribs(x, y, chest) + spine(x, y, chest)
    total += 0.8 * clavicles(x, y, chest) + 0.5 * blades(x, y, chest)
    return total + 0.9 * arm_bones(x, y, chest)


def ribs(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Each pair is a tilted ring around the chest: its back half runs above its front half.

    Seen from the front a ring is an ellipse. Its front ends as cartilage, which X-rays pass; at the
    side of the chest the beam runs along the rib, which is brightest there.
    """
    total = np.zeros_like(x)
    last = chest.height + 0.1
    for k in range(RIBS):
        behind = 0.0 + last * (k / (RIBS - 1)) ** 0.96 - 0.02
        drop = chest.rib_drop * (0.55 + 0.45 * min(k / 4, 1.0))
        if k >= 9:
            drop *= 0.8
        level = behind + drop * 0.5
        side = float(cage(np.array([[level + 0.4 * drop]], np.float32), chest)[0, 0]) + 0.03
        if side < 0.25:
            continue
        rows = slice(*np.searchsorted(y[:, 0], [behind - 0.15, behind + drop + 0.45]))
        total[rows] += _ring(x[rows], y[rows] - chest.rib_slope * np.abs(x[rows]) ** 1.5,
                             (level, side, drop / 2), k)  # fmt: skip
    return total


def _ring(x: Plane, y: Plane, where: tuple[float, float, float], k: int) -> Plane:
    level, side, half = where
    u, v = x / side, (y - level) / half
    r = np.sqrt(u**2 + v**2) + 1e-6
    slope = np.sqrt((u / side) ** 2 + (v / half) ** 2) / r + 1e-6
    off = (r - 1) / slope  # distance from the ellipse, to first order
    away = np.abs(u)
    front = rise(v, 0.5)
    width = 0.031 + 0.008 * front
    wall = np.clip(1 - (off / width) ** 2, 0, 1)
    hollow = np.clip(1 - (off / (0.66 * width)) ** 2, 0, 1)
    tube = 1.1 * np.sqrt(wall) - 0.58 * np.sqrt(hollow)
    along = 1 + 1.3 * np.clip(away, 0, 1) ** 8
    shown = (1 - front) * rise(np.abs(x) - 0.1, 0.03) + front * 0.6 * rise(away - 0.52, 0.12)
    if k >= 9:  # these end in the flank
        shown = 0.6 * (1 - front) * rise(np.abs(x) - 0.1, 0.03) * (0.4 + 0.6 * away)
    return (tube * along * shown).astype(np.float32)


def spine(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Vertebral bodies with dark discs between them, their pedicles and spinous processes."""
    step = 0.118 + 0.012 * chest.age
    phase = (y / step) % 1.0 - 0.5  # 0 in the middle of a body
    half = 0.105 + 0.012 * np.clip(y, -0.5, 2)
    body = rise(half * (1 - 0.12 * np.cos(2 * np.pi * phase)) - np.abs(x), 0.02)
    between = rise(np.abs(phase) - 0.41, 0.1)
    total = body * (0.95 - 0.32 * between)
    edge = np.exp(-(((np.abs(phase) - 0.38) / 0.05) ** 2))
    total += 0.22 * body * edge  # end plates
    dy = (phase + 0.05) * step
    for at in (-0.065, 0.065):
        r = np.sqrt(((x - at) / 0.022) ** 2 + (dy / 0.034) ** 2)
        total += 0.3 * np.exp(-(((r - 0.9) / 0.3) ** 2))
    total += 0.3 * np.exp(-((x / 0.018) ** 2) - (((phase - 0.22) * step) / 0.035) ** 2)
    side = np.abs(x)
    process = rise(0.026 - np.abs(dy + 0.012), 0.02) * rise(0.19 - side, 0.04)
    return (total + 0.32 * process * rise(side - 0.09, 0.03)).astype(np.float32)


def clavicles(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Two slender bones from the breastbone to the shoulders, bent like an S."""
    side = np.abs(x)
    along = np.clip((side - 0.1) / 0.72, 0, 1)
    lift = 0.14 + 0.1 * (1 - chest.age)
    axis = 0.13 - lift * along - 0.045 * np.sin(2 * np.pi * along)
    width = 0.034 + 0.014 * np.cos(2 * np.pi * along)
    r = (y - axis) / width
    tube = np.sqrt(np.clip(1 - r**2, 0, 1)) - 0.3 * np.sqrt(np.clip(1 - (r / 0.66) ** 2, 0, 1))
    return (1.2 * tube * rise(side - 0.09, 0.03) * rise(0.84 - side, 0.04)).astype(np.float32)


def blades(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Shoulder blades: thin plates with a thick outer edge, and the socket."""
    side = np.abs(x) - 0.03 * chest.age
    outer = 1.04 - 0.2 * np.clip(y - 0.1, 0, 1) ** 1.2
    inner = 0.84 - 0.02 * np.clip(y, 0, 1) + 0.3 * np.clip(y - 0.42, 0, 1)
    inside = np.minimum(np.minimum(outer - side, side - inner), np.minimum(y + 0.05, 0.62 - y))
    plate = 0.3 * rise(inside, 0.05)
    edge = np.exp(-(((side - outer) / 0.025) ** 2)) * rise(y - 0.08, 0.08) * rise(0.6 - y, 0.1)
    socket = rise(blob(side, y, (1.0, 0.04), (0.06, 0.09)), 0.3)
    ridge = np.exp(-(((y + 0.02 + 0.25 * (side - 0.8)) / 0.03) ** 2))
    ridge = 0.45 * ridge * rise(side - 0.66, 0.1) * rise(1.06 - side, 0.08)
    return (plate + 0.75 * edge + 0.5 * socket + ridge).astype(np.float32)
