"""Noise of a stated level: Gaussian, Poisson, and both together.

A clean image x in [0, 1] becomes y with the mean x. With a peak of P photons, a pixel of grey x
counts Poisson(P x), and y = count / P has the variance x / P; an amplifier adds sigma^2 everywhere
(Foi et al. 2008, 10.1109/TIP.2008.2001399). y may leave [0, 1] and is not clipped: clipping would
make black brighter and white darker, and noise is to have the mean 0.

One number, the *level*, states all three kinds: the standard deviation of the noise at grey 1/2, in
units of the intensity range. See `strengths`.

`add` takes its random numbers from a key, the seed and the image itself. So it is a pure function
of the image, as every degradation is: each crop of a training has noise of its own, an image that
is looked at again has the same noise again, and an interrupted training goes on bit for bit.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medsr_lib import images as image_rules

Kind = Literal["gaussian", "poisson", "mixed"]
KINDS: tuple[Kind, ...] = ("gaussian", "poisson", "mixed")
HALF = 0.6744897501960817  # of a normal distribution lies within so many standard deviations


def gaussian(images: Tensor, *, sigma: float, generator: np.random.Generator) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] plus Gaussian noise of a standard deviation.

    Raises:
        TypeError, ValueError: not such images, or a sigma that is not positive.
    """
    image_rules.check(images)
    _check_positive("sigma", sigma)
    drawn = generator.standard_normal(tuple(images.shape), np.float32)
    return images + sigma * torch.from_numpy(drawn).to(images)


def poisson(images: Tensor, *, peak: float, generator: np.random.Generator) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] as counts of photons show them, `peak` of them at white.

    Multiples of 1 / peak, at least 0; above 1 where a bright pixel counts more than its mean.

    Raises:
        TypeError, ValueError: not such images, or a peak that is not positive.
    """
    image_rules.check(images)
    _check_positive("peak", peak)
    expected = images.detach().clamp(0, 1).double().cpu().numpy() * peak
    return torch.from_numpy(generator.poisson(expected) / peak).to(images)


def mixed(images: Tensor, *, peak: float, sigma: float, generator: np.random.Generator) -> Tensor:
    """`poisson`, and Gaussian noise on top of it; both as above."""
    counted = poisson(images, peak=peak, generator=generator)
    _check_positive("sigma", sigma)
    drawn = generator.standard_normal(tuple(images.shape), np.float32)
    return counted + sigma * torch.from_numpy(drawn).to(images)


def strengths(kind: str, level: float) -> dict[str, float]:
    """What a level means: `sigma` and `peak`, as far as a kind has them.

    At grey 1/2 Poisson noise has the variance 1 / (2 peak); "mixed" is half of each variance.

    >>> strengths("gaussian", 0.1), strengths("poisson", 0.1)["peak"]
    ({'sigma': 0.1}, 50.0)

    Raises:
        ValueError: no such kind, or a level that is not positive.
    """
    _check_kinds((kind,))
    _check_positive("level", level)
    variance = level * level
    if kind == "gaussian":
        return {"sigma": level}
    if kind == "poisson":
        return {"peak": round(0.5 / variance, 9)}
    return {"peak": round(1 / variance, 9), "sigma": math.sqrt(variance / 2)}


def add(
    images: Tensor, *, kind: str | Sequence[str], level: float | Sequence[float], seed: int
) -> Tensor:
    """Images with noise that follows from the seed and from each image alone.

    The generator of an image is NumPy's, seeded by `seed` and a hash of the image in 65 536 grey
    levels. Equal images get equal noise; at another level they get the same random numbers, so that
    curves over the level are smooth. Batches, processes and devices make no difference.

    Args:
        images: (B, 1, H, W) float in [0, 1].
        kind: "gaussian", "poisson" or "mixed"; or several, of which each image draws one.
        level: see the module; or the lowest and the highest, between which each image draws its
            own, uniformly in the logarithm: a level is twice another as often as half of it.
        seed: part of the key.

    Returns:
        (B, 1, H, W) of the same type on the same device; not clipped.

    Raises:
        TypeError, ValueError: not such images, kinds, levels or seed.
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    low, high = (level, level) if isinstance(level, int | float) else _pair(level)
    _check_kinds(kinds)
    _check_positive("level", low)
    if high < low:
        raise ValueError(f"level goes from {low} to {high}; give the lower one first")
    image_rules.check(images)
    noisy = torch.empty_like(images)
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, *_hash(image)])
        chosen = kinds[int(rng.random() * len(kinds))]
        strength = strengths(chosen, low * (high / low) ** rng.random())
        noisy[i] = _FUNCTIONS[chosen](image[None], generator=rng, **strength)[0]
    return noisy


def by_name(
    kind: str | Sequence[str], *, level: float | Sequence[float], seed: int
) -> Callable[[Tensor], Tensor]:
    """`add` of a kind and level, ready to be given to `fit` as its degradation.

    Raises:
        ValueError: as `add`.
    """
    chosen = kind if isinstance(kind, str) else tuple(kind)
    levels = level if isinstance(level, int | float) else _pair(level)
    degrade = partial(add, kind=chosen, level=levels, seed=seed)
    degrade(torch.zeros(1, 1, 1, 1))  # refuses what is wrong now, not in the first step
    return degrade


def estimate_sigma(noisy: Tensor) -> Tensor:
    """Standard deviation of the noise of each image, (B,).

    The median of the absolute finest diagonal wavelet coefficients over 0.6745 (Donoho & Johnstone
    1994, 10.1093/biomet/81.3.425, section 3.2), with Haar's wavelet: (a - b - c + d) / 2 of every
    2 x 2 pixels. It is right for Gaussian noise, takes fine texture for noise, and gives one number
    where the noise depends on the brightness.

    Raises:
        TypeError, ValueError: not images (B, 1, H, W), or smaller than 2 x 2.
    """
    image_rules.check_shape(noisy)
    x = image_rules.centre_crop(noisy, multiple=2)
    a, b, c, d = (x[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    return ((a - b - c + d) / 2).abs().flatten(1).median(1).values / HALF


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gaussian": gaussian,
    "poisson": poisson,
    "mixed": mixed,
}


def _hash(image: Tensor) -> list[int]:
    """16 bytes that tell images apart; the same on every device, whose rounding may differ."""
    levels = image.detach().float().mul(65535).round_().to(torch.int32).cpu().numpy()
    digest = hashlib.blake2b(levels.astype(np.uint16).tobytes(), digest_size=16)
    digest.update(str(tuple(image.shape)).encode())
    return np.frombuffer(digest.digest(), np.uint32).tolist()


def _pair(level: Sequence[float]) -> tuple[float, float]:
    if len(level) != 2:
        raise ValueError(f"level is a number, or the lowest and the highest; got {level!r}")
    return float(level[0]), float(level[1])


def _check_kinds(kinds: Sequence[str]) -> None:
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong or not kinds:
        raise ValueError(f"kind must be one or several of {KINDS}, got {kinds}")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")
