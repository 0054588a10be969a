"""A detector that is trained on the phantom answers to opacities, not to sharpness or file size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from medsr_lib.assess import decisions
from medsr_lib.data.phantom.chest import files, picture
from medsr_lib.restore import degrade, networks, resample
from medsr_lib.restore.training import fit, readers

SIDE = 64


def square(pixels):
    """The middle square of a picture, (SIDE, SIDE) in [0, 1]."""
    height, width = pixels.shape
    side = min(height, width)
    box = ((width - side) // 2, (height - side) // 2)
    part = Image.fromarray(pixels).crop((*box, box[0] + side, box[1] + side))
    return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def drawn(shots, **change):
    """Their pictures (N, 1, SIDE, SIDE), each shot perhaps changed."""
    pictures = [files._draw(replace(s, **change), seed=0, size=220)[0] for s in shots]
    return torch.from_numpy(np.stack([square(p) for p in pictures]))[:, None]


@pytest.fixture(scope="module")
def called():
    """Which of the ill test images are called ill, as they are and changed, by what was changed."""
    shots = files.exposures(60)
    train, test = ([s for s in shots if (s.split == part)] for part in ("train", "test"))
    labels = torch.tensor([int(s.label == "PNEUMONIA") for s in train])
    torch.manual_seed(0)
    network = networks.LesionClassifier(classes=("NORMAL", "PNEUMONIA"), width=8)
    recipe = fit.Recipe(batch=16, learning_rate=(3e-3, 1e-5))
    about = {"seed": 0, "recipe": recipe, "augment": "shifts", "device": "cpu"}
    readers.fit_classifier(network, drawn(train), labels, steps=150, **about)
    ill = [s for s in test if s.label == "PNEUMONIA"]
    well = drawn([s for s in test if s.label == "NORMAL"])
    own = drawn(ill)
    twice = degrade.bicubic(own, scale=2)
    views = {
        "well": well,
        "own": own,
        "without": drawn(ill, kind="normal"),
        "x2": resample.bicubic(twice, scale=2),
        "blurred": torch.from_numpy(gaussian_filter(own.numpy(), (0, 0, 1, 1))),
    }
    z = {k: decisions.log_odds(network, x, device="cpu") for k, x in views.items()}
    cut = np.quantile(z.pop("well"), 0.9)
    return {name: of > cut for name, of in z.items()}


@pytest.mark.slow
def test_pneumonia_is_found_and_without_its_opacity_it_is_not(called):
    assert called["own"].mean() > 0.8
    assert called["without"][called["own"]].mean() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("change", ["x2", "blurred"])
def test_less_sharpness_turns_few_decisions(called, change):
    assert (called["own"] != called[change]).mean() < 0.15


def test_at_least_15_patients_are_tested():
    tested = {s.person for s in files.exposures(50) if s.split == "test"}
    assert len(tested) >= 15


def test_small_files_are_as_grainy_as_large_ones():
    spread = []
    for height in (130, 230, 460):
        flat = np.full((height, height), 0.6, np.float32)
        rng = np.random.default_rng(0)
        pixels = picture._film(flat, flat / 0.6, flat.shape, rng)
        spread.append(square(pixels)[SIDE // 2 :, SIDE // 2 :].std())
    assert max(spread) < 1.3 * min(spread)


def test_the_same_exposure_can_be_drawn_without_its_opacity():
    shot = next(s for s in files.exposures(5) if s.kind == "bacteria")
    (ill, mask), (well, none) = (
        files._draw(replace(shot, kind=kind), seed=0, size=150) for kind in (shot.kind, "normal")
    )
    change = ill.astype(int) - well
    assert not none.any()
    assert change[mask].mean() > 20 > 20 * abs(change[~mask]).mean() / 3
