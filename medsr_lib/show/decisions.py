"""Figures of decisions: ROC curves, what changes, where a network looks."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.api.types import is_integer_dtype

from medsr_lib.show.estimates import Estimated
from medsr_lib.show.panels import (
    Image,
    as_array,
    as_image,
    as_mask,
    contour,
    grey,
    grid,
)
from medsr_lib.show.style import (
    INK,
    MUTED,
    PHONE,
    beside,
    caption,
    count,
    drawn,
    margin_text,
    name_rows,
    need,
    numbers_behind,
    people,
    plural,
)

SHADES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")

CLASSIFIED = {
    "to_wrong": ("right on HR, wrong here", "#D55E00"),
    "otherwise": ("other flips", "#BBBBBB"),
    "to_right": ("wrong on HR, right here", "#0072B2"),
}
SEGMENTED = {
    "lost": ("found on HR, lost here", "#D55E00"),
    "new": ("invented here, not seen on HR", "#882255"),
    "gained": ("missed on HR, found here", "#0072B2"),
}
DIAGNOSED = {
    "missed": ("disease missed", "#D55E00"),
    "alarm": ("false alarm", "#E69F00"),
    "found": ("disease found", "#0072B2"),
    "cleared": ("false alarm gone", "#56B4E9"),
}
"""Label and colour of each kind of change."""

MAJORITY = "majority"  # the row of what most trainings say, among those of each training


@drawn
def roc_curves(
    curves: Mapping[str, pd.DataFrame],
    *,
    areas: Mapping[str, Estimated],
    points: Mapping[str, Mapping[str, Estimated]],
    title: str,
) -> Figure:
    """Draw ROC curves side by side, each with its band and the area with its interval.

    Args:
        curves: name -> columns fpr, tpr, low, high.
        areas: name -> estimate of the area under the curve.
        points: name -> sensitivity and specificity of the threshold that is used; a dot.
    """
    if not curves:
        raise ValueError("there is no curve to draw")
    size = (PHONE if len(curves) == 2 else 2.4 * len(curves) + 0.4, 2.9)
    figure, panels = plt.subplots(1, len(curves), figsize=size, squeeze=False, sharey=True)
    for axes, (name, table), tone in zip(panels.flat, curves.items(), SHADES * len(curves)):
        need(table, "fpr", "tpr", "low", "high")
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)))
        axes.fill_between(table["fpr"], table["low"], table["high"], color=tone, alpha=0.22, lw=0)
        axes.plot(table["fpr"], table["tpr"], color=tone, lw=2)
        fpr, tpr = 1 - points[name]["specificity"].value, points[name]["sensitivity"].value
        axes.plot(fpr, tpr, "o", ms=8, color=tone, mec="white", mew=1.3, clip_on=False)
        area = areas[name]
        text = f"AUC {area.value:.3f}\n[{area.low:.3f}, {area.high:.3f}]"
        axes.text(0.97, 0.06, text, ha="right", weight="bold", color=tone)
        axes.axis((-0.02, 1.02, -0.02, 1.02))
        axes.set(title=name, xlabel="false positive rate", aspect="equal")
        axes.grid()
    panels[0, 0].set_ylabel("true positive rate")
    first = next(iter(areas.values()))
    caption(
        figure,
        title,
        people(first.cases, first.patients),
        "band: 95 %, bootstrap over patients; brackets: 95 % interval of the area",
        "dashed: guessing; dot: the threshold chosen on validation patients",
    )
    return figure


@drawn
def decision_changes(
    classified: pd.DataFrame,
    segmented: pd.DataFrame,
    *,
    apart: tuple[Sequence[int], Sequence[int]] = ((), ()),
    title: str = "Which decisions change from HR to SR?",
    note: str,
) -> Figure:
    """Draw the decisions of a classifier and of a segmenter that change from HR to SR, as counts:
    a thick bar for what most of their trainings say, below it a thin one for each training.

    Accuracy and Dice with their intervals are drawn by `differences`.

    Args:
        classified: a row per method, `HR` among them, and training: the index method and seed, with
            `MAJORITY` the last of the seeds; the columns `cases`, `patients`, `accuracy`,
            `flipped`, `to_wrong` and `to_right`.
        segmented: the same rows with the columns `lesions`, `dice`, `lost`, `gained` and `new`.
        apart: in how many images each two trainings of the classifier, and of the segmenter, decide
            otherwise on HR: their range is shaded, since changes within it need no restoration.
        note: what to add below the title: by what the decisions were made.
    """
    need(classified, "cases", "patients", "accuracy", "flipped", "to_wrong", "to_right")
    need(segmented, "lesions", "dice", "lost", "gained", "new")
    single = _trainings(classified)
    methods = len(classified) // (len(single) + 1)
    figure, (left, right) = plt.subplots(2, 1, figsize=(PHONE, 3.6 + 0.84 * methods))
    changed = classified["flipped"] - classified["to_wrong"] - classified["to_right"]
    _blocks(left, classified.assign(otherwise=changed), CLASSIFIED)
    _column(left, "accuracy", _ranges(100 * classified["accuracy"], digits=0))
    left.set_title(f"Diagnosis of {plural(classified['cases'].max(), 'image')}", weight="bold")
    left.set_xlabel("images whose diagnosis changes")
    _blocks(right, segmented, SEGMENTED)
    _column(right, "mean Dice", _ranges(segmented["dice"], digits=2))
    right.set_title(f"Outline of {plural(segmented['lesions'].max(), 'lesion')}", weight="bold")
    right.set_xlabel("lesions that come or go")
    for axes, found in zip((left, right), apart):
        if found:
            label = f"two trainings on HR: {min(found)} to {max(found)}"
            tone = {"fc": "#EDEDED", "ec": MUTED, "lw": 0.8, "zorder": 0}
            axes.axvspan(min(found), max(found), label=label, **tone)
            axes.set_xlim(0, max(axes.get_xlim()[1], 1.1 * max(found)))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.9 / methods), handlelength=1.1, ncols=2)
    first = classified.iloc[0]
    caption(
        figure,
        title,
        note,
        people(first["cases"], first["patients"]),
        f"thick: what most of {plural(len(single), 'training')} say, with its counts; thin: each",
        "at the right: accuracy in % and Dice, mean and range over trainings",
        "shaded: what two trainings differ by on HR" if any(apart) else None,
    )
    return figure


def over_trainings(table: pd.DataFrame, *, columns: Sequence[str]) -> pd.DataFrame:
    """Write a table of trainings for reading: "0.95 (0.90 to 1.00)", the mean and the range.

    Args:
        table: a row per method and training: the index method and seed, with `MAJORITY` the last of
            the seeds.
        columns: to write; whole numbers are counts, others get three digits.

    Returns:
        Text; two rows a method: "mean (range)", and "most of 5" for what most trainings say.
    """
    need(table, *columns)
    single = _trainings(table)
    most = f"most of {len(single)}"
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for method in dict.fromkeys(table.index.get_level_values("method")):
        of_method = table.loc[method]
        ranges, of_most = {}, {}
        for name in columns:
            values, counted = of_method.loc[single, name], is_integer_dtype(table[name])
            digits = 0 if counted else 3
            ranges[name] = _range(values, digits=digits, mean=1 if counted else 3)
            of_most[name] = _range(of_method.loc[[MAJORITY], name], digits=digits, mean=digits)
        rows |= {(method, "mean (range)"): ranges, (method, most): of_most}
    index = pd.MultiIndex.from_tuples(list(rows), names=["method", "trainings"])
    return pd.DataFrame(list(rows.values()), index)[list(columns)]


@drawn
def diagnosis_changes(table: pd.DataFrame, *, positive: str, reference: str, title: str) -> Figure:
    """Draw how many decisions each method changes: errors to the left, corrections to the right.

    Args:
        table: a row per image and method with the columns `id`, `patient`, `label`, `method`,
            `to_wrong` and `to_right`.
        positive: the name of the disease in `label`.
        reference: the method that the others are compared with.
    """
    need(table, "id", "patient", "label", "method", "to_wrong", "to_right")
    methods = [name for name in table["method"].unique() if name != reference]
    if not methods or reference not in set(table["method"]):
        raise ValueError(f"there is nothing to compare with {reference!r}")
    ill, wrong, right = table["label"] == positive, table["to_wrong"], table["to_right"]
    kinds = {"missed": ill & wrong, "alarm": ~ill & wrong, "found": ill & right}
    changes = pd.DataFrame(kinds | {"cleared": ~ill & right}) * [-1, -1, 1, 1]
    figure, axes = plt.subplots(figsize=(PHONE, 0.9 + 0.3 * len(methods)))
    _stacks(axes, changes.groupby(table["method"]).sum().loc[methods], DIAGNOSED)
    axes.set_xlabel("← images now wrong      images now right →")
    figure.legend(loc="outside lower center", ncols=2, handlelength=1.1)
    caption(figure, title, f"compared with {reference!r}", numbers_behind(table))
    return figure


@drawn
def attention_maps(
    images: Mapping[str, Image],
    maps: Mapping[str, Image],
    mask: Image | None = None,
    *,
    captions: Mapping[str, str],
    title: str,
) -> Figure:
    """Draw one image as several methods show it, and below each where a network looks.

    The maps share one scale, so that a fainter map is one of less evidence.

    Args:
        images: name -> (H, W) in [0, 1]; the first one is what others are compared with.
        maps: name -> (H, W), not negative; the same names.
        mask: (H, W), the lesion; its outline is drawn.
        captions: name -> a short line below the map.
    """
    if not images or list(images) != list(maps):
        raise ValueError(f"images and maps must have the same names: {[*images]} and {[*maps]}")
    pictures = {name: as_image(image, name) for name, image in images.items()}
    shape = next(iter(pictures.values())).shape
    cams = {name: as_array(cam, f"map {name}", shape) for name, cam in maps.items()}
    outline = None if mask is None else as_mask(mask, shape)
    top = max(float(cam.max()) for cam in cams.values()) or 1.0
    side = min(PHONE / len(images), 2.2)
    figure, panels = grid(2, len(images), side, side + 0.22)
    for (upper, lower), name in zip(panels.T, images):
        grey(upper, pictures[name], (0.0, 1.0))
        upper.set_title(textwrap.fill(name, int(side * 12)), pad=3)
        grey(lower, 0.75 * pictures[name], (0.0, 1.0))
        share = cams[name] / top  # where it is 0, only the dimmed image shows
        lower.imshow(share, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(1.3 * share, 0, 0.85))
        contour(upper, outline)
        contour(lower, outline)
        lower.set_xlabel(captions.get(name, ""), labelpad=3)
    caption(
        figure,
        title,
        "1 image",
        "bright: evidence for the disease (Grad-CAM, one scale for all)",
        None if mask is None else "yellow line: outline of the opacity",
    )
    return figure


def _stacks(axes: Axes, table: pd.DataFrame, kinds: Mapping[str, tuple[str, str]]) -> None:
    """Draw a stacked bar per row, negative counts to the left; the counts are beyond its ends."""
    shown: Any = {"color": [tone for _, tone in kinds.values()], "ec": "white", "lw": 0.8}
    labelled = table[list(kinds)].set_axis([label for label, _ in kinds.values()], axis=1)
    labelled.plot.barh(stacked=True, ax=axes, width=0.55, legend=False, **shown)
    for row, counts in enumerate(labelled.to_numpy(int)):
        for sign in (-1, 1):
            parts = counts[sign * counts > 0]
            text = " + ".join(count(abs(n)) for n in parts[::sign])
            beside(axes, parts.sum(), row, text, 4 * sign)
        if not counts.any():
            beside(axes, 0, row, "none", color=MUTED)
    name_rows(axes, [textwrap.fill(str(name), 28) for name in table.index])
    left, right = labelled.clip(upper=0).sum(axis=1).min(), labelled.clip(lower=0).sum(axis=1).max()
    axes.set(ylabel="", xlim=(1.4 * left, max(1.4 * right, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda x, _: count(abs(x)))
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x")


def _blocks(axes: Axes, table: pd.DataFrame, kinds: Mapping[str, tuple[str, str]]) -> None:
    """Draw per method a thick stacked bar of the majority, and below it a thin one per training."""
    single = _trainings(table)
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    thin = 0.42 / len(single)
    places = {k: (0.02 + thin * (i + 0.5), 0.8 * thin) for i, k in enumerate(single)}
    for row, method in enumerate(methods):
        for seed, (below, height) in ({MAJORITY: (-0.17, 0.3)} | places).items():
            counts = table[list(kinds)].loc[(method, seed)].to_numpy(int).tolist()
            left = 0
            for (label, tone), n in zip(kinds.values(), counts):
                shown: Any = {"color": tone, "label": label if row == 0 else None}
                if seed != MAJORITY:
                    shown |= {"alpha": 0.55, "label": None}
                axes.barh(row + below, n, height, left, **shown)
                left += n
            if seed == MAJORITY:
                text = " + ".join(count(n) for n in counts if n)
                none = "reference" if method == "HR" else "none by most"
                beside(axes, left, row + below, text or none, color=INK if text else MUTED)
    name_rows(axes, [textwrap.fill(str(name), 28) for name in methods])
    axes.set_xlim(0, max(1.4 * table[list(kinds)].sum(axis=1).max(), 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x")


def _trainings(table: pd.DataFrame) -> list[str]:
    """The seeds among the rows of a table."""
    seeds = table.index.get_level_values("seed").unique()
    if MAJORITY not in seeds or len(seeds) < 2:
        raise ValueError(f"the table needs rows of trainings and {MAJORITY!r}, got {list(seeds)}")
    return [seed for seed in seeds if seed != MAJORITY]


def _ranges(values: pd.Series, *, digits: int) -> list[str]:
    """Mean and range over trainings of each method, as text."""
    single = values.drop(MAJORITY, level="seed").groupby("method", sort=False)
    return [_range(of_method, digits=digits, mean=digits) for _, of_method in single]


def _range(values: pd.Series, *, digits: int, mean: int) -> str:
    if not values.notna().any():
        return "–"
    text = f"{values.mean():.{mean}f}"
    ends = f"{values.min():.{digits}f} to {values.max():.{digits}f}"
    return text if len(values) == 1 else f"{text} ({ends})"


def _column(axes: Axes, name: str, texts: Sequence[str]) -> None:
    """Write a column of texts at the right of the bars."""
    margin_text(axes, -0.75, name, color=MUTED)
    for row, text in enumerate(texts):
        margin_text(axes, row, text)
