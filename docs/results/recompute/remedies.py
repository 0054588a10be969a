"""What remedies cost and gain."""

from collections.abc import Callable

from medsr_lib.assess import statistics
from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Contrast

from .rows import SEED, table
from .text import REGIONS, line, rows_of

REMEDIES = {
    "ensemble": "mean of three trainings",
    "consistent": "made consistent with LR",
    "lesion-weighted": "more weight where HR looks like a lesion",
    "worst pixels": "the worst pixels counted again",
}
COSTS = [("psnr", "whole", 2), ("psnr", "tumour", 2), ("psnr", "rim", 2), ("ssim", "tumour", 4)]


def remedies() -> str:
    """What each remedy changes from a training with the squared error alone."""
    lines = []
    for remedy, title in REMEDIES.items():
        specs = [Contrast(metric, remedy, "squared error", region) for metric, region, _ in COSTS]
        found = statistics.contrasts_over_seeds(table("remedies"), specs)
        cells = (number(found[spec], digits) for spec, (*_, digits) in zip(specs, COSTS))
        lines.append(line(title, *cells))
    heads = [f"{metric.upper()}, {REGIONS[region]}" for metric, region, _ in COSTS]
    return rows_of(line("Remedy", *heads), lines)


def flags() -> str:
    """How well the disagreement of three trainings finds the worst pixels, and edges do."""
    rows, lines = table("flags"), []
    for region, title in REGIONS.items():
        each = rows[rows["region"] == region].groupby(["method", "patient"])["auc"].mean()
        means = (f"{each[name].mean():.3f}" for name in ("disagreement", "edges of SR"))
        asked = Contrast("auc", "disagreement", "edges of SR", region)
        more = statistics.paired_difference(rows, **vars(asked), seed=SEED)
        lines.append(line(title, *means, number(more, 3)))
    return rows_of("| Region | Disagreement | Edges of SR | Difference |", lines)


NUMBERS: dict[str, Callable[[], str]] = {
    "remedies": remedies,
    "flags": flags,
    "remedies-slices": lambda: str(table("remedies")["id"].nunique()),
}
