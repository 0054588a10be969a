"""All radiographs as squares of one size in one HDF5 file: a byte a pixel, mapped, not read.

5856 images of 256 x 256 take 384 MB on the disk. Opened, they take next to nothing: the pixels are
mapped into memory, so that what is looked at is read and the system may let it go again.

The brain slices have a pack of their own (`data.pack`), since these images differ in everything it
stores: they come in any size and leave in one, in 256 grey levels, mostly without masks. What
training takes is the same of both.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import h5py
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from medsr_lib.data import chest_xray, jpeg, parallel
from medsr_lib.data.chest_xray import LABELS, Radiograph
from medsr_lib.files import atomic

FORMAT = "medsr radiographs 1"
Fit = Literal["crop", "pad"]
Square = NDArray[np.uint8]


@dataclass(frozen=True, repr=False)
class Radiographs:
    """Radiographs of one size.

    A sequence of `Radiograph`: `len(these)`, `these[3]`, `for radiograph in these`. Training takes
    it as it is, through `pixels`, `offset`, `height`, `width`, `low` and `high`.

    Attributes:
        table: what `chest_xray.index` gave, a row per image; height and width are the file's.
        stored: (M, S, S) uint8, all images of the file.
        at: (N,) int64, which of them these are.
        stored_masks: (M, S, S) uint8, 1 inside an opacity, where the phantom drew them; else None.
    """

    table: pd.DataFrame
    stored: Tensor
    at: Tensor
    stored_masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        t = self.table
        kinds = ", ".join(f"{n} {label}" for label, n in t["label"].value_counts().items())
        return (
            f"Radiographs({len(t)} of {t['patient'].nunique()} patients, "
            f"{self.size} x {self.size}: {kinds})"
        )

    def __getitem__(self, i: int) -> Radiograph:
        if not -len(self) <= i < len(self):
            raise IndexError(f"radiograph {i} of {len(self)}")
        row = self.table.iloc[i]
        return Radiograph(
            image=self.images([i])[0, 0],
            image_id=row["image_id"],
            patient=row["patient"],
            label=row["label"],
            subtype=row["subtype"],
            channels=int(row["channels"]),
            jpeg_quality=int(row["jpeg_quality"]),
            n_bytes=int(row["bytes"]),
        )

    def __iter__(self) -> Iterator[Radiograph]:
        return (self[i] for i in range(len(self)))

    @property
    def size(self) -> int:
        """Height and width S in pixels."""
        return self.stored.shape[-1]

    @property
    def labels(self) -> Tensor:
        """(N,) int64: 0 for NORMAL, 1 for PNEUMONIA."""
        return torch.tensor([LABELS.index(label) for label in self.table["label"]])

    def images(self, which: Sequence[int] | None = None) -> Tensor:
        """(n, 1, S, S) float32 in [0, 1]: some images, or all (four bytes a pixel)."""
        at = self.at if which is None else self.at[list(which)]
        return self.stored[at].float().div_(255)[:, None]

    def masks(self) -> Tensor:
        """(N, S, S) bool, true inside an opacity.

        Raises:
            ValueError: real radiographs, which have no masks.
        """
        if self.stored_masks is None:
            raise ValueError("these radiographs have no masks; only the phantom's have")
        return self.stored_masks[self.at].bool()

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, (size, 1, S, S) float32 in [0, 1] at a time; the last may be less.

        Raises:
            ValueError: a size below 1.
        """
        if size < 1:
            raise ValueError(f"a batch has at least 1 image, got {size}")
        for start in range(0, len(self), size):
            yield self.images(range(start, min(start + size, len(self))))

    def select(self, rows: pd.DataFrame) -> "Radiographs":
        """The radiographs of some rows of `table`, sharing the pixels.

        Raises:
            ValueError: rows of another table.
        """
        at = self.table.index.get_indexer(rows.index)
        if (at < 0).any() or not (self.table["image_id"].iloc[at] == rows["image_id"]).all():
            raise ValueError("select takes rows of these radiographs' own table")
        return Radiographs(rows, self.stored, self.at[at], self.stored_masks)

    @property
    def pixels(self) -> Tensor:
        """(P,) uint8, all images of the file row by row, one after the other."""
        return self.stored.view(-1)

    @property
    def offset(self) -> Tensor:
        """(N,) int64, where each image begins in `pixels`."""
        return self.at * self.size**2

    @property
    def height(self) -> Tensor:
        """(N,) int64, in pixels: the size of them all."""
        return torch.full((len(self),), self.size)

    @property
    def width(self) -> Tensor:
        """(N,) int64, in pixels: the size of them all."""
        return self.height

    @property
    def low(self) -> Tensor:
        """(N,) float64, the stored pixel that means 0."""
        return torch.zeros(len(self), dtype=torch.float64)

    @property
    def high(self) -> Tensor:
        """(N,) float64, the stored pixel that means 1."""
        return torch.full((len(self),), 255.0, dtype=torch.float64)


def to_square(pixels: Square, *, size: int, fit: Fit) -> Square:
    """Bring an image to `size` x `size` pixels, its aspect ratio kept.

    Pillow's bicubic interpolation, whose kernel is widened by the scale where the image becomes
    smaller, so that nothing aliases. An image smaller than `size` is enlarged.

    Args:
        pixels: (H, W) uint8.
        size: height and width of the result.
        fit: "crop" takes the largest square in the middle; "pad" takes all of the image and adds
            black above and below, or left and right.

    Raises:
        ValueError: a size below 8, or another fit.
    """
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}")
    if fit not in get_args(Fit):
        raise ValueError(f"fit must be 'crop' or 'pad', got {fit!r}")
    image, (h, w) = Image.fromarray(pixels), pixels.shape
    resize = partial(image.resize, resample=Image.Resampling.BICUBIC)
    if fit == "crop":
        side = min(h, w)
        left, top = (w - side) / 2, (h - side) / 2
        return np.asarray(resize((size, size), box=(left, top, left + side, top + side)))
    height, width = (max(1, round(size * length / max(h, w))) for length in (h, w))
    square = np.zeros((size, size), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = np.asarray(resize((width, height)))
    return square


def build(
    table: pd.DataFrame,
    path: str | Path,
    *,
    size: int = 256,
    fit: Fit = "crop",
    jpeg_quality: int | None = None,
    source: str = "",
    workers: int | None = None,
    progress: bool = True,
) -> Radiographs:
    """Decode every radiograph of an index by several threads, write the file, and open it.

    Cropping is the default since the classes differ in shape: in the development sample the median
    width over height is 1.21 for NORMAL and 1.47 for PNEUMONIA, and black borders would write that
    number into every picture. It costs the sides of wide images.

    The file is written under a temporary name and then renamed: whatever interrupts this, a former
    one at `path` stays as it was.

    Args:
        table: from `chest_xray.index`; the paths in it are read. Where all of them have masks
            (the phantom), these are brought to the same squares.
        path: the file to write.
        size, fit: see `to_square`.
        jpeg_quality: compress every square with this IJG quality and decode it again
            (`jpeg.recompress`), or None.
        source: a text kept in the file, by which `prepare` knows what it was built from.
        workers: threads; as many as processor cores where it is None.
        progress: show a progress bar.

    Raises:
        ValueError: an empty table, or an argument out of range.
    """
    if table.empty:
        raise ValueError("the table has no rows; there is nothing to pack")
    if jpeg_quality is not None:
        jpeg.check_quality(jpeg_quality)
    read = partial(_read, size=size, fit=fit, jpeg_quality=jpeg_quality, masks=_have_masks(table))
    shape = (len(table), size, size)
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        pixels = file.create_dataset("pixels", shape, "uint8")
        masks = file.create_dataset("masks", shape, "uint8") if _have_masks(table) else None
        squares = parallel.ordered(read, table["path"], workers=workers)
        bar = partial(tqdm, desc="packing radiographs", disable=not progress, leave=False)
        for i, (square, mask) in enumerate(bar(squares, total=len(table))):
            pixels[i] = square
            if masks is not None:
                masks[i] = mask
        file["table"] = table.to_json(orient="table", index=False, double_precision=15)
        file.attrs.update(source=source, format=FORMAT)  # written last
    return open(path)


def _have_masks(table: pd.DataFrame) -> bool:
    folders = {Path(path).parents[2] for path in table["path"]}
    return all((folder / chest_xray.MASKS).is_dir() for folder in folders)


def _read(
    path: str, *, size: int, fit: Fit, jpeg_quality: int | None, masks: bool
) -> tuple[Square, Square | None]:
    square = to_square(chest_xray.read_pixels(path), size=size, fit=fit)
    if jpeg_quality is not None:
        square = jpeg.once_more(square, quality=jpeg_quality)
    if not masks:
        return square, None
    mask = chest_xray.read_mask(path).astype(np.uint8) * 255
    return square, (to_square(mask, size=size, fit=fit) > 127).astype(np.uint8)


def open(path: str | Path) -> Radiographs:
    """Map a file that `build` wrote into memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, damaged, or of another version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; radiographs.build writes it")
    try:
        with h5py.File(path) as file:
            found = file.attrs.get("format")
            if found != FORMAT:
                raise ValueError(f"{path}: expected {FORMAT!r}, found {found!r}; build it again")
            table = pd.read_json(io.StringIO(file["table"].asstr()[()]), orient="table")
            return Radiographs(
                table=table.astype({"duplicate_of": "string"}),
                stored=_mapped(path, file["pixels"]),
                at=torch.arange(len(table)),
                stored_masks=_mapped(path, file["masks"]) if "masks" in file else None,
            )
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path}: a damaged file ({error}); build it again") from None


def _mapped(path: Path, data: h5py.Dataset) -> Tensor:
    """The values of a data set that lies in the file as one piece; changes are not written back."""
    offset = data.id.get_offset()
    if offset is None:
        raise KeyError(f"{data.name} is not in one piece")
    return torch.from_numpy(np.memmap(path, data.dtype, "c", offset, data.shape))


def prepare(
    root: str | Path,
    path: str | Path,
    *,
    size: int = 256,
    fit: Fit = "crop",
    jpeg_quality: int | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> Radiographs:
    """Open the file at `path` if it was built so from the folder `root` as it is now, else build.

    Names, sizes and times of the JPEG files tell whether the folder has changed.

    Raises:
        FileNotFoundError, ValueError: as `chest_xray.index`.
    """
    files = chest_xray.find(root)
    state = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    how = [size, fit, jpeg_quality, skip_bad]
    source = hashlib.sha256(json.dumps([state, how]).encode()).hexdigest()
    if Path(path).is_file() and _source(path) == source:
        return open(path)
    table = chest_xray.index(root, skip_bad=skip_bad, progress=progress)
    return build(
        table,
        path,
        size=size,
        fit=fit,
        jpeg_quality=jpeg_quality,
        source=source,
        progress=progress,
    )


def _source(path: str | Path) -> str | None:
    """What the file was built from; None where it cannot be read."""
    try:
        with h5py.File(path) as file:
            return str(file.attrs["source"]) if file.attrs.get("format") == FORMAT else None
    except (OSError, KeyError, RuntimeError):
        return None
