"""Could a class be told without a look at the images? From what their files alone give away."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.floating]
_BATCH = 200  # resamples held in memory at once


@dataclass(frozen=True, repr=False)
class Confound:
    """How well the class follows from numbers that are no finding.

    Attributes:
        auc: area under the ROC curve of a classifier that sees all the columns; 0.5 is guessing.
        low, high: 95 % interval over patients.
        single: AUC of each column alone, in whichever direction it points: 0.5 to 1.
        n, patients: how many images, and of how many patients.
    """

    auc: float
    low: float
    high: float
    single: dict[str, float]
    n: int
    patients: int

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {auc:.3f}" for name, auc in self.single.items())
        return (
            f"Confound(AUC {self.auc:.3f} [{self.low:.3f}, {self.high:.3f}], {self.n} images of "
            f"{self.patients} patients; alone: {columns})"
        )


def confound(
    columns: pd.DataFrame,
    *,
    positive: ArrayLike,
    patients: ArrayLike,
    seed: int,
    folds: int = 5,
    resamples: int = 2000,
) -> Confound:
    """Cross-validate a classifier of numbers about the files: their size, shape, JPEG quality.

    A logistic regression of the standardised columns (scikit-learn, penalty C = 1), by their
    logarithm where all values are positive. Each patient is judged by a model that has not seen
    them; the scores of all folds are taken together. The interval is the percentile interval of
    resampled patients (Efron & Tibshirani 1993, section 13.3) with the models as they are.

    Args:
        columns: (n, k) numbers by name, a row per image.
        positive: (n,) true or 1 for the class that is looked for.
        patients: (n,) whose image it is.
        seed: of the folds and of the resampling.
        folds: of the cross-validation.
        resamples: of the bootstrap.

    Raises:
        ValueError: lengths that differ, values that are no finite numbers, or fewer patients of a
            class than folds.
    """
    values, truth, groups = _checked(columns, positive, patients, folds)
    logs = [np.log(c) if (c > 0).all() else c for c in values.T]
    x = np.stack(logs, axis=1)
    scores = np.zeros(len(x))
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for known, held_out in parts.split(x, truth, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores[held_out] = model.fit(x[known], truth[known]).decision_function(x[held_out])
    low, high = auc_interval(scores, truth, groups, seed=seed, resamples=resamples)
    single = [auc(column, truth) for column in x.T]
    return Confound(
        auc=auc(scores, truth),
        low=low,
        high=high,
        single={str(name): max(a, 1 - a) for name, a in zip(columns, single)},
        n=len(x),
        patients=len(np.unique(groups)),
    )


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties by half.

    Mann & Whitney's U over its largest value (Hanley & McNeil 1982, Radiology 143:29).

    Args:
        scores: (n,) higher for what is rather positive.
        positive: (n,) bool.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    truth = np.asarray(positive, bool)
    n1, n0 = truth.sum(), (~truth).sum()
    if not n1 or not n0:
        raise ValueError(f"both classes are needed, got {n1} positive and {n0} negative")
    u = rankdata(np.asarray(scores, float))[truth].sum() - n1 * (n1 + 1) / 2
    return float(u / (n1 * n0))


def auc_interval(
    scores: ArrayLike,
    positive: ArrayLike,
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of `auc` when patients, with all their images, are drawn again.

    Resamples that happen to hold one class alone are left out.

    Args:
        scores, positive: as in `auc`.
        patients: (n,) whose image it is.
        seed: of the draws.
        resamples: how many.
        level: share of the resamples inside.
    """
    truth = np.asarray(positive, bool)
    _, value = np.unique(np.asarray(scores, float), return_inverse=True)
    _, who = np.unique(np.asarray(patients), return_inverse=True)
    n, rng = int(who.max()) + 1, np.random.default_rng(seed)
    found = []
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)[:, who]  # (b, N)
        found.append(_weighted_auc(weights, truth, value))
    areas = np.concatenate(found)
    areas = areas[np.isfinite(areas)]
    if not len(areas):
        return float("nan"), float("nan")
    low, high = np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weighted_auc(
    weights: NDArray[np.integer], truth: NDArray[np.bool_], value: NDArray[np.integer]
) -> Array:
    """AUC (b,) of (b, N) resamples; `value` (N,) numbers the scores from the lowest up."""
    order = np.argsort(value, kind="stable")
    starts = np.flatnonzero(np.diff(value[order], prepend=-1))
    weights = weights[:, order].astype(float)
    ones = np.add.reduceat(weights * truth[order], starts, axis=1)  # (b, U) of each score
    zeros = np.add.reduceat(weights * ~truth[order], starts, axis=1)
    below = zeros.cumsum(1) - zeros / 2
    pairs = ones.sum(1) * zeros.sum(1)
    with np.errstate(invalid="ignore"):
        return (ones * below).sum(1) / pairs


def _checked(
    columns: pd.DataFrame, positive: ArrayLike, patients: ArrayLike, folds: int
) -> tuple[Array, NDArray[np.bool_], NDArray[np.generic]]:
    try:
        values = columns.to_numpy(float)
    except (TypeError, ValueError):
        raise ValueError(f"columns must be numbers, got {columns.dtypes.to_dict()}") from None
    truth, groups = np.asarray(positive, bool), np.asarray(patients)
    if not len(values) == len(truth) == len(groups):
        raise ValueError(
            f"columns, positive and patients differ in length: {len(values)}, {len(truth)} and "
            f"{len(groups)}"
        )
    if not np.isfinite(values).all() or not values.shape[1]:
        raise ValueError("columns must be finite numbers, at least one column of them")
    for name, members in (("positive", groups[truth]), ("negative", groups[~truth])):
        if len(np.unique(members)) < folds:
            raise ValueError(
                f"{folds} folds need as many patients of each class, got "
                f"{len(np.unique(members))} that are {name}"
            )
    return values, truth, groups
