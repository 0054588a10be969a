"""From an interval and a margin to words: does a method harm what it restores?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from medsr_lib.assess.statistics.contrasts import Contrast
from medsr_lib.assess.statistics.estimate import Estimate

MINIMUM = 15  # patients; fewer, and 95 % intervals cover less than they say
LOWER_IS_BETTER = ("mse", "lpips")
COLUMNS = (
    *("method", "metric", "words", "value", "low", "high"),
    *("margin", "patients", "cases", "bound", "reason"),
)

Words = Literal["harms", "no harm shown", "not inferior within margin", "not enough data"]


@dataclass(frozen=True)
class Verdict:
    """What the data say, in words and in numbers.

    Attributes:
        words: of the rule of `non_inferiority`.
        reason: the same in a sentence.
        estimate: as it was given.
        margin: the loss that would matter, in the metric's unit.
        bound: the largest loss that the data allow (one-sided 95 %), as a negative number; or,
            positive, the smallest gain. NaN without an interval.
    """

    words: Words
    reason: str
    estimate: Estimate
    margin: float
    bound: float

    def __str__(self) -> str:
        return f"{self.words}. {self.reason} Difference {self.estimate}, margin {self.margin:g}."


def non_inferiority(estimate: Estimate, *, margin: float, higher_is_better: bool = True) -> Verdict:
    """Judge an estimate by its interval and a margin that was fixed before the data were seen.

    A loss of the margin is ruled out, at one-sided 5 %, where the one-sided 95 % bound, which is
    the lower end of the 90 % interval, lies above -margin. The first line that fits decides; where
    lower is better, the signs are turned first. After Piaggio et al. 2012 (JAMA 308:2594, figure
    1).

    | patients | 95 % interval   | bound        | words                                         |
    |----------|-----------------|--------------|-----------------------------------------------|
    | below 15 | any             | any          | not enough data                               |
    | any      | none            | any          | not enough data                               |
    | enough   | below -margin   | below        | harms (by more than the margin)               |
    | enough   | below 0         | <= -margin   | harms (by more than the margin, or by less)   |
    | enough   | below 0         | > -margin    | not inferior within margin (worse, by less)   |
    | enough   | above 0         | > -margin    | not inferior within margin (and better)       |
    | enough   | holds 0         | > -margin    | not inferior within margin                    |
    | enough   | holds 0         | <= -margin   | no harm shown (but none ruled out)            |

    "No harm shown" is no proof that there is none. The words are of the metric and the region that
    were measured, not of what a reader of the image would conclude.

    Args:
        estimate: of `statistics.paired_difference`: the method less what it is compared to.
        margin: the smallest loss that would matter, positive, in the metric's unit.
        higher_is_better: False for errors such as "mse".

    Raises:
        ValueError: a margin that is not a positive number, or an estimate that has a 95 % but no
            90 % interval.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a positive number in the metric's unit, got {margin}")
    if np.isfinite(estimate.low) and not np.isfinite(estimate.low90):
        raise ValueError("the estimate has no 90 % interval; give low90 and high90")
    if higher_is_better:
        low, high, bound = estimate.low, estimate.high, estimate.low90
    else:
        low, high, bound = -estimate.high, -estimate.low, -estimate.high90
    if estimate.patients < MINIMUM:
        reason = f"{estimate.patients} patients are fewer than {MINIMUM}. Nothing can be said."
        return Verdict("not enough data", reason, estimate, margin, bound)
    if not np.isfinite([low, high, bound]).all():
        reason = "There is no interval. Nothing can be said."
        return Verdict("not enough data", reason, estimate, margin, bound)
    return Verdict(*_judge(low, high, margin, bound), estimate, margin, bound)


def verdicts(
    estimates: Mapping[Contrast, Estimate], *, margins: Mapping[str, float]
) -> pd.DataFrame:
    """`non_inferiority` of each contrast against the margin of its metric, a row each.

    Args:
        estimates: of `statistics.contrasts`.
        margins: of each metric, in its unit. Lower "mse" and "lpips" are better, of all other
            metrics higher values.

    Returns:
        The columns `COLUMNS`.

    Raises:
        ValueError: no estimates, a metric without a margin, or as `non_inferiority`.
    """
    if not estimates:
        raise ValueError("there is no estimate to judge")
    rows = []
    for contrast, e in estimates.items():
        if contrast.metric not in margins:
            raise ValueError(f"no margin for {contrast.metric!r}; there are {list(margins)}")
        v = non_inferiority(
            e,
            margin=margins[contrast.metric],
            higher_is_better=contrast.metric not in LOWER_IS_BETTER,
        )
        rows.append(vars(contrast) | vars(e) | vars(v))
    return pd.DataFrame(rows)[list(COLUMNS)]


def _judge(low: float, high: float, margin: float, bound: float) -> tuple[Words, str]:
    """The lower half of the table of `non_inferiority`; more is better."""
    if bound > -margin:
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
