"""Denoising without a network: four filters of scikit-image, tuned as fairly as the network is.

Each takes noisy images (B, 1, H, W), which may leave [0, 1], and gives images clipped to [0, 1].
None is given the noise level: each estimates it (`noise.estimate_sigma`), and its strength is a
factor times that. `tune` chooses the factor on validation images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from skimage import filters, morphology, restoration
from torch import Tensor

from medsr_lib.restore.noise import estimate_sigma
from medsr_lib.restore.training.batches import Images, as_packed, whole_image

Filter = Callable[[Tensor], Tensor]
Array = NDArray[np.floating]
LEAST = 1e-4  # estimated noise below which an image is left as it is: under 0.03 of 255 grey levels


def _for_each_image(smooth: Callable[..., Any]) -> Callable[..., Tensor]:
    """A filter of noisy images (B, 1, H, W), each by itself: `smooth` takes one, (H, W), and its
    sigma. What comes out is clipped to [0, 1].
    """

    @wraps(smooth)
    def smooth_all(noisy: Tensor, **settings: float) -> Tensor:
        sigmas = estimate_sigma(noisy).tolist()
        arrays = noisy.detach().double().cpu().numpy()[:, 0]
        clean = [x if s < LEAST else smooth(x, s, **settings) for x, s in zip(arrays, sigmas)]
        return torch.from_numpy(np.stack(clean))[:, None].to(noisy).clamp_(0, 1)

    return smooth_all


@_for_each_image
def median(x: Array, sigma: float, *, factor: float) -> Any:
    """The median over a disk of radius factor sigma pixels, rounded."""
    return filters.median(x, morphology.disk(round(factor * sigma)))


@_for_each_image
def bilateral(x: Array, sigma: float, *, factor: float, reach: float) -> Any:
    """Mean over near pixels of like grey (Tomasi & Manduchi 1998, 10.1109/ICCV.1998.710815).

    The standard deviation of the greys is factor sigma, that of the distance `reach` pixels; the
    window reaches twice as far.
    """
    # scikit-image refuses negative values: what is added before is taken off after.
    low = min(float(x.min()), 0.0)
    return low + restoration.denoise_bilateral(
        x - low,
        win_size=2 * round(2 * reach) + 1,
        sigma_color=factor * sigma,
        sigma_spatial=reach,
        mode="symmetric",
    )


@_for_each_image
def non_local_means(x: Array, sigma: float, *, factor: float) -> Any:
    """Mean over pixels in like surroundings (Buades et al. 2005, 10.1109/CVPR.2005.38).

    Patches of 5 x 5 within 13 x 13, scikit-image's fast mode; the cut-off distance h is factor
    sigma, and the noise's share is taken from the distances.
    """
    return restoration.denoise_nl_means(
        x, patch_size=5, patch_distance=6, h=factor * sigma, sigma=sigma, fast_mode=True
    )


@_for_each_image
def total_variation(x: Array, sigma: float, *, factor: float) -> Any:
    """The image of least total variation near y (Rudin et al. 1992), by Chambolle's method (2004).

    10.1016/0167-2789(92)90242-F, 10.1023/B:JMIV.0000011325.36760.1e; the weight is factor sigma.
    It stops at a tenth of the change that scikit-image stops at, which some images reach far too
    soon: one gained 3 dB.
    """
    return restoration.denoise_tv_chambolle(x, weight=factor * sigma, eps=2e-5)


TRIED: Mapping[str, tuple[Callable[..., Tensor], Sequence[dict[str, float]]]] = {
    "median": (median, [{"factor": f} for f in (10.0, 15.0, 20.0, 30.0)]),
    "bilateral": (
        bilateral,
        [{"factor": f, "reach": r} for r in (1.0, 1.5) for f in (1.0, 2.0, 3.0, 5.0)],
    ),
    "non-local means": (non_local_means, [{"factor": f} for f in (0.4, 0.6, 0.8, 1.0, 1.3)]),
    "total variation": (total_variation, [{"factor": f} for f in (0.4, 0.7, 1.0, 1.4, 2.0)]),
}
"""What `tune` tries: name -> filter and its settings."""


@dataclass(frozen=True)
class Tuned:
    """What `tune` found.

    Attributes:
        filters: name -> filter with the setting that was chosen.
        table: a row per filter and setting: filter, setting, psnr (mean over the noisy images, dB),
            chosen.
    """

    filters: dict[str, Filter]
    table: pd.DataFrame


def tune(
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor] | Sequence[Callable[[Tensor], Tensor]],
    tried: Mapping[str, tuple[Callable[..., Tensor], Sequence[dict[str, float]]]] = TRIED,
) -> Tuned:
    """Choose each filter's setting by the mean PSNR on validation images.

    Args:
        images: clean ones, of patients that are neither trained on nor tested.
        degrade: what makes them noisy; several where each image is to be seen in several ways.
        tried: name -> filter and the settings to try, the first of equally good ones is taken.

    Raises:
        ValueError: no settings of a filter, or no images.
    """
    packed = as_packed(images)
    ways = [degrade] if callable(degrade) else list(degrade)
    clean = [whole_image(packed, i) for i in range(len(packed.offset)) for _ in ways]
    noisy = [ways[i % len(ways)](image) for i, image in enumerate(clean)]
    chosen: dict[str, Filter] = {}
    rows: list[dict[str, Any]] = []
    for name, (function, settings) in tried.items():
        if not settings:
            raise ValueError(f"there are no settings of {name} to try")
        found = [_mean_psnr(partial(function, **s), noisy, clean) for s in settings]
        best = int(np.argmax(found))
        chosen[name] = partial(function, **settings[best])
        for i, (setting, psnr) in enumerate(zip(settings, found)):
            text = ", ".join(f"{key} {value:g}" for key, value in setting.items())
            rows.append({"filter": name, "setting": text, "psnr": psnr, "chosen": i == best})
    return Tuned(chosen, pd.DataFrame(rows))


def _mean_psnr(function: Filter, noisy: Sequence[Tensor], clean: Sequence[Tensor]) -> float:
    errors = [(function(y) - x).square().mean().item() for y, x in zip(noisy, clean)]
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-12))))
