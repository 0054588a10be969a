"""Radiographs: a gallery, and what their files give away."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from medsr_lib.show.panels import Image, Window, as_image, as_mask, bare, contour, grey
from medsr_lib.show.style import caption, count, drawn, log_axis, need, plural

CLASS_COLOURS = {"NORMAL": "#0072B2", "PNEUMONIA": "#D55E00"}
WINDOW: Window = (0.0, 1.0)


@drawn
def gallery(
    images: Sequence[Image],
    titles: Sequence[str],
    *,
    masks: Sequence[Image | None] | None = None,
    columns: int = 5,
    window: Window = WINDOW,
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw radiographs in rows of `columns`, each with its own title.

    Args:
        images: each (H, W) in [0, 1]; the sizes may differ.
        titles: one short line per image.
        masks: (H, W) true inside an opacity, or None, per image; they are outlined.
        columns: images in a row.
        window: values shown as black and as white.
        title: what the images are.
        note: what to add below the title.
    """
    outlines = masks or [None] * len(images)
    if not len(images) == len(titles) == len(outlines) or not len(images):
        got = f"{len(images)} images, {len(titles)} titles and {len(outlines)} masks"
        raise ValueError(f"one title (and mask) per image is needed; got {got}")
    pictures = [as_image(image, "image") for image in images]
    rows, side = -(-len(images) // columns), min(8.6 / columns, 2.4)
    shapes = [p.shape[0] / p.shape[1] for p in pictures]
    tall = [max(shapes[r * columns : (r + 1) * columns]) for r in range(rows)]
    size = (columns * side, sum(side * t + 0.2 for t in tall))
    figure, panels = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, height_ratios=tall
    )
    for axes in panels.flat:
        bare(axes)
    for axes, picture, name, mask in zip(panels.flat, pictures, titles, outlines):
        grey(axes, picture, window)
        if mask is not None:
            contour(axes, as_mask(mask, picture.shape), width=0.9)
        axes.set_title(name, size=8, pad=2.5)
    drawn_masks = any(
        m is not None and as_mask(m, p.shape).any() for m, p in zip(outlines, pictures)
    )
    outline = "yellow line: outline of the opacity" if drawn_masks else None
    parts = (note, plural(len(images), "radiograph"), outline)
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


@drawn
def files(
    table: pd.DataFrame,
    *,
    aucs: Mapping[str, str] | None = None,
    title: str | None = "What the files give away, without a look at the image",
) -> Figure:
    """Draw each file by JPEG quality and size, and the shapes of the images, by class.

    Args:
        table: a row per image: `label`, `jpeg_quality`, `bytes`, `height`, `width`, `patient`.
        aucs: a text by what was tried, such as an AUC, written below the title.
        title: what the figure shows.
    """
    need(table, "label", "jpeg_quality", "bytes", "height", "width", "patient")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.0), layout="constrained")
    scatter = np.random.default_rng(0).uniform(-0.6, 0.6, len(table))
    for label, colour in CLASS_COLOURS.items():
        rows = table["label"] == label
        name = f"{label}, n = {count(rows.sum())}"
        style = {"s": 12, "color": colour, "alpha": 0.55, "lw": 0, "label": name}
        of = table[rows]
        left.scatter(of["jpeg_quality"] + scatter[rows], of["bytes"] / 1000, **style)
        right.scatter(of["width"], of["height"], **style)
    left.set_yscale("log")
    log_axis(left.yaxis)
    left.set_xlabel("JPEG quality, from the quantisation table")
    left.set_ylabel("size of the file, kB")
    right.set_xlabel("width, pixels")
    right.set_ylabel("height, pixels")
    for axes in (left, right):
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f}"))
    left.legend(loc="upper left", markerscale=1.6)
    behind = f"{plural(len(table), 'image')} of {plural(table['patient'].nunique(), 'patient')}"
    told = [f"{what}: {text}" for what, text in (aucs or {}).items()]
    caption(figure, title, "; ".join([behind, *told]))
    return figure
