"""Pneumonia: where fluid has taken the place of the lungs' air."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medsr_lib.data.phantom.chest.chest import Chest, Plane, blob, rise

SHOWN = 0.35  # share of the air replaced from which on a place counts as opaque


@dataclass(frozen=True)
class Opacity:
    """One pneumonia.

    Attributes:
        kind: "bacteria": one lobe, dense, with an edge; "virus": both lungs, streaks and patches
            around the roots of the lungs.
        centre, radii, turn: of the ellipse that a lobar opacity fills, lengths as in `chest`.
        density: share of the air replaced in its middle.
        seed: of its outline and texture.
    """

    kind: str
    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float
    density: float
    seed: int


# Where the lobes lie from the front: x, and y as a share of the lungs' height.
_LOBES = ((-0.52, 0.3), (-0.5, 0.62), (-0.52, 0.86), (0.5, 0.28), (0.62, 0.72), (0.6, 0.9))


def make_opacity(kind: str, chest: Chest, rng: np.random.Generator) -> Opacity:
    """A pneumonia at random."""
    x, y = _LOBES[int(rng.integers(len(_LOBES)))]
    lobar = kind == "bacteria"
    return Opacity(
        kind=kind,
        centre=(x + float(rng.normal(0, 0.04)), y * chest.height + float(rng.normal(0, 0.04))),
        radii=(float(rng.uniform(0.24, 0.44)), float(rng.uniform(0.2, 0.36))),
        turn=float(rng.uniform(-0.5, 0.5)),
        density=float(rng.uniform(0.6, 0.9) if lobar else rng.uniform(0.55, 0.85)),
        seed=int(rng.integers(2**31)),
    )


def replaced(x: Plane, y: Plane, chest: Chest, opacity: Opacity) -> Plane:
    """The share of the lungs' air that is gone, 0 to 1."""
    if opacity.kind == "bacteria":
        return _lobar(x, y, opacity)
    return _interstitial(x, y, chest, opacity)


def _lobar(x: Plane, y: Plane, opacity: Opacity) -> Plane:
    rough = smooth_noise(x, y, 0.13, opacity.seed) + 0.5 * smooth_noise(
        x, y, 0.05, opacity.seed + 1
    )
    shape = blob(x, y, opacity.centre, opacity.radii, opacity.turn) + 0.28 * rough
    cloudy = 1 + 0.14 * smooth_noise(x, y, 0.035, opacity.seed + 2)
    return np.clip(opacity.density * rise(shape - 0.1, 0.5) * cloudy, 0, 0.95)


def _interstitial(x: Plane, y: Plane, chest: Chest, opacity: Opacity) -> Plane:
    level = 0.58 * chest.height
    around = np.exp(-(((np.abs(x) - 0.36) / 0.3) ** 2) - ((y - level) / 0.4) ** 2)
    uneven = np.clip(1 + 0.4 * smooth_noise(x, y, 0.16, opacity.seed), 0.35, 2)
    # Streaks run from the root of the lung outward: noise drawn out along the radius.
    dx, dy = np.abs(x) - 0.14, y - level
    angle, radius = np.arctan2(dy, dx), np.hypot(dx, dy)
    side = np.where(x < 0, np.float32(9), np.float32(0))
    bent = 5 * angle + 0.9 * smooth_noise(x, y, 0.12, opacity.seed + 3) + side
    streaks = smooth_noise(bent, 1.3 * radius, 0.2, opacity.seed + 1)
    net = np.abs(smooth_noise(x, y, 0.02, opacity.seed + 2))  # thickened septa between its meshes
    texture = 0.62 + 0.15 * np.clip(streaks, -1.5, 2) + 0.16 * (0.75 - net)
    return np.clip(opacity.density * np.clip(1.25 * around * uneven, 0, 1) * texture, 0, 0.9)


def opaque(y: Plane, opacity: Opacity, gone: Plane) -> NDArray[np.bool_]:
    """Where `gone`, without its fine texture, is at least `SHOWN` of the density; (H, W) bool."""
    pixel = float(abs(y[1, 0] - y[0, 0]))
    return gaussian_filter(gone, 0.03 / pixel) > SHOWN * opacity.density


def smooth_noise(x: Plane, y: Plane, length: float, seed: int) -> Plane:
    """Random values of about -2 to 2 that change over `length`; the same at the same place."""
    rng = np.random.default_rng(seed)
    total, n = np.zeros_like(x), 16  # waves of random directions add up to what looks random
    waves = rng.uniform((0, 0, 0.6), (np.pi, 2 * np.pi, 1.3), (n, 3)).tolist()
    for angle, phase, k in waves:
        total += np.cos(
            (k / length * math.cos(angle)) * x + (k / length * math.sin(angle)) * y + phase
        )
    return total * math.sqrt(2 / n)
