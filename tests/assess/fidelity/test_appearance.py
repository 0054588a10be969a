import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from medsr_lib.assess import statistics
from medsr_lib.assess.fidelity import appearance
from medsr_lib.assess.fidelity.appearance import MEASURES, measure
from medsr_lib.assess.fidelity.texture import TEXTURE, texture
from medsr_lib.assess.quality import regions
from medsr_lib.restore import degrade, resample

y, x = np.mgrid[:96, :112]
DISC = (y - 45) ** 2 + (x - 60) ** 2 <= 18**2


def tensor(array):
    """As float64."""
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def enlarged(rows):
    """Every number as 10 x 10 pixels."""
    return torch.as_tensor(rows).repeat_interleave(10, 0).repeat_interleave(10, 1)


def zones(mask=DISC):
    """tumour, rim and peritumoural of a mask, without a head to find."""
    image = np.zeros(mask.shape)
    return regions.regions(image, mask, names=("tumour", "rim", "peritumoural"))


@pytest.fixture
def slice_pair():
    """(sr, hr), (96, 112) each: a bright, textured disc; SR is blurred, darker and noisy."""
    rng = np.random.default_rng(2)
    hr = 0.3 + 0.3 * DISC + 0.05 * ndimage.gaussian_filter(rng.normal(size=DISC.shape), 0.7)
    sr = ndimage.gaussian_filter(hr, 1.5) - 0.02 + 0.005 * rng.normal(size=DISC.shape)
    return torch.from_numpy(sr), torch.from_numpy(hr)


def test_brightness_by_hand():
    hr, sr = enlarged([[0.1, 0.3], [0.5, 0.9]]), enlarged([[0.2, 0.3], [0.7, 0.0]])
    found = measure(sr, hr, {"tumour": enlarged([[True, True], [True, False]])})
    assert found["brightness_shift"] == pytest.approx(0.1)
    assert found["brightness_shift_sd"] == pytest.approx(0.1 / np.std([0.1, 0.3, 0.5]))


def test_contrast_to_noise_by_hand():
    image, tumour = enlarged([[0.9, 0.7, 0.2, 0.4]]), enlarged([[True, True, False, False]])
    found = measure(1 - image, image, {"tumour": tumour, "peritumoural": ~tumour})
    assert (found["contrast_hr"], found["contrast_sr"]) == pytest.approx((0.5, -0.5))
    assert (found["cnr_hr"], found["cnr_sr"]) == pytest.approx((0.5 / 0.1, 0.5 / 0.1))


def test_sharpness_of_a_ramp():
    ramp = tensor(0.0015 * y + 0.002 * x)
    found = measure(2 * ramp, ramp, {"rim": torch.from_numpy(DISC)})
    assert (found["sharpness_hr"], found["sharpness_change"]) == pytest.approx((0.0025, 1))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sr": torch.full((20, 20), 200, dtype=torch.uint8)}, "sr: expected floating point"),
        ({"sr": torch.full((20, 20), 200.0)}, r"sr: expected values in \[0, 1\]"),
        ({"hr": torch.full((20, 20), torch.nan)}, "hr: holds NaN"),
        ({"hr": torch.zeros(20, 19)}, "must be equal"),
        ({"sr": torch.zeros(1, 1, 20, 20)}, r"tensors \(H, W\), got \(1, 1, 20, 20\)"),
        ({"sr": None}, r"tensors \(H, W\), got NoneType"),
        ({"mask": torch.ones(20, 20)}, "mask: expected a bool tensor"),
        ({"mask": torch.ones(19, 20, dtype=torch.bool)}, "mask is"),
    ],
)
def test_refuses_what_is_no_slice_with_its_masks(changed, reason):
    flat = torch.full((20, 20), 0.3)
    given = {"sr": flat, "hr": flat, "mask": torch.ones(20, 20, dtype=torch.bool)} | changed
    with pytest.raises((TypeError, ValueError), match=reason):
        measure(given["sr"], given["hr"], {"tumour": given["mask"]})
    with pytest.raises((TypeError, ValueError), match=reason):
        appearance.hfen(given["sr"], given["hr"], given["mask"])


def test_a_constant_region_has_no_noise_and_no_detail():
    flat, everywhere = tensor(np.full((20, 20), 0.3)).float(), torch.ones(20, 20, dtype=torch.bool)
    found = measure(flat, flat, dict.fromkeys(("tumour", "rim", "peritumoural"), everywhere))
    for name in ("brightness_shift_sd", "cnr_hr", "sharpness_change", "hfen", "entropy_hr"):
        assert math.isnan(found[name])
    assert found["brightness_shift"] == found["sharpness_hr"] == 0


def test_the_filter_of_hfen_is_fspecial():
    kernel = appearance._laplacian_of_gaussian()
    assert kernel.shape == (15, 15)
    assert kernel.sum() == pytest.approx(0, abs=1e-15)
    # the Laplacian of a Gaussian of sum 1, up to the mean that is taken away
    laplace = ndimage.gaussian_laplace(np.pad([[1.0]], 20), 1.5, truncate=10)[13:28, 13:28]
    np.testing.assert_allclose(kernel, laplace, atol=0.003)


@pytest.mark.parametrize("mask", [DISC, np.ones_like(DISC), y < 30])
def test_hfen_equals_scipys_convolution(slice_pair, mask):
    sr, hr = (image.numpy() for image in slice_pair)
    kernel = appearance._laplacian_of_gaussian()
    a, b = (ndimage.convolve(image, kernel, mode="nearest")[mask] for image in (sr, hr))
    found = appearance.hfen(tensor(sr), tensor(hr), torch.from_numpy(mask))
    assert found == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b), rel=1e-9)


def test_hfen_of_equal_flat_and_brighter_images(slice_pair):
    hr, mask = tensor(slice_pair[1]), torch.from_numpy(DISC)
    assert appearance.hfen(hr, hr, mask) == 0
    assert appearance.hfen(torch.full_like(hr, 0.5), hr, mask) == pytest.approx(1, abs=1e-9)
    assert appearance.hfen(hr + 0.1, hr, mask) == pytest.approx(0, abs=1e-9)
    flat_inside = torch.where(
        torch.from_numpy(ndimage.binary_dilation(DISC, iterations=20)), 0.3, hr
    )
    for flat in (torch.zeros_like(hr), torch.full_like(hr, 0.3), flat_inside):
        assert math.isnan(appearance.hfen(hr, flat, mask))


def extents(sr, hr, mask=DISC):
    found = zones(mask)
    within = found["tumour"] | found["rim"] | found["peritumoural"]
    named = {"tumour": mask, "surroundings": found["peritumoural"].numpy()}
    return appearance.extent(sr, hr, **named, within=within.numpy())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_moved_and_grown_tumour_by_hand(sign):
    hr = 0.5 + sign * 0.2 * DISC
    moved = 0.5 + sign * 0.2 * np.roll(DISC, (3, -4), (0, 1))
    grown = 0.5 + sign * 0.2 * ((y - 45) ** 2 + (x - 60) ** 2 <= 24**2)
    found = extents(moved, hr)
    assert (found["area_hr"], found["area_ratio"]) == (DISC.sum(), 1)
    assert found["centroid_shift"] == pytest.approx(5)
    overlap = (DISC & np.roll(DISC, (3, -4), (0, 1))).sum()
    assert found["area_dice"] == pytest.approx(overlap / DISC.sum())
    assert extents(grown, hr)["area_ratio"] == pytest.approx((24 / 18) ** 2, rel=0.01)


def test_a_tumour_that_is_lost_or_was_never_seen():
    hr, flat = 0.5 + 0.2 * DISC, np.full(DISC.shape, 0.5)
    lost = extents(flat, hr)
    assert (lost["area_sr"], lost["area_ratio"], lost["area_dice"]) == (0, 0, 0)
    assert math.isnan(lost["centroid_shift"])
    assert np.isnan(list(extents(hr, flat).values())).all()


def test_other_parts_and_what_lies_beyond_the_limit_do_not_count():
    hr = 0.5 + 0.2 * DISC
    beside = hr + 0.2 * ((y - 45) ** 2 + (x - 90) ** 2 <= 9) + 0.2 * (y > 90)
    assert extents(beside, hr) == extents(hr, hr)


def test_measure_of_equal_slices(slice_pair):
    hr = slice_pair[1]
    found = measure(hr, hr, zones())
    assert list(found) == list(MEASURES)
    assert np.isfinite(list(found.values())).all()
    assert found["pixels"] == DISC.sum()
    zero = ("brightness_shift", "cnr_change", "sharpness_change", "hfen", "hfen_rim",
            "centroid_shift")  # fmt: skip
    assert [found[name] for name in zero] == [0] * len(zero)
    assert (found["area_ratio"], found["area_dice"]) == (1, 1)
    for name in TEXTURE:
        assert found[f"{name}_sr"] == found[f"{name}_hr"]


def test_measure_sees_blur_and_darkening(slice_pair):
    found = measure(*slice_pair, zones())
    assert -0.06 < found["brightness_shift"] < -0.02  # more than 0.02: blur lets the dark in
    assert found["sharpness_change"] < -0.2
    assert found["glcm_contrast_sr"] < 0.5 * found["glcm_contrast_hr"]
    assert found["variance_sr"] != found["variance_hr"]
    assert 0.3 < found["hfen"] < 1.5
    assert found["area_dice"] > 0.95
    assert found["cnr_change"] > 0  # smoother surroundings alone raise it
    assert found["contrast_sr"] < found["contrast_hr"]


def test_measure_bins_sr_by_the_range_of_hr(slice_pair):
    hr = slice_pair[1]
    found = measure(0.5 * hr, hr, zones())
    own_range = texture(
        (0.5 * hr).numpy(),
        DISC,
        low=0.5 * hr.numpy()[DISC].min(),
        high=0.5 * hr.numpy()[DISC].max(),
    )
    assert own_range["glcm_contrast"] == pytest.approx(found["glcm_contrast_hr"], rel=0.01)
    assert found["glcm_contrast_sr"] < 0.1 * found["glcm_contrast_hr"]


def test_measure_without_some_regions(slice_pair):
    found = measure(*slice_pair, {"tumour": zones()["tumour"]})
    for name in ("cnr_hr", "sharpness_sr", "hfen_rim", "area_ratio"):
        assert math.isnan(found[name])
    for name in ("brightness_shift", "hfen", "glcm_contrast_hr", "entropy_sr"):
        assert math.isfinite(found[name])


def test_measure_of_a_tumour_that_is_too_small(slice_pair):
    small = (y - 45) ** 2 + (x - 60) ** 2 <= 9  # 29 pixels
    found = measure(*slice_pair, zones(small))
    assert found.pop("pixels") == 29
    seen = {name for name, value in found.items() if not math.isnan(value)}
    assert seen == {"sharpness_hr", "sharpness_sr", "sharpness_change", "hfen_rim"}


bicubic = partial(resample.bicubic, scale=2)


def table(cases, noise=0.0, **methods):
    shrink = degrade.by_name("bicubic", scale=2, noise=noise, seed=0)
    return appearance.appearance(
        methods, cases, degrade=shrink, upsample=bicubic, scale=2, tissue="head"
    )


def test_a_row_per_case_method_and_region_and_hr_has_not_changed(cases):
    found = table(cases[:2], bicubic=bicubic)
    assert len(found) == 2 * 2 * 2
    assert {"id", "patient", "label", "fold", *MEASURES, "consistency"} <= set(found)
    assert set(found["method"]) == {"HR", "bicubic"}
    assert set(found["region"]) == {"tumour", "matched"}
    hr = found[(found["method"] == "HR") & (found["region"] == "tumour")]
    for name in ("brightness_shift", "sharpness_change", "hfen", "consistency"):
        assert hr[name].abs().max() < 1e-6


def test_hr_invents_nothing_and_interpolation_adds_nothing(cases):
    found = table(cases[:2], bicubic=bicubic)
    columns = ["slope", "unexplained", "invented", "unlike_both"]
    rows = found[found["region"] == "tumour"].groupby("method")[columns].mean()
    assert rows.loc["HR"].tolist()[:3] == pytest.approx([1, 0, 0], abs=1e-6)
    assert rows.loc["bicubic", ["slope", "invented"]].tolist() == [0, 0]
    assert math.isnan(rows.loc["bicubic", "unexplained"])
    assert rows["unlike_both"].max() < 0.05


def test_with_noise_consistency_of_hr_is_the_noise(cases):
    found = table(cases, noise=0.02, bicubic=bicubic)
    hr = found[(found["method"] == "HR") & (found["region"] == "tumour")]
    assert hr["consistency"].mean() == pytest.approx(0.02 * math.sqrt(2 / math.pi), rel=0.15)


def test_a_brighter_image_is_brighter_by_that_much(cases):
    found = table(cases[:2], bicubic=bicubic, brighter=lambda lr: (bicubic(lr) + 0.05).clamp(0, 1))
    shift = found.set_index(["method", "region", "id"])["brightness_shift"].sort_index()
    added = shift["brighter", "tumour"] - shift["bicubic", "tumour"]
    assert added.to_list() == pytest.approx([0.05] * 2, abs=1e-3)


def test_interpolation_is_omission_and_its_border_softer(cases):
    found = table(cases[:2], soft=lambda lr: F.avg_pool2d(bicubic(lr), 5, 1, 2), bicubic=bicubic)
    rows = found[found["region"] == "tumour"].groupby("method").mean(numeric_only=True)
    assert rows.loc["bicubic", "omission"] > 0.9
    assert rows.loc["soft", "sharpness_change"] < rows.loc["bicubic", "sharpness_change"] < 0


def test_what_has_no_normal_tissue_is_nan_and_counted_by_the_statistics(cases):
    everywhere = replace(cases[0], mask=torch.ones_like(cases[0].mask))
    found = table([everywhere, cases[1]], bicubic=bicubic)
    matched = found[(found["region"] == "matched") & (found["id"] == "1")]
    assert (matched["pixels"] == 0).all()
    assert matched[["hfen", "consistency", "improvement", "cnr_sr"]].isna().all(axis=None)
    contrast = statistics.Contrast("hfen", "bicubic", "HR", "tumour", "matched")
    (estimate,) = statistics.contrasts(found, [contrast], seed=0).values()
    assert (estimate.cases, estimate.skipped) == (1, 1)


def test_a_case_that_cannot_be_measured_is_named(cases):
    with pytest.raises(ValueError, match="case 2 has no mask"):
        table([cases[0], replace(cases[1], mask=None)], bicubic=bicubic)
    flat = table([replace(cases[0], image=torch.full_like(cases[0].image, 0.5))], bicubic=bicubic)
    assert flat["hfen"].isna().all()  # without detail in HR there is no share of it
    assert flat["brightness_shift"].abs().max() < 1e-6
