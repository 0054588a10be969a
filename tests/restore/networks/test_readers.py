import pytest
import torch

from medsr_lib.restore import networks
from medsr_lib.restore.networks import LesionClassifier, UNet

LESIONS = ("meningioma", "glioma", "pituitary")


def test_classifier_has_the_documented_parameters():
    assert networks.n_parameters(LesionClassifier(classes=LESIONS)) == 302_963


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (45, 70)])
def test_classifier_gives_one_logit_a_class(size):
    network = LesionClassifier(classes=list(LESIONS), width=4)
    assert network.classes == LESIONS
    assert network(torch.rand(2, 1, *size)).shape == (2, 3)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (45, 70)])
def test_classifier_features_are_an_eighth_of_the_size(height, width):
    network = LesionClassifier(classes=LESIONS, width=4)
    found = network.features(torch.rand(2, 1, height, width))
    assert found.shape == (2, 16, -(-height // 8), -(-width // 8))
    assert found.min() == 0


def test_classifier_features_see_39_pixels():
    images = torch.rand(1, 1, 128, 128, requires_grad=True)
    LesionClassifier(classes=LESIONS).eval().features(images)[0, :, 8, 8].sum().backward()
    seen = torch.nonzero(images.grad[0, 0])
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [39, 39]


def test_classifier_decides_from_its_features():
    network = LesionClassifier(classes=LESIONS, width=4).eval()
    x = torch.rand(1, 1, 40, 40)
    assert torch.equal(network(x), network.head(network.stage3(network.features(x))))


def test_classifier_refuses_small_images():
    with pytest.raises(ValueError, match="images must be at least 32 x 32, got 64 x 31"):
        LesionClassifier(classes=LESIONS, width=4)(torch.rand(2, 1, 64, 31))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": ["glioma"]}, r"at least two names, none of them twice, got \['glioma'\]"),
        ({"classes": ["a", "b", "a"]}, r"none of them twice, got \['a', 'b', 'a'\]"),
        ({"classes": "glioma"}, "classes must be a sequence of names, got 'glioma'"),
        ({"classes": [1, 2]}, r"classes must be a sequence of names, got \[1, 2\]"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
    ],
)
def test_classifier_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        LesionClassifier(**{"classes": LESIONS} | wrong)


def test_unet_has_the_documented_parameters():
    assert networks.n_parameters(UNet()) == 482_449


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (16, 24), (15, 9), (33, 46)])
def test_unet_gives_one_logit_a_pixel_at_any_size(size, depth):
    assert UNet(width=2, depth=depth)(torch.rand(2, 1, *size)).shape == (2, 1, *size)


def test_unet_of_blocks_sees_and_outlines_every_pixel():
    network, x = UNet(width=8, depth=1, block=3).eval(), torch.rand(1, 1, 13, 14)
    x.requires_grad_()
    logits = network(x)
    logits.square().sum().backward()
    assert logits.shape == x.shape
    assert len(logits.unique()) > 0.9 * x.numel()
    assert x.grad.all()


def test_unet_of_blocks_works_at_the_size_of_the_blocks():
    network, x = UNet(width=2, depth=2, block=2).eval(), torch.rand(1, 1, 24, 16)
    sizes = []
    network.down[0].register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape)))
    network(x)
    assert sizes == [(1, 2, 12, 8)]


def test_unet_pads_by_reflection_and_crops_back():
    network, x = UNet(width=2, depth=2).eval(), torch.rand(1, 1, 17, 18)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 2), mode="reflect")
    torch.testing.assert_close(network(x), network(padded)[..., 1:18, 1:19])


def test_unet_sees_100_pixels(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "max_pool2d", torch.nn.functional.avg_pool2d)
    network, widths = UNet(width=2).double().eval(), set()
    for p in network.parameters():
        p.data.abs_()  # nothing cancels, no ReLU closes
    for at in range(64, 72):
        x = torch.rand(1, 1, 136, 136, dtype=torch.float64, requires_grad=True)
        network(x)[0, 0, at, at].backward()
        seen = torch.nonzero(x.grad[0, 0])
        widths.add(int((seen.max(0).values - seen.min(0).values + 1).max()))
    assert max(widths) == 100


def test_unet_refuses_small_images():
    with pytest.raises(ValueError, match="images must be at least 8 x 8, got 40 x 7"):
        UNet(width=2)(torch.rand(2, 1, 40, 7))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"block": 0}, "block must be a whole number of at least 1, got 0"),
        ({"depth": 1.5}, r"depth must be a whole number of at least 1, got 1\.5"),
    ],
)
def test_unet_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        UNet(**wrong)
