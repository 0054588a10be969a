"""A detector of a disease: its threshold, its calibration, and decisions that change.

A detector gives log-odds: above 0 it takes the disease for likelier than not. Two numbers are
chosen on validation patients and then stay: a temperature, by which the log-odds are divided so
that their probabilities are well calibrated, and a threshold, from which on an image counts as
positive. `scores` are log-odds (n,), `positive` is (n,) bool; ValueError is raised for lengths that
differ, scores that are not finite, and one class only.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import expit
from torch import Tensor

from medsr_lib import checks
from medsr_lib.assess.decisions import readers
from medsr_lib.assess.decisions.classifier import decision_table
from medsr_lib.assess.decisions.readers import Network
from medsr_lib.assess.statistics.estimate import Estimate
from medsr_lib.assess.statistics.roc import checked
from medsr_lib.assess.statistics.shares import share


def log_odds(network: Network, images: Tensor, *, device: str = "auto") -> NDArray[np.float64]:
    """What a network of two classes says of images: the second logit less the first, (N,).

    That is the logarithm of p / (1 - p) with the softmax p of the second class.

    Args:
        network: images (B, 1, H, W) -> logits (B, 2); put into evaluation mode, and left on the
            device it was on.
        images: (N, 1, H, W) float32 in [0, 1].
        device: "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        TypeError, ValueError: invalid images, logits of another shape or not finite.
    """
    logits = readers.answers(network, {"": images}, shape=(2,), batch=64, device=device)[""]
    return logits.double().diff(dim=1)[:, 0].numpy()


def log_odds_by_fold(
    detectors: Mapping[tuple[int, int], Network],
    images: Mapping[str, Tensor],
    fold: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
    device: str = "auto",
) -> dict[str, NDArray[np.float64]]:
    """`log_odds` `by_fold`, over a temperature: (k, N) where trainings and images have their own.

    Raises:
        TypeError, ValueError: as `log_odds` and `by_fold`.
    """
    found = by_fold(partial(log_odds, device=device), detectors, images, fold)
    return {name: z.numpy() / np.asarray(temperature) for name, z in found.items()}


def by_fold(
    read: Callable[[Any, Tensor], Any],
    detectors: Mapping[tuple[int, int], Any],
    images: Mapping[str, Tensor],
    fold: ArrayLike,
) -> dict[str, Tensor]:
    """What is found of each image by its own detectors: (k, N, ...) of k trainings.

    Args:
        read: a network and images (n, 1, H, W) -> (n, ...), such as log-odds or Grad-CAM maps.
        detectors: (fold, training) -> a network that has not seen the patients of this fold.
        images: by name, such as the method's, (N, 1, H, W) each.
        fold: (N,) that tests each image.

    Raises:
        ValueError: a fold without all its trainings.
    """
    of, trainings = np.asarray(fold), sorted({training for _, training in detectors})
    if missing := {(k, i) for k in np.unique(of).tolist() for i in trainings} - set(detectors):
        raise ValueError(f"there is no detector of (fold, training) {sorted(missing)}")
    parts = [(np.flatnonzero(of == k), i, network) for (k, i), network in detectors.items()]
    every: dict[str, Tensor] = {}
    for name, x in images.items():
        for own, i, network in parts:
            if own.size:
                found = torch.as_tensor(read(network, x[own]))
                empty = found.new_empty(len(trainings), len(of), *found.shape[1:])
                every.setdefault(name, empty)[trainings.index(i), own] = found
    return every


def temperature(scores: ArrayLike, positive: ArrayLike) -> float:
    """The T by which to divide log-odds so that sigmoid(score / T) is the share that is positive.

    The T of least cross-entropy (Guo et al. 2017, arXiv 1706.04599, section 4.2), found on
    validation patients. AUC and ranks stay as they are. The targets are Platt's (1999, Advances in
    Large Margin Classifiers, equation 8.13), (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and
    0: otherwise few images, all correctly classified, would ask for a certainty without bounds.
    """
    z, truth, _ = checked(scores, positive)
    n1, n0 = truth.sum(), (~truth).sum()
    y = np.where(truth, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(log_t: float) -> float:
        x = z / np.exp(log_t)
        return float((np.logaddexp(0, x) - y * x).mean())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-5, 5)).x))


def threshold_at(scores: ArrayLike, positive: ArrayLike, *, specificity: float) -> float:
    """The lowest threshold that leaves the wanted share of the negatives below it.

    A score counts as positive from the threshold on. It is laid midway between the highest score
    that has to be below it and the next one above, of whichever class.

    Args:
        scores, positive: (n,) of validation patients.
        specificity: above 0 and at most 1. With n0 negatives, only multiples of 1 / n0 can be had:
            the next above is taken.

    Raises:
        ValueError: a specificity out of range.
    """
    z, truth, _ = checked(scores, positive)
    if not 0 < specificity <= 1:
        raise ValueError(f"specificity must be above 0 and at most 1, got {specificity}")
    negative = np.sort(z[~truth])
    below = int(np.ceil(specificity * len(negative) - 1e-9))
    highest = negative[below - 1]
    above = z[z > highest]
    return float((highest + above.min()) / 2 if len(above) else np.nextafter(highest, np.inf))


def operating_point(
    scores: ArrayLike, positive: ArrayLike, patients: ArrayLike, *, threshold: ArrayLike
) -> dict[str, Estimate]:
    """Sensitivity and specificity, by these names, at a threshold: shares over patients.

    The intervals are those of `statistics.share`, not empty where all images are correctly
    classified, as a bootstrap's are.

    Args:
        scores: (n,), or (k, n) of k trainings.
        positive, patients: (n,).
        threshold: from which on an image is positive; a number, or of the shape of the scores where
            images or trainings have thresholds of their own.
    """
    several = np.atleast_2d(checks.finite("scores", scores))
    cut = np.broadcast_to(checks.finite("threshold", threshold), several.shape)
    who = np.asarray(patients)
    for row in several:
        _, truth, _ = checked(row, positive, who)
    return {
        "sensitivity": share((several >= cut)[:, truth], who[truth]),
        "specificity": share((several < cut)[:, ~truth], who[~truth]),
    }


def calibration_error(p: ArrayLike, positive: ArrayLike, *, bins: int) -> float:
    """Expected calibration error: mean over images of |observed - predicted| of their bin.

    Observed is the share of positives in a bin of probabilities, predicted their mean (Naeini et
    al. 2015, AAAI, section 4); 0 is best. With few images it is above 0 by chance alone, all the
    more the more bins there are: compare it with `chance_error`.

    Args:
        p: (n,) probabilities of the positives, in [0, 1].
        positive: (n,) bool.
        bins: of equal width, at least 1.

    Raises:
        ValueError: probabilities out of range, or no bins.
    """
    shares, truth, _ = checked(p, positive)
    if shares.min() < 0 or shares.max() > 1:
        raise ValueError(
            f"p must lie in [0, 1], got {shares.min():.3g} to {shares.max():.3g}; give "
            "probabilities, not log-odds"
        )
    checks.whole("bins", bins, least=1)
    edges = np.linspace(0, 1, bins + 1)
    of = np.clip(np.searchsorted(edges, shares, side="right") - 1, 0, bins - 1)
    gaps = np.bincount(of, truth, bins) - np.bincount(of, shares, bins)
    return float(np.abs(gaps).sum() / len(shares))


def chance_error(p: ArrayLike, *, bins: int, seed: int, draws: int = 200) -> float:
    """The calibration error that these probabilities would have by chance, if they were right.

    The mean of `calibration_error` over labels that are drawn with the probabilities themselves: it
    is the zero line of a few images, which never have an error of 0.

    Args:
        p: (n,) probabilities in [0, 1].
        bins: as of `calibration_error`.
        seed: of the labels.
        draws: how often labels are drawn.
    """
    shares = checks.finite("p", p)
    labels = np.random.default_rng(seed).random((draws, len(shares))) < shares
    both = labels[labels.any(1) & ~labels.all(1)]  # one class only is no data to calibrate on
    return float(np.mean([calibration_error(shares, y, bins=bins) for y in both]))


def detect(
    scores: Mapping[str, ArrayLike],
    cases: pd.DataFrame,
    *,
    classes: Sequence[str],
    threshold: ArrayLike,
    reference: str,
) -> pd.DataFrame:
    """Decisions of a detector on the same cases, as each method shows them.

    `classify_summary` counts its flips (with McNemar's exact test), and `statistics.contrasts`
    gives intervals over patients of its numbers (`metric="logit"`).

    Args:
        scores: method -> (N,) log-odds, already divided by the temperature; `reference` among them.
            (k, N) of k trainings each give a row for each, told apart by the column seed.
        cases: a row per image, in their order: columns id, patient, label (one of the classes);
            others are left.
        classes: the names of the negatives and of the positives.
        threshold: from which on an image is positive; (N,) or (k, N) where each has its own,
            because several detectors read them (cross-fitting).
        reference: the method whose decisions the others are compared with.

    Returns:
        As `classifier.decision_table`, with the further column logit, the score.

    Raises:
        ValueError: no reference, other than two classes, a label that is no class, a length that
            differs, or scores that are not finite.
    """
    if len(classes) != 2:
        raise ValueError(f"classes must be two, negatives first, got {list(classes)}")
    if (shape := np.shape(next(iter(scores.values()), ())))[1:]:  # of several trainings
        cuts = np.broadcast_to(checks.finite("threshold", threshold), shape)
        each = {k: np.broadcast_to(np.asarray(v, float), shape) for k, v in scores.items()}
        about: dict[str, Any] = {"classes": classes, "reference": reference}
        tables = [
            detect({k: v[i] for k, v in each.items()}, cases, threshold=cut, **about).assign(seed=i)
            for i, cut in enumerate(cuts)
        ]
        return pd.concat(tables, ignore_index=True)
    cut = np.broadcast_to(checks.finite("threshold", threshold), (len(cases),))
    z = {method: np.asarray(values, float) for method, values in scores.items()}
    for method, values in z.items():
        if values.shape != (len(cases),) or not np.isfinite(values).all():
            raise ValueError(
                f"method {method!r}: expected {len(cases)} finite scores, got {values.shape}"
            )
    shares = {method: np.stack([expit(-v), expit(v)], 1) for method, v in z.items()}
    predicted = {method: (v >= cut).astype(int) for method, v in z.items()}
    table = decision_table(shares, predicted, cases, classes=classes, reference=reference)
    table.insert(table.columns.get_loc("p_true"), "logit", np.concatenate(list(z.values())))  # type: ignore[arg-type]
    return table
