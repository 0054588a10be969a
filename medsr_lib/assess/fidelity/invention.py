"""Invention and loss: what SR shows that was not measured, and what it left out.

Four questions, the first three answered by a map that is averaged over regions:

- does SR contradict the LR image it was made from? (`data_consistency`)
- how much of its error could the measurement not have seen? (`null_space_split`)
- is SR like HR, like interpolation, or unlike both? (`shares`)
- how much of what SR added to interpolation was invented? (`region_additions`)

SR and HR are float tensors (B, 1, H, W) in [0, 1], LR is (B, 1, h, w). TypeError or ValueError is
raised for others, and for a function that gives another size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medsr_lib import images
from medsr_lib.assess.quality.ssim import BORDER, gaussian_filter

Function = Callable[[Tensor], Tensor]

GAMMA = 0.8
"""Of improvement and omission, Aybar et al. 2024; calibrated on satellite images."""

LAMBDA = 0.4
"""Of what is unlike both, Aybar et al. 2024; calibrated on satellite images."""

TEMPERATURE = 0.25
"""Of the softmin. The authors' program opensr-test has had 0.25 to 1.5; it changes how decided the
shares look, never their order."""

FLOOR = 0.5 / 255
"""Half a grey level of an 8-bit display: a smaller difference between images cannot be shown."""

BANDS = (0.5, 1.0, 1.5, 2.0)
"""Edges of the bands in which additions are explained, in units of LR's Nyquist frequency. A filter
that changes within a band is not explained in full; finer ones leave too few waves in a lesion."""

ROUNDING = 1e-5
"""Root mean square of a difference, in intensity, up to which two images are the same."""

_NOT_A_PROJECTION = 1e-3  # of the norm; float32 FFTs leave 1e-6, clipping far more


def data_consistency(sr: Tensor, lr: Tensor, *, degrade: Function) -> Tensor:
    """How far SR, degraded again, is from the LR it was made from: |degrade(SR) - LR|, (B, H, W).

    In units of intensity, 0 where SR agrees with the measurement. An SR that passes may still be
    wrong in what the measurement does not see. It is computed on the grid of LR; every HR pixel has
    the value of the LR pixel it lies in. A measure for `score.score` is
    `lambda sr, hr: data_consistency(sr, degrade(hr), degrade=degrade)`.

    Args:
        sr, lr: LR as the degradation gave it, before noise if there is none in `degrade`.
        degrade: HR -> LR, that LR was made by.
    """
    images.check(sr, "sr")
    images.check_shape(lr, "lr")
    again = degrade(sr)
    if again.shape != lr.shape:
        raise ValueError(
            f"degrade(sr) is {tuple(again.shape)}, lr is {tuple(lr.shape)}; "
            "give the degradation that made this LR"
        )
    return F.interpolate((again - lr).abs(), sr.shape[-2:], mode="nearest-exact")[:, 0]


def null_space_split(error: Tensor, *, project: Function) -> tuple[Tensor, Tensor]:
    """Split an error into what the measurement could see and what it could not.

    After Bhadra et al. 2021 (IEEE TMI 40(11):3249, 10.1109/TMI.2021.3077857): with P = A+ A of the
    measurement A, the measured part P e contradicts the data, and the null-space part e - P e is
    free for a method to fill, with truth or with invention.

    Args:
        error: SR - HR, (B, 1, H, W).
        project: P, an orthogonal projection: for k-space degradation
            `partial(resample.measured_part, scale=s)`.

    Returns:
        measured and null, (B, 1, H, W) each; their sum is the error, their inner product 0.

    Raises:
        ValueError: a function that is not an orthogonal projection.
    """
    images.check_shape(error, "error")
    measured = project(error)
    if measured.shape != error.shape:
        raise ValueError(f"project gives {tuple(measured.shape)} for {tuple(error.shape)}")
    null = error - measured
    size = error.norm()
    again, inner = (project(measured) - measured).norm(), (measured * null).sum().abs()
    if again > _NOT_A_PROJECTION * size or inner > _NOT_A_PROJECTION * size**2:
        raise ValueError(
            "project is not an orthogonal projection: a second time it changes "
            f"{float(again / size):.2g} of the error, and the parts share "
            f"{float(inner / size**2):.2g} of its energy; "
            "use resample.measured_part, or another that does not clip"
        )
    return measured, null


def null_space_map(sr: Tensor, hr: Tensor, *, project: Function) -> Tensor:
    """The null-space part of the error of SR, (B, H, W), as `null_space_split`."""
    return null_space_split(sr - hr, project=project)[1][:, 0]


@dataclass(frozen=True)
class Additions:
    """What SR added to interpolation, SR - up(LR), beside what was lost, HR - up(LR), in a region.

    Attributes:
        slope: of the first on the second, by least squares through the origin: 1 for HR, 0 where
            nothing of what was lost came back, below 0 for its opposite. NaN where nothing was
            lost.
        unexplained: the share of the energy of what SR added that neither what was lost nor the
            interpolated LR explains (`region_additions`), in [0, 1]. NaN where nothing was added.
        invented: the same energy, in units of that of what was lost. NaN where nothing was lost.
    """

    slope: Tensor
    unexplained: Tensor
    invented: Tensor


@dataclass(frozen=True)
class Shares:
    """Improvement, omission and what is unlike both; they sum to 1. NaN where all images are equal.

    Attributes:
        improvement: SR is like HR.
        omission: SR is like the interpolated LR: it added nothing of what was lost.
        unlike_both: SR is unlike HR and unlike the interpolated LR. Aybar et al. call this
            hallucination, but it does not measure invention; `Additions` does.
        d_im: distance of SR to HR, in units of that of the interpolated LR to HR.
        d_om: distance of SR to the interpolated LR, in the same units.
    """

    improvement: Tensor
    omission: Tensor
    unlike_both: Tensor
    d_im: Tensor
    d_om: Tensor


def shares(sr: Tensor, hr: Tensor, lr: Tensor, *, upsample: Function) -> Shares:
    """Maps (B, H, W) of improvement, omission and what is unlike both, after Aybar et al. 2024.

    Aybar et al., IEEE GRSL 2024 (10.1109/LGRS.2024.3401394): with d_ref = d(up(LR), HR),
    d_im = d(SR, HR) / d_ref, d_om = d(SR, up(LR)) / d_ref and H = d_im + d_om - 1

        improvement = d_im + d_om (1 - exp(-0.8 H))
        omission    = d_om + d_im (1 - exp(-0.8 H))
        unlike both = exp(-0.4 d_im d_om)

    and the shares are the softmin of the three, at temperature 0.25. The constants were calibrated
    on satellite images: read d_im and d_om too.

    The distance d is the absolute difference of intensities, averaged by the Gaussian window of
    SSIM (11 x 11 pixels, sigma 1.5): at single pixels d_ref passes 0 wherever two images cross.
    Below half a grey level of 8 bits d_ref counts as that; where no distance reaches it, all
    images are the same to the eye and the maps are NaN.

    Omission is relative to interpolation: a lesion that LR still shows and SR takes away is unlike
    HR and up(LR). What is unlike both need not be invented, though the authors call it
    hallucination: on real slices a fixed linear filter, which cannot invent, has 0.38 of it, an
    ideal low-pass of HR 0.66, and bicubic its 0.02 by construction.

    Args:
        sr, hr, lr: larger than half a window, 5 pixels.
        upsample: LR -> (B, 1, H, W), what counts as no gain, such as bicubic interpolation.
    """
    return _shares(*(_local_mean(d) for d in _distances(sr, hr, lr, upsample)))


def region_shares(
    sr: Tensor, hr: Tensor, lr: Tensor, masks: Mapping[str, Tensor], *, upsample: Function
) -> dict[str, Shares]:
    """Improvement, omission and what is unlike both of each region, (B,) each.

    As `shares`, with the distance averaged over the whole region in place of a window, so that
    every pixel counts by its difference. It refuses the masks that `region_means` refuses.
    """
    found = [region_means(d, masks) for d in _distances(sr, hr, lr, upsample)]
    return {name: _shares(*(distance[name] for distance in found)) for name in masks}


def region_additions(
    sr: Tensor, hr: Tensor, lr: Tensor, masks: Mapping[str, Tensor], *, upsample: Function
) -> dict[str, Additions]:
    """How much of what SR added to interpolation is in HR, and how much was invented, (B,) each.

    In each of `BANDS`, what SR added, y = SR - up(LR), is explained by what was lost, x = HR -
    up(LR), and by the interpolated LR itself, which a filter may weigh otherwise:

        y_k = b_k x_k + c_k up(LR)_k + r_k    with b_k >= 0, by least squares in the region

    `unexplained` is the sum of |r_k|^2 over that of |y_k|^2, `invented` that over |x_k|^2. The
    opposite of what was lost (b_k < 0) explains nothing, and below half of LR's Nyquist frequency,
    which LR measured, c_k is 0: a lesion that is painted in would otherwise pass for brighter
    tissue. HR and its mixtures with up(LR) have 0, noise close to 1.

    Why bands: one b for all frequencies leaves 0.77 of what an ideal low-pass of HR at LR's Nyquist
    frequency adds unexplained, since most of what was lost lies where it puts nothing, and 0.78 of
    a linear filter, but 0.58 of the network SRMD. So it is 0.00, 0.34 and 0.43, and `invented`
    0.00, 0.08 and 0.22 (tumours of 48 real slices, bicubic x4). A low-pass that ends within a band
    keeps up to 0.2. Read `invented` first: of an interpolation that adds little, much may be
    unexplained (Lanczos 0.24, but 0.004 invented).

    Args:
        sr, hr, lr: one scale.
        masks: as for `region_means`.
        upsample: LR -> (B, 1, H, W), such as bicubic interpolation.
    """
    up = _upsampled(sr, hr, lr, upsample)
    pictures = torch.cat((up, hr - up, sr - up), 1)
    bands = _bands(pictures, sr.shape[-1] // lr.shape[-1]).flatten(3)  # (K, B, 3, H W)
    found = {}
    for name, mask in masks.items():
        _check_mask(name, mask, sr[:, 0])
        inside = mask.to(sr.device).reshape(-1, bands.shape[-1])  # (B or 1, H W)
        used = inside.any(0)
        part = bands[..., used].double() * inside[:, None, used]
        found[name] = _additions(part, inside.sum(1))
    return found


def region_means(values: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of a map (B, H, W) over each region, (B,); NaN over an empty one.

    Args:
        values: the map; NaN in it is left out.
        masks: name -> (H, W) or (B, H, W) bool, as `regions.regions` gives.

    Raises:
        ValueError: a mask that is not bool or has another size.
    """
    means = {}
    for name, mask in masks.items():
        _check_mask(name, mask, values)
        outside = ~mask.to(values.device)
        means[name] = values.masked_fill(outside, torch.nan).flatten(1).nanmean(1)
    return means


def _check_mask(name: str, mask: Tensor, values: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape not in (values.shape, values.shape[1:]):
        raise ValueError(
            f"mask {name!r} must be bool and {tuple(values.shape[1:])} or "
            f"{tuple(values.shape)}, got {mask.dtype} and {tuple(mask.shape)}"
        )


def _upsampled(sr: Tensor, hr: Tensor, lr: Tensor, upsample: Function) -> Tensor:
    """up(LR), of the size of the others."""
    images.check(sr, "sr")
    images.check(hr, "hr")
    images.check_shape(lr, "lr")
    up = upsample(lr)
    if not sr.shape == hr.shape == up.shape:
        raise ValueError(
            f"sr is {tuple(sr.shape)}, hr {tuple(hr.shape)} and upsample(lr) {tuple(up.shape)}; "
            "they must be equal"
        )
    return up


def _distances(
    sr: Tensor, hr: Tensor, lr: Tensor, upsample: Function
) -> tuple[Tensor, Tensor, Tensor]:
    """|up(LR) - HR|, |SR - HR| and |SR - up(LR)|, (B, H, W) each."""
    up = _upsampled(sr, hr, lr, upsample)
    differences = (up - hr, sr - hr, sr - up)
    reference, improved, omitted = (d.abs()[:, 0] for d in differences)
    return reference, improved, omitted


def _bands(pictures: Tensor, scale: int) -> Tensor:
    """Pictures (B, C, H, W) split at the edges of `BANDS`, (K, B, C, H, W); they add up again.

    A frequency belongs to a band by its larger component, as LR's pixels are square.
    """
    height, width = pictures.shape[-2:]
    down, across = torch.fft.fftfreq(height).abs(), torch.fft.rfftfreq(width)
    nyquists = torch.maximum(down[:, None], across) * 2 * scale  # in units of LR's
    which = torch.bucketize(nyquists, torch.tensor(BANDS), right=True).to(pictures.device)
    spectrum = torch.fft.rfft2(pictures)
    kept = [spectrum * (which == k) for k in range(len(BANDS) + 1)]
    return torch.fft.irfft2(torch.stack(kept), s=(height, width))


def _additions(bands: Tensor, pixels: Tensor) -> Additions:
    """From up(LR), what was lost and what was added, (K, B, 3, P), and the pixels that count, (B,).

    Least squares by inner products; that of up(LR) is taken off the others first.
    """
    _, x, y = bands.sum(0).unbind(1)  # (B, P)
    least = ROUNDING**2 * pixels
    lost, added = ((v * v).sum(1) for v in (x, y))
    slope = ((x * y).sum(1) / lost).masked_fill(lost <= least, torch.nan)
    products = torch.einsum("kbip,kbjp->kbij", bands, bands)
    by_lr = products[..., :1].clone()  # (K, B, 3, 1)
    by_lr[0] = 0
    energy = products[..., :1, :1].clamp(min=torch.finfo(bands.dtype).tiny)
    left = products - by_lr * by_lr.mT / energy
    of_x, of_y, both = left[..., 1, 1], left[..., 2, 2], left[..., 1, 2].clamp(min=0)
    known = of_x > 1e-12 * products[..., 1, 1]
    explained = torch.where(known, both.square() / torch.where(known, of_x, 1), 0)
    rest = (of_y - explained).clamp(min=0).sum(0)
    return Additions(
        slope,
        (rest / products[..., 2, 2].sum(0)).masked_fill(added <= least, torch.nan),
        (rest / products[..., 1, 1].sum(0)).masked_fill(lost <= least, torch.nan),
    )


def _local_mean(distance: Tensor) -> Tensor:
    """Average (B, H, W) by the Gaussian window of SSIM; the image is mirrored at its edges."""
    if min(distance.shape[-2:]) <= BORDER:
        raise ValueError(f"the window needs more than {BORDER} pixels, got {tuple(distance.shape)}")
    return gaussian_filter(F.pad(distance, (BORDER,) * 4, mode="reflect"))


def _shares(reference: Tensor, improved: Tensor, omitted: Tensor) -> Shares:
    """Shares from three distances of any one shape."""
    scale = reference.clamp(min=FLOOR)
    d_im, d_om = improved / scale, omitted / scale
    grown = 1 - torch.exp(-GAMMA * (d_im + d_om - 1))
    costs = (d_im + d_om * grown, d_om + d_im * grown, torch.exp(-LAMBDA * d_im * d_om))
    found = torch.softmax(-torch.stack(costs) / TEMPERATURE, 0)
    same = torch.stack((reference, improved, omitted)).amax(0) < FLOOR
    maps = (value.masked_fill(same, torch.nan) for value in (*found, d_im, d_om))
    return Shares(*maps)
