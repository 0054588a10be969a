"""Pictures of slices: contours, regions, methods side by side, and where tumours lie.

Images are tensors or arrays (H, W), (1, H, W) or (1, 1, H, W) in [0, 1]; masks are boolean or 0/1
and of the same shape. All grey panels of a figure share one fixed window and none is scaled to its
own range, so that a difference in brightness is one between the images. The window (0, 0.7) suits
slices scaled by their own minimum and maximum: brain lies at 0.2 to 0.4, the fat of the scalp may
saturate.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from medsr_lib.show.panels import (
    Box,
    Image,
    Window,
    as_array,
    as_image,
    as_mask,
    contour,
    dotted,
    enlarge,
    grey,
    grid,
    round_limit,
    same_size,
    signed,
    square_around,
)
from medsr_lib.show.style import INK, MUTED, REGION_COLOURS, caption, choose, count, drawn, plural

WINDOW: Window = (0.0, 0.7)
OUTLINE = "yellow line: outline of the tumour"
IN_A_ROW = 7
ZONES = ("peritumoural", "rim", "core")
SITES = ("head", "normal", "mirror", "matched")


@drawn
def slice_with_contour(
    image: Image, mask: Image | None = None, *, title: str | None = None, window: Window = WINDOW
) -> Figure:
    """Draw one slice, with the outline of the tumour if there is a mask.

    Args:
        image: (H, W) in [0, 1].
        mask: (H, W), true inside the tumour.
        title: what the slice is.
        window: values shown as black and as white.
    """
    pixels = as_image(image, "image")
    outline = None if mask is None else as_mask(mask, pixels.shape)
    figure, axes = plt.subplots(figsize=(3.4, 3.4), layout="compressed")
    grey(axes, pixels, window)
    if outline is not None:
        contour(axes, outline)
    caption(figure, title, None if outline is None else OUTLINE)
    return figure


@drawn
def gallery(
    images: Sequence[Image],
    masks: Sequence[Image | None],
    titles: Sequence[str],
    *,
    columns: int = 6,
    window: Window = WINDOW,
    title: str | None = None,
) -> Figure:
    """Draw many slices in rows of `columns`, each with its outline and its own title.

    Args:
        images: each (H, W) in [0, 1]; the sizes may differ.
        masks: one per image, or None for a slice without an outline.
        titles: one short line per image.
        columns: slices in a row.
        window: values shown as black and as white.
        title: what the slices are.
    """
    if not len(images) == len(masks) == len(titles) or not len(images):
        got = f"{len(images)} images, {len(masks)} masks and {len(titles)} titles"
        raise ValueError(f"one mask and one title per image are needed; got {got}")
    pictures = [as_image(image, "image") for image in images]
    outlines = [m if m is None else as_mask(m, p.shape) for m, p in zip(masks, pictures)]
    side = min(7.4 / columns, 2.4)
    figure, panels = grid(-(-len(images) // columns), columns, side, side + 0.1)
    for axes, picture, outline, name in zip(panels.flat, pictures, outlines, titles):
        grey(axes, picture, window)
        if outline is not None:
            contour(axes, outline, width=0.9)
        axes.set_title(name, size=8, pad=2.5)
    caption(figure, title, f"{plural(len(images), 'slice')}; {OUTLINE}")
    return figure


@drawn
def region_map(
    image: Image,
    regions: Mapping[str, Image],
    *,
    window: Window = WINDOW,
    title: str | None = "The regions in which image quality is measured",
) -> Figure:
    """Draw the regions of a slice: tumour, zones at its border, and what they are compared with.

    Args:
        image: (H, W) in [0, 1].
        regions: masks (H, W) by name; `tumour` is needed, `whole` and `air` are left out.
        window: values shown as black and as white.
        title: what the figure shows.
    """
    pixels = as_image(image, "image")
    shown = {name: mask for name, mask in regions.items() if name not in ("whole", "air")}
    choose("region", shown, REGION_COLOURS)
    choose("region", ["tumour"], regions)
    masks = {name: as_mask(mask, pixels.shape, name) for name, mask in shown.items()}
    zones = {name: masks[name] for name in ZONES if name in masks}
    sites = {name: masks[name] for name in SITES if name in masks}
    sites = dict(sorted(sites.items(), key=lambda site: _middle(site[1])))
    box = square_around(np.any([masks["tumour"], *zones.values()], axis=0), margin=8)
    figure, panels = plt.subplots(1, 3, figsize=(8.8, 2.25), layout="constrained")
    _labelled(panels[0], pixels, {"tumour": masks["tumour"]}, window, None)
    _labelled(panels[1], pixels, zones, window, box)
    _labelled(panels[2], pixels, sites, window, None)
    for axes, name in zip(panels, ("The slice", "At the tumour's border, enlarged", "Elsewhere")):
        contour(axes, masks["tumour"])
        axes.set_title(name)
    caption(figure, title, f"1 slice, sizes in pixels; {OUTLINE}")
    return figure


@drawn
def comparison(
    hr: Image,
    images: Mapping[str, Image],
    mask: Image,
    *,
    maps: Mapping[str, Image] | None = None,
    scores: Mapping[str, str] | None = None,
    window: Window = WINDOW,
    margin: int = 20,
    title: str | None = None,
) -> Figure:
    """Draw HR and other images side by side: whole, tumour enlarged, SSIM map enlarged.

    Args:
        hr: (H, W) in [0, 1].
        images: images by name, in the order of the columns. A smaller one, such as LR, covers the
            same field of view and is enlarged with its own pixels.
        mask: (H, W), true inside the tumour.
        maps: SSIM maps (H, W) by name of the image.
        scores: a short text by name of the image (`HR` may have one), written under its column.
        window: values shown as black and as white.
        margin: HR pixels around the tumour in the enlarged part.
        title: what is compared.
    """
    pixels = {"HR": as_image(hr, "hr")}
    field = pixels["HR"].shape
    pixels |= {
        name: _same_field(as_image(image, name), field, name) for name, image in images.items()
    }
    choose("image in maps", maps or {}, pixels)
    choose("image in scores", scores or {}, pixels)
    values = {name: as_array(ssim, f"maps[{name!r}]", field) for name, ssim in (maps or {}).items()}
    tumour = as_mask(mask, field)
    box = square_around(tumour, margin)
    side = min(8.6 / len(pixels), 2.1)
    figure, panels = grid(3 if values else 2, len(pixels), side, side + 0.05)
    for column, (name, image) in zip(panels.T, pixels.items()):
        column[0].set_title(name, loc="center", weight="bold")
        _column(column, image, tumour, box, window)
        column[-1].set_xlabel((scores or {}).get(name, ""), size=8.5, color=INK)
    for name, ssim in values.items():
        drawing = _ssim(panels[2, list(pixels).index(name)], ssim, tumour, box)
    if values:
        _bar_inside(panels[2, 0], drawing)
    for axes, name in zip(panels[:, 0], ("whole slice", "tumour, enlarged")):
        axes.set_ylabel(name, color=MUTED)
    caption(
        figure, title, f"1 slice; {OUTLINE}; grey from {window[0]:g} to {window[1]:g} in all images"
    )
    return figure


@drawn
def through_training(
    lr: Image,
    restored: Mapping[str, Image],
    hr: Image,
    mask: Image | None = None,
    *,
    window: Window = WINDOW,
    margin: int | None = None,
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the same place at several moments of a training, between LR and HR.

    Args:
        lr: (h, w) in [0, 1], of the field of view of `hr`; drawn with its own pixels.
        restored: (H, W) by moment, such as `step 0` or `epoch 12.5`, in the order of the panels;
            none where a session ended before the training began.
        hr: (H, W) in [0, 1].
        mask: (H, W), true inside the tumour; outlined on LR and HR alone, so that the line hides
            nothing that was restored.
        window: values shown as black and as white.
        margin: HR pixels around the tumour to enlarge; without it all is drawn.
        title: what was trained.
        note: what to add below the title.
    """
    if margin is not None and mask is None:
        raise ValueError("a margin needs a mask: it is counted from the outline of the tumour")
    target = as_image(hr, "hr")
    moments = {name: same_size(image, target.shape, name) for name, image in restored.items()}
    coarse = _same_field(as_image(lr, "lr"), target.shape, "lr")
    outline = None if mask is None else as_mask(mask, target.shape)
    box = None if outline is None or margin is None else square_around(outline, margin)
    pictures = [("LR", coarse), *moments.items(), ("HR", target)]
    rows = -(-len(pictures) // IN_A_ROW)
    columns = -(-len(pictures) // rows)
    side = min(8.6 / columns, 2.1)
    figure, panels = grid(rows, columns, side, side * target.shape[0] / target.shape[1] + 0.2)
    for axes, (name, picture) in zip(panels.flat, pictures):
        own_pixels = (0, 0, *target.shape[::-1]) if picture is coarse else None
        grey(axes, picture, window, box=box or own_pixels, field=target.shape)
        if outline is not None and name in ("LR", "HR"):
            contour(axes, outline, width=0.9)
        text = textwrap.fill(name, max(6, int(13 * side)))
        weight = "bold" if name in ("LR", "HR") else "normal"
        axes.set_title(text, loc="center", size=8.5, pad=3, weight=weight)
    parts = (
        note,
        f"1 slice at {plural(len(moments), 'moment')} of the training",
        None if outline is None else f"{OUTLINE}, on LR and HR",
        f"grey from {window[0]:g} to {window[1]:g} in all images",
    )
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


@drawn
def error_maps(
    hr: Image,
    restored: Mapping[str, Image],
    mask: Image,
    *,
    window: Window = WINDOW,
    margin: int = 20,
    limit: float | None = None,
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw what methods invented or lost at the tumour: SR enlarged, and SR - HR below it.

    Args:
        hr: (H, W) in [0, 1].
        restored: (H, W) by method, in the order of the columns.
        mask: (H, W), true inside the tumour.
        window: values shown as black and as white.
        margin: HR pixels around the tumour in the enlarged part.
        limit: error at which the colours end, the same in both directions and for all methods;
            without it the one that 99.5 % of the pixels shown do not exceed, rounded up.
        title: what is compared.
        note: what to add below the title.
    """
    if not restored:
        raise ValueError("restored is empty: there is no method to draw")
    if limit is not None and limit <= 0:
        raise ValueError(f"limit must be above 0; got {limit}")
    pixels = {"HR": as_image(hr, "hr")}
    field = pixels["HR"].shape
    pixels |= {name: same_size(image, field, name) for name, image in restored.items()}
    tumour = as_mask(mask, field)
    box = square_around(tumour, margin)
    errors = {name: pixels[name] - pixels["HR"] for name in restored}
    limit = limit or round_limit([_inside(error, box) for error in errors.values()])
    side = min(8.6 / len(pixels), 2.1)
    figure, panels = grid(2, len(pixels), side, side + 0.05)
    for axes, (name, image) in zip(panels[0], pixels.items()):
        axes.set_title(name, loc="center", weight="bold")
        grey(axes, image, window, box=box)
        contour(axes, tumour, width=0.9)
    for axes, error in zip(panels[1, 1:], errors.values()):
        drawing = signed(axes, error, limit)
        dotted(axes, tumour)
        enlarge(axes, box)
    _signed_bar(panels[1, 0], drawing, limit)
    for axes, what in zip(panels[:, 0], ("tumour, enlarged", "error there")):
        axes.set_ylabel(what, color=MUTED)
    parts = (
        note,
        f"1 slice; yellow or dotted line: outline of the tumour; grey from {window[0]:g} to "
        f"{window[1]:g}; errors beyond ±{limit:g} have the last colour",
    )
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


@drawn
def locations(
    heat: Mapping[str, Image],
    counts: Mapping[str, int],
    *,
    title: str | None = "Where the tumours lie",
) -> Figure:
    """Draw how often each pixel lies in a tumour: a panel per tumour type, one colour scale.

    Args:
        heat: mean of the masks (H, W) in [0, 1], by tumour type.
        counts: slices behind each mean, by tumour type.
        title: what the figure shows.
    """
    choose("tumour type in counts", heat, counts)
    shares = {name: 100 * as_image(mean, f"heat[{name!r}]") for name, mean in heat.items()}
    if not shares:
        raise ValueError("there is no tumour type to draw")
    top = max(share.max() for share in shares.values())
    figure, panels = grid(1, len(shares), 2.5, 2.52)
    for axes, (name, share) in zip(panels.flat, shares.items()):
        drawing = axes.imshow(share, cmap="magma", vmin=0, vmax=top)
        axes.set_title(f"{name}, n = {count(counts[name])}")
        for line, length in ((axes.axhline, share.shape[0]), (axes.axvline, share.shape[1])):
            line(length / 2, color="white", linewidth=0.6, linestyle=(0, (1, 4)))
    figure.colorbar(drawing, ax=panels, label="% of slices", shrink=0.85, pad=0.02)
    total = plural(sum(counts[name] for name in heat), "slice")
    caption(figure, title, f"{total}; dotted: the middle of the picture")
    return figure


def _same_field(
    image: NDArray[np.float32], field: tuple[int, ...], name: str
) -> NDArray[np.float32]:
    if image.shape[0] * field[1] != image.shape[1] * field[0]:
        raise ValueError(f"{name} must show the field of view of hr {field}; got {image.shape}")
    return image


def _inside(image: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    left, top, right, bottom = box
    return image[top:bottom, left:right]


def _signed_bar(axes: Axes, drawing: AxesImage, limit: float) -> None:
    """Put the colour bar of the errors where HR would have its own, which is none."""
    inside = axes.inset_axes((0.1, 0.58, 0.8, 0.09))
    bar = plt.colorbar(drawing, cax=inside, orientation="horizontal", extend="both")
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:g}", "0", f"+{limit:g}"])
    inside.tick_params(labelsize=8)
    inside.set_xlabel("SR − HR, share of\nthe intensity range", size=8.5)
    for place, side, text in ((0.0, "left", "too\ndark"), (1.0, "right", "too\nbright")):
        inside.text(place, 1.4, text, size=8.5, ha=side, transform=inside.transAxes)


def _column(
    column: Sequence[Axes],
    image: NDArray[np.float32],
    tumour: NDArray[np.bool_],
    box: Box,
    window: Window,
) -> None:
    """Draw the whole slice and, below it, the part in the box."""
    for axes, part in zip(column, (None, box)):
        grey(axes, image, window, box=part, field=tumour.shape)
        contour(axes, tumour, width=0.9)
    left, top, right, bottom = box
    column[0].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="white"))


def _ssim(axes: Axes, ssim: NDArray[np.float32], tumour: NDArray[np.bool_], box: Box) -> AxesImage:
    """Draw the part of an SSIM map in the box, on the fixed scale from 0 to 1."""
    colours = plt.get_cmap("magma_r", 64)
    drawing = axes.imshow(ssim, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    contour(axes, tumour, width=0.9)
    enlarge(axes, box)
    return drawing


def _bar_inside(axes: Axes, drawing: AxesImage) -> None:
    """Put the colour bar of the maps where HR, which is identical to itself, would have its map."""
    inside = axes.inset_axes((0.06, 0.52, 0.88, 0.09))
    plt.colorbar(drawing, cax=inside, orientation="horizontal", ticks=[0, 0.5, 1])
    inside.tick_params(labelsize=8)
    inside.set_xlabel("SSIM, 1 = identical", size=8.5)


def _labelled(
    axes: Axes,
    image: NDArray[np.float32],
    regions: Mapping[str, NDArray[np.bool_]],
    window: Window,
    box: Box | None,
) -> None:
    """Draw regions in translucent colours and name each at the right, with an arrow to it."""
    grey(axes, image, window, box=box)
    _, top, right, bottom = box or (0, 0, image.shape[1], image.shape[0])
    for name, mask in regions.items():
        if name == "head":
            axes.contour(mask, levels=[0.5], colors="white", linewidths=0.8, linestyles="--")
        elif name != "tumour":
            axes.imshow(_tint(name, mask), interpolation="nearest")
    heights = np.linspace(top, bottom, 2 * len(regions) + 1)[1::2]
    for (name, mask), y in zip(regions.items(), heights):
        _point_at(axes, name, mask, (right + 0.1 * (bottom - top), y))


def _tint(name: str, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Make an (H, W, 4) layer in the region's colour; the large region `normal` is fainter."""
    tint = np.zeros((*mask.shape, 4), np.float32)
    tint[mask] = (*to_rgb(REGION_COLOURS[name]), 0.2 if name == "normal" else 0.55)
    return tint


def _middle(mask: NDArray[np.bool_]) -> float:
    """Mean row of a mask; an empty one comes last."""
    return float(np.nonzero(mask)[0].mean()) if mask.any() else np.inf


def _point_at(axes: Axes, name: str, mask: NDArray[np.bool_], place: tuple[float, float]) -> None:
    """Write a region's name and size at `place`, with an arrow to the nearest spot well inside."""
    text: dict[str, Any] = {"va": "center", "size": 8.5, "annotation_clip": False}
    if not mask.any():
        axes.annotate(f"{name}\nnone here", place, color=MUTED, **text)
        return
    depth = distance_transform_edt(mask)
    y, x = np.nonzero(depth == 1 if name == "head" else depth >= 0.6 * depth.max())
    nearest = np.argmin((x - place[0]) ** 2 + (y - place[1]) ** 2)
    arrow = {
        "arrowstyle": "-|>,head_width=0.15,head_length=0.3",
        "color": REGION_COLOURS[name],
        "shrinkB": 0,
        "path_effects": [withStroke(linewidth=2.2, foreground="black")],
    }
    label = f"{name}\n{count(mask.sum())} px"
    axes.annotate(label, (x[nearest], y[nearest]), place, arrowprops=arrow, **text)
