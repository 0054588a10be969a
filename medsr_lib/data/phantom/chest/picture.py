"""From thickness to a radiograph: what lies in the beam, then the film."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from medsr_lib.data.phantom.chest import chest as shapes
from medsr_lib.data.phantom.chest.bones import bones
from medsr_lib.data.phantom.chest.chest import Chest, Plane, blob, rise
from medsr_lib.data.phantom.chest.opacity import Opacity, opaque, replaced, smooth_noise


def draw(
    chest: Chest, opacity: Opacity | None, *, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A radiograph from the front, (H, W) uint8, and where its opacity is, (H, W) bool.

    Args:
        chest: whose.
        opacity: the pneumonia, or None.
        shape: height and width in pixels.
        rng: of what differs from one exposure to the next: position, exposure, noise.
    """
    x, y = _grid(chest, shape, rng)
    air = shapes.lungs(x, y, chest) * (1 - shapes.middle(x, y, chest))
    branches = _vessels(x, y, chest, shape)
    mask = np.zeros(shape, bool)
    if opacity is not None:
        gone = replaced(x, y, chest, opacity)
        mask = opaque(y, opacity, gone) & (air > 0.25)
        air = air * (1 - gone * (1 - 0.3 * branches))  # the bronchi keep their air
    body = gaussian_filter(shapes.body(x, y, chest), 0.03 / _unit(y))
    soft = body - 0.86 * air + 0.24 * branches * np.clip(air / 0.5, 0, 1)
    soft -= 0.02 * smooth_noise(x, y, 0.018, chest.seed + 2) * np.clip(air / 0.4, 0, 1)
    soft += _belly(x, y, chest) - 0.16 * shapes.windpipe(x, y, chest)
    hard = bones(x, y, chest) * np.clip(body * 3, 0, 1)
    total = 0.80 * soft + 0.15 * hard
    return _film(total, body, shape, rng), mask


def _grid(chest: Chest, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Plane, Plane]:
    """The coordinates of every pixel: the child lies a little askew, the spine bends a little."""
    h, w = shape
    tall = chest.height + 0.8 * rng.uniform(0.85, 1.15)  # of neck and belly, whatever the width
    unit = max(tall / h, 2.05 / w)  # all of the chest's width is to be seen
    rows = (np.arange(h, dtype=np.float32) + 0.5) * np.float32(unit)
    columns = (np.arange(w, dtype=np.float32) + 0.5 - w / 2) * np.float32(unit)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    spare = h * unit - chest.height
    y -= np.float32(spare * rng.uniform(0.46, 0.56))
    x += np.float32(rng.normal(0, 0.03))
    tilt = np.float32(rng.normal(0, 0.025))
    x, y = x + tilt * (y - 0.6), y  # rows stay level, so that a row has one y
    x += np.float32(chest.lean) * np.sin(2.2 * y)
    return x, y


def _unit(y: Plane) -> float:
    """Length of a pixel's side."""
    return float(y[1, 0] - y[0, 0])


def _belly(x: Plane, y: Plane, chest: Chest) -> Plane:
    """The liver, thicker than the rest; gas in the stomach and in loops of bowel."""
    below = y - shapes.diaphragm(x, chest)
    total = 0.1 * rise(below, 0.05) * rise(0.35 - x, 0.5)
    rng = np.random.default_rng(chest.seed)
    base = chest.domes[1]
    bubble = blob(x, y, (0.42, base + 0.17), tuple(rng.uniform((0.15, 0.07), (0.28, 0.14))), 0.15)
    gas = 0.32 * rise(bubble, 0.35) * float(rng.uniform(0.3, 1))
    for _ in range(int(rng.integers(2, 6))):
        at = (float(rng.uniform(-0.1, 0.75)), base + float(rng.uniform(0.32, 0.7)))
        loop = blob(x, y, at, tuple(rng.uniform(0.06, 0.15, 2)), float(rng.uniform(0, 3)))
        gas = np.maximum(gas, 0.24 * rise(loop, 0.4))
    return total - gas * rise(below, 0.04)


def _vessels(x: Plane, y: Plane, chest: Chest, shape: tuple[int, int]) -> Plane:
    """Branches from the roots of the lungs outward, thinner and thinner, about 0 to 1."""
    h, w = shape
    unit = _unit(y)
    twice = 2  # drawn at twice the size and averaged
    canvas = Image.new("L", (w * twice, h * twice), 0)
    pen = ImageDraw.Draw(canvas)
    rng = np.random.default_rng(chest.seed + 1)
    left, top = float(x[0, 0]), float(y[0, 0])

    def pixel(at: NDArray[np.float64]) -> tuple[float, float]:
        return (at[0] - left) / unit * twice, (at[1] - top) / unit * twice

    root_y = 0.5 * chest.height
    for sign in (-1, 1):
        for angle in np.linspace(-1.25, 1.35, 9) + rng.normal(0, 0.1, 9):
            start = np.array([sign * (0.2 + 0.08 * (sign > 0)), root_y + 0.1 * angle])
            todo = [(start, float(angle), 0.022, 0)]
            while todo:
                at, heading, width, order = todo.pop()
                for _ in range(int(rng.integers(3, 6))):
                    heading += float(rng.normal(0, 0.16))
                    step = 0.055 * np.array([sign * np.cos(heading), np.sin(heading)])
                    bright, exact = 90 + 140 * min(1.0, width / 0.018), width * twice / unit
                    thick = max(1, round(exact))  # as bright in all, whatever the size of a pixel
                    fill = min(255, int(bright * exact / thick))
                    pen.line([pixel(at), pixel(at + step)], fill=fill, width=thick)
                    at, width = at + step, width * 0.91
                if order < 4 and width > 0.0035:
                    for turn in (-0.38, 0.34):
                        child = heading + turn + float(rng.normal(0, 0.1))
                        todo.append((at, child, width * 0.78, order + 1))
    small = np.asarray(canvas.resize((w, h), Image.Resampling.BOX), np.float32) / 255
    hilum = np.exp(-(((np.abs(x) - 0.22) / 0.12) ** 2) - ((y - root_y) / 0.2) ** 2)
    return gaussian_filter(small, 0.007 / unit) + 0.55 * hilum


def _film(
    total: Plane, body: Plane, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Scatter, grain, the window of grey levels, and the R that marks the patient's right side."""
    # As much grain on the same part of the chest, whatever the size of a pixel: white noise of the
    # smaller pixel has the larger deviation. Small files would otherwise be grainy, hence ill.
    unit = shape[0] / 380
    grain = rng.normal(0, unit, shape).astype(np.float32)
    grain = gaussian_filter(grain, 0.6 * unit) + 0.6 * gaussian_filter(grain, 1.6 * unit)
    total = total + 0.06 * gaussian_filter(total, shape[0] / 12)
    total = gaussian_filter(total, 0.0012 * shape[0]) + 0.014 * grain * np.clip(body * 2, 0.15, 1)
    low, high = rng.uniform(0.0, 0.12), rng.uniform(0.94, 1.22)
    t = np.clip((total - low) / (high - low), 0, None)
    shown = t / (1 + t**5) ** 0.2  # the shoulder of the curve
    picture = np.clip(255 * shown ** rng.uniform(0.8, 1.15), 0, 255)
    canvas, (h, w) = Image.fromarray(np.rint(picture).astype(np.uint8)), shape
    pen = ImageDraw.Draw(canvas)
    tall = h * float(rng.uniform(0.035, 0.06))
    left, top = w * float(rng.uniform(0.03, 0.09)), h * float(rng.uniform(0.08, 0.3))
    wide, thick = 0.62 * tall, max(1, round(tall / 7))
    pen.line([(left, top), (left, top + tall)], fill=250, width=thick)
    pen.arc([left - wide, top, left + wide, top + 0.55 * tall], -90, 90, fill=250, width=thick)
    pen.line(
        [(left + 0.3 * wide, top + 0.55 * tall), (left + wide, top + tall)], fill=250, width=thick
    )
    return np.asarray(canvas)
