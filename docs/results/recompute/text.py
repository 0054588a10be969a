"""Numbers and tables as the pages show them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Estimate

from .rows import SHORT

REGIONS = {
    "whole": "whole slice",
    "brain": "brain",
    "tumour": "tumour",
    "core": "tumour's core",
    "rim": "tumour's rim",
    "matched": "matched brain",
}


def decibels(e: Estimate) -> str:
    """A difference of PSNR with its interval, and a minus that does not break."""
    return f"{e.value:.2f} dB [{e.low:.2f}, {e.high:.2f}]".replace("-", "−")


def line(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def rows_of(head: str, lines: list[str]) -> str:
    """A table of Markdown."""
    columns = head.count("|") - 1
    return "\n".join(["", "", head, "|" + "---|" * columns, *lines, ""])


def signed(row: pd.Series, name: str) -> str:
    """A difference of SSIM with its interval."""
    return f"{row[name]:+.4f} [{row[f'{name}_low']:+.4f}, {row[f'{name}_high']:+.4f}]"


def edges(row: pd.Series) -> str:
    """A null band, in SSIM."""
    return f"{row['band_low']:+.4f} to {row['band_high']:+.4f}"


def reading(row: pd.Series) -> str:
    """The verdict, and for one outside the band how far, with its p."""
    if row["verdict"] == SHORT:
        return SHORT
    return f"outside: distance {signed(row, 'distance')}, p = {row['p_adjusted']:.3f}"


def spread(values: pd.Series, digits: int) -> str:
    """Mean over the trainings, with the least and the greatest."""
    mean, low, high = (f"{x:.{digits}f}" for x in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})"


def ranged(e: Estimate, digits: int, factor: int = 1) -> str:
    """A difference with its interval, and from the least to the greatest of several trainings."""
    ends = (f"{factor * end:+.{digits}f}" for end in (e.seed_low, e.seed_high))
    trainings = f" ({' to '.join(ends)})".replace("-", "−") if e.seeds > 1 else ""
    return number(e, digits, factor=factor) + trainings


def area(e: Mapping[str, Any], digits: int = 3) -> str:
    """An area under the ROC curve, or a change of it, with its interval."""
    value, low, high = (f"{e[end]:.{digits}f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "−")
