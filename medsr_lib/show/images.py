"""Pictures of cases: regions, methods side by side, maps of error, of loss and of invention.

Images are tensors or arrays (H, W), (1, H, W) or (1, 1, H, W) in [0, 1]. All grey panels of a
figure share one window, so that a difference in brightness is one between the images.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
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
    corners,
    enlarge,
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
    window_of,
)
from medsr_lib.show.style import (
    CONTOUR,
    INK,
    MUTED,
    PHONE,
    REGION_COLOURS,
    caption,
    choose,
    drawn,
    in_a_row,
    plural,
)

Key: TypeAlias = tuple[str, float, float, str]
"""Of a map: matplotlib's name of its colours, values of the first and the last, what it means."""

WHOLE = "whole image"
"""Name of a panel that shows all of the original, with the corners of the part."""

KINDS = {
    2: ("detail not of HR", "#D55E00", 0.6),
    1: ("detail lost", "#0072B2", 0.55),
    0: ("", "#FFFFFF", 0.0),
    -1: ("", "#9A9A9A", 0.0),
}
"""Label, colour and strength of the tint of each kind of patch, by its number in the map; those
without a label, which agree or are not measured, are not drawn."""


@drawn
def with_and_without(
    case: Case,
    images: Mapping[str, Image],
    *,
    ssim: Mapping[str, float] | None = None,
    title: str | None = None,
    note: str,
) -> Figure:
    """Draw the original and other images, whole and where the lesion is: is it there, or gone?

    Args:
        case: HR with its mask. Where the lesion lies is enlarged, from what 1 % of the pixels of
            HR there lie below to what 99 % lie below.
        images: (H, W) by name, in the order of the columns.
        ssim: of the whole images, written below them.
        title: None says which image has the highest SSIM.
    """
    hr, lesion = hr_and_lesion(case)
    pictures = {"original": hr, **same_size(images, hr.shape)}
    scores = ssim or {}
    choose("image in ssim", scores, images)
    box = _around(lesion)
    side = PHONE / len(pictures)
    figure, panels = grid(2, len(pictures), side, side + 0.15)
    for (above, below), (name, picture) in zip(panels.T, pictures.items()):
        grey(above, picture, WINDOW)
        corners(above, box)
        grey(below, picture, window_of(hr, box), box=box)
        above.set_title(textwrap.fill(name, 21), loc="center", weight="bold")
        if name in scores:
            below.set_xlabel(f"SSIM of the slice {scores[name]:.3f}", color=INK)
    if scores and not title:
        best = max(scores, key=lambda name: scores[name])
        title = f"Which is the better restoration? SSIM says: {best}"
    what = f"slice {case.id}, {case.label}"
    caption(figure, title, "1 image", what, note, "below: the part between the corners, enlarged")
    return figure


@drawn
def region_montage(cases: Sequence[Case], regions: Sequence[Mapping[str, Image]]) -> Figure:
    """Draw cases small: the tumour, where its matched place lies, and the brain.

    Args:
        cases: images, whose ids are the titles.
        regions: masks (H, W) by name of each case: `tumour`, and `matched`, `brain` and `mirror`
            where there are any. An empty one is named in the title.
    """
    if not cases or len(cases) != len(regions):
        raise ValueError(f"regions of every case are needed; got {len(cases)} and {len(regions)}")
    columns = 4 if len(cases) > 6 else in_a_row(len(cases))  # many are for a glance at each
    side = PHONE / max(2, columns)
    figure, panels = grid(-(-len(cases) // columns), columns, side, side + 0.2)
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
        text = f"{case.id}: no {', '.join(missing)} tissue" if missing else case.id
        axes.set_title(textwrap.fill(text, 68 // columns), size=8.5, pad=2, loc="center")
    handles: list[Line2D | Patch] = [Line2D([], [], color=CONTOUR, label="tumour")]
    for name in drawn_ones:
        colour = REGION_COLOURS[name]
        if name == "brain":
            handles.append(Line2D([], [], color=colour, label=name))
        else:
            handles.append(Patch(fc=to_rgba(colour, 0.35), ec=colour, label=f"{name} tissue"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    counts = {n: sum(not as_array(m[n], n).any() for m in regions) for n in drawn_ones}
    without = [f"no {name} tissue in {n} of them" for name, n in counts.items() if n]
    last = drawn_ones[-1] if drawn_ones else "tumour"
    there = len(cases) - counts.get(last, 0)
    title = f"{there} of {plural(len(cases), 'tumour')} with {last} tissue"
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
    """Draw HR and other images where the lesion is, and below each its SSIM map there.

    Args:
        case: HR with its mask; without one the middle of the image is enlarged, and the first panel
            shows where that is.
        images: by name, in the order of the panels. A smaller one, such as LR, covers the same
            field of view and is enlarged with its own pixels.
        maps: SSIM maps (H, W) by name of the image.
        scores: a short text by name of the image (`HR` may have one), written below it.
    """
    hr = case.image.cpu().numpy()
    lesion = None if case.mask is None else case.mask.cpu().numpy()
    checked = {name: as_image(image, name) for name, image in images.items()}
    pictures = {} if case.mask is not None else {WHOLE: hr}
    pictures |= {"HR": hr} | {n: same_field(image, hr.shape, n) for n, image in checked.items()}
    choose("image in maps", maps, pictures)
    box = middle(hr.shape) if lesion is None else _around(lesion)
    window = WINDOW if lesion is None else window_of(hr, box)
    figure = _in_pairs(
        pictures,
        {name: as_array(of, f"maps[{name!r}]", hr.shape) for name, of in maps.items()},
        ("magma_r", 0, 1, "SSIM, 1 = identical"),
        box=box,
        lesion=lesion,
        scores=scores,
        window=window,
    )
    caption(figure, title, "1 image", None if lesion is None else OUTLINE, _window(window))
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
    """Draw where a part of an image lies, that part restored, and below its errors.

    Args:
        hr: (H, W) in [0, 1], the original that all are compared with.
        images: by name, in the order of the panels. A smaller one covers the same field of view,
            is enlarged with its own pixels, and has no difference. Noise may leave [0, 1].
        box: left, top, right and bottom of the part, in pixels of `hr`.
        scores: a short text by name of the image, written below it.
    """
    if not images:
        raise ValueError("there are no images to compare")
    original = as_image(hr, "original")
    seen = {name: same_field(image, original.shape, name) for name, image in images.items()}
    pictures, window = {WHOLE: original, "original": original, **seen}, (0.0, 1.0)
    figure = _in_pairs(
        pictures, *_errors(original, seen, box), box=box, scores=scores or {}, window=window
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
    """Draw HR and other images, and below each its difference from HR.

    Grey goes from what 1 % of the pixels of HR lie below to what 99 % lie below, in the part shown.

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
    original = as_image(hr, "hr")
    seen = {name: same_field(image, original.shape, name) for name, image in images.items()}
    mask = None if lesion is None else as_mask(lesion, original.shape)
    if box is None and mask is not None and mask.any():
        box = square_around(mask, MARGIN)
    box = box or (0, 0, original.shape[1], original.shape[0])
    figure = _in_pairs(
        {"HR": original, **seen},
        *_errors(original, seen if errors else {}, box),
        box=box,
        lesion=mask,
        scores=scores or {},
        window=window_of(original, box),
    )
    caption(figure, title, note, "1 image", None if mask is None else OUTLINE)
    return figure


@drawn
def invention_maps(
    case: Case,
    restored: Mapping[str, Image],
    *,
    kinds: Image,
    scores: Mapping[str, str],
    title: str,
    note: str,
) -> Figure:
    """Draw what two methods lost or invented at a lesion, in six panels.

    Above HR and both methods, below their errors, and for the second one a map of the whole image:
    where fine detail is lost or invented, by Fourier ring correlation of patches (Kc et al., arXiv
    2603.04673).

    Args:
        case: HR with its mask.
        restored: (H, W) of two methods; the second is the one that is looked at.
        kinds: (H, W) of the second: 2 invention, 1 loss, 0 agrees, -1 not measured.
        scores: a short text by method, below its error.
    """
    if len(restored) != 2:
        raise ValueError(f"invention_maps draws two methods; got {len(restored)}")
    hr, lesion = hr_and_lesion(case)
    pictures = same_size(restored, hr.shape)
    choose("method in scores", scores, pictures)
    patches = as_array(kinds, "kinds", hr.shape)
    if not np.isin(patches, list(KINDS)).all():
        raise ValueError(f"kinds must hold {sorted(KINDS)}; got {np.unique(patches)}")
    errors = {name: picture - hr for name, picture in pictures.items()}
    box = _around(lesion)
    window, limit = window_of(hr, box), round_limit([part(e, box) for e in errors.values()])
    figure, panels = grid(2, 3, PHONE / 3, 2.35)
    for axes, (name, picture) in zip(panels[0], {"HR": hr, **pictures}.items()):
        grey(axes, picture, window, box=box)
        contour(axes, lesion, width=0.5)
        axes.set_title(textwrap.fill(name, 21), loc="center", weight="bold")
    for axes, (name, error) in zip(panels[1, 1:], errors.items()):
        drawing = coloured(axes, error, "RdBu_r", -limit, limit)
        contour(axes, lesion, dotted=True)
        enlarge(axes, box)
        axes.set_xlabel(scores.get(name, ""), color=INK)
    below = panels[1, 0]
    grey(below, hr, WINDOW)
    for kind, (_, colour, strength) in KINDS.items():
        tint(below, patches == kind, colour, strength)
    corners(below, box)
    below.set_title(f"fine detail of {list(pictures)[1]}", loc="center", size=8.5)
    bar = figure.colorbar(drawing, ax=panels[1, 1:].tolist(), location="bottom", shrink=0.7)
    bar.set_label("restored − original: blue too dark, red too bright", size=9)
    handles = [
        Patch(fc=to_rgba(colour, strength), ec=MUTED, lw=0.6, label=label)
        for label, colour, strength in KINDS.values()
        if label
    ]
    below.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02))
    caption(figure, title, note, "1 image; line: outline of the lesion", _window(window))
    return figure


def _in_pairs(
    pictures: Mapping[str, NDArray[np.float32]],
    maps: Mapping[str, NDArray[np.float32]],
    key: Key,
    *,
    box: Box,
    scores: Mapping[str, str],
    window: Window,
    lesion: NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw images in rows, in a part of the first one, and below each its map there."""
    choose("image in scores", scores, pictures)
    field = next(iter(pictures.values())).shape
    columns, step = in_a_row(len(pictures)), 1 + bool(maps)
    side = PHONE / columns
    figure, panels = grid(-(-len(pictures) // columns) * step, columns, side, side + 0.15)
    for n, (name, picture) in enumerate(pictures.items()):
        row, column = n // columns * step, n % columns
        above, below = panels[row, column], panels[row + step - 1, column]
        grey(above, picture, window, box=None if name == WHOLE else box, field=field)
        above.set_title(textwrap.fill(name, 21), loc="center", weight="bold")
        contour(above, lesion, width=0.6)
        if name == WHOLE:
            corners(above, box)
        if name in maps:
            drawing = coloured(below, maps[name], *key[:3])
            contour(below, lesion, dotted=key[0] != "magma_r")  # which is dark where SR errs
            enlarge(below, box)
        below.set_xlabel(scores.get(name, ""), color=INK)
    if maps:
        colour_bar(panels[1, 0], drawing, key[3])
    return figure


def _errors(
    original: NDArray[np.float32], seen: Mapping[str, NDArray[np.float32]], box: Box
) -> tuple[dict[str, NDArray[np.float32]], Key]:
    """Errors of the images of full size, and their colours: these end at the error that 99.5 % of
    the pixels of the middle image do not exceed, so that an untrained network pales no other.
    """
    errors = {n: image - original for n, image in seen.items() if image.shape == original.shape}
    limit = float(np.median([round_limit([part(of, box)]) for of in errors.values()] or [1]))
    text = "restored − original\nred: too bright\nblue: too dark"
    return errors, ("RdBu_r", -limit, limit, text)


def _around(lesion: NDArray[np.bool_]) -> Box:
    """The square around a lesion with a margin of 1/26 of the image's side."""
    return square_around(lesion, max(4, min(lesion.shape) // 26))


def _window(window: Window) -> str:
    return f"grey from {window[0]:.2g} to {window[1]:.2g} in all images"
