"""Which decisions change when SR is shown in place of HR: a bar of changed slices per method."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medsr_lib.show.style import (
    INK,
    MUTED,
    caption,
    count,
    drawn,
    margin_text,
    name_rows,
    need,
    plural,
)

HARM, NEITHER, GAIN, INVENTED = "#D55E00", "#BBBBBB", "#0072B2", "#882255"

CLASSIFIED = {
    "to_wrong": ("right on HR, wrong here", HARM),
    "otherwise": ("wrong on both, in another way", NEITHER),
    "to_right": ("wrong on HR, right here", GAIN),
}
SEGMENTED = {
    "lost": ("found on HR, lost here", HARM),
    "new": ("invented here, not seen on HR", INVENTED),
    "gained": ("missed on HR, found here", GAIN),
}

NEEDED = {
    "classified": ("accuracy", "flipped", "to_wrong", "to_right"),
    "segmented": ("dice", "lesions", "lost", "gained", "new"),
}
HEADING: dict[str, Any] = {"weight": "bold", "pad": 54}
"""Of a panel: above its legend of three lines."""


@drawn
def chart(
    classified: pd.DataFrame | None = None,
    segmented: pd.DataFrame | None = None,
    *,
    reference: str = "HR",
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the decisions of a classifier and of a segmenter that change from HR to SR, as counts.

    Accuracy and Dice with their intervals are drawn by `results.differences`.

    Args:
        classified: a row per method (the index) with the columns `slices`, `patients`, `accuracy`,
            `flipped`, `to_wrong` and `to_right`.
        segmented: a row per method (the index) with the columns `slices`, `patients`, `lesions`,
            `dice`, `lost`, `gained` and `new`.
        reference: the row the others are held against; its own accuracy and Dice are written.
        title: what is drawn.
        note: what to add below the title: by what the decisions were made.
    """
    tables = {"classified": classified, "segmented": segmented}
    given = {name: table for name, table in tables.items() if table is not None}
    if not given:
        raise ValueError("there is nothing to draw: give classified, segmented or both")
    for name, table in given.items():
        need(table.reset_index(), "method", "slices", "patients", *NEEDED[name])
    rows = max(len(table) for table in given.values())
    size = (8.8 if len(given) == 2 else 5.6, 1.7 + 0.44 * rows)
    figure, panels = plt.subplots(1, len(given), figsize=size, layout="constrained", squeeze=False)
    places = iter(panels.flat)
    if classified is not None:
        axes = next(places)
        others = classified["flipped"] - classified["to_wrong"] - classified["to_right"]
        _bars(axes, classified.assign(otherwise=others), CLASSIFIED, reference)
        _column(axes, "accuracy", [f"{100 * share:.0f} %" for share in classified["accuracy"]])
        axes.set_title(
            f"Diagnosis in {plural(int(classified['slices'].max()), 'slice')}", **HEADING
        )
        axes.set_xlabel("slices whose diagnosis changes")
    if segmented is not None:
        axes = next(places)
        _bars(axes, segmented, SEGMENTED, reference)
        _column(axes, "mean Dice", [f"{dice:.2f}" for dice in segmented["dice"]])
        axes.set_title(f"Outline of {plural(int(segmented['lesions'].max()), 'lesion')}", **HEADING)
        axes.set_xlabel("lesions that come or go")
    first = next(iter(given.values())).iloc[0]
    people = plural(int(first["patients"]), "patient")
    parts = (note, f"{plural(int(first['slices']), 'slice')} of {people}")
    named = title or f"Which decisions change from {reference} to SR?"
    caption(figure, named, "; ".join(filter(None, parts)))
    return figure


def _bars(
    axes: Axes, table: pd.DataFrame, columns: Mapping[str, tuple[str, str]], reference: str
) -> None:
    """Draw a stacked bar per method with its numbers; the reference has none by definition."""
    reach = max(1.0, float(table[list(columns)].sum(axis=1).max()))
    left = np.zeros(len(table))
    rows = range(len(table))
    for name, (label, tone) in columns.items():
        values = table[name].to_numpy(float)
        axes.barh(rows, values, 0.5, left, color=tone, label=label, ec="white", lw=0.8)
        for row, value, start in zip(rows, values, left):
            if value > 0:
                _number(
                    axes,
                    row,
                    value,
                    start,
                    tone,
                    inside=value > (0.015 + 0.025 * len(count(value))) * reach,
                )
        left += values
    for row, (name, total) in enumerate(zip(table.index, left)):
        if not total:
            text = "what is compared with" if name == reference else "none"
            axes.annotate(
                text,
                (0, row),
                (5, 0),
                textcoords="offset points",
                va="center",
                color=MUTED,
                size=8.5,
            )
    name_rows(axes, [textwrap.fill(str(name), 20) for name in table.index])
    axes.set_xlim(0, 1.04 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderpad=0.2, handlelength=1.1)


def _number(axes: Axes, row: int, value: float, start: float, tone: str, *, inside: bool) -> None:
    """Write a count in its part of a bar, or above it where the part is too narrow."""
    ink = ("black" if tone == NEITHER else "white") if inside else INK
    axes.annotate(
        count(value),
        (start + value / 2, row if inside else row - 0.25),
        (0, 0 if inside else 1),
        textcoords="offset points",
        ha="center",
        va="center" if inside else "bottom",
        size=8.5 if inside else 7.5,
        color=ink,
    )


def _column(axes: Axes, name: str, texts: Sequence[str]) -> None:
    """Write a column of texts at the right of the bars."""
    margin_text(axes, -0.85, name, colour=MUTED)
    for row, text in enumerate(texts):
        margin_text(axes, row, text)
