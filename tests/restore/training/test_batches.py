from collections import Counter

import pytest
import torch

from medsr_lib.restore.training.batches import Crops, as_packed, whole_image

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


def test_steps_and_seeds_differ(images):
    crops = crops_of(images, seed=5)
    assert not torch.equal(crops(7), crops(8))
    assert not torch.equal(crops(7), crops_of(images, seed=6)(7))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("step", [0, 31, 32, 100])
def test_the_shares_of_all_processes_are_the_batch_of_one(images, step, world):
    shares = [crops_of(images, batch=16, rank=r, world=world)(step) for r in range(world)]
    assert [len(share) for share in shares] == [16 // world] * world
    assert torch.equal(torch.cat(shares), crops_of(images, batch=16)(step))


def test_refuses_a_batch_that_the_processes_cannot_share(images):
    with pytest.raises(ValueError, match="a batch of 15 cannot be shared by 2 processes alike"):
        crops_of(images, batch=15, rank=1, world=2)


def test_shape_and_type(images):
    batch = crops_of(images, batch=3)(0)
    assert batch.shape == (3, 1, 6, 6)
    assert batch.dtype == torch.float32


def test_stored_pixels_become_0_to_1(images):
    packed = as_packed(images[:1])
    raw = type(packed)(
        (packed.pixels * 512 * 100 - 9000).short(), packed.offset, packed.height, packed.width,
        torch.tensor([-9000.0]), torch.tensor([9600.0]),
    )  # fmt: skip
    expected = torch.arange(11 * 17).view(1, 1, 11, 17) / 186
    torch.testing.assert_close(whole_image(raw, 0), expected)
    drawn = Crops(raw, size=11, batch=400, seed=0)(0)
    assert drawn.min() == 0
    assert drawn.max() == 1


def test_whole_images_come_back(images):
    packed = as_packed(images)
    assert all(torch.equal(whole_image(packed, n)[0, 0], image) for n, image in enumerate(images))


def test_takes_a_tensor_or_a_sequence(images):
    tensor = torch.stack([images[1], images[1].T])[:, None]
    assert torch.equal(as_packed(tensor).pixels, as_packed([images[1], images[1].T]).pixels)


@pytest.mark.parametrize("size", [0, -1, 10])
def test_refuses_a_crop_that_does_not_fit(images, size):
    with pytest.raises(ValueError, match=rf"crop {size} does not fit: the smallest image meas.* 9"):
        crops_of(images, size=size)


def test_refuses_an_empty_batch(images):
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        crops_of(images, batch=0)


def test_refuses_no_images():
    with pytest.raises(ValueError, match="no images to train on"):
        as_packed([])


def test_names_the_image_that_is_out_of_range(images):
    with pytest.raises(ValueError, match=r"images\[2\]: expected values in \[0, 1\]"):
        as_packed([*images[:2], images[2] * 100])
