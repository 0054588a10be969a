from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

mpl.use("Agg")


@pytest.fixture
def image():
    """A 64 x 64 slice with values in [0, 1]."""
    return np.random.default_rng(0).uniform(0.1, 0.6, (64, 64)).astype(np.float32)


@pytest.fixture
def mask():
    tumour = np.zeros((64, 64), bool)
    tumour[20:36, 30:42] = True
    return tumour


@pytest.fixture
def regions(mask):
    rest = {name: np.roll(mask, shift, 1) for name, shift in (("mirror", -20), ("core", 0))}
    head = np.ones_like(mask)
    head[:4] = False
    return {"whole": mask, "tumour": mask, "head": head, "normal": head & ~mask, **rest}


@pytest.fixture
def methods(image):
    """LR at a quarter of the size, and two images of the full size, one of them a tensor."""
    return {"LR": image[::4, ::4], "bicubic": image, "ESPCN": torch.tensor(image)[None, None]}


@pytest.fixture
def index():
    """Twelve slices of six patients, of three types in two folds."""
    types = ["glioma", "meningioma", "pituitary"]
    rows = [
        (i, f"p{i // 2}", types[i // 2 % 3], i // 6 + 1, 64, 64, 40 + 30 * i, 250 * (i + 1))
        for i in range(12)
    ]
    names = "slice_id patient tumour fold height width tumour_pixels raw_max"
    return pd.DataFrame(rows, columns=names.split())


@pytest.fixture
def scores(index):
    """A tidy score table; ESPCN is 1 dB better, and slice 3 has no mirror region."""
    parts = [
        index[["slice_id", "patient", "tumour", "fold"]].assign(
            method=method,
            region=region,
            pixels=index["tumour_pixels"],
            scale=4,
            degradation="bicubic",
            psnr=30 + gain + 0.1 * index["slice_id"],
            ssim=0.9 + 0.01 * gain,
            mse=0.001 - 0.0001 * gain,
        )
        for method, gain in (("bicubic", 0), ("ESPCN", 1))
        for region in ("tumour", "mirror")
    ]
    table = pd.concat(parts, ignore_index=True)
    table.loc[table["slice_id"].eq(3) & table["region"].eq("mirror"), "psnr"] = np.nan
    return table


@pytest.fixture
def estimate():
    return SimpleNamespace(value=0.5, low=0.2, high=0.8, p=0.0004, patients=233, slices=3064)


@pytest.fixture
def text_of():
    """A function that returns all visible text of a figure, thin gaps as blanks."""

    def text(figure):
        found = figure.findobj(Text)
        return "\n".join(artist.get_text() for artist in found).replace("\u202f", " ")

    return text
