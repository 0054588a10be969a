import hashlib
import math
import pickle
import urllib.error

import apart
import pytest
import torch
from torch import nn

from medsr_lib.restore.networks import losses
from medsr_lib.restore.networks.losses import VGG19, PerceptualLoss, vgg19
from medsr_lib.restore.networks.readers import LesionClassifier


class Twice(nn.Module):
    """Features by hand: x and 3 x, each the mean of 2 x 2 pixels."""

    def forward(self, x):
        x = nn.functional.avg_pool2d(x, 2)
        return torch.cat((x, 3 * x), 1)


def classifier():
    torch.manual_seed(0)
    return LesionClassifier(classes=["glioma", "pituitary"], width=4)


def pair(random_images, n=3):
    return random_images(n, 40, 48), random_images(n, 40, 48, seed=1)


@pytest.fixture
def small(monkeypatch):
    """A VGG19 of few channels in the groups, so that its file is small."""
    monkeypatch.setattr(losses, "_VGG19_GROUPS", ((2,) * 2, (2,) * 2, (3,) * 4, (3,) * 4, (5,) * 4))


@pytest.fixture
def weights(small, tmp_path, monkeypatch):
    """A file as torchvision's, whose SHA-256 is the right one."""
    torch.manual_seed(0)
    state = VGG19().state_dict() | {"classifier.0.weight": torch.zeros(4, 4)}
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setattr(losses, "VGG19_SHA256", digest(tmp_path / "weights.pth")[:8])
    return tmp_path / "weights.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Torch.hub's folder of checkpoints, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_vgg19_is_laid_out_as_torchvisions():
    network = VGG19()
    names = list(network.state_dict())
    convolutions = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert names == [f"features.{i}.{k}" for i in convolutions for k in ("weight", "bias")]
    assert sum(p.numel() for p in network.parameters()) == 20_024_384  # vgg19().features
    assert isinstance(network.features[35], nn.ReLU)
    assert len(network.features) == 36


def test_vgg19_has_512_features_for_16_pixels():
    features = VGG19()(torch.rand(2, 1, 48, 40))
    assert features.shape == (2, 512, 3, 2)
    assert features.min() >= 0


def test_vgg19_repeats_and_normalises(small):
    network, images = VGG19(), torch.rand(2, 1, 32, 32)
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rgb = (images.repeat(1, 3, 1, 1) - mean.view(3, 1, 1)) / sd.view(3, 1, 1)
    assert torch.equal(network(images), network.features(rgb))


def test_vgg19_reads_a_file(weights):
    network, stored = vgg19(weights), torch.load(weights)
    assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_vgg19_is_fetched_once_into_torch_hubs_folder(weights, hub, monkeypatch):
    asked = []

    def fetch(url, target, hash_prefix):
        asked.append((url, hash_prefix))
        weights.rename(target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        vgg19()
    url = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
    assert asked == [(url, losses.VGG19_SHA256)]
    assert [path.name for path in hub.iterdir()] == ["vgg19-dcbb9e9d.pth"]


def test_vgg19_refuses_another_hash_and_a_missing_file(small, tmp_path):
    torch.save(VGG19().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"begins with dcbb9e9d, found .*; remove the file"):
        vgg19(tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file; fetch it from https"):
        vgg19(tmp_path / "none.pth")


@pytest.mark.parametrize("kind", [urllib.error.URLError, ConnectionResetError, TimeoutError])
def test_without_a_network_path_is_the_way_out(hub, monkeypatch, kind):
    def fail(*_):
        raise kind("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConnectionError, match=r"no route.*give its place as path="):
        vgg19()


def test_a_fetched_file_of_another_hash_is_refused_and_not_kept(tmp_path, hub, monkeypatch):
    (tmp_path / "source").write_bytes(b"something else")
    monkeypatch.setattr(losses, "VGG19_URL", (tmp_path / "source").as_uri())
    with pytest.raises(ValueError, match=r"invalid hash value .*try again, or give another file"):
        vgg19()
    assert list(hub.iterdir()) == []


def test_vgg19_runs_no_code_from_a_file(tmp_path, monkeypatch):
    path = tmp_path / "code.pth"
    torch.save({"features.0.weight": print}, path)
    monkeypatch.setattr(losses, "VGG19_SHA256", digest(path)[:8])
    with pytest.raises(pickle.UnpicklingError):
        vgg19(path)


def test_content_by_hand():
    hr, sr = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    sr[1, 0, :2, :2] = 0.4  # one of four features: (0.4^2 + 1.2^2) / 2 = 0.8
    content = PerceptualLoss(Twice(), name="twice", normalizer=2.0)
    torch.testing.assert_close(content.distances(sr, hr), torch.tensor([0.0, 0.1]))
    torch.testing.assert_close(content(sr, hr), torch.tensor(0.05))
    expected = torch.zeros(2, 4, 4)
    expected[1, :2, :2] = 0.4
    torch.testing.assert_close(content.map(sr, hr), expected)


def test_the_map_averages_to_the_distance(random_images):
    sr, hr = pair(random_images)
    content = PerceptualLoss(classifier().features, name="lesions")
    found = content.map(sr, hr)
    assert found.shape == (3, 40, 48)
    torch.testing.assert_close(found.mean((1, 2)), content.distances(sr, hr))


def test_the_map_has_the_images_size_where_the_stride_does_not_divide_it(random_images):
    sr, hr = random_images(1, 35, 46), random_images(1, 35, 46, seed=1)
    assert PerceptualLoss(Twice(), name="twice").map(sr, hr).shape == (1, 35, 46)


def test_relative_to_has_distance_1(random_images):
    sr, hr = pair(random_images)
    absolute = PerceptualLoss(classifier().features, name="lesions", normalizer=3)
    relative = absolute.relative_to(sr, hr)
    assert relative(sr, hr).item() == pytest.approx(1, abs=6e-3)
    assert relative.relative_to(sr, hr).normalizer == relative.normalizer
    assert float(f"{relative.normalizer:.3g}") == relative.normalizer
    assert absolute.normalizer == 3


def test_relative_to_refuses_images_that_do_not_differ(random_images):
    hr = random_images(1, 40, 48)
    with pytest.raises(ValueError, match=r"at distance 0\.0; give degraded images"):
        PerceptualLoss(Twice(), name="twice").relative_to(hr, hr)


def test_the_gradient_reaches_sr_alone(random_images):
    sr, hr = (x.requires_grad_() for x in pair(random_images))
    content = PerceptualLoss(classifier().features, name="lesions")
    content(sr, hr).backward()
    assert sr.grad.any()
    assert hr.grad is None
    assert not any(p.requires_grad for p in content.parameters())


def test_the_network_stays_in_evaluation(random_images):
    sr, hr = pair(random_images)
    content = PerceptualLoss(classifier().features, name="lesions")
    before = content(sr, hr)
    content.train()
    assert content.training
    assert not any(m.training for m in content.network.modules())
    assert torch.equal(content(sr, hr), before)


def test_the_network_is_a_copy(random_images):
    sr, hr = pair(random_images)
    network = classifier().train()
    content = PerceptualLoss(network.features, name="lesions")
    before = content(sr, hr)
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    network.stem[0].weight.data.zero_()
    assert torch.equal(content(sr, hr), before)


@pytest.mark.parametrize("of", ["network", "method"])
def test_to_moves_what_is_computed(of):
    content = PerceptualLoss(Twice() if of == "network" else classifier().features, name="a").to(
        "meta"
    )
    assert content(*torch.rand(2, 1, 1, 40, 40, device="meta")).device.type == "meta"


def test_repr_tells_name_features_weights_and_unit():
    network = classifier()
    features, logits = (PerceptualLoss(f, name="lesions") for f in (network.features, network))
    assert repr(features).startswith(
        "PerceptualLoss('lesions', LesionClassifier.features, weights "
    )
    assert repr(features).endswith(", normalizer 1.0)")
    changed = classifier()
    changed.stem[0].weight.data[0] += 1e-6
    others = {repr(logits), repr(PerceptualLoss(changed.features, name="lesions"))}
    others |= {repr(PerceptualLoss(network.features, name="lesions", normalizer=2)), repr(features)}
    assert len(others) == 4


def test_repr_is_the_same_in_another_process():
    code = """
import torch
from medsr_lib.restore.networks.losses import PerceptualLoss
from medsr_lib.restore.networks import LesionClassifier
torch.manual_seed(0)
network = LesionClassifier(classes=["glioma", "pituitary"], width=4)
print(PerceptualLoss(network.features, name="lesions", normalizer=0.1))
"""
    done = apart.run(code)
    assert not done.error
    assert done.out.strip() == repr(
        PerceptualLoss(classifier().features, name="lesions", normalizer=0.1)
    )


@pytest.mark.parametrize("features", [lambda x: x, torch.rand(2).add, "vgg"])
def test_content_refuses_features_of_no_network(features):
    with pytest.raises(TypeError, match="expected a network or a method of one, got"):
        PerceptualLoss(features, name="mine")


@pytest.mark.parametrize("unit", [0, -1.0, math.nan, math.inf])
def test_content_refuses_a_unit_that_is_none(unit):
    with pytest.raises(ValueError, match="normalizer must be a positive number, got"):
        PerceptualLoss(Twice(), name="twice", normalizer=unit)


def test_content_refuses_images_of_two_sizes():
    with pytest.raises(ValueError, match=r"SR is \(1, 1, 8, 8\), HR \(1, 1, 8, 6\)"):
        PerceptualLoss(Twice(), name="twice")(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 6))


def test_discriminator_loss_by_hand():
    real, fake = torch.tensor([[0.0], [math.log(3)]]), torch.tensor([[-math.log(4)]])
    # D(HR) = 1/2 and 3/4, D(SR) = 1/5
    expected = ((math.log(2) + math.log(4 / 3)) / 2 + math.log(5 / 4)) / 2
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected)


def test_generator_loss_by_hand():
    fake = torch.tensor([[0.0], [-math.log(4)]])  # D(SR) = 1/2 and 1/5
    expected = (math.log(2) + math.log(5)) / 2
    assert losses.generator_loss(fake).item() == pytest.approx(expected)


def test_guessing_gives_log_2():
    guess = torch.zeros(4, 1)
    assert losses.discriminator_loss(guess, guess).item() == pytest.approx(math.log(2))
    assert losses.generator_loss(guess).item() == pytest.approx(math.log(2))


def test_adversarial_losses_stay_finite_for_any_logit():
    sure = torch.tensor([[1e4], [-1e4]])
    assert losses.discriminator_loss(sure, sure).isfinite()
    assert losses.generator_loss(sure).isfinite()
