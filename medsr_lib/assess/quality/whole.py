"""Whole images: a table for pictures without an outlined lesion, such as radiographs.

`score.score` measures regions around a tumour and refuses a slice without one. Here every image is
measured as a whole, and noise may be what was done to it: nothing needs to change in size.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess.fidelity import edges
from medsr_lib.assess.quality import metrics, score
from medsr_lib.assess.statistics.bootstrap import RESAMPLES, infer

WHOLE = "whole"  # the region of every row
Metric = Callable[[Tensor, Tensor], Tensor]


def _psnr(sr: Tensor, hr: Tensor) -> Tensor:
    return metrics.psnr(sr, hr, data_range=1.0)


def _ssim(sr: Tensor, hr: Tensor) -> Tensor:
    return metrics.ssim(sr, hr, data_range=1.0)


def _mse(sr: Tensor, hr: Tensor) -> Tensor:
    return metrics.mse(sr, hr, data_range=1.0)


METRICS: Mapping[str, Metric] = {
    "psnr": _psnr,
    "mse": _mse,
    "ssim": _ssim,
    "edges": edges.edge_preservation,
}
"""Name -> function from two (B, 1, H, W) in [0, 1] to (B,)."""


def measure(
    methods: Mapping[str, score.Method],
    images: Sequence[Any],
    *,
    degrade: Callable[[Tensor], Tensor],
    measures: Mapping[str, Metric] = METRICS,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Degrade every image, restore it by every method, and compare it with what it was.

    Args:
        methods: name -> function from the degraded image to one of the size before, in [0, 1]; a
            network is put into evaluation mode, and stays on the device it was on.
        images: each has image (H, W) in [0, 1], image_id, patient, label.
        degrade: a function of (1, 1, H, W); of a size that it does not divide, the image is
            centre-cropped.
        measures: name -> function from restored and clean images (B, 1, H, W) to (B,).
        device: where the networks work; "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        A row per image and method: slice_id (the image_id), patient, tumour (the label), method,
        region ("whole"), pixels, and a column per measure. The names are those of `score.score`, so
        that `score.summary`, `statistics` and the charts take this table.

    Raises:
        TypeError, ValueError: no images or methods, an image that is none, or a method whose result
            has another size or values out of [0, 1] (names method and image).
    """
    if not methods:
        raise ValueError("there are no methods to measure; give {name: function, ...}")
    if len(images) == 0:
        raise ValueError("there are no images to measure")
    on, rows = devices.choose(device), []
    bar = tqdm(images, "measuring", unit="image", disable=not progress, leave=False)
    with score.on_device(methods, on), torch.inference_mode():
        for image in bar:
            clean = image.image[None, None].to(on)
            image_rules.check(clean, f"image {image.image_id}")
            degraded = degrade(clean)
            for name, method in methods.items():
                restored = method(degraded)
                factor = max(1, restored.shape[-1] // degraded.shape[-1])
                hr = image_rules.centre_crop(clean, multiple=factor)
                _check(restored, hr, f"method {name!r}, image {image.image_id}")
                found = {key: float(of(restored, hr)) for key, of in measures.items()}
                rows.append(_about(image, name, hr) | found)
    return pd.DataFrame(rows)


def means(
    table: pd.DataFrame,
    *,
    metrics: Sequence[str],
    by: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Mean of each metric over patients, with its 95 % interval, for each group of rows.

    A patient's value is the mean over the patient's images; the interval is
    `statistics.bootstrap_interval`, over patients. It tells how far patients differ: to compare two
    methods, take `statistics.contrasts`, where each image is its own control.

    Args:
        table: of `measure`, or several of them with further columns.
        metrics: columns to average. Missing and infinite values are left out, and counted.
        by: columns that make the groups, "method" for one.
        seed: of the bootstrap.
        resamples: of it.

    Returns:
        The columns of `by`, metric, value, low, high, patients, slices, skipped.

    Raises:
        ValueError: a column that the table does not have.
    """
    wanted = [*by, *metrics, "patient", "slice_id"]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {list(table.columns)}")
    rows: list[dict[str, Any]] = []
    samples = []
    for keys, group in table.groupby(list(by), sort=False, observed=True):
        for name in metrics:
            values = group[name].where(np.isfinite(group[name]))
            sample = values.groupby(group["patient"]).mean().dropna().to_numpy()
            samples.append(sample)
            rows.append(
                {
                    **dict(zip(by, keys)),
                    "metric": name,
                    "value": float(sample.mean()) if len(sample) else float("nan"),
                    "patients": len(sample),
                    "slices": int(values.count()),
                    "skipped": int(values.isna().sum()),
                }
            )
    inferred = infer(samples, seed=seed, resamples=resamples)
    out = pd.DataFrame(
        [row | {k: found[k] for k in ("low", "high")} for row, found in zip(rows, inferred)]
    )
    return out[[*by, "metric", "value", "low", "high", "patients", "slices", "skipped"]]


def _about(image: Any, method: str, hr: Tensor) -> dict[str, Any]:
    return {
        "slice_id": str(image.image_id),
        "patient": str(image.patient),
        "tumour": str(image.label),
        "method": method,
        "region": WHOLE,
        "pixels": hr.shape[-2] * hr.shape[-1],
    }


def _check(restored: Tensor, hr: Tensor, what: str) -> None:
    if restored.shape != hr.shape:
        raise ValueError(
            f"{what}: the result is {tuple(restored.shape)}, the clean image {tuple(hr.shape)}; "
            "does it have the scale of the degradation?"
        )
    image_rules.check(restored, what)
