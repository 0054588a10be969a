import numpy as np
import pytest
import torch

from medsr_lib.restore.networks.sr import UNet
from medsr_lib.restore.training import segment, supervised
from medsr_lib.restore.training.segment import dice, fit_segmenter, measure


@pytest.fixture
def data():
    """Noise with a brighter square in all but every fourth image: twice (12, 1, 32, 32)."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((12, 1, 32, 32), np.float32)) * 0.5
    masks = torch.zeros(images.shape, dtype=torch.bool)
    for n, (top, left) in enumerate(rng.integers(0, 24, (12, 2))):
        masks[n, 0, top : top + 8, left : left + 8] = n % 4 > 0
    return images + 0.4 * masks, masks


@pytest.fixture
def train(data):
    """`train(**changes)` -> (network, training) that always starts alike."""

    def run(**changes):
        state = torch.random.get_rng_state()
        torch.manual_seed(7)
        network = UNet(width=4, depth=2)
        torch.random.set_rng_state(state)
        arguments = {
            "images": data[0],
            "masks": data[1],
            "steps": 12,
            "seed": 3,
            "batch": 4,
            "device": "cpu",
            "progress": False,
        }
        arguments |= changes
        images, masks = arguments.pop("images"), arguments.pop("masks")
        return network, fit_segmenter(network, images, masks, **arguments)

    return run


@pytest.fixture
def steady(monkeypatch):
    """No change of brightness and contrast."""
    for name in ("CONTRAST", "BRIGHTNESS"):
        monkeypatch.setattr(supervised, name, 0)


def batches(data, **changes):
    return segment._Batches(*data, **{"size": 8, "batch": 400, "seed": 1} | changes)


def test_learns_to_outline(train, data):
    network, training = train(steps=120, crop=16, learning_rate=(1e-2, 1e-4))
    assert training.losses.shape == (120,)
    assert measure(network, *data)[data[1].flatten(1).any(1)].mean() > 0.9


def test_the_network_is_left_ready_for_use(train):
    network, _ = train(steps=1)
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_the_same_call_gives_the_same_weights(train):
    (one, first), (two, second) = train(crop=16), train(crop=16)
    assert torch.equal(first.losses, second.losses)
    states = zip(one.state_dict().values(), two.state_dict().values())
    assert all(torch.equal(a, b) for a, b in states)


def test_another_seed_gives_other_weights(train):
    assert not torch.equal(train()[1].losses, train(seed=4)[1].losses)


def test_draws_nothing_from_the_global_generators(train):
    before, outside = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    _, first = train()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], outside)
    torch.rand(1)
    assert torch.equal(train()[1].losses, first.losses)


def test_validation_is_looked_at_and_decides_nothing(train, data):
    _, without = train()
    network, training = train(validation=data)
    assert training.validation["step"].tolist() == [2, 4, 6, 8, 10, 12]
    expected = measure(network, *data).nanmean().item()
    assert training.validation["dice"].iloc[-1] == pytest.approx(expected)
    assert torch.equal(training.losses, without.losses)
    assert without.validation.empty
    assert "12 steps" in repr(training)


def test_half_of_the_crops_hold_a_lesion(data):
    _, masks = batches(data)(0)
    holds = masks.flatten(1).any(1)
    assert masks.shape == (400, 1, 8, 8)
    assert holds[:200].all()
    assert 0 < holds[200:].sum() < 200


def test_lesions_lie_anywhere_in_their_crops(data):
    _, masks = batches(data, batch=4000)(0)
    assert masks[:2000, 0].any(0).all()


def test_every_crop_comes_with_its_own_mask(data, steady):
    masks = data[1]
    x, y = batches((masks.float(), masks), size=None)(3)
    assert x.shape == (400, 1, 32, 32)
    assert torch.equal(x > 0.5, y)


def test_brightness_and_contrast_of_each_crop_change_within_bounds():
    images = torch.tensor([0.4, 0.6]).repeat(1, 1, 2, 1)
    x, _ = batches((images, images > 0), size=None, batch=4000)(0)
    mean, spread = x.mean((1, 2, 3)), x.amax((1, 2, 3)) - x.amin((1, 2, 3))
    assert [mean.min(), mean.max()] == pytest.approx([0.4, 0.6], abs=1e-3)
    assert [spread.min(), spread.max()] == pytest.approx([0.16, 0.24], abs=1e-3)


def test_crops_reach_every_corner_and_turn(steady):
    image = torch.arange(9.0).view(1, 1, 3, 3) / 9
    x, _ = batches((image, image < 2), size=3)(0)
    turns = [t.flip(d) for t in (image, image.mT) for d in ([], [2], [3], [2, 3])]
    matches = torch.stack([torch.isclose(x, turn).flatten(1).all(1) for turn in turns])
    assert matches.any(0).all()
    assert matches.any(1).all()
    x, _ = batches((image, image < 2), size=1)(0)
    assert len(x[200:].unique()) == 9


def test_a_step_is_the_same_whichever_came_before(data):
    one, other = batches(data), batches(data)
    one(0)
    assert torch.equal(one(40)[0], other(40)[0])


def test_loss_by_hand():
    logits = torch.tensor([0.0, 0.0, 50.0, -50.0]).view(1, 1, 2, 2)
    masks = torch.tensor([True, False, True, False]).view(1, 1, 2, 2)
    soft = 2 * (0.5 + 1) / (0.25 + 0.25 + 1 + 2)
    entropy = 2 * np.log(2) / 4
    assert segment.loss(logits, masks).item() == pytest.approx(entropy + 1 - soft)


def test_dice_by_hand():
    masks = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    found = torch.tensor([[1, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    found, masks = found.view(4, 1, 2, 2), masks.view(4, 1, 2, 2)
    expected = torch.tensor([2 / 5, 1, torch.nan, 0])
    torch.testing.assert_close(dice(found, masks), expected, equal_nan=True)
    torch.testing.assert_close(dice(found.float() - 0.5, masks), expected, equal_nan=True)


def test_measure_asks_in_evaluation_and_puts_back(train, data):
    network, _ = train(steps=1)
    before = measure(network, *data)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    assert torch.equal(measure(network.train(), *data).nan_to_num(2), before.nan_to_num(2))
    assert network.training
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("prediction", "masks", "error", "reason"),
    [
        (torch.ones(2, 1, 3, 3), torch.ones(2, 1, 3, 3), TypeError, "masks: expected bool"),
        (torch.ones(1, 1, 3, 3).int(), torch.ones(1, 1, 3, 3).bool(), TypeError, "prediction: ex"),
        (torch.ones(2, 1, 3, 3), torch.ones(2, 1, 3, 4).bool(), ValueError, "of one shape"),
        (torch.ones(2, 3, 3), torch.ones(2, 3, 3).bool(), ValueError, "of one shape"),
        (torch.full((1, 1, 3, 3), torch.nan), torch.ones(1, 1, 3, 3).bool(), ValueError, "NaN"),
    ],
)
def test_dice_refuses(prediction, masks, error, reason):
    with pytest.raises(error, match=reason):
        dice(prediction, masks)


BAD = {
    "type": (lambda x, y: (x, y.float()), TypeError, "masks of images: expected bool, got torch.f"),
    "fewer": (lambda x, y: (x, y[1:]), ValueError, r"images are \(12, .* but masks \(11"),
    "range": (lambda x, y: (255 * x, y), ValueError, r"images: expected values in \[0, 1\]"),
    "square": (lambda x, y: (x[..., 1:], y[..., 1:]), ValueError, "expected squares"),
    "empty": (lambda x, y: (x, y & False), ValueError, "all 12 masks are empty"),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses_images_and_masks_that_do_not_fit(train, data, kind):
    change, error, reason = BAD[kind]
    images, masks = change(*data)
    with pytest.raises(error, match=reason):
        train(images=images, masks=masks)


def test_validation_is_looked_at_before_the_training(train, data):
    with pytest.raises(TypeError, match="masks of validation: expected bool"):
        train(validation=(data[0], data[1].int()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch": 1}, "batch must be at least 2, got 1"),
        ({"crop": 33}, "crop 33 does not fit: the images measure 32 pixels"),
        ({"learning_rate": (1e30, 1e30)}, "the loss became NaN or infinite"),
    ],
)
def test_refuses_arguments_that_cannot_work(train, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(**change)
