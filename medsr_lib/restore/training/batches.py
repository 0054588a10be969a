"""Batches for training, drawn at random on the device.

Which batch comes when depends on (seed, step) alone: there is no loader whose position would have
to be restored after an interruption, and any number of processes together draw what one would.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medsr_lib import case, checks
from medsr_lib import images as image_rules

BLOCK = 32  # steps drawn together: one by one takes longer
# Drawn uniformly: the differences from the image's mean are multiplied, the brightness is added.
JITTER = {"contrast": (0.8, 1.2), "brightness": (-0.1, 0.1)}
# How differently patients stand before a detector, see `random_affine`:
AFFINE = {"down": (-0.06, 0.06), "right": (-0.06, 0.06), "scale": (-0.1, 0.1)}
AFFINE["angle"] = (-math.radians(5), math.radians(5))
# How blurred one of them is, see `softened`: a radiograph's sharpness is no illness.
SOFT = {"soft": (0.0, 1.0)}

Augment = Literal["turns", "shifts"]
Drawn = dict[str, NDArray[Any]]


class PackedImages(Protocol):
    """Images of any sizes, one after the other; `data.store.Store` is one.

    The value of a stored pixel p of image n is (p - low[n]) / (high[n] - low[n]).

    Attributes:
        pixels: (P,) of any real type.
        offset: (N,) where each image begins.
        height, width: (N,) in pixels.
        low, high: (N,) the stored pixels that mean 0 and 1.
        digests: (N,) which images they are (`case.digest`).
    """

    pixels: Tensor
    offset: Tensor
    height: Tensor
    width: Tensor
    low: Tensor
    high: Tensor

    @property
    def digests(self) -> Sequence[str]:
        """Which images they are."""


Images = PackedImages | Tensor | Sequence[Tensor]


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
    packed = SimpleNamespace(
        pixels=torch.cat([image.flatten() for image in listed]),
        offset=n_pixels.cumsum(0) - n_pixels,
        height=sizes[:, 0],
        width=sizes[:, 1],
        low=torch.zeros(len(listed)),
        high=torch.ones(len(listed)),
        digests=[case.digest(image) for image in listed],
    )
    return cast(PackedImages, packed)


def whole_image(images: PackedImages, i: int) -> Tensor:
    """Image i, (1, 1, H, W) float32 in [0, 1]."""
    start, height, width = (int(t[i]) for t in (images.offset, images.height, images.width))
    pixels = images.pixels[start : start + height * width].float()
    low, high = float(images.low[i]), float(images.high[i])
    return ((pixels - low) / (high - low)).clamp_(0, 1).view(1, 1, height, width)


def fingerprint(images: PackedImages) -> str:
    """Tell images apart by which they are and how they are stored: size, range, middle row."""
    middle = images.offset + images.height // 2 * images.width
    rows = [images.pixels[start : start + n] for start, n in zip(middle, images.width)]
    columns = images.height, images.width, images.low.double(), images.high.double()
    which = torch.frombuffer(bytearray("".join(images.digests).encode()), dtype=torch.uint8)
    return f"{len(images.offset)} images {digest(which, *columns, *rows)}"


def digest(*tensors: Tensor) -> str:
    """The values of tensors as 16 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for values in tensors:
        sha256.update(values.contiguous().cpu().numpy().data)
    return sha256.hexdigest()[:16]


class _Batches(ABC):
    """What is random in batches: numbers that follow from seed and step, drawn block by block."""

    def __init__(self, seed: int, device: torch.device) -> None:
        checks.whole("seed", seed, least=0)
        self.seed, self.device = seed, device
        self.block = -1
        self.drawn: Drawn = {}

    def _numbers(self, step: int) -> dict[str, Tensor]:
        """The numbers of one step, on the device."""
        block, row = divmod(step, BLOCK)
        if self.block != block:
            self.drawn = self._draw(np.random.default_rng([self.seed, block]))
            self.block = block
        return {
            name: torch.from_numpy(values[row]).to(self.device, non_blocking=True)
            for name, values in self.drawn.items()
        }

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> Drawn:
        """The numbers of a block of steps: arrays that begin with (BLOCK, B)."""


class Crops(_Batches):
    """`crops(step)` gives the training batch of a step: (batch, 1, size, size) float32 in [0, 1].

    Image, position and one of the eight flips and transposes are drawn uniformly for each crop.

    Args:
        images: see `as_packed`.
        size: side of a crop, in pixels.
        batch: crops a step, of all processes together.
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
        super().__init__(seed, torch.device(device))
        smallest = int(torch.minimum(images.height, images.width).min())
        if not 1 <= size <= smallest:
            raise ValueError(
                f"crop {size} does not fit: the smallest image measures {smallest} pixels"
            )
        checks.whole("batch", batch, least=1)
        if batch % world:
            raise ValueError(f"a batch of {batch} cannot be shared by {world} processes alike")
        self.share = slice(rank * batch // world, (rank + 1) * batch // world)
        self.size, self.batch = size, batch
        self.pixels = images.pixels.to(device)
        self.offset, self.height, self.width = (
            t.cpu().numpy() for t in (images.offset, images.height, images.width)
        )
        self.low = images.low.float().cpu().numpy()
        self.span = images.high.float().cpu().numpy() - self.low

    def __call__(self, step: int) -> Tensor:
        """The batch of one step; this process's share of it."""
        drawn = self._numbers(step)
        at = drawn["rows"][:, :, None] + drawn["columns"][:, None, :]  # (B, s, s), in `pixels`
        hr = self.pixels.index_select(0, at.flatten()).view(at.shape).float()
        hr.sub_(drawn["low"][:, None, None]).div_(drawn["span"][:, None, None]).clamp_(0, 1)
        return hr[:, None]  # (B, 1, s, s)

    def degraded(self, hr: Tensor, step: int, degrade: Callable[[Tensor], Tensor]) -> Tensor:
        """LR of the batch of a step; noise follows from seed, step and place in the batch.

        A degradation that draws noise has `keyed`, as `degrade.Degradation` has.
        """
        keyed = getattr(degrade, "keyed", None)
        if keyed is not None:
            places = range(self.share.start, self.share.stop)
            degrade = keyed([f"training {self.seed}, step {step}, crop {i}" for i in places])
        return degrade(hr)

    def _draw(self, rng: np.random.Generator) -> Drawn:
        """Rows and columns of the crops, (BLOCK, B, s), whose sums are places in `pixels`; the
        lowest value of each crop's image and its span, (BLOCK, B). B is this process's share.
        """
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
        return {
            "rows": np.where(transpose, x, y) + self.offset[which],
            "columns": np.where(transpose, y, x),
            "low": self.low[which][..., 0],
            "span": self.span[which][..., 0],
        }


class LabelledImages(_Batches):
    """`batches(step)` -> images (B, 1, S, S), changed at random, and their labels (B,).

    Every place of the batch draws a class and then an image of it.

    Args:
        images: (N, 1, S, S) float32 in [0, 1], on the device of the batches.
        labels: (N,) int64, 0 to n_classes - 1; each class at least once.
        n_classes, batch, seed, augment: as for `readers.fit_classifier`.

    Raises:
        ValueError: images that are not square.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        n_classes: int,
        batch: int,
        seed: int,
        augment: Augment,
    ) -> None:
        super().__init__(seed, images.device)
        _check_squares(images)
        self.images, self.batch, self.augment = images, batch, augment
        by_class = [np.flatnonzero(labels.cpu().numpy() == k) for k in range(n_classes)]
        self.counts = np.array([len(members) for members in by_class])
        self.first = np.cumsum(self.counts) - self.counts
        self.members = np.concatenate(by_class)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step."""
        drawn = self._numbers(step)
        if self.augment == "turns":
            images = _turned(self.images, drawn, size=self.images.shape[-1])
        else:
            chosen = self.images[drawn["which"][:, 0], 0]
            moved = random_affine(chosen, *(drawn[name] for name in AFFINE))
            images = softened(moved, drawn["soft"])
        return _jittered(images, drawn), drawn["label"][:, 0]

    def _draw(self, rng: np.random.Generator) -> Drawn:
        shape = (BLOCK, self.batch, 1)
        label = rng.integers(len(self.counts), size=shape)
        number = (rng.random(shape) * self.counts[label]).astype(np.int64)
        drawn = {"label": label, "which": self.members[self.first[label] + number]}
        if self.augment == "turns":
            drawn |= _draw_flips(rng, shape)
        else:
            drawn |= _draw_uniform(rng, AFFINE | SOFT, shape)
        return drawn | _draw_uniform(rng, JITTER, shape)


class MaskedCrops(_Batches):
    """`batches(step)` -> crops of images (B, 1, s, s) and of their masks (B, 1, s, s) bool.

    The first half of the batch (rounded up) holds at least one pixel of a lesion, drawn from an
    image that has one; the other half lies anywhere. Crops are flipped and transposed.

    Args:
        images: (N, 1, S, S) float32 in [0, 1], on the device of the batches.
        masks: (N, 1, S, S) bool, there too; an image may have no lesion, but not all of them.
        size: side of a crop, in pixels; None for whole images.
        batch, seed: as for `readers.fit_segmenter`.

    Raises:
        ValueError: images that are not square, a crop larger than them, or no lesion at all.
    """

    def __init__(
        self, images: Tensor, masks: Tensor, *, size: int | None, batch: int, seed: int
    ) -> None:
        super().__init__(seed, images.device)
        _check_squares(images)
        n, side = len(images), images.shape[-1]
        self.size = side if size is None else size
        if not 1 <= self.size <= side:
            raise ValueError(f"crop {size} does not fit: the images measure {side} pixels")
        self.images, self.masks, self.batch = images, masks, batch
        self.places = side - self.size + 1  # along each axis
        flat = masks.flatten(1)
        self.pixels = flat.nonzero()[:, 1].cpu().numpy()  # of lesions, image after image
        self.counts = flat.sum(1).cpu().numpy()  # (N,)
        self.first = np.cumsum(self.counts) - self.counts
        self.with_lesion = np.flatnonzero(self.counts)
        if not len(self.with_lesion):
            raise ValueError(f"all {n} masks are empty; there is no lesion to learn from")

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step."""
        drawn = self._numbers(step)
        x, y = (_turned(t, drawn, size=self.size) for t in (self.images, self.masks))
        return _jittered(x, drawn), y[:, None]

    def _draw(self, rng: np.random.Generator) -> Drawn:
        shape = (BLOCK, self.batch, 1)
        on_lesion = np.arange(self.batch)[:, None] < -(-self.batch // 2)  # (B, 1)
        anywhere = rng.integers(len(self.counts), size=shape)
        with_lesion = self.with_lesion[rng.integers(len(self.with_lesion), size=shape)]
        which = np.where(on_lesion, with_lesion, anywhere)
        number = (rng.random(shape) * self.counts[which]).astype(np.int64)
        pixel = self.pixels[np.minimum(self.first[which] + number, len(self.pixels) - 1)]
        drawn = {"which": which}
        for name, at in zip(("top", "left"), np.divmod(pixel, self.images.shape[-1])):
            low = np.where(on_lesion, np.maximum(at - self.size + 1, 0), 0)
            high = np.where(on_lesion, np.minimum(at, self.places - 1), self.places - 1)
            drawn[name] = low + (rng.random(shape) * (high - low + 1)).astype(np.int64)
        return drawn | _draw_flips(rng, shape) | _draw_uniform(rng, JITTER, shape)


def _jittered(images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """(B, H, W) in [0, 1] -> (B, 1, H, W) with another contrast and brightness each, clipped."""
    mean = images.mean((1, 2), keepdim=True)
    contrast, brightness = drawn["contrast"][:, :, None], drawn["brightness"][:, :, None]
    return ((images - mean) * contrast + mean + brightness).clamp(0, 1)[:, None]


def random_affine(
    images: Tensor, down: Tensor, right: Tensor, scale: Tensor, angle: Tensor
) -> Tensor:
    """Images (B, S, S) moved, enlarged by 1 / (1 + scale) and turned about the middle.

    Bilinear; what comes in from outside is a reflection.

    Args:
        images: (B, S, S).
        down, right: (B, 1), fractions of the image's side.
        scale: (B, 1), above -1.
        angle: (B, 1), radians.
    """
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    rows = torch.cat([cos, -sin, -2 * right], 1), torch.cat([sin, cos, -2 * down], 1)  # (B, 3)
    x = images[:, None]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)[:, 0]


def softened(images: Tensor, share: Tensor) -> Tensor:
    """Images (B, S, S) mixed with their blur, of 1.2 pixels' deviation, by shares (B, 1) of it."""
    blur = images[:, None]
    for _ in range(2):
        blur = F.avg_pool2d(blur, 3, stride=1, padding=1, count_include_pad=False)
    return torch.lerp(images, blur[:, 0], share[:, :, None])


def _turned(images: Tensor, drawn: dict[str, Tensor], *, size: int) -> Tensor:
    """Crops (B, s, s) of images (N, 1, S, S), flipped and transposed; all of them without `top`."""
    along = torch.arange(size, device=images.device)
    rows, columns = (
        drawn.get(first, 0) + torch.where(drawn[flip], along.flip(0), along)
        for first, flip in (("top", "flip_y"), ("left", "flip_x"))
    )  # (B, s)
    crops = images[drawn["which"][:, :, None], 0, rows[:, :, None], columns[:, None, :]]
    return torch.where(drawn["transpose"][:, :, None], crops.mT, crops)


def _check_squares(images: Tensor) -> None:
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images: expected squares (N, 1, S, S), got {tuple(images.shape)}")


def _draw_flips(rng: np.random.Generator, shape: tuple[int, ...]) -> Drawn:
    flips = rng.integers(2, size=(3, *shape)).astype(bool)
    return dict(zip(("flip_y", "flip_x", "transpose"), flips))


def _draw_uniform(
    rng: np.random.Generator, limits: dict[str, tuple[float, float]], shape: tuple[int, ...]
) -> Drawn:
    return {name: rng.uniform(*of, shape).astype(np.float32) for name, of in limits.items()}
