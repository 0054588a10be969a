"""Charts of the data set, of trainings and of speed; every one tells the numbers behind it.

The tables are pandas data frames, as the docstrings say column by column.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from medsr_lib.show.style import (
    INK,
    TUMOUR_COLOURS,
    caption,
    colours,
    count,
    drawn,
    label_of,
    log_axis,
    margin_text,
    name_rows,
    need,
    numbers_behind,
    plural,
    row_chart,
    written,
)

VALIDATED = ("psnr", "ssim", "mse", "loss")


@drawn
def counts(table: pd.DataFrame, *, title: str | None = "Slices and patients per fold") -> Figure:
    """Draw the slices and the patients of each fold, stacked by tumour type.

    Args:
        table: a row per slice with the columns `tumour`, `patient` and `fold`.
        title: what the figure shows.
    """
    need(table, "tumour", "patient", "fold")
    size = (8.4, 0.6 + 0.36 * table["fold"].nunique(dropna=False))
    figure, panels = plt.subplots(1, 2, figsize=size, layout="constrained", sharey=True)
    groups = table.groupby(["fold", "tumour"], dropna=False)["patient"]
    _stacks(panels[0], groups.size().unstack(fill_value=0), "slices")
    _stacks(panels[1], groups.nunique().unstack(fill_value=0), "patients")
    panels[0].set_ylabel("fold")
    figure.legend(*_totals(panels[0], table), loc="outside lower left", ncols=3)
    caption(figure, title, numbers_behind(table))
    return figure


@drawn
def sizes(table: pd.DataFrame, *, title: str | None = "How large the tumours are") -> Figure:
    """Draw the distribution of the tumours' area, by tumour type.

    Args:
        table: a row per slice with the columns `tumour`, `tumour_pixels`, `height` and `width`.
        title: what the figure shows.
    """
    need(table, "tumour", "tumour_pixels", "height", "width")
    share = 100 * table["tumour_pixels"] / (table["height"] * table["width"])
    figure = _ridges(share, table["tumour"], "{:.2g} %")
    figure.axes[0].set_xlabel("tumour area, % of the slice")
    caption(figure, title, f"{numbers_behind(table)}; line and number: median")
    return figure


@drawn
def intensity(
    table: pd.DataFrame, *, title: str | None = "How far the raw intensities reach"
) -> Figure:
    """Draw the distribution of the slices' largest raw value, by tumour type.

    Args:
        table: a row per slice with the columns `tumour` and `raw_max`.
        title: what the figure shows.
    """
    need(table, "tumour", "raw_max")
    low, high = table["raw_max"].min(), table["raw_max"].max()
    figure = _ridges(table["raw_max"], table["tumour"], "{:.0f}")
    figure.axes[0].set_xlabel("largest raw value of a slice")
    spread = f"from {count(low)} to {count(high)}, a factor of {high / low:.0f}"
    caption(figure, title, f"{numbers_behind(table)}; {spread}; line and number: median")
    return figure


@drawn
def curves(
    training: pd.DataFrame,
    validation: pd.DataFrame | None = None,
    *,
    title: str | None = None,
    baseline: Mapping[str, float] | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the training losses and, beside them, the validation curve with its best step.

    Args:
        training: the column `step` and one or more columns with `loss` in their names.
        validation: the column `step` and one of `psnr`, `ssim`, `mse` and `loss`.
        title: what was trained.
        baseline: values of other methods, in the unit of the validation, drawn as dashed lines.
        note: what to add below the title, such as the slices validated on.
    """
    need(training, "step")
    losses = [name for name in training.columns if "loss" in str(name)]
    if not losses:
        raise ValueError(f"no column with 'loss' in its name; there is {list(training.columns)}")
    measure = "" if validation is None else _validated(validation)
    if baseline and not measure:
        raise ValueError("a baseline needs a validation table: both are drawn in one panel")
    size = (8.6, 2.8) if measure else (5.4, 2.8)
    figure, panels = plt.subplots(
        1, 2 if measure else 1, figsize=size, layout="constrained", squeeze=False
    )
    _losses(panels[0, 0], training, losses)
    if validation is not None:
        _validation(panels[0, 1], validation, measure, baseline or {})
    for axes in panels.flat:
        _steps(axes)
    parts = (
        note,
        f"{plural(int(training['step'].max()), 'step')}; pale: every value, dark: running mean",
    )
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


@drawn
def speed(
    table: pd.DataFrame,
    *,
    title: str | None = "Time for one slice",
    note: str | None = None,
) -> Figure:
    """Draw the milliseconds per slice of each method, the fastest at the top.

    Args:
        table: the columns `method` and `milliseconds`; the median of a method's rows is drawn.
        title: what was timed.
        note: what to add below the title: the device, the size of the slices.
    """
    need(table, "method", "milliseconds")
    grouped = table.groupby("method")["milliseconds"]
    medians = grouped.median().sort_values()
    figure, axes = row_chart(list(medians.index))
    axes.barh(
        range(len(medians)), medians, height=0.62, color=list(colours(medians.index).values())
    )
    for row, value in enumerate(medians):
        axes.annotate(
            f"{value:.3g} ms", (value, row), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(0, 1.14 * medians.max())
    axes.set_xlabel("milliseconds per slice")
    runs = f"median of {plural(int(grouped.size().min()), 'run')} per method"
    caption(figure, title, "; ".join(filter(None, (note, runs))))
    return figure


def _stacks(axes: Axes, table: pd.DataFrame, what: str) -> None:
    """Draw a bar per row of the table, stacked by its columns, with the numbers written on it."""
    left = np.zeros(len(table))
    rows = np.arange(len(table))
    for name, colour in colours([str(name) for name in table], TUMOUR_COLOURS).items():
        values = table[name].to_numpy()
        bars = axes.barh(rows, values, 0.72, left, color=colour, label=name, edgecolor="white")
        wide = values > 0.07 * table.to_numpy().sum(1).max()
        texts = [count(value) if fits else "" for value, fits in zip(values, wide)]
        ink = "black" if name == "glioma" else "white"
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=8)
        left += values
    for row, total in zip(rows, left):
        axes.annotate(count(total), (total, row), (4, 0), textcoords="offset points", va="center")
    name_rows(axes, ["none" if pd.isna(fold) else str(fold) for fold in table.index])
    axes.set_xlim(0, 1.1 * left.max())
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title(what)


def _totals(axes: Axes, table: pd.DataFrame) -> tuple[list[Any], list[str]]:
    """Return the legend's handles, and labels that name each tumour type with its numbers."""
    handles, names = axes.get_legend_handles_labels()
    return handles, [f"{name}: {numbers_behind(table[table['tumour'] == name])}" for name in names]


def _ridges(values: pd.Series, groups: pd.Series, form: str) -> Figure:
    """Draw a histogram per group above one logarithmic axis, with the medians labelled."""
    good = values > 0
    if not good.any():
        raise ValueError("no value is above 0: nothing can be drawn on a logarithmic axis")
    bins = int(np.clip(2 * np.sqrt(good.sum()), 10, 45))
    edges = np.geomspace(values[good].min() / 1.05, values[good].max() * 1.05, bins)
    names = sorted(groups[good].unique())
    figure, axes = plt.subplots(figsize=(6.8, 0.5 + 0.6 * len(names)), layout="constrained")
    for row, (name, colour) in enumerate(colours(names, TUMOUR_COLOURS).items()):
        chosen = values[good & (groups == name)]
        heights = np.histogram(chosen, edges)[0]
        base = len(names) - 1 - row
        heights = base + 0.7 * heights / heights.max()
        axes.fill_between(edges, np.r_[heights, heights[-1]], base, step="post", color=colour, lw=0)
        median = float(chosen.median())
        axes.plot([median, median], [base, base + 0.88], color=INK, linewidth=1.4)
        text = form.format(median) if median < 1000 else count(median)
        axes.annotate(text, (median, base + 0.88), (4, -3), textcoords="offset points", va="center")
        margin_text(axes, base + 0.3, f"n = {count(len(chosen))}")
    axes.set_yticks(np.arange(len(names)) + 0.3, names[::-1])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.02, len(names))
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    return figure


def _losses(axes: Axes, training: pd.DataFrame, losses: Sequence[str]) -> None:
    """Draw each loss: every value pale, their running mean dark."""
    tones = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
    span = max(1, len(training) // 40)
    for tone, name in zip(tones, losses):
        smooth = training[name].rolling(span, min_periods=1, center=True).mean()
        axes.plot(training["step"], training[name], color=tone, alpha=0.25, linewidth=0.8)
        axes.plot(training["step"], smooth, color=tone, label=name.replace("_", " "))
    if (training[list(losses)].min() > 0).all():
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    if len(losses) > 1:
        axes.legend()
    axes.set_title("training")
    axes.set_ylabel("loss")


def _validated(validation: pd.DataFrame) -> str:
    need(validation, "step")
    found = [name for name in VALIDATED if name in validation.columns]
    if not found:
        raise ValueError(
            f"validation needs one of the columns {list(VALIDATED)}; there is "
            f"{list(validation.columns)}"
        )
    return found[0]


def _validation(
    axes: Axes, validation: pd.DataFrame, measure: str, baseline: Mapping[str, float]
) -> None:
    """Draw the validation curve, its best step and the baselines."""
    unit, higher = label_of(measure)
    steps, values = validation["step"], validation[measure]
    axes.plot(steps, values, color=INK, marker="o", markersize=3)
    best = int(values.argmax() if higher else values.argmin())
    step, value = steps.iloc[best], values.iloc[best]
    axes.plot(step, value, "o", ms=9, mfc="none", mec="#D55E00", mew=1.8)
    axes.set_title(f"validation, best {written(measure, value)} at step {count(step)}")
    axes.set_ylabel(unit)
    for name, tone in colours(baseline).items():
        axes.axhline(baseline[name], color=tone, linestyle="--", linewidth=1.4)
    low, high = axes.get_ylim()
    heights = _spread(list(baseline.values()), 0.075 * (high - low))
    for (name, value), height in zip(baseline.items(), heights):
        margin_text(axes, height, f"{name} {written(measure, value)}")


def _spread(values: Sequence[float], gap: float) -> NDArray[Any]:
    """Move heights up until neighbours are `gap` apart, so that their labels do not collide."""
    heights = np.array(values, float)
    order = np.argsort(heights)
    for lower, upper in pairwise(order):
        heights[upper] = max(heights[upper], heights[lower] + gap)
    return heights


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: count(step)))
