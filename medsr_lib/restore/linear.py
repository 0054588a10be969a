"""The best linear filter: what a network has to exceed before anything was learned about images.

For each of the scale^2 positions of an HR pixel within its LR pixel, one set of weights over the
11 x 11 LR pixels around it, by least squares on training images. No linear method of that reach has
a smaller squared error on them.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib import checks, images
from medsr_lib.restore.degrade import check_scale
from medsr_lib.restore.training.batches import Images, as_packed, whole_image

TAPS = 11
RIDGE = 1e-9  # of the mean energy of a tap: enough to solve where LR is band-limited


class LinearFilter(nn.Module):
    """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w): a weighted sum of the LR pixels around.

    Beyond the edge LR is continued by its outermost pixels. In evaluation SR is clipped to [0, 1].

    Args:
        scale: 2, 3, 4 or 8.
        taps: side of the square of LR pixels, odd.
    """

    def __init__(self, *, scale: int, taps: int = TAPS) -> None:
        check_scale(scale)
        checks.whole("taps", taps, least=1)
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd, so that there is a middle, got {taps}")
        super().__init__()
        self.scale = scale
        self.arguments: dict[str, Any] = {"scale": scale, "taps": taps}
        self.register_buffer("weights", torch.zeros(scale**2, 1, taps, taps))

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        images.check_shape(lr, "lr")
        weights = self.get_buffer("weights")
        padded = F.pad(lr, [weights.shape[-1] // 2] * 4, mode="replicate")
        sr = F.pixel_shuffle(F.conv2d(padded, weights), self.scale)
        return sr if self.training else sr.clamp(0, 1)


@torch.no_grad()
def fit(
    hr_images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    scale: int,
    taps: int = TAPS,
    progress: bool = True,
) -> LinearFilter:
    """The linear filter of least squared error on some images, ready to be applied.

    The normal equations (A^T A) W = A^T B are summed over all images in float64: a row of A holds
    the `taps`^2 LR pixels around one LR pixel, the row of B the scale^2 HR pixels within it.

    Args:
        hr_images: of training patients: a `Store`, a tensor (N, 1, H, W) or a sequence of (H, W).
        degrade: HR -> LR.
        scale: of the degradation.
        taps: side of the square of LR pixels, odd.
        progress: show a progress bar.

    Raises:
        ValueError: fewer LR pixels than weights, or arguments as `LinearFilter`.
    """
    found = LinearFilter(scale=scale, taps=taps)
    packed = as_packed(hr_images)
    gram = torch.zeros(taps**2, taps**2, dtype=torch.float64)
    moment = torch.zeros(taps**2, scale**2, dtype=torch.float64)
    rows = 0
    n = len(packed.offset)
    for i in tqdm(range(n), "fitting the linear filter", disable=not progress, leave=False):
        hr = images.centre_crop(whole_image(packed, i), multiple=scale)
        lr = F.pad(degrade(hr), [taps // 2] * 4, mode="replicate")
        a = F.unfold(lr, taps)[0].double()  # (taps^2, h w)
        b = F.pixel_unshuffle(hr, scale)[0].flatten(1).double()  # (scale^2, h w)
        gram += a @ a.T
        moment += a @ b.T
        rows += a.shape[1]
    if rows < taps**2:
        raise ValueError(
            f"{n} images have {rows} LR pixels, fewer than the {taps**2} weights; give more images"
        )
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, moment).T.view(scale**2, 1, taps, taps)
    found.get_buffer("weights").copy_(weights)
    return found.eval()
