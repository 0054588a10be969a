"""A whole data set in one HDF5 file: pixels, masks and the table, mapped into memory.

Training draws crops from it without touching the images' own files again. What is looked at is
read, and the system may let it go again, so that opening a store is cheap however large it is. 3064
slices of 512 x 512 take 1.7 GB: two bytes a pixel, and one bit a pixel for the masks; 5856
radiographs as squares of 256 x 256 take 384 MB, a byte a pixel.

Damage is noticed. The first 512 bytes, which HDF5 leaves to its users, hold a digest of all that is
neither pixel nor mask. It is compared before HDF5, which some damage crashes, sees the file. The
layout holds a checksum of each image and its mask, which is compared when they are first used.
"""

import errno
import hashlib
import io
import itertools
import json
import re
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medsr_lib import checks
from medsr_lib.case import Case
from medsr_lib.data import jpeg
from medsr_lib.data import source as sources
from medsr_lib.data.layouts import DEFAULTS, Options
from medsr_lib.files import atomic, sweep

FORMAT = "medsr store 4"
_HEAD = 512  # bytes, the least that HDF5 leaves
_HEAD_TEXT = re.compile(  # digest, what it was made from, begin and end of the pixels and the masks
    rf"{FORMAT}\n([0-9a-f]{{64}})\n([0-9a-f]{{64}}(?: \d{{1,15}}){{4}})\n+".encode()
)
_STORES = (b"medsr store ", b"\x89HDF")  # how stores of any version begin
_LAYOUT = ("offset", "height", "width", "low", "high", "mask_offset", "checksum")
_LEAST = 8  # pixels, the side of the smallest square
_Stored = tuple[NDArray[Any], float, float, NDArray[np.bool_] | None]
_CODES = 32767  # an image that is not of whole numbers is stored in steps from -32767 to this


@dataclass(frozen=True, repr=False)
class Store:
    """Images of one data set, packed end to end.

    A sequence of `Case`: `len(store)`, `store[3]`, `for case in store`. What a case has in `about`
    are the table's further columns. Training takes a store as it is, through `pixels`, `offset`,
    `height`, `width`, `low` and `high`. Whatever uses a damaged image raises a ValueError, which
    names the file and the image.

    Attributes:
        table: what `source.index` gave, a row per image, and its `attrs`; its height, width and
            mask_pixels are those of the file that was read.
        classes: all labels of the file in alphabetical order.
        path: the file.
        stored: (P,) int16 or uint8, the images row by row, one after the other; not compared with
            their checksums, as `pixels` is.
        mask_bits: (Q,) uint8, the masks, eight pixels a byte, each from a byte of its own; not
            compared either.
        offset: (N,) int64, where each image begins in `pixels`.
        height, width: (N,) int64, its size in pixels.
        low, high: (N,) float64, the stored pixels that mean 0 and 1.
        mask_offset: (N,) int64, where its mask begins in `mask_bits`; -1 where it has none.
        checksum: (N,) int64, the CRC-32 of its stored pixels and its mask's bits.
        compared: the `offset` of the images that agreed with their checksums.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    path: Path
    stored: Tensor
    mask_bits: NDArray[np.uint8]
    offset: Tensor
    height: Tensor
    width: Tensor
    low: Tensor
    high: Tensor
    mask_offset: Tensor
    checksum: Tensor
    compared: set[int]

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Store({self})"

    def __str__(self) -> str:
        t = self.table
        kinds = ", ".join(f"{n} {label or '?'}" for label, n in t["label"].value_counts().items())
        return f"{len(t)} images of {t['patient'].nunique()} patients: {kinds}"

    def __getitem__(self, i: int) -> Case:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of a store of {len(self)}")
        return Case(image=self._image(i), mask=self._mask(i), **self._records[i])

    def __iter__(self) -> Iterator[Case]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def _records(self) -> list[dict[Any, Any]]:
        """What a case has from the table, as plain values: looking them up there is slow."""
        plain = self.table.astype(object).where(self.table.notna(), None)
        known = plain[list(sources.OF_CASE)].to_dict("records")
        further = plain.drop(columns=list(sources.COLUMNS)).to_dict("records")
        return [{**row, "about": about} for row, about in zip(known, further)]

    @cached_property
    def pixels(self) -> Tensor:
        """(P,) int16 or uint8, the stored pixels; those of this store's images are sound.

        Raises:
            ValueError: a damaged image.
        """
        for i in range(len(self)):
            self._stored(i)
        return self.stored

    def _stored(self, i: int) -> tuple[Tensor, NDArray[np.uint8]]:
        """The stored pixels (H, W) of an image and the bits of its mask, none without one."""
        start, height, width = (int(of[i]) for of in (self.offset, self.height, self.width))
        pixels = self.stored[start : start + height * width].view(height, width)
        n_bytes, at = -(-height * width // 8), int(self.mask_offset[i])
        bits = self.mask_bits[at : at + n_bytes] if at >= 0 else self.mask_bits[:0]
        if start not in self.compared:
            if _checksum(pixels.numpy(), bits) != self.checksum[i]:
                raise _damaged(self.path, f"image {self.table['id'].iloc[i]}")
            self.compared.add(start)
        return pixels, bits

    def _image(self, i: int) -> Tensor:
        """(H, W) float32 in [0, 1]."""
        low, high = float(self.low[i]), float(self.high[i])
        return torch.sub(self._stored(i)[0], low).div_(high - low)

    def _mask(self, i: int) -> Tensor | None:
        """(H, W) bool, or None."""
        if self.mask_offset[i] < 0:
            return None
        pixels, bits = self._stored(i)
        mask = np.unpackbits(bits, count=pixels.numel()).view(bool)
        return torch.from_numpy(mask.reshape(pixels.shape))

    def select(self, rows: pd.DataFrame) -> "Store":
        """The images of some rows of `table`, sharing the pixels.

        Raises:
            ValueError: no rows but something else, rows of another table, or a row twice.
        """
        if not isinstance(rows, pd.DataFrame) or rows.index.has_duplicates:
            raise ValueError("select takes rows such as table[condition], each of them once")
        at = self.table.index.get_indexer(rows.index)
        if (at < 0).any() or not (self.table["id"].iloc[at] == rows["id"]).all():
            raise ValueError("select takes rows of this store's own table")
        layout = {name: getattr(self, name)[at] for name in _LAYOUT}
        file = self.path, self.stored, self.mask_bits
        return Store(rows, self.classes, *file, **layout, compared=self.compared)

    @property
    def labels(self) -> Tensor:
        """(N,) int64, each image's label as its place in `classes`.

        Raises:
            ValueError: an image without a label.
        """
        if (self.table["label"] == "").any():
            raise ValueError("not all images have a label; select those that have")
        return torch.tensor([self.classes.index(label) for label in self.table["label"]])

    @property
    def digests(self) -> tuple[str, ...]:
        """Of each image, `Case.digest`."""
        return tuple(self.table["digest"])

    @property
    def has_masks(self) -> bool:
        """Whether every image has a mask."""
        return bool((self.mask_offset >= 0).all())

    def images(self) -> Tensor:
        """(N, 1, H, W) float32 in [0, 1], four bytes a pixel.

        Raises:
            ValueError: images of several sizes.
        """
        return self._stack(self._image)[:, None]

    def masks(self) -> Tensor:
        """(N, H, W) bool, true inside the lesion.

        Raises:
            ValueError: images of several sizes, or without masks.
        """
        return self._stack(self._known_mask)

    def _stack(self, read: Callable[[int], Tensor]) -> Tensor:
        sizes = sorted(set(zip(self.height.tolist(), self.width.tolist())))
        if len(sizes) != 1:
            raise ValueError(
                f"expected images of one size, found {len(sizes)} sizes {sizes[:3]}; prepare the "
                "store with size=..., or take patches(size)"
            )
        return torch.stack([read(i) for i in range(len(self))])

    def _known_mask(self, i: int) -> Tensor:
        mask = self._mask(i)
        if mask is None:
            raise ValueError(f"case {self.table['id'].iloc[i]} has no mask; select those that have")
        return mask

    def patches(self, size: int) -> Tensor:
        """A square around each lesion, (N, 1, size, size) float32 in [0, 1].

        Its middle is that of the mask's bounding box; where it would leave the image it is moved
        inwards. A lesion larger than `size` is cut.

        Raises:
            ValueError: no mask or an empty one, or an image smaller than `size`; names the case.
        """
        return self._patches(self._image, size)

    def mask_patches(self, size: int) -> Tensor:
        """The masks of `patches`, (N, 1, size, size) bool.

        Raises:
            ValueError: as `patches`.
        """
        return self._patches(self._known_mask, size)

    def _patches(self, read: Callable[[int], Tensor], size: int) -> Tensor:
        cut = []
        for i in range(len(self)):
            mask = self._known_mask(i)
            try:
                cut.append(read(i)[around(mask, size=size)])
            except ValueError as error:
                raise ValueError(f"case {self.table['id'].iloc[i]}: {error}") from None
        return torch.stack(cut)[:, None]


def around(mask: Tensor, *, size: int) -> tuple[slice, slice]:
    """Rows and columns of a square around a mask (H, W) bool.

    Its middle is that of the mask's bounding box; where it would leave the image it is moved
    inwards.

    Raises:
        ValueError: an empty mask, or one smaller than `size`, which is at least 1.
    """
    checks.whole("size", size, least=1)
    if not mask.any():
        raise ValueError("the mask is empty; leave the image out")
    if size > min(mask.shape):
        raise ValueError(
            f"{mask.shape[0]} x {mask.shape[1]} pixels; a patch of {size} does not fit"
        )
    at = mask.nonzero()  # (n, 2)
    middle = (at.amin(0) + at.amax(0) + 1 - size).div(2, rounding_mode="floor")
    y, x = torch.minimum(middle, torch.tensor(mask.shape) - size).clamp(min=0).tolist()
    return slice(y, y + size), slice(x, x + size)


def prepare(
    folder: str | Path,
    path: str | Path,
    *,
    size: int | None = None,
    jpeg_quality: int | None = None,
    skip_bad: bool = False,
    options: Options = DEFAULTS,
) -> Store:
    """Open the store at `path` if it was made so from the folder as it is now, else make it.

    `source.content` tells whether the folder has changed; a renamed one has, since the table holds
    paths. A store that is damaged or of another version is made anew, too, with a warning; only a
    damaged image waits for its use. Every file is read twice, by several threads. The store is
    written under a temporary name and then renamed: whatever interrupts this, a former one at
    `path` stays as it was.

    Args:
        folder: of one kind of data; see `source.SOURCES`.
        path: the file of the store.
        size: bring every image to a square of so many pixels and 256 grey levels: the largest
            square in its middle, resampled by Pillow's bicubic interpolation, whose kernel is
            widened where the image becomes smaller, so that nothing aliases. None keeps sizes and
            stored intensities as they are. (The classes of chest radiographs differ in shape: in
            the development sample the median width over height is 1.21 for NORMAL and 1.47 for
            PNEUMONIA. Black borders would write that number into every image; cropping costs the
            sides of wide ones.)
        jpeg_quality: compress every square with this IJG quality and decode it again
            (`jpeg.recompress`), or None.
        skip_bad: leave out files that cannot be used, and warn, as `source.index` does; opening
            the store again warns, too.
        options: how a folder of images and masks is to be understood; others make another store.

    Raises:
        FileNotFoundError: as `source.index`.
        OSError: there is no room for the store.
        ValueError: as `source.index`, an argument that is out of range, a folder that changes while
            it is read, or a file at `path` that is no store.
    """
    if size is not None:
        checks.whole("size", size, least=_LEAST)
    if jpeg_quality is not None:
        jpeg.check_quality(jpeg_quality)
        if size is None:
            raise ValueError("jpeg_quality compresses squares of 256 grey levels; give a size, too")
    folder, path = Path(folder).absolute(), Path(path)
    sweep(path.parent)
    source, content = sources.of(folder, options=options), sources.content(folder, reading=options)
    how = json.dumps([str(folder), content, size, jpeg_quality, repr(options)])
    origin = hashlib.sha256(how.encode()).hexdigest()
    former = _former(path, origin)
    if former is not None and (skip_bad or not former.table.attrs["bad"]):
        sources.warn_of_left_out(former.table)
        return former
    table = sources.index(folder, skip_bad=skip_bad, options=options)
    used = set(table["path"])
    items = [item for item in source.items(folder, options) if str(item) in used]
    read = partial(_read, source, size=size, jpeg_quality=jpeg_quality)
    _check_room(path, table, size)
    with atomic(path) as temporary:
        agrees = _write(table, items, read, temporary, size, origin)
        if not agrees or sources.content(folder, reading=options) != content:
            raise ValueError(f"{folder}: changed while it was read; call prepare again")
    return open(path)


def _former(path: Path, origin: str) -> Store | None:
    """The store at `path`, if it is sound and was made so."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head and not head.startswith(_STORES):
        raise ValueError(f"{path}: not a store; delete it, or give another path")
    if head.startswith(FORMAT.encode()) and origin.encode() not in head:
        return None
    try:
        return open(path)
    except ValueError as error:
        warnings.warn(f"{error}".rpartition("; ")[0] + "; it is made anew", stacklevel=3)
    return None


def _check_room(path: Path, table: pd.DataFrame, size: int | None) -> None:
    """Refuse a store that would not fit on the disk."""
    n = table["height"] * table["width"] if size is None else pd.Series(size**2, table.index)
    needed = (n * (2 if size is None else 1) + n * table["mask_pixels"].notna() / 8).sum()
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        said = (
            f"no room for {needed / 1e6:.2f} MB, {free / 1e6:.2f} MB are free; nothing is changed"
        )
        raise OSError(errno.ENOSPC, said, str(path))


def _read(
    source: sources.Source, item: Any, *, size: int | None, jpeg_quality: int | None
) -> list[_Stored]:
    """The images of an item as they are stored, which of the values mean 0 and 1, and the masks."""
    return [_as_stored(case, size, jpeg_quality) for case in source.cases(item)]


def _as_stored(case: Case, size: int | None, jpeg_quality: int | None) -> _Stored:
    mask = None if case.mask is None else case.mask.numpy()
    if size is None:
        return *_as_int16(case), mask
    square = to_square(case.image.mul(255).round_().byte().numpy(), size=size)
    if jpeg_quality is not None:
        square = jpeg.once_more(square, quality=jpeg_quality)
    if mask is not None:
        mask = to_square(mask.astype(np.uint8) * 255, size=size) > 127
    return square, 0.0, 255.0, mask


def _as_int16(case: Case) -> tuple[NDArray[np.int16], float, float]:
    """The whole numbers that the file held where these give the very image; 65 535 steps else."""
    low, high = (float(case.about.get(of, by)) for of, by in (("raw_min", 0), ("raw_max", 255)))
    if -_CODES - 1 <= low < high <= _CODES:
        stored = case.image.double().mul(high - low).add(low).round().to(torch.int16)
        if stored.float().sub_(low).div_(high - low).equal(case.image):
            return stored.numpy(), low, high
    stored = case.image.double().mul(2 * _CODES).sub(_CODES).round().to(torch.int16)
    return stored.numpy(), -float(_CODES), float(_CODES)


def to_square(pixels: NDArray[np.uint8], *, size: int) -> NDArray[np.uint8]:
    """The largest square in the middle of (H, W) pixels, brought to (size, size); see `prepare`."""
    height, width = pixels.shape
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


class _Disk(io.FileIO):
    """A file for HDF5 that hides a full disk from it, since closing the file would then crash it.

    The error is kept, and raised when HDF5 is done and this file is closed.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or keep the error."""
        left = memoryview(data).cast("B")
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        """Bring the file to a size, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def __exit__(self, *error: object) -> None:
        self.close()
        if self.failure:
            raise self.failure


def _write(
    table: pd.DataFrame,
    items: Sequence[Any],
    read: Callable[[Any], list[_Stored]],
    path: Path,
    size: int | None,
    origin: str,
) -> bool:
    """Read the files of an index and write the store, its head last; False if they disagree."""
    height, width = (table[side].to_numpy(np.int64) for side in ("height", "width"))
    if size is not None:
        height, width = np.full_like(height, size), np.full_like(width, size)
    sizes, has_mask = height * width, table["mask_pixels"].notna().to_numpy()
    mask_sizes = np.where(has_mask, -(-sizes // 8), 0)
    layout = {
        "offset": np.cumsum(sizes) - sizes,
        "height": height,
        "width": width,
        "low": np.zeros(len(table)),
        "high": np.zeros(len(table)),
        "mask_offset": np.where(has_mask, np.cumsum(mask_sizes) - mask_sizes, -1),
        "checksum": np.zeros(len(table), np.int64),
    }
    with _Disk(path, "w+") as disk:
        with h5py.File(disk, "w", userblock_size=_HEAD) as file:
            kind = "int16" if size is None else "uint8"
            pixels = file.create_dataset("pixels", (int(sizes.sum()),), kind)
            bits = file.create_dataset("mask_bits", (int(mask_sizes.sum()),), "uint8")
            stored = sources.in_threads(read, items, "packing images")
            with closing(stored):  # no thread reads on while HDF5, which they use, is closed
                images = itertools.chain.from_iterable(stored)
                for i, (image, low, high, mask) in enumerate(images):
                    packed = np.zeros(0, np.uint8) if mask is None else np.packbits(mask)
                    if i == len(table) or (image.size, packed.size) != (sizes[i], mask_sizes[i]):
                        return False
                    start, mask_start = layout["offset"][i], layout["mask_offset"][i]
                    pixels[start : start + sizes[i]] = image.ravel()
                    if mask is not None:
                        bits[mask_start : mask_start + mask_sizes[i]] = packed
                    layout["low"][i], layout["high"][i] = low, high
                    layout["checksum"][i] = _checksum(image, packed)
                    if disk.failure:
                        raise disk.failure
            for name, column in layout.items():
                file[f"layout/{name}"] = column
            file["table"] = table.to_json(orient="table", index=False, double_precision=15)
            file["attrs"] = json.dumps(table.attrs)
            file.attrs["types"] = json.dumps({name: str(of) for name, of in table.dtypes.items()})
            stop = (start := pixels.id.get_offset()) + pixels.nbytes
            mask_start = bits.id.get_offset() if bits.size else stop
            spans = [start, stop, mask_start, mask_start + bits.nbytes]
        said = " ".join(map(str, [origin, *spans]))
        head = f"{FORMAT}\n{_digest(disk, said.encode(), spans)}\n{said}"
        disk.seek(0)
        disk.write(head.encode().ljust(_HEAD, b"\n"))
    return True


def open(path: str | Path) -> Store:
    """Map a store into memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a store, damaged, or of another version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; store.prepare writes it")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if not head.startswith(FORMAT.encode()):
            raise ValueError(
                f"{path}: no {FORMAT!r}, begins {head[:13]!r}; store.prepare makes one"
            )
        found = _HEAD_TEXT.fullmatch(head)
        if found is None:
            raise _damaged(path, "its head")
        spans = [int(at) for at in found[2].split()[1:]]
        if (n_bytes := file.seek(0, io.SEEK_END)) < max(spans):
            raise _damaged(path, f"only {n_bytes} of {max(spans)} bytes")
        if _digest(file, found[2], spans) != found[1].decode():
            raise _damaged(path, "its table or layout")
        with h5py.File(file) as stored:
            text = io.StringIO(stored["table"].asstr()[()])
            table = pd.read_json(text, orient="table").astype(json.loads(stored.attrs["types"]))
            table.attrs.update(json.loads(stored["attrs"].asstr()[()]))
            return Store(
                table=table,
                classes=tuple(sorted(set(table["label"]) - {""})),
                path=path,
                stored=torch.from_numpy(_mapped(file, stored["pixels"], *spans[:2])),
                mask_bits=_mapped(file, stored["mask_bits"], *spans[2:]),
                **{name: torch.from_numpy(stored[f"layout/{name}"][()]) for name in _LAYOUT},
                compared=set(),
            )


def _mapped(file: BinaryIO, data: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
    """The values of a data set between two bytes of the file; changes are not written back."""
    if start == stop:
        return np.zeros(0, data.dtype)
    return np.memmap(file, data.dtype, "c", start, data.shape)


def _digest(file: io.FileIO | BinaryIO, said: bytes, spans: Sequence[int]) -> str:
    """SHA-256 of what the head says and of all behind it but the pixels and the masks."""
    digest, end = hashlib.sha256(said), file.seek(0, io.SEEK_END)
    start, stop, mask_start, mask_stop = spans
    for begin, until in ((_HEAD, start), (stop, mask_start), (mask_stop, end)):
        file.seek(begin)
        while chunk := file.read(min(max(until - file.tell(), 0), 1 << 20)):
            digest.update(chunk)
    return digest.hexdigest()


def _checksum(pixels: NDArray[Any], bits: NDArray[np.uint8]) -> int:
    return zlib.crc32(bits.data, zlib.crc32(np.ascontiguousarray(pixels).data))


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path}: damaged ({what}); delete it and it is made anew")
