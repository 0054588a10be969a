"""Could a class be told without a look at the images? From what their files alone give away."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medsr_lib.assess.statistics.roc import auc, auc_interval

Array = NDArray[np.floating]


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
