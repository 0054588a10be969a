"""What several tests of `assess` share."""

import numpy as np
import pytest
import torch

from medsr_lib.case import Case

PATIENTS = {"103414": "meningioma", "MR000001": "glioma", "98765": "pituitary", "7": "meningioma"}


@pytest.fixture(scope="session")
def _cases(picture):
    y, x = np.mgrid[:64, :56]
    mask = torch.from_numpy((y - 24) ** 2 + (x - 34) ** 2 <= 36)
    found = []
    for number, patient in enumerate(np.repeat(list(PATIENTS), (2, 4, 2, 2)), 1):
        pixels = torch.from_numpy(picture(number)).float()
        image = (pixels - pixels.min()) / (pixels.max() - pixels.min())
        found.append(Case(str(number), str(patient), PATIENTS[patient], image, mask, fold=1))
    return found


@pytest.fixture
def cases(_cases):
    """Ten cases 1 to 10 of four patients, 64 x 56, each with a tumour of 113 pixels."""
    return list(_cases)


@pytest.fixture
def skewed():
    return np.random.default_rng(1).exponential(size=40) - 0.8
