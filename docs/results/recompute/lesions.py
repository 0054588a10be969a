"""Lesions that were erased, put in and outlined."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from medsr_lib.assess import statistics
from medsr_lib.assess.lesions import contrast_detail
from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Contrast

from .atlas import methods_of
from .rows import SEED, between_trainings, table
from .text import line, rows_of, spread

MARGIN_PAINTED = 0.01  # of the range, as in notebook 05


def outlined() -> str:
    """The segmenters' outlines: Dice, by training, its change from HR, and lesions found."""
    rows, lines = table("outlined").dropna(subset=["dice"]), []
    said = rows.set_index(["seed", "id", "method"])["found"].unstack()
    other = said.ne(said["HR"], axis=0).groupby("seed").sum()
    for method, title in {"HR": "HR", **methods_of(rows)}.items():
        by_seed = rows[rows["method"] == method].groupby("seed")
        asked = Contrast("dice", method, "HR", "tumour")
        less, flips = number(statistics.over_seeds(rows, asked)), spread(other[method], 0)
        changed = ("–", "–") if method == "HR" else (less, flips)
        found = spread(by_seed["found"].sum(), 0)
        lines.append(line(title, spread(by_seed["dice"].mean(), 2), found, *changed))
    heads = (
        "Dice",
        f"Lesions found, of {rows['id'].nunique()}",
        "Dice − HR",
        "Found otherwise than in HR",
    )
    return rows_of(line("Image", *heads), lines)


def inserted() -> str:
    """How well lesions that were put in are detected: d', and its difference from bicubic."""
    rows = table("inserted")
    few = rows[rows["method"].isin({"HR", "bicubic"})]
    d = contrast_detail.detectability(few, seed=SEED).set_index(contrast_detail.KEYS)["d"]
    kept = rows[rows["method"] != "HR"]
    gained = contrast_detail.differences(kept, baseline="bicubic", seed=SEED)
    gained = gained.set_index(contrast_detail.KEYS)
    lesions = list(dict.fromkeys(zip(rows["diameter"], rows["contrast"])))
    lines = [
        line(f"{name}: d'", *(f"{d[name, *of]:.2f}" for of in lesions))
        for name in d.index.levels[0]
    ]
    for method, title in methods_of(rows).items():
        if method == "bicubic":
            continue
        found = (gained.loc[(method, *of)] for of in lesions)
        cells = (number(e, 2) + "*" * bool(e["p_adjusted"] < 0.05) for e in found)
        lines.append(line(title, *cells))
    return rows_of(line("Method", *(f"{d:g} pixels, {c:g}" for d, c in lesions)), lines)


def placed() -> pd.DataFrame:
    """The lesions for which there was room."""
    return table("inserted").query("place >= 0")


def painted() -> str:
    """The change of contrast where a tumour was erased, and whether it is shown not to matter."""
    rows, lines = table("painted"), []
    for method, title in methods_of(rows).items():
        change = statistics.case_differences(rows, Contrast("painted_in", method, "HR", "tumour"))
        e = statistics.equivalence(change, margin=MARGIN_PAINTED, seed=SEED)
        of_90 = number(replace(e.estimate, low=e.estimate.low90, high=e.estimate.high90), 4)
        lines.append(line(title, of_90, e.words, f"{e.worst:+.3f}".replace("-", "−")))
    heads = (
        "Change of contrast [90 % interval]",
        f"Within ±{MARGIN_PAINTED:g}",
        "Largest of one slice",
    )
    return rows_of(line("Method", *heads), lines)


NUMBERS: dict[str, Callable[[], str]] = {
    "outlined": outlined,
    "outlined-apart": lambda: between_trainings("outlined", "HR", "found"),
    "inserted": inserted,
    "inserted-places": lambda: str(placed().groupby(["id", "place"]).ngroups),
    "inserted-slices": lambda: str(placed()["id"].nunique()),
    "painted": painted,
    "painted-slices": lambda: str(table("painted")["id"].nunique()),
    "painted-runs": lambda: str(table("painted")["patient"].nunique()),
}
