"""What a reader would see of a restored tumour, and what classifiers say of it."""

import re
from collections.abc import Callable
from functools import partial

import pandas as pd

from medsr_lib.assess.sentences import number

from .atlas import KINDS, methods_of, scaled
from .brain import bands
from .rows import PSNR, between_trainings, over_trainings, table, with_seeds
from .text import line, ranged, rows_of, spread

LOOKS = [("sharpness_change", 100, 0), ("brightness_shift_sd", 1, 3), ("cnr_change", 1, 2)]
INVENTED = ("invented", 1, 3)
DECIDED = ("decided-x2", "decided-x3", "decided-x4", "decided-thick-x2", "decided-thick-x3")
LATER = {2: "seen-thick-x2", 3: "seen-thick-x3"}  # upscalerjs thick, measured after the others
ADVERSARIAL = ["linear", "WDSR", "SRGAN-250", "SRGAN-500", "SRGAN-2000"]
INVENTLESS = ["linear", "HR, low-pass", "HR, sharper low-pass"]  # they cannot invent


def looks(rows: pd.DataFrame, method: str, base: str, *of: tuple[str, int, int]) -> list[str]:
    """How measures of the tumour's look differ between two images, with their intervals; each with
    a factor and the digits that are shown."""
    found = over_trainings(rows, method, base, *((metric, "tumour") for metric, *_ in of))
    return [number(e, digits, factor=factor) for e, (_, factor, digits) in zip(found, of)]


def inventless(rows: pd.DataFrame) -> str:
    """Which of the images that cannot invent seems to, most: by the mean over runs."""
    mean = rows.groupby(["method", "patient"])["invented"].mean().groupby("method").mean()
    return str(mean[INVENTLESS].idxmax())


def looked(scale: int) -> pd.DataFrame:
    """What is seen of all methods at a scale."""
    rows = with_seeds(f"seen-x{scale}")
    if scale in LATER:
        later = with_seeds(LATER[scale])
        rows = pd.concat([rows, later[later["method"] == "esrgan-thick"]])
    return rows


def seen(scale: int) -> str:
    """How the tumour's look changes from HR; what came back, and what was invented."""
    every, lines = looked(scale), []
    for kind, lr in KINDS.items():
        rows = every[every["degradation"] == kind]
        of_runs = rows.groupby(["method", "patient"])[["slope", "consistency"]].mean()
        mean, zero = of_runs.groupby("method").mean(), inventless(rows)
        for method, title in methods_of(rows).items():
            cells = looks(rows, method, "HR", *LOOKS)
            more = ["–"] if method == zero else looks(rows, method, zero, INVENTED)
            slope, misfit = mean.loc[method]
            cells += [f"{slope:.2f}".replace("-", "−"), *more, f"{100 * misfit:.2f}"]
            lines.append(line(lr, title, *cells))
    heads = ("Sharpness of the border, %", "Brightness, sd", "CNR", "Came back")
    return rows_of(line("LR by", "Method", *heads, "Invented", "Misfit to LR, %"), lines)


def decided(name: str) -> str:
    """Types that classifiers name correctly, and that flip, by method and degradation."""
    rows, lines = table(name), []
    for method, title in {"HR": "HR", **methods_of(rows)}.items():
        cells = []
        for kind in KINDS:
            of = rows[(rows["degradation"] == kind) & (rows["method"] == method)].groupby("seed")
            flips = "–" if method == "HR" else spread(of["flipped"].sum(), 0)
            cells += [spread(100 * of["right"].mean(), 0), flips]
        lines.append(line(title, *cells))
    n = rows["id"].nunique()
    heads = [f"{lr}: {said}" for lr in KINDS.values() for said in ("correct, %", f"flip, of {n}")]
    return rows_of(line("Image", *heads), lines)


def early() -> str:
    """What an adversarial phase costs and gives, by how early it stops."""
    rows, lines = with_seeds("seen-ours"), []
    zero = inventless(rows)
    flips = table("decided-ours").groupby(["method", "seed"])["flipped"].sum()
    trained = flips.index.get_level_values("method").str.partition("-seed").get_level_values(0)
    for method in ADVERSARIAL:
        cells = ["–"] * 2
        if method != "WDSR":
            found = over_trainings(with_seeds("gan-x4"), method, "WDSR", *PSNR)
            cells = [ranged(e, 2) for e in found]
        (sharp,) = over_trainings(rows, method, "HR", ("sharpness_change", "tumour"))
        more = ["–"] if method == zero else looks(rows, method, zero, INVENTED)
        title = re.sub(r"SRGAN-(\d+)", r"SRGAN, \1 steps", method)
        cells += [ranged(sharp, 0, 100), *more, spread(flips[trained == method], 0)]
        lines.append(line(title, *cells))
    heads = ("PSNR, whole slice", "PSNR, tumour", "Sharpness of the border, %", "Invented")
    return rows_of(line("Method", *heads, "Types that flip"), lines)


NUMBERS: dict[str, Callable[[], str]] = {
    **scaled("seen", seen),
    **{name: partial(decided, name) for name in DECIDED},
    "seen-slices": lambda: str(table("seen-x4")["id"].nunique()),
    "seen-runs": lambda: str(table("seen-x4")["patient"].nunique()),
    "decided-apart": lambda: between_trainings("decided-x4", "HR"),
    "early": early,
    "early-bands": partial(bands, "gan-x4", [m for m in ADVERSARIAL if m.startswith("SRGAN")]),
    "early-apart": lambda: between_trainings("decided-ours", "HR"),
    "early-slices": lambda: str(table("seen-ours")["id"].nunique()),
}
