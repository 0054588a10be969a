"""Figures of scores: distributions, patients joined by lines, planes, levels, speed.

A score table is tidy: a row per case, method and region, with the columns `id`, `patient`, `label`,
`method`, `region`, `pixels` and the metrics (`psnr`, `ssim`, `mse`, ...). Where it has `scale` and
`degradation`, the notes under the titles name them.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from medsr_lib.show.estimates import digits_of, forest, interval
from medsr_lib.show.style import (
    INK,
    MUTED,
    PHONE,
    caption,
    choose,
    colours,
    drawn,
    label_of,
    name_rows,
    need,
    numbers_behind,
    people,
    plural,
)

COLUMNS = ("id", "patient", "label", "method", "region", "pixels")


@drawn
def by_patient(
    table: pd.DataFrame,
    *,
    metric: str,
    methods: Sequence[str],
    differences: Mapping[str, Any],
    unit: str,
    title: str,
    region: str = "tumour",
) -> Figure:
    """Draw a measure by method, each patient's means joined by a line, with paired differences.

    Args:
        table: a row per case, method and region: `id`, `patient`, `method`, `region`, the measure.
        metric: a column.
        methods: from the left; the first is what the others are compared with.
        differences: from the first, by method: estimates, whose numbers are below the names.
        unit: what is measured, with its unit.
        region: whose rows are drawn.
    """
    need(table, "id", "patient", "method", "region", metric)
    choose("region", [region], table["region"].unique())
    choose("method", methods, table["method"].unique())
    kept = table[table["region"].eq(region) & table["method"].isin(methods)]
    kept = kept.assign(**{metric: kept[metric].where(np.isfinite(kept[metric]))})
    means = kept.groupby(["patient", "method"])[metric].mean().unstack()[list(methods)].dropna()
    if means.empty:
        raise ValueError(f"no patient has {metric} of all methods in the region {region}")
    digits = digits_of(differences.values())
    names = [textwrap.fill(name, 16) for name in methods]
    labels = [
        f"{text}\n{interval(differences[name], digits)}" if name in differences else text
        for text, name in zip(names, methods)
    ]
    figure, axes = plt.subplots(figsize=(PHONE, 3.6))
    places, every = range(len(methods)), means.to_numpy()
    axes.plot(places, every.T, ".-", color=MUTED, lw=0.7, ms=4, alpha=0.6)
    axes.plot(places, every.mean(0), "o-", color=INK, lw=2.6, ms=7, mec="white")
    axes.set_xticks(places, [text.replace(" [", "\n[").replace(", ", ",\n") for text in labels])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(unit)
    axes.grid(axis="y")
    caption(
        figure,
        title,
        f"thin: {plural(len(means), 'patient')}, the mean of each; thick: mean of the patients",
        f"below: mean difference from {methods[0]} in the same images, with its 95 % interval",
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
    figure, panels = plt.subplots(1, len(regions), figsize=(PHONE, 3.6), squeeze=False)
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
        axes.set_xlabel(f"PSNR minus that\nof {methods[0]}, dB   better →")
        axes.text(0.98, 0.96, "best ↘", color=MUTED, ha="right", transform=axes.transAxes)
        axes.margins(0.15)
        axes.grid()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
    panels[0, 0].set_ylabel(f"← better   perceptual distance,\nminus that of {methods[0]}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
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
    """Draw what methods change in the detectability of inserted lesions, a panel for each lesion.

    Differences are paired on the same backgrounds. What HR and the baseline show is written above.

    Args:
        table: a row per method, diameter and contrast: the columns `method`, `diameter` (pixels),
            `contrast` (intensity), `d` (detectability d'), `backgrounds` and `patients`.
        differences: a row per other method than the baseline, diameter and contrast: `method`,
            `baseline` (one), `diameter`, `contrast`, `value` (d' minus that of the baseline), `low`
            and `high` (95 %). HR, which is far above, is not drawn.
    """
    need(table, "method", "diameter", "contrast", "d", "backgrounds", "patients")
    need(differences, "method", "diameter", "contrast", "low", "high", "baseline", "value")
    (baseline,) = differences["baseline"].unique()
    shown: pd.DataFrame = differences[differences["method"] != "HR"]
    level: Any = table.set_index(["contrast", "diameter", "method"])["d"]
    contrasts, diameters = (sorted(set(shown[name])) for name in ("contrast", "diameter"))
    height = 0.6 + (0.7 + 0.24 * len(set(shown["method"]))) * len(diameters)
    size = (PHONE, height)
    figure, panels = plt.subplots(
        len(diameters), len(contrasts), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    ends = shown[["value", "low", "high"]].to_numpy(float)
    for axes, (diameter, contrast) in zip(panels.flat, product(diameters, contrasts)):
        rows = shown[shown["contrast"].eq(contrast) & shown["diameter"].eq(diameter)]
        name_rows(axes, list(rows["method"]))
        forest(axes, {str(row.method): row for row in rows.itertuples()}, width=2)
        d = {name: level[contrast, diameter, name] for name in ("HR", baseline)}
        said = ", ".join(f"{name} {value:.2f}" for name, value in d.items())
        axes.set_title(f"{diameter:g} pixels, contrast {contrast:g}\nd': {said}")
        axes.set_xlim(min(np.nanmin(ends), 0) * 1.1, max(np.nanmax(ends), 0) * 1.1)
    text = f"← harder to detect   |   easier →\nd' minus that of {baseline}"
    figure.supxlabel(text, size=8.5)
    places, patients = table[["backgrounds", "patients"]].iloc[0]
    behind = f"{plural(places, 'place')} in normal tissue of {plural(patients, 'patient')}"
    caption(figure, title, behind, "point and line: difference at the same places, 95 % interval")
    return figure


@drawn
def quality_by_level(table: pd.DataFrame, *, metrics: Sequence[str], title: str) -> Figure:
    """Draw metrics against the level of the noise: a row per metric, a column per kind of noise.

    Args:
        table: means by noise, level and method: the columns `noise`, `level`, `method`, `metric`,
            `value`, `low` and `high` (its 95 % interval), `patients` and `cases`; `seeds` where
            some methods were trained several times.
        metrics: the rows, from above.
    """
    need(table, "noise", "level", "method", "metric", "value", "low", "high", "patients", "cases")
    choose("metric", metrics, table["metric"].unique())
    kinds = list(table["noise"].unique())
    tones = colours(table["method"].unique())
    size = (PHONE, 1.1 + 1.6 * len(metrics))
    figure, panels = plt.subplots(
        len(metrics), len(kinds), figsize=size, squeeze=False, sharey="row"
    )
    for row, metric in zip(panels, metrics):
        for axes, kind in zip(row, kinds):
            rows = table[table["metric"].eq(metric) & table["noise"].eq(kind)]
            axes.set_xscale("log")
            for k, (name, tone) in enumerate(tones.items()):
                of = rows[rows["method"] == name].sort_values("level")
                ends = [of["value"] - of["low"], of["high"] - of["value"]]
                apart = of["level"] * 1.022 ** (k - (len(tones) - 1) / 2)  # so that bars are seen
                style: Any = {"color": tone, "label": name, "ms": 3.5, "elinewidth": 1}
                axes.errorbar(apart, of["value"], ends, marker="o", **style)
            axes.set_xticks(sorted(rows["level"].unique()))
            axes.grid(axis="y")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))
        row[0].set_ylabel(f"{label_of(metric)[0]}\nbetter →")
    for top, bottom, kind in zip(panels[0], panels[-1], kinds):
        top.set_title(kind)
        bottom.set_xlabel("noise level")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    several = "seeds" in table
    caption(
        figure,
        title,
        people(table["cases"].max(), table["patients"].max()),
        "level: sd of the noise at grey 1/2",
        "bars: 95 % interval over patients" + ", of networks also over trainings" * several,
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
