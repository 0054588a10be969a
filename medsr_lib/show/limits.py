"""Does a measure of the tumour agree in SR and in HR? Difference against mean, patient by patient.

After Bland and Altman 1999 (10.1191/096228099673819272).
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from medsr_lib.show.style import (
    INK,
    caption,
    choose,
    colours,
    count,
    drawn,
    margin_text,
    need,
    plural,
)

IN_A_ROW = 3
FEWEST = 3
"""Patients; with fewer there are no limits of agreement."""

Agreement = Callable[[NDArray[Any], NDArray[Any]], Any]


@drawn
def bland_altman(
    table: pd.DataFrame,
    *,
    measure: str,
    methods: Sequence[str],
    limits: Agreement,
    coefficients: Mapping[str, Agreement] | None = None,
    name: str | None = None,
    unit: str = "",
    region: str = "tumour",
    title: str | None = None,
) -> Figure:
    """Draw the difference of a measure in SR and HR against their mean: a panel per method.

    A point is a patient: the mean over its slices, since slices of one patient resemble each other.

    Args:
        table: a row per slice, method and region with the columns `slice_id`, `patient`, `method`,
            `region` and the measure in both images, named `<measure>_sr` and `<measure>_hr`.
        measure: such as `mean` or `sharpness`.
        methods: the panels.
        limits: (sr, hr) -> limits of agreement with the attributes `bias`, `lower`, `upper` and, of
            each, `_low` and `_high`: the ends of its 95 % interval.
        coefficients: by name, such as `CCC`, (sr, hr) -> `value`, `low` and `high`; written above
            each panel.
        name: what the measure is called, such as `mean brightness`.
        unit: of the measure.
        region: of the table.
        title: what is compared.
    """
    first, second = f"{measure}_sr", f"{measure}_hr"
    need(table, "slice_id", "patient", "method", "region", first, second)
    choose("region", [region], table["region"].unique())
    choose("method", methods, table["method"].unique())
    chosen = table[table["region"].eq(region) & table["method"].isin(methods)]
    values = chosen[[first, second]].replace([np.inf, -np.inf], np.nan)
    kept = chosen.loc[values.notna().all(axis=1)]
    if kept.empty:
        raise ValueError(f"no slice has {first} and {second} in the region {region}")
    rows = -(-len(methods) // IN_A_ROW)
    columns = -(-len(methods) // rows)
    written = 1 + len(coefficients or {})
    size = (max(4.6, 0.9 + 2.6 * columns), rows * (2.3 + 0.16 * written))
    figure, panels = plt.subplots(
        rows, columns, figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    means = kept.groupby(["method", "patient"])[[first, second]].mean()
    present = means.index.get_level_values("method")
    found = {}
    for axes, (method, tone) in zip(panels.flat, colours(methods).items()):
        pairs = means[present == method].to_numpy()
        found[axes] = _panel(axes, pairs[:, 0], pairs[:, 1], tone, limits)
        _heading(axes, method, pairs, coefficients or {})
    spreads = [of.upper - of.lower for of in found.values() if of is not None]
    digits = _digits(min((spread for spread in spreads if spread > 0), default=0.1))
    for axes, of_panel in found.items():  # now that all have the same axis
        _numbers(axes, of_panel, digits)
    for axes in panels.flat[len(methods) :]:
        axes.set_axis_off()
    what = name or measure.replace("_", " ")
    _label(panels, len(methods), f"{what}, {unit}" if unit else what)
    caption(
        figure,
        title or f"Does the {what} of the {region} agree in SR and in HR?",
        _note(chosen, kept),
    )
    return figure


def _panel(axes: Axes, sr: NDArray[Any], hr: NDArray[Any], tone: str, limits: Agreement) -> Any:
    """Draw the points, and the bias and its limits with the bands of their intervals, if any."""
    axes.axhline(0, color=INK, linewidth=1)
    found = limits(sr, hr) if len(sr) >= FEWEST else None
    for what, line in (("bias", "-"), ("upper", "--"), ("lower", "--")) if found else ():
        ends = getattr(found, f"{what}_low"), getattr(found, f"{what}_high")
        axes.axhspan(*ends, color=tone, alpha=0.22 if what == "bias" else 0.12, lw=0)
        axes.axhline(getattr(found, what), color=tone, linestyle=line, linewidth=1.8)
    size = 9 if len(sr) > 60 else 20
    axes.scatter((sr + hr) / 2, sr - hr, size, tone, alpha=0.75, lw=0.4, ec=INK, zorder=3)
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return found


def _digits(spread: float) -> int:
    """Decimals that show two digits of the narrowest limits."""
    return max(0, 1 - int(np.floor(np.log10(spread))))


def _numbers(axes: Axes, found: Any, digits: int) -> None:
    """Write bias and limits at the right, apart where they are near."""
    if found is None:
        return
    low, high = axes.get_ylim()
    gap = 0.085 * (high - low)
    heights = (
        (found.upper, max(found.upper, found.bias + gap)),
        (found.bias, found.bias),
        (found.lower, min(found.lower, found.bias - gap)),
    )
    for value, height in heights:
        margin_text(axes, height, f"{value:+.{digits}f}".replace("-", "−"), 0.04)


def _heading(
    axes: Axes, name: str, pairs: NDArray[Any], coefficients: Mapping[str, Agreement]
) -> None:
    """Write above the panel: the method, its n, and the coefficients with their intervals."""
    lines = [f"n = {plural(len(pairs), 'patient')}"]
    if len(pairs) < FEWEST:
        lines.append(f"too few for limits (at least {FEWEST})")
        coefficients = {}
    for label, coefficient in coefficients.items():
        found = coefficient(pairs[:, 0], pairs[:, 1])
        value, low, high = (
            f"{x:.3f}".replace("-", "−") for x in (found.value, found.low, found.high)
        )
        lines.append(f"{label} {value} [{low}, {high}]")
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        size=8.5,
        va="bottom",
        linespacing=1.25,
    )
    axes.set_title(textwrap.fill(name, 30), weight="bold", pad=7 + 12.5 * len(lines))


def _label(panels: NDArray[Any], n: int, what: str) -> None:
    """Name the axes at the left and below the lowest panel of each column."""
    columns = panels.shape[1]
    for axes in panels[:, 0]:
        axes.set_ylabel("SR − HR")
    for i, axes in enumerate(panels.flat[:n]):
        if i + columns >= n:
            axes.set_xlabel(textwrap.fill(f"{what}; average of SR and HR", 36))
            axes.tick_params(axis="x", labelbottom=True)


def _note(chosen: pd.DataFrame, kept: pd.DataFrame) -> str:
    missing = len(chosen) - len(kept)
    slices = plural(kept["slice_id"].nunique(), "slice")
    return (
        f"{slices} of {plural(kept['patient'].nunique(), 'patient')}; point: a patient, mean over "
        "its slices; line: mean difference (bias); dashed: limits between which 95 % of the "
        "differences lie; black: no difference; bands: their 95 % intervals; left out "
        "for want of a value: "
        f"{f'{count(missing)} of {count(len(chosen))} measurements' if missing else 'none'}"
    )
