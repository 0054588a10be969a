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

VALIDATED = ("psnr", "ssim", "mse", "loss")
TONES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
PARTS = {
    "pixel_loss": "#0072B2",
    "content_loss": "#009E73",
    "adversarial_loss": METHOD_COLOURS["SRGAN"],
}
DRAWN_POINTS = 2000
"""Longer tables are drawn as means of blocks of rows: no screen shows more."""


@drawn
def curves(
    training: pd.DataFrame, validation: pd.DataFrame | None = None, *, title: str, note: str
) -> Figure:
    """Draw the training losses and, beside them, the validation curve with its best step.

    A table without rows, of a session that ended before its first step, gives a figure that says
    so.

    Args:
        training: the column `step` and one or more columns with `loss` in their names.
        validation: the column `step` and one of `psnr`, `ssim`, `mse` and `loss`.
        title: what was trained.
        note: what to add below the title, such as the images validated on.

    Raises:
        ValueError: a table lacks such columns.
    """
    if training.empty:
        return _no_step_yet(title, note)
    need(training, "step")
    losses = [name for name in training.columns if "loss" in str(name)]
    if not losses:
        raise ValueError(f"no column with 'loss' in its name; there is {list(training.columns)}")
    validated = validation is not None and not validation.empty
    figure, panels = plt.subplots(
        1, 1 + validated, figsize=(8.6 if validated else 5.4, 2.8), layout="constrained"
    )
    left, *right = np.ravel(panels)
    thin, pale = _thin(training)
    _traces(left, thin, dict(zip(losses, TONES)))
    left.set(title="training", ylabel="loss")
    if len(losses) > 1:
        left.legend()
    if validation is not None and validated:
        _validation(right[0], validation, _validated(validation), {})
    for axes in [left, *right]:
        _steps(axes)
    caption(figure, title, note, _taken(training, pale))
    return figure


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
        validation: the columns `step`, `psnr` and, if measured, `perceptual` or else `ssim`.
        baseline: values of other methods by metric, as in `{"bicubic": {"psnr": 33.2}}`, drawn as
            dashed lines.
        title: what was trained.
        note: what to add below the title, such as the images validated on.

    Raises:
        ValueError: a table lacks such columns, or `d_real` or `d_fake` is no probability.
    """
    if table.empty:
        return _no_step_yet(title, note)
    need(table, "step")
    table = table.dropna(axis="columns", how="all")
    losses = _adversarial_losses(table)
    measures = []
    if validation is not None and not validation.empty:
        need(validation, "step", "psnr")
        measures = ["psnr", *[name for name in ("perceptual", "ssim") if name in validation][:1]]
    references = baseline or {}
    named = [metric for values in references.values() for metric in values]
    choose("metric in baseline", named, (*VALIDATED, "perceptual"))
    rows: Any = [["losses", "answers"], *([[measures[0], measures[-1]]] if measures else [])]
    figure, panels = plt.subplot_mosaic(
        rows, figsize=(8.6, 2.9 * len(rows)), sharex=True, layout="constrained"
    )
    thin, pale = _thin(table)
    _traces(panels["losses"], thin, losses)
    panels["losses"].set(title="weighted losses of both networks", ylabel="loss")
    _answers(panels["answers"], thin)
    for measure in measures:
        values = {name: of[measure] for name, of in references.items() if measure in of}
        _validation(panels[measure], pd.DataFrame(validation), measure, values)
        panels[measure].set_ylabel(textwrap.fill(better(measure), 30))
    for axes in panels.values():
        _steps(axes)
        if axes.get_legend_handles_labels()[0]:
            below = {"loc": "upper left", "bbox_to_anchor": (0, -0.2), "ncols": 2}
            axes.legend(**below, handlelength=1.5, columnspacing=1.2, borderpad=0)
    caption(figure, title, note, _taken(table, pale))
    return figure


def _no_step_yet(title: str, note: str) -> Figure:
    """What there is to draw of a training whose session ended before it began."""
    figure, axes = plt.subplots(figsize=(5.4, 1.2), layout="constrained")
    axes.axis("off")
    axes.text(0.5, 0.5, "no step has been taken yet", ha="center", va="center", color=MUTED)
    caption(figure, title, note)
    return figure


def _taken(table: pd.DataFrame, pale: str) -> str:
    steps = plural(int(table["step"].max()), "step")
    return f"{steps}; pale: {pale}, dark: running mean"


def _thin(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Average blocks of rows until few are left; say what a pale line then shows."""
    block = -(-len(table) // DRAWN_POINTS)
    if block == 1:
        return table, "every value"
    means = table.groupby(np.arange(len(table)) // block).mean(numeric_only=True)
    return means, f"means of {count(block)} rows"


def _traces(axes: Axes, table: pd.DataFrame, tones: Mapping[str, str]) -> None:
    """Draw each column: every value pale, their running mean dark; on a log axis if it can be."""
    span = max(1, len(table) // 40)
    for name, tone in tones.items():
        smooth = table[name].rolling(span, min_periods=1, center=True).mean()
        axes.plot(table["step"], table[name], color=tone, alpha=0.25, linewidth=0.8)
        axes.plot(table["step"], smooth, color=tone, label=name.replace("_", " "))
    if (table[list(tones)].min() > 0).all():
        axes.set_yscale("log")
        log_axis(axes.yaxis)


def _adversarial_losses(table: pd.DataFrame) -> dict[str, str]:
    """Choose the columns of losses to draw, with their colours."""
    need(table, "step", "discriminator_loss", "d_real", "d_fake")
    parts = {name: tone for name, tone in PARTS.items() if name in table and table[name].any()}
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


def _answers(axes: Axes, table: pd.DataFrame) -> None:
    """Draw how real the discriminator thinks that real and generated crops are."""
    axes.axhline(0.5, color=MUTED, linestyle="--", linewidth=1.2, label="0.5: cannot tell")
    answers = table.rename(columns={"d_real": "real crops", "d_fake": "generated crops"})
    tones = {"real crops": METHOD_COLOURS["HR"], "generated crops": METHOD_COLOURS["SRGAN"]}
    _traces(axes, answers, tones)
    axes.set_yscale("linear")
    axes.set_ylim(0, 1)
    axes.set(title="discriminator: how likely is a crop real?", ylabel="mean probability")


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
        label = f"{name} {written(measure, baseline[name])}"
        axes.axhline(baseline[name], color=tone, linestyle="--", linewidth=1.4, label=label)


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.tick_params(labelbottom=True)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: count(step)))
