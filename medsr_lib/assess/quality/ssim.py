"""SSIM's window, and what it averages: local means, and the maps of SSIM made of them."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

WINDOW = 11  # pixels; Wang et al. 2004, section III-B
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03
BORDER = WINDOW // 2  # pixels of a map whose window reaches beyond the image
INNER = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))  # where a map is used
PARTS = ("luminance", "contrast", "structure")
MAPS = ("ssim", "contrast_structure", *PARTS)  # of `maps`
BAND = 262144  # bytes of an array at once on a CPU: what its cache holds, some times over
BLOCK = 16  # pixels that are filtered by one product of matrices

Bands = tuple[slice, slice]  # images, rows


@torch.no_grad()
def maps(
    every: Sequence[Tensor],
    hr: Tensor,
    names: Sequence[str] = ("ssim",),
    *,
    data_range: float,
    dtype: torch.dtype,
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """The named ones of MAPS, (M, B, H, W) each, of M SR that are compared with one HR.

    With d = x - y of SR x and HR y, SSIM's two factors are 1 - ud^2 / (ux^2 + uy^2 + C1) and
    1 - vd / (vx + vy + C2), where vx + vy = 2 (vy + vdy) + vd: three filters for each SR, and what
    rounding does to vd is as small as 1 - SSIM. Before they are squared, y and d are taken from
    their means. HR's own moments are found in float64 where the device has it, band by band for all
    SR, while the cache holds them.

    Args:
        every: (B, H, W) each, at least 11 x 11 pixels.
        hr: (B, H, W).
        names: of the maps.
        data_range: of HR and SR.
        dtype: in which SR is compared. In float32 the mean of SSIM over a region is right within
            1e-6, and so is a pixel's unless SR has little to do with HR. Contrast and structure
            need float64: they hold the root of a variance that may be 0.
        mask: bool: averages are over its pixels alone, and what is found at the others means
            nothing. It, HR and SR are (B, H + 10, W + 10) then: a frame is around what is asked.
    """
    C1, C2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    inverse, used = None, None
    if mask is not None:
        share = gaussian_filter(mask.to(full_precision(hr.device)))
        inverse = _array((1 / share.masked_fill_(~mask[INNER], 1)).to(dtype))
        used = _array(mask.to(dtype))
    on, original = _library(hr), hr.to(dtype)
    level, y = _apart(original, torch.zeros_like(original[:, :1, :1]), used)
    differences = [_apart(sr.to(dtype), original, used) for sr in every]
    kind, shape = dtype if hr.itemsize < 4 else hr.dtype, y[INNER].shape
    result = {name: hr.new_empty((len(every), *shape), dtype=kind) for name in names}
    found = {name: _array(of) for name, of in result.items()}
    window_of = cache(Window)  # its memory is used again, while the cache holds it
    for here, reach in bands(hr, shape, dtype):
        own = None if inverse is None else inverse[here]
        near = y[reach] - level[here[0]]
        if used is not None:
            near *= used[reach]
        window = window_of((2, *near.shape), full_precision(hr.device), hr.device)
        twice, uy, vy, vyy, brightness, bright = _of_hr(near, window, level[here[0]], own, C1, C2)
        window = window_of((3, *near.shape), dtype, hr.device)
        x, xx, xy = window.given
        rest = on.empty_like(vy)
        for m, (shift, d) in enumerate(differences):
            on.subtract(d[reach], shift[here[0]], out=x)
            if used is not None:
                x *= used[reach]
            on.multiply(x, x, out=xx)
            on.multiply(x, twice, out=xy)
            ud, unlike, both = window.average(own)
            on.multiply(ud, ud, out=rest)
            unlike -= rest  # vd
            on.multiply(ud, uy, out=rest)
            both -= rest  # 2 vdy, as y and uy are taken twice
            both += unlike
            both += vyy  # vx + vy + C2
            unlike /= both
            ud += shift[here[0]]
            on.add(ud, brightness, out=rest)  # ux
            rest *= rest
            rest += bright
            ud *= ud
            ud /= rest
            shaded = ud
            if "contrast_structure" in names:
                found["contrast_structure"][m][here] = 1 - unlike
            if not set(PARTS).isdisjoint(names):
                vx = both - vy - C2
                sxsy = on.sqrt(on.clip(vx, 0, None) * on.clip(vy, 0, None))
                contrast = (2 * sxsy + C2) / both
                part = {"luminance": 1 - shaded, "contrast": contrast}
                part["structure"] = (1 - unlike) / contrast
                for name in set(PARTS).intersection(names):
                    found[name][m][here] = part[name]
            if "ssim" in names:
                unlike -= 1
                shaded -= 1
                on.multiply(unlike, shaded, out=found["ssim"][m][here])
    return result


def _of_hr(y: Any, window: "Window", level: Any, inverse: Any, C1: float, C2: float) -> list[Any]:
    """In part of an image 2 y, 2 uy, vy, 2 vy + C2, and what luminance takes of HR."""
    on, yy = window.on, window.given
    yy[0] = y
    on.multiply(yy[0], yy[0], out=yy[1])
    uy, vy = window.average(inverse)
    vy -= uy * uy
    ready = [on.empty_like(uy, dtype=y.dtype) for _ in range(5)]
    twice, variance, both, brightness, bright = ready
    on.multiply(uy, 2, out=twice)
    variance[...] = vy
    on.multiply(variance, 2, out=both)
    both += C2
    on.add(uy, level, out=brightness)
    on.multiply(brightness, brightness, out=bright)
    bright += C1
    return [2 * y, *ready]


def _apart(image: Tensor, other: Tensor, used: Any) -> tuple[Any, Any]:
    """An image less another with a frame, and its mean (B, 1, 1): the mean comes first."""
    on, x, less = _library(image), _array(image), _array(other)
    if used is None:
        framed, inner = _framed(x, on)
        on.subtract(x, less, out=inner)
        return _mean(x) - _mean(less), _fill_frame(framed, on)
    pixels = on.clip(used.sum((1, 2), keepdims=True), 1, None)
    return ((x - less) * used).sum((1, 2), keepdims=True) / pixels, x - less


def _mean(x: Any) -> Any:
    """Means (B, 1, 1), by rows of one long line, which are added up fastest."""
    return x.reshape(len(x), -1).mean(1)[:, None, None]


def bands(hr: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Iterator[tuple[Bands, Bands]]:
    """Where to compute maps of HR, (B, H, W), and what their windows reach of images with a frame.

    On a CPU some small images or a band of a large one at once, which its cache holds in the dtype;
    elsewhere all.
    """
    batch, height, width = shape
    if hr.device.type != "cpu":
        yield (slice(None), slice(None)), (slice(None), slice(None))
        return
    rows = max(BLOCK, BAND // (width * dtype.itemsize) // BLOCK * BLOCK)
    n = max(1, rows // height)
    for b, top in product(range(0, batch, n), range(0, height, rows)):
        some = slice(b, b + n)
        yield (some, slice(top, top + rows)), (some, slice(top, top + rows + 2 * BORDER))


def mirror(x: Tensor) -> Tensor:
    """Add BORDER pixels on each side of (B, H, W), like d c b a | a b c d | d c b a."""
    framed, inner = _framed(x, torch)
    inner.copy_(x)
    return torch.as_tensor(_fill_frame(framed, torch))


def _framed(x: Any, on: Any) -> tuple[Any, Any]:
    """Room for a mirrored image, and its part that is the image."""
    shape = (*x.shape[:-2], *(n + 2 * BORDER for n in x.shape[-2:]))
    framed = on.empty_like(x, shape=shape) if on is np else x.new_empty(shape)
    return framed, framed[INNER]


def _fill_frame(framed: Any, on: Any) -> Any:
    """Mirror at its edges what the frame is around; in place."""
    for of in (framed, framed.swapaxes(-1, -2)):
        of[..., :BORDER, :] = on.flip(of[..., BORDER : 2 * BORDER, :], (-2,))
        of[..., -BORDER:, :] = on.flip(of[..., -2 * BORDER : -BORDER, :], (-2,))
    return framed


def gaussian_filter(x: Tensor) -> Tensor:
    """Filter (..., H + 10, W + 10) with SSIM's Gaussian window -> (..., H, W)."""
    window = Window(x.shape, x.dtype, x.device)
    window.given[...] = _array(x)
    return torch.as_tensor(window.average())


class Window:
    """SSIM's Gaussian window over images of one shape, in memory that is used again and again.

    Each side is filtered in blocks of 16 pixels, by a product with a matrix of 11 diagonals: half
    the time of 11 shifted copies added up, and no convolution is faster.

    Attributes:
        given: (..., H + 10, W + 10), to be filled before `average` is called.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        *leading, height, width = (*shape[:-2], *(n - 2 * BORDER for n in shape[-2:]))
        short = (*leading, shape[-2] + -height % BLOCK, shape[-1] + -width % BLOCK)
        make = torch.empty if tuple(shape) == tuple(short) else torch.zeros
        framed = make(short, dtype=dtype, device=device)
        self.given = _array(framed[..., : shape[-2], : shape[-1]])
        self.on, weights, reach = _library(framed), _diagonals(dtype, device), BLOCK + 2 * BORDER
        columns = framed.unfold(-2, reach, BLOCK).transpose(-1, -2)  # (..., parts, 26, W + 10)
        down = framed.new_empty((*columns.shape[:-2], BLOCK, short[-1]))
        parts = down.view(-1, short[-1]).unfold(-1, reach, BLOCK)  # (lines, parts, 26)
        across = framed.new_empty((*parts.shape[:2], BLOCK))
        views = (weights.T.contiguous(), columns, down, parts.transpose(0, 1), weights)
        self._steps = [_array(of) for of in (*views, across.transpose(0, 1))]
        found = across.view(*leading, -1, parts.shape[1] * BLOCK)
        self._found = _array(found[..., :height, :width])

    def average(self, inverse: Any = None) -> Any:
        """Means (..., H, W); over a mask's pixels alone with the inverse of its own mean."""
        rows, columns, down, parts, weights, across = self._steps
        self.on.matmul(rows, columns, out=down)
        self.on.matmul(parts, weights, out=across)
        if inverse is not None:
            self._found *= inverse
        return self._found


def _library(x: Tensor) -> Any:
    """NumPy on a CPU, where its many small steps and products take half of torch's time."""
    return np if x.device.type == "cpu" else torch


def _array(x: Tensor) -> Any:
    """The same values for `_library`."""
    return x.detach().numpy() if x.device.type == "cpu" else x


@cache
def _diagonals(dtype: torch.dtype, device: torch.device) -> Tensor:
    """SSIM's Gaussian weights for each of 16 pixels in a row, (26, 16)."""
    at = torch.arange(-BORDER, BORDER + 1, dtype=torch.float64)
    rows = torch.zeros(BLOCK + 2 * BORDER, BLOCK, dtype=torch.float64)
    for k, weight in enumerate(torch.softmax(-(at**2) / (2 * SIGMA**2), 0)):
        rows.diagonal(-k).fill_(weight)
    return rows.to(device, dtype)


def full_precision(device: torch.device) -> torch.dtype:
    """Float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def to_double(x: Tensor) -> Tensor:
    """Values in float64, in which a sum over a slice keeps its digits; for MPS on the CPU."""
    return (x.cpu() if x.device.type == "mps" else x).double()
