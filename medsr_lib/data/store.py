"""A whole data set in one HDF5 file and in memory: int16 pixels, masks, borders and the table.

Training draws crops from it without touching the .mat files again. 3064 slices of 512 x 512 take
1.7 GB: two bytes a pixel, and one bit a pixel for the masks.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsr_lib.data import figshare
from medsr_lib.data.figshare import TumourSlice
from medsr_lib.files import atomic

FORMAT = "medsr pack 1"
_COPIED = ["tumour", "patient_id", "raw_min", "raw_max", "slice_id"]


@dataclass(frozen=True, repr=False)
class Pack:
    """Slices of any sizes, packed end to end.

    A sequence of `TumourSlice`: `len(pack)`, `pack[3]`, `for tumour_slice in pack`. Training takes
    it as it is, through `pixels`, `offset`, `height`, `width`, `low` and `high`.

    Attributes:
        table: what `figshare.index` gave, a row per slice.
        pixels: (P,) int16, the images row by row, one after the other.
        mask_bits: uint8, the masks, eight pixels a byte, each slice from a byte of its own.
        borders: (n, 2) float32, the outlines one after the other.
        layout: (N,) arrays by name: offset, height, width, mask_offset, border_offset,
            border_points, low, high. A pixel p stands for the value (p - low) / (high - low).
    """

    table: pd.DataFrame
    pixels: Tensor
    mask_bits: np.ndarray
    borders: Tensor
    layout: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        t = self.table
        sizes = ", ".join(f"{n} {tumour}" for tumour, n in t["tumour"].value_counts().items())
        return f"Pack({len(t)} slices of {t['patient'].nunique()} patients: {sizes})"

    def __getitem__(self, i: int) -> TumourSlice:
        if not -len(self) <= i < len(self):
            raise IndexError(f"slice {i} of a pack of {len(self)}")
        place = {name: column[i].item() for name, column in self.layout.items()}
        shape = height, width = place["height"], place["width"]
        pixels = self.pixels[place["offset"] :][: height * width].view(shape)
        bits = self.mask_bits[place["mask_offset"] :][: -(-height * width // 8)]
        mask = np.unpackbits(bits, count=height * width).view(bool).reshape(shape)
        return TumourSlice(
            image=torch.sub(pixels, place["low"]).div_(place["high"] - place["low"]),
            mask=torch.from_numpy(mask),
            border=self.borders[place["border_offset"] :][: place["border_points"]],
            **self._records[i],
        )

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        """What a slice has from the table, as plain values: looking them up there is slow."""
        fold = [None if pd.isna(fold) else int(fold) for fold in self.table["fold"]]
        columns = [self.table[name].tolist() for name in _COPIED]
        names = [*_COPIED, "fold"]
        return [dict(zip(names, values)) for values in zip(*columns, fold)]

    def select(self, rows: pd.DataFrame) -> "Pack":
        """The slices of some rows of `table`, sharing the pixels in memory."""
        at = self.table.index.get_indexer(rows.index)
        if (at < 0).any() or not (self.table["slice_id"].iloc[at] == rows["slice_id"]).all():
            raise ValueError("select takes rows of this pack's own table")
        layout = {name: column[at] for name, column in self.layout.items()}
        return Pack(rows, self.pixels, self.mask_bits, self.borders, layout)

    def patches(self, size: int) -> Tensor:
        """A square around each tumour, (N, 1, size, size) float32 in [0, 1].

        Its middle is that of the mask's bounding box; where it would leave the slice it is moved
        inwards. A tumour larger than `size` is cut.

        Raises:
            ValueError: an empty mask, or a slice smaller than `size`; names the slice.
        """
        return self._patches("image", size)

    def mask_patches(self, size: int) -> Tensor:
        """The masks of `patches`, (N, 1, size, size) bool.

        Raises:
            ValueError: as `patches`.
        """
        return self._patches("mask", size)

    def _patches(self, name: Literal["image", "mask"], size: int) -> Tensor:
        cut = []
        for s in (self[i] for i in range(len(self))):
            try:
                cut.append(getattr(s, name)[around(s.mask, size=size)].clone())
            except ValueError as error:
                raise ValueError(f"slice {s.slice_id}: {error}") from None
        return torch.stack(cut)[:, None]

    @property
    def offset(self) -> Tensor:
        """(N,) int64, where each image begins in `pixels`."""
        return torch.from_numpy(self.layout["offset"])

    @property
    def height(self) -> Tensor:
        """(N,) int64, in pixels."""
        return torch.from_numpy(self.layout["height"])

    @property
    def width(self) -> Tensor:
        """(N,) int64, in pixels."""
        return torch.from_numpy(self.layout["width"])

    @property
    def low(self) -> Tensor:
        """(N,) float64, the stored pixel that becomes 0."""
        return torch.from_numpy(self.layout["low"])

    @property
    def high(self) -> Tensor:
        """(N,) float64, the stored pixel that becomes 1."""
        return torch.from_numpy(self.layout["high"])


def around(mask: Tensor, *, size: int) -> tuple[slice, slice]:
    """Rows and columns of a square around a mask (H, W) bool.

    Its middle is that of the mask's bounding box; where it would leave the slice it is moved
    inwards.

    Raises:
        ValueError: an empty mask, or one smaller than `size`.
    """
    if not mask.any():
        raise ValueError("the mask is empty; leave the slice out")
    if not 1 <= size <= min(mask.shape):
        raise ValueError(
            f"{mask.shape[0]} x {mask.shape[1]} pixels; a patch of {size} does not fit"
        )
    y, x = (_beginning(mask.any(axis), size) for axis in (1, 0))
    return slice(y, y + size), slice(x, x + size)


def _beginning(occupied: Tensor, size: int) -> int:
    """Where `size` pixels around the middle of the occupied ones begin; all inside."""
    at = occupied.nonzero()
    middle = (int(at.min()) + int(at.max()) + 1 - size) // 2
    return max(0, min(middle, len(occupied) - size))


def build(
    table: pd.DataFrame, path: str | Path, *, source: str = "", progress: bool = True
) -> Pack:
    """Read every slice of an index once, write the pack, and open it.

    Integer images keep their pixels; a floating-point one is stored in 65 535 steps of its range.
    The file is written under a temporary name and then renamed: whatever interrupts this, a former
    pack at `path` stays as it was.

    Args:
        table: from `figshare.index`; the paths in it are read.
        path: the file to write.
        source: a text kept in the file, by which `prepare` knows what it was built from.
        progress: show a progress bar.
    """
    if table.empty:
        raise ValueError("the table has no rows; there is nothing to pack")
    sizes = (table["height"] * table["width"]).to_numpy()
    mask_sizes = -(-sizes // 8)
    layout = {
        "offset": np.cumsum(sizes) - sizes,
        "height": table["height"].to_numpy(),
        "width": table["width"].to_numpy(),
        "mask_offset": np.cumsum(mask_sizes) - mask_sizes,
        "low": np.zeros(len(table)),
        "high": np.zeros(len(table)),
    }
    borders: list[np.ndarray] = []
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        pixels = file.create_dataset("pixels", (int(sizes.sum()),), "int16")
        bits = file.create_dataset("mask_bits", (int(mask_sizes.sum()),), "uint8")
        paths = tqdm(table["path"], "packing slices", disable=not progress, leave=False)
        for i, slice_path in enumerate(paths):
            s = figshare.read_slice(slice_path)
            stored, layout["low"][i], layout["high"][i] = _as_int16(s)
            start, mask_start = layout["offset"][i], layout["mask_offset"][i]
            pixels[start : start + sizes[i]] = stored.ravel()
            bits[mask_start : mask_start + mask_sizes[i]] = np.packbits(s.mask.numpy())
            borders.append(s.border.numpy())
        points = np.array([len(border) for border in borders])
        layout |= {"border_offset": np.cumsum(points) - points, "border_points": points}
        file["borders"] = np.concatenate(borders)
        for name, column in layout.items():
            file[f"layout/{name}"] = column
        file["table"] = table.to_json(orient="table", index=False, double_precision=15)
        file.attrs.update(source=source, format=FORMAT)  # written last
    return open(path)


def _as_int16(s: TumourSlice) -> tuple[np.ndarray, float, float]:
    """The pixels to store, and which of their values mean 0 and 1."""
    raw = s.raw
    assert raw is not None  # read_slice keeps it
    if raw.dtype.kind in "iu" and raw.min() >= -32768 and raw.max() <= 32767:
        return raw.astype(np.int16), s.raw_min, s.raw_max
    codes = np.rint(s.image.double().numpy() * 65534 - 32767)
    return codes.astype(np.int16), -32767.0, 32767.0


def open(path: str | Path) -> Pack:
    """Read a pack into memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a pack, damaged, or of another version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; pack.build writes it")
    try:
        with h5py.File(path) as file:
            found = file.attrs.get("format")
            if found != FORMAT:
                raise ValueError(f"{path}: expected {FORMAT!r}, found {found!r}; build it again")
            return Pack(
                table=_table(file["table"].asstr()[()]),
                pixels=torch.from_numpy(file["pixels"][()]),
                mask_bits=file["mask_bits"][()],
                borders=torch.from_numpy(file["borders"][()]),
                layout={name: column[()] for name, column in file["layout"].items()},
            )
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: a damaged pack ({error}); build it again") from None


def _table(text: str) -> pd.DataFrame:
    table = pd.read_json(io.StringIO(text), orient="table")
    return table.astype({"fold": "Int64", "raw_min": float, "raw_max": float})


def prepare(
    root: str | Path, path: str | Path, *, skip_bad: bool = False, progress: bool = True
) -> Pack:
    """Open the pack at `path` if it was built from the folder `root` as it is now, else build it.

    Names, sizes and times of the .mat files tell whether the folder has changed.

    Raises:
        FileNotFoundError, ValueError: as `figshare.index`.
    """
    files = sorted(Path(root).rglob("*.mat"))
    state = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    source = hashlib.sha256(json.dumps([state, skip_bad]).encode()).hexdigest()
    if Path(path).is_file() and _source(path) == source:
        return open(path)
    table = figshare.index(root, skip_bad=skip_bad, progress=progress)
    return build(table, path, source=source, progress=progress)


def _source(path: str | Path) -> str | None:
    """What the pack was built from; None where the file cannot be read."""
    try:
        with h5py.File(path) as file:
            return str(file.attrs["source"]) if file.attrs.get("format") == FORMAT else None
    except (OSError, KeyError, RuntimeError):
        return None
