from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from medsr_lib.case import Case
from medsr_lib.show.style import PHONE

mpl.use("Agg")


@pytest.fixture
def readable_on_a_phone(monkeypatch):
    """Every figure that is drawn has labels of 9 pixels and more on a phone."""
    drawn, close = [], plt.close
    monkeypatch.setattr(plt, "close", lambda figure=None: (drawn.append(figure), close(figure)))
    yield
    for figure in drawn:
        assert figure.get_figwidth() <= PHONE
        for text in figure.findobj(Text):
            assert not text.get_text() or text.get_fontsize() >= 8.5, text


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
def case(image, mask):
    return Case("7", "p1", "glioma", torch.tensor(image), torch.tensor(mask))


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
    """Twelve images of six patients, of three labels in two folds."""
    labels = ["glioma", "meningioma", "pituitary"]
    rows = [
        (f"{i}", f"p{i // 2}", labels[i // 2 % 3], i // 6 + 1, 64, 64, 40 + 30 * i, 250 * (i + 1))
        for i in range(12)
    ]
    names = "id patient label fold height width mask_pixels raw_max"
    return pd.DataFrame(rows, columns=names.split())


@pytest.fixture
def scores(index):
    """A tidy score table; ESPCN is 1 dB better, and image 3 has no mirror region."""
    parts = [
        index[["id", "patient", "label", "fold"]].assign(
            method=method,
            region=region,
            pixels=index["mask_pixels"],
            scale=4,
            degradation="bicubic",
            psnr=30 + gain + 0.1 * index.index,
            ssim=0.9 + 0.01 * gain,
            mse=0.001 - 0.0001 * gain,
        )
        for method, gain in (("bicubic", 0), ("ESPCN", 1))
        for region in ("tumour", "mirror")
    ]
    table = pd.concat(parts, ignore_index=True)
    table.loc[table["id"].eq("3") & table["region"].eq("mirror"), "psnr"] = np.nan
    return table


@pytest.fixture
def estimate():
    """A function that makes an estimate, changed as is wanted."""

    def make(**changes):
        given = {"value": 0.5, "low": 0.2, "high": 0.8, "p": 0.0004, "skipped": 0}
        return SimpleNamespace(**{"cases": 3064, "patients": 233, "seeds": 0, **given, **changes})

    return make


@pytest.fixture
def text_of():
    """A function that returns all visible text of a figure, thin gaps as blanks."""

    def text(figure):
        found = figure.findobj(Text)
        return "\n".join(artist.get_text() for artist in found).replace("\u202f", " ")

    return text
