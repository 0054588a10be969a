"""Figures of a data set: examples, counts, sizes, intensities, places, and what its files reveal.

Index tables have a row per image, with the columns `id`, `patient`, `label` and those that each
figure names.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from medsr_lib.case import Case
from medsr_lib.show.estimates import Estimated
from medsr_lib.show.panels import (
    OUTLINE,
    WINDOW,
    Window,
    bare,
    contour,
    corners,
    grey,
    grid,
    part,
    square_around,
    tint,
)
from medsr_lib.show.style import (
    CONTOUR,
    LABEL_COLOURS,
    PHONE,
    NothingToDraw,
    caption,
    colours,
    count,
    drawn,
    in_a_row,
    log_axis,
    name_rows,
    need,
    numbers_behind,
    plural,
)

MOST_LABELS = 7  # groups of a figure, each of its own colour; the rarest of more labels are one


def grey_window(cases: Iterable[Case]) -> Window:
    """0, and what 99 % of the pixels of these images lie below: one window for pictures of all."""
    values = np.concatenate([case.image.cpu().numpy().ravel() for case in cases])
    return 0, max(0.05, round(float(np.quantile(values, 0.99)), 2))


@drawn
def gallery(
    cases: Sequence[Case],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 3,
    window: Window = WINDOW,
    title: str | None = None,
) -> Figure:
    """Draw cases in rows of `columns`, each with the outline of its lesion and its own title.

    Args:
        cases: images of any sizes.
        titles: one line per case, cut in its middle to fit; without them its label and id.
        columns: images in a row.
        window: values shown as black and as white; `grey_window` finds one.
    """
    titles = [f"{case.label} {case.id}" for case in cases] if titles is None else titles
    if len(cases) != len(titles) or not cases:
        raise ValueError(f"one title per case is needed; got {len(cases)} and {len(titles)}")
    rows, side = -(-len(cases) // columns), PHONE / columns
    shapes = [case.image.shape[0] / case.image.shape[1] for case in cases]
    tall = [max(shapes[row * columns : (row + 1) * columns]) for row in range(rows)]
    size = (columns * side, sum(side * share + 0.2 for share in tall))
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, height_ratios=tall)
    for axes in panels.flat:
        bare(axes)
    for axes, case, name in zip(panels.flat, cases, titles):
        grey(axes, case.image.cpu().numpy(), window)
        axes.set_title(_cut(name.strip(), int(13 * side)), size=8.5, pad=2.5)
        if case.mask is not None:
            contour(axes, case.mask.cpu().numpy())
    outlined = any(case.mask is not None and case.mask.any() for case in cases)
    caption(figure, title, plural(len(cases), "image"), OUTLINE if outlined else None)
    return figure


@drawn
def fold_counts(table: pd.DataFrame) -> Figure:
    """Draw the images and the patients of each fold, stacked by label; one bar where no fold is.

    Args:
        table: index table with `fold`; a fold may be missing.
    """
    need(table, "id", "label", "patient", "fold")
    table, none = _grouped(table), "all" if table["fold"].isna().all() else "none"
    folds = table["fold"].map(lambda fold: none if pd.isna(fold) else f"{fold:g}")
    named = table.groupby("label")
    texts = [f"{_cut(str(name), 24)}: {numbers_behind(rows)}" for name, rows in named]
    columns = min(len(texts), int(80 / (max(map(len, texts)) + 7)))
    size = (PHONE, 0.6 + 0.36 * folds.nunique() + 0.19 * (-(-len(texts) // columns) - 1))
    figure, panels = plt.subplots(1, 2, figsize=size, sharey=True)
    groups = table.groupby([folds, "label"])["patient"]
    _stacks(panels[0], groups.size(), "images")
    _stacks(panels[1], groups.nunique(), "patients")
    panels[0].set_ylabel("" if none == "all" else "fold")
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower left", ncols=columns)
    divided = int((table.groupby("patient")["fold"].nunique() > 1).sum())
    where = (
        f"{plural(divided, 'patient')} in several folds"
        if divided
        else "No patient is in two folds"
    )
    title = "Images and patients" if none == "all" else where
    caption(figure, title, numbers_behind(table))
    return figure


@drawn
def lesion_sizes(table: pd.DataFrame) -> Figure:
    """Draw the distribution of the lesions' area, by label, of the images that have one.

    Args:
        table: index table with `mask_pixels`, `height` and `width`.

    Raises:
        NothingToDraw: no lesion is outlined.
    """
    need(table, "id", "label", "patient", "mask_pixels", "height", "width")
    table = _grouped(table[table["mask_pixels"].fillna(0) > 0])
    if table.empty:
        raise NothingToDraw(NO_LESION)
    share = 100 * table["mask_pixels"] / (table["height"] * table["width"])
    figure = _violins(share, table["label"], "{:.2g} %".format)
    figure.axes[0].set_xlabel("area of the lesion, % of the image")
    title = f"Half of the lesions cover less than {share.median():.2g} % of the image"
    caption(figure, title, numbers_behind(table), QUARTILES)
    return figure


@drawn
def mask_and_border(case: Case, *, title: str, note: str) -> Figure:
    """Draw a lesion's mask and its border as they are stored, and a part of both enlarged.

    Args:
        case: with a mask, and in `about` its `border`, (n, 2) as x, y in pixels.

    Raises:
        NothingToDraw: it has no mask, or no border.
    """
    border = np.asarray(case.about.get("border", ()))
    if case.mask is None or not case.mask.any() or not len(border):
        raise NothingToDraw("No polygon is stored beside the masks of these images.")
    image, mask = case.image.cpu().numpy(), case.mask.cpu().numpy()
    whole = square_around(mask, 12)
    x, y = border[0].round().astype(int)
    near = (x - 10, y - 10, x + 10, y + 10)
    low, high = np.quantile(part(image, whole), [0.01, 0.99])
    figure, panels = grid(1, 2, PHONE / 2, 2.6)
    for axes, box, name in zip(panels[0], (whole, near), ("lesion", "20 × 20 pixels of it")):
        grey(axes, image, (low, high), box=box)
        tint(axes, mask, CONTOUR, 0.35)
        closed = np.concatenate([border, border[:1]])
        axes.plot(*closed.T, ".-", color="#D55E00", lw=1, ms=4 if box is whole else 9)
        axes.set_title(name)
    corners(panels[0, 0], near)
    points = f"red: the border, {count(len(border))} points"
    caption(figure, title, note, "yellow: the mask's pixels", points)
    return figure


@drawn
def lesion_locations(cases: Iterable[Case], *, side: int = 256) -> Figure:
    """Draw how often each place lies in a lesion: a panel per label, one colour scale.

    Every mask is brought to a square of `side` pixels, by the mean over areas. Images without a
    lesion are not counted.

    Raises:
        NothingToDraw: no lesion is outlined.
    """
    labels: list[str] = []
    masks: dict[str, Any] = {}
    for case in cases:
        if case.mask is not None and case.mask.any():
            labels.append(case.label)
            mask = case.mask.cpu()[None, None].float()
            mean = F.interpolate(mask, (side, side), mode="area")[0, 0]
            masks[case.label] = masks.get(case.label, 0) + mean
    if not labels:
        raise NothingToDraw(NO_LESION)
    names = _names(pd.Series(labels))
    sums: dict[str, Any] = {}
    for label, name in sorted(set(zip(labels, names)), key=lambda pair: pair[1]):
        sums[name] = sums.get(name, 0) + masks[label]
    counts = names.value_counts()
    shares = {name: (100 * total / counts[name]).numpy() for name, total in sums.items()}
    top = max(share.max() for share in shares.values())
    columns = in_a_row(len(shares))
    rows, width = -(-len(shares) // columns), PHONE / max(2, columns)
    figure, panels = grid(rows, columns, width, width + 0.4 + 0.8 / rows)
    for axes in panels.flat[len(shares) :]:
        axes.set_visible(False)
    for axes, (name, share) in zip(panels.flat, shares.items()):
        drawing = axes.imshow(share, cmap="magma", vmin=0, vmax=top)
        axes.set_title(f"{_cut(name, 24)}\nn = {plural(counts[name], 'image')}")
        for line, length in ((axes.axhline, share.shape[0]), (axes.axvline, share.shape[1])):
            line(length / 2, color="white", linewidth=0.6, linestyle=(0, (1, 4)))
    text = "how many of the images have a lesion there, %"
    figure.colorbar(drawing, ax=panels, label=text, location="bottom", shrink=0.7)
    total = plural(len(labels), "image")
    name = max(shares, key=lambda name: float(shares[name].max()))
    title = f"{name.capitalize()}: {shares[name].max():.0f} % of the lesions share one place"
    caption(figure, title, total, "dotted: the middle of the picture")
    return figure


@drawn
def file_traits(table: pd.DataFrame, *, aucs: Mapping[str, Estimated]) -> Figure:
    """Draw each file by JPEG quality and size, and the shapes of the images, by label.

    Args:
        table: index table with `jpeg_quality`, `bytes`, `height` and `width`.
        aucs: estimates of the AUC by what the class was guessed from, written below the title; the
            first is of the files as they are.
    """
    need(table, "id", "label", "jpeg_quality", "bytes", "height", "width", "patient")
    figure, (left, right) = plt.subplots(1, 2, figsize=(PHONE, 2.9))
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
    left.set(xlabel="JPEG quality", ylabel="size of the file, kB")
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
    sure = next(iter(aucs.values())).low > 0.5
    title = "The files {} the class without the image".format("reveal" if sure else "may reveal")
    caption(figure, title, numbers_behind(table), *tried)
    return figure


QUARTILES = "dashed: median, dotted: quartiles"
NO_LESION = "No lesion is outlined in these images."


def _names(labels: pd.Series) -> pd.Series:
    """Labels as a figure names them: also where there is none, and few where there are many."""
    unlabelled = labels == ""
    names = labels.mask(unlabelled, "all images" if unlabelled.all() else "no label")
    found = names.value_counts().index
    rare = found[MOST_LABELS - 1 :] if len(found) > MOST_LABELS else found[:0]
    return names.mask(names.isin(rare), f"{len(rare)} rarer labels")


def _grouped(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the labels that a figure names."""
    return table.assign(label=_names(table["label"]))


def _cut(text: str, most: int) -> str:
    """A text of so many characters at most, without its middle where it is longer."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _stacks(axes: Axes, counts: pd.Series, what: str) -> None:
    """Draw a bar for each fold, stacked by label, with the numbers written on it."""
    table = counts.unstack(fill_value=0)
    table = table.sort_index(key=lambda folds: pd.to_numeric(folds.to_series(), "coerce"))
    tones: Any = colours([str(name) for name in table], LABEL_COLOURS)
    table.plot.barh(stacked=True, ax=axes, color=tones, width=0.72, legend=False, ec="white")
    totals = table.sum(axis=1)
    for bars, name in zip(axes.containers, table):
        texts = [count(n) if n > 0.07 * totals.max() else "" for n in table[name]]
        red, green, blue = to_rgb(tones[name])
        ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=8.5)  # type: ignore[arg-type]
    for row, total in enumerate(totals):
        axes.annotate(count(total), (total, row), (4, 0), textcoords="offset points", va="center")
    name_rows(axes, [str(fold) for fold in table.index])
    axes.set(title=what, ylabel="", xticks=[], xlim=(0, 1.1 * totals.max()))
    axes.spines["bottom"].set_visible(False)


def _violins(values: pd.Series, groups: pd.Series, form: Callable[[float], str]) -> Figure:
    """Draw the distribution of each group over a logarithmic axis, with n and the median."""
    values = values.astype(float)
    names = sorted(groups.unique())
    figure, axes = plt.subplots(figsize=(PHONE, 0.6 + 0.7 * len(names)))
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
