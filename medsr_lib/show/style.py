"""One look for every figure: colours, type sizes, title and note, and how numbers are written.

The colours are those of Okabe and Ito (2008) and of Paul Tol's sets, safe for colour-blind
readers. A method keeps its colour in every figure of the project.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec
from zlib import crc32

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, BboxImage, FigureImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from medsr_lib import checks

P = ParamSpec("P")

INK, MUTED = "#222222", "#5F5F5F"
PHONE = 5.1  # inches: type of 8.5 points is 9 pixels high where this width is scaled to 390
CONTOUR = "#FFC800"
"""The lesion's outline on a picture; it is always drawn over a wider black line."""

METHOD_COLOURS = {
    "HR": "#000000",
    "LR": "#AAAAAA",
    "nearest": "#777777",
    "bicubic": "#56B4E9",
    "lanczos": "#0072B2",
    "zero_fill": "#009E73",
    "ESPCN": "#E69F00",
    "SRResNet": "#CC79A7",
    "SRGAN": "#D55E00",
    "noisy": "#AAAAAA",
    "median": "#56B4E9",
    "bilateral": "#009E73",
    "non-local means": "#0072B2",
    "total variation": "#CC79A7",
    "autoencoder": "#D55E00",
}
LABEL_COLOURS = {
    "meningioma": "#004488",
    "glioma": "#DDAA33",
    "pituitary": "#BB5566",
    "pituitary tumour": "#BB5566",
    "NORMAL": "#0072B2",
    "PNEUMONIA": "#D55E00",
}
REGION_COLOURS = {
    "tumour": CONTOUR,
    "core": "#D55E00",
    "rim": "#CC79A7",
    "peritumoural": "#E69F00",
    "head": "#BBBBBB",
    "brain": "#44AA99",
    "normal": "#009E73",
    "mirror": "#0072B2",
    "matched": "#56B4E9",
}
FURTHER_COLOURS = ("#332288", "#117733", "#999933", "#882255", "#44AA99", "#661100", "#AA4499")

METRICS = {
    "psnr": ("PSNR, dB", True),
    "ssim": ("SSIM", True),
    "mse": ("MSE", False),
    "loss": ("loss", False),
    "edges": ("edge preservation", True),
    "perceptual": ("perceptual distance (bicubic = 1)", False),
}
"""Name with unit, and whether more is better; of any other metric more is better."""

BEHIND = re.compile(r"[\d\u202f]+ images?(?: of [\d\u202f]+ patients?)?")

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.5),
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "image.cmap": "gray",
}


def drawn(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Give a drawing function the style; its figure comes back laid out and closed in pyplot.

    A closed figure is shown once, by the notebook cell whose last line it is. A chart has a
    transparent ground, by which a page knows that it may invert it where all is dark; a figure with
    a picture in it has a white one. The `Comment` of its PNG says how many images are behind it.
    """

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = function(*args, **kwargs)
            figure.draw_without_rendering()  # ticks made later would not have the style
            pictured = figure.findobj(lambda a: isinstance(a, AxesImage | BboxImage | FigureImage))
            figure.patch.set_alpha(None if pictured else 0)
        texts = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
        found = BEHIND.findall(texts)
        behind = max(found, key=lambda n: "patient" in n, default="")  # the first of those
        figure.savefig = partial(_save, figure.savefig, behind)  # type: ignore[method-assign]
        plt.close(figure)
        return figure

    return draw


def _save(save: Callable[..., None], behind: str, path: Any, **options: Any) -> None:
    options = {"dpi": 200} | options
    if behind and Path(str(path)).suffix == ".png":
        options = {"metadata": {"Comment": f"{behind}."}} | options
    save(path, **options)


class NothingToDraw(ValueError):
    """The images have none of what a figure shows; the message is a sentence for the reader."""


class Sentence(str):
    """Text that a notebook displays without quotation marks."""

    __slots__ = ()
    __repr__ = str.__str__


class Folded:
    """Tables and texts below a line that a click opens; display it as the last line of a cell."""

    def __init__(self, title: str, parts: Mapping[str, pd.DataFrame | str]) -> None:
        """Give the line, and the parts by what is written above each."""
        self.title, self.parts = title, parts

    def __repr__(self) -> str:
        return "\n\n".join([self.title, *(f"{name}\n{part}" for name, part in self.parts.items())])

    def _repr_html_(self) -> str:
        """As Jupyter and the pages show it."""
        texts = [
            f"<p><b>{escape(name)}</b></p>"
            + (f"<p>{escape(part)}</p>" if isinstance(part, str) else part.to_html())
            for name, part in self.parts.items()
        ]
        return f"<details><summary>{escape(self.title)}</summary>{''.join(texts)}</details>"


def keep(
    path: Path, draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs
) -> Figure | Sentence:
    """Draw a figure and save it at `path`; display it as the last line of a cell.

    Where there is nothing to draw, no file is left at `path`, and the sentence that says why comes
    back in place of the figure.
    """
    path.unlink(missing_ok=True)
    try:
        figure = draw(*args, **kwargs)
    except NothingToDraw as error:
        return Sentence(error)
    figure.savefig(path)
    return figure


def colours(names: Iterable[str], fixed: dict[str, str] = METHOD_COLOURS) -> dict[str, str]:
    """Give each name its colour: the one in `fixed`, else one that follows from the name itself.

    Capitals do not matter, nor whether words are joined by a blank, a hyphen or an underscore.

    >>> colours(["ESPCN", "espcn", "zero fill"])
    {'ESPCN': '#E69F00', 'espcn': '#E69F00', 'zero fill': '#009E73'}
    """
    known = {_plain(name): colour for name, colour in fixed.items()}
    names = list(dict.fromkeys(names))
    chosen = {name: known[_plain(name)] for name in names if _plain(name) in known}
    free = list(FURTHER_COLOURS)
    for name in sorted(set(names) - set(chosen)):
        chosen[name] = free.pop(crc32(name.encode()) % len(free))
        free = free or list(FURTHER_COLOURS)
    return {name: chosen[name] for name in names}


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")


def caption(figure: Figure, title: str | None, *notes: str | None) -> None:
    """Write a bold title and grey notes above the axes; the figure grows, the axes do not shrink.

    The figure must have been made with a constrained or compressed layout.
    """
    width, height = figure.get_size_inches()
    titles = textwrap.wrap(title or "", int(width * 10))
    lines = textwrap.wrap("; ".join(note for note in notes if note), int(width * 15.5))
    band = 0.21 * len(titles) + 0.17 * len(lines) + 0.08
    figure.set_size_inches(width, height + band)
    top, left = 1 - 0.02 / (height + band), 0.06 / width
    figure.text(left, top, "\n".join(titles), va="top", weight="bold", size=11)
    top -= 0.21 * len(titles) / (height + band)
    figure.text(left, top, "\n".join(lines), va="top", size=8.5, color=MUTED, linespacing=1.25)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, height / (height + band)))


def count(number: float) -> str:
    """Write a whole number with thin gaps between thousands.

    >>> count(12740).split("\u202f")
    ['12', '740']
    """
    return f"{number:,.0f}".replace(",", "\u202f")


def plural(number: float, noun: str) -> str:
    """Write a number with its noun.

    >>> plural(1, "patient"), plural(64, "image")
    ('1 patient', '64 images')
    """
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def people(images: float, patients: float) -> str:
    """Write how many images and patients are behind a figure.

    >>> people(64, 1)
    '64 images of 1 patient'
    """
    return f"{plural(images, 'image')} of {plural(patients, 'patient')}"


def numbers_behind(table: pd.DataFrame) -> str:
    """Write how many images and patients a table with the columns `id` and `patient` holds."""
    return people(table["id"].nunique(), table["patient"].nunique())


def signed(value: float, digits: int) -> str:
    """Write a number with its sign; what rounds to 0 has none.

    >>> signed(0.25, 1), signed(-3, 2), signed(-0.001, 2)
    ('+0.2', '−3.00', '0.00')
    """
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def written(metric: str, value: float) -> str:
    """Write a value of a metric with the digits that matter.

    >>> written("psnr", 33.2), written("ssim", 0.92081), written("mse", 0.000512)
    ('33.20 dB', '0.921', '0.000512')
    """
    texts = {"psnr": f"{value:.2f} dB", "ssim": f"{value:.3f}", "perceptual": f"{value:.3f}"}
    return texts.get(metric, f"{value:.3g}")


def label_of(metric: str) -> tuple[str, bool]:
    """Name a metric with its unit, and say whether more of it is better."""
    return METRICS.get(metric, (metric, True))


def better(metric: str) -> str:
    """Label an axis with the metric, its unit and an arrow towards its better values.

    >>> better("psnr"), better("mse")
    ('PSNR, dB   better →', '← better   MSE')
    """
    text, more = label_of(metric)
    return f"{text}   better →" if more else f"← better   {text}"


def in_a_row(panels: int) -> int:
    """How many panels stand side by side, so that each is seen on a phone.

    >>> [in_a_row(panels) for panels in (1, 2, 3, 4, 5, 6)]
    [1, 2, 3, 2, 3, 3]
    """
    return {1: 1, 2: 2, 4: 2}.get(panels, 3)


def choose(what: str, names: Iterable[str], existing: Iterable[str]) -> None:
    """Refuse names that do not exist."""
    existing = list(existing)
    missing = [name for name in names if name not in existing]
    if missing:
        raise ValueError(f"unknown {what} {missing}; there is {existing}")


def need(table: pd.DataFrame, *columns: str) -> None:
    """Refuse a table that is empty or lacks columns."""
    checks.columns(table, *columns)
    if table.empty:
        raise ValueError("the table has no rows")


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", which="both", length=0)
    axes.spines["left"].set_visible(False)


def beside(axes: Axes, x: float, y: float, text: str, points: float = 4, **style: Any) -> None:
    """Write a text so many points right of (or, if negative, left of) a place in the data."""
    style = {"size": 8.5, "annotation_clip": False, **style}
    side = "left" if points > 0 else "right"
    axes.annotate(
        text, (x, y), (points, 0), textcoords="offset points", ha=side, va="center", **style
    )


def margin_text(axes: Axes, y: float, text: str, inches: float = 0.1, **style: Any) -> None:
    """Write at the right of the axes, at the height `y` of the data."""
    style = {"size": 8.5, "xycoords": axes.get_yaxis_transform(), **style}
    beside(axes, 1, y, text, 72 * inches, **style)


def log_axis(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers at 1, 3, 10, 30, ..."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda x, _: count(x) if x >= 1 else f"{x:g}"))
