"""A detector of a disease, judged: its threshold, its probabilities, and decisions that change.

A detector gives log-odds: above 0 it takes the disease for likelier than not. Two numbers are
chosen on validation patients and then stay: a temperature, by which the log-odds are divided so
that their probabilities are honest, and a threshold, from which on an image counts as positive.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.special import expit
from torch import Tensor

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess.quality.score import on_device
from medsr_lib.assess.statistics.roc import checked

Network = Callable[[Tensor], Tensor]
Array = NDArray[np.floating]
_LOG_TEMPERATURES = (-5.0, 5.0)  # between which the best is looked for


def log_odds(
    network: Network, images: Tensor, *, batch: int = 64, device: str = "auto"
) -> NDArray[np.float64]:
    """What a network of two classes says of images: the second logit less the first, (N,).

    That is the logarithm of p / (1 - p) with the softmax p of the second class.

    Args:
        network: images (B, 1, H, W) -> logits (B, 2); put into evaluation mode, and left on the
            device it was on.
        images: (N, 1, H, W) float32 in [0, 1].
        batch: images at a time.
        device: "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        TypeError, ValueError: images that are none, logits of another shape or not finite.
    """
    image_rules.check(images)
    on, parts = devices.choose(device), []
    with on_device({"": network}, on), torch.inference_mode():
        for part in images.split(batch):
            logits = network(part.to(on)).cpu().double()
            if tuple(logits.shape) != (len(part), 2):
                raise ValueError(
                    f"expected logits {(len(part), 2)} of two classes, got {tuple(logits.shape)}"
                )
            parts.append(logits[:, 1] - logits[:, 0])
    found = torch.cat(parts).numpy()
    if not np.isfinite(found).all():
        raise ValueError("the logits hold NaN or infinite values")
    return found


# --- chosen on validation patients ----------------------------------------------------------------


def temperature(scores: ArrayLike, positive: ArrayLike) -> float:
    """The T by which to divide log-odds so that sigmoid(score / T) is the share that is positive.

    The T of least cross-entropy (Guo et al. 2017, arXiv 1706.04599, section 4.2), found on
    validation patients. AUC and ranks stay as they are. The targets are Platt's (1999, Advances in
    Large Margin Classifiers, equation 8.13), (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1
    and 0: few images that are all told rightly would else ask for a certainty without bounds.

    Args:
        scores: (n,) log-odds.
        positive: (n,) bool.

    Raises:
        ValueError: lengths that differ, scores that are not finite, or one class only.
    """
    z, truth, _ = checked(scores, positive, None)
    n1, n0 = truth.sum(), (~truth).sum()
    y = np.where(truth, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(log_t: float) -> float:
        x = z / np.exp(log_t)
        return float((np.logaddexp(0, x) - y * x).mean())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=_LOG_TEMPERATURES).x))


def threshold_at(scores: ArrayLike, positive: ArrayLike, *, specificity: float) -> float:
    """The lowest threshold that leaves the wanted share of the negatives below it.

    A score counts as positive from the threshold on. It is laid midway between the highest score
    that has to be below it and the next one above, of whichever class.

    Args:
        scores, positive: (n,) of validation patients.
        specificity: above 0 and at most 1. With n0 negatives, only multiples of 1 / n0 can be had:
            the next above is taken.

    Raises:
        ValueError: as `temperature`, or a specificity out of range.
    """
    z, truth, _ = checked(scores, positive, None)
    if not 0 < specificity <= 1:
        raise ValueError(f"specificity must be above 0 and at most 1, got {specificity}")
    negative = np.sort(z[~truth])
    below = int(np.ceil(specificity * len(negative) - 1e-9))
    highest = negative[below - 1]
    above = z[z > highest]
    return (
        float((highest + above.min()) / 2) if len(above) else float(np.nextafter(highest, np.inf))
    )


# --- on test patients -----------------------------------------------------------------------------


def operating_point(
    scores: ArrayLike, positive: ArrayLike, patients: ArrayLike, *, threshold: float
) -> pd.DataFrame:
    """Sensitivity and specificity at a threshold, with intervals.

    The intervals are Wilson's (1927, JASA 22:209) with the number of patients in place of that of
    images: at least as wide as they should be, and not empty where all images are told rightly, as
    a bootstrap's are.

    Returns:
        Rows sensitivity and specificity; columns value, low, high, images, patients.

    Raises:
        ValueError: lengths that differ, scores that are not finite, or one class only.
    """
    z, truth, who = checked(scores, positive, patients)
    rows = {}
    for name, of, right in (
        ("sensitivity", truth, z >= threshold),
        ("specificity", ~truth, z < threshold),
    ):
        n = len(np.unique(who[of]))
        low, high = wilson(right[of].mean(), n)
        value = float(right[of].mean())
        rows[name] = {"value": value, "low": low, "high": high, "images": of.sum(), "patients": n}
    return pd.DataFrame(rows).T.astype({"images": int, "patients": int})


def wilson(share: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share found in n; (0, 1) for none.

    >>> low, high = wilson(0.8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if n == 0:
        return 0.0, 1.0
    z = stats.norm.ppf((1 + level) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(middle - reach, 0)), float(min(middle + reach, 1))


def reliability(p: ArrayLike, positive: ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """How often the disease is there, where a detector gives it a probability: by equal bins.

    Args:
        p: (n,) probabilities in [0, 1].
        positive: (n,) bool.
        bins: of equal width.

    Returns:
        A row per bin: start, end, n (images), predicted (mean of p), observed (share of positives),
        low, high (Wilson's interval of the share, images taken as independent); NaN in empty bins.

    Raises:
        ValueError: lengths that differ, one class only, probabilities out of range, or no bins.
    """
    shares, truth, _ = checked(p, positive, None)
    if shares.min() < 0 or shares.max() > 1:
        raise ValueError(
            f"p must lie in [0, 1], got {shares.min():.3g} to {shares.max():.3g}; give "
            "probabilities, not log-odds"
        )
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    of = np.clip(np.searchsorted(edges, shares, side="right") - 1, 0, bins - 1)
    n = np.bincount(of, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted, observed = (np.bincount(of, v, bins) / n for v in (shares, truth))
    ends = [wilson(s, k) if k else (np.nan, np.nan) for s, k in zip(observed, n)]
    low, high = np.array(ends).T
    columns = {"start": edges[:-1], "end": edges[1:], "n": n, "predicted": predicted}
    return pd.DataFrame(columns | {"observed": observed, "low": low, "high": high})


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: mean over images of |observed - predicted| of their bin.

    Of the positives' probability (Naeini et al. 2015, AAAI, section 4); 0 is best. With few images
    it is above 0 by chance alone, all the more the more bins there are: read it with the counts.

    Args:
        table: from `reliability`.
    """
    gap = (table["observed"] - table["predicted"]).abs().fillna(0)
    return float((table["n"] * gap).sum() / table["n"].sum())


def decide(
    scores: Mapping[str, ArrayLike],
    slices: pd.DataFrame,
    *,
    classes: Sequence[str],
    threshold: float,
    reference: str,
) -> pd.DataFrame:
    """What a detector says of the same images, as each method shows them.

    The table is one of `decisions.classify_decisions` with a threshold of its own, so that
    `decisions.classify_summary` counts its flips (with McNemar's exact test), and
    `statistics.contrasts` gives intervals over patients of its numbers (`metric="logit"`).

    Args:
        scores: method -> (N,) log-odds, already divided by the temperature; `reference` among them.
        slices: a row per image, in their order: columns slice_id, patient, tumour (one of the
            classes; of a radiograph its label). Others are left.
        classes: the names of the negatives and of the positives.
        threshold: from which on an image is positive.
        reference: the method whose decisions the others are held against.

    Returns:
        Columns slice_id, patient, tumour, method, region ("whole"), predicted, logit, p_true,
        right, flipped, to_wrong, to_right and `p <class>`, as there.

    Raises:
        ValueError: no reference, a label that is no class, a length that differs, or scores that
            are not finite.
    """
    if reference not in scores:
        raise ValueError(f"no method {reference!r} to hold the others against: {list(scores)}")
    if len(classes) != 2 or not set(slices["tumour"]) <= set(classes):
        raise ValueError(
            f"classes must be the two that occur, negatives first; got {list(classes)} for "
            f"{sorted(set(slices['tumour']))}"
        )
    truth = (slices["tumour"] == classes[1]).to_numpy()
    before = np.asarray(scores[reference], float) >= threshold
    tables = []
    for method, values in scores.items():
        z = np.asarray(values, float)
        if z.shape != truth.shape or not np.isfinite(z).all():
            raise ValueError(
                f"method {method!r}: expected {len(truth)} finite scores, got {z.shape}"
            )
        numbers = _judged(z, z >= threshold, before, truth)
        p = dict(zip((f"p {name}" for name in classes), (expit(-z), expit(z))))
        predicted = np.where(z >= threshold, classes[1], classes[0])
        of_slices = slices[["slice_id", "patient", "tumour"]].reset_index(drop=True)
        tables.append(
            of_slices.assign(method=method, region="whole", predicted=predicted, **numbers, **p)
        )
    return pd.concat(tables, ignore_index=True)


def _judged(
    z: Array, now: NDArray[np.bool_], before: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> dict[str, Array]:
    """The numbers of one method, (N,) each."""
    found = {
        "logit": z,
        "p_true": np.where(truth, expit(z), expit(-z)),
        "right": now == truth,
        "flipped": now != before,
        "to_wrong": (before == truth) & (now != truth),
        "to_right": (before != truth) & (now == truth),
    }
    return {name: values.astype(float) for name, values in found.items()}
