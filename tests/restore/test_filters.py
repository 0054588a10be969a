import numpy as np
import pytest
import torch
from skimage import restoration

from medsr_lib.restore import filters, noise

ALL = {
    "median": lambda y: filters.median(y, factor=20),
    "bilateral": lambda y: filters.bilateral(y, factor=2, reach=1),
    "non-local means": lambda y: filters.non_local_means(y, factor=0.8),
    "total variation": lambda y: filters.total_variation(y, factor=1),
}


@pytest.fixture(scope="module")
def clean():
    """(2, 1, 40, 44): edges and slopes."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(44.0), indexing="ij")
    return torch.stack([((x > 20) * 0.5 + y / 100)[None], ((x + y > 40) * 0.6 + 0.2)[None]])


@pytest.fixture(scope="module")
def noisy(clean):
    return noise.by_name("gaussian", level=0.1, seed=0)(clean)


@pytest.mark.parametrize("name", ALL)
def test_filters_take_noise_away(name, clean, noisy):
    found = ALL[name](noisy)
    assert found.shape == noisy.shape
    assert found.dtype == noisy.dtype
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


@pytest.mark.parametrize("name", ALL)
def test_an_image_without_noise_is_left_as_it_is(name, clean):
    assert torch.equal(ALL[name](clean), clean)


@pytest.mark.parametrize("name", ALL)
def test_images_do_not_know_of_each_other(name, noisy):
    assert torch.equal(ALL[name](noisy)[1:], ALL[name](noisy[1:]))


def test_the_strength_follows_the_noise_of_the_image(noisy):
    s = noise.estimate_sigma(noisy)[0].item()
    image = noisy[0, 0].double().numpy()
    expected = restoration.denoise_tv_chambolle(image, weight=1.4 * s, eps=2e-5).clip(0, 1)
    found = filters.total_variation(noisy[:1], factor=1.4)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_faint_noise_needs_no_median(clean):
    faint = noise.by_name("gaussian", level=0.01, seed=0)(clean)
    assert torch.equal(filters.median(faint, factor=20), faint.clamp(0, 1))


def test_negative_values_do_not_trouble_the_bilateral_filter(noisy):
    higher = filters.bilateral(noisy * 0.2 + 0.4, factor=2, reach=1)
    lower = filters.bilateral(noisy * 0.2, factor=2, reach=1)
    inside = (lower > 0) & (higher > 0.4)
    assert noisy.min() < 0
    assert torch.allclose(higher[inside] - 0.4, lower[inside], atol=0.01)


def test_tuning_takes_the_setting_with_the_highest_psnr(clean):
    tried = {"total variation": (filters.total_variation, [{"factor": f} for f in (0.01, 1.2, 9)])}
    ways = [noise.by_name(k, level=0.1, seed=0) for k in ("gaussian", "mixed")]
    tuned = filters.tune(clean, degrade=ways, tried=tried)
    assert tuned.table["chosen"].tolist() == [False, True, False]
    assert tuned.table["psnr"].idxmax() == 1
    y = ways[0](clean)
    found = tuned.filters["total variation"](y)
    assert torch.equal(found, filters.total_variation(y, factor=1.2))


def test_tuned_psnr_is_the_mean_over_noisy_images(clean):
    tried = {"nothing": (lambda y, factor: y, [{"factor": 1.0}])}
    way = noise.by_name("gaussian", level=0.1, seed=0)
    found = filters.tune(clean, degrade=way, tried=tried).table["psnr"][0]
    errors = (way(clean) - clean).square().mean((1, 2, 3))
    assert found == pytest.approx((-10 * errors.log10()).mean().item(), abs=1e-4)


def test_nothing_to_try_is_refused(clean):
    way = noise.by_name("gaussian", level=0.1, seed=0)
    with pytest.raises(ValueError, match="no settings of median"):
        filters.tune(clean, degrade=way, tried={"median": (filters.median, [])})
    with pytest.raises(ValueError, match="no images"):
        filters.tune([], degrade=way)
