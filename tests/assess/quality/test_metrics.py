import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image as torchmetrics

from medsr_lib.assess.quality import metrics
from medsr_lib.assess.quality import ssim as windows

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


WINDOW = np.outer(*[np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))] * 2)


def by_hand(x, y, weights):
    """Luminance, contrast and structure at one window, by their definitions."""
    x, y, w = (np.asarray(v, float).ravel() for v in (x, y, weights))
    ux, uy = np.average(x, weights=w), np.average(y, weights=w)
    (vx, vxy), (_, vy) = np.cov(x, y, ddof=0, aweights=w)
    both = np.sqrt(vx * vy)
    return np.array([
        (2 * ux * uy + 1e-4) / (ux**2 + uy**2 + 1e-4),
        (2 * both + 9e-4) / (vx + vy + 9e-4),
        (vxy + 4.5e-4) / (both + 4.5e-4),
    ])  # fmt: skip


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


def test_ssim_equals_scikit_image(pair):
    mean, whole_map = scikit_image(*pair)
    assert abs(metrics.ssim(*pair, data_range=1.0).item() - mean) < 1e-5
    assert np.abs(metrics.ssim_map(*pair, data_range=1.0)[0].numpy() - whole_map).max() < 1e-5


def test_in_float32_the_mean_of_ssim_is_scikit_images_too(pair):
    sr, hr = (image[:, 0] for image in pair)
    (found,) = windows.maps([sr], hr, data_range=1.0, dtype=torch.float32)["ssim"]
    mean, _ = scikit_image(*pair)
    assert abs(found[windows.INNER].double().mean().item() - mean) < 1e-6


def test_ssim_map_equals_torchmetrics_inside(pair):
    sr, hr = (image.double() for image in pair)
    other = torchmetrics.structural_similarity_index_measure(
        sr, hr, data_range=1.0, sigma=1.5, return_full_image=True
    )[1]
    inner = metrics.ssim_map(sr, hr, data_range=1.0)[:, 5:-5, 5:-5]
    torch.testing.assert_close(inner, other[0, :, 5:-5, 5:-5], rtol=0, atol=1e-6)


def test_mse_and_psnr_equal_scikit_image_and_torchmetrics(pair):
    sr, hr = pair
    ours = metrics.psnr(sr, hr, data_range=1.0).item()
    second = peak_signal_noise_ratio(hr.double().numpy(), sr.double().numpy(), data_range=1.0)
    assert ours == pytest.approx(second, abs=1e-3)
    assert ours == pytest.approx(
        torchmetrics.peak_signal_noise_ratio(sr, hr, data_range=1.0).item(), abs=1e-3
    )


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
def test_refuses_different_shapes_and_data_ranges(metric):
    with pytest.raises(ValueError, match=r"sr is \(1, 1, 16, 16\), hr is \(1, 1, 16, 15\)"):
        metric(GOOD, GOOD[..., :15], data_range=1.0)
    for data_range in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="data_range must be a positive number"):
            metric(GOOD, GOOD, data_range=data_range)
    with pytest.raises(TypeError, match="data_range"):
        metric(GOOD, GOOD)


@pytest.mark.parametrize("metric", [metrics.ssim, metrics.ssim_map])
def test_ssim_refuses_images_smaller_than_its_window(metric):
    with pytest.raises(ValueError, match=r"at least 11 x 11 pixels, got 16 x 10"):
        metric(GOOD[..., :10], GOOD[..., :10], data_range=1.0)


MAPS = [metrics.ssim_maps, metrics.ms_ssim, metrics.ms_ssim_maps]
disc = (x - 20) ** 2 + (y - 24) ** 2 <= 18**2


def large_pair(height, width, seed=0):
    """An image with structure at every scale and a blurred, noisy copy, (1, 1, H, W) float64."""
    draw = torch.Generator().manual_seed(seed)
    images = [
        torch.nn.functional.interpolate(
            torch.rand(1, 1, height // n + 1, width // n + 1, generator=draw, dtype=torch.float64),
            size=(height, width),
            mode="bilinear",
        )
        for n in (1, 4, 16, 64)
    ]
    hr = sum(images) / 4
    blurred = torch.nn.functional.avg_pool2d(hr, 5, 1, 2, count_include_pad=False)
    return (0.9 * blurred + 0.1 * images[0]).clamp(0, 1), hr


def test_several_maps_at_once_are_what_each_is_alone(pair):
    found = metrics.ssim_maps(*pair, data_range=1.0)
    assert list(found) == ["ssim", "contrast_structure", "luminance", "contrast", "structure"]
    for name, expected in found.items():
        alone = metrics.ssim_maps(*pair, [name], data_range=1.0)[name]
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(found["ssim"], metrics.ssim_map(*pair, data_range=1.0))
    product = found["contrast"] * found["structure"]
    torch.testing.assert_close(found["contrast_structure"], product, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["luminance"] * product, found["ssim"], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no map 'sharpness'; there are ssim, contrast_structure"):
        metrics.ssim_maps(*pair, ["sharpness"], data_range=1.0)


def test_bands_do_not_change_maps(monkeypatch, pair):
    together = metrics.ssim_maps(*pair, data_range=1.0)
    within = metrics.ssim_map_within(*pair, disc, data_range=1.0)
    monkeypatch.setattr(windows, "BAND", 7 * 40 * 8)
    for name, expected in metrics.ssim_maps(*pair, data_range=1.0).items():
        torch.testing.assert_close(together[name], expected, rtol=0, atol=1e-7)
    again = metrics.ssim_map_within(*pair, disc, data_range=1.0)
    torch.testing.assert_close(again, within, rtol=0, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("corner", [(0, 0), (47, 39), (0, 20)])
def test_ssim_within_a_mask_at_the_frame_mirrors_image_and_mask(pair, corner):
    mask = torch.zeros(48, 40, dtype=torch.bool)
    mask[corner[0], corner[1]] = True
    mask |= mask.roll((1, -1), (0, 1)) & disc.logical_not()
    x, y, m = (np.pad(v.double(), 5, "symmetric") for v in (pair[0][0, 0], pair[1][0, 0], mask))
    at = tuple(slice(c, c + 11) for c in corner)
    expected = by_hand(x[at], y[at], WINDOW * m[at]).prod()
    found = metrics.ssim_map_within(*pair, mask, data_range=1.0)[0][corner]
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_ssim_and_its_parts_by_hand_at_one_window(random_images):
    sr, hr = random_images(2, 11, 11, dtype=torch.float64)[:, :, None]
    expected = by_hand(sr, hr, WINDOW)
    found = metrics.ssim_maps(sr, hr, ["luminance", "contrast", "structure"], data_range=1.0)
    assert [v[0, 5, 5].item() for v in found.values()] == pytest.approx(expected, abs=1e-12)
    ssim = metrics.ssim(sr, hr, data_range=1.0).item()
    assert ssim == pytest.approx(expected.prod(), abs=1e-12)


def test_parts_tell_brightness_from_contrast():
    hr = (0.5 + 0.2 * torch.sin(x))[None, None]
    darker = metrics.ssim_maps(hr - 0.2, hr, data_range=1.0)
    flatter = metrics.ssim_maps(0.5 + (hr - 0.5) / 2, hr, data_range=1.0)
    assert darker["luminance"].max() < 0.97
    assert darker["contrast"].min() > 0.9999
    assert flatter["contrast"][:, 6:-6, 6:-6].max() < 0.85
    assert flatter["structure"][:, 6:-6, 6:-6].min() > 0.97


@pytest.mark.parametrize("size", [(192, 208), (181, 177)])
def test_ms_ssim_equals_torchmetrics_scale_by_scale(size):
    """At the coarsest scale torchmetrics' own mean keeps the padded edge: take its map instead."""
    sr, hr = a, b = large_pair(*size)
    expected = 1.0
    for exponent in metrics.SCALES:
        last = exponent == metrics.SCALES[-1]
        kwargs = {"return_full_image": True} if last else {"return_contrast_sensitivity": True}
        _, second = torchmetrics.structural_similarity_index_measure(
            a, b, data_range=1.0, sigma=1.5, **kwargs
        )
        mean = second[..., 5:-5, 5:-5].mean() if last else second.mean()
        expected *= mean.item() ** exponent
        a, b = (torch.nn.functional.avg_pool2d(image, 2) for image in (a, b))
    found = metrics.ms_ssim(sr, hr, data_range=1.0)
    assert found.shape == (1,)
    assert 0.3 < found.item() < 0.95
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["flat", "checkerboard", "stripes"])
def test_ms_ssim_equals_torchmetrics_where_the_edge_is_like_the_middle(kind):
    at = torch.arange(192)
    pattern = {
        "flat": torch.zeros(192, 192),
        "checkerboard": (at[:, None] + at) % 2,
        "stripes": (at // 16 % 2).expand(192, 192),
    }[kind].to(torch.float64)[None, None]  # fmt: skip
    sr, hr = 0.4 + 0.3 * pattern, 0.3 + 0.5 * pattern
    second = torchmetrics.multiscale_structural_similarity_index_measure(
        sr, hr, data_range=1.0, sigma=1.5
    )
    found = metrics.ms_ssim(sr, hr, data_range=1.0).item()
    assert found == pytest.approx(second.item(), abs=1e-4)


def test_ms_ssim_of_a_batch_and_of_equal_images():
    pairs = [large_pair(176, 176, seed) for seed in (1, 2)]
    sr, hr = (torch.cat(images) for images in zip(*pairs))
    singles = [metrics.ms_ssim(*one, data_range=1.0) for one in pairs]
    torch.testing.assert_close(metrics.ms_ssim(sr, hr, data_range=1.0), torch.cat(singles))
    torch.testing.assert_close(
        metrics.ms_ssim(hr, hr, data_range=1.0), torch.ones(2, dtype=torch.float64)
    )


def test_ms_ssim_of_regions_by_hand():
    sr, hr = large_pair(192, 208)
    maps = metrics.ms_ssim_maps(sr, hr, data_range=1.0)
    assert [tuple(m.shape[1:]) for m in maps] == [(192 >> j, 208 >> j) for j in range(5)]
    masks = torch.zeros(1, 3, 192, 208, dtype=torch.bool)
    masks[0, 0, 80:112, 96:128] = True  # whole pixels at every scale
    masks[0, 1, 100, 100] = True
    masks[0, 2, :70] = True  # within 5 pixels of the edge at the coarsest scale
    square, speck = 1.0, 1.0
    for j, exponent in enumerate(metrics.SCALES):
        mean = maps[j][0, 80 >> j : 112 >> j, 96 >> j : 128 >> j].mean()
        square *= mean.item() ** exponent
        speck *= maps[j][0, 100 >> j, 100 >> j].item() ** exponent
    found = metrics.ms_ssim_within(maps, metrics.ms_shares(masks))[0].tolist()
    assert found == pytest.approx([square, speck, np.nan], rel=1e-9, nan_ok=True)


def test_ms_ssim_counts_a_negative_mean_as_zero():
    _, hr = large_pair(176, 176)
    assert metrics.ms_ssim(1 - hr, hr, data_range=1.0).item() == 0


def test_ms_ssim_refuses_small_images():
    _, hr = large_pair(175, 200)
    with pytest.raises(ValueError, match="at least 176 x 176 pixels, got 175 x 200"):
        metrics.ms_ssim(hr, hr, data_range=1.0)


def test_ssim_within_a_mask_ignores_what_lies_outside(pair):
    sr, hr = pair
    other = torch.rand(2, 1, 1, 48, 40, generator=torch.Generator().manual_seed(1))
    inside = metrics.ssim_map_within(sr, hr, disc, data_range=1.0)
    replaced = [torch.where(disc, image, o) for image, o in zip(pair, other)]
    again = metrics.ssim_map_within(*replaced, disc, data_range=1.0)
    torch.testing.assert_close(again, inside, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(inside[0].isfinite(), disc)


def test_ssim_within_a_mask_equals_ssim_where_the_window_lies_inside(pair):
    within = metrics.ssim_map_within(*pair, disc, data_range=1.0)[0]
    whole = metrics.ssim_map(*pair, data_range=1.0)[0]
    sums = torch.nn.functional.conv2d(disc[None, None].float(), torch.ones(1, 1, 11, 11))
    deep = torch.nn.functional.pad(sums[0, 0] == 121, (5, 5, 5, 5))
    assert 100 < deep.sum() < disc.sum()
    torch.testing.assert_close(within[deep], whole[deep], rtol=0, atol=1e-6)
    everywhere = metrics.ssim_map_within(*pair, torch.ones_like(disc), data_range=1.0)[0]
    torch.testing.assert_close(everywhere, whole, rtol=0, atol=1e-6)


def test_ssim_within_a_mask_by_hand(random_images):
    sr, hr = random_images(2, 20, 20, dtype=torch.float64)[:, :, None]
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[10, 9:12], mask[11, 10] = True, True
    expected = by_hand(
        sr[0, 0, 5:16, 5:16], hr[0, 0, 5:16, 5:16], WINDOW * mask[5:16, 5:16].numpy()
    )
    found = metrics.ssim_map_within(sr, hr, mask, data_range=1.0)[0, 10, 10]
    assert found.item() == pytest.approx(expected.prod(), abs=1e-12)


def test_ssim_within_masks_of_a_batch(random_images):
    sr, hr = random_images(2, 48, 40), random_images(2, 48, 40, seed=1)
    masks = torch.stack((disc, torch.zeros_like(disc)))
    found = metrics.ssim_map_within(sr, hr, masks, data_range=1.0)
    one = metrics.ssim_map_within(sr[:1], hr[:1], disc, data_range=1.0)
    torch.testing.assert_close(found[:1], one, rtol=0, atol=1e-6, equal_nan=True)
    assert found[1].isnan().all()
    nothing = metrics.ssim_map_within(sr, hr, torch.zeros_like(disc), data_range=1.0)
    assert nothing.isnan().all()


def test_masks_are_checked():
    with pytest.raises(TypeError, match=r"bool tensor, got torch\.uint8; compare it with 0"):
        metrics.ssim_map_within(GOOD, GOOD, torch.ones(16, 16).byte(), data_range=1.0)
    with pytest.raises(ValueError, match=r"mask is \(16, 15\), the images are \(1, 1, 16, 16\)"):
        metrics.ssim_map_within(GOOD, GOOD, torch.ones(16, 15).bool(), data_range=1.0)


@pytest.mark.parametrize("metric", MAPS)
def test_the_parts_and_scales_check_their_images_too(metric):
    for kind in ("raw", "int16", "NaN"):
        bad, error, reason = BAD[kind]
        with pytest.raises(error, match=rf"sr: .*{reason}"):
            metric(bad, GOOD, data_range=1.0)
    with pytest.raises(ValueError, match="pixels, got 16 x 10"):
        metric(GOOD[..., :10], GOOD[..., :10], data_range=1.0)
    with pytest.raises(TypeError, match="data_range"):
        metric(GOOD, GOOD)


@pytest.mark.parametrize("data_range", [0.5, 255.0])
def test_parts_and_scales_follow_the_data_range(data_range):
    sr, hr = large_pair(176, 176)
    scaled = metrics.ms_ssim(sr * data_range, hr * data_range, data_range=data_range)
    torch.testing.assert_close(scaled, metrics.ms_ssim(sr, hr, data_range=1.0))
    first = metrics.ssim_maps(sr * data_range, hr * data_range, data_range=data_range)
    second = metrics.ssim_maps(sr, hr, data_range=1.0)
    for name, part in first.items():
        torch.testing.assert_close(part, second[name])


def test_edges_by_hand():
    hr, sr = torch.zeros(2, 1, 1, 3, 5)
    hr[0, 0, 1, 1] = 1.0  # Laplacian of the three inner pixels: -4, 1, 0; less its mean: -3, 2, 1
    sr[0, 0, 1, 2] = 1.0  # 1, -4, 1; less the mean of -2/3: 5/3, -10/3, 5/3
    expected = (-5 - 20 / 3 + 5 / 3) / np.sqrt(14 * 150 / 9)
    assert metrics.edge_preservation(sr, hr).item() == pytest.approx(expected, abs=1e-6)


def test_edges_are_the_correlation_of_scipys_laplacians(random_images):
    hr, sr = random_images(2, 30, 26), random_images(2, 30, 26, seed=1)
    for found, a, b in zip(metrics.edge_preservation(sr, hr), hr, sr):
        detail = [ndimage.laplace(x[0].double().numpy())[1:-1, 1:-1].ravel() for x in (a, b)]
        assert found.item() == pytest.approx(np.corrcoef(*detail)[0, 1], abs=1e-6)


def test_edges_do_not_depend_on_brightness_but_on_noise_and_blur(random_images):
    x = torch.nn.functional.interpolate(random_images(1, 16, 16), (64, 64), mode="bicubic")
    x = x.clamp(0, 1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 3, 3)))
    assert metrics.edge_preservation(0.3 * x + 0.5, x).item() == pytest.approx(1, abs=1e-5)
    assert metrics.edge_preservation(1 - x, x).item() == pytest.approx(-1, abs=1e-5)
    assert metrics.edge_preservation((x + 0.05 * noise).clamp(0, 1), x).item() < 0.5
    assert metrics.edge_preservation(blurred, x).item() < 0.9
    assert metrics.edge_preservation(x, torch.full_like(x, 0.3)).isnan().all()  # no edges to keep


def test_edges_refuse_what_cannot_be_compared():
    with pytest.raises(ValueError, match="they must be equal"):
        metrics.edge_preservation(GOOD, GOOD[..., :8])
    with pytest.raises(ValueError, match="at least 3 x 3"):
        metrics.edge_preservation(GOOD[..., :2], GOOD[..., :2])
    with pytest.raises(ValueError, match=r"sr: expected values in \[0, 1\]"):
        metrics.edge_preservation(GOOD + 2, GOOD)
