"""A detector, drawn: ROC curves, reliability, confusion, and where it looks."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from medsr_lib.show.panels import (
    Image,
    Window,
    as_array,
    as_image,
    as_mask,
    bare,
    contour,
    grey,
    grid,
)
from medsr_lib.show.style import INK, MUTED, caption, count, drawn, need, plural, row_chart

SHADES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
ATTENTION = "inferno"
CHANGES = {
    ("ill", "to_wrong"): ("illness missed", "#D55E00"),
    ("well", "to_wrong"): ("false alarm", "#E69F00"),
    ("ill", "to_right"): ("illness found", "#0072B2"),
    ("well", "to_right"): ("false alarm gone", "#56B4E9"),
}
"""Of decisions: (who, how) -> what to call it, and its colour."""


@drawn
def roc(
    curves: Mapping[str, pd.DataFrame],
    *,
    areas: Mapping[str, Sequence[float]],
    points: Mapping[str, Sequence[float]] | None = None,
    images: int,
    patients: int,
    title: str | None = None,
) -> Figure:
    """Draw ROC curves side by side, each with its band and the area with its interval.

    Args:
        curves: name -> columns fpr, tpr, low, high.
        areas: name -> area under the curve, lower and upper end of its 95 % interval.
        points: name -> false and true positive rate of the threshold that is used; a dot.
        images, patients: behind each curve.
        title: what is detected.
    """
    if not curves:
        raise ValueError("there is no curve to draw")
    size = (3.1 * len(curves) + 0.4, 3.5)
    figure, panels = plt.subplots(
        1, len(curves), figsize=size, layout="constrained", squeeze=False, sharey=True
    )
    for axes, (name, table), tone in zip(panels.flat, curves.items(), SHADES * len(curves)):
        need(table, "fpr", "tpr", "low", "high")
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)))
        axes.fill_between(table["fpr"], table["low"], table["high"], color=tone, alpha=0.22, lw=0)
        axes.plot(table["fpr"], table["tpr"], color=tone, lw=2)
        _point(axes, (points or {}).get(name), tone)
        area, low, high = areas[name]
        text = f"AUC {area:.3f}\n[{low:.3f}, {high:.3f}]"
        axes.text(0.97, 0.06, text, ha="right", size=10, weight="bold", color=tone)
        axes.set_title(name)
        axes.set_xlabel("false positive rate")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.grid()
    panels[0, 0].set_ylabel("true positive rate")
    people = f"{plural(images, 'image')} of {plural(patients, 'patient')}"
    dot = "; dot: the threshold chosen on validation patients" if points else ""
    note = f"{people}; band and brackets: 95 %, patients drawn again; dashed: guessing{dot}"
    caption(figure, title or "ROC curves", note)
    return figure


def _point(axes: Axes, point: Sequence[float] | None, tone: str) -> None:
    if point is not None:
        axes.plot(*point, "o", ms=8, color=tone, mec="white", mew=1.3, clip_on=False, zorder=5)


@drawn
def reliability(
    tables: Mapping[str, pd.DataFrame],
    *,
    errors: Mapping[str, float],
    title: str | None = None,
) -> Figure:
    """Draw predicted probabilities against what was found, with the images of each bin below.

    Args:
        tables: name -> columns start, end, n, predicted, observed, low, high, a row per bin.
        errors: name -> expected calibration error.
        title: of what.
    """
    if not tables:
        raise ValueError("there is no table to draw")
    figure, panels = plt.subplots(
        2,
        len(tables),
        figsize=(3.1 * len(tables) + 0.4, 4.3),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey="row",
        height_ratios=(3, 1),
    )
    for (upper, lower), (name, table), tone in zip(panels.T, tables.items(), SHADES * len(tables)):
        need(table, "start", "end", "n", "predicted", "observed", "low", "high")
        _bins(upper, table[table["n"] > 0], tone)
        upper.set_title(name)
        upper.text(0.98, 0.03, f"ECE {errors[name]:.3f}", ha="right", weight="bold", color=tone)
        widths = table["end"] - table["start"]
        bars = lower.bar(table["start"], table["n"], widths, align="edge", color=tone, ec="white")
        labels = [count(n) if n else "" for n in table["n"]]
        lower.bar_label(bars, labels, size=7.5, color=INK, padding=1)
        lower.set_xlabel("predicted probability")
        lower.margins(y=0.25)
    panels[0, 0].set_ylabel("share that is ill")
    panels[1, 0].set_ylabel("images")
    n = int(next(iter(tables.values()))["n"].sum())
    note = (
        f"{plural(n, 'image')}; dots on the dashed line are honest; lines: Wilson's 95 % interval; "
        "ECE: expected calibration error"
    )
    caption(figure, title or "Are the probabilities honest?", note)
    return figure


def _bins(axes: Axes, table: pd.DataFrame, tone: str) -> None:
    """A dot with its interval per bin that has images."""
    x, y = table["predicted"], table["observed"]
    axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)))
    axes.vlines(x, table["low"], table["high"], color=tone, lw=1.6, alpha=0.6)
    axes.plot(x, y, "o", ms=7, color=tone, mec="white")
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.grid()


@drawn
def confusion(
    tables: Mapping[str, pd.DataFrame], *, title: str | None = None, note: str | None = None
) -> Figure:
    """Draw confusion matrices side by side: counts, shaded by their share of the true class.

    Args:
        tables: name -> counts, a row per true class, a column per class given.
        title: of what.
        note: what to add below the title.
    """
    if not tables:
        raise ValueError("there is no table to draw")
    size = (2.3 * len(tables) + 0.9, 2.7)
    figure, panels = plt.subplots(
        1, len(tables), figsize=size, layout="compressed", squeeze=False, sharey=True
    )
    for axes, (name, table) in zip(panels.flat, tables.items()):
        counts = table.to_numpy(float)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        texts = [f"{count(n)}\n{100 * s:.0f} %" for n, s in zip(counts.flat, share.flat)]
        seaborn.heatmap(
            pd.DataFrame(share, table.index, table.columns),
            vmin=0,
            vmax=1.25,
            cmap="Blues",
            annot=np.reshape(texts, share.shape),
            fmt="",
            annot_kws={"size": 11},
            cbar=False,
            square=True,
            ax=axes,
        )
        axes.set_xticks(axes.get_xticks(), table.columns, rotation=0)
        axes.set_yticks(axes.get_yticks(), table.index, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.set(title=name, xlabel="called", ylabel="")
    panels[0, 0].set_ylabel("in truth")
    total = int(next(iter(tables.values())).to_numpy().sum())
    parts = (note, f"{plural(total, 'image')}; %: of the row")
    caption(figure, title or "Right and wrong", "; ".join(filter(None, parts)))
    return figure


@drawn
def flips(
    table: pd.DataFrame,
    *,
    positive: str,
    reference: str,
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how many decisions each method changes: errors to the left, corrections to the right.

    Args:
        table: a row per image and method with the columns slice_id, patient, tumour, method,
            to_wrong and to_right.
        positive: the name of the disease in `tumour`.
        reference: the method whose decisions the others are held against.
        title: what is drawn.
        note: what to add below the title.
    """
    need(table, "slice_id", "patient", "tumour", "method", "to_wrong", "to_right")
    methods = [name for name in table["method"].unique() if name != reference]
    if not methods or reference not in set(table["method"]):
        raise ValueError(f"there is nothing to hold against {reference!r}")
    ill = table["tumour"].eq(positive).map({True: "ill", False: "well"})
    sums = table.groupby(["method", ill])[["to_wrong", "to_right"]].sum()
    figure, axes = row_chart(methods, height=0.3, width=7.6)
    for row, method in enumerate(methods):
        _stack(axes, row, sums.loc[method])
    of_method = sums.loc[methods].groupby(level="method").sum()
    reach = 1.3 * max(1.0, float(of_method.to_numpy().max()))
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(lambda x, _: count(abs(x)))
    axes.axvline(0, color=INK, lw=1)
    axes.grid(axis="x")
    axes.set_xlabel("← images now wrong      images now right →")
    handles = [Patch(color=tone, label=label) for label, tone in CHANGES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.1)
    people = f"{plural(table['slice_id'].nunique(), 'image')} of " + plural(
        table["patient"].nunique(), "patient"
    )
    told = "; ".join(filter(None, (note, f"against {reference!r}", people)))
    caption(figure, title or "Which decisions change?", told)
    return figure


def _stack(axes: Axes, row: int, sums: pd.DataFrame) -> None:
    """The bars of one method from zero to both sides, their numbers beyond the ends."""
    ends: dict[str, list[float]] = {"to_wrong": [], "to_right": []}
    for (who, how), (_, tone) in CHANGES.items():
        n = float(sums[how].get(who, 0))
        sign = -1 if how == "to_wrong" else 1
        if n:
            axes.barh(row, sign * n, 0.55, sign * sum(ends[how]), color=tone, ec="white", lw=0.8)
            ends[how].append(n)
    for how, parts in ends.items():
        sign = -1 if how == "to_wrong" else 1
        axes.annotate(
            " + ".join(count(n) for n in parts[::sign]),
            (sign * sum(parts), row),
            (4 * sign, 0),
            textcoords="offset points",
            ha="right" if sign < 0 else "left",
            va="center",
            size=8,
        )
    if not any(ends.values()):
        axes.annotate(
            "none", (0, row), (5, 0), textcoords="offset points", va="center", color=MUTED, size=8.5
        )


@drawn
def attention(
    images: Mapping[str, Image],
    maps: Mapping[str, Image],
    mask: Image | None = None,
    *,
    captions: Mapping[str, str] | None = None,
    window: Window = (0.0, 1.0),
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw one image as several methods show it, and below each where a network looks.

    The maps share one scale, so that a fainter map is one of less evidence.

    Args:
        images: name -> (H, W) in [0, 1]; the first one is what others are compared with.
        maps: name -> (H, W), not negative; the same names.
        mask: (H, W), the lesion; its outline is drawn.
        captions: name -> a short line below the map.
        window: grey levels shown as black and as white.
        title: which image.
        note: what to add below the title.
    """
    if not images or list(images) != list(maps):
        raise ValueError(f"images and maps must have the same names: {[*images]} and {[*maps]}")
    pictures = {name: as_image(image, name) for name, image in images.items()}
    shape = next(iter(pictures.values())).shape
    cams = {name: as_array(cam, f"map {name}", shape) for name, cam in maps.items()}
    outline = None if mask is None else as_mask(mask, shape)
    top = max((float(cam.max()) for cam in cams.values()), default=0.0) or 1.0
    side = min(7.6 / len(images), 2.2)
    figure, panels = grid(2, len(images), side, side + 0.22)
    for (upper, lower), name in zip(panels.T, images):
        grey(upper, pictures[name], window)
        upper.set_title(textwrap.fill(name, int(side * 12)), size=8.5, pad=3)
        _overlay(lower, pictures[name], cams[name] / top, window)
        for axes in (upper, lower):
            if outline is not None:
                contour(axes, outline, width=0.9)
        lower.set_xlabel((captions or {}).get(name, ""), size=8, labelpad=3)
    line = None if mask is None else "yellow line: the opacity as it was drawn"
    scale = "bright: speaks for the disease (Grad-CAM, one scale for all)"
    caption(figure, title, "; ".join(filter(None, (note, scale, line))))
    return figure


def _overlay(
    axes: Axes, image: NDArray[np.float32], share: NDArray[np.float32], window: Window
) -> None:
    """A map in colours over the dimmed image; where it is 0, only the image shows."""
    bare(axes)
    low, high = window
    base = 0.75 * np.clip((image - low) / (high - low), 0, 1)[..., None]
    tones: Any = plt.get_cmap(ATTENTION)(share)[..., :3]
    weight = np.clip(1.3 * share, 0, 0.85)[..., None]
    axes.imshow((1 - weight) * base + weight * tones, interpolation="antialiased")
