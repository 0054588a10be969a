"""Charts of the data set, of trainings and of speed; every one tells the numbers behind it.

The tables are pandas data frames, as the docstrings say column by column.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from medsr_lib.show.style import (
    INK,
    METHOD_COLOURS,
    MUTED,
    TUMOUR_COLOURS,
    better,
    caption,
    choose,
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
PARTS = {
    "pixel_loss": "#0072B2",
    "content_loss": "#009E73",
    "adversarial_loss": METHOD_COLOURS["SRGAN"],
}
DRAWN_POINTS = 2000
"""Longer tables are drawn as means of blocks of rows: no screen shows more."""


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

    A table without rows, of a session that ended before its first step, gives a figure that says
    so.
    """
    if training.empty:
        return _no_step_yet(title, note)
    need(training, "step")
    losses = [name for name in training.columns if "loss" in str(name)]
    if not losses:
        raise ValueError(f"no column with 'loss' in its name; there is {list(training.columns)}")
    if validation is not None and validation.empty:
        validation, baseline = None, None
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
def adversarial(
    table: pd.DataFrame,
    validation: pd.DataFrame | None = None,
    *,
    title: str | None = None,
    note: str | None = None,
    baseline: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Draw how two networks train against each other, and what the validation says meanwhile.

    Args:
        table: the columns `step`, `discriminator_loss`, `d_real`, `d_fake` (mean probability that
            the discriminator gives to real and to generated crops), and the parts of the
            generator's loss as they are weighted in its sum: `pixel_loss`, `content_loss` and
            `adversarial_loss`, as far as they are there and not always 0 (a weight of 0); without
            any, `generator_loss`.
        validation: the columns `step`, `psnr` and, if measured, `perceptual` or else `ssim`.
        title: what was trained.
        note: what to add below the title, such as the slices validated on.
        baseline: values of other methods by metric, as in `{"bicubic": {"psnr": 33.2}}`, drawn as
            dashed lines.
    """
    if table.empty:
        return _no_step_yet(title, note)
    need(table, "step")
    table = table.dropna(axis="columns", how="all")
    losses = _adversarial_losses(table)
    if validation is not None and validation.empty:
        validation, baseline = None, None
    measures = [] if validation is None else _adversarial_measures(validation)
    if baseline and validation is None:
        raise ValueError("a baseline needs a validation table: both are drawn in one panel")
    named = [metric for values in (baseline or {}).values() for metric in values]
    choose("metric in baseline", named, (*VALIDATED, "perceptual"))
    rows: Any = [["losses", "answers"], *([[measures[0], measures[-1]]] if measures else [])]
    figure, panels = plt.subplot_mosaic(rows, figsize=(8.6, 2.7 * len(rows)), layout="constrained")
    thin, block = _thin(table)
    _weighted(panels["losses"], thin, losses)
    _answers(panels["answers"], thin)
    if validation is not None:
        for measure in measures:
            values = {name: of[measure] for name, of in (baseline or {}).items() if measure in of}
            _validation(panels[measure], validation, measure, values)
            _same_steps(panels[measure], table["step"], validation["step"])
            panels[measure].set_ylabel(textwrap.fill(better(measure), 30))
    for axes in panels.values():
        _steps(axes)
    pale = "every value" if block == 1 else f"means of {count(block)} rows"
    parts = (note, f"{plural(int(table['step'].max()), 'step')}; pale: {pale}, dark: running mean")
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


def _no_step_yet(title: str | None, note: str | None) -> Figure:
    """What there is to draw of a training whose session ended before it began."""
    figure, axes = plt.subplots(figsize=(5.4, 1.2), layout="constrained")
    axes.axis("off")
    axes.text(0.5, 0.5, "no step has been taken yet", ha="center", va="center", color=MUTED)
    caption(figure, title, note)
    return figure


def _losses(axes: Axes, training: pd.DataFrame, losses: Sequence[str]) -> None:
    """Draw the losses on one axis, with a legend."""
    tones = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
    _traces(axes, training, dict(zip(losses, tones)))
    _log_if_positive(axes, training[list(losses)])
    if len(losses) > 1:
        axes.legend()
    axes.set_title("training")
    axes.set_ylabel("loss")


def _traces(axes: Axes, table: pd.DataFrame, tones: Mapping[str, str]) -> None:
    """Draw each column: every value pale, their running mean dark."""
    span = max(1, len(table) // 40)
    for name, tone in tones.items():
        smooth = table[name].rolling(span, min_periods=1, center=True).mean()
        axes.plot(table["step"], table[name], color=tone, alpha=0.25, linewidth=0.8)
        axes.plot(table["step"], smooth, color=tone, label=name.replace("_", " "))


def _log_if_positive(axes: Axes, values: pd.DataFrame) -> None:
    if (values.min() > 0).all():
        axes.set_yscale("log")
        log_axis(axes.yaxis)


def _adversarial_losses(table: pd.DataFrame) -> dict[str, str]:
    """Choose the columns of losses to draw, with their colours."""
    need(table, "step", "discriminator_loss", "d_real", "d_fake")
    no_loss = pd.Series([0.0])
    parts = {name: tone for name, tone in PARTS.items() if table.get(name, no_loss).any()}
    if not parts:
        need(table, "generator_loss")
        parts = {"generator_loss": PARTS["adversarial_loss"]}
    for name in ("d_real", "d_fake"):
        low, high = table[name].min(), table[name].max()
        if low < 0 or high > 1:
            raise ValueError(
                f"{name} must be a probability; got {low:g} to {high:g}: take the sigmoid first"
            )
    return {**parts, "discriminator_loss": MUTED}


def _adversarial_measures(validation: pd.DataFrame) -> list[str]:
    """Choose the metrics that have a panel: fidelity first, then what the eye may like better."""
    need(validation, "step", "psnr")
    return ["psnr", *[name for name in ("perceptual", "ssim") if name in validation.columns][:1]]


def _same_steps(axes: Axes, *steps: pd.Series) -> None:
    """Let the axis reach from the first to the last of all steps, with a little room."""
    first, last = min(s.min() for s in steps), max(s.max() for s in steps)
    room = 0.02 * (last - first) or 1
    axes.set_xlim(first - room, last + room)


def _thin(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Average blocks of rows until few are left; the second value is the rows in a block."""
    block = -(-len(table) // DRAWN_POINTS)
    if block == 1:
        return table, block
    return table.groupby(np.arange(len(table)) // block).mean(numeric_only=True), block


def _weighted(axes: Axes, table: pd.DataFrame, losses: Mapping[str, str]) -> None:
    """Draw the parts of the generator's loss and the discriminator's loss."""
    _traces(axes, table, losses)
    _same_steps(axes, table["step"])
    _log_if_positive(axes, table[list(losses)])
    _name_lines(axes, {name.replace("_", " "): name.split("_")[0] for name in losses})
    axes.set_title("weighted losses of both networks")
    axes.set_ylabel("loss")


def _answers(axes: Axes, table: pd.DataFrame) -> None:
    """Draw how real the discriminator thinks that real and generated crops are."""
    tones = {"d_real": METHOD_COLOURS["HR"], "d_fake": METHOD_COLOURS["SRGAN"]}
    axes.plot(
        table["step"].iloc[[0, -1]], [0.5, 0.5], "--", color=MUTED, linewidth=1.2, label="half"
    )
    _traces(axes, table, tones)
    _same_steps(axes, table["step"])
    axes.set_ylim(0, 1)
    names = {"d real": "real crops", "d fake": "generated crops", "half": "0.5: cannot tell"}
    _name_lines(axes, names)
    axes.set_title("discriminator: how likely is a crop real?")
    axes.set_ylabel("mean probability")


def _name_lines(axes: Axes, names: Mapping[str, str]) -> None:
    """Name lines, given by their labels, at their right ends; where names are near, move them."""
    lines = [line for line in axes.lines if line.get_label() in names]
    axes.set_ylim(axes.get_ylim())  # as it is now: what is added does not change it
    share = axes.transScale + axes.transLimits
    ends = np.array([share.transform(_end(line)) for line in lines])
    for line, end, height in zip(lines, ends, _spread(ends[:, 1], 0.085, 1.0)):
        axes.plot(
            [max(end[0], 0.97), 1.045],
            [end[1], height],
            color=line.get_color(),
            linestyle=line.get_linestyle(),
            linewidth=1.2,
            transform=axes.transAxes,
            clip_on=False,
        )
        y = share.inverted().transform((1, height))[1]
        margin_text(axes, y, names[str(line.get_label())], 0.17)


def _end(line: Line2D) -> NDArray[Any]:
    """Last point of a line that is a number."""
    points = np.asarray(line.get_xydata(), float)
    return points[np.isfinite(points).all(1)][-1]


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


def _spread(
    values: Sequence[float] | NDArray[Any], gap: float, top: float = np.inf
) -> NDArray[Any]:
    """Move heights until neighbours are `gap` apart: up, and down again where `top` is reached."""
    heights = np.array(values, float)
    order = np.argsort(heights)
    for lower, upper in pairwise(order):
        heights[upper] = max(heights[upper], heights[lower] + gap)
    heights[order] = np.minimum(heights[order], top - gap * np.arange(len(order))[::-1])
    return heights


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: count(step)))
