from collections import Counter

import numpy as np
import pytest
import torch

from medsr_lib.restore import degrade
from medsr_lib.restore.training import batches
from medsr_lib.restore.training.batches import (
    Crops,
    LabelledImages,
    MaskedCrops,
    as_packed,
    fingerprint,
    whole_image,
)

SIZES = [(11, 17), (9, 9), (20, 10)]


@pytest.fixture
def images():
    """Three images whose pixels are all different, so that a crop tells where it is from."""
    pixels = torch.arange(sum(h * w for h, w in SIZES)) / 512
    parts = pixels.split([h * w for h, w in SIZES])
    return [part.view(size) for part, size in zip(parts, SIZES)]


def crops_of(images, *, size=6, batch=64, seed=0, **share):
    return Crops(as_packed(images), size=size, batch=batch, seed=seed, **share)


def dihedral(window):
    """Its eight flips and transposes."""
    turned = [torch.rot90(window, k) for k in range(4)]
    return turned + [t.T for t in turned]


@pytest.fixture
def windows(images):
    """Every window of 6 x 6 in every of its eight positions -> (image, row, column, which)."""
    found = {}
    for n, image in enumerate(images):
        h, w = image.shape
        for row in range(h - 5):
            for column in range(w - 5):
                window = image[row : row + 6, column : column + 6]
                for turn, variant in enumerate(dihedral(window)):
                    found[tuple(variant.flatten().tolist())] = (n, row, column, turn)
    return found


def test_crops_are_turned_windows_of_one_image_and_all_occur(images, windows):
    crops = crops_of(images, batch=512)
    drawn = [windows[tuple(c.flatten().tolist())] for step in range(60) for c in crops(step)]
    by_image = Counter(n for n, *_ in drawn)
    assert all(abs(by_image[n] / len(drawn) - 1 / 3) < 0.02 for n in range(3))
    assert {place[:3] for place in drawn} == {place[:3] for place in windows.values()}
    turns = Counter(turn for *_, turn in drawn)
    assert all(abs(turns[turn] / len(drawn) - 1 / 8) < 0.01 for turn in range(8))


def test_positions_are_drawn_evenly(images, windows):
    crops = crops_of(images[:1], batch=512)
    drawn = Counter(
        windows[tuple(c.flatten().tolist())][1:3] for step in range(40) for c in crops(step)
    )
    expected = 40 * 512 / (6 * 12)
    assert len(drawn) == 6 * 12
    assert all(abs(n - expected) < 5 * expected**0.5 for n in drawn.values())


def test_a_crop_as_large_as_the_smallest_image(images):
    for crop in crops_of(images[1:2], size=9)(0)[:, 0]:
        assert any(torch.equal(crop, variant) for variant in dihedral(images[1]))


def test_draws_follow_from_seed_and_step_alone(images):
    a, b = crops_of(images, seed=5), crops_of(images, seed=5)
    later = [a(step) for step in range(8)][7]
    assert torch.equal(later, b(7))
    assert torch.equal(b(7), b(7))
    assert not torch.equal(a(7), a(8))
    assert not torch.equal(a(7), crops_of(images, seed=6)(7))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("step", [0, 31, 32, 100])
def test_the_shares_of_all_processes_are_the_batch_of_one(images, step, world):
    shares = [crops_of(images, batch=16, rank=r, world=world)(step) for r in range(world)]
    assert [len(share) for share in shares] == [16 // world] * world
    assert torch.equal(torch.cat(shares), crops_of(images, batch=16)(step))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_noise_follows_from_seed_step_and_place_in_the_batch(images, world):
    noisy = degrade.by_name("bicubic", scale=2, noise=0.05, seed=1)
    grey = torch.full((8, 1, 4, 4), 0.5)

    def lr(step, rank=0, world=1, seed=0):
        crops = crops_of(images, batch=8, rank=rank, world=world, seed=seed)
        return crops.degraded(grey[: 8 // world], step, noisy)

    assert torch.equal(torch.cat([lr(5, rank, world) for rank in range(world)]), lr(5))
    assert len(lr(5).flatten(1).unique(dim=0)) == 8
    for other in (lr(6), lr(5, seed=1)):
        assert not torch.equal(other, lr(5))


def test_refuses_a_batch_that_the_processes_cannot_share(images):
    with pytest.raises(ValueError, match="a batch of 15 cannot be shared by 2 processes alike"):
        crops_of(images, batch=15, rank=1, world=2)


def test_stored_pixels_become_0_to_1(images):
    packed = as_packed(images[:1])
    packed.pixels = (packed.pixels * 512 * 100 - 9000).short()
    packed.low, packed.high = torch.tensor([-9000.0]), torch.tensor([9600.0])
    expected = torch.arange(11 * 17).view(1, 1, 11, 17) / 186
    torch.testing.assert_close(whole_image(packed, 0), expected)
    drawn = Crops(packed, size=11, batch=400, seed=0)(0)
    assert drawn.min() == 0
    assert drawn.max() == 1


def test_whole_images_come_back(images):
    packed = as_packed(images)
    assert all(torch.equal(whole_image(packed, n)[0, 0], image) for n, image in enumerate(images))
    tensor = torch.stack([images[1], images[1].T])[:, None]
    assert torch.equal(as_packed(tensor).pixels, as_packed([images[1], images[1].T]).pixels)


@pytest.mark.parametrize("size", [0, -1, 10])
def test_refuses_a_crop_that_does_not_fit(images, size):
    with pytest.raises(ValueError, match=rf"crop {size} does not fit: the smallest image meas.* 9"):
        crops_of(images, size=size)


def test_refuses_an_empty_batch(images):
    with pytest.raises(ValueError, match="batch must be a whole number of at least 1, got 0"):
        crops_of(images, batch=0)


def test_refuses_no_images_and_names_the_one_that_is_out_of_range(images):
    with pytest.raises(ValueError, match="no images to train on"):
        as_packed([])
    with pytest.raises(ValueError, match=r"images\[2\]: expected values in \[0, 1\]"):
        as_packed([*images[:2], images[2] * 100])


def test_a_fingerprint_changes_with_the_images(images):
    ways = [images, images[::-1], images[:2], [*images[:2], images[2] * 0.5]]
    found = [fingerprint(as_packed(way)) for way in ways]
    assert found[0].startswith("3 images ")
    assert len(set(found)) == 4
    assert found[0] == fingerprint(as_packed(images))


@pytest.fixture
def steady(monkeypatch):
    """No change of brightness and contrast."""
    monkeypatch.setattr(batches, "JITTER", {"contrast": (1, 1), "brightness": (0, 0)})


LABELS = torch.arange(3).repeat_interleave(torch.tensor([9, 4, 14]))


def labelled(images, labels, **changes):
    settings = {"n_classes": 3, "batch": 600, "seed": 1, "augment": "turns"}
    return LabelledImages(images, labels, **settings | changes)


def masked(images, masks, **changes):
    return MaskedCrops(images, masks, **{"size": 8, "batch": 400, "seed": 1} | changes)


def numbered(n):
    """Grey images (N, 1, 4, 4), whose values are their numbers over 100."""
    return torch.arange(n)[:, None, None, None].expand(-1, 1, 4, 4) / 100


def test_classes_are_drawn_equally_often():
    counts = labelled(numbered(27), LABELS, batch=3000)(0)[1].bincount()
    assert counts.sum() == 3000
    assert (counts - 1000).abs().max() < 120  # five standard deviations


@pytest.mark.usefixtures("steady")
def test_every_image_comes_with_its_label():
    x, y = labelled(numbered(27), LABELS)(5)
    which = (x.mean((1, 2, 3)) * 100).round().long()
    assert torch.equal(y, LABELS[which])
    assert set(which.tolist()) == set(range(27))


@pytest.mark.parametrize("kind", [labelled, masked])
@pytest.mark.usefixtures("steady")
def test_all_eight_turns_occur(kind):
    image = torch.arange(9.0).view(1, 1, 3, 3) / 9
    if kind is labelled:
        x, _ = labelled(image.expand(3, -1, -1, -1), torch.arange(3))(0)
    else:
        x, _ = masked(image, image < 2, size=3)(0)
    turns = [t.flip(d) for t in (image, image.mT) for d in ([], [2], [3], [2, 3])]
    matches = torch.stack([torch.isclose(x, turn).flatten(1).all(1) for turn in turns])
    assert matches.any(0).all()
    assert matches.any(1).all()


@pytest.mark.parametrize("kind", [labelled, masked])
def test_brightness_and_contrast_change_a_little(kind):
    images = torch.full((3, 1, 40, 40), 0.4)
    images[..., 20:, :] = 0.6
    truth = torch.arange(3) if kind is labelled else images > 0
    x, _ = kind(images, truth, batch=4000, **({} if kind is labelled else {"size": None}))(0)
    assert x.shape == (4000, 1, 40, 40)
    mean, spread = x.mean((1, 2, 3)), x.amax((1, 2, 3)) - x.amin((1, 2, 3))
    assert [mean.min(), mean.max()] == pytest.approx([0.4, 0.6], abs=1e-3)
    assert [spread.min(), spread.max()] == pytest.approx([0.16, 0.24], abs=1e-3)
    x, _ = kind(images * 1.6, truth)(0)
    assert (x.min() >= 0, x.max()) == (True, 1)  # they stay in range


@pytest.mark.usefixtures("steady")
def test_shifts_leave_up_where_it_is():
    image = torch.linspace(0, 1, 40)[None, None, :, None].expand(3, 1, 40, 40).clone()
    image[..., :20] *= 0.5  # dark at the left
    x, _ = labelled(image, torch.arange(3), augment="shifts")(0)
    assert (x[:, 0, 30:].mean((1, 2)) > x[:, 0, :10].mean((1, 2)) + 0.3).all()
    assert (x[:, 0, :, 25:].mean((1, 2)) > x[:, 0, :, :15].mean((1, 2)) + 0.1).all()
    assert (x - image[:1]).abs().mean((1, 2, 3)).min() > 0.001


def test_softening_blurs_by_its_share_and_keeps_the_mean():
    image = torch.zeros(3, 21, 21)
    image[:, 10, 10] = 1
    x = batches.softened(image, torch.tensor([[0.0], [0.5], [1.0]]))
    assert x[:, 10, 10].tolist() == pytest.approx([1, (1 + 1 / 9) / 2, 1 / 9])
    assert x.sum((1, 2)).tolist() == pytest.approx([1, 1, 1])
    rows = torch.arange(21.0)[:, None] - 10
    assert (x[2] * rows**2).sum().sqrt().item() == pytest.approx(1.155, abs=0.001)


def test_an_affine_change_shifts_enlarges_and_turns():
    image = torch.zeros(4, 20, 20)
    image[:, 8:12, 14:18] = 1
    by = {name: torch.zeros(4, 1) for name in ("down", "right", "scale", "angle")}
    by["down"][0], by["right"][1], by["scale"][2], by["angle"][3] = 0.1, 0.1, -0.5, np.pi / 2
    x = batches.random_affine(image, **by)
    rows, columns = torch.arange(20.0)[:, None], torch.arange(20.0)
    centre = [((x * v).sum((1, 2)) / x.sum((1, 2))).tolist() for v in (rows, columns)]
    assert centre[0][0] == pytest.approx(11.5, abs=0.01)  # two rows down
    assert centre[1][1] == pytest.approx(17.2, abs=0.4)  # two to the right, reflected at the edge
    assert x[2, 7:13, 19].min() > 0.9  # twice as large
    assert abs(centre[0][3] - 9.5) == pytest.approx(6, abs=0.01)  # a quarter of a turn
    assert centre[1][3] == pytest.approx(9.5, abs=0.01)


@pytest.fixture
def lesions():
    """Images and masks, twice (12, 1, 32, 32): a square in all but every fourth."""
    rng, masks = np.random.default_rng(0), torch.zeros(12, 1, 32, 32, dtype=torch.bool)
    for n, (top, left) in enumerate(rng.integers(0, 24, (12, 2))):
        masks[n, 0, top : top + 8, left : left + 8] = n % 4 > 0
    return masks.float(), masks


def test_half_of_the_crops_hold_a_lesion_which_lies_anywhere_in_them(lesions):
    _, masks = masked(*lesions, batch=4000)(0)
    holds = masks.flatten(1).any(1)
    assert masks.shape == (4000, 1, 8, 8)
    assert holds[:2000].all()
    assert 0 < holds[2000:].sum() < 2000
    assert masks[:2000, 0].any(0).all()


@pytest.mark.usefixtures("steady")
def test_every_crop_comes_with_its_own_mask_and_reaches_every_corner(lesions):
    x, y = masked(*lesions, size=None)(3)
    assert x.shape == (400, 1, 32, 32)
    assert torch.equal(x > 0.5, y)
    image = torch.arange(9.0).view(1, 1, 3, 3) / 9
    x, _ = masked(image, image < 2, size=1)(0)
    assert len(x[200:].unique()) == 9


def test_a_batch_is_the_same_whichever_came_before(lesions):
    one, other = masked(*lesions), masked(*lesions)
    one(0)
    assert torch.equal(one(40)[0], other(40)[0])
