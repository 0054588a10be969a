"""A small set of radiographs in the original's folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = {
    "train/NORMAL": ["IM-0115-0001", "IM-0117-0001", "NORMAL2-IM-0117-0001-0002", "IM-0122-0001"],
    "train/PNEUMONIA": [
        "person1_bacteria_1", "person1_bacteria_2", "person1_virus_6", "person3_virus_9",
        "person4_bacteria_14", "person5_bacteria_15",
    ],
    "val/NORMAL": ["NORMAL2-IM-1427-0001"],
    "val/PNEUMONIA": ["person1946_bacteria_4874"],
    "test/NORMAL": ["IM-0001-0001", "NORMAL2-IM-0007-0001"],
    "test/PNEUMONIA": ["person80_bacteria_389", "person81_virus_390"],
}  # fmt: skip


def _radiograph(shape, seed):
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(seed).integers(0, 40, shape)
    return (120 * y / shape[0] + 60 * x / shape[1] + noise).astype(np.uint8)


@pytest.fixture(scope="session")
def write_jpeg():
    """`write_jpeg(path, shape=(60, 80), mode="L", seed=0, **options)` writes one file."""

    def write(path, *, shape=(60, 80), mode="L", seed=0, **options):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(_radiograph(shape, seed)).convert(mode)
        picture.save(path, "JPEG", **options)
        return path

    return write


@pytest.fixture
def chest(tmp_path, write_jpeg):
    """`root/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}`, 16 images."""
    root, seed = tmp_path / "chest_xray", 0
    for folder, names in NAMES.items():
        for name in names:
            seed += 1
            normal = folder.endswith("NORMAL")
            options = {"quality": 95, "shape": (90, 108)} if normal else {"quality": 75}
            write_jpeg(root / folder / f"{name}.jpeg", seed=seed, **options)
    return root
