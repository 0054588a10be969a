"""One slice and one training batch, from a store on the disk and from .mat files.

.venv/bin/python benchmarks/reading.py [DIR of slices, by default data/phantom]
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import show, side_by_side

from medsr_lib.data import figshare, store
from medsr_lib.restore.training.batches import Crops

root = Path(sys.argv[1] if len(sys.argv) > 1 else "data/phantom")
packed = store.prepare(root, Path(tempfile.mkdtemp()) / "slices.h5")
rng = np.random.default_rng(0)
paths, n = packed.table["path"].tolist(), len(packed)
crops = Crops(packed, size=96, batch=16, seed=0)


def crops_from_files() -> torch.Tensor:
    """The batch as a loader without a store would make it."""
    images = [figshare.read_slice(paths[i]).image for i in rng.integers(n, size=16)]
    corners = [rng.integers([s - 95 for s in image.shape]) for image in images]
    return torch.stack([im[y : y + 96, x : x + 96] for im, (y, x) in zip(images, corners)])


def read_20(one_slice: Callable[[int], object]) -> None:
    """Twenty slices at random."""
    for i in rng.integers(n, size=20):
        one_slice(int(i))


show(
    f"20 slices of {n}: image, mask and labels",
    side_by_side(
        {
            "from the store": lambda: read_20(lambda i: packed[i]),
            "from their .mat files": lambda: read_20(lambda i: figshare.read_slice(paths[i])),
        },
        rounds=20,
    ),
)
show(
    "a training batch of 16 crops of 96 x 96",
    side_by_side(
        {"from the store": lambda: crops(int(rng.integers(10**6))), "from .mat": crops_from_files},
        rounds=50,
    ),
)
size = packed.pixels.nbytes + packed.mask_bits.nbytes
pixels = int((packed.table["height"] * packed.table["width"]).sum())
print(f"disk: {size / pixels:.3f} bytes a pixel, {3064 * 512**2 * size / pixels / 1e9:.2f} GB for")
print("  3064 slices of 512 x 512")
