import numpy as np
import pytest

from medsr_lib.assess.quality.brain import find_brain
from medsr_lib.assess.quality.regions import find_head, regions
from medsr_lib.data import figshare, phantom

RECIPE = phantom.EMBEDDED | {"patients": 9, "slices_per_patient": 1}  # every plane and tumour


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Image, tumour and exact brain of each slice."""
    root = phantom.write_figshare(tmp_path_factory.mktemp("phantom"), **RECIPE)
    found = []
    for n, brain in enumerate(phantom.figshare_brains(**RECIPE), 1):
        case = figshare.read_slice(root / "data" / f"{n}.mat")
        found.append((case.image.numpy(), case.mask.numpy(), brain))
    return found


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def search(image, tumour):
    return find_brain(image, tumour, find_head(image) | tumour, pixel=240 / len(image))


def test_finds_the_brain_of_the_phantom(slices):
    found = [(search(image, tumour), tumour, brain) for image, tumour, brain in slices]
    of_found = [overlap(a, brain | tumour) for a, tumour, brain in found if a.any()]
    assert len(of_found) >= 8
    assert np.median(of_found) >= 0.95
    assert min(of_found) > 0.8


def test_what_is_compared_lies_in_the_exact_brain(slices):
    shares = []
    for image, tumour, brain in slices:
        found = {name: region.numpy() for name, region in regions(image, tumour).items()}
        for name in ("normal", "matched", "mirror"):
            assert not (found[name] & ~found["brain"]).any()
        if found["matched"].any():
            shares.append((found["matched"] & brain).sum() / found["matched"].sum())
    assert len(shares) >= 7
    assert np.median(shares) >= 0.95
    assert min(shares) > 0.5


def test_finds_it_in_smaller_and_larger_pixels(slices):
    image, tumour, brain = slices[0]
    doubled = [of.repeat(2, 0).repeat(2, 1) for of in (image, tumour, brain)]
    assert overlap(search(*doubled[:2]), doubled[2] | doubled[1]) > 0.94
    halved = image.reshape(128, 2, 128, 2).mean((1, 3)), tumour[::2, ::2]
    assert overlap(search(*halved), brain[::2, ::2] | halved[1]) > 0.9


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_finds_none_in_a_constant_image(level):
    tumour = np.zeros((64, 64), bool)
    tumour[30:34, 30:34] = True
    assert not search(np.full((64, 64), level, np.float32), tumour).any()


def test_finds_none_where_the_tumour_lies_far_from_it(slices):
    image, tumour, _ = slices[0]
    far = np.zeros_like(tumour)
    far[:4, :4] = True
    assert search(image, tumour).any()
    assert not search(image, far).any()
