import numpy as np
import pytest
import torch

from medsr_lib.case import Case


@pytest.fixture
def bare():
    """Three cases without a mask, such as radiographs."""
    generator = torch.Generator().manual_seed(0)
    return [
        Case(f"IM-{n}", f"IM-{n}", label, torch.rand(64, 64, generator=generator))
        for n, label in enumerate(["NORMAL", "PNEUMONIA", "NORMAL"])
    ]


@pytest.fixture
def pictures(index, image, mask):
    """The cases of `index` and of `scores`, each with an image of its own."""
    return [
        Case(of.id, of.patient, of.label, torch.tensor(np.roll(image, n, 0)), torch.tensor(mask))
        for n, of in enumerate(index.itertuples())
    ]
