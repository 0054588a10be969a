"""The kept rows, and differences over runs of neighbouring slices and over trainings."""

import json
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from medsr_lib.assess import statistics
from medsr_lib.assess.statistics import Contrast, Estimate

HERE = Path(__file__).parents[1]
SEED = 0  # of the bootstrap, as in the runs
SHORT = "not distinguishable from a uniform change"
PSNR = [("psnr", "whole"), ("psnr", "tumour")]
BEST_GAINS = [(base, region) for base in ("bicubic", "linear") for _, region in PSNR]


@cache
def table(name: str) -> pd.DataFrame:
    """The rows that `keep.py` kept."""
    return pd.read_csv(HERE / f"{name}.csv.gz", dtype={"id": str})


@cache
def recorded(name: str) -> dict[str, Any]:
    """What the run of a table recorded."""
    (run,) = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    values: dict[str, Any] = run["values"]
    return values


@cache
def with_seeds(name: str) -> pd.DataFrame:
    """Rows in which a training is a method's seed, and no longer a method."""
    rows = table(name)
    of = rows["method"].str.partition("-seed")
    return rows.assign(method=of[0], seed=of[2].replace("", "0").astype(int))


def difference(method: str, baseline: str, region: str, name: str = "brain") -> Estimate:
    """Of PSNR, over trainings where a method has several."""
    return over_trainings(with_seeds(name), method, baseline, ("psnr", region))[0]


def over_trainings(
    rows: pd.DataFrame, method: str, baseline: str, *asked: tuple[str, ...]
) -> list[Estimate]:
    """Differences, each of a metric in a region, over the trainings of the method. A baseline
    without training is the same for each; a method that was trained once is compared with that
    training of its baseline."""
    specs = [Contrast(metric, method, baseline, *where) for metric, *where in asked]
    own = rows[rows["method"] == method]
    seeds = set(own["seed"])
    if len(seeds) == 1:
        found = statistics.contrasts(rows[rows["seed"].isin(seeds)], specs, seed=SEED)
        return [found[spec] for spec in specs]
    base = rows[rows["method"] == baseline]
    if base["seed"].nunique() == 1:
        base = pd.concat([base.assign(seed=seed) for seed in seeds])
    over_seeds = statistics.contrasts_over_seeds(pd.concat([own, base]), specs)
    return [over_seeds[spec] for spec in specs]


def count(unit: str, region: str = "whole", name: str = "brain") -> str:
    """How many slices or runs ("id", "patient") were measured in a region."""
    rows = table(name)
    measured = rows[(rows["region"] == region) & rows["ssim"].notna()]
    return str(measured[unit].nunique())


@cache
def verdicts(name: str) -> pd.DataFrame:
    """Of all methods and trainings, p corrected for all of them and both metrics."""
    found = statistics.null_bands(table(name), baseline="bicubic", seed=SEED)
    return statistics.verdict_table(found).set_index(["metric", "method"])


def between_trainings(
    name: str = "chest", image: str = "original", decision: str = "predicted"
) -> str:
    """How many decisions two trainings of one network differ in on the original images."""
    rows = table(name).dropna(subset=[decision]).query("method == @image")
    rows = rows.drop_duplicates(["id", "seed"])  # the same for each degradation
    said = rows.pivot(index="id", columns="seed", values=decision)
    apart = [(said[a] != said[b]).sum() for a, b in combinations(said, 2)]
    return f"{min(apart)} to {max(apart)}"
