"""Pictures of cases: regions, methods side by side, maps of error, of loss and of invention.

Images are tensors or arrays (H, W), (1, H, W) or (1, 1, H, W) in [0, 1]. All grey panels of a
figure share one fixed window and none is scaled to its own range, so that a difference in
brightness is one between the images.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from medsr_lib.case import Case
from medsr_lib.show.panels import (
    MARGIN,
    OUTLINE,
    WINDOW,
    Box,
    Image,
    Window,
    as_array,
    as_image,
    as_mask,
    colour_bar,
    coloured,
    contour,
    enlarge,
    frame,
    grey,
    grid,
    hr_and_lesion,
    middle,
    part,
    round_limit,
    same_field,
    same_size,
    square_around,
    tint,
)
from medsr_lib.show.style import (
    CONTOUR,
    INK,
    MUTED,
    REGION_COLOURS,
    caption,
    choose,
    count,
    drawn,
    plural,
)

Key: TypeAlias = tuple[str, float, float, str]
"""Of a map: matplotlib's name of its colours, values of the first and the last, what it means."""

AT_THE_BORDER = ("peritumoural", "rim", "core")
ELSEWHERE = ("head", "brain", "normal", "matched", "mirror")

KINDS = {
    2: ("invention: detail\nthat is not in HR", "#D55E00", 0.6),
    1: ("loss: detail of\nHR is missing", "#0072B2", 0.55),
    0: ("agrees with HR", "#FFFFFF", 0.0),
    -1: ("not measured", "#9A9A9A", 0.75),
}
"""Label, colour and strength of the tint of each kind of patch, by its number in the map."""


@drawn
def region_map(case: Case, regions: Mapping[str, Image]) -> Figure:
    """Draw the regions of a case: lesion, zones at its border, and what they are compared with.

    Args:
        case: image with its mask.
        regions: masks (H, W) by name; `tumour` is needed, `whole`, `air` and others without a
            colour in `REGION_COLOURS` are left out.
    """
    choose("region", ["tumour"], regions)
    image = case.image.cpu().numpy()
    masks = {
        name: as_mask(mask, image.shape, name)
        for name, mask in regions.items()
        if name in REGION_COLOURS
    }
    zones = [masks[name] for name in ("tumour", *AT_THE_BORDER) if name in masks]
    box = square_around(np.any(zones, axis=0), margin=8)
    figure, panels = plt.subplots(1, 3, figsize=(8.8, 3.6))
    shown = (
        ("The image", ("tumour",), None),
        ("At the lesion's border, enlarged", AT_THE_BORDER, box),
        ("Elsewhere", ELSEWHERE, None),
    )
    for axes, (title, names, enlarged) in zip(panels, shown):
        grey(axes, image, WINDOW, box=enlarged)
        handles = [_region(axes, name, masks[name]) for name in names if name in masks]
        contour(axes, masks["tumour"])
        axes.set_title(title)
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0.3)
    title = "The regions in which image quality is measured"
    caption(figure, title, "1 image, sizes in pixels", OUTLINE)
    return figure


@drawn
def region_montage(
    cases: Sequence[Case], regions: Sequence[Mapping[str, Image]], *, columns: int = 6
) -> Figure:
    """Draw many cases small: the tumour, where its matched place lies, and the brain.

    Args:
        cases: images, whose ids are the titles.
        regions: masks (H, W) by name of each case: `tumour`, and `matched`, `brain` and `mirror`
            where there are any. An empty one is named in the title.
    """
    if not cases or len(cases) != len(regions):
        raise ValueError(f"regions of every case are needed; got {len(cases)} and {len(regions)}")
    rows, side = -(-len(cases) // columns), 8.8 / columns
    figure, panels = grid(rows, columns, side, side + 0.22)
    drawn_ones = [name for name in ("brain", "matched", "mirror") if name in regions[0]]
    for axes, case, masks in zip(panels.flat, cases, regions):
        choose("region", ["tumour", *drawn_ones], masks)
        image = case.image.cpu().numpy()
        grey(axes, image, WINDOW)
        shown = {name: as_mask(masks[name], image.shape, name) for name in drawn_ones}
        for name, mask in shown.items():
            colour, outline = REGION_COLOURS[name], name == "brain"
            if mask.any():
                tint(axes, mask, colour, 0 if outline else 0.35)
                axes.contour(mask, levels=[0.5], colors=colour, linewidths=0.6 if outline else 1)
        contour(axes, as_mask(masks["tumour"], image.shape, "tumour"), width=0.7)
        missing = [name for name, mask in shown.items() if not mask.any()]
        missing = ["brain"] if "brain" in missing else missing  # without it there is nothing else
        text = f"{case.id}: no {', '.join(missing)}" if missing else case.id
        axes.set_title(text, size=7.5, pad=2, loc="center")
    handles: list[Line2D | Patch] = [Line2D([], [], color=CONTOUR, label="tumour")]
    for name in drawn_ones:
        colour = REGION_COLOURS[name]
        if name == "brain":
            handles.append(Line2D([], [], color=colour, label=name))
        else:
            handles.append(Patch(fc=to_rgba(colour, 0.35), ec=colour, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    without = [
        f"no {name} in {sum(not as_array(m[name], name).any() for m in regions)}"
        for name in drawn_ones
    ]
    title = "The tumour, and what it is compared with"
    caption(figure, title, plural(len(cases), "image"), *without, _window(WINDOW))
    return figure


@drawn
def comparison(
    case: Case,
    images: Mapping[str, Image],
    *,
    maps: Mapping[str, Image],
    scores: Mapping[str, str],
    title: str,
) -> Figure:
    """Draw HR and other images side by side: whole, lesion enlarged, SSIM map enlarged.

    Args:
        case: HR with its mask; without one the middle is enlarged in place of the lesion.
        images: by name, in the order of the columns. A smaller one, such as LR, covers the same
            field of view and is enlarged with its own pixels.
        maps: SSIM maps (H, W) by name of the image.
        scores: a short text by name of the image (`HR` may have one), written under its column.
    """
    hr = case.image.cpu().numpy()
    lesion = None if case.mask is None else case.mask.cpu().numpy()
    checked = {name: as_image(image, name) for name, image in images.items()}
    pictures = {"HR": hr} | {n: same_field(image, hr.shape, n) for n, image in checked.items()}
    choose("image in maps", maps, pictures)
    figure = _side_by_side(
        pictures,
        ("whole image", "middle, enlarged" if lesion is None else "lesion, enlarged", "SSIM there"),
        box=middle(hr.shape) if lesion is None else square_around(lesion, MARGIN),
        lesion=lesion,
        maps={name: as_array(of, f"maps[{name!r}]", hr.shape) for name, of in maps.items()},
        key=("magma_r", 0, 1, "SSIM, 1 = identical"),
        scores=scores,
    )
    outline = None if lesion is None else OUTLINE
    caption(figure, title, "1 image", outline, _window(WINDOW))
    return figure


@drawn
def restorations(
    hr: Image,
    images: Mapping[str, Image],
    *,
    box: Box,
    scores: Mapping[str, str] | None = None,
    title: str,
    note: str | None = None,
) -> Figure:
    """Draw images side by side: whole, a part enlarged, and there the difference from the original.

    Args:
        hr: (H, W) in [0, 1], the original that all are compared with.
        images: by name, in the order of the columns. A smaller one covers the same field of view,
            is enlarged with its own pixels, and has no difference. Noise may leave [0, 1].
        box: left, top, right and bottom of the part, in pixels of `hr`.
        scores: a short text by name of the image, written under its column.
    """
    if not images:
        raise ValueError("there are no images to compare")
    original = as_image(hr, "original")
    seen = {name: same_field(image, original.shape, name) for name, image in images.items()}
    errors = {n: image - original for n, image in seen.items() if image.shape == original.shape}
    limit = round_limit([part(error, box) for error in errors.values()] or [np.zeros(1)])
    window = (0.0, 1.0)
    figure = _side_by_side(
        {"original": original, **seen},
        ("whole image", "enlarged", "difference"),
        box=box,
        maps=errors,
        key=("RdBu_r", -limit, limit, "image − original"),
        scores=scores,
        window=window,
    )
    caption(figure, title, note, "1 image", _window(window))
    return figure


@drawn
def beside_hr(
    hr: Image,
    images: Mapping[str, Image],
    *,
    box: Box | None = None,
    lesion: Image | None = None,
    errors: bool = True,
    scores: Mapping[str, str] | None = None,
    title: str,
    note: str | None = None,
) -> Figure:
    """Draw HR and other images in rows of four, and below each its difference from HR.

    Grey goes from what 1 % of the pixels of HR lie below to what 99 % lie below, in the part shown.
    The colours end at the error that 99.5 % of the pixels of the middle one of the images do not
    exceed, rounded up: an untrained network does not make all others pale.

    Args:
        hr: (H, W) in [0, 1].
        images: by name, in the order of the panels. A smaller one covers the same field of view, is
            drawn with its own pixels, and has no difference.
        box: left, top, right and bottom of the part that is shown, in pixels of `hr`; None for the
            lesion, or for all where there is none.
        lesion: mask (H, W), whose outline is drawn; it may be empty.
        errors: False draws the images alone.
        scores: a short text by name of the image, written below it.
    """
    original, scores = as_image(hr, "hr"), scores or {}
    seen = {name: same_field(image, original.shape, name) for name, image in images.items()}
    choose("image in scores", scores, ["HR", *seen])
    mask = None if lesion is None else as_mask(lesion, original.shape)
    if box is None and mask is not None and mask.any():
        box = square_around(mask, MARGIN)
    box = box or (0, 0, original.shape[1], original.shape[0])
    full = [name for name, image in seen.items() if errors and image.shape == original.shape]
    maps = {name: seen[name] - original for name in full}
    limit = float(np.median([round_limit([part(of, box)]) for of in maps.values()] or [1]))
    pictures = {"HR": original, **seen}
    columns, step = min(4, len(pictures)), 1 + bool(maps)
    figure, panels = grid(-(-len(pictures) // columns) * step, columns, 1.75, 1.9)
    low, high = np.quantile(part(original, box), [0.01, 0.99])
    window = (float(low), float(max(high, low + 0.01)))
    for n, (name, picture) in enumerate(pictures.items()):
        above = panels[n // columns * step, n % columns]
        below = panels[n // columns * step + step - 1, n % columns]
        grey(above, picture, window, box=box, field=original.shape)
        above.set_title(textwrap.fill(name, 22), loc="center", weight="bold")
        if name in maps:
            drawing = coloured(below, maps[name], "RdBu_r", -limit, limit)
            enlarge(below, box)
        contour(above, mask, width=0.6)
        below.set_xlabel(scores.get(name, ""), size=9, color=INK)
    if maps:
        text = "restored − original\nred: too bright\nblue: too dark"
        colour_bar(panels[1, 0], drawing, text)
    caption(figure, title, note, None if mask is None else OUTLINE)
    return figure


@drawn
def invention_maps(
    case: Case,
    restored: Mapping[str, Image],
    *,
    unlike_both: Mapping[str, Image],
    kinds: Mapping[str, Image],
    null: Mapping[str, Image] | None = None,
    note: str,
) -> Figure:
    """Draw where methods err and whether they lost or invented there: a row per method.

    The lesion enlarged: SR, its error, if given the part of the error that the measurement could
    not see (Bhadra et al. 2021, 10.1109/TMI.2021.3077857), and the share by which SR is unlike HR
    and unlike LR (Aybar et al. 2024, 10.1109/LGRS.2024.3401394), which need not be invented. The
    whole image, since patches are large: their kinds by Fourier ring correlation (Kc et al., arXiv
    2603.04673). The lesion's outline is on every panel;
    scales are the same in all rows, their keys are in the row of HR.

    Args:
        case: HR with its mask.
        restored: (H, W) by method, in the order of the rows.
        unlike_both: shares (H, W) in [0, 1] by method; NaN where there is nothing to judge.
        kinds: (H, W) by method: 2 invention, 1 loss, 0 agrees, -1 not measured.
        null: parts of the errors (H, W) by method that the measurement cannot see; only of a
            degradation that is an orthogonal projection, such as `kspace`.
    """
    if not restored:
        raise ValueError("restored is empty: there is no method to draw")
    hr, lesion = hr_and_lesion(case)
    pictures = same_size(restored, hr.shape)
    errors = {name: picture - hr for name, picture in pictures.items()}
    patches = _per_method("kinds", kinds, pictures)
    box = square_around(lesion, MARGIN)
    limit = round_limit([part(error, box) for error in errors.values()])
    signed: Any = ("RdBu_r", -limit, limit)
    text = "share of the intensity\nrange; blue: too dark,\nred: too bright"
    columns = [("Error, SR − HR", errors, (*signed, text))]
    if null is not None:
        text = "of the error: what\nthe measurement\ncould not see"
        columns.append(("Null-space part", _per_method("null", null, pictures), (*signed, text)))
    text = "share; dark: unlike HR and\nunlike interpolated LR;\ngrey: no difference"
    shares = _per_method("unlike_both", unlike_both, pictures)
    columns.append(("Unlike HR and LR", shares, ("Reds", 0, 1, text)))
    side = 8.6 / (len(columns) + 2)
    figure, panels = grid(len(pictures) + 1, len(columns) + 2, side, side + 0.06)
    for axes, (name, picture) in zip(panels[:, 0], {"HR": hr, **pictures}.items()):
        grey(axes, picture, WINDOW, box=box)
        contour(axes, lesion)
        axes.set_ylabel(textwrap.fill(name, int(11 * side)), size=9.5, weight="bold")
    for column, (_, maps, key) in zip(panels.T[1:], columns):
        _maps(column[0], dict(zip(column[1:], maps.values())), key, box, lesion)
    for axes, (name, picture) in zip(panels[1:, -1], pictures.items()):
        grey(axes, picture, WINDOW)
        for kind, (_, colour, strength) in KINDS.items():
            tint(axes, patches[name] == kind, colour, strength)
        frame(axes, box)
        contour(axes, lesion)
    titles = ("Lesion, enlarged", *[name for name, *_ in columns], "Lost or invented?")
    for axes, title in zip(panels[0], titles):
        axes.set_title(title, loc="center", weight="bold")
    handles = [
        Patch(fc=to_rgba(colour, strength), ec=MUTED, lw=0.6, label=label)
        for label, colour, strength in KINDS.values()
    ]
    panels[0, -1].legend(handles=handles, loc="center", handlelength=1.1, handleheight=1.1)
    caption(
        figure,
        "What was lost, and what was invented",
        note,
        "1 image; yellow or dotted line: outline of the lesion",
        _window(WINDOW),
        f"errors beyond ±{limit:g} have the last colour",
        "last column: the whole image, its square is the part that is enlarged",
    )
    return figure


def _side_by_side(
    pictures: Mapping[str, NDArray[np.float32]],
    rows: Sequence[str],
    *,
    box: Box,
    maps: Mapping[str, NDArray[np.float32]],
    key: Key,
    lesion: NDArray[np.bool_] | None = None,
    scores: Mapping[str, str] | None = None,
    window: Window = WINDOW,
) -> Figure:
    """Draw a column per image, the first of full size, with its map in the last row."""
    scores = scores or {}
    choose("image in scores", scores, pictures)
    field = next(iter(pictures.values())).shape
    side = min(8.6 / len(pictures), 2.1)
    figure, panels = grid(len(rows), len(pictures), side, side + 0.05)
    columns = dict(zip(pictures, panels.T))
    for name, column in columns.items():
        column[0].set_title(textwrap.fill(name, int(12 * side)), loc="center", weight="bold")
        for axes, row in zip(column[:-1], rows):
            whole = row == "whole image"
            grey(axes, pictures[name], window, box=None if whole else box, field=field)
            if whole:
                frame(axes, box)
            contour(axes, lesion)
        column[-1].set_xlabel(scores.get(name, ""), size=8.5, color=INK)
    for axes, row in zip(panels[:, 0], rows):
        axes.set_ylabel(row, color=MUTED)
    _maps(panels[-1, 0], {columns[name][-1]: of for name, of in maps.items()}, key, box, lesion)
    return figure


def _maps(
    beside: Axes,
    maps: Mapping[Axes, NDArray[np.float32]],
    key: Key,
    box: Box,
    lesion: NDArray[np.bool_] | None,
) -> None:
    """Draw maps enlarged, each on its axes, and their colour bar on axes that have no map."""
    shades, low, high, text = key
    for axes, values in maps.items():
        drawing = coloured(axes, values, shades, low, high)
        contour(axes, lesion, dotted=shades != "magma_r")  # which is dark where SR errs
        enlarge(axes, box)
    if maps:
        colour_bar(beside, drawing, text)


def _window(window: Window) -> str:
    return f"grey from {window[0]:g} to {window[1]:g} in all images"


def _region(axes: Axes, name: str, mask: NDArray[np.bool_]) -> Line2D | Patch:
    """Draw a region and return what the legend shows of it: its colour, name and size."""
    colour = REGION_COLOURS[name]
    label = f"{name}, {count(mask.sum())} px" if mask.any() else f"{name}, none here"
    if name == "tumour":
        return Line2D([], [], color=CONTOUR, label=label)
    if name in ("head", "brain"):
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=colour, linewidths=1, linestyles="--")
        return Line2D([], [], color=colour, linestyle="--", linewidth=1, label=label)
    strength = 0.2 if name == "normal" else 0.55
    tint(axes, mask, colour, strength)
    return Patch(fc=to_rgba(colour, strength), label=label)


def _per_method(
    what: str, given: Mapping[str, Image], pictures: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Check the maps of one column: all methods, the size of HR, and values that are allowed."""
    choose(f"method in {what}", pictures, given)
    maps = {
        name: as_array(given[name], f"{what}[{name!r}]", image.shape)
        for name, image in pictures.items()
    }
    for name, values in maps.items():
        known = values[np.isfinite(values)]
        if what == "kinds" and not np.isin(values, list(KINDS)).all():
            raise ValueError(f"kinds[{name!r}] must hold {sorted(KINDS)}; got {np.unique(values)}")
        if what == "unlike_both" and known.size and not (-1e-6 <= known.min() <= known.max() < 2):
            raise ValueError(f"unlike_both[{name!r}] must be shares in [0, 1]")
    return maps
