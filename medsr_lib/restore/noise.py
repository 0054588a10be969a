"""Noise of a stated level: Gaussian, Poisson, both together; and that of MRI, `rician`.

A clean image x in [0, 1] becomes y with the mean x. With a peak of P photons, a pixel of grey x
counts Poisson(P x), and y = count / P has the variance x / P; an amplifier adds sigma^2 everywhere
(Foi et al. 2008, 10.1109/TIP.2008.2001399). y may leave [0, 1] and is not clipped: clipping would
make black brighter and white darker, and noise has the mean 0.

One number, the *level*, states all three kinds: the standard deviation of the noise at grey 1/2, in
units of the intensity range. See `strengths`.

`Noise` takes its random numbers from a key, the seed and the image itself. So it is a pure function
of the image, as every degradation is: each crop of a training has noise of its own, an image that
is seen again has the same noise again, and an interrupted training resumes bit for bit.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from medsr_lib import checks
from medsr_lib import images as image_rules

KINDS = ("gaussian", "poisson", "mixed")
HALF = 0.6744897501960817  # of a normal distribution lies within so many standard deviations


def add(
    images: Tensor,
    *,
    peak: float | None = None,
    sigma: float | None = None,
    generator: np.random.Generator,
) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] with the noise of `strengths`.

    Args:
        images: clean ones.
        peak: photons at white. What they count are multiples of 1 / peak, at least 0; above 1
            where a bright pixel counts more than its mean. None for no Poisson noise.
        sigma: standard deviation of the Gaussian noise on top of it; None for none.
        generator: of the random numbers.

    Raises:
        TypeError, ValueError: not such images, or a peak or sigma that is not positive.
    """
    image_rules.check(images)
    noisy = images
    if peak is not None:
        checks.positive("peak", peak)
        expected = images.detach().clamp(0, 1).double().cpu().numpy() * peak
        noisy = torch.from_numpy(generator.poisson(expected) / peak).to(images)
    if sigma is not None:
        checks.positive("sigma", sigma)
        drawn = generator.standard_normal(tuple(images.shape), np.float32)
        noisy = noisy + sigma * torch.from_numpy(drawn).to(images)
    return noisy


def rician(images: Tensor, *, sigma: float, generators: Sequence[np.random.Generator]) -> Tensor:
    """Magnitude images with noise: |x + n1 + i n2|, as MRI gives them.

    n1 and n2 are Gaussian of standard deviation sigma: the noise of the two receivers' channels.
    The magnitude follows Rice's distribution (Gudbjartsson & Patz 1995, 10.1002/mrm.1910340618):
    nearly Gaussian in tissue, and in air, where x is 0, of the mean 1.25 sigma.

    Args:
        images: (B, 1, H, W). Below 0, as ringing is, they come out above.
        sigma: in units of the intensity range.
        generators: of the random numbers, one for each image.

    Raises:
        TypeError, ValueError: not such images, a sigma that is not positive, or another number of
            generators.
    """
    image_rules.check_shape(images)
    checks.positive("sigma", sigma)
    if len(generators) != len(images):
        raise ValueError(f"{len(images)} images need as many generators, got {len(generators)}")
    shape = (2, *images.shape[1:])
    drawn = np.stack([rng.standard_normal(shape, np.float32) for rng in generators], 1)
    real, imaginary = (sigma * torch.from_numpy(drawn)).to(images)
    return torch.hypot(images + real, imaginary)


def strengths(kind: str, level: float) -> dict[str, float]:
    """What a level means: `sigma` and `peak`, as far as a kind has them.

    At grey 1/2 Poisson noise has the variance 1 / (2 peak); "mixed" is half of each variance.

    >>> strengths("gaussian", 0.1), strengths("poisson", 0.1)["peak"]
    ({'sigma': 0.1}, 50.0)

    Raises:
        ValueError: no such kind, or a level that is not positive.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one or several of {KINDS}, got {kind!r}")
    checks.positive("level", level)
    variance = level * level
    if kind == "gaussian":
        return {"sigma": level}
    if kind == "poisson":
        return {"peak": round(0.5 / variance, 9)}
    return {"peak": round(1 / variance, 9), "sigma": math.sqrt(variance / 2)}


@dataclass(frozen=True)
class Noise:
    """Noise that follows from the seed and from each image alone: a degradation of scale 1.

    The generator of an image is NumPy's, seeded by `seed` and a hash of the image in 65 536 grey
    levels. Equal images get equal noise; at another level they get the same random numbers, so that
    curves over the level are smooth. Batches, processes and devices make no difference.

    Attributes:
        kinds: one or several of KINDS, of which each image draws one.
        levels: the lowest and the highest level (see the module), between which each image draws
            its own, uniformly in the logarithm: a level is twice another as often as half of it.
        seed: part of the key.
        scale: 1; nothing changes in size.

    Raises:
        ValueError: no such kind, or a level that is not positive.

    >>> print(by_name(["gaussian", "mixed"], level=(0.02, 0.2), seed=0))
    gaussian or mixed noise of level 0.02 to 0.2
    """

    kinds: tuple[str, ...]
    levels: tuple[float, float]
    seed: int
    scale: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        low, high = self.levels
        for kind in self.kinds or ("",):
            strengths(kind, low)
        if not high >= low:
            raise ValueError(f"level goes from {low} to {high}; give the lower one first")

    @property
    def name(self) -> str:
        """What it is, for tables and captions: "mixed noise of level 0.1"."""
        low, high = self.levels
        level = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        return f"{' or '.join(self.kinds)} noise of level {level}"

    def __str__(self) -> str:
        return self.name

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [0, 1] -> the same with noise, not clipped.

        Raises:
            TypeError, ValueError: not such images.
        """
        image_rules.check(images)
        low, high = self.levels
        noisy = torch.empty_like(images)
        for i, image in enumerate(images):
            rng = np.random.default_rng([self.seed, *key_of(image)])
            chosen = self.kinds[int(rng.random() * len(self.kinds))]
            strength = strengths(chosen, low * (high / low) ** rng.random())
            noisy[i] = add(image[None], generator=rng, **strength)[0]
        return noisy


def by_name(kind: str | Sequence[str], *, level: float | Sequence[float], seed: int) -> Noise:
    """Noise of a kind and level, ready to be given to `fit` and `score` as their degradation.

    Args:
        kind: "gaussian", "poisson" or "mixed"; or several, of which each image draws one.
        level: see the module; or the lowest and the highest, between which each image draws.
        seed: part of the key.

    Raises:
        ValueError: as `Noise`.
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    levels = (level, level) if isinstance(level, int | float) else tuple(level)
    if len(levels) != 2:
        raise ValueError(f"level is a number, or the lowest and the highest; got {level!r}")
    return Noise(kinds, (float(levels[0]), float(levels[1])), seed)


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


def key_of(image: Tensor) -> list[int]:
    """Four numbers that tell images apart; the same on all devices, whose rounding may differ."""
    levels = image.detach().float().mul(65535).round_().to(torch.int32).cpu().numpy()
    digest = hashlib.blake2b(levels.astype(np.uint16).tobytes(), digest_size=16)
    digest.update(str(tuple(image.shape)).encode())
    return np.frombuffer(digest.digest(), np.uint32).tolist()
