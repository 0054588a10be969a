import numpy as np
import pytest
import torch
from scipy import stats

from medsr_lib.restore import networks, noise
from medsr_lib.restore.training import checkpoint, fit, loop

SIZE = (4, 1, 200, 200)


def grey(value=0.5, shape=SIZE):
    return torch.full(shape, value)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_gaussian_noise_has_mean_0_and_its_sigma():
    y = noise.add(grey(0.02), sigma=0.1, generator=rng())
    assert y.mean().item() == pytest.approx(0.02, abs=2e-3)
    assert y.std().item() == pytest.approx(0.1, rel=0.01)
    assert y.min() < 0  # not clipped


@pytest.mark.parametrize("x", [0.1, 0.5, 1.0])
def test_poisson_noise_has_the_variance_of_its_counts(x):
    y = noise.add(grey(x), peak=50, generator=rng())
    assert y.mean().item() == pytest.approx(x, rel=0.01)
    assert y.var().item() == pytest.approx(x / 50, rel=0.03)
    assert torch.equal((y * 50).round() / 50, y)


def test_black_counts_no_photon():
    assert not noise.add(grey(0.0), peak=10, generator=rng()).any()


def test_variances_of_mixed_noise_add():
    y = noise.add(grey(0.8), peak=100, sigma=0.05, generator=rng())
    assert y.var().item() == pytest.approx(0.8 / 100 + 0.05**2, rel=0.03)


@pytest.mark.parametrize("x", [0.0, 0.02, 0.05, 0.8])
def test_noise_of_magnitudes_is_that_of_rice(x):
    generators = [rng(i) for i in range(SIZE[0])]
    y = noise.rician(grey(x), sigma=0.05, generators=generators)
    expected = stats.rice(x / 0.05, scale=0.05)
    assert y.mean().item() == pytest.approx(expected.mean(), rel=2e-3)
    assert y.var().item() == pytest.approx(expected.var(), rel=0.02)
    assert y.min() >= 0
    assert stats.kstest(y[0].flatten(), expected.cdf).pvalue > 1e-3


def test_every_image_has_a_generator_of_its_own():
    both = noise.rician(grey()[:2], sigma=0.05, generators=[rng(1), rng(2)])
    assert torch.equal(both[1:], noise.rician(grey()[:1], sigma=0.05, generators=[rng(2)]))
    with pytest.raises(ValueError, match="4 images need as many generators, got 1"):
        noise.rician(grey(), sigma=0.05, generators=[rng()])
    with pytest.raises(ValueError, match="sigma must be a positive number, got 0"):
        noise.rician(grey()[:1], sigma=0, generators=[rng()])


@pytest.mark.parametrize("kind", noise.KINDS)
@pytest.mark.parametrize("level", [0.02, 0.1, 0.3])
def test_a_level_is_the_standard_deviation_at_half_grey(kind, level):
    y = noise.by_name(kind, level=level, seed=0)(grey())
    assert y.std().item() == pytest.approx(level, rel=0.02)


def test_noise_follows_from_seed_and_image_alone(random_images):
    images = random_images(3, 16, 16)
    together = noise.by_name(noise.KINDS, level=(0.02, 0.2), seed=5)(images)
    one = noise.by_name(noise.KINDS, level=(0.02, 0.2), seed=5)(images[1:2])
    assert torch.equal(together[1:2], one)
    assert not torch.equal(noise.by_name("gaussian", level=0.1, seed=6)(images), together)


def test_unlike_images_get_unlike_noise(random_images):
    images = random_images(2, 16, 16)
    found = noise.by_name("gaussian", level=0.1, seed=0)(images) - images
    assert abs(np.corrcoef(found.flatten(1).numpy())[0, 1]) < 0.2


def test_shapes_of_the_same_pixels_are_different_images():
    wide, high = grey(0.5, (1, 1, 4, 8)), grey(0.5, (1, 1, 8, 4))
    found = [noise.by_name("gaussian", level=0.1, seed=0)(x).flatten() for x in (wide, high)]
    assert not torch.equal(*found)


def test_rounding_of_another_device_changes_no_noise(random_images):
    image = (255 * random_images(1, 16, 16)).round() / 255
    shaken = (image + 1e-7).clamp(0, 1)
    a, b = (noise.by_name("gaussian", level=0.1, seed=0)(x) for x in (image, shaken))
    assert torch.allclose(a, b, atol=1e-6)


def test_another_level_scales_the_same_random_numbers(random_images):
    x = random_images(1, 16, 16)
    faint, strong = (noise.by_name("gaussian", level=v, seed=0)(x) - x for v in (0.05, 0.1))
    assert torch.allclose(2 * faint, strong, atol=1e-6)


def test_levels_are_drawn_from_the_whole_range_on_a_logarithmic_scale():
    x = torch.linspace(0.3, 0.7, 300).view(-1, 1, 1, 1).expand(-1, 1, 40, 40)
    y = noise.by_name("gaussian", level=(0.01, 0.16), seed=0)(x)
    sigmas = (y - x).flatten(1).std(1)
    assert sigmas.log2().mean().exp2().item() == pytest.approx(0.04, rel=0.15)
    assert sigmas.min() < 0.012
    assert sigmas.max() > 0.14


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_gaussian_noise_is_estimated_from_the_image(sigma, random_images):
    smooth = torch.nn.functional.interpolate(random_images(2, 8, 8), (128, 128), mode="bicubic")
    y = noise.add(smooth.clamp(0, 1), sigma=sigma, generator=rng())
    assert noise.estimate_sigma(y).tolist() == pytest.approx([sigma] * 2, rel=0.05)
    assert noise.estimate_sigma(grey(0.3)).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "salt", "level": 0.1}, "kind must be one or several of"),
        ({"kind": (), "level": 0.1}, "kind must be"),
        ({"kind": "gaussian", "level": 0}, "level must be a positive number, got 0"),
        ({"kind": "gaussian", "level": (0.2, 0.1)}, "give the lower one first"),
        ({"kind": "gaussian", "level": (0.1, 0.2, 0.3)}, "the lowest and the highest"),
        ({"kind": "poisson", "level": float("nan")}, "level must be"),
    ],
)
def test_what_is_no_noise_is_refused_before_the_training(arguments, words):
    with pytest.raises(ValueError, match=words):
        noise.by_name(**arguments, seed=0)


def test_images_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        noise.by_name("gaussian", level=0.1, seed=0)(grey(3.0))
    with pytest.raises(ValueError, match="peak must be"):
        noise.add(grey(), peak=0, generator=rng())


@pytest.fixture
def train(random_images, monkeypatch):
    """`train(path, stop)` trains a small denoiser, saves after every step, and fails at one."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    images = random_images(8, 40, 40)
    to_noisy = noise.by_name(noise.KINDS, level=(0.02, 0.2), seed=3)

    def run(path, stop=None):
        steps = iter(range(100))

        def degrade(hr):
            if hr.shape == (4, 1, 16, 16) and next(steps) == stop:
                raise KeyboardInterrupt
            return to_noisy(hr)

        torch.manual_seed(0)
        network = networks.DenoisingAutoencoder(width=4, depth=1)
        return network, fit.fit(
            network,
            images,
            degrade=degrade,
            steps=12,
            seed=0,
            recipe=fit.Recipe(batch=4),
            crop=16,
            checkpoint=path,
            validation=images[:2].flip(-1),
            validate_every=4,
            device="cpu",
            progress=False,
        )

    return run


def test_a_denoiser_trains_on_as_if_it_had_never_been_interrupted(tmp_path, train):
    whole, history = train(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts.pt", stop=7)
    assert checkpoint.load(tmp_path / "parts.pt")["step"] == 7
    resumed, again = train(tmp_path / "parts.pt")
    assert networks.fingerprint(resumed) == networks.fingerprint(whole)
    assert again.table.equals(history.table)
    assert again.validation.equals(history.validation)


def test_noise_tells_what_it_is():
    assert str(noise.by_name("mixed", level=0.1, seed=0)) == "mixed noise of level 0.1"
    ways = [noise.by_name("mixed", level=level, seed=0) for level in ((0.1, 0.2), [0.1, 0.2])]
    assert ways[0] == ways[1]
    assert (ways[0].scale, ways[0].name) == (1, "mixed noise of level 0.1 to 0.2")
