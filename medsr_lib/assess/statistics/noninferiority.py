"""From an interval and a margin to words: does a method harm what it restores?"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from medsr_lib import checks
from medsr_lib.assess.statistics.contrasts import Contrast
from medsr_lib.assess.statistics.estimate import Estimate

MINIMUM = 15  # patients; fewer, and 95 % intervals cover less than they say
LOWER_IS_BETTER = ("mse", "lpips")
COLUMNS = (
    *("method", "metric", "words", "value", "low", "high"),
    *("margin", "patients", "cases", "bound", "reason"),
)

Words = Literal["harms", "no harm shown", "not inferior within margin", "not enough data"]


class Verdict(NamedTuple):
    """What the data say.

    Attributes:
        words: of the rule of `non_inferiority`.
        reason: the same in a sentence.
        bound: the largest loss that the data allow (one-sided 95 %), as a negative number; or,
            positive, the smallest gain. NaN without an interval.
    """

    words: Words
    reason: str
    bound: float


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
    checks.positive("margin", margin)
    if np.isfinite(estimate.low) and not np.isfinite(estimate.low90):
        raise ValueError("the estimate has no 90 % interval; give low90 and high90")
    if higher_is_better:
        low, high, bound = estimate.low, estimate.high, estimate.low90
    else:
        low, high, bound = -estimate.high, -estimate.low, -estimate.high90
    if estimate.patients < MINIMUM:
        reason = f"{estimate.patients} patients are fewer than {MINIMUM}. Nothing can be said."
        return Verdict("not enough data", reason, bound)
    if not np.isfinite([low, high, bound]).all():
        return Verdict("not enough data", "There is no interval. Nothing can be said.", bound)
    if bound > -margin:
        reason = "A loss as large as the margin is ruled out."
        if high < 0:
            reason = "It is worse, but by less than the margin."
        elif low > 0:
            reason = "It is better."
        return Verdict("not inferior within margin", reason, bound)
    if high < -margin:
        return Verdict("harms", "It is worse by more than the margin.", bound)
    if high < 0:
        return Verdict("harms", "It is worse; whether by more than the margin is open.", bound)
    reason = "But a loss as large as the margin is not ruled out either."
    return Verdict("no harm shown", reason, bound)


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
        margin, more = margins[contrast.metric], contrast.metric not in LOWER_IS_BETTER
        verdict = non_inferiority(e, margin=margin, higher_is_better=more)
        rows.append(vars(contrast) | vars(e) | verdict._asdict() | {"margin": margin})
    return pd.DataFrame(rows)[list(COLUMNS)]
