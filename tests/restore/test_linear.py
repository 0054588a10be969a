from functools import partial

import numpy as np
import pytest
import torch
from scipy import linalg

from medsr_lib.case import Case
from medsr_lib.restore import degrade, linear, networks, resample


@pytest.fixture
def images():
    """(6, 1, 72, 72) of coarse shapes with noise, in [0, 1]."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 1, 12, 12, generator=rng)
    fine = torch.nn.functional.interpolate(coarse, (72, 72), mode="bicubic").clamp(0, 1)
    return 0.9 * fine + 0.1 * torch.rand(6, 1, 72, 72, generator=rng)


def fitted(images, **changes):
    settings = {"degrade": degrade.by_name("bicubic", scale=2), "scale": 2, "taps": 5}
    return linear.fit(images, **settings | changes, progress=False)


def test_what_is_linear_is_found_again():
    lr = torch.rand(3, 1, 30, 30, generator=torch.Generator().manual_seed(1))
    hr = resample.nearest(lr, scale=2)
    found = fitted(hr, degrade=lambda x: x[..., ::2, ::2])
    expected = torch.zeros(4, 1, 5, 5)
    expected[:, 0, 2, 2] = 1
    torch.testing.assert_close(found.weights, expected, atol=1e-5, rtol=0)


def test_it_is_the_least_squares_solution_of_a_second_program(images):
    to_lr = degrade.by_name("bicubic", scale=2)
    a, b = [], []
    for hr in images:
        lr = np.pad(to_lr(hr[None])[0, 0].double().numpy(), 2, mode="edge")
        taps = np.lib.stride_tricks.sliding_window_view(lr, (5, 5)).reshape(-1, 25)
        a.append(taps)
        b.append(hr[0, 1::2, ::2].double().numpy().ravel())  # below left in each LR pixel
    expected = linalg.lstsq(np.concatenate(a), np.concatenate(b))[0].reshape(5, 5)
    found = fitted(images).weights[2, 0]
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("name", ["bicubic", "blur", "kspace"])
def test_it_beats_every_interpolation_where_it_was_fitted(images, name):
    to_lr = degrade.by_name(name, scale=2)
    ways = [fitted(images, degrade=to_lr, taps=11)]
    ways += [partial(getattr(resample, up), scale=2) for up in ("bicubic", "lanczos", "zero_fill")]
    best, *others = [(way(to_lr(images)) - images).square().mean() for way in ways]
    assert best < min(others)


def test_fitted_with_noise_it_smooths_more_and_is_the_better_of_two_there(images):
    to_lr = degrade.by_name("bicubic", scale=2, noise=0.1, seed=0)
    clean, noisy, again = (
        fitted(images),
        fitted(images, degrade=to_lr),
        fitted(images, degrade=to_lr),
    )
    assert torch.equal(noisy.weights, again.weights)
    assert noisy.weights.square().sum() < 0.7 * clean.weights.square().sum()
    fresh = degrade.by_name("bicubic", scale=2, noise=0.1, seed=1)(images)
    errors = [(f(fresh) - images).square().mean() for f in (noisy, clean)]
    assert errors[0] < 0.9 * errors[1]


def test_it_is_saved_and_clipped_as_networks_are(images, tmp_path):
    found = fitted(images)
    networks.save(found, tmp_path / "linear.pt", scale=2, degradation="bicubic")
    again, lr = networks.load(tmp_path / "linear.pt", scale=2), torch.rand(1, 1, 9, 8).round()
    assert torch.equal(again(lr), found(lr))
    assert again(lr).shape == (1, 1, 18, 16)
    assert again(lr).aminmax() == (0, 1)


def test_it_refuses_too_little_and_what_it_cannot_be(images):
    with pytest.raises(ValueError, match="1 images have 36 LR pixels, fewer than the 121 weights"):
        fitted(images[:1, :, :12, :12], taps=11)
    with pytest.raises(ValueError, match="taps must be odd, so that there is a middle, got 4"):
        fitted(images, taps=4)
    with pytest.raises(ValueError, match="scale must be one of"):
        fitted(images, scale=5)


def cases_of(images, patients):
    return [Case(str(i), p, "", image[0]) for i, (image, p) in enumerate(zip(images, patients))]


def test_cases_and_images_give_the_same_filter_and_it_takes_so_many_evenly(images, monkeypatch):
    cases = cases_of(images, "abcdef")
    assert torch.equal(fitted(cases).weights, fitted(images).weights)
    monkeypatch.setattr(linear, "MOST", 3)
    assert torch.equal(fitted(images).weights, fitted(images[::2]).weights)


def test_each_patient_is_restored_by_the_filter_of_the_others(images):
    cases = cases_of(images, "aabbcc")
    settings = {"degrade": degrade.by_name("bicubic", scale=2), "scale": 2, "taps": 5}
    found = linear.cross_fit(cases, **settings, progress=False)
    others = fitted(images[2:])
    torch.testing.assert_close(found.of(cases[1]).weights, others.weights, atol=1e-5, rtol=0)
    assert not torch.equal(found.of(cases[2]).weights, others.weights)
    with pytest.raises(TypeError, match="differs by patient"):
        found(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="patient z was not"):
        found.of(Case("9", "z", "", images[0, 0]))
    with pytest.raises(ValueError, match="all 6 cases are of one"):
        linear.cross_fit(cases_of(images, "aaaaaa"), **settings, progress=False)


def test_at_scale_1_it_is_a_filter_against_noise(images):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2)) * 0.1
    noisy = iter((images + noise).split(1))
    found = fitted(images, degrade=lambda hr: next(noisy), scale=1)
    left = (found(images + noise) - images).square().mean()
    assert left < 0.8 * noise.square().mean()
