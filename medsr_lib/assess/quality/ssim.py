"""SSIM's window, and what it averages: local means, and the maps of SSIM made of them."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

WINDOW = 11  # pixels; Wang et al. 2004, section III-B
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03
BORDER = WINDOW // 2  # pixels of a map whose window reaches beyond the image
INNER = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))  # where a map is used
PARTS = ("luminance", "contrast", "structure")
MAPS = ("ssim", "contrast_structure", *PARTS)  # of `Windows.maps`
BAND = 262144  # bytes of an array at once on a CPU: what its cache holds, some times over
BLOCK = 16  # pixels that are filtered by one product of matrices

Bands = tuple[slice, slice]  # images, rows


class Windows:
    """HR's windows, averaged once for every SR that is compared with it.

    With d = x - y of SR x and HR y, SSIM's two factors are 1 - ud^2 / (ux^2 + uy^2 + C1) and
    1 - vd / (vx + vy + C2), where vx + vy = 2 (vy + vdy) + vd: three filters for each SR, and what
    rounding does to vd is as small as 1 - SSIM. Before they are squared, y and d are taken from
    their means. HR's own moments are found in float64 where the device has it.

    Args:
        hr: (B, H, W), at least 11 x 11 pixels.
        data_range: of HR and SR.
        dtype: in which SR is compared. In float32 the mean of SSIM over a region is right within
            1e-6, and so is a pixel's unless SR has little to do with HR. Contrast and structure
            need float64: they hold the root of a variance that may be 0.
        mask: bool: averages are over its pixels alone, and what is found at the others means
            nothing. It, HR and SR are (B, H + 10, W + 10) then: a frame is around what is asked.
    """

    @torch.no_grad()
    def __init__(
        self, hr: Tensor, *, data_range: float, dtype: torch.dtype, mask: Tensor | None = None
    ) -> None:
        self.C1, self.C2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        self._hr, self._dtype, self._full = hr, dtype, full_precision(hr.device)
        self._mask = None if mask is None else mask.to(dtype)
        self._inverse: Tensor | None = None
        if mask is not None:
            share = gaussian_filter(mask.to(self._full)).masked_fill_(~mask[INNER], 1)
            self._inverse = 1 / share
        self._level, self._y = self._levelled(hr)
        self._moments: dict[int, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def maps(self, sr: Tensor, names: Sequence[str] = ("ssim",)) -> dict[str, Tensor]:
        """The named ones of MAPS, (B, H, W) each, of SR (B, H, W)."""
        kind = self._hr.dtype
        shift, d = self._levelled(sr, self._hr)
        result = {name: torch.empty_like(d[INNER], dtype=kind) for name in names}
        for n, (here, reach) in enumerate(bands(d[INNER], self._dtype)):
            if n not in self._moments:
                self._moments[n] = self._of_hr(here, reach)
            y, uy, vy, vyy, brightness, bright, *inverse = self._moments[n]
            near, some = d[reach], here[0]
            three = near.new_empty((3, *near.shape))
            three[0] = near
            torch.mul(near, near, out=three[1])
            torch.mul(near, y, out=three[2])
            ud, vd, vxy = average(three, *inverse)
            vd.addcmul_(ud, ud, value=-1)
            vxy.addcmul_(ud, uy, value=-1)
            both = vd.add(vxy, alpha=2).add_(vyy)  # vx + vy + C2
            alike = vd.div_(both).neg_().add_(1).to(kind)
            ud = ud.add_(shift[some]).to(kind)
            ux = ud + brightness
            shaded = ud.square_().div_(torch.addcmul(bright, ux, ux))
            if "ssim" in names:
                torch.addcmul(alike, alike, shaded, value=-1, out=result["ssim"][here])
            if "contrast_structure" in names:
                result["contrast_structure"][here] = alike
            if not set(PARTS).isdisjoint(names):
                vx = (both - vy).sub_(self.C2)
                sxsy = vx.clamp_(min=0).mul_(vy.clamp(min=0)).sqrt_()
                found = {"luminance": 1 - shaded}
                found["contrast"] = sxsy.mul_(2).add_(self.C2).div_(both).to(kind)
                found["structure"] = alike / found["contrast"]
                for name in set(PARTS).intersection(names):
                    result[name][here] = found[name]
        return result

    def _of_hr(self, here: Bands, reach: Bands) -> tuple[Tensor, ...]:
        """HR in part of an image, its moments there, and what luminance takes of it."""
        y, inverse = self._y[reach], [] if self._inverse is None else [self._inverse[here]]
        exact = y.to(self._full)
        uy, vy = average(torch.stack((exact, exact * exact)), *inverse)
        vy.addcmul_(uy, uy, value=-1)
        ready = (y, *(of.to(self._dtype) for of in (uy, vy, 2 * vy + self.C2)))
        brightness = (uy + self._level[here[0]]).to(self._hr.dtype)
        bright = brightness.square() + self.C1
        return *ready, brightness, bright, *(of.to(self._dtype) for of in inverse)

    def _levelled(self, x: Tensor, less: Tensor | float = 0) -> tuple[Tensor, Tensor]:
        """The mean (B, 1, 1) of x, or of x less another, and how far from it that is,
        (B, H + 10, W + 10)."""
        if self._mask is None:
            framed, inner = _framed(x, self._dtype)
        else:
            framed = inner = torch.empty_like(x, dtype=self._dtype)
        inner.copy_(x).sub_(less)
        if self._mask is None:
            mean = inner.mean((1, 2), keepdim=True)
            inner.sub_(mean)
            return mean, _fill_frame(framed)
        pixels = self._mask.sum((1, 2), keepdim=True).clamp(min=1)
        mean = inner.mul_(self._mask).sum((1, 2), keepdim=True) / pixels
        return mean, inner.addcmul_(mean, self._mask, value=-1)


def average(x: Tensor, inverse: Tensor | None = None) -> Tensor:
    """Windows' means (..., H + 10, W + 10) -> (..., H, W); over the pixels of a mask alone with the
    inverse of its own mean."""
    found = gaussian_filter(x)
    return found if inverse is None else found * inverse


def bands(maps: Tensor, dtype: torch.dtype) -> Iterator[tuple[Bands, Bands]]:
    """Where to compute maps (B, H, W), and what their windows reach of the images with a frame.

    On a CPU some small images or a band of a large one at once, which its cache holds in the dtype;
    elsewhere all.
    """
    batch, height, width = maps.shape
    if maps.device.type != "cpu":
        yield (slice(None), slice(None)), (slice(None), slice(None))
        return
    rows = max(BLOCK, BAND // (width * dtype.itemsize) // BLOCK * BLOCK)
    n = max(1, rows // height)
    for b, top in product(range(0, batch, n), range(0, height, rows)):
        some = slice(b, b + n)
        yield (some, slice(top, top + rows)), (some, slice(top, top + rows + 2 * BORDER))


def mirror(x: Tensor) -> Tensor:
    """Add BORDER pixels on each side of (B, H, W), like d c b a | a b c d | d c b a."""
    framed, inner = _framed(x, x.dtype)
    inner.copy_(x)
    return _fill_frame(framed)


def _framed(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Room for a mirrored image, and its part that is the image."""
    framed = x.new_empty((*x.shape[:-2], *(n + 2 * BORDER for n in x.shape[-2:])), dtype=dtype)
    return framed, framed[INNER]


def _fill_frame(framed: Tensor) -> Tensor:
    """Mirror at its edges what the frame is around; in place."""
    for dim in (-2, -1):
        n = framed.shape[dim]
        for to, of in ((0, BORDER), (n - BORDER, n - 2 * BORDER)):
            framed.narrow(dim, to, BORDER).copy_(framed.narrow(dim, of, BORDER).flip(dim))
    return framed


def gaussian_filter(x: Tensor) -> Tensor:
    """Filter (..., H + 10, W + 10) with SSIM's Gaussian window -> (..., H, W).

    Each side in blocks of 16 pixels, by a product with a matrix of 11 diagonals: half the time of
    11 shifted copies added up, and no convolution is faster.
    """
    *leading, height, width = (*x.shape[:-2], *(n - 2 * BORDER for n in x.shape[-2:]))
    matrix, reach = _diagonals(x.dtype, x.device), BLOCK + 2 * BORDER
    if width % BLOCK or height % BLOCK:
        x = pad(x, (0, -width % BLOCK, 0, -height % BLOCK))
    down = matrix @ x.unfold(-2, reach, BLOCK).transpose(-1, -2)
    lines = down.reshape(-1, x.shape[-1])
    parts = lines.unfold(-1, reach, BLOCK).transpose(0, 1)  # (parts, lines, 26), without a copy
    across = torch.bmm(parts, matrix.T.expand(len(parts), -1, -1)).transpose(0, 1)
    return across.reshape(*leading, -1, len(parts) * BLOCK)[..., :height, :width]


@cache
def _diagonals(dtype: torch.dtype, device: torch.device) -> Tensor:
    """SSIM's Gaussian weights for each of 16 pixels in a row, (16, 26)."""
    at = torch.arange(-BORDER, BORDER + 1, dtype=torch.float64)
    rows = torch.zeros(BLOCK, BLOCK + 2 * BORDER, dtype=torch.float64)
    for k, weight in enumerate(torch.softmax(-(at**2) / (2 * SIGMA**2), 0)):
        rows.diagonal(k).fill_(weight)
    return rows.to(device, dtype)


def full_precision(device: torch.device) -> torch.dtype:
    """Float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def to_double(x: Tensor) -> Tensor:
    """Values in float64, in which a sum over a slice keeps its digits; for MPS on the CPU."""
    return (x.cpu() if x.device.type == "mps" else x).double()
