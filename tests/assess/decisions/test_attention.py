import numpy as np
import pytest
import torch

from medsr_lib.assess import decisions
from medsr_lib.restore.networks import LesionClassifier

W = torch.tensor([[0.0, 2.0], [1.0, 0.0]])  # channel -> logits


def features(x):
    """Bright and dark, at half the size."""
    small = torch.nn.functional.avg_pool2d(x, 2)
    return torch.cat([small, 1 - small], 1)


def head(a):
    return a.mean((2, 3)) @ W


@pytest.fixture
def images():
    """Dark, with a bright square at the upper left."""
    x = torch.zeros(3, 1, 16, 12)
    x[:, :, 2:6, 2:6] = 0.8
    return x


def test_gradcam_is_equations_1_and_2(images):
    a = features(images)
    w = (W[:, 1] - W[:, 0]) / a[0, 0].numel()  # the mean over places of dy / dA
    expected = torch.relu((w[:, None, None] * a).sum(1))
    found = decisions.gradcam(features, head, images, target=1)
    assert found.shape == (3, 16, 12)
    size = {"mode": "bilinear", "align_corners": False}
    expected = torch.nn.functional.interpolate(expected[:, None], (16, 12), **size)[:, 0]
    assert torch.allclose(found, expected, atol=1e-7)


def test_the_other_class_is_seen_elsewhere(images):
    bright, dark = (decisions.gradcam(features, head, images, target=k) for k in (1, 0))
    assert bright[0, 3, 3] > 0 == dark[0, 3, 3]
    assert dark[0, 12, 10] > 0 == bright[0, 12, 10]


def test_a_classifier_keeps_its_weights_and_has_no_gradients():
    torch.manual_seed(0)
    network = LesionClassifier(classes=["well", "ill"], width=4).eval()
    found = decisions.gradcam(
        network.last_features, network.head, torch.rand(2, 1, 64, 48), target=1
    )
    assert found.shape == (2, 64, 48)
    assert not found.requires_grad
    assert (found >= 0).all()
    assert all(p.grad is None for p in network.parameters())


def test_gradcam_refuses_other_classes(images):
    with pytest.raises(ValueError, match="target 2 is not one of the 2 classes"):
        decisions.gradcam(features, head, images, target=2)


def test_a_map_moves_with_its_centre():
    a = torch.zeros(2, 10, 10)
    a[:, 2, 3] = 1
    b = torch.zeros(2, 10, 10)
    b[0, 2, 3], b[1, 5, 7] = 7, 1
    found = decisions.map_similarity(b, a)
    assert found["shift"].tolist() == [0, 5]
    assert found["correlation"].tolist() == pytest.approx([1, -1 / 99])


def test_correlation_is_numpys():
    a, b = torch.rand(1, 9, 7), torch.rand(1, 9, 7)
    expected = np.corrcoef(a.flatten(), b.flatten())[0, 1]
    assert decisions.map_similarity(a, b)["correlation"][0] == pytest.approx(expected, abs=1e-6)


def test_where_nothing_is_seen_nothing_can_be_said():
    nothing = torch.zeros(1, 4, 4)
    assert decisions.map_similarity(nothing, torch.rand(1, 4, 4)).isna().all(axis=None)
    masks = torch.ones(1, 4, 4, dtype=torch.bool)
    assert decisions.lesion_overlap(nothing, masks).isna().all(axis=None)
    assert decisions.lesion_overlap(torch.rand(1, 4, 4), ~masks).isna().all(axis=None)


def test_what_lies_inside_by_hand():
    maps, masks = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :2] = True
    maps[0, 0, 0], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0], maps[1, 3, 3] = 1, 3
    found = decisions.lesion_overlap(maps, masks)
    assert found["share"].tolist() == [0.75, 0.25]
    assert found["hit"].tolist() == [1, 0]
    assert found["area"].tolist() == [0.5, 0.5]


def test_refuses_what_is_no_map():
    maps = torch.rand(1, 4, 4)
    with pytest.raises(ValueError, match=r"maps are \(1, 4, 4\), those of the reference \(1, 4, 3"):
        decisions.map_similarity(maps, maps[..., 1:])
    with pytest.raises(ValueError, match="maps: hold NaN, infinite or negative"):
        decisions.map_similarity(-maps, maps)
    with pytest.raises(TypeError, match=r"expected bool, got torch\.float32"):
        decisions.lesion_overlap(maps, maps)
    with pytest.raises(ValueError, match=r"maps: expected \(N, H, W\), got \(4, 4\)"):
        decisions.lesion_overlap(maps[0], maps > 0)


def test_the_zero_line_is_the_similarity_to_the_next_other_patient():
    maps = torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(0))
    found = decisions.similarity_of_others(maps, ["a", "a", "b", "c"])
    by_hand = decisions.map_similarity(maps[[2, 2, 3, 0]], maps)
    assert found.equals(by_hand)
    assert (decisions.similarity_of_others(maps[:1].repeat(3, 1, 1), "abc")["shift"] == 0).all()


@pytest.mark.parametrize(("patients", "got"), [("aab", "got 3, 2"), ("aaaa", "got 4, 1")])
def test_the_zero_line_needs_two_patients(patients, got):
    with pytest.raises(ValueError, match=got):
        decisions.similarity_of_others(torch.rand(4, 6, 6), patients)
