"""Invention and loss: what SR shows that was not measured, and what it left out.

Three questions, each answered by a map that is averaged over regions:

- does SR contradict the LR image it was made from? (`data_consistency`)
- how much of its error could the measurement not have seen? (`null_space_split`)
- did it improve on interpolation, add nothing, or invent? (`shares`)

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
"""Of hallucination, Aybar et al. 2024; calibrated on satellite images."""

TEMPERATURE = 0.25
"""Of the softmin. The authors' program opensr-test has had 0.25 to 1.5; it changes how decided the
shares look, never their order."""

FLOOR = 0.5 / 255
"""Half a grey level of an 8-bit display: a smaller difference between images cannot be shown."""

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


@dataclass(frozen=True)
class Shares:
    """Improvement, omission and hallucination; they sum to 1. NaN where all images are equal.

    Attributes:
        improvement: SR is like HR.
        omission: SR is like the interpolated LR: it added nothing of what was lost.
        hallucination: SR is like neither.
        d_im: distance of SR to HR, in units of that of the interpolated LR to HR.
        d_om: distance of SR to the interpolated LR, in the same units.
    """

    improvement: Tensor
    omission: Tensor
    hallucination: Tensor
    d_im: Tensor
    d_om: Tensor


def shares(sr: Tensor, hr: Tensor, lr: Tensor, *, upsample: Function) -> Shares:
    """Maps (B, H, W) of improvement, omission and hallucination, after Aybar et al. 2024.

    Aybar et al., IEEE GRSL 2024 (10.1109/LGRS.2024.3401394): with d_ref = d(up(LR), HR),
    d_im = d(SR, HR) / d_ref, d_om = d(SR, up(LR)) / d_ref and H = d_im + d_om - 1

        improvement   = d_im + d_om (1 - exp(-0.8 H))
        omission      = d_om + d_im (1 - exp(-0.8 H))
        hallucination = exp(-0.4 d_im d_om)

    and the shares are the softmin of the three, at temperature 0.25. The constants were calibrated
    on satellite images: read d_im and d_om too.

    The distance d is the absolute difference of intensities, averaged by the Gaussian window of
    SSIM (11 x 11 pixels, sigma 1.5): at single pixels d_ref passes 0 wherever two images cross.
    Below half a grey level of 8 bits d_ref counts as that; where no distance reaches it, all
    images are the same to the eye and the maps are NaN.

    Omission is relative to interpolation: a lesion that LR still shows and SR takes away is like
    neither HR nor up(LR) and so counts as hallucination.

    Args:
        sr, hr, lr: larger than half a window, 5 pixels.
        upsample: LR -> (B, 1, H, W), what counts as no gain, such as bicubic interpolation.
    """
    return _shares(*(_local_mean(d) for d in _distances(sr, hr, lr, upsample)))


def region_shares(
    sr: Tensor, hr: Tensor, lr: Tensor, masks: Mapping[str, Tensor], *, upsample: Function
) -> dict[str, Shares]:
    """Improvement, omission and hallucination of each region, (B,) each.

    As `shares`, with the distance averaged over the whole region in place of a window, so that
    every pixel counts by its difference. It refuses the masks that `region_means` refuses.
    """
    found = [region_means(d, masks) for d in _distances(sr, hr, lr, upsample)]
    return {name: _shares(*(distance[name] for distance in found)) for name in masks}


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
        if mask.dtype != torch.bool or mask.shape not in (values.shape, values.shape[1:]):
            raise ValueError(
                f"mask {name!r} must be bool and {tuple(values.shape[1:])} or "
                f"{tuple(values.shape)}, got {mask.dtype} and {tuple(mask.shape)}"
            )
        outside = ~mask.to(values.device)
        means[name] = values.masked_fill(outside, torch.nan).flatten(1).nanmean(1)
    return means


def _distances(
    sr: Tensor, hr: Tensor, lr: Tensor, upsample: Function
) -> tuple[Tensor, Tensor, Tensor]:
    """|up(LR) - HR|, |SR - HR| and |SR - up(LR)|, (B, H, W) each."""
    images.check(sr, "sr")
    images.check(hr, "hr")
    images.check_shape(lr, "lr")
    up = upsample(lr)
    if not sr.shape == hr.shape == up.shape:
        raise ValueError(
            f"sr is {tuple(sr.shape)}, hr {tuple(hr.shape)} and upsample(lr) {tuple(up.shape)}; "
            "they must be equal"
        )
    differences = (up - hr, sr - hr, sr - up)
    reference, improved, omitted = (d.abs()[:, 0] for d in differences)
    return reference, improved, omitted


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
