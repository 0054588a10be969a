import numpy as np
import pytest
import torch
from scipy import ndimage

from medsr_lib.assess.fidelity.edges import edge_preservation


def test_equal_images_have_all_edges(random_images):
    x = random_images(2, 20, 24)
    assert edge_preservation(x, x).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_brightness_and_contrast_do_not_matter_and_a_negative_turns_the_sign(random_images):
    x = random_images(1, 20, 24)
    assert edge_preservation(0.3 * x + 0.5, x).item() == pytest.approx(1, abs=1e-5)
    assert edge_preservation(1 - x, x).item() == pytest.approx(-1, abs=1e-5)


def test_a_number_by_hand():
    hr, sr = torch.zeros(2, 1, 1, 3, 4)
    hr[0, 0, 1, 1] = 1.0  # Laplacian of the two inner pixels: -4, 1
    sr[0, 0, 1, 2] = 0.5  # 0.5, -2
    assert edge_preservation(sr, hr).item() == pytest.approx(-1)
    hr, sr = torch.zeros(2, 1, 1, 3, 5)
    hr[0, 0, 1, 1] = 1.0  # -4, 1, 0; less the mean of -1: -3, 2, 1
    sr[0, 0, 1, 2] = 1.0  # 1, -4, 1; less the mean of -2/3: 5/3, -10/3, 5/3
    expected = (-5 - 20 / 3 + 5 / 3) / np.sqrt(14 * 150 / 9)
    assert edge_preservation(sr, hr).item() == pytest.approx(expected, abs=1e-6)


def test_it_is_the_correlation_of_scipys_laplacians(random_images):
    hr, sr = random_images(2, 30, 26), random_images(2, 30, 26, seed=1)
    for found, a, b in zip(edge_preservation(sr, hr), hr, sr):
        detail = [ndimage.laplace(x[0].double().numpy())[1:-1, 1:-1].ravel() for x in (a, b)]
        assert found.item() == pytest.approx(np.corrcoef(*detail)[0, 1], abs=1e-6)


def test_noise_and_blur_lower_it(random_images):
    x = torch.nn.functional.interpolate(random_images(1, 16, 16), (64, 64), mode="bicubic")
    x = x.clamp(0, 1)
    noisy = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(
        0, 1
    )
    blurred = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 3, 3)))
    assert edge_preservation(noisy, x).item() < 0.5
    assert edge_preservation(blurred, x).item() < 0.9


def test_without_detail_it_is_not_defined():
    assert edge_preservation(torch.rand(1, 1, 9, 9), torch.full((1, 1, 9, 9), 0.3)).isnan().all()


def test_what_cannot_be_compared_is_refused(random_images):
    x = random_images(1, 9, 9)
    with pytest.raises(ValueError, match="they must be equal"):
        edge_preservation(x, x[..., :8])
    with pytest.raises(ValueError, match="at least 3 x 3"):
        edge_preservation(x[..., :2], x[..., :2])
    with pytest.raises(ValueError, match=r"sr: expected values in \[0, 1\]"):
        edge_preservation(x + 2, x)
