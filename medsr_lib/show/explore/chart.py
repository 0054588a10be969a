"""Charts without matplotlib: lines, dots and axes, drawn at twice the size and then halved."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medsr_lib.show.explore.picture import Pixels, font, rgb
from medsr_lib.show.style import INK, MUTED

TWICE = 2
GAP = 16
GRID = "#E6E6E6"
DISC = [(y, x) for y in range(-4, 5) for x in range(-4, 5) if y * y + x * x <= 18]
Reach = tuple[float, float]


def pale(colour: str, share: float = 0.45) -> str:
    """A colour mixed with white."""
    red, green, blue = (round(255 * (1 - share * (1 - part))) for part in to_rgb(colour))
    return f"#{red:02x}{green:02x}{blue:02x}"


def plain(value: float) -> str:
    """A number as it stands at an axis."""
    return f"{value:.4g}".replace("-", "−")


class Chart:
    """A white picture to draw on; sizes and places are those of the picture in the end."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * TWICE, height * TWICE), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        size: int = 12,
        colour: str = INK,
        anchor: str = "la",
        bold: bool = False,
    ) -> None:
        """Write a line; `anchor` is Pillow's."""
        at = place[0] * TWICE, place[1] * TWICE
        self.draw.text(at, text, rgb(colour), font(size * TWICE, bold), anchor=anchor)

    def pixels(self) -> Pixels:
        """The picture."""
        return np.asarray(self.image.reduce(TWICE))


class Axes:
    """A rectangle of a chart with its own coordinates.

    Args:
        chart: to draw on.
        box: left, top, right and bottom.
        x, y: what the sides mean.
        log: whether the y axis is logarithmic.
    """

    def __init__(
        self, chart: Chart, box: tuple[int, int, int, int], x: Reach, y: Reach, *, log: bool = False
    ) -> None:
        self.chart, self.box, self.log = chart, box, log
        self.x, self.y = _open(x, False), _open(y, log)

    def across(self, values: Any) -> NDArray[np.float64]:
        """Where values lie from left to right."""
        left, _, right, _ = self.box
        share = (np.asarray(values, float) - self.x[0]) / (self.x[1] - self.x[0])
        return left + share * (right - left)

    def up(self, values: Any) -> NDArray[np.float64]:
        """Where values lie from above."""
        _, top, _, bottom = self.box
        bend: Callable[[Any], Any] = np.log10 if self.log else np.asarray
        low, high = (float(bend(end)) for end in self.y)
        share = (bend(np.asarray(values, float)) - low) / (high - low)
        return bottom - share * (bottom - top)

    def moved(self, right: int, down: int) -> "Axes":
        """The same axes where their chart is part of a larger picture."""
        other = copy(self)
        left, top, right_, bottom = self.box
        other.box = (left + right, top + down, right_ + right, bottom + down)
        return other

    def at(self, x: int, y: int, *, near: int = 8) -> float | None:
        """What x means at a pixel; at most `near` pixels beside the rectangle, and None farther."""
        left, top, right, bottom = self.box
        if not (left - near <= x <= right + near and top - near <= y <= bottom + near):
            return None
        share = min(1.0, max(0.0, (x + 0.5 - left) / (right - left)))
        return self.x[0] + share * (self.x[1] - self.x[0])

    def frame(self, *, title: str = "", below: str = "", rows: bool = False) -> None:
        """Draw grid, numbers and names; with `rows` the y axis has none."""
        left, top, right, bottom = self.box
        draw = self.chart.draw
        for value in _ticks(self.x, False):
            at = float(self.across(value))
            draw.line([2 * at, 2 * top, 2 * at, 2 * bottom], rgb(GRID), 2)
            self.chart.text((at, bottom + 4), plain(value), anchor="ma", colour=MUTED)
        for value in [] if rows else _ticks(self.y, self.log):
            at = float(self.up(value))
            draw.line([2 * left, 2 * at, 2 * right, 2 * at], rgb(GRID), 2)
            self.chart.text((left - 5, at), plain(value), anchor="rm", colour=MUTED)
        draw.line([2 * left, 2 * bottom, 2 * right, 2 * bottom], rgb(MUTED), 2)
        self.chart.text((left, top - 20), title, size=13, bold=True)
        self.chart.text(((left + right) / 2, bottom + 20), below, anchor="ma")

    def line(self, x: Any, y: Any, colour: str, width: float = 1.6) -> None:
        """Draw a line through the points that are numbers."""
        places = np.column_stack((self.across(x), self.up(y)))
        places = places[np.isfinite(places).all(1)] * TWICE
        if len(places) > 1:
            width = max(1, round(width * TWICE))
            self.chart.draw.line(places.ravel().tolist(), rgb(colour), width, joint="curve")

    def upright(self, x: float, colour: str = INK) -> None:
        """Draw an upright line through all of it."""
        at = 2 * float(self.across(x))
        self.chart.draw.line([at, 2 * self.box[1], at, 2 * self.box[3]], rgb(colour), 2)

    def dots(self, across: Any, down: Any, colour: str) -> None:
        """Draw dots at places in pixels; where they crowd they grow darker."""
        width, height = self.chart.image.size
        at = np.rint(np.asarray(across) * TWICE), np.rint(np.asarray(down) * TWICE)
        columns, lines = (np.clip(places, 5, end - 6) for places, end in zip(at, (width, height)))
        crowd = np.zeros((height, width), np.uint8)
        places = lines.astype(int), columns.astype(int)
        for y, x_ in DISC:
            crowd[places[0] + y, places[1] + x_] += 1
        pixels = np.array(self.chart.image)
        pixels[crowd > 0] = rgb(pale(colour))
        pixels[crowd > 1] = rgb(pale(colour, 0.75))
        self.chart.image = Image.fromarray(pixels)
        self.chart.draw = ImageDraw.Draw(self.chart.image)

    def ring(self, x: float, row: float, radius: float = 6) -> None:
        """Draw a black ring with a white edge."""
        at = float(self.across(x)) * TWICE, row * TWICE
        for more, colour, width in ((1.5, "white", 9), (0.0, INK, 4)):
            reach = (radius + more) * TWICE
            corner = [at[0] - reach, at[1] - reach, at[0] + reach, at[1] + reach]
            self.chart.draw.ellipse(corner, outline=rgb(colour), width=width)

    def block(
        self, x: Reach, rows: Reach, colour: str, *, fill: bool = False, width: float = 1.4
    ) -> None:
        """Draw a rectangle from x to x and from height to height in pixels."""
        left, right = (2 * float(self.across(end)) for end in x)
        corners = [left, 2 * rows[0], max(left, right), 2 * rows[1]]
        outline, inside = rgb(colour), rgb(colour) if fill else None
        self.chart.draw.rectangle(corners, inside, outline, round(width * TWICE))


def beside(left: Pixels, right: Pixels) -> Pixels:
    """Two pictures side by side on white, GAP pixels apart."""
    height = max(len(left), len(right))
    pixels = np.full((height, left.shape[1] + GAP + right.shape[1], 3), 255, np.uint8)
    pixels[: len(left), : left.shape[1]] = left
    pixels[: len(right), left.shape[1] + GAP :] = right
    return pixels


def reach_of(values: Sequence[Any], *, log: bool = False) -> Reach:
    """From the least to the most of all values that can be drawn, with a little room."""
    known = np.concatenate([np.ravel(np.asarray(part, float)) for part in values])
    known = known[np.isfinite(known) & ((known > 0) | (not log))]
    if not len(known):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(known.min()), float(known.max())
    if log:
        return low / 1.1, high * 1.1
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _open(reach: Reach, log: bool) -> Reach:
    """A reach that is not a single value."""
    low, high = reach
    if high > low:
        return low, high
    return (low / 2, low * 2) if log else (low - 0.5, low + 0.5)


def _ticks(reach: Reach, log: bool) -> list[float]:
    if log:
        decades = np.log10(reach[1] / reach[0])
        locator: LogLocator | MaxNLocator = LogLocator(subs=(1,) if decades > 2 else (1, 2, 5))
    else:
        locator = MaxNLocator(5)
    found = [float(v) for v in locator.tick_values(*reach) if reach[0] <= v <= reach[1]]
    return found if len(found) > 1 or not log else [reach[0], *found, reach[1]]
