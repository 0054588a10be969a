"""The result on one page for a talk: pictures of one slice, verdict, primary contrast."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from medsr_lib.show.images import WINDOW
from medsr_lib.show.panels import (
    Box,
    Image,
    Window,
    as_image,
    as_mask,
    contour,
    grey,
    same_size,
    square_around,
)
from medsr_lib.show.style import INK, MUTED, choose, colours, drawn, plural

WIDTH, HEIGHT = 13.33, 7.5
"""Inches of a slide of 16:9."""

EDGE, GAP = 0.4, 0.1
"""Inches between the page and what is on it, and between pictures."""

TOP, SCORES, FOOTER = 1.25, 0.68, 0.5
"""Inches of the title with the names below it, of the scores under the pictures, of the footer."""

BESIDE, BELOW, FOREST = 4.0, 2.1, 1.6
"""Least width of findings beside the pictures, height of them below, and of the contrasts alone."""

ORIGINAL = "Original"
DISCLAIMER = "Research use only, not for diagnosis"
MATCHED = "gain in SSIM over bicubic, tumour − matched tissue"
DIRECTIONS = ("tumour profits less", "tumour profits more")

Place: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, width and height in inches."""


@dataclass(frozen=True)
class Plan:
    """Where things lie, in inches from the left and the bottom of the page.

    Attributes:
        side: of a picture.
        step: from one column of pictures to the next.
        left, top: corner of the first picture.
        verdict, forest: what is found.
    """

    side: float
    step: float
    left: float
    top: float
    verdict: Place
    forest: Place


@drawn
def summary(
    hr: Image,
    restored: Mapping[str, Image],
    mask: Image,
    *,
    ssim: Mapping[str, tuple[float, float]],
    verdicts: Sequence[str],
    contrasts: Mapping[str, Any],
    slices: int,
    patients: int,
    data: str,
    degradation: str,
    title: str,
    unit: str = MATCHED,
    directions: tuple[str, str] = DIRECTIONS,
    window: Window = WINDOW,
    margin: int = 20,
) -> Figure:
    """Draw one slice of 16:9 for a talk: pictures, SSIM, verdict and primary contrast.

    The findings stand beside the pictures of two or three methods, and below those of more.

    Args:
        hr: (H, W) in [0, 1].
        restored: two to six (H, W) by method, in the order of the columns.
        mask: (H, W), true inside the tumour.
        ssim: SSIM of this slice by method: of the whole slice and in the tumour.
        verdicts: short lines, such as `SRGAN: not inferior within margin`.
        contrasts: by method, from above; each has the attributes `value`, `low` and `high`, which
            may be NaN, as of one patient.
        slices: slices behind the contrasts.
        patients: patients behind the contrasts.
        data: name of the data set.
        degradation: how LR was made, such as `bicubic ×4`.
        title: the finding, or the question.
        unit: of the contrasts.
        directions: what a negative and a positive contrast mean.
        window: values shown as black and as white.
        margin: HR pixels around the tumour in the enlarged part.
    """
    if not 2 <= len(restored) <= 6:
        raise ValueError(f"a slide holds two to six methods; got {len(restored)}")
    choose("method in ssim", restored, ssim)
    if not contrasts:
        raise ValueError("there is no contrast to draw")
    target = as_image(hr, "hr")
    tumour = as_mask(mask, target.shape)
    pictures = {ORIGINAL: target}
    pictures |= {name: same_size(image, target.shape, name) for name, image in restored.items()}
    plan = _plan(len(pictures))
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    heading, size = _fitted(title, WIDTH - 2 * EDGE, 1, 24, 13, "bold")
    _write(figure, EDGE, HEIGHT - 0.28, heading, size=size, weight="bold", va="top")
    box = square_around(tumour, margin)
    for column, (name, picture) in enumerate(pictures.items()):
        place = (plan.left + column * plan.step, plan.top)
        values = ssim.get(name) if column else None
        _column(figure, place, plan.side, name, picture, tumour, box, window, values)
    for row, what in enumerate(("slice", "tumour")):
        height = plan.top - (row + 0.5) * plan.side - row * GAP
        turned = {"rotation": 90, "ha": "center", "va": "center", "color": MUTED}
        _write(figure, EDGE + 0.08, height, what, size=12, **turned)
    _verdicts(figure, plan.verdict, verdicts)
    _forest(figure, plan.forest, contrasts, unit, directions)
    _footer(
        figure,
        f"{data}, {plural(slices, 'slice')} of {plural(patients, 'patient')}, LR by "
        f"{degradation}; pictures: 1 slice; yellow: outline of the tumour; lines: 95 % intervals",
    )
    return figure


def _plan(columns: int) -> Plan:
    """Choose the layout in which the pictures are the larger ones."""
    left, top = EDGE + 0.25, HEIGHT - TOP
    free, wide = top - SCORES - FOOTER, WIDTH - EDGE - left
    gaps = (columns - 1) * GAP
    beside = min((wide - BESIDE - gaps) / columns, (free - GAP) / 2)
    below = min((wide - gaps) / columns, (free - BELOW - GAP) / 2)
    if beside < below:
        step = (wide - below) / (columns - 1)
        half = (wide - 0.5) / 2
        verdict = (left, FOOTER, half, BELOW)
        return Plan(below, step, left, top, verdict, (left + half + 0.5, FOOTER, half, BELOW))
    pictures = columns * beside + gaps
    x, width = left + pictures + 0.4, wide - pictures - 0.4
    under = free - 2 * beside - GAP
    if under >= FOREST:
        forest = (left, FOOTER, pictures, under)
        return Plan(beside, beside + GAP, left, top, (x, FOOTER, width, top - FOOTER), forest)
    half = (top - FOOTER) / 2
    verdict = (x, FOOTER + half, width, half)
    return Plan(beside, beside + GAP, left, top, verdict, (x, FOOTER, width, half))


@functools.cache
def _measured(text: str, size: float, weight: str) -> float:
    """Width of a line in inches, a little more than any backend makes it."""
    path = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight))
    return 1.03 * float(path.get_extents().width) / 72 if text.strip() else 0.0


def _wrapped(text: str, width: float, size: float, weight: str) -> list[str]:
    """Break a text into lines of at most the width in inches; a longer word has its own."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _measured(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _fitted(
    text: str, width: float, lines: int, largest: float, smallest: float, weight: str = "normal"
) -> tuple[str, float]:
    """Break a text into few lines of a width, in the largest type in which it fits.

    Raises:
        ValueError: if it does not fit in the smallest either.
    """
    for size in np.arange(largest, smallest - 0.1, -0.5):
        found = _wrapped(text, width, size, weight)
        if len(found) <= lines and all(_measured(line, size, weight) <= width for line in found):
            return "\n".join(found), float(size)
    raise ValueError(f"this text does not fit on the slide, make it shorter: {text!r}")


def _write(figure: Figure, x: float, y: float, text: str, **rest: Any) -> Any:
    """Write at a place in inches."""
    return figure.text(x / WIDTH, y / HEIGHT, text, **rest)


def _panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Make axes at a place in inches."""
    share = (left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT)
    return figure.add_axes(share)


def _column(
    figure: Figure,
    place: tuple[float, float],
    side: float,
    name: str,
    picture: NDArray[np.float32],
    tumour: NDArray[np.bool_],
    box: Box,
    window: Window,
    ssim: tuple[float, float] | None,
) -> None:
    """Draw the slice and below it the enlarged tumour, the name above and SSIM below."""
    x, top = place
    middle = x + side / 2
    label, size = _fitted(name, side + 0.5 * GAP, 2, 14, 7, "bold")
    _write(figure, middle, top + 0.1, label, size=size, weight="bold", ha="center", va="baseline")
    for row, part in enumerate((None, box)):
        axes = _panel(figure, x, top - (row + 1) * side - row * GAP, side, side)
        grey(axes, picture, window, box=part)
        axes.set_anchor("N")
        contour(axes, tumour, width=1.2)
        if part is None:
            left, upper, right, lower = box
            axes.add_patch(
                Rectangle((left, upper), right - left, lower - upper, fill=False, ec="white")
            )
    below = top - 2 * side - GAP - 0.08
    if ssim is None:
        _write(
            figure,
            middle,
            below,
            "SSIM slice\nSSIM tumour",
            size=12,
            ha="center",
            va="top",
            color=MUTED,
        )
    else:
        text = "\n".join(f"{value:.3f}" for value in ssim)
        _write(figure, middle, below, text, size=13, weight="bold", ha="center", va="top")


def _verdicts(figure: Figure, place: Place, verdicts: Sequence[str]) -> None:
    """Write the verdict, a bullet per line, in the largest type in which it fits."""
    left, bottom, width, height = place
    _write(figure, left, bottom + height, "Verdict", size=15, weight="bold", va="top")
    for size in np.arange(14.0, 8.9, -0.5):
        texts = [_wrapped(text, width - 0.17, size, "normal") for text in verdicts]
        needed = sum(1.25 * len(lines) + 0.35 for lines in texts) * size / 72
        if needed <= height - 0.36:
            break
    else:
        raise ValueError(
            f"{len(verdicts)} verdicts do not fit on the slide; make them fewer or shorter"
        )
    y = bottom + height - 0.36
    for lines in texts:
        _write(figure, left, y, "•", size=size, va="top")
        _write(figure, left + 0.17, y, "\n".join(lines), size=size, va="top", linespacing=1.2)
        y -= (1.25 * len(lines) + 0.35) * size / 72


def _forest(
    figure: Figure,
    place: Place,
    contrasts: Mapping[str, Any],
    unit: str,
    directions: tuple[str, str],
) -> None:
    """Draw the contrasts as lines with the numbers at the right."""
    left, bottom, width, height = place
    head, foot, numbers = 0.56, 0.52, 0.92
    _write(figure, left, bottom + height, "Primary contrast", size=15, weight="bold", va="top")
    below, size = _fitted(unit, width, 1, 11, 6)
    _write(figure, left, bottom + height - 0.29, below, size=size, va="top", color=MUTED)
    row = min(0.42, (height - head - foot) / len(contrasts))
    names, size = _row_names(list(contrasts), 0.36 * width, row)
    label = max(_measured(part, size, "normal") for name in names for part in name.split("\n"))
    rows = row * len(contrasts)
    inches = (left + label + 0.1, bottom + height - head - rows, width - label - 0.1 - numbers)
    axes = _panel(figure, *inches, rows)
    _lines(axes, contrasts)
    axes.set_yticks(range(len(names)), names, size=size)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=10)
    axes.spines["left"].set_visible(False)
    _sides(axes, directions, inches[2] / 2 + min(numbers, label) - 0.1)


def _sides(axes: Axes, directions: tuple[str, str], room: float) -> None:
    """Say below the axis what the two sides of zero mean, in at most `room` inches each."""
    texts = (f"← {directions[0]}", "right", -6), (f"{directions[1]} →", "left", 6)
    for text, side, shift in texts:
        line, small = _fitted(text, room, 2, 10, 6, "bold")
        axes.annotate(
            line,
            (0, 0),
            (shift, -22),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
            size=small,
            weight="bold",
        )


def _row_names(names: Sequence[str], width: float, height: float) -> tuple[list[str], float]:
    """Break the names of rows so that none is wider or higher than its row, all of one size."""
    size = min(12.0, 72 * height / 1.25)
    while size >= 6:
        lines = max(1, int(72 * height / (1.2 * size)))
        try:
            return [_fitted(name, width, lines, size, size)[0] for name in names], size
        except ValueError:
            size -= 0.5
    raise ValueError(f"these names do not fit on the slide, make them shorter: {list(names)}")


def _lines(axes: Axes, contrasts: Mapping[str, Any]) -> None:
    """Draw estimates with their intervals around zero, and write them at the right."""
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    ends = [x for e in contrasts.values() for x in (e.value, e.low, e.high) if np.isfinite(x)]
    reach = 1.15 * max((abs(x) for x in ends if x), default=1)
    axes.set_xlim(-reach, reach)
    power = 10.0 ** np.floor(np.log10(0.9 * reach))
    tick = max(step * power for step in (1, 2, 3, 4, 6, 8) if step * power <= 0.9 * reach)
    axes.set_xticks([-tick, 0, tick], [f"−{tick:g}", "0", f"+{tick:g}"])
    axes.axvline(0, color=INK, linewidth=1.2)
    digits = max(2, min(4, 2 - int(np.floor(np.log10(reach)))))
    for row, (name, tone) in enumerate(colours(contrasts).items()):
        e = contrasts[name]
        axes.plot([e.low, e.high], [row, row], color=tone, lw=4, solid_capstyle="butt")
        axes.plot(e.value, row, "o", color=tone, ms=8, mec="white")
        number = f"{e.value:+.{digits}f}".replace("-", "−")
        axes.annotate(
            number,
            (1, row),
            (6, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            size=12,
            weight="bold",
        )


def _footer(figure: Figure, text: str) -> None:
    """Write what is behind the slide, and that it is no diagnosis."""
    line = [EDGE / WIDTH, 1 - EDGE / WIDTH]
    figure.add_artist(Line2D(line, [0.36 / HEIGHT] * 2, color=MUTED, lw=0.8))
    room = WIDTH - 2 * EDGE - _measured(DISCLAIMER, 10, "bold") - 0.3
    behind, size = _fitted(text, room, 1, 10, 6)
    _write(figure, EDGE, 0.29, behind, size=size, va="top", color=MUTED)
    _write(figure, WIDTH - EDGE, 0.29, DISCLAIMER, size=10, va="top", ha="right", weight="bold")
