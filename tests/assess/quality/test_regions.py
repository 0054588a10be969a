from functools import partial

import numpy as np
import pytest
import torch

from medsr_lib.assess.quality.regions import NAMES, find_foreground, match, of_case
from medsr_lib.assess.quality.regions import regions as of_tissue
from medsr_lib.case import Case

SIZE = 160
regions = partial(of_tissue, tissue="head")  # a grey disk is no brain
rows, columns = np.mgrid[:SIZE, :SIZE]


def disk(row, column, radius):
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.fixture
def image():
    """A grey disk head of radius 70 in black air, a little uneven."""
    texture = 0.02 * np.random.default_rng(0).random((SIZE, SIZE))
    return (disk(80, 80, 70) * (0.4 + texture)).astype(np.float32)


@pytest.fixture
def found(image):
    """The regions of that head with a tumour of radius 12 off the centre."""
    return {name: r.numpy() for name, r in regions(image, disk(70, 50, 12)).items()}


def within(mask, radius):
    """Every pixel within `radius` of the mask, by shifting it to all places that near."""
    padded, near = np.pad(mask, radius), np.zeros_like(mask)
    reach = range(-radius, radius + 1)
    for down, across in ((i, j) for i in reach for j in reach if i**2 + j**2 <= radius**2):
        top, left = radius + down, radius + across
        near |= padded[top : top + SIZE, left : left + SIZE]
    return near


def test_names_shapes_and_types(image):
    found = regions(torch.from_numpy(image), torch.from_numpy(disk(70, 50, 12)))
    assert tuple(found) == NAMES
    assert all(r.shape == (SIZE, SIZE) and r.dtype == torch.bool for r in found.values())


def test_zones_around_the_border_by_brute_force(found):
    tumour = disk(70, 50, 12)
    near, around, core = within(tumour, 5), within(tumour, 15), ~within(~tumour, 5)
    np.testing.assert_array_equal(found["tumour"], tumour)
    np.testing.assert_array_equal(found["core"], core)
    np.testing.assert_array_equal(found["rim"], near & ~core)
    np.testing.assert_array_equal(found["peritumoural"], around & ~near)


def test_one_pixel_by_hand(image):
    found = regions(image, disk(80, 80, 0))
    assert found["tumour"].sum() == 1
    assert found["core"].sum() == 0
    assert found["rim"].sum() == 81  # integer points within 5 of the origin
    assert found["peritumoural"].sum() == 709 - 81  # within 15


def test_zones_part_the_slice(found):
    whole = found["whole"]
    assert whole.all()
    np.testing.assert_array_equal(found["core"] | found["rim"], within(found["tumour"], 5))
    np.testing.assert_array_equal(found["head"] ^ found["air"], whole)
    zones = np.stack([found[n] for n in ("core", "rim", "peritumoural", "normal")])
    assert zones.sum(0).max() == 1
    assert not (found["normal"] & within(found["tumour"], 15)).any()
    np.testing.assert_array_equal(found["normal"], found["head"] & ~within(found["tumour"], 15))


def test_head_is_the_disk_but_for_its_edge(found):
    assert (found["head"] & ~disk(80, 80, 73)).sum() == 0
    assert (disk(80, 80, 67) & ~found["head"]).sum() == 0


def test_dark_holes_and_a_dark_ring_belong_to_the_head(image):
    image[disk(80, 80, 64) & ~disk(80, 80, 61)] = 0  # skull
    image[disk(85, 95, 9)] = 0  # fluid
    head = regions(image, disk(70, 50, 12))["head"].numpy()
    assert (disk(80, 80, 67) & ~head).sum() == 0


def test_a_dark_side_belongs_to_the_head(image):
    image[:, 80:] *= 0.25
    head = regions(image, disk(70, 50, 12))["head"].numpy()
    assert (disk(80, 80, 67) & ~head).sum() == 0


def test_a_speck_in_the_air_is_not_head(image):
    image[disk(8, 8, 3)] = 0.5
    head = regions(image, disk(70, 50, 12))["head"].numpy()
    assert not head[:15, :15].any()


def test_a_constant_image_is_all_head(image):
    assert regions(np.full_like(image, 0.5), disk(70, 50, 12))["head"].all()


def test_mirror_lies_on_the_other_side(found):
    mirror = found["mirror"]
    assert mirror.sum() == pytest.approx(found["tumour"].sum(), rel=0.05)
    assert np.argwhere(mirror).mean(0) == pytest.approx([70, 110], abs=2)
    assert not (mirror & ~found["normal"]).any()


def test_mirror_of_a_tumour_on_the_midline_is_empty(image):
    assert not regions(image, disk(70, 80, 12))["mirror"].any()


def test_no_mirror_where_5_percent_leave_the_tissue(image):
    tissue = torch.from_numpy(disk(80, 80, 70))
    assert of_tissue(image, disk(70, 50, 12), tissue=tissue)["mirror"].any()
    tissue[:, 116:] = False
    assert not of_tissue(image, disk(70, 50, 12), tissue=tissue)["mirror"].any()


def test_no_mirror_in_a_slice_without_left_and_right():
    half = disk(80, 80, 70) * (0.1 + 0.8 * (columns > 60 + 0.5 * rows))
    assert not regions(half.astype(np.float32), disk(70, 50, 12))["mirror"].any()


def test_matched_has_the_tumours_shape_and_lies_in_normal(found):
    matched, tumour = np.argwhere(found["matched"]), np.argwhere(found["tumour"])
    np.testing.assert_array_equal(matched - matched.min(0), tumour - tumour.min(0))
    assert found["normal"][found["matched"]].all()


def test_matched_finds_the_twin(image):
    image[disk(70, 50, 12)] = image[disk(100, 105, 12)] = 0.7
    matched = regions(image, disk(70, 50, 12))["matched"].numpy()
    np.testing.assert_array_equal(matched, disk(100, 105, 12))


def test_matched_looks_at_the_gradient_too():
    image = disk(80, 80, 70) * (0.3 + 0.2 * columns / SIZE)  # 0.4 lies in the middle
    stripes = 0.2 * (-1.0) ** (columns // 2)
    image[disk(70, 50, 12)] = 0.4 + stripes[disk(70, 50, 12)]
    image[disk(105, 105, 16)] = 0.42 + stripes[disk(105, 105, 16)]
    matched = regions(image, disk(70, 50, 12))["matched"].numpy()
    assert (matched & disk(105, 105, 16)).sum() > 0.95 * matched.sum()


def test_matched_looks_at_the_intensity():
    image = disk(80, 80, 70) * (0.3 + 0.2 * columns / SIZE)  # as steep everywhere
    image[disk(70, 50, 12)] += 0.44 - 0.3625  # of column 50
    matched = regions(image, disk(70, 50, 12))["matched"].numpy()
    assert np.argwhere(matched)[:, 1].mean() == pytest.approx(112, abs=5)  # 0.3 + 0.2 * 112 / 160


def test_matched_finds_the_only_place_for_a_crooked_shape(image):
    crooked = disk(60, 50, 9) | disk(75, 54, 5)
    moved = np.roll(crooked, (17, 40), (0, 1))
    np.testing.assert_array_equal(match(image, crooked, moved), moved)


def test_matched_is_empty_where_nothing_fits(image):
    large = regions(image, disk(80, 80, 50))
    assert not large["matched"].any()
    assert not match(image, disk(80, 80, 5), np.zeros_like(disk(0, 0, 0))).any()


@pytest.mark.parametrize("corner", [(0, 0), (0, SIZE - 1), (SIZE - 1, 80)])
def test_a_tumour_at_the_frame(image, corner):
    tumour = disk(*corner, 20)
    found = {name: r.numpy() for name, r in regions(image, tumour).items()}
    np.testing.assert_array_equal(found["core"], ~within(~tumour, 5))
    np.testing.assert_array_equal(found["core"] | found["rim"], within(tumour, 5))
    assert found["head"][tumour].all()


def test_a_tumour_that_fills_the_slice_has_no_normal_tissue(image):
    found = regions(image, np.ones((SIZE, SIZE), bool))
    assert found["core"].all()
    assert not any(found[n].any() for n in ("rim", "peritumoural", "normal", "matched", "air"))


def test_takes_images_with_leading_ones(image):
    mask = disk(70, 50, 12)
    flat, deep = regions(image, mask), regions(image[None, None], mask[None, None].astype(float))
    assert all(torch.equal(flat[name], deep[name]) for name in NAMES)


def test_radii_in_millimetres_where_the_spacing_is_known(image):
    tumour = disk(70, 50, 12)
    by_pixels = regions(image, tumour)
    for name, of_pixels in regions(image, tumour, spacing=0.5).items():  # 2.5 mm are 5 pixels
        assert torch.equal(of_pixels, by_pixels[name])
    fine = regions(image, tumour, spacing=0.25, names=("core", "rim", "peritumoural"))
    np.testing.assert_array_equal(fine["core"] | fine["rim"], within(tumour, 10))
    np.testing.assert_array_equal(fine["core"], ~within(~tumour, 10))
    around = within(tumour, 30) & ~within(tumour, 10)
    np.testing.assert_array_equal(fine["peritumoural"], around)


def test_a_case_that_knows_its_spacing_gets_regions_in_millimetres(image):
    tumour = torch.from_numpy(disk(70, 50, 12))
    case = Case("1", "P1", "", torch.from_numpy(image), tumour, spacing=0.25)
    found = of_case(case, ["rim"])["rim"]
    assert torch.equal(found, regions(image, tumour, names=("rim",), spacing=0.25)["rim"])


BAD = {
    "sizes": ((40, 40), np.ones((40, 41)), r"image is \(40, 40\) and mask \(40, 41\)"),
    "batch": ((2, 40, 40), np.ones((2, 40, 40)), r"both must be \(H, W\)"),
    "grey": ((40, 40), np.full((40, 40), 0.5), "mask is not binary: values"),
    "empty": ((40, 40), np.zeros((40, 40)), "mask is empty"),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x + np.nan, "image: holds NaN or infinite values"),
        (lambda x: x + np.inf, "image: holds NaN or infinite values"),
        (lambda x: x * 255, r"image: expected values in \[0, 1\]"),
        (lambda x: (x * 255).astype(np.uint8), "image: expected floating point in"),
        (lambda x: None, r"image and mask must be arrays \(H, W\), got NoneType"),
        (lambda x: x[:0], r"both must be \(H, W\)"),
    ],
)
def test_refuses_what_is_no_image(image, change, reason):
    with pytest.raises((TypeError, ValueError), match=reason):
        regions(change(image), disk(70, 50, 12))


@pytest.mark.parametrize("spacing", [0, -1.0, np.nan, "0.5"])
def test_refuses_what_is_no_spacing(image, spacing):
    with pytest.raises(ValueError, match="spacing must be a positive number"):
        regions(image, disk(70, 50, 12), spacing=spacing)


def test_half_precision_has_regions_too(image):
    found = regions(torch.from_numpy(image).half(), disk(70, 50, 12), names=("head",))
    assert found["head"].any()


@pytest.mark.parametrize("kind", BAD)
def test_refuses_bad_masks(kind):
    shape, mask, reason = BAD[kind]
    with pytest.raises(ValueError, match=reason):
        regions(np.zeros(shape, np.float32), mask)


TUMOUR = disk(70, 50, 12)


@pytest.mark.parametrize("tissue", ["head", "foreground", "everything"])
def test_another_tissue_has_no_brain(image, tissue):
    image[disk(8, 8, 3)] = 0.5  # a speck in the air
    found = of_tissue(image, TUMOUR, tissue=tissue)
    expected = {
        "head": found["head"].numpy(),
        "foreground": find_foreground(image),
        "everything": np.ones_like(TUMOUR),
    }[tissue]
    np.testing.assert_array_equal(found["normal"], expected & ~within(TUMOUR, 15))
    assert not found["brain"].any()
    assert found["normal"][found["matched"]].all()
    assert not (found["rest_of_head"] & found["normal"]).any()


def test_a_mask_of_the_tissue_is_the_brain(image):
    own = torch.from_numpy(disk(80, 80, 60))
    found = of_tissue(image, TUMOUR, tissue=own)
    np.testing.assert_array_equal(found["brain"], own | torch.from_numpy(TUMOUR))
    np.testing.assert_array_equal(found["normal"], own.numpy() & ~within(TUMOUR, 15))
    rest = found["head"].numpy() & ~own.numpy() & ~within(TUMOUR, 15)
    np.testing.assert_array_equal(found["rest_of_head"], rest)


def test_without_a_brain_nothing_is_compared(image):
    found = of_tissue(image, disk(80, 80, 0))
    for name in ("brain", "normal", "matched", "mirror", "rest_of_head"):
        assert not found[name].any()
    assert found["head"].any()


def test_masks_by_case_are_cropped_as_cases_are(image):
    own = torch.from_numpy(disk(80, 80, 60))
    case = Case("1", "P1", "", torch.from_numpy(image), torch.from_numpy(TUMOUR)).cropped(6)
    found = of_case(case, ["brain"], tissue={"1": own})["brain"]
    assert torch.equal(found, (own[2:158, 2:158] | case.mask))
    with pytest.raises(ValueError, match="case 1: tissue holds no mask of it"):
        of_case(case, ["brain"], tissue={"2": own})


@pytest.mark.parametrize(
    ("tissue", "wrong"),
    [
        ("bone", "no tissue 'bone'; there are brain, head"),
        (torch.zeros(3, 4, dtype=torch.bool), r"tissue is \(3, 4\) and the image \(160, 160\)"),
        (torch.zeros(SIZE, SIZE), "tissue must be a mask of bool, got torch.float32"),
    ],
)
def test_refuses_other_tissues(image, tissue, wrong):
    with pytest.raises((TypeError, ValueError), match=wrong):
        of_tissue(image, TUMOUR, tissue=tissue)
