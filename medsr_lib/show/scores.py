"""Figures of scores: distributions, gains by size, planes, levels, agreement, speed.

A score table is tidy: a row per case, method and region, with the columns `id`, `patient`, `label`,
`method`, `region`, `pixels` and the metrics (`psnr`, `ssim`, `mse`, ...). Where it has `scale` and
`degradation`, the notes under the titles name them.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from medsr_lib.show.style import (
    INK,
    LABEL_COLOURS,
    MUTED,
    caption,
    choose,
    colours,
    count,
    drawn,
    label_of,
    log_axis,
    name_rows,
    need,
    numbers_behind,
    people,
    plural,
    signed,
    written,
)

COLUMNS = ("id", "patient", "label", "method", "region", "pixels")
IN_A_ROW = 3
FEWEST = 3
"""Patients; with fewer there are no limits of agreement."""

Agreement = Callable[[NDArray[Any], NDArray[Any]], Any]


@drawn
def distributions(
    table: pd.DataFrame,
    *,
    metric: str,
    regions: Sequence[str],
    methods: Sequence[str],
    title: str,
) -> Figure:
    """Draw a metric by region and method: a dot per patient, quartiles as a box, the median.

    Args:
        table: score table of one scale and one degradation.
        metric: a column, such as `psnr` or `ssim`.
        regions: the panels, from above.
        methods: the rows of a panel, from above.
    """
    chosen = _select(table, metric, regions, methods)
    means = chosen.groupby(["region", "method", "patient"])[metric].mean().dropna().reset_index()
    tones = colours(methods)
    size = (7.2, 0.6 + len(regions) * (0.3 + 0.24 * len(methods)))
    figure, panels = plt.subplots(len(regions), 1, figsize=size, sharex=True, squeeze=False)
    for axes, region in zip(panels.flat, regions):
        rows = means[means["region"] == region]
        medians = rows.groupby("method")[metric].median()
        labels = [
            f"{name}   {written(metric, medians[name]) if name in medians else 'no value'}"
            for name in methods
        ]
        same: Any = {"data": rows, "x": metric, "y": "method", "order": methods, "ax": axes}
        same |= {"hue": "method", "palette": tones}
        seaborn.boxplot(
            **same,
            whis=0,
            showfliers=False,
            showcaps=False,
            saturation=1,
            linewidth=0,
            width=0.75,
            boxprops={"alpha": 0.35},
            medianprops={"color": INK, "linewidth": 1.8},
        )
        dots = 2.5 if rows["patient"].nunique() > 60 else 4
        seaborn.stripplot(**same, size=dots, alpha=0.7, jitter=0.22)
        name_rows(axes, labels)
        axes.set_title(region, weight="bold")
        axes.set_ylabel("")
        axes.grid(axis="x")
    panels[-1, 0].set_xlabel(f"{label_of(metric)[0]}, mean of a patient's images")
    caption(
        figure,
        title,
        _behind(chosen),
        _missing(chosen, metric),
        "dots: patients; box: quartiles; line and number: median",
    )
    return figure


@drawn
def gain_by_size(table: pd.DataFrame, *, metric: str, method: str, baseline: str) -> Figure:
    """Draw the gain of a method over the baseline in each lesion, against the lesion's area.

    Args:
        table: score table of one scale and one degradation, with the region `tumour`.
        metric: a column, such as `psnr` or `ssim`; of `mse` the gain is the decrease.
        method: method whose gain is drawn.
        baseline: method it is compared with.
    """
    chosen = _select(table, metric, ["tumour"], [method, baseline])
    values = chosen.pivot(index="id", columns="method", values=metric)
    gain = values[method] - values[baseline]
    about = chosen.drop_duplicates("id").set_index("id")[["patient", "label", "pixels"]]
    gains = about.assign(gain=gain if label_of(metric)[1] else -gain)
    kept = gains[gains["gain"].notna() & (gains["pixels"] > 0)]
    if kept.empty:
        raise ValueError(f"no case has a lesion and a value of {metric} in it")
    figure, axes = plt.subplots(figsize=(7.2, 3.4))
    axes.axhline(0, color=INK, linewidth=1)
    dots = 11 if len(kept) > 150 else 22
    for name, tone in colours(sorted(kept["label"].unique()), LABEL_COLOURS).items():
        points = kept[kept["label"] == name]
        axes.scatter(points["pixels"], points["gain"], dots, tone, alpha=0.5, lw=0, label=name)
    groups = min(6, len(kept) // 10)
    if groups >= 2:
        parts = kept.groupby(pd.qcut(kept["pixels"].rank(method="first"), groups))
        low, middle, high = (parts["gain"].quantile(q) for q in (0.25, 0.5, 0.75))
        label = f"medians and\nquartiles of about\n{len(kept) // groups} images each"
        style: Any = {"color": "black", "marker": "o", "ms": 5, "lw": 1.6, "label": label}
        axes.errorbar(parts["pixels"].median(), middle, [middle - low, high - middle], **style)
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    axes.grid(axis="y")
    axes.set(xlabel="area of the lesion, pixels", ylabel=f"gain in {label_of(metric)[0]}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=1.2, markerscale=1.4)
    skipped = len(gains) - len(kept)
    caption(
        figure,
        f"Gain of {method} over {baseline} in the tumour, by its size",
        _behind(chosen[chosen["id"].isin(kept.index)]),
        f"better in {100 * (kept['gain'] > 0).mean():.0f} % of them",
        f"excluded (no value): {plural(skipped, 'image') if skipped else 'none'}",
    )
    return figure


@drawn
def perception_plane(
    table: pd.DataFrame, *, regions: Sequence[str], methods: Sequence[str], title: str
) -> Figure:
    """Draw how far methods are from the first one in PSNR and perceptual distance, by region.

    No method can be best in both beyond some bound: Blau and Michaeli, The Perception-Distortion
    Tradeoff, CVPR 2018, doi 10.1109/CVPR.2018.00652. Differences are within patients.

    Args:
        table: score table of one scale and one degradation with `psnr` and `perceptual`.
        regions: the panels, from the left.
        methods: the points; the first is what the others are compared with.
    """
    metrics = ["psnr", "perceptual"]
    chosen = table
    for metric in metrics:
        chosen = _select(chosen, metric, regions, methods)
    kept = chosen.dropna(subset=metrics)
    if kept.empty:
        raise ValueError("no case has a value of both psnr and perceptual")
    size = (max(5.2, min(7.2, 3.6 * len(regions))), 3.6)
    figure, panels = plt.subplots(1, len(regions), figsize=size, squeeze=False)
    style: Any = {"ms": 7, "mec": "white", "elinewidth": 1.6}
    for axes, region in zip(panels.flat, regions):
        rows = kept[kept["region"] == region]
        pairs = []
        for metric in metrics:
            wide = rows.pivot_table(index="patient", columns="method", values=metric)
            wide = wide.reindex(columns=list(methods))
            pairs.append(wide.sub(wide[methods[0]], axis=0))
        (x, dx), (y, dy) = ((of.mean(), 1.96 * of.sem().fillna(0)) for of in pairs)
        for name, tone in colours(methods).items():
            axes.errorbar(
                x[name], y[name], dy[name], dx[name], "o", label=name, color=tone, **style
            )
        axes.set_title(f"{region}, n = {plural(rows['patient'].nunique(), 'patient')}")
        axes.set_xlabel(f"PSNR, dB, less that of {methods[0]}   better →")
        axes.text(0.98, 0.96, "best ↘", color=MUTED, ha="right", transform=axes.transAxes)
        axes.margins(0.15)
        axes.grid()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
    panels[0, 0].set_ylabel(f"← better   perceptual distance,\nless that of {methods[0]}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    both = chosen.assign(both=chosen["psnr"].where(chosen["perceptual"].notna()))
    caption(
        figure,
        title,
        _behind(kept),
        _missing(both, "both"),
        "point: mean over patients of the difference in the same slices",
        "lines: its 95 % interval, ±\u00a01.96\u00a0sd\u00a0/\u00a0√n over patients",
    )
    return figure


@drawn
def contrast_detail(table: pd.DataFrame, *, differences: pd.DataFrame, title: str) -> Figure:
    """Draw how well inserted lesions are detected, by their diameter, a panel per contrast; below,
    what the methods change, paired on the same backgrounds: intervals above do not tell that.

    Args:
        table: a row per method, diameter and contrast: the columns `method`, `diameter` (pixels),
            `contrast` (intensity), `d` (detectability d'), `low` and `high` (its 95 % interval),
            `backgrounds` and `patients`.
        differences: a row per other method than the baseline, diameter and contrast: `method`,
            `baseline` (one), `diameter`, `contrast`, `value` (d' less that of the baseline), `low`
            and `high`. HR, which is far above, is not drawn.
    """
    lesion = ("method", "diameter", "contrast", "low", "high")
    need(table, *lesion, "d", "backgrounds", "patients")
    need(differences, *lesion, "baseline", "value")
    contrasts = sorted(table["contrast"].unique())
    size = (min(8.6, 1.6 + 3.4 * len(contrasts)), 5.2)
    figure, panels = plt.subplots(
        2, len(contrasts), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    apart = 0.012 * np.ptp(table["diameter"]) or 0.05
    tones = colours(table["method"].unique())
    for (above, below), contrast in zip(panels.T, contrasts):
        parts = (table, differences[differences["method"] != "HR"])
        for axes, part, value in zip((above, below), parts, ("d", "value")):
            rows = part[part["contrast"] == contrast]
            _lines(axes, rows, "diameter", value, lambda x, k: x + apart * k, tones)
        above.set_title(f"contrast {contrast:g} of the intensity range")
        below.axhline(0, color=MUTED, lw=0.8)
        below.set_xlabel("diameter, pixels")
    (baseline,) = differences["baseline"].unique()
    panels[0, 0].set_ylabel("detectability d'   better →")
    panels[1, 0].set_ylabel(f"d' less that of {baseline}")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center")
    places, patients = table[["backgrounds", "patients"]].iloc[0]
    behind = f"{plural(places, 'place')} in normal tissue of {plural(patients, 'patient')}"
    below = f"below: less {baseline} at the same places, without HR"
    caption(figure, title, behind, "bars: 95 % interval", below)
    return figure


@drawn
def quality_by_level(table: pd.DataFrame, *, metrics: Sequence[str], title: str) -> Figure:
    """Draw metrics against the level of the noise: a row per metric, a column per kind of noise.

    Args:
        table: means by noise, level and method: the columns `noise`, `level`, `method`, `metric`,
            `value`, `low` and `high` (its 95 % interval), `patients` and `cases`.
        metrics: the rows, from above.
    """
    need(table, "noise", "level", "method", "metric", "value", "low", "high", "patients", "cases")
    choose("metric", metrics, table["metric"].unique())
    kinds = list(table["noise"].unique())
    size = (min(8.4, 2.2 + 2.1 * len(kinds)), 0.5 + 1.55 * len(metrics))
    figure, panels = plt.subplots(
        len(metrics), len(kinds), figsize=size, squeeze=False, sharey="row"
    )
    for row, metric in zip(panels, metrics):
        for axes, kind in zip(row, kinds):
            rows = table[table["metric"].eq(metric) & table["noise"].eq(kind)]
            axes.set_xscale("log")
            _lines(axes, rows, "level", "value", lambda x, k: x * 1.022**k)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))
        row[0].set_ylabel(f"{label_of(metric)[0]}\nbetter →")
    for top, bottom, kind in zip(panels[0], panels[-1], kinds):
        top.set_title(kind)
        bottom.set_xlabel("noise level")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    caption(
        figure,
        title,
        people(table["cases"].max(), table["patients"].max()),
        "level: sd of the noise at grey 1/2",
        "bars: 95 % interval over patients",
    )
    return figure


@drawn
def bland_altman(
    table: pd.DataFrame,
    *,
    measure: str,
    methods: Sequence[str],
    limits: Agreement,
    coefficients: Mapping[str, Agreement],
    unit: str,
    title: str,
) -> Figure:
    """Draw the difference of a measure in SR and HR against their mean: a panel per method.

    After Bland and Altman 1999 (10.1191/096228099673819272). A point is a patient: the mean over
    its images, since images of one patient resemble each other.

    Args:
        table: a row per case, method and region with the columns `id`, `patient`, `method`,
            `region` and the measure in both images, named `<measure>_sr` and `<measure>_hr`; drawn
            is the region `tumour`.
        measure: such as `mean` or `sharpness`.
        methods: the panels.
        limits: (sr, hr) -> the estimates `bias`, `lower` and `upper`.
        coefficients: by name, such as `CCC`, (sr, hr) -> estimate; written above each panel.
        unit: of the measure.
    """
    pair = [f"{measure}_sr", f"{measure}_hr"]
    need(table, "id", "patient", "method", "region", *pair)
    choose("region", ["tumour"], table["region"].unique())
    choose("method", methods, table["method"].unique())
    chosen = table[table["region"].eq("tumour") & table["method"].isin(methods)]
    kept = chosen.replace([np.inf, -np.inf], np.nan).dropna(subset=pair)
    if kept.empty:
        raise ValueError(f"no case has {pair[0]} and {pair[1]} in the region tumour")
    rows = -(-len(methods) // IN_A_ROW)
    columns = -(-len(methods) // rows)
    size = (max(4.6, 0.9 + 2.6 * columns), rows * (2.8 + 0.16 * len(coefficients)))
    figure, panels = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    means = kept.groupby(["method", "patient"])[pair].mean()
    for axes, (method, tone) in zip(panels.flat, colours(methods).items()):
        of = means[means.index.get_level_values("method") == method]
        sr, hr = of.to_numpy().T
        lines = [f"n = {plural(len(of), 'patient')}"]
        if len(of) < FEWEST:
            lines.append(f"too few for limits (at least {FEWEST})")
        else:
            of_all = limits(sr, hr)
            found = (of_all.bias, of_all.lower, of_all.upper)
            for e, line, strength in zip(found, ("-", "--", "--"), (0.22, 0.12, 0.12)):
                axes.axhspan(e.low, e.high, color=tone, alpha=strength, lw=0)
                axes.axhline(e.value, color=tone, linestyle=line, linewidth=1.8)
            spread = found[2].value - found[1].value
            digits = max(0, 1 - int(np.floor(np.log10(spread or 0.1))))
            bias, low, high = (signed(e.value, digits) for e in found)
            lines.append(f"bias {bias}, limits {low} to {high}")
            for name, coefficient in coefficients.items():
                e = coefficient(sr, hr)
                lines.append(f"{name} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]".replace("-", "−"))
        axes.scatter(
            (sr + hr) / 2, sr - hr, 9 if len(of) > 60 else 20, tone, alpha=0.75, lw=0.4, ec=INK
        )
        axes.axhline(0, color=INK, linewidth=1, zorder=0)
        axes.margins(0.08)
        axes.set_title("\n".join(lines), size=8.5)
        name = axes.text(0.03, 0.97, textwrap.fill(method, 24), transform=axes.transAxes, va="top")
        name.set(weight="bold", bbox={"fc": "white", "ec": "none", "pad": 1.5})
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    for axes in panels.flat[len(methods) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("SR − HR")
    figure.supxlabel(f"average of SR and HR, {unit}", size=9)
    missing = len(chosen) - len(kept)
    caption(
        figure,
        title,
        numbers_behind(kept),
        "point: a patient, mean over its images",
        "line: mean difference (bias); dashed: limits between which 95 % of the differences lie",
        "black: no difference; bands: their 95 % intervals",
        f"excluded (no value): {count(missing)} of {count(len(chosen))} measurements",
    )
    return figure


def _select(
    table: pd.DataFrame, metric: str, regions: Sequence[str], methods: Sequence[str]
) -> pd.DataFrame:
    """Take the wanted rows, infinite values as missing."""
    need(table, *COLUMNS)
    others = (*COLUMNS, "fold", "scale")
    metrics = [str(name) for name in table.select_dtypes("number") if name not in others]
    choose("metric", [metric], metrics)
    choose("region", regions, table["region"].unique())
    choose("method", methods, table["method"].unique())
    chosen = table[table["region"].isin(regions) & table["method"].isin(methods)]
    if chosen.duplicated(["id", "method", "region"]).any():
        raise ValueError(
            "the table has several rows of one case, method and region; select one scale, "
            "degradation and training first"
        )
    return chosen.assign(**{metric: chosen[metric].where(np.isfinite(chosen[metric]))})


def _behind(chosen: pd.DataFrame) -> str:
    """Write the numbers behind a chart, and the degradation and scale where the table has them."""
    made = [str(name) for name in chosen.get("degradation", pd.Series(dtype=str)).unique()]
    made += [f"×{scale}" for scale in chosen.get("scale", pd.Series(dtype=int)).unique()]
    return numbers_behind(chosen) + (f"; LR by {' '.join(made)}" if made else "")


def _missing(chosen: pd.DataFrame, metric: str) -> str:
    """Count the images without a value, region by region."""
    missing = chosen[chosen[metric].isna()].groupby("region")["id"].nunique()
    texts = [f"{name} in {plural(n, 'image')}" for name, n in missing.items()]
    return f"no value: {', '.join(texts)}" if texts else "no value missing"


def _lines(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    shift: Callable[[pd.Series, float], pd.Series],
    tones: Mapping[str, str] | None = None,
) -> None:
    """Draw a line with intervals per method; methods are a little apart, so that bars are seen."""
    methods = list(table["method"].unique())
    tones = tones or colours(methods)
    for k, name in enumerate(methods):
        rows = table[table["method"] == name].sort_values(x)
        ends = [rows[y] - rows["low"], rows["high"] - rows[y]]
        places = shift(rows[x], k - (len(methods) - 1) / 2)
        style: Any = {
            "color": tones[name],
            "marker": "o",
            "ms": 3.5,
            "elinewidth": 1,
            "label": name,
        }
        axes.errorbar(places, rows[y], ends, **style)
    axes.set_xticks(sorted(table[x].unique()))
    axes.grid(axis="y")
