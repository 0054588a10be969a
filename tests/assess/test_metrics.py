import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torchmetrics_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torchmetrics_ssim,
)

from medsr_lib.assess import metrics

METRICS = [metrics.mse, metrics.psnr, metrics.ssim, metrics.ssim_map]
y, x = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
noise = torch.rand(48, 40, generator=torch.Generator().manual_seed(5)) - 0.5
PAIRS = {
    "noise": (0.5 + noise, (0.5 + noise * 0.6 + 0.2 * noise.roll(1, 0)).clamp(0, 1)),
    "waves": (0.5 + 0.4 * torch.sin(x / 3), 0.5 + 0.35 * torch.sin(x / 3 + y / 50)),
    "bright and flat": (0.99 + 0.01 * noise, 0.99 + 0.01 * noise.flip(0)),
    "bright, flat and equal": (torch.full((48, 40), 0.98), torch.full((48, 40), 0.97)),
    "half black, half white": ((x >= 20).float(), ((x >= 21).float() * 0.9)),
    "dark": (0.002 * (0.5 + noise), 0.002 * (0.5 + noise.flip(1))),
}


@pytest.fixture(params=PAIRS, ids=lambda name: name.replace(" ", "-"))
def pair(request):
    """(sr, hr), (1, 1, 48, 40) each."""
    return tuple(image[None, None] for image in PAIRS[request.param])


def scikit_image(sr, hr, data_range=1.0):
    """Mean and map of a second program, in float64."""
    return structural_similarity(
        *(i[0, 0].double().numpy() for i in (sr, hr)),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )


def test_identity(random_images):
    hr = random_images(2, 20, 24)
    assert metrics.mse(hr, hr, data_range=1.0).tolist() == [0, 0]
    assert metrics.psnr(hr, hr, data_range=1.0).tolist() == [torch.inf, torch.inf]
    torch.testing.assert_close(metrics.ssim(hr, hr, data_range=1.0), torch.ones(2))
    torch.testing.assert_close(metrics.ssim_map(hr, hr, data_range=1.0), torch.ones(2, 20, 24))


def test_mse_and_psnr_by_hand():
    hr = torch.zeros(1, 1, 2, 2)
    sr = torch.tensor([[[[0.1, 0.1], [0.1, 0.5]]]])  # squares: 0.01 0.01 0.01 0.25
    assert metrics.mse(sr, hr, data_range=1.0).item() == pytest.approx(0.07)
    assert metrics.psnr(sr, hr, data_range=1.0).item() == pytest.approx(11.549, abs=1e-3)


def test_ssim_of_flat_images_by_hand():
    sr, hr = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.4)
    by_hand = (2 * 0.5 * 0.4 + 1e-4) / (0.25 + 0.16 + 1e-4)  # variances are 0, C1 = 0.01^2
    assert metrics.ssim(sr, hr, data_range=1.0).item() == pytest.approx(by_hand, abs=1e-6)


def test_ssim_of_one_window_by_hand(random_images):
    sr, hr = random_images(2, 11, 11, dtype=torch.float64)[:, :, None]
    at = torch.arange(-5.0, 6.0, dtype=torch.float64)
    w = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    w = w / w.sum()
    ux, uy = (w * sr).sum(), (w * hr).sum()
    vx, vy, vxy = ((w * a * b).sum() - (w * a).sum() * (w * b).sum()
                   for a, b in ((sr, sr), (hr, hr), (sr, hr)))  # fmt: skip
    by_hand = (2 * ux * uy + 1e-4) * (2 * vxy + 9e-4)
    by_hand /= (ux**2 + uy**2 + 1e-4) * (vx + vy + 9e-4)
    assert metrics.ssim(sr, hr, data_range=1.0).item() == pytest.approx(by_hand.item(), abs=1e-12)


def test_ssim_equals_scikit_image(pair):
    mean, whole_map = scikit_image(*pair)
    assert abs(metrics.ssim(*pair, data_range=1.0).item() - mean) < 1e-5
    assert np.abs(metrics.ssim_map(*pair, data_range=1.0)[0].numpy() - whole_map).max() < 1e-5


def test_ssim_map_equals_torchmetrics_inside(pair):
    sr, hr = (image.double() for image in pair)
    other = torchmetrics_ssim(sr, hr, data_range=1.0, sigma=1.5, return_full_image=True)[1]
    inner = metrics.ssim_map(sr, hr, data_range=1.0)[:, 5:-5, 5:-5]
    torch.testing.assert_close(inner, other[0, :, 5:-5, 5:-5], rtol=0, atol=1e-6)


def test_mse_and_psnr_equal_scikit_image_and_torchmetrics(pair):
    sr, hr = pair
    ours = metrics.psnr(sr, hr, data_range=1.0).item()
    second = peak_signal_noise_ratio(hr.double().numpy(), sr.double().numpy(), data_range=1.0)
    assert ours == pytest.approx(second, abs=1e-3)
    assert ours == pytest.approx(torchmetrics_psnr(sr, hr, data_range=1.0).item(), abs=1e-3)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ssim_map])
@pytest.mark.parametrize("data_range", [0.5, 255.0])
def test_data_range_scales_with_the_images(metric, data_range, pair):
    sr, hr = pair
    scaled = metric(sr * data_range, hr * data_range, data_range=data_range)
    torch.testing.assert_close(scaled, metric(sr, hr, data_range=1.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_equals_its_images_one_by_one(metric, random_images):
    sr, hr = random_images(3, 16, 24), random_images(3, 16, 24, seed=1)
    singles = [metric(sr[i : i + 1], hr[i : i + 1], data_range=1.0) for i in range(3)]
    together = metric(sr, hr, data_range=1.0)
    assert together.shape[0] == 3
    torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_inputs_are_left_as_they_were(metric, random_images):
    sr, hr = random_images(1, 16, 16, dtype=torch.float64), random_images(1, 16, 16).double()
    before = sr.clone(), hr.clone()
    metric(sr, hr, data_range=1.0)
    assert torch.equal(sr, before[0])
    assert torch.equal(hr, before[1])


GOOD = torch.full((1, 1, 16, 16), 0.5)
BAD = {
    "int16": ((GOOD * 1000).short(), TypeError, r"got torch\.int16; normalise"),
    "array": (GOOD.numpy(), TypeError, r"expected a tensor \(B, 1, H, W\), got ndarray"),
    "raw": (GOOD * 1000, ValueError, r"expected values in \[0, 1\], got \[500, 500\]"),
    "-1..1": (GOOD - 1, ValueError, r"expected values in \[0, 1\], got \[-0\.5, -0\.5\]"),
    "3-D": (GOOD[0], ValueError, r"expected shape \(B, 1, H, W\), got \(1, 16, 16\)"),
    "RGB": (GOOD.expand(1, 3, 16, 16), ValueError, r"expected shape \(B, 1, H, W\)"),
    "empty": (GOOD[:0], ValueError, r"expected shape \(B, 1, H, W\), got \(0,"),
    "NaN": (GOOD * torch.nan, ValueError, "NaN or infinite"),
    "infinite": (GOOD / 0, ValueError, "NaN or infinite"),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", BAD)
def test_refuses_bad_images_on_either_side(metric, kind):
    bad, error, reason = BAD[kind]
    with pytest.raises(error, match=rf"sr: .*{reason}"):
        metric(bad, GOOD, data_range=1.0)
    with pytest.raises(error, match=rf"hr: .*{reason}"):
        metric(GOOD, bad, data_range=1.0)


@pytest.mark.parametrize("metric", METRICS)
def test_refuses_different_shapes(metric):
    with pytest.raises(ValueError, match=r"sr is \(1, 1, 16, 16\), hr is \(1, 1, 16, 15\)"):
        metric(GOOD, GOOD[..., :15], data_range=1.0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("data_range", [0, -1.0, float("nan"), float("inf")])
def test_refuses_a_data_range_that_is_not_positive(metric, data_range):
    with pytest.raises(ValueError, match="data_range must be positive"):
        metric(GOOD, GOOD, data_range=data_range)


@pytest.mark.parametrize("metric", METRICS)
def test_data_range_has_no_default(metric):
    with pytest.raises(TypeError, match="data_range"):
        metric(GOOD, GOOD)


@pytest.mark.parametrize("metric", [metrics.ssim, metrics.ssim_map])
def test_ssim_refuses_images_smaller_than_its_window(metric):
    with pytest.raises(ValueError, match=r"at least 11 x 11 pixels, got 16 x 10"):
        metric(GOOD[..., :10], GOOD[..., :10], data_range=1.0)
