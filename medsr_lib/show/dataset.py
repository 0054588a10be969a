"""Figures of a data set: examples, counts, sizes, intensities, places, and what its files reveal.

Index tables have a row per image, with the columns `id`, `patient`, `label` and those that each
figure names.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from medsr_lib.case import Case
from medsr_lib.show.estimates import Estimated
from medsr_lib.show.panels import (
    OUTLINE,
    WINDOW,
    Image,
    Window,
    as_image,
    bare,
    contour,
    grey,
    grid,
)
from medsr_lib.show.style import (
    LABEL_COLOURS,
    caption,
    choose,
    colours,
    count,
    drawn,
    log_axis,
    name_rows,
    need,
    numbers_behind,
    plural,
)


@drawn
def gallery(
    cases: Sequence[Case],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 4,
    window: Window = WINDOW,
    title: str | None = None,
) -> Figure:
    """Draw cases in rows of `columns`, each with the outline of its lesion and its own title.

    Args:
        cases: images of any sizes.
        titles: one short line per case; without them its label and id.
        columns: images in a row.
        window: values shown as black and as white.
    """
    titles = [f"{case.label} {case.id}" for case in cases] if titles is None else titles
    if len(cases) != len(titles) or not cases:
        raise ValueError(f"one title per case is needed; got {len(cases)} and {len(titles)}")
    rows, side = -(-len(cases) // columns), min(8.6 / columns, 2.4)
    shapes = [case.image.shape[0] / case.image.shape[1] for case in cases]
    tall = [max(shapes[row * columns : (row + 1) * columns]) for row in range(rows)]
    size = (columns * side, sum(side * share + 0.2 for share in tall))
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, height_ratios=tall)
    for axes in panels.flat:
        bare(axes)
    for axes, case, name in zip(panels.flat, cases, titles):
        grey(axes, case.image.cpu().numpy(), window)
        axes.set_title(name, size=8, pad=2.5)
        if case.mask is not None:
            contour(axes, case.mask.cpu().numpy())
    outlined = any(case.mask is not None and case.mask.any() for case in cases)
    caption(figure, title, plural(len(cases), "image"), OUTLINE if outlined else None)
    return figure


@drawn
def fold_counts(table: pd.DataFrame) -> Figure:
    """Draw the images and the patients of each fold, stacked by label.

    Args:
        table: index table with `fold`; a fold may be missing.
    """
    need(table, "id", "label", "patient", "fold")
    folds = table["fold"].map(lambda fold: "none" if pd.isna(fold) else f"{fold:g}")
    size = (8.4, 0.6 + 0.36 * folds.nunique())
    figure, panels = plt.subplots(1, 2, figsize=size, sharey=True)
    groups = table.groupby([folds, "label"])["patient"]
    _stacks(panels[0], groups.size().unstack(fill_value=0), "images")
    _stacks(panels[1], groups.nunique().unstack(fill_value=0), "patients")
    panels[0].set_ylabel("fold")
    handles, labels = panels[0].get_legend_handles_labels()
    texts = [f"{name}: {numbers_behind(table[table['label'] == name])}" for name in labels]
    figure.legend(handles, texts, loc="outside lower left", ncols=3)
    caption(figure, "Images and patients per fold", numbers_behind(table))
    return figure


@drawn
def lesion_sizes(table: pd.DataFrame) -> Figure:
    """Draw the distribution of the lesions' area, by label.

    Args:
        table: index table with `mask_pixels`, `height` and `width`.
    """
    need(table, "id", "label", "patient", "mask_pixels", "height", "width")
    share = 100 * table["mask_pixels"] / (table["height"] * table["width"])
    figure = _violins(share, table["label"], "{:.2g} %".format)
    figure.axes[0].set_xlabel("area of the lesion, % of the image")
    caption(figure, "How large the lesions are", numbers_behind(table), QUARTILES)
    return figure


@drawn
def intensity_ranges(table: pd.DataFrame) -> Figure:
    """Draw the distribution of the images' largest stored intensity, by label.

    Args:
        table: index table with `raw_max`.
    """
    need(table, "id", "label", "patient", "raw_max")
    low, high = table["raw_max"].min(), table["raw_max"].max()
    figure = _violins(table["raw_max"], table["label"], count)
    figure.axes[0].set_xlabel("largest stored intensity of an image")
    spread = f"from {count(low)} to {count(high)}, a factor of {high / low:.0f}"
    caption(
        figure, "How far the stored intensities reach", numbers_behind(table), spread, QUARTILES
    )
    return figure


@drawn
def lesion_locations(heat: Mapping[str, Image], counts: Mapping[str, int]) -> Figure:
    """Draw how often each pixel lies in a lesion: a panel per label, one colour scale.

    Args:
        heat: mean of the masks (H, W) in [0, 1], by label.
        counts: images behind each mean, by label.
    """
    choose("label in counts", heat, counts)
    shares = {name: 100 * as_image(mean, f"heat[{name!r}]") for name, mean in heat.items()}
    if not shares:
        raise ValueError("there is no label to draw")
    top = max(share.max() for share in shares.values())
    figure, panels = grid(1, len(shares), 2.5, 2.52)
    for axes, (name, share) in zip(panels.flat, shares.items()):
        drawing = axes.imshow(share, cmap="magma", vmin=0, vmax=top)
        axes.set_title(f"{name}, n = {count(counts[name])}")
        for line, length in ((axes.axhline, share.shape[0]), (axes.axvline, share.shape[1])):
            line(length / 2, color="white", linewidth=0.6, linestyle=(0, (1, 4)))
    figure.colorbar(drawing, ax=panels, label="% of images", shrink=0.85, pad=0.02)
    total = plural(sum(counts[name] for name in heat), "image")
    caption(figure, "Where the lesions lie", total, "dotted: the middle of the picture")
    return figure


@drawn
def file_traits(table: pd.DataFrame, *, aucs: Mapping[str, Estimated]) -> Figure:
    """Draw each file by JPEG quality and size, and the shapes of the images, by label.

    Args:
        table: index table with `jpeg_quality`, `bytes`, `height` and `width`.
        aucs: estimates of the AUC by what the class was guessed from, written below the title.
    """
    need(table, "id", "label", "jpeg_quality", "bytes", "height", "width", "patient")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.0))
    scatter = np.random.default_rng(0).uniform(-0.6, 0.6, len(table))
    for label, colour in colours(sorted(table["label"].unique()), LABEL_COLOURS).items():
        rows = table["label"] == label
        name = f"{label}, n = {count(rows.sum())}"
        style = {"s": 12, "color": colour, "alpha": 0.55, "lw": 0, "label": name}
        of = table[rows]
        left.scatter(of["jpeg_quality"] + scatter[rows], of["bytes"] / 1000, **style)
        right.scatter(of["width"], of["height"], **style)
    left.set_yscale("log")
    log_axis(left.yaxis)
    left.set(xlabel="JPEG quality, from the quantisation table", ylabel="size of the file, kB")
    right.set(xlabel="width, pixels", ylabel="height, pixels")
    for axes in (left, right):
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, markerscale=1.6)
    tried = [
        f"AUC {what}: {auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]" for what, auc in aucs.items()
    ]
    caption(figure, "What the files reveal without the image", numbers_behind(table), *tried)
    return figure


QUARTILES = "dashed: median, dotted: quartiles"


def _stacks(axes: Axes, table: pd.DataFrame, what: str) -> None:
    """Draw a bar per row of the table, stacked by its columns, with the numbers written on it."""
    tones: Any = colours([str(name) for name in table], LABEL_COLOURS)
    table.plot.barh(stacked=True, ax=axes, color=tones, width=0.72, legend=False, ec="white")
    totals = table.sum(axis=1)
    for bars, name in zip(axes.containers, table):
        texts = [count(n) if n > 0.07 * totals.max() else "" for n in table[name]]
        ink = "black" if name == "glioma" else "white"
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=8)  # type: ignore[arg-type]
    for row, total in enumerate(totals):
        axes.annotate(count(total), (total, row), (4, 0), textcoords="offset points", va="center")
    name_rows(axes, [str(fold) for fold in table.index])
    axes.set(title=what, ylabel="", xticks=[], xlim=(0, 1.1 * totals.max()))
    axes.spines["bottom"].set_visible(False)


def _violins(values: pd.Series, groups: pd.Series, form: Callable[[float], str]) -> Figure:
    """Draw the distribution of each group over a logarithmic axis, with n and the median."""
    kept = values > 0
    if not kept.any():
        raise ValueError("no value is above 0: nothing can be drawn on a logarithmic axis")
    values, groups = values[kept], groups[kept]
    names = sorted(groups.unique())
    figure, axes = plt.subplots(figsize=(6.8, 0.6 + 0.7 * len(names)))
    seaborn.violinplot(
        x=values,
        y=groups,
        hue=groups,
        order=names,
        palette=colours(names, LABEL_COLOURS),
        saturation=1,
        inner="quart",
        inner_kws={"color": "white", "linewidth": 1.6},
        linewidth=1,
        cut=0,
        density_norm="width",
        log_scale=True,
        ax=axes,
    )
    labels = []
    for name in names:
        part = values[groups == name]
        text = f"n = {count(len(part))}\nmedian {form(part.median())}"
        labels.append(f"{textwrap.fill(name, 20)}, {text}")
    name_rows(axes, labels)
    axes.set_ylabel("")
    log_axis(axes.xaxis)
    return figure
