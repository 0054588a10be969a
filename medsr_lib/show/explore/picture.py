"""Pixels of an explorer: images by NumPy and Pillow, charts by matplotlib; all in milliseconds."""

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageColor import getrgb
from torch import Tensor

from medsr_lib.case import Case
from medsr_lib.show.panels import Box, Window, square_around
from medsr_lib.show.style import CONTOUR, INK, MUTED

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W, 3), red, green and blue."""

WIDTH = 1200  # no picture is wider: so many pixels are encoded within a move
STATIC = 80_000  # bytes of a picture that is kept in a notebook; base64 is a third longer
GAP, HEAD, FOOT = 8, 24, 20
NEAR = 8  # pixels beside the axes of a chart at which the mouse still points at their edge
NO_VALUE, PANEL, GRID, LINE = "#BDBDBD", "#EDEDED", "#E6E6E6", "#9A9A9A"


@dataclass(frozen=True)
class Scale:
    """What the colours of a map mean: from `low` to `high` through matplotlib's `colours`."""

    colours: str
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet, with its name above it and a line of numbers below."""

    pixels: Pixels
    title: str
    note: str = ""
    colour: str = INK


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of matplotlib's figures, which is always there."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


@cache
def _table(colours: str) -> Pixels:
    """(257, 3): 256 colours and, last, that of NaN."""
    table = np.asarray(matplotlib.colormaps[colours](np.arange(256), bytes=True))[:, :3]
    return np.vstack((table, np.array([getrgb(NO_VALUE)], np.uint8))).astype(np.uint8)


def grey(image: NDArray[Any], window: Window) -> Pixels:
    """An image (H, W) in a grey window; values beyond it are black or white."""
    low, high = window
    levels = (np.asarray(image, np.float32) - low) * (255 / max(high - low, 1e-6)) + 0.5
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def coloured(values: NDArray[Any], scale: Scale) -> Pixels:
    """A map (H, W) in colours; NaN is grey."""
    shares = (np.asarray(values, np.float32) - scale.low) * (255 / (scale.high - scale.low)) + 0.5
    known = np.isfinite(shares)
    places = np.clip(np.where(known, shares, 0), 0, 255).astype(np.int16)
    return _table(scale.colours)[np.where(known, places, 256)]


def blend(below: Pixels, above: Pixels, opacity: float) -> Pixels:
    """Lay one picture over another; opacity 1 hides what is below."""
    return np.asarray(Image.blend(Image.fromarray(below), Image.fromarray(above), opacity))


def part(values: NDArray[Any], box: Box) -> NDArray[Any]:
    """What of (H, W, ...) lies in a box."""
    left, top, right, bottom = box
    return values[top:bottom, left:right]


def box_around(mask: Tensor | None, margin: int) -> Box | None:
    """The square around a lesion (H, W); None where there is none."""
    return None if mask is None or not mask.any() else square_around(mask.numpy(), margin)


def size_of(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Width and height of a picture of (H, W) whose longer side is `side`."""
    factor = side / max(shape[:2])
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def shrunk(values: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Bring the longer side of (H, W) down to `side`; what is smaller is left as it is."""
    values = np.ascontiguousarray(values, np.float32)
    if max(values.shape) <= side:
        return values
    size = size_of(values.shape, side)
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.HAMMING))


def enlarged(pixels: Pixels, side: int) -> Pixels:
    """Bring the longer side up to `side`, every pixel visible as a square; always a copy."""
    size = size_of(pixels.shape, side)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def outline(pixels: Pixels, mask: NDArray[np.bool_]) -> None:
    """Draw the outline of a mask (h, w), enlarged or shrunk to the picture, with a dark halo."""
    size = pixels.shape[1], pixels.shape[0]
    shown = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    if not shown.any() or shown.all():
        return
    line = _grown(shown) & ~shown
    if max(size) > 400:
        line |= _grown(line) & ~shown
    pixels[_grown(line) & ~line] = 0
    pixels[line] = getrgb(CONTOUR)


def cross(pixels: Pixels, row: float, column: float) -> None:
    """Mark a place, given as shares of height and width, by four ticks around it."""
    height, width = pixels.shape[:2]
    y, x = int(row * height), int(column * width)
    for wide, tone in ((1, 0), (0, 255)):
        for near, far in ((-14, -5), (6, 15)):
            rows = slice(max(0, y + near - wide), max(0, y + far + wide))
            columns = slice(max(0, x + near - wide), max(0, x + far + wide))
            pixels[rows, max(0, x - wide) : x + wide + 1] = tone
            pixels[max(0, y - wide) : y + wide + 1, columns] = tone


def ringed(pixels: Pixels, places: NDArray[np.float64]) -> Pixels:
    """The picture with a black ring in a white one around each place x, y of (n, 2)."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for x, y in places:
        for reach, colour, width in ((8, "white", 5), (7, INK, 2)):
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=width)
    return np.asarray(image)


def case_panel(
    case: Case, title: str, note: str, *, side: int, window: Window, box: Box | None, contour: bool
) -> tuple[Pixels, list[Box]]:
    """A sheet of one image, or the part of it in a box, with the outline of its lesion."""
    box = box or (0, 0, case.image.shape[1], case.image.shape[0])
    pixels = enlarged(grey(shrunk(part(case.image.numpy(), box), side), window), side)
    if contour and case.mask is not None:
        outline(pixels, part(case.mask.numpy(), box))
    return sheet([Panel(pixels, title, note)])


def divided(left: Pixels, right: Pixels, share: float) -> Pixels:
    """One picture left of a line at `share` of the width, the other right of it."""
    at = round(share * left.shape[1])
    pixels = np.concatenate((left[:, :at], right[:, at:]), axis=1)
    pixels[:, max(0, at - 2) : at + 2] = 0
    pixels[:, max(0, at - 1) : at + 1] = 255
    return pixels


def joined(parts: Sequence[Pixels], *, axis: int) -> Pixels:
    """Pictures one below the other (axis 0) or side by side (axis 1), on white."""
    length = max(of.shape[1 - axis] for of in parts)
    padded = []
    for of in parts:
        room = [(0, 0)] * 3
        room[axis], room[1 - axis] = (0, GAP), (0, length - of.shape[1 - axis])
        padded.append(np.pad(of, room, constant_values=255))
    return np.concatenate(padded, axis=axis)


def sentence(text: str, shape: tuple[int, int] | None = None) -> Pixels:
    """A panel (H, W) that is only a sentence; as high as it needs where no shape is given."""
    width = shape[1] if shape else 640
    lines = textwrap.wrap(text, max(10, width // 8))
    height = shape[0] if shape else 24 + 19 * len(lines)
    image = Image.new("RGB", (width, height), PANEL)
    shown = "\n".join(lines[: max(1, height // 17 - 1)])
    ImageDraw.Draw(image).multiline_text((8, 8), shown, getrgb(INK), font(13))
    return np.asarray(image)


def sheet(
    panels: Sequence[Panel], *, columns: int = 1, scale: Scale | None = None
) -> tuple[Pixels, list[Box]]:
    """Panels in rows, with their names and notes, and the key of the map's colours below; and the
    boxes in which their pixels lie.
    """
    high, wide = (max(panel.pixels.shape[axis] for panel in panels) for axis in (0, 1))
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    step_x, step_y = wide + GAP, HEAD + high + FOOT + GAP
    key = 40 if scale else 0
    image = Image.new("RGB", (columns * step_x - GAP, rows * step_y - GAP + key), "white")
    draw, boxes = ImageDraw.Draw(image), []
    for place, panel in enumerate(panels):
        x, y = place % columns * step_x, place // columns * step_y
        draw.rectangle((x, y + 6, x + 11, y + 17), getrgb(panel.colour), outline=getrgb(MUTED))
        draw.text((x + 17, y + 3), panel.title, getrgb(INK), font(14, bold=True))
        image.paste(Image.fromarray(panel.pixels), (x, y + HEAD))
        height, width = panel.pixels.shape[:2]
        boxes.append((x, y + HEAD, x + width, y + HEAD + height))
        draw.text((x, y + HEAD + high + 3), _short(panel.note, wide), getrgb(INK), font(12))
    if scale:
        _key(image, scale, rows * step_y - GAP)
    return np.asarray(image), boxes


def found_at(x: int, y: int, boxes: Sequence[Box], shown: Box) -> tuple[int, int] | None:
    """Row and column of the image's pixel that is seen in column x and row y of a sheet, which has
    the part `shown` of the image in `boxes`; None for heads, feet and gaps.
    """
    for left, top, right, bottom in boxes:
        if left <= x < right and top <= y < bottom:
            across = (2 * (x - left) + 1) * (shown[2] - shown[0]) // (2 * (right - left))
            down = (2 * (y - top) + 1) * (shown[3] - shown[1]) // (2 * (bottom - top))
            return shown[1] + down, shown[0] + across
    return None


def encoded(pixels: Pixels) -> bytes:
    """A PNG, packed quickly."""
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG", compress_level=1)
    return file.getvalue()


def kept(pixels: Pixels) -> str:
    """A PNG in base64 for a page that is stored, in few colours and small if need be."""
    image = Image.fromarray(pixels)
    while True:
        for colours in (256, 64):
            few = image.quantize(colours, dither=Image.Dither.NONE)
            few.save(file := io.BytesIO(), "PNG", compress_level=6)
            if len(file.getvalue()) <= STATIC:
                return base64.b64encode(file.getvalue()).decode()
        factor = min(0.9, (STATIC / len(file.getvalue())) ** 0.5)
        size = round(factor * image.width), round(factor * image.height)
        image = image.resize(size, Image.Resampling.HAMMING)


class Chart:
    """A picture of fixed size with `axes` of matplotlib in a box of it, to draw into.

    It takes nothing from pyplot and changes no default, so that a thread may draw.
    """

    def __init__(self, size: tuple[int, int], box: Box, *, title: str, below: str) -> None:
        (width, height), (left, top, right, bottom) = size, box
        self.size, self.box = size, box
        self.figure = Figure((width / 100, height / 100), dpi=100, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        place = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
        self.axes = axes = self.figure.add_axes(place)
        # Places given here spare matplotlib a search that takes a third of the time.
        axes.set_title(title, loc="left", y=1 + 6 / (bottom - top), size=9.5, weight="bold")
        axes.set_xlabel(below, size=9)
        axes.xaxis.set_label_coords(0.5, -27 / (bottom - top))
        axes.tick_params(color=MUTED, labelcolor=INK, labelsize=8.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.locator_params(nbins=5)

    def name_lines(self) -> None:
        """Name the lines that have a label at the right of the axes."""
        at = (1.0, 1.0)
        self.axes.legend(loc="upper left", bbox_to_anchor=at, frameon=False, fontsize=8.5)

    def pixels(self) -> Pixels:
        """The picture."""
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def places(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Columns and rows (n, 2) of the picture at which values x and y are drawn."""
        at = self.axes.transData.transform(np.column_stack((x, y)))
        return np.column_stack((at[:, 0], self.size[1] - at[:, 1]))

    def with_line(self, pixels: Pixels, x: float) -> Pixels:
        """The picture with an upright line at a value of x, or at the end that is nearest to it."""
        low, high = self.axes.get_xlim()
        left, top, right, bottom = self.box
        at = left + round((min(max(x, low), high) - low) / (high - low) * (right - left - 1))
        marked = pixels.copy()
        marked[top:bottom, at] = getrgb(LINE)
        return marked

    def at(self, x: int, y: int) -> tuple[float, float] | None:
        """What a pixel means in the units of both axes; None where it is not on or near them."""
        left, top, right, bottom = self.box
        if not (left - NEAR <= x <= right + NEAR and top - NEAR <= y <= bottom + NEAR):
            return None
        place = min(max(x + 0.5, left), right), self.size[1] - min(max(y + 0.5, top), bottom)
        across, up = self.axes.transData.inverted().transform(place)
        return float(across), float(up)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With the four neighbours of every pixel; SciPy's dilation takes ten times as long."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _short(text: str, width: int) -> str:
    """The text as far as it fits."""
    while text and font(12).getlength(text) > width:
        text = text[:-2].rstrip(" …") + "…"
    return text


def _key(image: Image.Image, scale: Scale, top: int) -> None:
    """Draw the colours of a map from left to right with the values they mean."""
    bar = np.repeat(_table(scale.colours)[None, :256], 12, axis=0)
    image.paste(Image.fromarray(bar), (0, top + 8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top + 8, 255, top + 20), outline=getrgb(MUTED))
    middle = (scale.low + scale.high) / 2
    for x, value, anchor in ((0, scale.low, "la"), (128, middle, "ma"), (256, scale.high, "ra")):
        text = f"{value:.3g}".replace("-", "−")
        draw.text((x, top + 23), text, getrgb(INK), font(12), anchor=anchor)
    draw.text((268, top + 6), scale.text, getrgb(INK), font(12))
