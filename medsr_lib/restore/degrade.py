"""From HR to LR: what a scanner or a smaller matrix would have given. Pure and pixel-aligned.

Every function takes images (B, 1, H, W) and gives (B, 1, H // scale, W // scale); sizes that the
scale does not divide are centre-cropped first. HR and LR share their field of view: LR pixel i lies
at HR position scale * i + (scale - 1) / 2. LR is not clipped, so that degradations are linear:
bicubic and k-space LR may leave [0, 1] a little where they ring. A `Degradation` may add the noise
of MRI, which is not linear: it takes the magnitude.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsr_lib import checks, images
from medsr_lib.case import Case
from medsr_lib.restore.noise import key_of, rician

SCALES = (2, 3, 4, 8)


def bicubic(hr: Tensor, *, scale: int) -> Tensor:
    """Shrink with an antialiased bicubic kernel (Keys 1981, a = -0.5), as SR papers do."""
    hr = _prepare(hr, scale)
    size = (hr.shape[-2] // scale, hr.shape[-1] // scale)
    return F.interpolate(hr, size, mode="bicubic", antialias=True, align_corners=False)


def blur(hr: Tensor, *, scale: int, sigma: float) -> Tensor:
    """Blur with a Gaussian point spread function, then take every `scale`-th sample.

    The protocol of Shi et al. 2016 (arXiv 1609.05158, section 3.2). The Gaussian is taken around
    the centre of each LR pixel, which for an even scale lies between HR pixels, so that nothing is
    shifted.

    Args:
        sigma: standard deviation in HR pixels; scale / 2 is usual.

    Raises:
        ValueError: sigma is not positive.
    """
    hr = _prepare(hr, scale)
    checks.positive("sigma", sigma)
    reach = math.ceil(4 * sigma)  # beyond 4 sigma lie 6e-5 of the weight
    n = 2 * reach + scale % 2  # as odd or even as the scale: its centre is then the LR pixel's
    at = torch.arange(n, dtype=hr.dtype, device=hr.device) - (n - 1) / 2
    weights = torch.softmax(-(at**2) / (2 * sigma**2), 0)
    before = (n - scale) // 2
    padded = F.pad(hr, (before, before, before, before), mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, n, 1), stride=(scale, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, n), stride=(1, scale))


def kspace(hr: Tensor, *, scale: int) -> Tensor:
    """Keep the centre of the spectrum, which is what a shorter MRI acquisition measures.

    Frequencies |k| < H / (2 scale) are kept. The one at half the LR sampling rate has no partner of
    opposite sign and is dropped, so that LR is real and `resample.zero_fill` after this is an
    orthogonal projection. A linear phase moves the samples to the LR pixels' centres.
    """
    hr = _prepare(hr, scale)
    rows, columns = (n // scale for n in hr.shape[-2:])
    spectrum = torch.fft.rfft2(hr)[..., : columns // 2 + 1]
    top, bottom = spectrum[..., : (rows + 1) // 2, :], spectrum[..., -(rows // 2) :, :]
    kept = torch.cat((top, bottom), -2) if rows > 1 else top
    kept = kept * shift_and_keep(rows, columns, (scale - 1) / (2 * scale), hr)
    return torch.fft.irfft2(kept, s=(rows, columns)) / scale**2


def shift_and_keep(rows: int, columns: int, shift: float, like: Tensor) -> Tensor:
    """Factors of a half spectrum that move its image by -shift LR pixels and drop Nyquist.

    A shift of (scale - 1) / (2 scale) LR pixels takes samples from HR position scale * i, where
    cropping the spectrum leaves them, to the centre of LR pixel i.
    """
    ky = torch.fft.fftfreq(rows, device=like.device, dtype=like.dtype)[:, None]
    kx = torch.fft.rfftfreq(columns, device=like.device, dtype=like.dtype)[None, :]
    keep = (ky.abs() < 0.5) & (kx < 0.5)
    return torch.polar(keep.to(like.dtype), 2 * math.pi * shift * (ky + kx))


FUNCTIONS: dict[str, Callable[..., Tensor]] = {"bicubic": bicubic, "blur": blur, "kspace": kspace}


@dataclass(frozen=True)
class Degradation:
    """One degradation with its scale: call it with HR, print it, compare it.

    Noise is drawn from a key: the seed, and whose image it is. In an assessment that is the case
    (`of`), so that neither the order of the cases nor the batch matters, and all methods, levels of
    noise and lesions put into a case meet the same draw; in a training it is the step and the place
    in the batch (`keyed`). Called as it is, it is the HR image, in 65 536 grey levels: equal images
    get equal noise, and what is given again comes out again.

    Attributes:
        name: "bicubic", "blur" or "kspace".
        scale: 2, 3, 4 or 8.
        sigma: of "blur", in HR pixels; None for the others.
        noise: standard deviation of the Rician noise in LR (`noise.rician`), a share of the
            intensity range; 0 for none.
        seed: of the noise; None without.

    Raises:
        ValueError: no such degradation or scale, a sigma that is not positive or does not belong to
            it, a noise that is negative, noise without a seed (a whole number) or a seed without.

    >>> to_lr = by_name("blur", scale=4, noise=0.01, seed=0)
    >>> print(to_lr)
    blur ×4, sigma 2, noise 1 %
    >>> to_lr(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 1, 2, 2])
    """

    name: str
    scale: int
    sigma: float | None = None
    noise: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.name not in FUNCTIONS:
            known = ", ".join(map(repr, FUNCTIONS))
            raise ValueError(f"no degradation {self.name!r}; there are {known}")
        if self.name == "blur":
            checks.positive("sigma", float("nan") if self.sigma is None else self.sigma)
        elif self.sigma is not None:
            raise ValueError(f"sigma belongs to the degradation 'blur', not to {self.name!r}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be 0 or more (of the range), got {self.noise!r}")
        if self.noise:
            checks.whole("seed", self.seed, least=0)
        elif self.seed is not None:
            raise ValueError(f"a seed belongs to noise, but noise is 0; got {self.seed!r}")

    def __call__(self, hr: Tensor) -> Tensor:
        """HR (B, 1, H, W) -> LR (B, 1, H // scale, W // scale); the noise follows from HR."""
        return self._made(hr, [key_of(image) for image in hr] if self.noise else [])

    def of(self, case: Case) -> Callable[[Tensor], Tensor]:
        """HR -> LR with the noise of a case: that of its `id`, whatever was put into its image."""
        return self if not self.noise else lambda hr: self.keyed([case.id] * len(hr))(hr)

    def keyed(self, keys: Sequence[str]) -> Callable[[Tensor], Tensor]:
        """HR -> LR with the noise of each image of a batch drawn from its own key."""
        return self if not self.noise else lambda hr: self._made(hr, [_numbers(k) for k in keys])

    @property
    def clean(self) -> "Degradation":
        """The same without noise."""
        return replace(self, noise=0.0, seed=None)

    @property
    def label(self) -> str:
        """What it does, for tables: "kspace, noise 1 %". The scale has its own column."""
        noise = f", noise {100 * self.noise:g} %" if self.noise else ""
        return f"{self.name}{noise}"

    def __str__(self) -> str:
        sigma = "" if self.sigma is None else f", sigma {self.sigma:g}"
        noise = self.label.removeprefix(self.name)
        return f"{self.name} ×{self.scale}{sigma}{noise}"

    def _made(self, hr: Tensor, keys: Sequence[Sequence[int]]) -> Tensor:
        more = {} if self.sigma is None else {"sigma": self.sigma}
        lr = FUNCTIONS[self.name](hr, scale=self.scale, **more)
        if not self.noise:
            return lr
        generators = [np.random.default_rng([self.seed or 0, *key]) for key in keys]
        return rician(lr, sigma=self.noise, generators=generators)


def by_name(
    name: str,
    *,
    scale: int,
    sigma: float | None = None,
    noise: float = 0.0,
    seed: int | None = None,
) -> Degradation:
    """The degradation of a name, ready to be given to `fit` and `score`.

    Args:
        name: "bicubic", "blur" or "kspace".
        scale: 2, 3, 4 or 8.
        sigma: of "blur", in HR pixels; scale / 2 where not given, as in Shi et al. 2016.
        noise: standard deviation of the noise of MRI, a share of the intensity range.
        seed: of the noise; without noise it is not needed, and not kept.

    Raises:
        ValueError: as `Degradation`.
    """
    check_scale(scale)
    sigma = scale / 2 if name == "blur" and sigma is None else sigma
    return Degradation(name, scale, sigma, noise, seed if noise else None)


def check_scale(scale: int) -> None:
    """Refuse a scale other than 2, 3, 4 and 8."""
    if isinstance(scale, float) or scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, got {scale!r}")


def _numbers(key: str) -> list[int]:
    """Four numbers that tell keys apart."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return np.frombuffer(digest, np.uint32).tolist()


def _prepare(hr: Tensor, scale: int) -> Tensor:
    check_scale(scale)
    images.check_shape(hr, "hr")
    return images.centre_crop(hr, multiple=scale)
