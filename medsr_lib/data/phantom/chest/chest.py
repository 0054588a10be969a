"""The shapes of a chest: body, lungs, heart and diaphragm, as thickness along the beam.

Coordinates: x to the right of the picture, which is the patient's left, 0 at the spine; y downward
from the first rib; 1 is half the width of the rib cage. Every function takes arrays (H, W) of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating]
SOFT = 0.02  # over this length edges rise: focal spot, breathing, scatter


@dataclass(frozen=True)
class Chest:
    """What differs from one child to the next, lengths in half widths of the rib cage.

    Attributes:
        age: 0 for an infant, with a broad chest, level ribs and a large heart; 1 for a teenager.
        height: from the first rib to the dome of the diaphragm.
        heart: width of the heart as a share of the chest's (the cardiothoracic ratio).
        fat: of the chest wall.
        lean: how much the spine bends to the side.
        domes: where the two halves of the diaphragm have their tops, left of the picture and right.
        rib_drop, rib_slope: how much lower a rib ends at the front than behind, and at the side.
        arms: angle of the upper arms from the horizontal, in radians; positive is upward.
        seed: of the vessels and of the gas under the diaphragm.
    """

    age: float
    height: float
    heart: float
    fat: float
    lean: float
    domes: tuple[float, float]
    rib_drop: float
    rib_slope: float
    arms: tuple[float, float]
    seed: int


def make_chest(rng: np.random.Generator) -> Chest:
    """A chest at random."""
    age = float(rng.uniform())
    height = 1.02 + 0.32 * age + float(rng.normal(0, 0.05))
    arms = rng.uniform(-0.1, 1.0, 2) * (1.1 - 0.5 * age)
    return Chest(
        age=age,
        height=height,
        heart=0.55 - 0.1 * age + float(rng.normal(0, 0.025)),
        fat=float(rng.uniform(0.08, 0.3)),
        lean=float(rng.normal(0, 0.03)),
        domes=(height - 0.02, height + float(rng.uniform(0.01, 0.07))),
        rib_drop=0.34 + 0.2 * age + float(rng.normal(0, 0.03)),
        rib_slope=0.04 + 0.2 * age + float(rng.normal(0, 0.02)),
        arms=(float(arms[0]), float(arms[1])),
        seed=int(rng.integers(2**31)),
    )


def rise(depth: Plane, soft: float = SOFT) -> Plane:
    """0 outside, 1 inside, for the depth below an edge; smooth over `soft`."""
    t = np.clip(depth / soft / 2 + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def blob(
    x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0
) -> Plane:
    """1 - r^2: 1 in the middle of an ellipse, 0 on its edge; turned by radians."""
    dx, dy = x - centre[0], y - centre[1]
    c, s = np.cos(turn), np.sin(turn)
    return 1 - ((c * dx + s * dy) / radii[0]) ** 2 - ((c * dy - s * dx) / radii[1]) ** 2


def cage(y: Plane, chest: Chest) -> Plane:
    """Half width of the rib cage's inside at each height."""
    bottom = chest.height + 0.25
    t = np.clip((bottom - y) / (bottom + 0.08), 0, 1)  # 0 at the lowest ribs, 1 at the apex
    return 0.96 * np.sqrt(np.clip(1 - t**2.6, 0, 1)) * (1 - 0.06 * (1 - t) ** 2)


def body(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Thickness of neck, trunk and arms; 1 in the middle of the chest."""
    side = np.interp(
        y,
        [-0.9, -0.34, -0.2, -0.02, 0.3, 0.8, 2.5],
        [0.30, 0.27, 0.42, 0.86, 0.98, 1.0, 0.97],
    ).astype(np.float32) + chest.fat * np.clip((y + 0.35) / 0.5, 0.3, 1)
    across = np.clip(1 - (x / side) ** 2, 0, 1)
    trunk = across**0.42
    thickness = trunk * np.interp(y, [-0.5, 0.1, 0.5], [0.72, 0.85, 1.0]).astype(np.float32)
    for sign, angle in zip((-1, 1), chest.arms):
        along, off = _arm_axes(x, y, sign, angle)
        radius = 0.19 + 0.5 * chest.fat + 0.1 * np.clip(0.4 - along, 0, 0.5)
        arm = np.clip(1 - (off / radius) ** 2, 0, 1) ** 0.5 * rise(along + 0.25, 0.2)
        thickness = np.maximum(thickness, 0.5 * arm)
    head = np.clip(blob(x, y, (0.0, -0.98 + 0.1 * chest.age), (0.5, 0.52)), 0, 1) ** 0.4
    return np.maximum(thickness, 0.95 * head)


def _arm_axes(x: Plane, y: Plane, sign: int, angle: float) -> tuple[Plane, Plane]:
    """Distance from the shoulder along the upper arm, and across it."""
    dx, dy = sign * x - 0.92, y - 0.1
    c, s = np.cos(angle), np.sin(angle)
    return c * dx - s * dy, s * dx + c * dy


def arm_bones(x: Plane, y: Plane, chest: Chest) -> Plane:
    """The upper arms' bones with their heads."""
    total = np.zeros_like(x)
    for sign, angle in zip((-1, 1), chest.arms):
        along, off = _arm_axes(x, y, sign, angle)
        radius = 0.055 + 0.045 * np.exp(-(((along - 0.1) / 0.09) ** 2))
        r = off / radius  # hollow: from the side, the wall is thickest at its edges
        outer = np.sqrt(np.clip(1 - r**2, 0, 1))
        inner = np.sqrt(np.clip(1 - (r / 0.72) ** 2, 0, 1))
        total += (outer - 0.5 * 0.72 * inner) * rise(along - 0.03, 0.06)
    return total


def diaphragm(x: Plane, chest: Chest) -> Plane:
    """Height y of the diaphragm at each x."""
    right = np.where(x < 0, chest.domes[0], chest.domes[1])
    away = (np.abs(x) - 0.42) / 0.55
    return (right + 0.27 * np.abs(away) ** 2.3 * np.where(away > 0, 1.15, 0.35)).astype(np.float32)


def lungs(x: Plane, y: Plane, chest: Chest) -> Plane:
    """Thickness of the air in front of and behind what lies in the middle; up to about 0.75."""
    wall = cage(y, chest)
    inward = wall - np.abs(x)
    shape = np.clip(inward / 0.42, 0, 1)
    depth = np.sqrt(np.clip(1 - (1 - shape) ** 2, 0, 1))  # the chest is round
    apex = np.clip((y + 0.02) / 0.3, 0, 1) ** 0.6
    below = diaphragm(x, chest) - y
    base = rise(below, 0.03) * (0.72 + 0.28 * np.clip(below / 0.3, 0, 1))
    behind = 0.1 * rise(below + 0.13, 0.12)  # lung behind the dome of the diaphragm
    return 0.78 * depth * apex * np.maximum(base, behind) * rise(inward, 0.02)


def middle(x: Plane, y: Plane, chest: Chest) -> Plane:
    """How much of the lungs' air the heart and the great vessels push away: 0 none, 1 all."""
    across, base = chest.heart, chest.domes[1]
    parts = (
        blob(x, y, (0.40 * across, base - 0.2), (0.93 * across, 0.42), 0.5),  # left ventricle
        blob(x, y, (-0.08 * across, base - 0.2), (0.56 * across, 0.5), -0.05),  # right atrium
        blob(x, y, (0.12, base - 0.62), (0.2, 0.46), -0.3),  # pulmonary trunk
        blob(x, y, (0.1, 0.32 + 0.04 * chest.age), (0.135, 0.16)),  # arch of the aorta
    )
    sharp = 9.0  # the highest of the parts, with the notches between them filled
    heart = np.log(sum(np.exp(sharp * np.clip(part, -2, 1)) for part in parts)) / sharp
    shadow = rise(heart, 0.12) * (0.70 + 0.17 * np.clip(heart, 0, 1))
    thymus = 0.09 * (1 - chest.age)
    side = 0.15 + thymus + 0.04 * np.exp(-(((y - 0.75) / 0.3) ** 2))
    vessels = 0.78 * rise(side - np.abs(x + 0.015), 0.06)
    spine = rise(0.13 - np.abs(x), 0.03)
    return np.maximum(np.maximum(shadow, vessels), spine)


def windpipe(x: Plane, y: Plane, chest: Chest) -> Plane:
    """The air of the trachea and of the two main bronchi."""
    fork = 0.4
    centre = -0.02 - 0.03 * np.clip(y, 0, fork)
    trachea = np.clip(1 - ((x - centre) / 0.062) ** 2, 0, 1) ** 0.5 * rise(fork - y, 0.06)
    total = trachea * rise(y + 0.6, 0.2)
    for sign, slope in ((-1, 0.62), (1, 0.95)):
        away = sign * (x + 0.03)
        off = y - fork - 0.9 * away / slope + 0.03
        tube = np.clip(1 - (off / 0.07) ** 2, 0, 1) ** 0.5
        total = np.maximum(total, 0.7 * tube * rise(away, 0.02) * rise(0.2 - away, 0.1))
    return total
