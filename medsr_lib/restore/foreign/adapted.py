"""A network of other people as a method: grey images in [0, 1] in, grey images in [0, 1] out."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

RANGES = {"[0, 1]": (1.0, 0.0), "0-255": (255.0, 0.0), "[-1, 1]": (2.0, -1.0)}
"""What a network calls black to white: factor and offset from [0, 1]."""


SMALLEST_TILE = 32  # LR pixels; where not even this fits into memory, the error is passed on


@dataclass(frozen=True)
class Findings:
    """What probe images found out about a network, and so how it is called.

    Attributes:
        scale: how much it enlarges.
        channels: 1, or 3 where grey goes in three times and the mean of the channels comes out.
        channels_last: whether it takes (B, h, w, C) in place of (B, C, h, w).
        range_in, range_out: one of `RANGES`.
        shift: SR pixels that its images lay too far down and right, before they were moved back.
        margin: LR pixels that are added at each side and cut off again.
        least: the smallest side it takes, LR pixels; smaller images are padded.
        multiple: what must divide the sides; others are padded.
        fixed: height and width of LR where it takes no others: larger images go through in tiles.
        batches: whether it restores several images at once as it does one by one.
        brightness: largest change of the mean of an even image.
        rms: difference from a smooth probe image that it had to restore.
        notes: what else is to be said.
    """

    scale: int
    channels: int = 1
    channels_last: bool = False
    range_in: str = "[0, 1]"
    range_out: str = "[0, 1]"
    shift: tuple[float, float] = (0.0, 0.0)
    margin: int = 0
    least: int = 1
    multiple: int = 1
    fixed: tuple[int, int] | None = None
    batches: bool = True
    brightness: float = 0.0
    rms: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def adapted(self) -> list[str]:
        """What is done for it, a phrase each."""
        ranges = f"values go in as {self.range_in} and come out as {self.range_out}"
        down, right = self.shift
        tiles = self.fixed and f"restored in tiles of {self.fixed[0]} x {self.fixed[1]} LR pixels"
        done = [
            self.channels == 3 and "grey goes in three times, the mean of the channels comes out",
            self.channels_last and "channels go last",
            {self.range_in, self.range_out} != {"[0, 1]"} and ranges,
            any(self.shift) and f"moved back by {down:.2f} rows, {right:.2f} columns (cubic)",
            self.margin and f"padded by {self.margin} LR pixels, cropped again",
            self.least > 1 and f"images under {self.least} LR pixels are padded",
            self.multiple > 1 and f"padded to multiples of {self.multiple}",
            tiles,
            not self.batches and "restored one image at a time",
        ]
        return [text for text in done if isinstance(text, str)] + list(self.notes)

    def __str__(self) -> str:
        return "; ".join([f"scale {self.scale}", *self.adapted])


class Adapted(nn.Module):
    """A network, called as `findings` says.

    LR (B, 1, h, w) -> SR (B, 1, scale h, scale w) in [0, 1]. Prints what is done for it.
    """

    def __init__(self, network: Callable[..., Any], findings: Findings) -> None:
        super().__init__()
        self.network = network
        self.findings = findings

    def forward(self, lr: Tensor) -> Tensor:
        """Restore a batch."""
        return self.unclipped(lr).clamp(0, 1)

    def unclipped(self, lr: Tensor) -> Tensor:
        """SR before it is clipped to [0, 1]."""
        about = self.findings
        groups = [lr] if about.batches else list(lr.split(1))
        fixed = about.fixed
        sr = torch.cat([self._tiled(g, fixed) if fixed else self._whole(g) for g in groups])
        return moved(sr, about.shift) if any(about.shift) else sr

    def __repr__(self) -> str:
        return f"Adapted({self.findings})"

    def _whole(self, lr: Tensor) -> Tensor:
        """Restore at once, or in tiles if the memory does not suffice: half as large, and so on."""
        tile = max(lr.shape[-2:])
        while True:
            try:
                tiled = tile < max(lr.shape[-2:])
                return self._tiled(lr, (tile, tile)) if tiled else self._padded(lr)
            except (MemoryError, RuntimeError) as error:
                tile = -(-tile // 2)
                if not _lacks_memory(error) or tile < max(SMALLEST_TILE, self.findings.least):
                    raise
            warnings.warn(f"memory is short: restored in tiles of {tile} LR pixels", stacklevel=4)

    def _padded(self, lr: Tensor) -> Tensor:
        """Pad to a size that the network takes, restore, and crop."""
        about = self.findings
        h, w = lr.shape[-2:]
        tall, wide = (
            max(-(-(n + 2 * about.margin) // about.multiple) * about.multiple, about.least)
            for n in (h, w)
        )
        top, left = (tall - h) // 2, (wide - w) // 2
        if about.margin == 0:  # keep what is there where it is
            top = left = 0
        lr = padded(lr, top, tall - h - top, left, wide - w - left)
        sr = self._raw(lr)
        extra = [n - about.scale * side for n, side in zip(sr.shape[-2:], (tall, wide))]
        if min(extra) < -2 * about.margin * about.scale:
            raise ValueError(f"{tuple(lr.shape[-2:])} LR pixels became {tuple(sr.shape[-2:])}")
        y, x = about.scale * top + extra[0] // 2, about.scale * left + extra[1] // 2
        return sr[..., y : y + about.scale * h, x : x + about.scale * w]

    def _tiled(self, lr: Tensor, tile_size: tuple[int, int]) -> Tensor:
        """Restore in overlapping tiles and keep of each what is furthest from its edges."""
        (tall, wide), s = tile_size, self.findings.scale
        restore = self._raw if self.findings.fixed else self._padded
        h, w = lr.shape[-2:]
        lr = padded(lr, 0, max(0, tall - h), 0, max(0, wide - w))
        sr = lr.new_zeros(len(lr), 1, s * lr.shape[-2], s * lr.shape[-1])
        for y, top, bottom in _tiles(lr.shape[-2], tall):
            for x, left, right in _tiles(lr.shape[-1], wide):
                tile = restore(lr[..., y : y + tall, x : x + wide])
                if tile.shape[-2:] != (s * tall, s * wide):
                    raise ValueError(f"a tile of {tall} x {wide} became {tuple(tile.shape[-2:])}")
                kept = tile[..., s * (top - y) : s * (bottom - y), s * (left - x) : s * (right - x)]
                sr[..., s * top : s * bottom, s * left : s * right] = kept
        return sr[..., : s * h, : s * w]

    def _raw(self, lr: Tensor) -> Tensor:
        """Call the network with values and channels as it wants them; (B, 1, H, W)."""
        about = self.findings
        factor, offset = RANGES[about.range_in]
        given = (lr * factor + offset).repeat(1, about.channels, 1, 1)
        came = call(self.network, given.movedim(1, -1) if about.channels_last else given)
        factor, offset = RANGES[about.range_out]
        return (came.mean(1, keepdim=True) - offset) / factor


def _lacks_memory(error: Exception) -> bool:
    """Whether torch, on CPU or CUDA, or ONNX Runtime could not get the memory it asked for."""
    said = str(error).lower()
    words = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")
    return isinstance(error, MemoryError) or any(text in said for text in words)


def call(network: Callable[..., Any], given: Tensor) -> Tensor:
    """What a network makes of a copy of an input, as float32 (B, C, H, W).

    A list or dictionary of one image, an array, other types of numbers and channels at the end are
    taken as they come.

    Raises:
        TypeError: it returned something else.
        ValueError: of another shape, or with other than 1 or 3 channels.
    """
    with torch.no_grad():
        came: Any = network(given.clone())
    if isinstance(came, Mapping):
        came = list(came.values())
    if isinstance(came, list | tuple):
        if len(came) != 1:
            raise TypeError(
                f"it returns {len(came)} things; wrap it in a function that returns the image"
            )
        came = came[0]
    if isinstance(came, np.ndarray):
        came = torch.from_numpy(came)
    if not isinstance(came, Tensor):
        raise TypeError(f"it returns {type(came).__name__}, not an image")
    came = came.to(given.device, torch.float32)
    if came.ndim == 3 and len(came) == len(given):
        came = came[:, None]
    if came.ndim == 4 and came.shape[1] not in (1, 3) and came.shape[-1] in (1, 3):
        came = came.movedim(-1, 1)
    if came.ndim != 4 or came.shape[0] != len(given) or came.shape[1] not in (1, 3):
        raise ValueError(
            f"it made {tuple(came.shape)} of {tuple(given.shape)}; "
            "images have 1 or 3 channels, as many as go in come out"
        )
    return came


def padded(image: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Continue an image (B, C, h, w) by reflection, as often as the padding needs."""
    while top or bottom or left or right:
        h, w = image.shape[-2:]
        if h == 1 or w == 1:
            return F.pad(image, (left, right, top, bottom), mode="replicate")
        now = [min(n, most - 1) for n, most in ((left, w), (right, w), (top, h), (bottom, h))]
        image = F.pad(image, now, mode="reflect")
        left, right, top, bottom = left - now[0], right - now[1], top - now[2], bottom - now[3]
    return image


def moved(sr: Tensor, shift: tuple[float, float]) -> Tensor:
    """Move images that lie too far down and right back by cubic interpolation."""
    h, w = sr.shape[-2:]
    y = (torch.arange(h, device=sr.device, dtype=sr.dtype) + 0.5 + shift[0]) * 2 / h - 1
    x = (torch.arange(w, device=sr.device, dtype=sr.dtype) + 0.5 + shift[1]) * 2 / w - 1
    grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1).expand(len(sr), h, w, 2)
    return F.grid_sample(sr, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _tiles(length: int, tile: int) -> list[tuple[int, int, int]]:
    """Start of each tile along one axis, and from where to where its pixels are kept."""
    step = max(1, tile - 2 * (tile // 4))
    starts = [*range(0, length - tile, step), length - tile]
    cuts = [0, *((a + tile + b) // 2 for a, b in pairwise(starts)), length]
    return list(zip(starts, cuts, cuts[1:]))
