"""Makes tumours where their kind grows, and paints them as they look after contrast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from medsr_lib.data.phantom.brain.head import CEREBRUM_CENTRE, CEREBRUM_RADII
from medsr_lib.data.phantom.brain.solids import (
    Array,
    cover,
    cut,
    ellipsoid,
    field,
    paint,
    ramp,
    sheet,
)
from medsr_lib.data.phantom.brain.view import View


@dataclass(frozen=True)
class Tumour:
    """A lesion, in head coordinates."""

    kind: str  # "meningioma", "glioma" or "pituitary"
    centre: Array  # (3,) mm
    radii: Array  # (3,) mm
    signal: float  # of the part that takes up contrast
    core: float  # share of the radius that is dark: 0 solid, 1 no uptake
    phase: float  # mm, moves the random fields that shape it


def make_tumour(kind: str, rng: np.random.Generator) -> Tumour:
    """A tumour of a kind, where that kind grows."""
    side = rng.choice((-1, 1))
    signal, core = rng.uniform(0.46, 0.62), 0.0
    if kind == "pituitary":
        radii = rng.uniform(9.5, 14.5) * np.array((1.0, 0.9, 1.1))
        centre = np.array((0, 12, -34 + 0.5 * radii[2])) + rng.normal(0, 1.2, 3)
    elif kind == "meningioma":
        away = np.array((side * rng.uniform(0.3, 1), rng.uniform(-0.8, 0.8), rng.uniform(0.1, 0.8)))
        away /= np.linalg.norm(away)
        radii = rng.uniform(12, 23) * rng.uniform(0.9, 1.1, 3)
        dura = away / np.linalg.norm(away / CEREBRUM_RADII) + CEREBRUM_CENTRE
        centre = dura - away * 0.5 * radii.mean()
    else:
        radii = rng.uniform(14, 27) * rng.uniform(0.8, 1.15, 3)
        centre = np.array((side * rng.uniform(24, 34), rng.uniform(-45, 42), rng.uniform(8, 32)))
        core = rng.choice((0.5, 0.65, 0.8, 1.0))
    return Tumour(kind, centre, radii, float(signal), float(core), float(rng.uniform(0, 60)))


def draw_tumour(s: View, tumour: Tumour) -> NDArray[np.float64]:
    """Paint the tumour and return its outline (n, 2)."""
    mean = float(tumour.radii.mean())
    rough = {"meningioma": 0.06, "glioma": 0.13, "pituitary": 0.05}[tumour.kind] * mean
    down, across = s.weights
    lumps, fine = (
        down @ field(s.head.lattices[k], s.coarse_raw + tumour.phase, spacing) @ across.T
        for k, spacing in ((6, 0.42 * mean), (7, 5))
    )
    body: Array = ellipsoid(s.raw, tumour.centre, tumour.radii) + rough * lumps
    clumps = 0.05 * fine + 0.05 * lumps + 0.05 * s.grain + 0.04 * s.at["small"]
    signal = tumour.signal * (1 + clumps)
    body = {"meningioma": _meningioma, "glioma": _glioma, "pituitary": _pituitary}[tumour.kind](
        s, tumour, body, signal, fine
    )
    outlines = find_contours(body, 0)
    if not outlines:
        raise ValueError("this slice misses the tumour: take a level nearer to its centre")
    outline = max(outlines, key=len)
    return outline[:, ::-1] + (s.box[1].start, s.box[0].start)


def _meningioma(s: View, tumour: Tumour, body: Array, signal: Array, fine: Array) -> Array:
    """Solid, its broad base on the dura, which thickens around it."""
    body = cut(body, s.at["cavity"] + 0.3, 3)
    thick = 1.4 * np.clip(1 - body / 18, 0, 1)
    tail = np.maximum(np.abs(s.at["cavity"] + 0.8) - thick, body - 18)
    paint(s.canvas, tail, tumour.signal, s.mm)
    paint(s.canvas, body - 0.8, 2 * s.head.grey["csf"], 2 * s.mm)  # cleft of fluid around it
    paint(s.canvas, body, signal, s.mm)
    return body


def _glioma(s: View, tumour: Tumour, body: Array, signal: Array, fine: Array) -> Array:
    """An uneven bright rind round a dark core, in swollen white matter."""
    body = np.maximum(body, s.at["brain"] + 1.5)
    dark = 0.68 * s.head.grey["grey"]
    oedema = np.clip(1 - (body + 4 * s.at["mid"] + 2 * s.at["small"]) / 14, 0, 1)
    oedema = oedema * cover(s.at["brain"] + 3, 3) * (s.canvas > dark)
    s.canvas[...] += 0.7 * oedema * (dark - s.canvas)
    rind = (1 - tumour.core) * float(tumour.radii.mean()) * (0.7 + 0.45 * fine)
    inner = dark * (0.75 + 0.14 * fine + 0.07 * s.grain + 0.08 * s.at["small"])
    strands = np.exp(-((sheet(fine + 0.6 * s.at["small"], s.mm) / 0.8) ** 2))
    inner = inner + strands * ramp(s.at["mid"], 0, 1.2) * 0.6 * tumour.signal
    if tumour.core == 1:  # no uptake, or traces
        paint(s.canvas, body, inner * 1.1, 3 * s.mm)
        return body
    paint(s.canvas, body, signal * (1 + 0.14 * s.at["mid"]), 2 * s.mm)
    paint(s.canvas, body + np.maximum(rind, 0.8), inner, 2.5 * s.mm)
    return body


def _pituitary(s: View, tumour: Tumour, body: Array, signal: Array, fine: Array) -> Array:
    """Solid, rising from the sella between the carotids."""
    paint(s.canvas, body - 0.9, 1.8 * s.head.grey["csf"], s.mm)
    paint(s.canvas, body, signal, s.mm)
    return body
