"""Trained on one degradation, tested on another: a matrix of gains."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medsr_lib.show.panels import bare, round_limit
from medsr_lib.show.style import INK, MUTED, caption, choose, drawn, plural

DIGITS = {"dB": 2}
"""Decimals of a unit; 3 of the others."""


@drawn
def matrix(
    gains: pd.DataFrame,
    *,
    slices: int,
    patients: int,
    baseline: str = "bicubic",
    interpolation: Sequence[str] = (),
    low: pd.DataFrame | None = None,
    high: pd.DataFrame | None = None,
    measure: str = "PSNR",
    unit: str = "dB",
    limit: float | None = None,
    title: str | None = "Trained on one degradation, tested on another",
    note: str | None = None,
) -> Figure:
    """Draw how much each training gains on each degradation, and mark training = test.

    Args:
        gains: a row per training, named by the degradation it was trained with, then those of
            `interpolation`; a column per degradation tested; NaN where it was not tested.
        slices: slices behind each number.
        patients: patients behind each number.
        baseline: what the gains are over.
        interpolation: rows without a training; they stand apart and are not marked.
        low: lower ends of 95 % intervals, in the shape of `gains`.
        high: upper ends.
        measure: what is gained.
        unit: of the gains; empty for none.
        limit: gain at which the colours end, in both directions; without it the largest, rounded.
        title: what is shown.
        note: what to add below the title.
    """
    choose("interpolation", interpolation, gains.index)
    if (low is None) != (high is None):
        raise ValueError("an interval has two ends: give both low and high, or none")
    trained = [name for name in gains.index if name not in interpolation]
    values = gains.loc[[*trained, *interpolation]]
    if values.empty or not np.isfinite(values.to_numpy(float)).any():
        raise ValueError("there is no gain to draw: the table is empty or all of it is NaN")
    ends = [end.reindex_like(values).to_numpy(float) for end in (low, high) if end is not None]
    limit = limit or round_limit([values.to_numpy(float)], share=1.0)
    rows, columns = values.shape
    size = (2.9 + 1.35 * columns, 1.0 + 0.62 * rows)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    drawing = axes.pcolormesh(values.to_numpy(float), cmap="RdBu", vmin=-limit, vmax=limit)
    digits = DIGITS.get(unit, 3)
    for (row, column), value in np.ndenumerate(values.to_numpy(float)):
        interval = [float(end[row, column]) for end in ends]
        _cell(axes, row, column, value, interval, limit, digits)
    _frames(axes, trained, list(values.columns))
    _names(axes, values, len(trained))
    bar = figure.colorbar(drawing, ax=axes, pad=0.02, aspect=14, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels([f"−{limit:g}", "0", f"+{limit:g}"])
    of = f"{measure}, {unit}" if unit else measure
    bar.set_label(f"gain in {of}", size=8.5)
    parts = (
        note,
        f"gain in {measure} over {baseline}, mean of {plural(slices, 'slice')} of "
        f"{plural(patients, 'patient')}{', in brackets its 95 % interval' if ends else ''}",
        "black frame: tested on what it was trained with",
        "grey names: interpolation, without training" if interpolation else None,
    )
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


def _cell(
    axes: Axes,
    row: int,
    column: int,
    value: float,
    interval: list[float],
    limit: float,
    digits: int,
) -> None:
    """Write the number, and its interval below it, in black or white as the colour needs."""
    place = (column + 0.5, row + 0.5)
    if not np.isfinite(value):
        hatched = Rectangle((column, row), 1, 1, fc="#EDEDED", ec="#C4C4C4", hatch="///", lw=0)
        axes.add_patch(hatched)
        text = axes.text(*place, "not tested", ha="center", va="center", size=8, color=MUTED)
        text.set_bbox({"facecolor": "#EDEDED", "edgecolor": "none", "pad": 1.5})
        return
    ink = "white" if abs(value) > 0.62 * limit else INK
    number = _signed(value, digits)
    rest: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    if interval and np.isfinite(interval).all():
        low, high = (_signed(end, digits) for end in interval)
        axes.text(place[0], row + 0.72, f"[{low}, {high}]", size=7.5, **rest)
        place = (place[0], row + 0.4)
    axes.text(*place, number, size=11, weight="bold", **rest)


def _signed(value: float, digits: int) -> str:
    """Write a number with its sign; what rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def _frames(axes: Axes, trained: list[str], tested: list[str]) -> None:
    """Frame the cells whose training and test are the same."""
    for row, name in enumerate(trained):
        if name in tested:
            place = (tested.index(name) + 0.04, row + 0.08)
            frame = Rectangle(place, 0.92, 0.84, fill=False, ec="black", lw=2.4, zorder=3)
            axes.add_patch(frame)


def _names(axes: Axes, values: pd.DataFrame, trained: int) -> None:
    """Name rows and columns; a gap of white parts trainings from interpolation."""
    rows, columns = values.shape
    bare(axes)
    axes.set_ylim(rows, 0)
    for line in range(1, columns):
        axes.axvline(line, color="white", linewidth=1.5)
    for line in range(1, rows):
        axes.axhline(line, color="white", linewidth=6 if line == trained else 1.5)
    labels = [textwrap.fill(str(name), 22) for name in values.index]
    axes.set_yticks(np.arange(rows) + 0.5, labels)
    axes.set_xticks(np.arange(columns) + 0.5, [textwrap.fill(str(c), 15) for c in values])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    for label in axes.get_yticklabels()[trained:]:
        label.set_color(MUTED)
    axes.set_xlabel("tested on", weight="bold", labelpad=6)
    if trained:
        axes.set_ylabel("trained on", weight="bold", labelpad=6)
        axes.yaxis.set_label_coords(-0.01, 1.0)
        axes.yaxis.label.set(rotation=0, ha="right", va="bottom")
