"""Curves of trainings: losses, validation, and the duel of a generator and a discriminator."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from medsr_lib.show.style import (
    INK,
    METHOD_COLOURS,
    MUTED,
    PHONE,
    better,
    caption,
    choose,
    colours,
    count,
    drawn,
    label_of,
    log_axis,
    need,
    plural,
    written,
)

VALIDATED = ("psnr", "ssim", "mse", "loss", "perceptual")
TONES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
PARTS = {
    "pixel_loss": "#0072B2",
    "content_loss": "#009E73",
    "adversarial_loss": METHOD_COLOURS["SRGAN"],
}
ANSWERS = ("d_real", "d_fake")
DRAWN_POINTS = 2000
"""Longer tables are drawn as means of blocks of rows: no screen shows more."""


@drawn
def curves(
    training: pd.DataFrame, validation: pd.DataFrame | None = None, *, title: str, note: str
) -> Figure:
    """Draw the training losses and, in a panel each, the validation curves with their best steps.

    A table without rows, of a session that ended before its first step, gives a figure that says
    so.

    Args:
        training: the column `step` and one or more columns with `loss` in their names.
        validation: the column `step` and one or more of `psnr`, `ssim`, `mse` and `loss`.
    """
    if training.empty:
        return _no_step_yet(title, note)
    need(training, "step")
    losses = [name for name in training.columns if "loss" in str(name)]
    if not losses:
        raise ValueError(f"no column with 'loss' in its name; there is {list(training.columns)}")
    measures = []
    if validation is not None and not validation.empty:
        need(validation, "step")
        measures = [name for name in VALIDATED if name in validation.columns]
        if not measures:
            there = list(validation.columns)
            raise ValueError(
                f"validation needs one of the columns {list(VALIDATED)}; there is {there}"
            )
    figure, panels = _panels(["losses", *measures])
    _traces(panels["losses"], training, dict(zip(losses, TONES)))
    panels["losses"].set(title="training", ylabel="loss")
    if len(losses) > 1:
        panels["losses"].legend()
    for measure in measures:
        _validation(panels[measure], pd.DataFrame(validation), measure, {})
    return _finished(figure, training, title, note)


@drawn
def adversarial_curves(
    table: pd.DataFrame,
    validation: pd.DataFrame | None = None,
    *,
    baseline: Mapping[str, Mapping[str, float]] | None = None,
    title: str,
    note: str,
) -> Figure:
    """Draw how two networks train against each other, and what the validation says meanwhile.

    Args:
        table: the columns `step`, `discriminator_loss`, `d_real`, `d_fake` (mean probability that
            the discriminator gives to real and to generated crops), and the parts of the
            generator's loss as they are weighted in its sum: `pixel_loss`, `content_loss` and
            `adversarial_loss`, as far as they are there and not always 0 (a weight of 0); without
            any, `generator_loss`.
        validation: the columns `step`, `psnr` and, if measured, `ssim`, `mse` and `perceptual`.
        baseline: values of other methods by metric, as in `{"bicubic": {"psnr": 33.2}}`, drawn as
            dashed lines.
    """
    if table.empty:
        return _no_step_yet(title, note)
    table = table.dropna(axis="columns", how="all")
    need(table, "step", "discriminator_loss", *ANSWERS)
    losses = {name: tone for name, tone in PARTS.items() if name in table and table[name].any()}
    if not losses:
        need(table, "generator_loss")
        losses = {"generator_loss": PARTS["adversarial_loss"]}
    for name in ANSWERS:
        low, high = table[name].min(), table[name].max()
        if low < 0 or high > 1:
            raise ValueError(
                f"{name} must be a probability; got {low:g} to {high:g}: take the sigmoid first"
            )
    measures = []
    if validation is not None and not validation.empty:
        need(validation, "step", "psnr")
        measures = [name for name in VALIDATED if name in validation]
    references = baseline or {}
    named = [metric for values in references.values() for metric in values]
    choose("metric in baseline", named, VALIDATED)
    figure, panels = _panels(["losses", "answers", *measures])
    _traces(panels["losses"], table, {**losses, "discriminator_loss": MUTED})
    panels["losses"].set(title="weighted losses", ylabel="loss")
    answers = panels["answers"]
    answers.axhline(0.5, color=MUTED, linestyle="--", linewidth=1.2, label="0.5: cannot tell")
    tones = {"real crops": METHOD_COLOURS["HR"], "generated crops": METHOD_COLOURS["SRGAN"]}
    _traces(answers, table.rename(columns=dict(zip(ANSWERS, tones))), tones)
    answers.set(title="discriminator: real?", ylabel="mean probability")
    answers.set(yscale="linear", ylim=(0, 1))
    for measure in measures:
        values = {name: of[measure] for name, of in references.items() if measure in of}
        _validation(panels[measure], pd.DataFrame(validation), measure, values)
        panels[measure].set_ylabel("validation\n" + textwrap.fill(better(measure), 22))
    for axes in panels.values():
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), handlelength=1.5, borderpad=0)
    return _finished(figure, table, title, note)


def _panels(names: list[str]) -> tuple[Figure, dict[str, Axes]]:
    """Panels by name, two in a row, small enough for a phone; a last one alone is wide."""
    rows: Any = [names[n : n + 2] for n in range(0, len(names), 2)]
    rows[-1] *= 2 // len(rows[-1]) if len(rows) > 1 else 1
    size = (PHONE, 2.7 * len(rows))
    return plt.subplot_mosaic(rows, figsize=size, sharex=True)


def _no_step_yet(title: str, note: str) -> Figure:
    """What there is to draw of a training whose session ended before it began."""
    figure, axes = plt.subplots(figsize=(PHONE, 1.2))
    axes.axis("off")
    axes.text(0.5, 0.5, "no step has been taken yet", ha="center", va="center", color=MUTED)
    caption(figure, title, note)
    return figure


def _block(table: pd.DataFrame) -> int:
    """Count the rows of which a mean is drawn."""
    return -(-len(table) // DRAWN_POINTS)


def _traces(axes: Axes, table: pd.DataFrame, tones: Mapping[str, str]) -> None:
    """Draw each column: every value pale, their running mean dark; on a log axis if it can be."""
    table = table.groupby(np.arange(len(table)) // _block(table)).mean(numeric_only=True)
    span = max(1, len(table) // 40)
    for name, tone in tones.items():
        smooth = table[name].rolling(span, min_periods=1, center=True).mean()
        axes.plot(table["step"], table[name], color=tone, alpha=0.25, linewidth=0.8)
        axes.plot(table["step"], smooth, color=tone, label=name.replace("_", " "))
    if (table[list(tones)].min() > 0).all():
        axes.set_yscale("log")
        log_axis(axes.yaxis)


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
    axes.set_title(f"best {written(measure, value)} at step {count(step)}")
    axes.set_ylabel(f"validation {unit}")
    for name, tone in colours(baseline).items():
        label = f"{name} {written(measure, baseline[name])}"
        axes.axhline(baseline[name], color=tone, linestyle="--", linewidth=1.4, label=label)


def _finished(figure: Figure, table: pd.DataFrame, title: str, note: str) -> Figure:
    """Label the steps of all panels and write the caption."""
    for axes in figure.axes:
        axes.set_xlabel("step")
        axes.tick_params(labelbottom=True)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: count(step)))
    steps = plural(int(table["step"].max()), "step")
    block = _block(table)
    pale = "every value" if block == 1 else f"means of {count(block)} rows"
    caption(figure, title, note, f"{steps}; pale: {pale}, dark: running mean")
    return figure
