"""Charts and pictures of whole images that were degraded and restored: noise, and small images.

Images are tensors or arrays (H, W), (1, H, W) or (1, 1, H, W); all grey panels share one window.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from medsr_lib.show.panels import (
    Box,
    Image,
    Window,
    as_array,
    as_image,
    grey,
    grid,
    round_limit,
    same_size,
    signed,
)
from medsr_lib.show.style import (
    INK,
    METHOD_COLOURS,
    MUTED,
    caption,
    choose,
    colours,
    drawn,
    label_of,
    need,
    plural,
)

COLOURS = {
    **METHOD_COLOURS,
    "noisy": "#AAAAAA",
    "median": "#56B4E9",
    "bilateral": "#009E73",
    "non-local means": "#0072B2",
    "total variation": "#CC79A7",
    "autoencoder": "#D55E00",
}
METRIC_LABELS = {"edges": "edge preservation"}
WINDOW: Window = (0.0, 1.0)


@drawn
def quality(
    table: pd.DataFrame,
    *,
    metrics: Sequence[str],
    title: str | None = "Quality against noise",
    note: str | None = None,
) -> Figure:
    """Draw metrics against the level of the noise: a row per metric, a column per kind of noise.

    Args:
        table: of `whole.means` by noise, level and method: the columns `noise`, `level`, `method`,
            `metric`, `value`, `low` and `high` (its 95 % interval), `patients` and `slices`.
        metrics: the rows, from above.
        title: what was restored.
        note: what to add below the title.
    """
    need(table, "noise", "level", "method", "metric", "value", "low", "high", "patients", "slices")
    choose("metric", metrics, table["metric"].unique())
    kinds = list(table["noise"].unique())
    size = (min(8.4, 2.2 + 2.1 * len(kinds)), 0.5 + 1.55 * len(metrics))
    figure, panels = plt.subplots(
        len(metrics), len(kinds), figsize=size, layout="constrained", squeeze=False, sharey="row"
    )
    for row, metric in zip(panels, metrics):
        for axes, kind in zip(row, kinds):
            _levels(axes, table[table["metric"].eq(metric) & table["noise"].eq(kind)])
        row[0].set_ylabel(f"{METRIC_LABELS.get(metric, label_of(metric)[0])}\nbetter →")
    for axes, kind in zip(panels[0], kinds):
        axes.set_title(kind)
    for axes in panels[-1]:
        axes.set_xlabel("noise level")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper")
    behind = f"{plural(int(table['slices'].max()), 'image')} of "
    behind += plural(int(table["patients"].max()), "patient")
    text = "level: sd of the noise at grey 1/2; bars: 95 % interval over patients"
    caption(figure, title, "; ".join(filter(None, (note, behind, text))))
    return figure


@drawn
def pictures(
    hr: Image,
    images: Mapping[str, Image],
    *,
    box: Box,
    scores: Mapping[str, str] | None = None,
    window: Window = WINDOW,
    limit: float | None = None,
    clean: str = "clean",
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw images side by side: whole, a part enlarged, and there the error.

    Args:
        hr: (H, W) in [0, 1], what all are compared with.
        images: by name, in the order of the columns. A smaller one covers the same field of view,
            is enlarged with its own pixels, and has no error. Noise may leave [0, 1].
        box: left, top, right and bottom of the part, in pixels of `hr`.
        scores: a short text by name of the image, written under its column.
        window: values shown as black and as white.
        limit: error at which the colours end, the same for all; without it the one that 99.5 % of
            the pixels shown do not exceed, rounded up.
        clean: what `hr` is called.
        title: what is compared.
        note: what to add below the title.
    """
    if not images:
        raise ValueError("there are no images to compare")
    truth = as_image(hr, clean)
    pixels = {name: as_array(image, name) for name, image in images.items()}
    choose("image in scores", scores or {}, pixels)
    full = {n: same_size(p.clip(0, 1), truth.shape, n) for n, p in pixels.items() if _full(p, hr)}
    errors = {name: _part(pixels[name] - truth, box) for name in full}
    limit = limit or round_limit(list(errors.values()) or [np.zeros(1)])
    side = min(8.6 / (len(pixels) + 1), 1.6)
    figure, panels = grid(3, len(pixels) + 1, side, side + 0.06)
    for column, (name, image) in zip(panels.T, {clean: truth, **pixels}.items()):
        column[0].set_title(name, loc="center", weight="bold", size=8.5)
        _column(column, image, truth.shape, box, window)
        if name in errors:
            drawing = signed(column[2], errors[name], limit)
        column[2].set_xlabel((scores or {}).get(name, ""), size=8.5, color=INK)
    if errors:
        _bar(panels[2, 0], drawing, limit, clean)
    for axes, text in zip(panels[:, 0], ("whole", "enlarged", "error there")):
        axes.set_ylabel(text, color=MUTED)
    parts = (note, f"1 image; grey from {window[0]:g} to {window[1]:g} in all panels")
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


def _levels(axes: Axes, table: pd.DataFrame) -> None:
    """A line per method over a logarithmic level; the bars stand a little apart."""
    methods = list(table["method"].unique())
    for k, (name, colour) in enumerate(colours(methods, COLOURS).items()):
        rows = table[table["method"] == name].sort_values("level")
        x = rows["level"] * 1.022 ** (k - (len(methods) - 1) / 2)
        width = 2.2 if name == "autoencoder" else 1.3
        axes.plot(x, rows["value"], color=colour, marker="o", ms=3.2, lw=width, label=name)
        axes.vlines(x, rows["low"], rows["high"], color=colour, linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(sorted(table["level"].unique()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))
    axes.grid(axis="y")


def _full(image: NDArray[np.float32], hr: Image) -> bool:
    return image.shape[-1] == hr.shape[-1]


def _part(image: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    left, top, right, bottom = box
    return image[top:bottom, left:right]


def _column(
    column: Sequence[Axes],
    image: NDArray[np.float32],
    field: tuple[int, ...],
    box: Box,
    window: Window,
) -> None:
    """The whole image with the box in it, and what is in the box."""
    grey(column[0], image, window, field=field)
    grey(column[1], image, window, box=box, field=field)
    left, top, right, bottom = box
    frame = Rectangle((left, top), right - left, bottom - top, fill=False, ec="white", lw=0.8)
    column[0].add_patch(frame)


def _bar(axes: Axes, drawing: object, limit: float, clean: str) -> None:
    """The colour bar of the errors, where the clean image would have its own, which is none."""
    inside = axes.inset_axes((0.1, 0.62, 0.8, 0.09))
    bar = plt.colorbar(drawing, cax=inside, orientation="horizontal", extend="both")  # type: ignore[arg-type]
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:g}", "0", f"+{limit:g}"])
    inside.tick_params(labelsize=7.5)
    inside.set_xlabel(f"less {clean}", size=8)
