"""Figures of estimates: differences as a forest plot, with null bands, and gains as a matrix.

An estimate has the attributes `value`, `low`, `high` (its 95 % interval), `p`, `cases`, `patients`
and `skipped`; interval and p may be NaN. Over several trainings it has `seeds`, their number, and
`seed_low` and `seed_high`, their range.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from medsr_lib.show.panels import round_limit
from medsr_lib.show.style import (
    INK,
    METHOD_COLOURS,
    MUTED,
    PHONE,
    caption,
    choose,
    count,
    drawn,
    label_of,
    margin_text,
    name_rows,
    need,
    people,
    plural,
    signed,
)

Estimated: TypeAlias = Any
"""A number with its interval, by its attributes as they are named above."""

BAND = "#DCDCDC"
_DRAWN = ("contrast", "contrast_low", "contrast_high", "band_low", "band_high")
_OF_BANDS = (
    *("metric", "region", "method", *_DRAWN),
    *("distance", "distance_low", "distance_high", "verdict", "patients", "cases"),
)


@drawn
def differences(
    estimates: Mapping[str, Estimated],
    *,
    unit: str,
    title: str,
    directions: tuple[str, str],
) -> Figure:
    """Draw differences with their intervals as a forest plot, with the numbers at the right.

    Args:
        estimates: by label, from above.
        unit: what is measured, with its unit.
        directions: what a negative and a positive difference mean.
    """
    if not estimates:
        raise ValueError("there is no estimate to draw")
    figure, axes = plt.subplots(figsize=(PHONE, 0.6 + 0.4 * len(estimates)))
    name_rows(axes, [textwrap.fill(name, 20) for name in estimates])
    forest(axes, estimates)
    digits = digits_of(estimates.values())
    behind = {people(e.cases, e.patients) for e in estimates.values()}
    several = len(behind) > 1 or any(e.skipped for e in estimates.values())
    for row, e in enumerate(estimates.values()):
        margin_text(axes, row - 0.2, interval(e, digits))
        margin_text(axes, row + 0.2, _numbers(e, own_n=several), color=MUTED)
    axes.set_xlabel(f"← {directions[0]}   |   {directions[1]} →\n{unit}")
    seeds = max(e.seeds for e in estimates.values())
    strokes = f"short strokes: range over {seeds} trainings" if seeds > 1 else None
    note = "point and line: estimate and 95 % interval"
    caption(figure, title, note, strokes, "n: patients / images" if several else behind.pop())
    return figure


def forest(axes: Axes, estimates: Mapping[str, Estimated], *, width: float = 2.4) -> None:
    """Draw estimates as points with their intervals, a row each, and a line at 0.

    Short strokes are the range over trainings, where an estimate has one.
    """
    every = ("value", "low", "high", "seed_low", "seed_high")
    ends = [x for e in estimates.values() for k in every if np.isfinite(x := getattr(e, k, np.nan))]
    low, high = min([*ends, 0]), max([*ends, 0])
    margin = 0.08 * (high - low) or 1
    axes.axvline(0, color=INK, linewidth=1)
    for row, (name, e) in enumerate(estimates.items()):
        tone = METHOD_COLOURS.get(name, INK)
        axes.plot([e.low, e.high], [row, row], color=tone, lw=width, solid_capstyle="butt")
        if getattr(e, "seeds", 0) > 1 and e.seed_low < e.seed_high:
            axes.plot([e.seed_low, e.seed_high], [row, row], "|", color=tone, ms=12, mew=1.2)
        axes.plot(e.value, row, "o", color=tone, markersize=8, markeredgecolor="white")
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


@drawn
def null_bands(
    verdicts: pd.DataFrame, *, metric: str, region: str = "tumour", title: str | None = None
) -> Figure:
    """Draw contrasts as a forest plot, each over the band that uniform changes of its gain span.

    Args:
        verdicts: a row per method with the columns metric, region, method, contrast, contrast_low,
            contrast_high, band_low, band_high, distance, distance_low, distance_high, verdict,
            patients and cases; ends may be NaN.
        metric, region: which rows to draw.
        title: None says what the verdicts are.
    """
    need(verdicts, *_OF_BANDS)
    choose("metric", [metric], verdicts["metric"].unique())
    choose("region", [region], verdicts["region"].unique())
    rows = verdicts[verdicts["metric"].eq(metric) & verdicts["region"].eq(region)]
    if rows.empty:
        raise ValueError(f"there is no {metric} of {region} to draw")
    figure, axes = plt.subplots(figsize=(PHONE, 0.9 + 0.46 * len(rows)))
    name_rows(axes, [textwrap.fill(str(name), 16) for name in rows["method"]])
    axes.axvline(0, color=INK, linewidth=1)
    values = rows[list(_DRAWN)].to_numpy(float)
    digits = 4 if np.nanmax(abs(values), initial=0) < 0.1 else 2
    for at, row in enumerate(rows.to_dict("records")):
        band = Rectangle((row["band_low"], at - 0.36), row["band_high"] - row["band_low"], 0.72)
        band.set(facecolor=BAND, edgecolor=MUTED, linewidth=0.6, zorder=0.5)
        if np.isfinite(row["band_low"] + row["band_high"]):
            axes.add_patch(band)
        tone = METHOD_COLOURS.get(str(row["method"]), INK)
        ends = [row["contrast_low"], row["contrast_high"]]
        axes.plot(ends, [at, at], color=tone, lw=2.4, solid_capstyle="butt")
        axes.plot(row["contrast"], at, "o", color=tone, markersize=8, markeredgecolor="white")
        margin_text(axes, at, _with_ends(row, digits))
    margin_text(axes, -0.9, "distance to the band", color=MUTED)
    low, high = np.nanmin(values, initial=0), np.nanmax(values, initial=0)
    margin = 0.06 * (high - low or 1)
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    unit = label_of(metric)[0]
    axes.set_xlabel(
        f"← the {region} gains less   |   the {region} gains more →\n"
        f"gain in {unit}: {region} − matched tissue"
    )
    first = rows.iloc[0]
    caption(
        figure,
        title or _message(rows, unit.split(",")[0], region),
        "point and line: the method and its 95 % interval",
        "grey band: what changes show that treat every pixel alike and gain as much in the brain",
        people(first["cases"], first["patients"]),
    )
    return figure


def _message(rows: pd.DataFrame, unit: str, region: str) -> str:
    """What the verdicts say, as a title."""
    different = rows[rows["verdict"].str.startswith("treats")]
    judged = int(np.isfinite(rows["distance_low"]).sum())
    if not judged:
        return f"{unit}: no verdict on the {region}"
    if different.empty:
        who = "the method is not" if judged == 1 else f"none of {plural(judged, 'method')} is"
        return f"{unit}: in the {region}, {who} distinguishable from a uniform change"
    if len(different) == 1:
        return f"{unit}: {different['method'].iloc[0]} {different['verdict'].iloc[0]}"
    how = ["worse" if "worse" in verdict else "better" for verdict in different["verdict"]]
    who = ", ".join(f"{name} ({what})" for name, what in zip(different["method"], how))
    return (
        f"{unit}: {len(different)} of {plural(judged, 'method')} treat the {region} differently "
        f"from a uniform change: {who}"
    )


def _with_ends(row: Mapping[Any, Any], digits: int) -> str:
    if not np.isfinite(row["distance"]):
        return textwrap.fill(str(row["verdict"]), 24)
    if not np.isfinite(row["distance_low"]):
        return f"{signed(row['distance'], digits)} [no interval]"
    value, low, high = (
        signed(x, digits) for x in (row["distance"], row["distance_low"], row["distance_high"])
    )
    return f"{value} [{low}, {high}]"


@drawn
def transfer_matrix(
    gains: Mapping[str, Mapping[str, Estimated]],
    *,
    interpolation: Sequence[str] = (),
    rows: str = "trained on",
    ranges: bool = True,
    title: str = "Trained on one degradation, tested on another",
    note: str,
) -> Figure:
    """Draw how much PSNR each training gains on each degradation, and mark training = test.

    Args:
        gains: degradation tested -> degradation trained with, or name of an interpolation or a
            filter -> gain over bicubic interpolation in dB.
        interpolation: rows without a network; they come last and are not marked.
        rows: what the rows are.
        ranges: below the mean of several trainings stands their range; False: its interval.
    """
    values = pd.DataFrame({on: {by: e.value for by, e in of.items()} for on, of in gains.items()})
    choose("interpolation", interpolation, values.index)
    if not np.isfinite(values.to_numpy(float)).any():
        raise ValueError("there is no gain to draw: the table is empty or all of it is NaN")
    trained = [str(name) for name in values.index if name not in interpolation]
    order = [*trained, *interpolation]
    texts = [[_gain(of.get(by), ranges) for of in gains.values()] for by in order]
    limit = round_limit([values.to_numpy(float)], share=1.0)
    figure, axes = plt.subplots(figsize=(PHONE, 1.0 + 0.6 * len(order)))
    seaborn.heatmap(
        values.loc[order],
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        annot=np.array(texts),
        fmt="",
        annot_kws={"size": 8.5},
        linewidths=1.5,
        cbar=False,
        ax=axes,
    )
    axes.set_facecolor("#EDEDED")
    for row, column in np.argwhere(values.loc[order].isna().to_numpy()):
        axes.text(column + 0.5, row + 0.5, "not tested", ha="center", va="center", color=MUTED)
    for row, name in enumerate(trained):
        if name in gains:
            place = (list(gains).index(name), row)
            frame = Rectangle(place, 1, 1, fill=False, ec="black", lw=3, zorder=3)
            axes.add_patch(frame)
    axes.set_xticks(axes.get_xticks(), [textwrap.fill(name, 15) for name in gains], rotation=0)
    axes.set_yticks(axes.get_yticks(), [textwrap.fill(name, 18) for name in order], rotation=0)
    axes.tick_params(length=0)
    axes.set_xlabel("tested on", weight="bold")
    axes.set_ylabel(rows, weight="bold")
    every = [e for of in gains.values() for e in of.values()]
    seeds = max(e.seeds for e in every) if ranges else 0
    spread = f"the range over {seeds} trainings, or in brackets " if seeds > 1 else ""
    caption(
        figure,
        title,
        note,
        "gain in PSNR over bicubic interpolation, dB (blue: better, red: worse), mean of "
        f"{people(every[0].cases, every[0].patients)}; below it {spread}its "
        "95 % interval",
        "black frame: tested on what it was trained with" if axes.patches else None,
        f"{', '.join(interpolation)}: no network" if interpolation else None,
    )
    return figure


def _gain(e: Estimated | None, ranges: bool) -> str:
    """Write a gain, and below it the range over trainings or the interval."""
    if e is None or not np.isfinite(e.value):
        return ""
    if ranges and e.seeds > 1:
        return f"{signed(e.value, 2)}\n{signed(e.seed_low, 2)} to {signed(e.seed_high, 2)}"
    interval = f"\n[{signed(e.low, 2)}, {signed(e.high, 2)}]" if np.isfinite(e.low) else ""
    return f"{signed(e.value, 2)}{interval}"


def digits_of(estimates: Iterable[Estimated]) -> int:
    """How many decimals their numbers need: one figure has the same for all."""
    sizes = [abs(x) for e in estimates for x in (e.value, e.low, e.high) if np.isfinite(x)]
    return 2 if max(sizes, default=1) >= 0.1 else 4


def interval(e: Estimated, digits: int) -> str:
    """A difference with its 95 % interval as text."""
    value, low, high = (signed(x, digits) for x in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]" if np.isfinite(e.low + e.high) else f"{value} [no interval]"


def _numbers(e: Estimated, *, own_n: bool) -> str:
    p = "p < 0.001" if e.p < 0.001 else f"p = {e.p:.3f}" if np.isfinite(e.p) else ""
    skipped = f" ({count(e.skipped)} skipped)" if e.skipped else ""
    n = f"n = {count(e.patients)} / {count(e.cases)}{skipped}" if own_n else ""
    return ", ".join(filter(None, [p, n]))
