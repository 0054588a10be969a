"""Random crops for training, drawn on the device from images packed end to end.

Which crop comes when depends on (seed, step) alone: there is no loader whose position would have to
be restored after an interruption, and any number of processes together draw what one would.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsr_lib import images as image_rules

BLOCK = 32  # steps drawn together


class PackedImages(Protocol):
    """Images of any sizes, one after the other; `data.pack.Pack` is one.

    A stored pixel p of image n stands for the value (p - low[n]) / (high[n] - low[n]).
    """

    @property
    def pixels(self) -> Tensor:
        """(P,) of any real type."""

    @property
    def offset(self) -> Tensor:
        """(N,) where each image begins."""

    @property
    def height(self) -> Tensor:
        """(N,) in pixels."""

    @property
    def width(self) -> Tensor:
        """(N,) in pixels."""

    @property
    def low(self) -> Tensor:
        """(N,) the stored pixel that means 0."""

    @property
    def high(self) -> Tensor:
        """(N,) the stored pixel that means 1."""


Images = PackedImages | Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class _Packed:
    pixels: Tensor
    offset: Tensor
    height: Tensor
    width: Tensor
    low: Tensor
    high: Tensor


def as_packed(images: Images) -> PackedImages:
    """Bring training images into one form.

    Args:
        images: packed images, a tensor (N, 1, H, W), or a sequence of tensors (H, W) or (1, H, W)
            of any sizes; float in [0, 1].

    Raises:
        TypeError, ValueError: no images, or not such images.
    """
    if not isinstance(images, Tensor | Sequence):
        if len(images.offset) == 0:
            raise ValueError("there are no images to train on")
        return images
    listed = [image.reshape(1, 1, *image.shape[-2:]) for image in images]
    if not listed:
        raise ValueError("there are no images to train on")
    for n, image in enumerate(listed):
        image_rules.check(image, f"images[{n}]")
    sizes = torch.tensor([image.shape[-2:] for image in listed])
    n_pixels = sizes.prod(1)
    return _Packed(
        pixels=torch.cat([image.flatten() for image in listed]),
        offset=n_pixels.cumsum(0) - n_pixels,
        height=sizes[:, 0],
        width=sizes[:, 1],
        low=torch.zeros(len(listed)),
        high=torch.ones(len(listed)),
    )


def whole_image(images: PackedImages, i: int) -> Tensor:
    """Image i, (1, 1, H, W) float32 in [0, 1]."""
    start, height, width = (int(t[i]) for t in (images.offset, images.height, images.width))
    pixels = images.pixels[start : start + height * width].float()
    low, high = float(images.low[i]), float(images.high[i])
    return ((pixels - low) / (high - low)).clamp_(0, 1).view(1, 1, height, width)


def fingerprint(images: PackedImages) -> str:
    """Tell images apart by their number, sizes, ranges and middle rows."""
    digest = hashlib.sha256()
    for column in (images.height, images.width, images.low.double(), images.high.double()):
        digest.update(column.cpu().numpy().tobytes())
    for offset, height, width in zip(images.offset, images.height, images.width):
        start = offset + height // 2 * width
        digest.update(images.pixels[start : start + width].cpu().numpy().tobytes())
    return f"{len(images.offset)} images {digest.hexdigest()[:16]}"


class Crops:
    """`crops(step)` gives the training batch of a step: (batch, 1, size, size) float32 in [0, 1].

    Image, position and one of the eight flips and transposes are drawn uniformly for each crop.

    Args:
        images: packed images, see `as_packed`.
        size: of a crop's side, in pixels.
        batch: crops a step, of all processes together.
        seed: of everything drawn.
        device: where the pixels are kept and the crops made.
        rank, world: which of how many processes this is; it gets its share of the batch.

    Raises:
        ValueError: a crop larger than the smallest image, or a batch that the processes cannot
            share.
    """

    def __init__(
        self,
        images: PackedImages,
        *,
        size: int,
        batch: int,
        seed: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        smallest = int(torch.minimum(images.height, images.width).min())
        if not 1 <= size <= smallest:
            raise ValueError(
                f"crop {size} does not fit: the smallest image measures {smallest} pixels"
            )
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        if batch % world:
            raise ValueError(f"a batch of {batch} cannot be shared by {world} processes alike")
        self.share = slice(rank * batch // world, (rank + 1) * batch // world)
        self.size, self.batch, self.seed = size, batch, seed
        self.pixels = images.pixels.to(device)
        self.offset, self.height, self.width = (
            t.cpu().numpy() for t in (images.offset, images.height, images.width)
        )
        self.low = images.low.float().cpu().numpy()
        self.span = images.high.float().cpu().numpy() - self.low
        self.drawn: tuple[int, tuple[NDArray[Any], ...]] = (-1, ())

    def __call__(self, step: int) -> Tensor:
        """The batch of one step; this process's share of it."""
        block, place = divmod(step, BLOCK)
        along_rows, along_columns, low, span = (
            torch.from_numpy(drawn[place]).to(self.pixels.device, non_blocking=True)
            for drawn in self._draw(block)
        )
        at = along_rows[:, :, None] + along_columns[:, None, :]  # (B, s, s)
        hr = self.pixels.index_select(0, at.flatten()).view(at.shape).float()
        hr.sub_(low[:, None, None]).div_(span[:, None, None]).clamp_(0, 1)
        return hr[:, None]  # (B, 1, s, s)

    def _draw(self, block: int) -> tuple[NDArray[Any], ...]:
        """What is gathered in a block of steps; drawn together, since one by one takes longer.

        Returns:
            (BLOCK, B, s) twice, whose sums are the places in `pixels` of a crop's rows and columns;
            (BLOCK, B) twice, the lowest value of each crop's image and its span; B crops are this
            process's share.
        """
        if self.drawn[0] == block:
            return self.drawn[1]
        rng = np.random.default_rng([self.seed, block])
        shape = (BLOCK, self.batch, 1)
        which = rng.integers(len(self.offset), size=shape)[:, self.share]
        down, across = rng.random((2, *shape))[:, :, self.share]
        flip_y, flip_x, transpose = rng.integers(2, size=(3, *shape))[:, :, self.share].astype(bool)
        width = self.width[which]
        top = (down * (self.height[which] - self.size + 1)).astype(np.int64)
        left = (across * (width - self.size + 1)).astype(np.int64)
        forward, backward = np.arange(self.size), np.arange(self.size)[::-1]
        y = (top + np.where(flip_y, backward, forward)) * width
        x = left + np.where(flip_x, backward, forward)
        rows, columns = np.where(transpose, x, y), np.where(transpose, y, x)
        range_ = self.low[which][..., 0], self.span[which][..., 0]
        self.drawn = block, (rows + self.offset[which], columns, *range_)
        return self.drawn[1]
