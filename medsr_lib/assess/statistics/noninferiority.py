"""From an interval and a margin to words: does a method harm what it restores?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from medsr_lib.assess.statistics.contrasts import Estimate, non_inferiority

MINIMUM = 15  # patients; fewer, and 95 % intervals cover less than they say
LOWER_IS_BETTER = ("mse", "lpips")

Words = Literal["harms", "no harm shown", "not inferior within margin", "not enough data"]


@dataclass(frozen=True)
class Verdict:
    """What the data say, in words and in numbers.

    Attributes:
        method, metric: what was judged, and by what.
        words: of the rule of `verdict`.
        value, low, high: the estimate and its 95 % interval, as they were given.
        margin: the loss that would matter, in the metric's unit.
        patients, slices: that went in.
        bound: the largest loss that the data allow (one-sided 95 %); negative, or a gain.
        reason: the same in a sentence.
    """

    method: str
    metric: str
    words: Words
    value: float
    low: float
    high: float
    margin: float
    patients: int
    slices: int
    bound: float
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.method}, {self.metric}: {self.words}. {self.reason} Difference "
            f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}], margin {self.margin:g} "
            f"(n = {self.patients} patients, {self.slices} slices)."
        )


def verdict(
    estimate: Estimate,
    *,
    margin: float,
    method: str,
    metric: str,
    minimum: int = MINIMUM,
    higher_is_better: bool = True,
) -> Verdict:
    """Judge an estimate by its interval and a margin that was fixed beforehand.

    The first line that fits decides. "Worse" and "better" are the 95 % interval's, whether a loss
    of the margin is ruled out is `statistics.non_inferiority`'s (one-sided 95 % bound); where lower
    is better, the signs are turned first. After Piaggio et al. 2012 (JAMA 308:2594, figure 1).

    | patients  | 95 % interval   | bound        | words                                         |
    |-----------|-----------------|--------------|-----------------------------------------------|
    | < minimum | any             | any          | not enough data                               |
    | any       | none            | any          | not enough data                               |
    | enough    | below -margin   | below        | harms (by more than the margin)               |
    | enough    | below 0         | <= -margin   | harms (by more than the margin, or by less)   |
    | enough    | below 0         | > -margin    | not inferior within margin (worse, by less)   |
    | enough    | above 0         | > -margin    | not inferior within margin (and better)       |
    | enough    | holds 0         | > -margin    | not inferior within margin                    |
    | enough    | holds 0         | <= -margin   | no harm shown (but none ruled out)            |

    "No harm shown" is no proof that there is none. The words are of the metric and the region that
    were measured, not of what a reader of the image would conclude.

    Args:
        estimate: of `statistics.paired_difference`: the method less what it is compared to.
        margin: the smallest loss that would matter, positive, in the metric's unit.
        method, metric: names, for the sentence.
        minimum: patients below which nothing is said.
        higher_is_better: False for errors such as "mse".

    Raises:
        ValueError: as `non_inferiority`; a metric known as an error taken as better when higher.
    """
    if higher_is_better and metric.lower() in LOWER_IS_BETTER:
        raise ValueError(f"lower {metric} is better; give higher_is_better=False")
    against = non_inferiority(estimate, margin=margin, higher_is_better=higher_is_better)
    ends = (estimate.low, estimate.high)
    low, high = ends if higher_is_better else (-ends[1], -ends[0])
    if estimate.patients < minimum:
        words, reason = _little(f"{estimate.patients} patients are fewer than {minimum}.")
    elif not np.isfinite([low, high, against.bound]).all():
        words, reason = _little("There is no interval.")
    else:
        words, reason = _judge(low, high, margin, against.not_inferior)
    return Verdict(
        method=method,
        metric=metric,
        words=words,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        margin=margin,
        patients=estimate.patients,
        slices=estimate.slices,
        bound=against.bound,
        reason=reason,
    )


def table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row per verdict, a column per attribute."""
    if not verdicts:
        raise ValueError("there is no verdict to put into a table")
    return pd.DataFrame([asdict(one) for one in verdicts])


def _little(why: str) -> tuple[Words, str]:
    return "not enough data", f"{why} Nothing can be said."


def _judge(low: float, high: float, margin: float, not_inferior: bool) -> tuple[Words, str]:
    """The lower half of the table of `verdict`; more is better."""
    if not_inferior:
        safe: Words = "not inferior within margin"
        if high < 0:
            return safe, "It is worse, but by less than the margin."
        if low > 0:
            return safe, "It is better."
        return safe, "A loss as large as the margin is ruled out."
    if high < -margin:
        return "harms", "It is worse by more than the margin."
    if high < 0:
        return "harms", "It is worse; whether by more than the margin is open."
    return "no harm shown", "But a loss as large as the margin is not ruled out either."
