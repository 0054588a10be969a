"""One training is not a result: what each training of a reader says, and what most of them say.

The tables are those of `classify`, `segment` or `detect`, one for each training of the reader, put
together with a column `seed` that tells the trainings apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd

from medsr_lib import checks
from medsr_lib.assess.decisions.readers import ABOUT
from medsr_lib.assess.statistics.contrasts import Contrast, contrasts, over_seeds
from medsr_lib.assess.statistics.estimate import Estimate

MAJORITY = "majority"
CASE = [*ABOUT, "method", "region"]


def majority(table: pd.DataFrame) -> pd.DataFrame:
    """What most trainings say of each case.

    Returns:
        A row per case, method and region, ready for the summaries and for `statistics.contrasts`.
        Of a column of whole numbers (a decision, 0 or 1; a number of lesions) the largest that more
        than half of the trainings reach; of others (a probability, Dice) the mean over trainings.
        Columns of text are left out.

    Raises:
        ValueError: no column `seed`, or a case that one of the trainings lacks or has twice.
    """
    checks.columns(table, *CASE, "seed")
    seeds = table["seed"].nunique()
    by_case = table.groupby(CASE, sort=False, observed=True)
    for key, of_case in by_case["seed"]:
        if of_case.nunique() != seeds or len(of_case) != seeds:
            raise ValueError(
                f"case {key[0]}, method {key[3]!r}: {len(of_case)} rows for {seeds} trainings; "
                "every training reads every case once"
            )
    numbers = table.drop(columns=[*CASE, "seed"]).select_dtypes("number").columns
    whole = [name for name in numbers if (table[name].dropna() % 1 == 0).all()]
    means = by_case[numbers.tolist()].mean()
    means[whole] = by_case[whole].quantile(0.5, interpolation="lower")
    return means.reset_index()


def by_training(
    table: pd.DataFrame, summary: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """A summary of each training, and of what most of them say.

    Args:
        table: with a column `seed`.
        summary: `classify_summary` or `segment_summary`.

    Returns:
        The summary's columns; index method and seed, the last of each method being `MAJORITY`.

    Raises:
        ValueError: as `majority` and the summary.
    """
    of_most = majority(table)
    single = {str(seed): summary(rows) for seed, rows in table.groupby("seed", observed=True)}
    parts = single | {MAJORITY: summary(of_most)}
    found = pd.concat(parts, names=["seed"]).swaplevel()
    return found.loc[[(m, k) for m in parts[MAJORITY].index for k in parts]]


def changes(
    table: pd.DataFrame, specs: Sequence[Contrast], *, seed: int
) -> dict[Contrast, Estimate]:
    """`statistics.contrasts` over several trainings of a reader.

    Of a decision, which is 0 or 1 in all rows, it is the majority that is compared, with the score
    interval of `statistics.share_difference`, which covers where a mean of rare flips would not; of
    other metrics the mean over trainings (`statistics.over_seeds`). The range over trainings, in
    `seed_low` and `seed_high`, is what one training alone may give.

    Args:
        table: with a column `seed`.
        specs: what is asked.
        seed: of the sign flips.

    Raises:
        ValueError: as `majority` and `statistics.over_seeds`.
    """
    of_most = contrasts(majority(table), specs, seed=seed)
    found = {}
    for spec in specs:
        mean = over_seeds(table, spec)
        found[spec] = mean
        if table[spec.metric].dropna().isin((0, 1)).all():
            spread: dict[str, Any] = {
                "seeds": mean.seeds,
                "seed_low": mean.seed_low,
                "seed_high": mean.seed_high,
            }
            found[spec] = replace(of_most[spec], **spread)
    return found


def differing(table: pd.DataFrame, *, column: str, method: str) -> list[int]:
    """In how many cases each two trainings say something else of the same images.

    That is the zero line of flips: another training of the same reader, without any other method.

    Args:
        table: with a column `seed`.
        column: a decision, such as "predicted" or "found".
        method: whose images, such as "HR".

    Returns:
        A number for each pair of trainings; none where there is only one.

    Raises:
        ValueError: no such column or method.
    """
    checks.columns(table, "id", "method", "seed", column)
    rows = table[table["method"] == method]
    if rows.empty:
        raise ValueError(f"no method {method!r}; there are {table['method'].unique().tolist()}")
    said = rows.pivot(index="id", columns="seed", values=column)
    pairs = combinations(said.columns, 2)
    return [int((said[a].ne(said[b]) & said[[a, b]].notna().any(axis=1)).sum()) for a, b in pairs]
