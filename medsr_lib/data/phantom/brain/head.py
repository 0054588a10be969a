"""A made-up person: size, tilt and grey values of the head, and the surfaces inside it.

Coordinates are mm: x to the picture's right, y forward, z up, the origin in the middle of the
brain. Regions are given by their distance, negative inside.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medsr_lib.data.phantom.brain.solids import Array, cut, ellipsoid, field, join, ramp, rod

NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}  # the coordinate along each plane's normal
PLANES = tuple(NORMAL)
_LATTICE = 40  # control points a side of a random field
_FIELDS = 12


@dataclass(frozen=True)
class Head:
    """What one person's slices share: size and tilt of the head, random fields and grey values."""

    scale: Array  # (3,) relative to the mean head
    turn: Array  # (3, 3) rotation from the head to the scanner
    field_of_view: float  # mm
    shift: Array  # (2,) mm, of the picture's middle: column, row upwards
    lattices: Array  # (_FIELDS, n, n, n) control points of smooth random fields
    ventricles: float  # size relative to the mean
    atrophy: float  # width of the sulci relative to the mean
    blur: float  # standard deviation of the point spread, in pixels
    pillow: float  # how far the empty rim, left by unwarping the gradients, comes in at the sides
    grey: dict[str, float]  # tissue -> signal, where the brightest fat is near 1


def make_head(rng: np.random.Generator, plane: str) -> Head:
    """A person, imaged in `plane`."""
    view = PLANES.index(plane)
    white = rng.uniform(0.26, 0.32)
    return Head(
        scale=(rng.normal(1, 0.03) * rng.normal(1, 0.02, 3)).astype(np.float32),
        turn=_turn(NORMAL[plane], np.deg2rad(rng.normal(0, (4.0, 1.5, 1.5)))),
        field_of_view=float((228, 236, 244)[view] * rng.uniform(0.96, 1.06)),
        shift=np.add(rng.normal(0, 3, 2), (0, (0, -22, -24)[view])).astype(np.float32),
        lattices=rng.standard_normal((_FIELDS, *3 * [_LATTICE]), dtype=np.float32),
        ventricles=float(rng.uniform(0.75, 1.35)),
        atrophy=float(rng.uniform(0.7, 1.3)),
        blur=float(rng.uniform(0.75, 1.03)),
        pillow=float(rng.choice((0, 0, rng.uniform(0.08, 0.16)))) * (plane != "sagittal"),
        grey={
            "white": white,
            "grey": white * rng.uniform(0.80, 0.88),
            "csf": rng.uniform(0.05, 0.08),
            "fat": rng.uniform(0.66, 0.8),
            "muscle": rng.uniform(0.24, 0.32),
            "marrow": rng.uniform(0.28, 0.42),
            "vessel": rng.uniform(0.5, 0.72),
        },
    )


def _turn(normal: int, angles: NDArray[np.float64]) -> Array:
    """Rotations by the first angle in the plane and by the others out of it."""
    turn = np.eye(3)
    for step, angle in enumerate(angles):
        i, j = (normal + step + 1) % 3, (normal + step + 2) % 3
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return turn.astype(np.float32)


# --- surfaces -----------------------------------------------------------------------------------

CEREBRUM_CENTRE = np.array((0.0, -2.0, 8.0))
CEREBRUM_RADII = np.array((67.0, 86.0, 65.0))
FORAMEN = -62.0  # height of the foramen magnum, just below the cerebellum
MEMBRANES = 2.0  # mm of fluid and membranes around the brain
# The midline of a face without its nose: chin, lips, forehead.
_PROFILE_Z = (-125, -116, -106, -98, -92, -86, -80, -74, -66, -30, -20, 0, 20)
_PROFILE_Y = (70, 92, 98, 93, 99, 96, 101, 96, 95, 94, 98, 99, 97)


def mirrored(p: Array) -> Array:
    """Points with |x| for x: what is drawn at them appears on both sides."""
    return np.stack([np.abs(p[0]), p[1], p[2]])


def tentorium_height(p: Array) -> Array:
    """Height of the tentorium at each point's (x, y)."""
    return -3 - 0.32 * np.abs(p[0]) + 0.17 * (p[1] + 30)


def surfaces(head: Head, p: Array) -> dict[str, Array]:
    """Distances (H, W) to the large regions at points p (3, H, W)."""
    cerebrum, cerebellum, stem = _cerebrum(p), _cerebellum(p), _stem(p)
    vault = join(cerebrum, cerebellum, 28)
    brain = join(join(cerebrum, cerebellum, 6), stem, 6)
    cistern = ellipsoid(p, (0, 2, -22), (17, 16, 10))
    return {
        "cerebrum": cerebrum,
        "cerebellum": cerebellum,
        "stem": stem,
        "brain": brain,
        "cavity": join(brain, cistern, 6) - MEMBRANES,
        "skin": _skin(p, vault - 2.0),
        "ventricles": _ventricles(p, head.ventricles),
        "deep": _deep_grey(p),
        "tentorium": p[2] - tentorium_height(p),
        "arch": ellipsoid(p, (0, -4, 0), (100, 43, 28)),  # over the corpus callosum
        "core": ellipsoid(p, (0, -4, -6), (17, 46, 30)),  # no folds in here
    }


def _cerebrum(p: Array) -> Array:
    x, y, z = p
    side = np.abs(x)
    egg = np.stack([x * (1 + 0.10 * y / 86), y, z])  # narrower in front
    front, middle = ramp(y, 26, 40), ramp(y, -38, -18)
    floor_front = -20 + 0.10 * (side - 20)  # roof of the orbits
    floor_middle = -15 - 26 * ramp(side, 12, 24)  # the temporal lobes hang down at the sides
    floor_middle = floor_middle * (1 - front) + floor_front * front
    floor = tentorium_height(p) * (1 - middle) + floor_middle * middle
    return cut(ellipsoid(egg, CEREBRUM_CENTRE, CEREBRUM_RADII), 0.9 * (floor - z), 7)


def _cerebellum(p: Array) -> Array:
    halves = ellipsoid(mirrored(p), (22, -53, -37), (29, 31, 24))
    vermis = ellipsoid(p, (0, -52, -32), (12, 26, 22))
    return cut(join(halves, vermis, 4), p[2] - tentorium_height(p) + 3, 4)


def _stem(p: Array) -> Array:
    midbrain = rod(p, (0, -16, -4), (0, -18, -28), 14, 11)
    pons = ellipsoid(p, (0, -9, -33), (17, 14, 14))
    medulla = rod(p, (0, -22, -44), (0, -36, -74), 8.5, 6)
    cord = rod(p, (0, -36, -74), (0, -45, -200), 6, 5.5)
    return join(join(join(midbrain, pons, 5), medulla, 6), cord, 4)


def _ventricles(p: Array, size: float) -> Array:
    """The lateral ventricles, the third and the fourth, as one region."""
    half = mirrored(p)
    distance = np.full_like(p[0], 100)
    for line in _LATERAL_VENTRICLE:
        for (a, ra), (b, rb) in pairwise(line):
            distance = join(distance, rod(half, a, b, ra * size, rb * size), 3)
    caudate = ellipsoid(half, (14 + 5 * size, 16, 5), (8, 24, 12))
    distance = cut(distance, -caudate, 2)
    distance = np.maximum(distance, 0.8 - half[0])  # the septum between them
    third = ellipsoid(p, (0, -6, -4), (2.0 * size, 13, 10))
    fourth = ellipsoid(p, (0, -32, -36), (8 * size, 4, 9))
    return np.minimum(distance, np.minimum(third, fourth))


_LATERAL_VENTRICLE = (
    # frontal horn, body, atrium, occipital horn: place and radius
    (
        ((6, 30, 5), 4.0),
        ((7, 26, 12), 5.0),
        ((9, 6, 18), 5.5),
        ((12, -22, 18), 5.0),
        ((22, -38, 8), 6.5),
        ((23, -60, 3), 2.0),
    ),
    # the upper outer edge of horn and body
    (((11, 25, 16), 2.5), ((16, 6, 21), 2.5), ((20, -22, 21), 2.5), ((22, -38, 10), 6.0)),
    # temporal horn
    (((22, -38, 6), 6.0), ((32, -20, -14), 2.5), ((31, 2, -22), 2.0)),
)


def _deep_grey(p: Array) -> Array:
    half = mirrored(p)
    thalamus = ellipsoid(half, (10, -14, 4), (8, 14, 9))
    lentiform = ellipsoid(half, (23, 4, 2), (7, 18, 10))
    caudate = ellipsoid(half, (14, 18, 8), (6, 14, 9))
    return np.minimum(np.minimum(thalamus, lentiform), caudate)


def _skin(p: Array, vault: Array) -> Array:
    """The head's outside: skull and scalp, face and neck."""
    x, y, z = p
    front = np.interp(z, _PROFILE_Z, _PROFILE_Y).astype(np.float32)
    nose = np.interp(z, (-76, -66, -58, -24, -16), (0, 17, 22, 2, 0)).astype(np.float32)
    reach = front + nose * np.exp(-((x / 11) ** 2)) - 5
    width = np.interp(z, (-125, -100, -60, -10), (42, 58, 66, 68)).astype(np.float32)
    round_ = (np.abs(x / width) ** 2.4 + np.abs((y - 5) / reach) ** 2.4) ** (1 / 2.4)
    face = np.where(y > 5, (round_ - 1) * np.minimum(width, reach), 0.95 * (np.abs(x) - width))
    face = cut(face, np.maximum(z - 10, -118 - z - 0.25 * (90 - y)), 12)
    face = cut(face, -y - 45, 20)
    neck = (np.sqrt((x / 58) ** 2 + ((y + 30 + 0.12 * z) / 60) ** 2) - 1) * 58
    neck = cut(neck, z + 45, 20)
    return join(join(vault - 12.5, face, 14), neck, 16)


def folds(head: Head, p: Array) -> dict[str, Array]:
    """Fields (H, W) whose zero sets are the sulci, and one for the sulci's depth.

    They follow the brain's surface, so that their zero sets run inward from it.
    """
    away = p - np.array((0, -4, 0), np.float32).reshape(3, 1, 1)
    away[0] = np.sign(away[0]) * np.maximum(np.abs(away[0]) - 6, 0)  # two hemispheres
    radius = np.sqrt(np.sum(away**2, axis=0)) + 1
    onto = away / radius * (58 + 0.3 * (radius - 58))
    onto = onto + 3 * np.stack([field(head.lattices[k], p, 10) for k in (3, 4, 5)])
    return {
        "fold": field(head.lattices[3], onto, 8.0),
        "branch": field(head.lattices[4], onto + 0.15 * away, 5.5),
        "reach": field(head.lattices[5], onto, 12),
        "vein": field(head.lattices[6], onto, 9),
    }
