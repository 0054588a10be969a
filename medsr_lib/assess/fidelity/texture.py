"""Texture of a region: its grey values, their histogram, and which values are neighbours.

Follows the Image Biomarker Standardisation Initiative (IBSI, arXiv 1612.07003; Zwanenburg et al.
2020, 10.1148/radiol.2020191145), whose four-letter codes are given with the names. One slice at a
time, as arrays (H, W).
"""

import numpy as np
from numpy.typing import NDArray
from skimage.feature import graycomatrix

from medsr_lib import checks
from medsr_lib.assess.quality.regions import bounding_box

BINS = 32  # grey levels; IBSI's configuration D has as many
ANGLES = (0, np.pi / 2, np.pi / 4, 3 * np.pi / 4)  # to a neighbour; IBSI, 2D, distance 1

Array = NDArray[np.floating]
Levels = NDArray[np.int64]
Mask = NDArray[np.bool_]

FIRST_ORDER = {  # name -> (unit, IBSI's code)
    "mean": ("intensity", "Q4LE"),
    "variance": ("intensity^2", "ECT3"),
    "skewness": ("1", "KE2A"),
    "kurtosis": ("1", "IPH6"),  # excess: 0 for a normal distribution
    "median": ("intensity", "Y12H"),
    "minimum": ("intensity", "1GSF"),
    "p10": ("intensity", "QG58"),
    "p90": ("intensity", "8DWT"),
    "maximum": ("intensity", "84IY"),
    "interquartile_range": ("intensity", "SALO"),
    "range": ("intensity", "2OJQ"),
    "mean_deviation": ("intensity", "4FUA"),
    "robust_mean_deviation": ("intensity", "1128"),
    "energy": ("intensity^2", "N8CA"),
    "root_mean_square": ("intensity", "5ZWQ"),
}
HISTOGRAM = {"entropy": ("bit", "TLU2"), "uniformity": ("1", "BJ5W")}
GLCM = {
    "contrast": ("level^2", "ACUI"),
    "dissimilarity": ("level", "8S9J"),
    "inverse_difference": ("1", "IB1Z"),
    "inverse_difference_moment": ("1", "WF0Z"),  # also called homogeneity
    "angular_second_moment": ("1", "8ZQL"),  # also called energy
    "joint_entropy": ("bit", "TU9B"),
    "joint_variance": ("level^2", "UR99"),
    "correlation": ("1", "NI2N"),
    "sum_average": ("level", "ZGXS"),
    "cluster_shade": ("level^3", "7NFM"),
}
TEXTURE = FIRST_ORDER | HISTOGRAM | {f"glcm_{name}": entry for name, entry in GLCM.items()}


def first_order(values: Array) -> dict[str, float]:
    """IBSI's intensity-based statistics of the values (n,) of a region, by `FIRST_ORDER`'s names.

    Variance divides by n; percentiles are interpolated linearly; the robust deviation is that of
    the values from the 10th to the 90th percentile. NaN without values; skewness and kurtosis NaN
    if all values are equal.
    """
    x = checks.finite("values", values).ravel()
    if x.size == 0:
        return dict.fromkeys(FIRST_ORDER, np.nan)
    p10, p25, median, p75, p90 = np.percentile(x, (10, 25, 50, 75, 90))
    low, high = x.min(), x.max()
    deviation = x - x.mean() if high > low else np.zeros_like(x)
    m2, m3, m4 = ((deviation**k).mean() for k in (2, 3, 4))
    middle = x[(x >= p10) & (x <= p90)]
    found = (
        *(x.mean(), m2, m3 / m2**1.5 if m2 else np.nan, m4 / m2**2 - 3 if m2 else np.nan),
        *(median, low, p10, p90, high, p75 - p25, high - low),
        *(np.abs(deviation).mean(), np.abs(middle - middle.mean()).mean()),
        *(np.square(x).sum(), np.sqrt(np.square(x).mean())),
    )
    return {name: float(value) for name, value in zip(FIRST_ORDER, found)}


def discretise(image: Array, *, low: float, high: float) -> Levels:
    """Grey levels 1 to `BINS` by IBSI's fixed bin number.

    floor(BINS (x - low) / (high - low)) + 1, and `BINS` at `high`. What lies beyond the range goes
    into the first or last bin. Give the range of the HR region for HR and SR alike: each by its
    own range would take a change of contrast away before the texture is looked at.

    Raises:
        ValueError: a range without width.
    """
    low, high = checks.finite("low and high", [low, high]).tolist()
    if not high > low:
        raise ValueError(f"the range must have a width, got {low} to {high}; is HR constant?")
    level = np.floor(BINS * (checks.finite("image", image) - low) / (high - low)) + 1
    return np.clip(level, 1, BINS).astype(np.int64)


def histogram(levels: Levels) -> dict[str, float]:
    """Entropy in bits (TLU2) and uniformity (BJ5W) of the grey levels (n,) of a region."""
    p = np.bincount(levels.ravel()) / max(levels.size, 1)
    found = (-_plogp(p).sum(), np.square(p).sum()) if levels.size else (np.nan, np.nan)
    return {name: float(value) for name, value in zip(HISTOGRAM, found)}


def glcm(levels: Levels, mask: Mask) -> Levels:
    """Grey level co-occurrence matrices of a region, (4, BINS, BINS) counts, by `ANGLES`.

    Of neighbours at distance 1 that both lie in the mask, counted both ways (symmetric).

    Args:
        levels: (H, W), 1 to `BINS`, of `discretise`.
        mask: (H, W).
    """
    box = bounding_box(mask)
    inside = np.where(mask, levels, 0)[box]  # 0 is outside: its row and column are dropped
    if not inside.size:
        return np.zeros((len(ANGLES), BINS, BINS), np.int64)
    counts = graycomatrix(inside, [1], ANGLES, levels=BINS + 1, symmetric=True)
    return np.moveaxis(counts[1:, 1:, 0], -1, 0).astype(np.int64)


def glcm_features(counts: Levels) -> dict[str, float]:
    """Features of the matrices of one region, (directions, bins, bins), by `GLCM`'s names.

    Of each direction, then their mean (IBSI's "2D, averaged", BTW3). Directions without any pair
    are left out; all is NaN if none has any. Correlation is NaN if there is only one grey level.
    """
    counts = counts[counts.sum((1, 2)) > 0]
    if len(counts) == 0:
        return dict.fromkeys(GLCM, np.nan)
    p = counts / counts.sum((1, 2), keepdims=True)
    i = np.arange(1.0, p.shape[1] + 1)
    gap, total = np.abs(np.subtract.outer(i, i)), np.add.outer(i, i)
    mean = (p.sum(2) @ i)[:, None, None]
    apart = i[:, None] - mean  # (directions, bins, 1)
    variance = (apart**2 * p).sum((1, 2))
    shared = (apart * (i - mean) * p).sum((1, 2))
    found = (
        *((gap**2 * p).sum((1, 2)), (gap * p).sum((1, 2))),
        *((p / (1 + gap)).sum((1, 2)), (p / (1 + gap**2)).sum((1, 2))),
        *((p**2).sum((1, 2)), -_plogp(p).sum((1, 2)), variance),
        np.divide(shared, variance, where=variance > 0, out=np.full_like(variance, np.nan)),
        *((total * p).sum((1, 2)), ((total - 2 * mean) ** 3 * p).sum((1, 2))),
    )
    return {name: float(value.mean()) for name, value in zip(GLCM, found)}


def texture(image: Array, mask: Mask, *, low: float, high: float) -> dict[str, float]:
    """All texture measures of a region of one slice, by `TEXTURE`'s names.

    `low` and `high` are those of `discretise`; without width between them only `FIRST_ORDER` is
    measured, the rest is NaN.
    """
    found = first_order(image[mask])
    if not high > low:
        return dict.fromkeys(TEXTURE, np.nan) | found
    levels = discretise(image, low=low, high=high)
    features = glcm_features(glcm(levels, mask))
    found |= histogram(levels[mask])
    return found | {f"glcm_{name}": value for name, value in features.items()}


def _plogp(p: Array) -> Array:
    """p log2 p, 0 where p is 0."""
    return np.asarray(p * np.log2(p, where=p > 0, out=np.zeros_like(p)))
