"""Brain slices: methods, their trainings and null bands, networks out of fold, classifiers."""

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from medsr_lib.assess.sentences import number

from .rows import (
    BEST_GAINS,
    PSNR,
    SHORT,
    between_trainings,
    count,
    difference,
    over_trainings,
    recorded,
    table,
    verdicts,
    with_seeds,
)
from .text import REGIONS, decibels, edges, line, reading, rows_of, signed, spread

BRAIN = ["bicubic", "linear", "ESPCN", "SRResNet", "SRGAN", "SRMD", "esrgan-slim"]
SEEDS = {"": "seed 0", "-seed1": "seed 1", "-seed2": "seed 2"}
PAIRS = [  # method, baseline, as the page says it, trainings where they are not several
    ("ESPCN", "linear", "ESPCN − linear", ""),
    ("SRResNet", "linear", "SRResNet − linear", ""),
    ("SRResNet", "ESPCN", "SRResNet − ESPCN", ""),
    ("SRGAN", "SRResNet", "SRGAN − SRResNet, from which it was trained further", "1"),
    ("SRMD", "linear", "SRMD − linear", "not ours"),
    ("esrgan-slim", "bicubic", "esrgan-slim − bicubic", "not ours"),
]


def differences() -> str:
    """PSNR in the tumour of one method less another, and the range of the trainings."""
    lines = []
    for method, baseline, title, trained in PAIRS:
        e = difference(method, baseline, "tumour")
        spread = f"{e.seeds}, from {e.seed_low:.2f} to {e.seed_high:.2f}" if e.seeds else trained
        value = f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]".replace("-", "−")
        lines.append(f"| {title} | {value} | {spread} |")
    return rows_of("| Comparison | Difference, dB | Trainings |", lines)


def means_by_region(name: str = "brain") -> pd.DataFrame:
    """PSNR and SSIM by region and method; a method with several trainings as their mean."""
    return with_seeds(name).groupby(["region", "method"])[["psnr", "ssim"]].mean()


def means(name: str = "brain", methods: Sequence[str] = BRAIN) -> str:
    """The table of `means_by_region`."""
    mean, lines = means_by_region(name), []
    for region, title in REGIONS.items():
        cells = [mean.loc[(region, method)] for method in methods]
        shown = [f"{cell['psnr']:.2f} · {cell['ssim']:.4f}" for cell in cells]
        lines.append(line(title, *shown))
    return rows_of(line("Region", *methods), lines)


def bands(name_of: str = "brain", methods: Sequence[str] = BRAIN[1:]) -> str:
    """The contrast in SSIM of each training, its band and the verdict."""
    held, lines = verdicts(name_of), []
    for method in methods:
        names = {method + seed: f"{method}, {said}" for seed, said in SEEDS.items()}
        names = {key: title for key, title in names.items() if ("ssim", key) in held.index}
        for name, title in names.items() if len(names) > 1 else [(method, method)]:
            row = held.loc[("ssim", name)]
            lines.append(line(title, signed(row, "contrast"), edges(row), reading(row)))
    head = "| Method | Contrast, SSIM | Null band at the same gain | Reading |"
    return rows_of(head, lines).replace("-0.", "−0.")


def contrast_of(method: str) -> str:
    """Its contrast in SSIM with the interval, without a plus."""
    return signed(verdicts("brain").loc[("ssim", method)], "contrast").replace("+", "")


def band_of(method: str) -> str:
    """What a uniform change of the same gain shows, in SSIM."""
    return edges(verdicts("brain").loc[("ssim", method)]).replace("-", "−")


def erased(column: str) -> float:
    """Mean over the slices whose tumour was erased: their SSIM, or the tumour's share."""
    return float(table("erased")[column].mean())


def diagnoses() -> str:
    """Types named correctly and flipped, and Dice of the outlines, by method."""
    rows, lines = table("decisions"), []
    for method in ["HR", *BRAIN[:5]]:
        by_seed = rows[rows["method"] == method].groupby("seed")
        flips = "–" if method == "HR" else spread(by_seed["flipped"].sum(), 0)
        right, dice = 100 * by_seed["right"].mean(), by_seed["dice"].mean()
        lines.append(line(method, spread(right, 0), flips, spread(dice, 2)))
    heads = f"Types that flip, of {rows['id'].nunique()}", "Dice of the segmenter"
    return rows_of(line("Image", "Types named correctly, %", *heads), lines)


def classified(method: str) -> str:
    """Change from HR in the share of tumours whose type is named correctly, in percent."""
    (row,) = (
        row
        for row in recorded("decisions")["decisions"]
        if (row["metric"], row["method"]) == ("right", method)
    )
    value, low, high = (f"{100 * row[end]:.1f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "−")


BEST = {"best-x2": "×2, bicubic", "best-x4": "×4, bicubic", "best-kspace": "×4, k-space"}


def best() -> str:
    """Gain in PSNR of our best network, by scale and degradation, over its trainings; and how many
    of these are distinguishable from a uniform change of the image."""
    lines = []
    for name, title in BEST.items():
        found = [
            e
            for base in ("bicubic", "linear")
            for e in over_trainings(with_seeds(name), "WDSR", base, *PSNR)
        ]
        spread = f"{found[-1].seed_low:.2f} to {found[-1].seed_high:.2f}"
        held = verdicts(name).loc["ssim"].filter(regex=r"^WDSR(-seed\d)?$", axis=0)["verdict"]
        outside = f"{(held != SHORT).sum()} of {len(held)}"
        lines.append(line(title, *(number(e, 2) for e in found), spread, outside))
    heads = [f"{REGIONS[region]}, over {base}" for base, region in BEST_GAINS]
    return rows_of(line("LR", *heads, "that, by training", "outside the null band"), lines)


FOLDS = ["bicubic", "linear", "lanczos", "esrgan-medium", "SRMD", "WDSR"]
FOLD_GAINS = [
    *(("WDSR", base, region) for base, region in BEST_GAINS),
    *(("SRMD", "linear", "tumour"), ("WDSR", "SRMD", "tumour")),
]


def folds() -> str:
    """Gain in PSNR out of fold: of each fold, by networks trained on the two others, and of all."""
    rows, lines = with_seeds("best-folds"), []
    for fold in (1, 2, 3, "all"):
        of = rows if fold == "all" else rows[rows["fold"] == fold]
        n = f"{of['id'].nunique()} in {of['patient'].nunique()}"
        found = [over_trainings(of, a, b, ("psnr", where))[0] for a, b, where in FOLD_GAINS]
        lines.append(line(str(fold), n, *(number(e, 2) for e in found)))
    heads = [f"{a} − {b}, {REGIONS[region]}" for a, b, region in FOLD_GAINS]
    return rows_of(line("Fold", "n, slices in runs", *heads), lines)


NUMBERS: dict[str, Callable[[], str]] = {
    "diagnoses": diagnoses,
    "diagnoses-apart": lambda: between_trainings("decisions", "HR"),
    "bicubic-classified": lambda: classified("bicubic"),
    "espcn-classified": lambda: classified("ESPCN"),
    "srgan-classified": lambda: classified("SRGAN"),
    "best": best,
    "best-means": partial(means, "best-x4", ["bicubic", "linear", "SRMD", "WDSR", "WDSR-mean"]),
    "best-slices": lambda: count("id", name="best-x4"),
    "best-runs": lambda: count("patient", name="best-x4"),
    "best-bands": partial(bands, "best-x4", ["SRMD", "WDSR", "WDSR-mean"]),
    "wdsr-tumour": lambda: decibels(difference("WDSR", "linear", "tumour", "best-x4")),
    "best-srmd": lambda: decibels(difference("WDSR", "SRMD", "tumour", "best-x4")),
    "folds": folds,
    "folds-tumour": lambda: decibels(difference("WDSR", "linear", "tumour", "best-folds")),
    "folds-slices": lambda: count("id", name="best-folds"),
    "folds-runs": lambda: count("patient", name="best-folds"),
    "folds-means": partial(means, "best-folds", FOLDS),
    "folds-bands": partial(bands, "best-folds", FOLDS[1:]),
    "folds-matched": lambda: count("id", "matched", "best-folds"),
    "erased-ssim": lambda: f"{erased('ssim'):.3f}",
    "erased-share": lambda: f"{100 * (1 - erased('share')):.1f} %",
    "erased-slices": lambda: str(len(table("erased"))),
    "slices": lambda: count("id"),
    "runs": lambda: count("patient"),
    "slices-brain": lambda: count("id", "brain"),
    "slices-matched": lambda: count("id", "matched"),
    "runs-matched": lambda: count("patient", "matched"),
    "means": means,
    "differences": differences,
    "bands": bands,
    "espcn-tumour": lambda: decibels(difference("ESPCN", "linear", "tumour")),
    "espcn-whole": lambda: decibels(difference("ESPCN", "linear", "whole")),
    "srresnet-tumour": lambda: decibels(difference("SRResNet", "linear", "tumour")),
    "srresnet-whole": lambda: decibels(difference("SRResNet", "linear", "whole")),
    "srmd-tumour": lambda: decibels(difference("SRMD", "linear", "tumour")),
    "espcn-contrast": lambda: contrast_of("ESPCN"),
    "espcn-band": lambda: band_of("ESPCN"),
}
