"""The result on one page for a talk: a message, the tumour in two restorations, all contrasts."""

import textwrap
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medsr_lib.case import Case
from medsr_lib.show.estimates import Estimated, forest
from medsr_lib.show.panels import (
    MARGIN,
    WINDOW,
    Image,
    contour,
    corners,
    grey,
    hr_and_lesion,
    same_size,
    square_around,
)
from medsr_lib.show.style import MUTED, PHONE, choose, drawn, margin_text, name_rows, people, signed


def _sheet(upright: bool, rows: int) -> SimpleNamespace:
    """Where the parts lie, in inches: pictures are the whole image, baseline, original and best."""
    if not upright:
        return SimpleNamespace(
            size=(13.33, 7.5), edge=0.35, message=7.02, side=2.5, scale=1, gap="\n", lines=2,
            pictures=[(x, 3.4) for x in (0.35, 3.25, 6.86, 10.47)], chart=(2.6, 0.95, 5.6, 1.8),
            joins=[(6.3, 4.65), (9.92, 4.65)], letters=(130, 62, 90, 250, 26),
        )  # fmt: skip
    top, side = 1.1 + 0.4 * rows, 2.35
    (a, b), (low, high) = (0.1, PHONE - 0.1 - side), (top + 1.3, top + 4.0)
    return SimpleNamespace(
        size=(PHONE, high + 4.25), edge=a, message=high + 3.63, side=side, scale=0.85, gap=" ",
        pictures=[(a, high), (a, low), (b, high), (b, low)], chart=(1.4, 1.1, 2.75, 0.4 * rows),
        joins=[(x + side / 2, low - 0.37) for x in (a, b)], letters=(56, 31, 46, 76, 16), lines=4,
    )  # fmt: skip


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
    upright: bool = False,
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
        upright: draw the parts below each other, for a phone; the message has all verdicts.

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
    sheet = _sheet(upright, len(contrasts))
    (width, height), edge, side, gap = sheet.size, sheet.edge, sheet.side, sheet.gap
    figure = plt.figure(figsize=(width, height), layout="none")

    def write(x: float, y: float, text: str, size: float, letters: int = 99, **style: Any) -> None:
        lines = "\n".join(textwrap.fill(line, letters) for line in text.splitlines())
        figure.text(x / width, y / height, lines, size=size * sheet.scale, **style)

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    of_question, of_message, of_heading, of_note, of_name = sheet.letters
    question = textwrap.shorten(title, 70, placeholder=" …")
    use = f"{question}.   Research use only, not for diagnosis"
    write(edge, height - 0.18, use, 13, of_question, va="top", color=MUTED)
    message = textwrap.fill(_message(said), of_message, max_lines=sheet.lines, placeholder=" …")
    write(edge, sheet.message, message, 22, va="top", weight="bold", linespacing=1.15)
    for (left, bottom), name in zip(sheet.pictures, ("", baseline, "Original", best)):
        axes = place(left, bottom, side, side)
        grey(axes, pictures[name or "Original"], WINDOW, box=box if name else None)
        contour(axes, lesion, width=1.2)
        if not name:
            corners(axes, box)
        shown = textwrap.shorten(name, 24, placeholder=" …") or "The whole image"
        write(left + side / 2, bottom + side + 0.1, shown, 14, ha="center", weight="bold")
    for (x, y), name in zip(sheet.joins, (baseline, best)):
        whole, inside = (f"{value:.3f}" for value in ssim[name])
        write(x, y + 0.1, f"SSIM{gap}{inside}", 17, ha="center", weight="bold")
        write(x, y - 0.1, f"whole image{gap}{whole}", 10, va="top", ha="center", color=MUTED)
        if not upright:
            link = place(x - 0.45, y - 0.1, 0.9, 0.2)
            link.set_axis_off()
            link.annotate("", (0, 0.5), (1, 0.5), arrowprops={"arrowstyle": "<->", "color": MUTED})
    left, bottom, w, h = sheet.chart
    heading = "Gain in SSIM over bicubic: tumour − matched tissue, 95 % intervals"
    write(edge, bottom + h + 0.13, heading, 15, of_heading, weight="bold")
    rows = place(left, bottom, w, h)
    forest(rows, contrasts, width=4 * sheet.scale)
    name_rows(rows, [textwrap.shorten(name, of_name, placeholder=" …") for name in contrasts])
    rows.xaxis.set_major_locator(MaxNLocator(3))
    size = 12 * sheet.scale
    for row, (name, e) in enumerate(contrasts.items()):
        margin_text(rows, row, signed(e.value, 4), size=size)
        words = "" if upright else textwrap.shorten(said.get(name, ""), 46, placeholder=" …")
        margin_text(rows, row, words, 0.95, size=size)
    rows.set_xlabel("← tumour gains less   |   tumour gains more →", size=11 * sheet.scale)
    rows.tick_params(labelsize=11 * sheet.scale)
    first = next(iter(contrasts.values()))
    behind = (
        f"{data}, {people(first.cases, first.patients)}, LR by {degradation}; pictures: 1 image, "
        f"right: of {len(others)} methods the one with the highest SSIM in this tumour (yellow)"
    )
    write(edge, 0.12, behind, 10, of_note, color=MUTED)
    return figure


def _message(said: Mapping[str, str]) -> str:
    """Which methods have which verdict."""
    methods: dict[str, list[str]] = {}
    for name, words in said.items():
        methods.setdefault(words, []).append(name)
    every = f"All {len(said)} methods" if len(methods) == 1 < len(said) else ""
    return "; ".join(f"{every or ', '.join(of)}: {words}" for words, of in methods.items())
