"""The result on one page for a talk: pictures of one case, verdict, primary contrast."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from medsr_lib.case import Case
from medsr_lib.show.estimates import Estimated, forest
from medsr_lib.show.panels import (
    MARGIN,
    WINDOW,
    Image,
    bare,
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

BESIDE = 2
"""Up to so many methods, the findings are beside the pictures; below those of more."""

ROOM = {True: (42, 11, 16), False: (52, 8, 28)}
"""Beside the pictures or not: letters of a line of the verdict, lines, letters of a name."""


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
    """Draw one slide of 16:9 for a talk: pictures of one case, verdict and primary contrast.

    Args:
        case: HR with its mask.
        restored: two to six (H, W) by method, in the order of the columns.
        ssim: SSIM of this case by method: of the whole image and in the lesion.
        verdicts: short lines, such as `SRGAN: not inferior within margin`.
        contrasts: the primary contrast by method, from above.
        data: name of the data set.
        degradation: how LR was made, such as `bicubic ×4`.
        title: the finding, or the question.

    Raises:
        ValueError: there is more than a slide holds.
    """
    if not 2 <= len(restored) <= 6:
        raise ValueError(f"a slide holds two to six methods; got {len(restored)}")
    choose("method in ssim", restored, ssim)
    if not contrasts:
        raise ValueError("there is no contrast to draw")
    beside = len(restored) <= BESIDE
    letters, room, short = ROOM[beside]
    bullets = [textwrap.fill(f"• {text}", letters, subsequent_indent="   ") for text in verdicts]
    words = "\n".join(bullets)
    if words.count("\n") >= room:
        raise ValueError(f"{len(verdicts)} verdicts do not fit on a slide: make them fewer")
    hr, lesion = hr_and_lesion(case)
    box = square_around(lesion, MARGIN)
    pictures = {"Original": hr, **same_size(restored, hr.shape)}
    scores = {name: f"{whole:.3f}\n{inside:.3f}" for name, (whole, inside) in ssim.items()}
    scores["Original"] = "SSIM image\nSSIM tumour"
    figure = plt.figure(figsize=SIZE, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    figure.suptitle(textwrap.fill(title, 72), x=0.01, ha="left", size=22, weight="bold")
    across, down = {"width_ratios": (1.65, 1)}, {"height_ratios": (2, 1)}
    shape = (1, 2) if beside else (2, 1)
    parts: Any = figure.subfigures(*shape, **(across if beside else down))
    above, below = parts
    left, right = below.subplots(*shape[::-1])
    panels = above.subplots(2, len(pictures), squeeze=False)
    for (whole, inside), (name, picture) in zip(panels.T, pictures.items()):
        grey(whole, picture, WINDOW)
        frame(whole, box)
        grey(inside, picture, WINDOW, box=box)
        for axes in (whole, inside):
            contour(axes, lesion, width=1.2)
        width = 84 // len(pictures)
        whole.set_title(textwrap.fill(name, width), loc="center", size=14, weight="bold")
        tone, weight = (MUTED, "normal") if name == "Original" else (INK, "bold")
        inside.set_xlabel(scores[name], size=13, color=tone, weight=weight)
    bare(left)
    left.set_title("Verdict", size=15, weight="bold")
    left.text(0, 0.98, words, va="top", size=13, linespacing=1.35).set_in_layout(False)
    forest(right, contrasts, width=4)
    name_rows(right, [textwrap.shorten(name, short, placeholder=" …") for name in contrasts])
    right.xaxis.set_major_locator(MaxNLocator(3))
    for row, e in enumerate(contrasts.values()):
        margin_text(right, row, signed(e.value, 4), size=12)
    right.set_title("Primary contrast", size=15, weight="bold")
    right.set_xlabel(
        "← tumour gains less   |   tumour gains more →\n"
        "gain in SSIM over bicubic, tumour − matched tissue",
        size=11,
    )
    right.tick_params(labelsize=11)
    first = next(iter(contrasts.values()))
    behind = (
        f"{data}, {people(first.cases, first.patients)}, LR by {degradation}; pictures: 1 image; "
        "yellow: outline of the tumour; lines: 95 % intervals"
    )
    figure.supxlabel(
        f"{behind}.   Research use only, not for diagnosis", x=0.01, ha="left", size=10, color=MUTED
    )
    return figure
