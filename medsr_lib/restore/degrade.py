"""From HR to LR: what a scanner or a smaller matrix would have given. Pure, linear, pixel-aligned.

Every function takes images (B, 1, H, W) and gives (B, 1, H // scale, W // scale); sizes that the
scale does not divide are centre-cropped first. HR and LR share their field of view: LR pixel i lies
at HR position scale * i + (scale - 1) / 2. LR is not clipped, so that degradations stay linear:
bicubic and k-space LR may leave [0, 1] a little where they ring.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medsr_lib import checks, images

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

    Attributes:
        name: "bicubic", "blur" or "kspace".
        scale: 2, 3, 4 or 8.
        sigma: of "blur", in HR pixels; None for the others.

    Raises:
        ValueError: no such degradation or scale, a sigma that is not positive, or one that does not
            belong to it.

    >>> to_lr = by_name("blur", scale=4)
    >>> print(to_lr)
    blur ×4, sigma 2
    >>> to_lr(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 1, 2, 2])
    """

    name: str
    scale: int
    sigma: float | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.name not in FUNCTIONS:
            known = ", ".join(map(repr, FUNCTIONS))
            raise ValueError(f"no degradation {self.name!r}; there are {known}")
        if self.name == "blur":
            checks.positive("sigma", float("nan") if self.sigma is None else self.sigma)
        elif self.sigma is not None:
            raise ValueError(f"sigma belongs to the degradation 'blur', not to {self.name!r}")

    def __call__(self, hr: Tensor) -> Tensor:
        """HR (B, 1, H, W) -> LR (B, 1, H // scale, W // scale)."""
        more = {} if self.sigma is None else {"sigma": self.sigma}
        return FUNCTIONS[self.name](hr, scale=self.scale, **more)

    def __str__(self) -> str:
        sigma = "" if self.sigma is None else f", sigma {self.sigma:g}"
        return f"{self.name} ×{self.scale}{sigma}"


def by_name(name: str, *, scale: int, sigma: float | None = None) -> Degradation:
    """The degradation of a name, ready to be given to `fit` and `score`.

    Args:
        name: "bicubic", "blur" or "kspace".
        scale: 2, 3, 4 or 8.
        sigma: of "blur", in HR pixels; scale / 2 where not given, as in Shi et al. 2016.

    Raises:
        ValueError: as `Degradation`.
    """
    check_scale(scale)
    return Degradation(name, scale, scale / 2 if name == "blur" and sigma is None else sigma)


def check_scale(scale: int) -> None:
    """Refuse a scale other than 2, 3, 4 and 8."""
    if isinstance(scale, float) or scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, got {scale!r}")


def _prepare(hr: Tensor, scale: int) -> Tensor:
    check_scale(scale)
    images.check_shape(hr, "hr")
    return images.centre_crop(hr, multiple=scale)
