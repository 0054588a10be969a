"""Degradations, interpolations, and that what goes down and up again stays where it was."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from medsr_lib.assess.restored import restored
from medsr_lib.case import Case
from medsr_lib.restore import degrade, resample

SCALES = [2, 3, 4, 8]
DOWN = {name: partial(degrade.by_name, name) for name in ("bicubic", "blur", "kspace")}
UP = {name: getattr(resample, name) for name in ("nearest", "bicubic", "lanczos", "zero_fill")}
NAIVE = {
    "slicing": lambda hr, scale: hr[..., ::scale, ::scale],
    "average of one pixel more": lambda hr, scale: torch.nn.functional.avg_pool2d(
        hr[..., : -scale - 1, : -scale - 1], scale + 1, scale
    ),
}


@pytest.fixture
def blob():
    """(1, 1, 240, 216), a Gaussian of sigma 13 at no round place, dark before the frame."""
    y, x = torch.meshgrid(torch.arange(240.0), torch.arange(216.0), indexing="ij")
    return 0.8 * torch.exp(-((y - 117.3) ** 2 + (x - 106.8) ** 2) / (2 * 13**2))[None, None]


def centroid(image):
    """Row and column, in pixels."""
    weight = image[0, 0].double() / image.double().sum()
    return torch.stack([(weight.sum(1 - d) * torch.arange(weight.shape[d])).sum() for d in (0, 1)])


def pillow(image, size, kernel):
    """Resized by a third program, (1, 1, H, W) -> the same."""
    resized = Image.fromarray(image[0, 0].numpy()).resize(size[::-1], kernel)
    return torch.from_numpy(np.array(resized))[None, None]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("up", UP)
@pytest.mark.parametrize("down", DOWN)
def test_down_and_up_again_shifts_nothing(blob, down, up, scale):
    sr = UP[up](DOWN[down](scale=scale)(blob), scale=scale)
    assert (centroid(sr) - centroid(blob)).abs().max() < 0.05


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("up", UP)
@pytest.mark.parametrize("naive", NAIVE)
def test_a_shifted_degradation_is_noticed(blob, naive, up, scale):
    lr = NAIVE[naive](blob, scale)
    assert (centroid(UP[up](lr, scale=scale)) - centroid(blob)).abs().max() > 0.3


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DOWN)
@pytest.mark.parametrize("size", [(48, 72), (53, 41)])
def test_lr_has_the_size_the_scale_leaves(random_images, name, scale, size):
    lr = DOWN[name](scale=scale)(random_images(2, *size))
    assert lr.shape == (2, 1, size[0] // scale, size[1] // scale)
    assert lr.dtype == torch.float32


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", UP)
def test_sr_has_the_size_times_the_scale_and_stays_in_range(name, scale):
    lr = torch.rand(2, 1, 7, 10, generator=torch.Generator().manual_seed(0)).round()
    sr = UP[name](lr, scale=scale)
    assert sr.shape == (2, 1, 7 * scale, 10 * scale)
    assert sr.min() >= 0
    assert sr.max() <= 1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_constant_images_stay_constant(scale, value):
    hr = torch.full((1, 1, 48, 72), value)
    for down in DOWN.values():
        lr = down(scale=scale)(hr)
        torch.testing.assert_close(lr, torch.full_like(lr, value), rtol=0, atol=1e-5)
        for up in UP.values():
            torch.testing.assert_close(up(lr, scale=scale), hr, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", DOWN)
def test_sizes_the_scale_does_not_divide_are_cropped_around_the_centre(random_images, name):
    hr, down = random_images(1, 51, 46), DOWN[name](scale=4)
    torch.testing.assert_close(down(hr), down(hr[..., 1:49, 1:45]), rtol=0, atol=0)


@pytest.mark.parametrize("name", DOWN)
def test_degradations_are_linear(random_images, name):
    a, b = random_images(2, 32, 40, dtype=torch.float64).split(1)
    down = DOWN[name](scale=4)
    torch.testing.assert_close(down(3 * a - b), 3 * down(a) - down(b))


# bicubic and Lanczos against other programs


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_shrinks_like_pillow(random_images, scale):
    hr = random_images(1, 48, 72)
    lr = degrade.bicubic(hr, scale=scale)
    expected = pillow(hr, lr.shape[-2:], Image.Resampling.BICUBIC)
    torch.testing.assert_close(lr, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_lanczos_enlarges_like_pillow(random_images, scale):
    lr = random_images(1, 20, 26)
    sr = resample.lanczos(lr, scale=scale)
    expected = pillow(lr, sr.shape[-2:], Image.Resampling.LANCZOS).clamp(0, 1)
    torch.testing.assert_close(sr, expected, rtol=0, atol=1e-5)


def keys(distance, a):
    """The cubic kernel of Keys 1981, equation (4)."""
    d = abs(distance)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_bicubic_enlarges_by_the_kernel_of_keys():
    lr = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    lr[..., 4, 4] = 1
    sr = resample.bicubic(lr, scale=2)[0, 0]
    at = (torch.arange(18) + 0.5) / 2 - 0.5
    along = torch.tensor([keys(d, a=-0.75) for d in (at - 4).tolist()], dtype=torch.float64)
    torch.testing.assert_close(sr, torch.outer(along, along).clamp(0, 1))


def test_bicubic_enlarges_like_torch(random_images):
    lr = random_images(1, 12, 15)
    expected = torch.nn.functional.interpolate(lr, (36, 45), mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(resample.bicubic(lr, scale=3), expected)


def test_nearest_repeats_every_pixel(random_images):
    lr = random_images(1, 5, 7)
    expected = lr.repeat_interleave(3, -2).repeat_interleave(3, -1)
    assert torch.equal(resample.nearest(lr, scale=3), expected)


# blur


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_blur_at_an_odd_scale_is_scipys_gaussian(random_images, sigma):
    hr = random_images(1, 48, 60, dtype=torch.float64)
    lr = degrade.blur(hr, scale=3, sigma=sigma)
    smooth = ndimage.gaussian_filter(
        hr[0, 0].numpy(), sigma, mode="nearest", radius=math.ceil(4 * sigma)
    )
    np.testing.assert_allclose(lr[0, 0], smooth[1::3, 1::3], atol=1e-12)


def test_blur_at_an_even_scale_is_a_gaussian_between_the_pixels():
    hr = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    hr[..., 32, 32] = 1
    at = 4 * torch.arange(16, dtype=torch.float64) + 1.5 - 32  # of LR pixels, from the peak
    g = torch.exp(-(at**2) / (2 * 2.0**2)) / (2.0 * (2 * torch.pi) ** 0.5)
    lr = degrade.blur(hr, scale=4, sigma=2.0)[0, 0]
    torch.testing.assert_close(lr, torch.outer(g, g), rtol=0, atol=2e-5)


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan")])
def test_blur_refuses_a_sigma_that_is_not_positive(sigma):
    with pytest.raises(ValueError, match="sigma must be a positive number"):
        degrade.blur(torch.zeros(1, 1, 16, 16), scale=2, sigma=sigma)


# k-space


SIZES = [(48, 72), (40, 48), (72, 120), (24, 24)]


@pytest.fixture(params=[(s, size) for s in SCALES for size in SIZES if not (size[0] % s)])
def project(request):
    """P = zero filling after cropping k-space, and two images it takes."""
    scale, (height, width) = request.param
    width -= width % scale
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, height, width, generator=rng, dtype=torch.float64).split(1)

    return partial(resample.measured_part, scale=scale), *images


def test_kspace_and_zero_filling_project_orthogonally(project):
    p, a, b = project
    torch.testing.assert_close(p(p(a)), p(a))
    torch.testing.assert_close((p(a) * b).sum(), (a * p(b)).sum())
    assert ((a - p(a)) * p(b)).sum().abs() < 1e-9 * a.norm() * b.norm()
    assert 0.1 < p(a).norm() / a.norm() < 1


def test_the_measured_part_of_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="scale 4 does not divide 48 x 50"):
        resample.measured_part(torch.zeros(1, 1, 48, 50), scale=4)


@pytest.mark.parametrize(("size", "scale"), [((45, 63), 3), ((35 * 2, 27 * 2), 2), ((9, 15), 3)])
def test_kspace_projects_at_odd_sizes_too(size, scale):
    hr = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lr = degrade.kspace(hr, scale=scale)
    sr = resample.zero_fill(lr, scale=scale, clip=False)
    torch.testing.assert_close(degrade.kspace(sr, scale=scale), lr)
    assert ((hr - sr) * sr).sum().abs() < 1e-9 * hr.square().sum()


@pytest.mark.parametrize("scale", SCALES)
def test_kspace_keeps_what_it_measures_and_drops_the_rest(scale):
    n = 24 * scale
    at = torch.arange(n, dtype=torch.float64) / n
    for cycles, kept in ((0, 1), (3, 1), (11, 1), (12, 0), (12 * scale - 1, 0)):
        wave = 0.5 * torch.cos(2 * torch.pi * cycles * at + 0.3).expand(1, 1, n, n)
        back = resample.zero_fill(degrade.kspace(wave, scale=scale), scale=scale, clip=False)
        torch.testing.assert_close(back, kept * wave, rtol=0, atol=1e-9)


def test_kspace_lr_samples_a_smooth_wave_at_the_centres_of_its_pixels():
    at = torch.arange(64, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 3 * at / 64).expand(1, 1, 64, 64)
    centres = 4 * torch.arange(16, dtype=torch.float64) + 1.5
    expected = torch.cos(2 * torch.pi * 3 * centres / 64).expand(1, 1, 16, 16)
    torch.testing.assert_close(degrade.kspace(wave, scale=4), expected)


def test_zero_fill_clips_unless_told_otherwise():
    lr = torch.zeros(1, 1, 12, 12)
    lr[..., 6:] = 1
    assert resample.zero_fill(lr, scale=4).aminmax() == (0, 1)
    assert resample.zero_fill(lr, scale=4, clip=False).min() < -0.02


# names and bad input


def test_by_name_gives_a_function_of_hr_alone(random_images):
    hr = random_images(1, 32, 32)
    assert torch.equal(degrade.by_name("kspace", scale=4)(hr), degrade.kspace(hr, scale=4))
    assert torch.equal(degrade.by_name("blur", scale=4)(hr), degrade.blur(hr, scale=4, sigma=2.0))
    assert torch.equal(
        degrade.by_name("blur", scale=4, sigma=0.9)(hr), degrade.blur(hr, scale=4, sigma=0.9)
    )


def test_a_degradation_prints_itself_and_cannot_be_changed():
    blur = degrade.by_name("blur", scale=4)
    assert (str(blur), str(degrade.by_name("kspace", scale=2))) == ("blur ×4, sigma 2", "kspace ×2")
    assert blur == degrade.Degradation("blur", 4, 2.0)
    with pytest.raises(AttributeError, match="cannot assign"):
        blur.scale = 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"name": "area", "scale": 2},
            "no degradation 'area'; there are 'bicubic', 'blur', 'kspace'",
        ),
        ({"name": "bicubic", "scale": 5}, r"scale must be one of \(2, 3, 4, 8\), got 5"),
        ({"name": "kspace", "scale": 2, "sigma": 1.0}, "sigma belongs to the degradation 'blur'"),
        ({"name": "kspace", "scale": 2, "noise": -0.1, "seed": 0}, "noise must be 0 or more"),
        ({"name": "kspace", "scale": 2, "noise": 0.1}, "seed must be a whole number of at least 0"),
    ],
)
def test_by_name_refuses_what_does_not_exist(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        degrade.by_name(**arguments)


# the noise of MRI


def noisy(name="kspace", noise=0.01, **changes):
    return degrade.by_name(name, **({"scale": 2, "noise": noise, "seed": 3} | changes))


def case(name, image):
    return Case(name, "a patient", "", image[0, 0])


@pytest.mark.parametrize("name", DOWN)
def test_without_noise_nothing_changes(random_images, name):
    silent, clean = noisy(name, noise=0.0), degrade.by_name(name, scale=2)
    hr = random_images(2, 16, 16)
    assert silent == clean == noisy(name).clean
    for function in (silent, silent.of(case("1", hr)), silent.keyed(["a", "b"])):
        assert torch.equal(function(hr), degrade.FUNCTIONS[name](hr, scale=2, **sigma_of(clean)))


def sigma_of(degradation):
    return {} if degradation.sigma is None else {"sigma": degradation.sigma}


def test_noise_has_the_stated_sigma_in_lr():
    hr = torch.full((1, 1, 400, 400), 0.5)
    added = noisy(noise=0.02)(hr) - 0.5
    assert added.std().item() == pytest.approx(0.02, rel=0.02)
    assert added.mean().item() == pytest.approx(0.02**2 / (2 * 0.5), abs=2e-4)  # Rice: s^2 / 2x


def test_noise_of_a_case_is_its_own_in_any_order_and_batch(random_images):
    hr = random_images(4, 16, 24)
    cases = [case(str(i), image[None]) for i, image in enumerate(hr)]
    methods = {"bicubic": partial(resample.bicubic, scale=2)}
    loop = partial(restored, methods, degrade=noisy(), scale=2, device="cpu", progress=False)
    alone = {c.id: b.lr[0] for b in loop(cases) for c in b.cases}
    turned = {c.id: lr for b in loop(cases[::-1], batch=3) for c, lr in zip(b.cases, b.lr)}
    assert all(torch.equal(alone[i], turned[i]) for i in alone)
    draws = [alone[c.id] - noisy().clean(c.image[None, None])[0] for c in cases]
    assert np.abs(np.corrcoef([d.flatten() for d in draws]) - np.eye(4)).max() < 0.3


def test_noise_follows_from_the_seed_and_the_id_whatever_was_put_in(random_images):
    hr = random_images(1, 64, 64).clamp(0.2, 0.8)
    one = case("1", hr)
    ours, other = (noisy(noise=1e-3, seed=s).of(one)(hr) for s in (3, 4))
    assert not torch.equal(ours, other)
    brighter = one.altered(one.image + 0.1, "brightened")
    shifted = noisy(noise=1e-3).of(brighter)(brighter.image[None, None])
    torch.testing.assert_close(shifted - ours, torch.full_like(ours, 0.1), atol=1e-5, rtol=0)
    assert not torch.equal(noisy(noise=1e-3).of(case("2", hr))(hr), ours)


def test_another_noise_scales_the_same_draw(random_images):
    hr = random_images(1, 64, 64).clamp(0.2, 0.8)
    clean, faint, strong = (noisy(noise=n).of(case("1", hr))(hr) for n in (0.0, 1e-4, 2e-4))
    torch.testing.assert_close(2 * (faint - clean), strong - clean, atol=1e-6, rtol=0)


def test_called_alone_an_image_has_the_same_noise_again_and_in_any_batch(random_images):
    hr = random_images(3, 16, 16)
    to_lr = noisy()
    assert torch.equal(to_lr(hr)[1:2], to_lr(hr[1:2]))
    a, b = (to_lr(x) - to_lr.clean(x) for x in (hr[:1], hr[1:2]))
    assert not torch.allclose(a, b, atol=1e-3)


def test_a_degradation_names_its_noise():
    assert str(noisy(scale=4)) == "kspace ×4, noise 1 %"
    assert str(noisy("blur", noise=0.005)) == "blur ×2, sigma 1, noise 0.5 %"
    assert (noisy().label, noisy().clean.label) == ("kspace, noise 1 %", "kspace")
    assert noisy() != noisy(seed=4)
    with pytest.raises(ValueError, match="a seed belongs to noise"):
        degrade.Degradation("kspace", 2, seed=1)


ALL = {
    "degrade.bicubic": degrade.bicubic,
    "degrade.blur": partial(degrade.blur, sigma=1.0),
    "degrade.kspace": degrade.kspace,
    **UP,
}


@pytest.mark.parametrize("scale", [0, 1, 5, -2, 16, 2.0, "4", None])
@pytest.mark.parametrize("name", ALL)
def test_refuses_other_scales(name, scale):
    with pytest.raises(ValueError, match=r"scale must be one of \(2, 3, 4, 8\), got"):
        ALL[name](torch.zeros(1, 1, 16, 16), scale=scale)


@pytest.mark.parametrize("name", ALL)
def test_refuses_what_is_no_image(name):
    with pytest.raises(TypeError, match=r"expected floating point in \[0, 1\], got torch\.int16"):
        ALL[name](torch.zeros(1, 1, 16, 16, dtype=torch.int16), scale=2)
    with pytest.raises(TypeError, match="got ndarray"):
        ALL[name](np.zeros((1, 1, 16, 16), np.float32), scale=2)
    with pytest.raises(ValueError, match=r"expected shape \(B, 1, H, W\), got \(1, 16, 16\)"):
        ALL[name](torch.zeros(1, 16, 16), scale=2)


@pytest.mark.parametrize("name", DOWN)
def test_refuses_an_image_smaller_than_the_scale(name):
    with pytest.raises(ValueError, match="an image of 7 x 20 pixels is smaller than scale 8"):
        DOWN[name](scale=8)(torch.zeros(1, 1, 7, 20))
