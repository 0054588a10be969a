"""Maps of what methods invented or lost in one slice, a row per method."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from medsr_lib.show.images import WINDOW
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
from medsr_lib.show.style import MUTED, caption, choose, drawn

KINDS = {
    2: ("invention: detail\nthat is not in HR", "#D55E00", 0.6),
    1: ("loss: detail of\nHR is missing", "#0072B2", 0.55),
    0: ("agrees with HR", "#FFFFFF", 0.0),
    -1: ("not measured", "#9A9A9A", 0.75),
}
"""Label, colour and strength of the tint of each kind of patch, by its number in the map."""

NOTHING = "#BDBDBD"
"""Colour of pixels in which there is nothing to judge."""


@drawn
def maps(
    hr: Image,
    restored: Mapping[str, Image],
    mask: Image,
    *,
    hallucination: Mapping[str, Image],
    kinds: Mapping[str, Image],
    null: Mapping[str, Image] | None = None,
    scores: Mapping[str, str] | None = None,
    window: Window = WINDOW,
    margin: int = 20,
    limit: float | None = None,
    title: str | None = "What was lost, and what invented",
    note: str | None = None,
) -> Figure:
    """Draw where methods err and whether they lost or invented there: a row per method.

    The tumour enlarged: SR, its error, if given the part of the error that the measurement could
    not see (Bhadra et al. 2021, 10.1109/TMI.2021.3077857), and the share of hallucination (Aybar et
    al. 2024, 10.1109/LGRS.2024.3401394). The whole slice, since patches are large: their kinds by
    Fourier ring correlation (Kc et al., arXiv 2603.04673). The tumour's outline is on every panel;
    scales are the same in all rows, their keys stand in the row of HR.

    Args:
        hr: (H, W) in [0, 1].
        restored: (H, W) by method, in the order of the rows.
        mask: (H, W), true inside the tumour.
        hallucination: shares (H, W) in [0, 1] by method; NaN where there is nothing to judge.
        kinds: (H, W) by method: 2 invention, 1 loss, 0 agrees, -1 not measured.
        null: parts of the errors (H, W) by method that the measurement cannot see; only of a
            degradation that is an orthogonal projection, such as `kspace`.
        scores: a short text by method, written under its SR.
        window: values shown as black and as white.
        margin: HR pixels around the tumour in the enlarged part.
        limit: error at which the colours end; without it the one that 99.5 % of the pixels shown
            do not exceed, rounded up.
        title: what is shown.
        note: what to add below the title, such as the slice.
    """
    if not restored:
        raise ValueError("restored is empty: there is no method to draw")
    if limit is not None and limit <= 0:
        raise ValueError(f"limit must be above 0; got {limit}")
    target = as_image(hr, "hr")
    tumour = as_mask(mask, target.shape)
    pictures = {name: same_size(image, target.shape, name) for name, image in restored.items()}
    errors = {name: picture - target for name, picture in pictures.items()}
    given = {"hallucination": hallucination, "kinds": kinds, "null": null}
    found = {what: _per_method(what, of, pictures) for what, of in given.items() if of is not None}
    choose("method in scores", scores or {}, pictures)
    box = square_around(tumour, margin)
    left, top, right, bottom = box
    shown = [error[top:bottom, left:right] for error in errors.values()]
    limit = limit or round_limit(shown)
    columns = 5 if null is not None else 4
    side = 8.6 / columns
    figure, panels = grid(len(pictures) + 1, columns, side, side + 0.06)
    for row, (name, picture) in zip(panels[1:], pictures.items()):
        own = {what: of[name] for what, of in found.items()}
        drawings = _row(row, picture, errors[name], own, tumour, box, window, limit)
        row[0].set_ylabel(textwrap.fill(name, int(11 * side)), size=9.5, weight="bold")
        row[0].set_xlabel((scores or {}).get(name, ""), size=8.5, labelpad=2)
    grey(panels[0, 0], target, window, box=box)
    contour(panels[0, 0], tumour, width=0.9)
    panels[0, 0].set_ylabel("HR", size=9.5, weight="bold")
    panels[0, 0].set_title("Tumour, enlarged", loc="center", weight="bold")
    _keys(panels[0, 1:], drawings, limit)
    parts = (
        note,
        f"1 slice; yellow or dotted line: outline of the tumour; grey from {window[0]:g} to "
        f"{window[1]:g}; errors beyond ±{limit:g} have the last colour; last column: "
        "the whole slice, its square is what is enlarged",
    )
    caption(figure, title, "; ".join(filter(None, parts)))
    return figure


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
        if what == "hallucination" and known.size and not (-1e-6 <= known.min() <= known.max() < 2):
            raise ValueError(f"hallucination[{name!r}] must be shares in [0, 1]")
    return maps


def _row(
    row: NDArray[Any],
    picture: NDArray[np.float32],
    error: NDArray[np.float32],
    own: Mapping[str, NDArray[np.float32]],
    tumour: NDArray[np.bool_],
    box: Box,
    window: Window,
    limit: float,
) -> list[AxesImage]:
    """Draw the panels of one method; return what the colour bars belong to."""
    grey(row[0], picture, window, box=box)
    contour(row[0], tumour, width=0.9)
    drawings = [signed(row[1], error, limit)]
    if "null" in own:
        drawings.append(signed(row[2], own["null"], limit))
    drawings.append(row[-2].imshow(own["hallucination"], cmap=_shades(), vmin=0, vmax=1))
    for axes in row[1:-1]:
        enlarge(axes, box)
    for axes in row[1:-2]:
        dotted(axes, tumour)
    contour(row[-2], tumour, width=0.9)
    _tinted(row[-1], picture, own["kinds"], window)
    left, top, right, bottom = box
    row[-1].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="white"))
    contour(row[-1], tumour, width=0.9)
    return drawings


def _shades() -> Colormap:
    return plt.get_cmap("Reds", 64).with_extremes(bad=NOTHING)


def _tinted(
    axes: Axes, picture: NDArray[np.float32], kinds: NDArray[np.float32], window: Window
) -> None:
    """Draw a slice with its patches in translucent colours."""
    grey(axes, picture, window)
    tint = np.zeros((*kinds.shape, 4), np.float32)
    for kind, (_, colour, strength) in KINDS.items():
        tint[kinds == kind] = (*to_rgb(colour), strength)
    axes.imshow(tint, interpolation="nearest")


def _keys(row: NDArray[Any], drawings: list[AxesImage], limit: float) -> None:
    """Name the columns and explain their colours, in the row where HR has no map."""
    ends: tuple[list[float], list[str]] = ([-limit, 0, limit], [f"−{limit:g}", "0", f"+{limit:g}"])
    texts = [("Error, SR − HR", "share of the intensity\nrange; blue: too dark,\nred: too bright")]
    if len(drawings) == 3:
        texts.append(("Null-space part", "of the error: what\nthe measurement\ncould not see"))
    texts.append(
        ("Hallucination", "share; dark: like neither\nHR nor interpolation;\ngrey: no difference")
    )
    for axes, drawing, (name, text) in zip(row, drawings, texts):
        axes.set_title(name, loc="center", weight="bold")
        inside = axes.inset_axes((0.1, 0.12, 0.8, 0.09))
        share = name == "Hallucination"
        extend = "neither" if share else "both"
        bar = plt.colorbar(drawing, cax=inside, orientation="horizontal", extend=extend)
        ticks, labels = ([0, 0.5, 1], ["0", "0.5", "1"]) if share else ends
        bar.set_ticks(ticks, labels=labels)
        inside.xaxis.set_ticks_position("top")
        inside.tick_params(labelsize=8)
        axes.text(0.5, 0.95, text, size=8.5, ha="center", va="top", transform=axes.transAxes)
    row[-1].set_title("Lost or invented?", loc="center", weight="bold")
    row[-1].legend(
        handles=[
            Patch(fc=(*to_rgb(c), a), ec=MUTED, lw=0.6, label=t) for t, c, a in KINDS.values()
        ],
        loc="center",
        handlelength=1.1,
        handleheight=1.1,
        borderpad=0,
        labelspacing=0.5,
    )
