"""Losses that weigh some pixels more than others: those like a lesion, or those with most error.

Both are (SR, HR) -> a number, as `fit.fit` takes them, of images (B, 1, H, W) in [0, 1].
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from medsr_lib import checks
from medsr_lib.case import Case

BINS = 16  # of intensity, and of local contrast
WINDOW = 7  # pixels, side of the square whose standard deviation is the local contrast
RARE = 1e-3  # share of all pixels: a bin with far fewer says nothing about lesions
CONTRAST = 0.25  # standard deviation of the last bin; in MRI scaled to [0, 1] hardly any is higher


class LesionWeighted(nn.Module):
    """Squared error, with more weight where HR looks like a lesion.

    A pixel's weight is 1 + `strength` P, where P is the share of lesion among the training pixels
    of its intensity and local contrast, divided by the largest such share (rare bins are drawn to
    the share of all pixels). Masks are needed of the
    training cases alone. Weights are divided by their mean over the batch, so that the rate of
    learning fits as it does for the squared error.

    Args:
        cases: of training, with masks.
        strength: at most how much heavier than the rest a pixel is, less 1.

    Raises:
        ValueError: no case has a lesion, or a strength that is not positive.
    """

    def __init__(self, cases: Iterable[Case], *, strength: float = 4.0) -> None:
        super().__init__()
        checks.positive("strength", strength)
        lesion = torch.zeros(BINS * BINS)
        every = torch.zeros(BINS * BINS)
        for case in cases:
            if case.mask is None:
                continue
            at = _bins(case.image[None, None])[0, 0]
            every += torch.bincount(at.flatten(), minlength=BINS * BINS)
            lesion += torch.bincount(at[case.mask], minlength=BINS * BINS)
        if not lesion.any():
            raise ValueError("no case has a lesion outlined: give training cases with masks")
        few = RARE * every.sum()  # as many pixels of the overall share are added to each bin
        share = (lesion + few * lesion.sum() / every.sum()) / (every + few)
        self.strength = strength
        self.register_buffer("weight", 1 + strength * share / share.max())

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The weighted mean of the squared error."""
        weight = self.get_buffer("weight").to(hr.device)[_bins(hr)]
        return (weight / weight.mean() * (sr - hr) ** 2).mean()

    def extra_repr(self) -> str:
        """The weights in one number, so that a checkpoint knows a loss of other cases."""
        return f"strength={self.strength:g}, mean={self.get_buffer('weight').mean():.9g}"


class WorstPixels(nn.Module):
    """Squared error, and that of the worst pixels on top of it.

    The mean over the `share` of pixels with the largest errors is the conditional value at risk of
    the squared error (Rockafellar & Uryasev 2000, J Risk 2:21, equation 2): it bounds what goes
    wrong where most goes wrong, which the mean over all pixels does not.

    Args:
        share: of the pixels of a batch, above 0 and at most 1.
        strength: weight of that part; that of the mean over all pixels is 1.

    Raises:
        ValueError: a share outside, a strength that is not positive.
    """

    def __init__(self, *, share: float = 0.01, strength: float = 0.1) -> None:
        super().__init__()
        checks.positive("strength", strength)
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.share, self.strength = share, strength

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Mean of all squared errors + strength x mean of the largest."""
        error = ((sr - hr) ** 2).flatten()
        worst = error.topk(max(1, round(self.share * len(error)))).values
        return mse_loss(sr, hr) + self.strength * worst.mean()

    def extra_repr(self) -> str:
        """Both numbers."""
        return f"share={self.share:g}, strength={self.strength:g}"


def _bins(image: Tensor) -> Tensor:
    """Which of BINS x BINS classes of intensity and local contrast each pixel is of."""
    around = nn.AvgPool2d(WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
    mean, square = around(image), around(image**2)
    contrast = (square - mean**2).clamp(min=0).sqrt() / CONTRAST
    intensity, contrast = ((x * BINS).long().clamp(0, BINS - 1) for x in (image, contrast))
    return intensity * BINS + contrast
