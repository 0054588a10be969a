import pytest
import torch

from medsr_lib.restore import networks, noise
from medsr_lib.restore.networks import DenoisingAutoencoder
from medsr_lib.restore.training import fit


def test_it_has_the_stated_parameters():
    assert networks.n_parameters(DenoisingAutoencoder()) == 93_937


def test_untrained_it_gives_back_what_it_gets(random_images):
    images = random_images(2, 21, 34)
    noisy = noise.by_name("gaussian", level=0.2, seed=0)(images)
    network = DenoisingAutoencoder()
    assert torch.allclose(network.train()(noisy), noisy)
    assert torch.allclose(network.eval()(noisy), noisy.clamp(0, 1))


@pytest.mark.parametrize("shape", [(4, 4), (17, 30), (33, 4)])
def test_any_size_comes_back_in_its_size(shape):
    assert DenoisingAutoencoder(width=2)(torch.rand(1, 1, *shape)).shape == (1, 1, *shape)


def test_a_noise_free_image_is_no_division_by_zero():
    network = trained(steps=1)
    found = network(torch.full((1, 1, 16, 16), 0.4))
    assert torch.isfinite(found).all()


def test_images_of_a_batch_do_not_mix(random_images):
    network = trained(steps=2)
    noisy = noise.by_name("poisson", level=0.1, seed=0)(random_images(3, 16, 16))
    assert torch.allclose(network(noisy)[1:2], network(noisy[1:2]), atol=1e-6)


def trained(steps):
    """A small network in evaluation mode."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 3, 48), torch.linspace(0, 2, 48), indexing="ij")
    images = torch.stack([(0.5 + 0.4 * torch.sin(x * k + y))[None] for k in range(1, 9)])
    network = DenoisingAutoencoder(width=8)
    fit.fit(
        network,
        images,
        degrade=noise.by_name("gaussian", level=(0.05, 0.2), seed=0),
        steps=steps,
        seed=0,
        recipe=fit.Recipe(batch=8),
        crop=32,
        device="cpu",
        progress=False,
    )
    return network


def test_it_learns_to_denoise_at_levels_it_is_not_told():
    network = trained(steps=150)
    x = torch.linspace(0.2, 0.8, 64).repeat(64, 1)[None, None]
    for level in (0.05, 0.2):
        noisy = noise.by_name("gaussian", level=level, seed=1)(x)
        before, after = ((y - x).square().mean() for y in (noisy, network(noisy)))
        assert after < 0.6 * before


def test_it_comes_back_from_its_file(tmp_path):
    network = trained(steps=2)
    networks.save(network, tmp_path / "a.pt", size=48, noise="gaussian")
    found, x = networks.load(tmp_path / "a.pt", size=48), torch.rand(1, 1, 20, 20)
    assert found.arguments == {"width": 8, "depth": 2}
    assert torch.equal(found(x), network(x))
    with pytest.raises(ValueError, match="size is 48, not 64"):
        networks.load(tmp_path / "a.pt", size=64)


@pytest.mark.parametrize("name", ["width", "depth"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_arguments_that_are_no_counts_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        DenoisingAutoencoder(**{name: value})


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="at least 8 x 8, got 7 x 40"):
        DenoisingAutoencoder(width=2, depth=3)(torch.rand(1, 1, 7, 40))
    with pytest.raises(ValueError, match="expected shape"):
        DenoisingAutoencoder()(torch.rand(1, 3, 16, 16))
    with pytest.raises(TypeError, match="positional"):
        DenoisingAutoencoder(16)
