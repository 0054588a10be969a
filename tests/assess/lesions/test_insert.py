import numpy as np
import pytest
import torch

from medsr_lib.assess.lesions.insert import insert, places, reach, remove

SIZE = 96
y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
grey = torch.full((SIZE, SIZE), 0.4)


def disk(row, column, radius):
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def put(image=grey, **changes):
    return insert(image, **({"centre": (40, 50), "diameter": 9, "contrast": 0.2} | changes))


def test_a_sphere_adds_its_area_times_the_contrast():
    found = put()
    area = np.pi * 4.5**2
    assert (found - grey).sum().item() == pytest.approx(0.2 * area, rel=0.01)
    assert found.max().item() == pytest.approx(0.6)


def test_its_edge_is_partial_volume():
    added = (put(diameter=10) - grey)[40] / 0.2  # from the middle of pixel 45 to that of 55
    torch.testing.assert_close(added[46:55], torch.ones(9))
    torch.testing.assert_close(added[[45, 55]], torch.full((2,), 0.5), atol=0.05, rtol=0)
    assert added[:45].abs().max() == added[56:].abs().max() == 0


def test_the_smallest_spheres_keep_their_area():
    for diameter in (1.0, 2.0, 3.5):
        found = put(diameter=diameter)
        area = np.pi * diameter**2 / 4
        assert (found - grey).sum().item() == pytest.approx(0.2 * area, rel=0.04)


def test_a_dark_lesion():
    found = put(contrast=-0.3)
    assert found.min().item() == pytest.approx(0.1)
    assert torch.equal(found < 0.25, disk(40, 50, 4.5))


def test_the_psf_spreads_what_was_added():
    sharp, blurred = put(diameter=3) - grey, put(diameter=3, psf=1.0) - grey
    assert blurred.sum().item() == pytest.approx(sharp.sum().item(), rel=1e-3)
    assert blurred.max() < 0.8 * sharp.max()


def test_every_image_of_a_batch_gets_the_lesion():
    batch = torch.stack((grey, grey / 2))[:, None]
    found = put(batch)
    assert found.shape == (2, 1, SIZE, SIZE)
    torch.testing.assert_close(found[1] - batch[1], found[0] - batch[0])
    assert batch.max() == 0.4  # the input is left alone


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"contrast": 0.8}, "21% of it would be clipped away"),
        ({"contrast": 0.0}, "not 0"),
        ({"centre": (2, 50)}, "reaches out"),
        ({"diameter": 0}, "diameter must be a positive number"),
        ({"psf": -1}, "psf must be"),
        ({"image": grey * 4}, "leaves"),
    ],
)
def test_what_cannot_be_inserted(changes, wrong):
    with pytest.raises(ValueError, match=wrong):
        put(**changes)


def test_places_lie_wholly_inside_and_do_not_overlap():
    normal = disk(48, 48, 30) & ~disk(40, 40, 8)
    chosen = places(normal, n=6, diameter=7, apart=8, seed=0)
    covered = torch.zeros(SIZE, SIZE)
    for centre in chosen:
        covered += insert(grey * 0, centre=centre, diameter=7, contrast=1.0) > 0
    assert len(chosen) == 6
    assert covered.max() == 1
    assert not (covered.bool() & ~normal).any()


def test_places_keep_apart_and_away_from_the_image_border():
    chosen = places(grey > 0, n=200, diameter=9, apart=10, seed=1)
    for centre in chosen:
        put(centre=centre)
    distance = np.hypot(*(np.array(chosen)[:, None] - chosen).transpose(2, 0, 1))
    assert len(chosen) > 20
    assert distance[~np.eye(len(chosen), dtype=bool)].min() >= 10


def test_places_follow_the_seed():
    chosen = [places(grey > 0, n=5, diameter=9, apart=1, seed=seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_fewer_places_where_no_more_fit():
    assert len(places(disk(40, 40, 6), n=5, diameter=7, apart=8, seed=0)) == 1
    assert places(disk(40, 40, 6), n=5, diameter=20, apart=8, seed=0) == []


def test_removing_a_lesion_from_a_plane_restores_it():
    plane = (0.2 + 0.004 * y + 0.002 * x).float()  # harmonic
    with_lesion = put(plane, contrast=0.15, diameter=14)
    torch.testing.assert_close(remove(with_lesion, disk(40, 50, 7)), plane, atol=1e-5, rtol=0)


def test_removal_stays_within_its_surroundings_and_leaves_the_rest_alone():
    image = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found, filled = remove(image, disk(0, 10, 12)), disk(0, 10, 15)  # at the image's edge
    assert torch.equal(found[..., ~filled], image[..., ~filled])
    around = image[0, 0][disk(0, 10, 18) & ~disk(0, 10, 14)]
    assert around.min() <= found[0, 0][filled].min()
    assert found[0, 0][filled].max() <= around.max()


def test_what_cannot_be_removed():
    with pytest.raises(ValueError, match="mask is empty"):
        remove(grey, disk(-90, 0, 1))
    with pytest.raises(ValueError, match="covers the image"):
        remove(grey, grey > 0)
    with pytest.raises(ValueError, match="mask must be bool"):
        remove(grey, grey)


@pytest.mark.parametrize(("diameter", "psf"), [(3, 0.0), (9, 0.0), (6, 2.5)])
def test_reach_is_the_farthest_pixel_that_changes(diameter, psf):
    far = reach(diameter, psf)
    put(centre=(far, far), diameter=diameter, psf=psf)
    with pytest.raises(ValueError, match="reaches out"):
        put(centre=(far - 1, far), diameter=diameter, psf=psf)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"normal": torch.ones(20, 20)}, r"normal must be a bool tensor \(H, W\)"),
        ({"normal": None}, r"normal must be a bool tensor \(H, W\)"),
        ({"n": 0}, "n must be a whole number of at least 1, got 0"),
        ({"n": np.nan}, "n must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got"),
        ({"seed": [0, 0.5]}, "seed must be a whole number of at least 0, got"),
        ({"apart": None}, "apart must be a positive number"),
        ({"diameter": np.inf}, "diameter must be finite"),
    ],
)
def test_refuses_places_that_cannot_be_chosen(change, wrong):
    given = {"normal": torch.ones(20, 20, dtype=torch.bool), "n": 1, "diameter": 3.0, "apart": 4.0}
    given |= {"seed": 0} | change
    with pytest.raises((TypeError, ValueError), match=wrong):
        places(given.pop("normal"), **given)
