"""Do decisions change? What a fixed classifier says of SR and of HR."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from medsr_lib.assess.decisions import readers
from medsr_lib.assess.decisions.readers import ABOUT, Network
from medsr_lib.assess.restored import REFERENCE


def classify(
    classifier: Network,
    images: Mapping[str, Tensor],
    cases: pd.DataFrame,
    *,
    classes: Sequence[str],
    device: str = "auto",
) -> pd.DataFrame:
    """Have a classifier name the class of the same cases, as each method shows them.

    Args:
        classifier: images (B, 1, H, W) -> logits (B, K); a network is put into evaluation mode, and
            stays on the device it was on. Not one trained on these patients.
        images: method -> (N, 1, H, W) in [0, 1]; "HR" among them.
        cases: a row per image, in their order: columns id, patient, label; others are left.
        classes: the names of the logits in their order; `label` is one of them.
        device: "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        As `decision_table`.

    Raises:
        TypeError, ValueError: a classifier that was trained on one of the cases, where they have a
            column digest; methods without HR or of images that do not belong to `cases`, cases
            that occur twice or have a label that is no class, logits of another shape or not
            finite.
    """
    readers.check_images(classifier, images, cases)
    logits = readers.answers(classifier, images, shape=(len(classes),), batch=64, device=device)
    shares = {name: torch.softmax(z.double(), 1).numpy() for name, z in logits.items()}
    predicted = {name: p.argmax(1) for name, p in shares.items()}
    return decision_table(shares, predicted, cases, classes=classes, reference=REFERENCE)


def decision_table(
    shares: Mapping[str, NDArray[np.floating]],
    predicted: Mapping[str, NDArray[np.integer]],
    cases: pd.DataFrame,
    *,
    classes: Sequence[str],
    reference: str,
) -> pd.DataFrame:
    """Decisions on the same cases, as each method shows them, and what changed.

    Args:
        shares: method -> probability of each class, (N, K).
        predicted: method -> place of the predicted class among the classes, (N,).
        cases: a row per image, in their order: columns id, patient, label; others are left.
        classes: their names, K; `label` is one of them.
        reference: the method whose decisions the others are compared with.

    Returns:
        Columns id, patient, label, method, region ("whole": what was shown), predicted (a name),
        then numbers: p_true, the probability of the true class; right; flipped, whether `predicted`
        is another than on the reference; to_wrong and to_right, whether the case was right on the
        reference alone, or here alone (each 0 or 1; a flip from wrong to wrong is neither); and
        `p <class>` for each class.

    Raises:
        ValueError: no reference, classes that are fewer than two or named twice, cases that occur
            twice, or a label that is no class.
    """
    readers.check_cases(cases)
    readers.check_reference(predicted, reference)
    names = list(classes)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"classes must be at least two names, none of them twice, got {names}")
    if unknown := sorted(set(cases["label"]) - set(names)):
        raise ValueError(f"label {unknown[0]!r} is not one of the classes {names}")
    truth = np.array([names.index(label) for label in cases["label"]])
    before = predicted[reference]
    tables = []
    for method, now in predicted.items():
        p = shares[method]
        numbers = {
            "p_true": p[np.arange(len(truth)), truth],
            "right": now == truth,
            "flipped": now != before,
            "to_wrong": (before == truth) & (now != truth),
            "to_right": (before != truth) & (now == truth),
            **{f"p {name}": p[:, k] for k, name in enumerate(names)},
        }
        table = cases[ABOUT].assign(method=method, region="whole")
        table["predicted"] = [names[k] for k in now]
        tables.append(table.assign(**{k: v.astype(float) for k, v in numbers.items()}))
    return pd.concat(tables, ignore_index=True)


def classify_summary(table: pd.DataFrame, *, reference: str = REFERENCE) -> pd.DataFrame:
    """One row per method of what `classify` or `detect` gave.

    Returns:
        Index method; columns cases, patients, accuracy, balanced (the mean over classes of the
        share found of each), auc (one class against the rest, the mean over classes: scikit-learn's
        `multi_class="ovr", average="macro"`; NaN if a class does not occur), p_true (mean),
        flipped, to_wrong, to_right (numbers of cases), and p of McNemar's exact test that cases
        turn wrong as often as right; NaN for the reference, and below 8 patients.

    The test takes cases as independent. Where a patient has several, prefer
    `statistics.paired_difference` of `right`, whose p is over patients, with a score interval;
    `statistics.means` of `right` gives accuracies with Wilson's.

    Raises:
        ValueError: a table without the reference.
    """
    readers.check_reference(table["method"].unique(), reference)
    classes = [name.removeprefix("p ") for name in table.columns if name.startswith("p ")]
    rows = []
    for method, of in table.groupby("method", sort=False, observed=True):
        areas = [_auc(of["label"] == name, of[f"p {name}"]) for name in classes]
        to_wrong, to_right = int(of["to_wrong"].sum()), int(of["to_right"].sum())
        patients = of["patient"].nunique()
        p = readers.flip_test(to_wrong, to_right, patients=patients)
        row = {
            "method": str(method),
            "cases": len(of),
            "patients": patients,
            "accuracy": of["right"].mean(),
            "balanced": of.groupby("label", observed=True)["right"].mean().mean(),
            "auc": float(np.mean(areas)),
            "p_true": of["p_true"].mean(),
            "flipped": int(of["flipped"].sum()),
            "to_wrong": to_wrong,
            "to_right": to_right,
            "p": np.nan if method == reference else p,
        }
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def _auc(truth: pd.Series, p: pd.Series) -> float:
    """Area under the ROC curve; NaN where there is only one class."""
    return float(roc_auc_score(truth, p)) if truth.nunique() == 2 else float("nan")
