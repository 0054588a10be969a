"""The result on one page for a talk: a message, the tumour in two restorations, all contrasts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medsr_lib.case import Case
from medsr_lib.show.estimates import Estimated, forest
from medsr_lib.show.panels import (
    MARGIN,
    WINDOW,
    Image,
    contour,
    frame,
    grey,
    hr_and_lesion,
    same_size,
    square_around,
)
from medsr_lib.show.style import INK, MUTED, choose, drawn, margin_text, name_rows, people, signed

SIZE = (13.33, 7.5)
"""Inches of a slide of 16:9."""

SIDE, EDGE = 2.5, 0.35
"""Inches of a picture's side, and of the margin."""

LEFT = (EDGE, 3.25, 6.86, 10.47)
"""Where the pictures begin, in inches: the whole image, then three cut-outs of its lesion."""

LETTERS, LINES = 62, 2
"""Of the message: letters of a line, and lines."""


@drawn
def summary_slide(
    case: Case,
    restored: Mapping[str, Image],
    *,
    ssim: Mapping[str, tuple[float, float]],
    verdicts: Sequence[str],
    contrasts: Mapping[str, Estimated],
    data: str,
    degradation: str,
    title: str,
) -> Figure:
    """Draw one slide of 16:9 for a talk: a message, the lesion in two restorations, all contrasts.

    The two are the first method and, of the others, the one with the highest SSIM in this lesion;
    each is joined to the original by this SSIM. The message says which methods have which verdict.

    Args:
        case: HR with its mask.
        restored: two to six (H, W) by method; the first is the baseline.
        ssim: SSIM of this case by method: of the whole image and in the lesion.
        verdicts: a line for a method of `contrasts`, such as `SRGAN: not inferior within margin`.
        contrasts: the primary contrast by method, from above.
        data: name of the data set.
        degradation: how LR was made, such as `bicubic ×4`.
        title: the question, above the message.

    Raises:
        ValueError: there is more than a slide holds, or a verdict on a method without contrast.
    """
    if not 2 <= len(restored) <= 6:
        raise ValueError(f"a slide holds two to six methods; got {len(restored)}")
    choose("method in ssim", restored, ssim)
    if not contrasts:
        raise ValueError("there is no contrast to draw")
    said = {name: words for name, _, words in (line.partition(": ") for line in verdicts)}
    choose("method with a verdict", said, contrasts)
    hr, lesion = hr_and_lesion(case)
    box = square_around(lesion, MARGIN)
    pictures = {"Original": hr, **same_size(restored, hr.shape)}
    baseline, *others = restored
    best = max(others, key=lambda name: ssim[name][1])
    figure = plt.figure(figsize=SIZE, layout="none")
    width, height = SIZE

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, y / height, text, **style)

    question = textwrap.shorten(title, 78, placeholder=" …")
    write(EDGE, 7.32, question, va="top", size=13, color=MUTED)
    note = "Research use only, not for diagnosis"
    write(width - EDGE, 7.32, note, va="top", ha="right", size=13, color=MUTED)
    write(EDGE, 7.02, _message(said), va="top", size=22, weight="bold", linespacing=1.15)
    bottom = 3.4
    for place, (left, name) in enumerate(zip(LEFT, ("Original", baseline, "Original", best))):
        axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
        grey(axes, pictures[name], WINDOW, box=box if place else None)
        contour(axes, lesion, width=1.2)
        shown = textwrap.shorten(name, 24, placeholder=" …") if place else "The whole image"
        write(left + SIDE / 2, bottom + SIDE + 0.1, shown, ha="center", size=14, weight="bold")
        if not place:
            frame(axes, box)
    for left, name in zip(LEFT[2:], (baseline, best)):
        axes.annotate(
            "",
            ((left - 0.08) / width, (bottom + SIDE / 2) / height),
            ((left - LEFT[2] + LEFT[1] + SIDE + 0.08) / width, (bottom + SIDE / 2) / height),
            xycoords=figure.transFigure,
            textcoords=figure.transFigure,
            arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 1.5},
        )
        whole, inside = (f"{value:.3f}" for value in ssim[name])
        middle, above = left - (LEFT[2] - LEFT[1] - SIDE) / 2, bottom + SIDE / 2
        write(middle, above + 0.1, f"SSIM\n{inside}", ha="center", size=17, weight="bold")
        write(middle, above - 0.1, f"whole image\n{whole}", va="top", ha="center", color=MUTED)
    first = next(iter(contrasts.values()))
    heading = "Gain in SSIM over bicubic: tumour − matched tissue, 95 % intervals"
    write(EDGE, 2.88, heading, size=15, weight="bold")
    right = figure.add_axes((2.6 / width, 0.95 / height, 5.6 / width, 1.8 / height))
    forest(right, contrasts, width=4)
    name_rows(right, [textwrap.shorten(name, 26, placeholder=" …") for name in contrasts])
    right.xaxis.set_major_locator(MaxNLocator(3))
    for row, (name, e) in enumerate(contrasts.items()):
        margin_text(right, row, signed(e.value, 4), size=12)
        note = f"({signed(e.low, 4)} to {signed(e.high, 4)})" if np.isfinite(e.low) else ""
        if len(set(said.values())) > 1:
            note = textwrap.shorten(said.get(name, ""), 46, placeholder=" …")
        margin_text(right, row, note, 0.95, size=12)
    right.set_xlabel("← tumour gains less   |   tumour gains more →", size=11)
    right.tick_params(labelsize=11)
    behind = (
        f"{data}, {people(first.cases, first.patients)}, LR by {degradation}; pictures: 1 image, "
        f"right: of {len(others)} methods the one with the highest SSIM in this tumour (yellow)"
    )
    write(EDGE, 0.12, behind, size=10, color=MUTED)
    return figure


def _message(said: Mapping[str, str]) -> str:
    """Which methods have which verdict, in two lines; their number where the names do not fit."""
    groups: dict[str, list[str]] = {}
    for name, words in said.items():
        groups.setdefault(words, []).append(name)
    every = f"All {len(said)} methods" if len(said) > 2 else " and ".join(said)
    named = "; ".join(
        f"{', '.join(names) if len(groups) > 1 else every}: {words}"
        for words, names in groups.items()
    )
    counted = "; ".join(f"{len(names)} of {len(said)} {words}" for words, names in groups.items())
    fits = len(textwrap.wrap(named, LETTERS)) <= LINES
    return textwrap.fill(named if fits else counted, LETTERS, max_lines=LINES, placeholder=" …")
