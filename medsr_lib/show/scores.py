"""Charts of scores: methods by region, the gain by tumour size, differences with intervals.

A score table is tidy: a row per slice, method and region, with the columns `slice_id`, `patient`,
`tumour`, `method`, `region`, `pixels` and the metrics (`psnr`, `ssim`, `mse`, ...). Where it has
`scale` and `degradation`, the notes under the titles name them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray

from medsr_lib.show.panels import bare
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
    need,
    numbers_behind,
    plural,
    row_chart,
    written,
)

COLUMNS = ("slice_id", "patient", "tumour", "method", "region", "pixels")
WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


@drawn
def distributions(
    table: pd.DataFrame,
    *,
    metric: str,
    regions: Sequence[str],
    methods: Sequence[str],
    title: str | None = None,
) -> Figure:
    """Draw a metric by region and method: a dot per patient, quartiles as a box, the median.

    Args:
        table: score table of one scale and one degradation.
        metric: a column, such as `psnr` or `ssim`.
        regions: the groups, from above.
        methods: the rows within a group, from above.
        title: what is compared.
    """
    chosen = _select(table, metric, regions, methods)
    means = chosen.groupby(["region", "method", "patient"])[metric].mean().dropna().reset_index()
    tones = colours(methods)
    labels = [label for _ in regions for label in ("", *methods)]
    figure, axes = row_chart(labels, height=0.215)
    for group, region in enumerate(regions):
        top = group * (len(methods) + 1)
        axes.text(
            0, top + 0.1, region, weight="bold", va="center", transform=axes.get_yaxis_transform()
        )
        for row, method in enumerate(methods, top + 1):
            values = means[means["region"].eq(region) & means["method"].eq(method)][metric]
            _box(axes, row, values.to_numpy(), tones[method])
            text = "none" if values.empty else written(metric, values.median())
            margin_text(axes, row, text)
    margin_text(axes, 0.1, "median", colour=MUTED)
    axes.grid(axis="x")
    axes.set_xlabel(f"{label_of(metric)[0]}, mean of a patient's slices")
    note = f"{_behind(chosen)}; {_missing(chosen, metric)}; dots: patients, box: quartiles"
    caption(figure, title or f"{metric.upper()} by region and method", note)
    return figure


@drawn
def by_size(
    table: pd.DataFrame,
    *,
    metric: str,
    method: str,
    baseline: str,
    region: str = "tumour",
    title: str | None = None,
) -> Figure:
    """Draw how much a method gains over the baseline in each slice, against the area of its tumour.

    Args:
        table: score table of one scale and one degradation; its rows of the region `tumour` give
            the areas.
        metric: a column, such as `psnr` or `ssim`; of `mse` the gain is the decrease.
        method: method whose gain is drawn.
        baseline: method it is compared with.
        region: region in which both are measured.
        title: what is drawn.
    """
    chosen = _select(table, metric, [region], [method, baseline])
    gains = _gains(table, chosen, metric, method, baseline)
    kept = gains[gains["gain"].notna() & (gains["pixels"] > 0)]
    if kept.empty:
        raise ValueError(f"no slice has a tumour and a value of {metric} in the region {region}")
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    _points(axes, kept)
    _binned(axes, kept["pixels"].to_numpy(float), kept["gain"].to_numpy(float))
    axes.set_ylabel(f"gain in {label_of(metric)[0]}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=1.2, markerscale=1.4)
    left_out = chosen["slice_id"].nunique() - len(kept)
    note = (
        f"{_behind(chosen[chosen['slice_id'].isin(kept.index)])}; "
        f"better in {100 * (kept['gain'] > 0).mean():.0f} % of them; "
        f"left out for want of a value: {plural(left_out, 'slice') if left_out else 'none'}"
    )
    caption(
        figure, title or f"Gain of {method} over {baseline}, region {region}, by tumour size", note
    )
    return figure


@drawn
def plane(
    table: pd.DataFrame,
    *,
    distortion: str = "psnr",
    perception: str = "perceptual",
    regions: Sequence[str] = ("whole", "tumour"),
    methods: Sequence[str],
    title: str | None = None,
) -> Figure:
    """Draw each method as a point between distortion and perception, a panel per region.

    No method can be best in both beyond some bound: Blau and Michaeli, The Perception-Distortion
    Tradeoff, CVPR 2018, doi 10.1109/CVPR.2018.00652. The intervals tell how much patients differ.
    All methods have the same patients, so intervals that overlap do not mean that methods are
    equal: `differences` shows that.

    Args:
        table: score table of one scale and one degradation.
        distortion: a column, such as `psnr`: how near the pixels are to those of HR.
        perception: a column, such as `perceptual`: how near they are to what HR looks like.
        regions: the panels, from the left.
        methods: the points.
        title: what is compared.
    """
    metrics = [distortion, perception]
    chosen = table
    for metric in metrics:
        chosen = _select(chosen, metric, regions, methods)
    kept = chosen.dropna(subset=metrics)
    if kept.empty:
        raise ValueError(f"no slice has a value of both {distortion} and {perception}")
    size = (max(5.2, min(8.6, 4.3 * len(regions))), 3.6)
    figure, panels = plt.subplots(
        1, len(regions), figsize=size, layout="constrained", squeeze=False
    )
    placed = [
        (axes, _tradeoff(axes, kept[kept["region"] == region], metrics, methods))
        for axes, region in zip(panels.flat, regions)
    ]
    for axes, region in zip(panels.flat, regions):
        patients = kept.loc[kept["region"] == region, "patient"].nunique()
        axes.set_title(f"{region}, n = {plural(patients, 'patient')}")
    panels[0, 0].set_ylabel(better(perception))
    both = chosen.assign(both=chosen[distortion].where(chosen[perception].notna()))
    note = (
        f"{_behind(kept)}; {_missing(both, 'both')}; point: mean over patients of each patient's "
        "mean over slices; lines: its 95 % interval, "
        "±\u00a01.96\u00a0sd\u00a0/\u00a0√n over patients"
    )
    caption(figure, title or "Perception against distortion", note)
    figure.draw_without_rendering()  # the places of names are found in pixels
    for axes, points in placed:
        _name_points(axes, points, figure.dpi)
    return figure


@drawn
def differences(
    estimates: Mapping[str, Any],
    *,
    unit: str,
    title: str | None = None,
    margin: float | None = None,
    directions: tuple[str, str] = ("worse inside the tumour", "better inside the tumour"),
    items: str = "slices",
) -> Figure:
    """Draw differences with their intervals as a forest plot, with the numbers at the right.

    Args:
        estimates: by label, from above; each has the attributes `value`, `low`, `high`, `p`,
            `patients` and `slices`, and may have `skipped`: slices left out. Interval and p may be
            NaN, as of one patient.
        unit: what is measured, with its unit.
        title: what the differences are.
        margin: a difference up to this size counts as none; drawn as a grey band.
        directions: what a negative and a positive difference mean.
        items: what the estimates' `slices` are, such as images.
    """
    if not estimates:
        raise ValueError("there is no estimate to draw")
    figure, axes = row_chart(list(estimates), height=0.32, width=8.6)
    ends = [x for e in estimates.values() for x in (e.value, e.low, e.high, margin or 0)]
    reach = 1.12 * max((abs(x) for x in ends if np.isfinite(x) and x), default=1)
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.axvline(0, color=INK, linewidth=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color="#ECECEC", zorder=0)
    for row, (name, e) in enumerate(estimates.items()):
        tone = METHOD_COLOURS.get(name, INK)
        axes.plot([e.low, e.high], [row, row], color=tone, linewidth=2.4, solid_capstyle="butt")
        axes.plot(e.value, row, "o", color=tone, markersize=8, markeredgecolor="white")
    _forest_text(axes, estimates, items)
    _directions(axes, directions)
    axes.set_xlabel(unit, labelpad=20)
    band = "" if margin is None else f"; grey band: no relevant difference (up to ±{margin:g})"
    caption(figure, title, f"point and line: estimate and 95 % interval{band}")
    return figure


def _select(
    table: pd.DataFrame, metric: str, regions: Sequence[str], methods: Sequence[str]
) -> pd.DataFrame:
    """Take the wanted rows, infinite values as missing.

    Raises:
        ValueError: if a name is unknown, or if a slice has several rows of one method and region.
    """
    need(table, *COLUMNS)
    others = (*COLUMNS, "fold", "scale")
    metrics = [str(name) for name in table.select_dtypes("number") if name not in others]
    choose("metric", [metric], metrics)
    choose("region", regions, table["region"].unique())
    choose("method", methods, table["method"].unique())
    chosen = table[table["region"].isin(regions) & table["method"].isin(methods)]
    if chosen.duplicated(["slice_id", "method", "region"]).any():
        raise ValueError(
            "the table has several rows of one slice, method and region; select one scale, "
            "degradation and training first"
        )
    return chosen.assign(**{metric: chosen[metric].where(np.isfinite(chosen[metric]))})


def _behind(chosen: pd.DataFrame) -> str:
    """Tell the numbers behind a chart, and the degradation and scale where the table has them."""
    made = [str(name) for name in chosen.get("degradation", pd.Series(dtype=str)).unique()]
    made += [f"×{scale}" for scale in chosen.get("scale", pd.Series(dtype=int)).unique()]
    return numbers_behind(chosen) + (f"; LR by {' '.join(made)}" if made else "")


def _missing(chosen: pd.DataFrame, metric: str) -> str:
    """Count the slices without a value, region by region."""
    missing = chosen[chosen[metric].isna()].groupby("region")["slice_id"].nunique()
    if missing.empty:
        return "no value missing"
    return "no value: " + ", ".join(
        f"{name} in {plural(n, 'slice')}" for name, n in missing.items()
    )


def _box(axes: Axes, row: int, values: NDArray[Any], tone: str) -> None:
    """Draw patients as points over a box of their quartiles with the median."""
    if not len(values):
        return
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.barh(row, high - low, 0.7, low, color=tone, alpha=0.35, lw=0)
    scatter = np.random.default_rng(0).uniform(-0.26, 0.26, len(values))
    axes.scatter(values, row + scatter, 5 if len(values) > 60 else 14, tone, alpha=0.6, lw=0)
    axes.plot([median, median], [row - 0.38, row + 0.38], color=INK, linewidth=1.8)


def _gains(
    table: pd.DataFrame, chosen: pd.DataFrame, metric: str, method: str, baseline: str
) -> pd.DataFrame:
    """Make a table of tumour type, area and gain by slice."""
    choose("region", ["tumour"], table["region"].unique())
    values = chosen.pivot(index="slice_id", columns="method", values=metric)
    gain = values[method] - values[baseline]
    slices = table[table["region"] == "tumour"].drop_duplicates("slice_id").set_index("slice_id")
    better = gain if label_of(metric)[1] else -gain
    return slices[["tumour", "pixels"]].assign(gain=better)


def _points(axes: Axes, gains: pd.DataFrame) -> None:
    """Draw a point per slice in the colour of its tumour type, above or below the zero line."""
    axes.axhline(0, color=INK, linewidth=1)
    size = 11 if len(gains) > 150 else 22
    for name, tone in colours(sorted(gains["tumour"].unique()), TUMOUR_COLOURS).items():
        part = gains[gains["tumour"] == name]
        axes.scatter(part["pixels"], part["gain"], size, tone, alpha=0.5, lw=0, label=name)
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    axes.grid(axis="y")
    axes.set_xlabel("tumour area, pixels")


def _binned(axes: Axes, area: NDArray[Any], gain: NDArray[Any]) -> None:
    """Draw medians and quartiles of up to six equal groups of slices, by area, of 10 or more."""
    groups = min(6, len(area) // 10)
    if groups < 2:
        return
    parts = np.array_split(np.argsort(area), groups)
    x = [np.median(area[part]) for part in parts]
    low, y, high = np.array([np.quantile(gain[part], [0.25, 0.5, 0.75]) for part in parts]).T
    axes.errorbar(
        x,
        y,
        [y - low, high - y],
        color="black",
        marker="o",
        ms=5,
        capsize=0,
        lw=1.6,
        label=f"medians and\nquartiles of about\n{len(area) // groups} slices each",
    )


def _tradeoff(
    axes: Axes, kept: pd.DataFrame, metrics: Sequence[str], methods: Sequence[str]
) -> pd.DataFrame:
    """Draw a point with intervals per method; return `x`, `y` and the intervals' halves."""
    patients = kept.groupby(["method", "patient"])[list(metrics)].mean().groupby("method")
    mean, half = patients.mean(), 1.96 * patients.sem().fillna(0)
    points = pd.DataFrame(
        {
            "x": mean[metrics[0]],
            "y": mean[metrics[1]],
            "dx": half[metrics[0]],
            "dy": half[metrics[1]],
        }
    ).reindex([name for name in dict.fromkeys(methods) if name in mean.index])
    if points.empty:
        bare(axes)
        axes.text(0.5, 0.5, "no value", color=MUTED, ha="center", transform=axes.transAxes)
        return points
    tones = colours(methods)
    for name, x, y, dx, dy in points.itertuples():
        axes.errorbar(x, y, dy, dx, "o", color=tones[name], ms=7, mec="white", elinewidth=1.6)
    axes.margins(0.2)
    axes.grid()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(better(metrics[0]))
    right, up = (label_of(metric)[1] for metric in metrics)
    arrow = {(True, True): "↗", (True, False): "↘", (False, True): "↖", (False, False): "↙"}
    axes.text(
        0.98 if right else 0.02,
        0.98 if up else 0.02,
        f"best {arrow[right, up]}",
        color=MUTED,
        ha="right" if right else "left",
        va="top" if up else "bottom",
        transform=axes.transAxes,
    )
    return points


def _name_points(axes: Axes, points: pd.DataFrame, dpi: float) -> None:
    """Name each point where the name covers least of other points, of lines and other names."""
    taken = [text.get_window_extent() for text in axes.texts]
    middles = axes.transData.transform(points[["x", "y"]].to_numpy())
    reaches = axes.transData.transform(points[["x", "y"]].to_numpy() + points[["dx", "dy"]])
    for (x, y), (dx, dy) in zip(middles, reaches - middles):
        taken += [
            Bbox([(x - dx, y - 2), (x + dx, y + 2)]),
            Bbox([(x - 2, y - dy), (x + 2, y + dy)]),
        ]
    dots = [Bbox([middle - 10, middle + 10]) for middle in middles]
    tones = colours(str(name) for name in points.index)
    for i, (name, tone) in enumerate(tones.items()):
        measured = axes.text(0, 0, name, size=8.5)
        size = np.array(measured.get_window_extent().size)
        measured.remove()
        others = taken + dots[:i] + dots[i + 1 :]
        places = [(d, _place(middles[i], size, way, d)) for d in (7, 18, 30, 44) for way in WAYS]
        distance, box = min(places, key=lambda p: p[0] / 4 + _covered(p[1], others, axes.bbox))
        taken.append(box)
        right, up = 72 / dpi * (box.min - middles[i])
        axes.annotate(
            name,
            (points["x"].iloc[i], points["y"].iloc[i]),
            (right, up),
            textcoords="offset points",
            size=8.5,
            color=[0.6 * part for part in to_rgb(tone)],
            arrowprops=None if distance == 7 else {"arrowstyle": "-", "color": MUTED, "shrinkB": 4},
        ).set_in_layout(False)


def _place(point: NDArray[Any], size: NDArray[Any], way: Sequence[float], distance: float) -> Bbox:
    """Box of a text that lies `distance` pixels from a point, in a direction."""
    middle = point + np.array(way) * (distance + size / 2)
    return Bbox([middle - size / 2, middle + size / 2])


def _covered(box: Bbox, taken: Sequence[Bbox], inside: BboxBase) -> float:
    """Pixels of a box that lie on others or outside the axes, which counts tenfold."""
    pixels = box.width * box.height
    kept = Bbox.intersection(box, inside)
    outside = pixels - (kept.width * kept.height if kept else 0)
    shared = [cut.width * cut.height for other in taken if (cut := Bbox.intersection(box, other))]
    return sum(shared) + 10 * outside


def _forest_text(axes: Axes, estimates: Mapping[str, Any], items: str) -> None:
    """Write the numbers of a forest plot in columns at its right."""
    header = ("difference [95 % interval]", "p", f"patients / {items}")
    rows = [(_interval(e), _p(e.p), _numbers(e)) for e in estimates.values()]
    for column, place in enumerate((0.2, 2.15, 2.75)):
        margin_text(axes, -0.85, header[column], place, colour=MUTED)
        for row, texts in enumerate(rows):
            margin_text(axes, row, texts[column], place)


def _interval(e: Any) -> str:
    ends = [abs(x) for x in (e.value, e.low, e.high) if np.isfinite(x)]
    digits = 2 if max(ends, default=1) >= 0.1 else 4
    value, low, high = (f"{x:+.{digits}f}".replace("-", "−") for x in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]" if np.isfinite(e.low + e.high) else f"{value} [no interval]"


def _numbers(e: Any) -> str:
    skipped = getattr(e, "skipped", 0)
    text = f"{count(e.patients)} / {count(e.slices)}"
    return f"{text} ({count(skipped)} skipped)" if skipped else text


def _p(p: float) -> str:
    if not np.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _directions(axes: Axes, directions: tuple[str, str]) -> None:
    """Say below the axis what the two sides of zero mean."""
    for text, side, shift in (
        (f"← {directions[0]}", "right", -6),
        (f"{directions[1]} →", "left", 6),
    ):
        axes.annotate(
            text,
            (0, 0),
            (shift, -20),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
            weight="bold",
            size=8.5,
        )
