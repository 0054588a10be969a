"""Pictures of an explorer: charts by matplotlib, joined with images and sentences by Pillow."""

import base64
import io
import textwrap
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageColor import getrgb

from medsr_lib.show.panels import Box, Window
from medsr_lib.show.style import INK, MUTED

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W, 3), red, green and blue."""

STATIC = 80_000  # bytes of a picture that is kept in a notebook; base64 is a third longer
GAP, HEAD = 8, 24
PANEL, GRID, LINE = "#EDEDED", "#E6E6E6", "#9A9A9A"


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of matplotlib's figures, which is always there."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def titled(image: NDArray[Any], title: str, *, side: int, window: Window) -> Pixels:
    """An image (H, W) in a grey window, its longer side brought to `side`, with a title above."""
    low, high = window
    levels = (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    factor = side / max(image.shape)
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.HAMMING
    sheet = Image.new("RGB", (size[0], size[1] + HEAD), "white")
    sheet.paste(Image.fromarray(levels).resize(size, how), (0, HEAD))
    ImageDraw.Draw(sheet).text((0, 3), title, getrgb(INK), font(13, bold=True))
    return np.asarray(sheet)


def joined(parts: Sequence[Pixels], *, axis: int) -> Pixels:
    """Pictures one below the other (axis 0) or side by side (axis 1), on white."""
    length = max(of.shape[1 - axis] for of in parts)
    padded = []
    for of in parts:
        room = [(0, 0)] * 3
        room[axis], room[1 - axis] = (0, GAP), (0, length - of.shape[1 - axis])
        padded.append(np.pad(of, room, constant_values=255))
    return np.concatenate(padded, axis=axis)


def sentence(text: str) -> Pixels:
    """A picture that is only a sentence."""
    lines = textwrap.wrap(text, 80)
    image = Image.new("RGB", (640, 24 + 19 * len(lines)), PANEL)
    ImageDraw.Draw(image).multiline_text((8, 8), "\n".join(lines), getrgb(INK), font(13))
    return np.asarray(image)


def img(pixels: Pixels, name: str) -> str:
    """A picture as HTML, packed quickly, with its name for who cannot see it."""
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG", compress_level=1)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(name)}" style="max-width:100%" src="data:image/png;base64,{data}">'


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

    def with_rings(self, pixels: Pixels, x: Any, y: Any) -> Pixels:
        """The picture with a black ring in a white one around each place of values x and y."""
        image = Image.fromarray(pixels)
        draw = ImageDraw.Draw(image)
        for across, up in self.axes.transData.transform(np.column_stack((x, y))):
            down = self.size[1] - up
            for reach, colour, width in ((8, "white", 5), (7, INK, 2)):
                box = (across - reach, down - reach, across + reach, down + reach)
                draw.ellipse(box, outline=colour, width=width)
        return np.asarray(image)

    def with_line(self, pixels: Pixels, x: float) -> Pixels:
        """The picture with an upright line at a value of x, or at the end that is nearest to it."""
        low, high = self.axes.get_xlim()
        left, top, right, bottom = self.box
        at = left + round((min(max(x, low), high) - low) / (high - low) * (right - left - 1))
        marked = pixels.copy()
        marked[top:bottom, at] = getrgb(LINE)
        return marked
