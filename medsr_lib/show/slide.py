"""The result on one page for a talk: a message, the tumour in two restorations, all contrasts."""

import textwrap
from collections.abc import Mapping, Sequence
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
from medsr_lib.show.style import INK, MUTED, choose, drawn, margin_text, name_rows, people, signed

SIZE = WIDTH, HEIGHT = 13.33, 7.5  # inches, as all below; 16:9
SIDE, EDGE = 2.5, 0.35  # of a picture, and the margin
LEFT, BOTTOM = (EDGE, 3.25, 6.86, 10.47), 3.4  # of the whole image and three cut-outs of its lesion


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

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / WIDTH, y / HEIGHT, text, **style)

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT))

    question = textwrap.shorten(title, 70, placeholder=" …")
    use = f"{question}.   Research use only, not for diagnosis"
    write(EDGE, 7.32, use, va="top", size=13, color=MUTED)
    write(EDGE, 7.02, _message(said), va="top", size=22, weight="bold", linespacing=1.15)
    for left, name in zip(LEFT, ("", baseline, "Original", best)):
        axes = place(left, BOTTOM, SIDE, SIDE)
        grey(axes, pictures[name or "Original"], WINDOW, box=box if name else None)
        contour(axes, lesion, width=1.2)
        if not name:
            corners(axes, box)
        shown = textwrap.shorten(name, 24, placeholder=" …") or "The whole image"
        write(left + SIDE / 2, BOTTOM + SIDE + 0.1, shown, ha="center", size=14, weight="bold")
    for left, name in zip(LEFT[1:], (baseline, best)):
        whole, inside = (f"{value:.3f}" for value in ssim[name])
        middle, y = left + (SIDE + LEFT[2] - LEFT[1]) / 2, BOTTOM + SIDE / 2
        write(middle, y + 0.1, f"SSIM\n{inside}", ha="center", size=17, weight="bold")
        write(middle, y - 0.1, f"whole image\n{whole}", va="top", ha="center", color=MUTED)
        link = place(middle - 0.45, y - 0.1, 0.9, 0.2)
        link.set_axis_off()
        link.annotate("", (0, 0.5), (1, 0.5), arrowprops={"arrowstyle": "<->", "color": INK})
    heading = "Gain in SSIM over bicubic: tumour − matched tissue, 95 % intervals"
    write(EDGE, 2.88, heading, size=15, weight="bold")
    rows = place(2.6, 0.95, 5.6, 1.8)
    forest(rows, contrasts, width=4)
    name_rows(rows, [textwrap.shorten(name, 26, placeholder=" …") for name in contrasts])
    rows.xaxis.set_major_locator(MaxNLocator(3))
    for row, (name, e) in enumerate(contrasts.items()):
        margin_text(rows, row, signed(e.value, 4), size=12)
        words = textwrap.shorten(said.get(name, ""), 46, placeholder=" …")
        margin_text(rows, row, words, 0.95, size=12)
    rows.set_xlabel("← tumour gains less   |   tumour gains more →", size=11)
    rows.tick_params(labelsize=11)
    first = next(iter(contrasts.values()))
    behind = (
        f"{data}, {people(first.cases, first.patients)}, LR by {degradation}; pictures: 1 image, "
        f"right: of {len(others)} methods the one with the highest SSIM in this tumour (yellow)"
    )
    write(EDGE, 0.12, behind, size=10, color=MUTED)
    return figure


def _message(said: Mapping[str, str]) -> str:
    """Which methods have which verdict, in two lines at most."""
    methods: dict[str, list[str]] = {}
    for name, words in said.items():
        methods.setdefault(words, []).append(name)
    every = f"All {len(said)} methods" if len(methods) == 1 < len(said) else ""
    named = "; ".join(f"{every or ', '.join(of)}: {words}" for words, of in methods.items())
    return textwrap.fill(named, 62, max_lines=2, placeholder=" …")
