"""How small and how faint a lesion may be and still be found."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsr_lib.show.style import caption, colours, drawn, need, plural


@drawn
def contrast_detail(
    table: pd.DataFrame, *, threshold: float | None = None, title: str | None = None
) -> Figure:
    """Draw how well inserted lesions are detected, by their diameter, a panel per contrast.

    Args:
        table: a row per method, diameter and contrast: the columns `method`, `diameter` (pixels),
            `contrast` (intensity), `d` (detectability d'), `low` and `high` (its 95 % interval),
            `backgrounds`, `images` and `patients`.
        threshold: of d', drawn as a dashed line.
        title: what was restored.
    """
    need(table, "method", "diameter", "contrast", "d", "low", "high", "backgrounds", "patients")
    contrasts = sorted(table["contrast"].unique())
    size = (min(8.6, 1.6 + 3.4 * len(contrasts)), 3.2)
    figure, panels = plt.subplots(
        1, len(contrasts), figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    for axes, contrast in zip(panels.flat, contrasts):
        _panel(axes, table[table["contrast"] == contrast])
        axes.set_title(f"contrast {contrast:g} of the intensity range")
        if threshold is not None:
            axes.axhline(threshold, color="black", linestyle="--", linewidth=0.9)
    panels[0, 0].set_ylabel("detectability d'   better →")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center")
    first = table.iloc[0]
    parts = [
        f"{plural(int(first['backgrounds']), 'place')} in normal tissue of "
        f"{plural(int(first['patients']), 'patient')}; bars: 95 % interval",
        None if threshold is None else f"dashed: d' = {threshold:g}",
    ]
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    """A line per method; methods stand a little apart, so that their bars can be told."""
    methods = list(table["method"].unique())
    step = 0.012 * np.ptp(table["diameter"]) or 0.05
    for k, (name, colour) in enumerate(colours(methods).items()):
        rows = table[table["method"] == name].sort_values("diameter")
        x = rows["diameter"] + step * (k - (len(methods) - 1) / 2)
        axes.plot(x, rows["d"], color=colour, marker="o", markersize=3.5, label=name)
        axes.vlines(x, rows["low"], rows["high"], color=colour, linewidth=1)
    axes.set_xticks(sorted(table["diameter"].unique()))
    axes.set_xlabel("diameter, pixels")
    axes.grid(axis="y")
