"""Could you guess the class without seeing the image? From what files and compression reveal."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.assess.statistics.estimate import Estimate
from medsr_lib.assess.statistics.roc import auc, auc_interval, checked

FOLDS = 5  # of the cross-validation


@dataclass(frozen=True)
class Guess:
    """How well the class follows from numbers that are no finding.

    Attributes:
        auc: area under the ROC curve of a classifier that sees all the columns; 0.5 is guessing.
        single: AUC of each column alone, in whichever direction it points: 0.5 to 1.
    """

    auc: Estimate
    single: dict[str, float]


def guess_class(
    columns: pd.DataFrame, *, positive: ArrayLike, patients: ArrayLike, seed: int
) -> Guess:
    """Cross-validate a classifier of numbers about the files: their size, shape, JPEG quality.

    A logistic regression of the standardised columns (scikit-learn, penalty C = 1), by their
    logarithm where all values are positive, in five folds. Each patient is classified by a model
    that has not seen them; the scores of all folds are taken together. The interval is that of
    `statistics.auc_interval`, over patients, with the models as they are.

    Args:
        columns: (n, k) numbers by name, a row per image.
        positive: (n,) true or 1 for the class that is looked for.
        patients: (n,) whose image it is.
        seed: of the folds.

    Raises:
        ValueError: lengths that differ, values that are no finite numbers, or fewer patients of a
            class than folds.
    """
    try:
        values = columns.to_numpy(float)
    except (TypeError, ValueError):
        raise ValueError(f"columns must be numbers, got {columns.dtypes.to_dict()}") from None
    truth, groups = checks.binary("positive", positive), np.asarray(patients)
    for name, column in zip(columns, values.T):
        checked(column, truth, groups, f"column {name!r}")
    for name, members in (("positive", groups[truth]), ("negative", groups[~truth])):
        if (n := len(np.unique(members))) < FOLDS:
            raise ValueError(f"{FOLDS} folds need as many patients of each class, got {n} {name}")
    x = np.stack([np.log(c) if (c > 0).all() else c for c in values.T], axis=1)
    scores = np.zeros(len(x))
    parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for known, held_out in parts.split(x, truth, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores[held_out] = model.fit(x[known], truth[known]).decision_function(x[held_out])
    single = {str(name): auc(column, truth) for name, column in zip(columns, x.T)}
    return Guess(
        auc=auc_interval(scores, truth, groups),
        single={name: max(area, 1 - area) for name, area in single.items()},
    )


def traces(images: Tensor) -> pd.DataFrame:
    """What compression leaves in images (N, 1, H, W), as two numbers each that name no finding.

    Returns:
        blocks, how much stronger the grey levels jump at the borders of JPEG's blocks of 8 x 8 than
        elsewhere; fine, the standard deviation of the second differences over the image's.

    Raises:
        TypeError, ValueError: invalid images.
    """
    image_rules.check(images)
    x = images[:, 0]
    jumps = x.diff(dim=2).abs().mean(1)  # (N, W - 1)
    blocks = jumps[:, 7::8].mean(1) / jumps.mean(1)
    fine = x.diff(n=2, dim=2).std((1, 2)) / x.std((1, 2))
    return pd.DataFrame({"blocks": blocks.numpy(), "fine": fine.numpy()})
