import numpy as np
import pytest
import torch
from torch import nn

from medsr_lib.restore.networks.sr import LesionClassifier
from medsr_lib.restore.training import classify, supervised
from medsr_lib.restore.training.classify import Accuracy, accuracy, fit_classifier

N = [9, 4, 14]  # images by class


@pytest.fixture
def data():
    """Noise with a bright square, whose size is the class: (27, 1, 32, 32), (27,)."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((sum(N), 1, 32, 32), np.float32)) * 0.3
    labels = torch.arange(3).repeat_interleave(torch.tensor(N))
    for image, label in zip(images, labels):
        half = 3 + 4 * int(label)
        image[0, 16 - half : 16 + half, 16 - half : 16 + half] += 0.6
    order = torch.from_numpy(rng.permutation(len(labels)))
    return images[order], labels[order]


@pytest.fixture
def train(data):
    """`train(**changes)` -> (network, training) that always starts alike."""

    def run(**changes):
        state = torch.random.get_rng_state()
        torch.manual_seed(7)
        network = LesionClassifier(classes=["small", "middle", "large"], width=4)
        torch.random.set_rng_state(state)
        arguments = {
            "images": data[0],
            "labels": data[1],
            "steps": 20,
            "seed": 3,
            "batch": 12,
            "device": "cpu",
            "progress": False,
        }
        arguments |= changes
        images, labels = arguments.pop("images"), arguments.pop("labels")
        return network, fit_classifier(network, images, labels, **arguments)

    return run


class Threshold(nn.Module):
    """Class by the mean of the image: below 0.25, below 0.5, above."""

    def __init__(self):
        super().__init__()
        self.edge = nn.Parameter(torch.tensor([0.25, 0.5]))

    def forward(self, x):
        return nn.functional.one_hot((x.mean((1, 2, 3))[:, None] > self.edge).sum(1), 3).float()


def flat(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4)


def test_learns_to_tell_the_classes_apart(train, data):
    network, training = train(steps=150, learning_rate=(5e-3, 1e-5))
    assert training.losses.shape == (150,)
    assert training.losses[-10:].mean() < 0.7 * training.losses[:10].mean()
    assert accuracy(network, *data).balanced > 0.9


def test_the_network_is_left_ready_for_use(train):
    network, _ = train(steps=1)
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_the_same_call_gives_the_same_weights(train):
    (one, first), (two, second) = train(), train()
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
    _, without = train(steps=25)
    network, training = train(steps=25, validation=data)
    assert training.validation["step"].tolist() == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert training.validation["accuracy"].iloc[-1] == accuracy(network, *data).accuracy
    assert torch.equal(training.losses, without.losses)
    assert without.validation.empty
    assert "25 steps" in repr(training)


def batches(images, labels, **changes):
    return classify._Batches(images, labels, 3, **{"batch": 600, "seed": 1} | changes)


def test_classes_are_drawn_equally_often(data):
    images = torch.arange(len(data[1]))[:, None, None, None].expand(-1, 1, 4, 4) / 100
    counts = batches(images, data[1], batch=3000)(0)[1].bincount()
    assert counts.sum() == 3000
    assert (counts - 1000).abs().max() < 120  # five standard deviations


def test_every_image_comes_with_its_label(data, monkeypatch):
    monkeypatch.setattr(supervised, "CONTRAST", 0)
    monkeypatch.setattr(supervised, "BRIGHTNESS", 0)
    images = torch.arange(len(data[1]))[:, None, None, None].expand(-1, 1, 4, 4) / 100
    x, y = batches(images, data[1])(5)
    which = (x.mean((1, 2, 3)) * 100).round().long()
    assert torch.equal(y, data[1][which])
    assert set(which.tolist()) == set(range(len(images)))


def test_all_eight_turns_occur(monkeypatch):
    for name in ("CONTRAST", "BRIGHTNESS"):
        monkeypatch.setattr(supervised, name, 0)
    image = torch.arange(9.0).view(1, 1, 3, 3) / 9
    x, _ = batches(image.expand(3, -1, -1, -1), torch.arange(3))(0)
    turns = [t.flip(d) for t in (image, image.mT) for d in ([], [2], [3], [2, 3])]
    matches = torch.stack([torch.isclose(x, turn).flatten(1).all(1) for turn in turns])
    assert matches.any(0).all()
    assert matches.any(1).all()


def test_brightness_and_contrast_change_a_little():
    image = torch.full((3, 1, 40, 40), 0.4)
    image[..., 20:, :] = 0.6
    x, _ = batches(image, torch.arange(3))(0)
    assert x.shape == (600, 1, 40, 40)
    contrast = x.amax((1, 2, 3)) - x.amin((1, 2, 3))
    assert 0.16 - 1e-6 < contrast.min() < 0.17
    assert 0.23 < contrast.max() < 0.24 + 1e-6
    assert 0.099 < x.mean((1, 2, 3)).sub(0.5).abs().max() < 0.1 + 1e-6


def test_images_stay_in_range(data):
    x, _ = batches(*data)(0)
    assert x.min() >= 0
    assert x.max() <= 1


def test_accuracy_by_hand():
    images = flat(0.1, 0.1, 0.3, 0.4, 0.1, 0.9)
    found = accuracy(Threshold(), images, torch.tensor([0, 0, 0, 1, 1, 2]))
    assert found.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert found.n == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.balanced == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert repr(found) == "Accuracy(0.667, balanced 0.722, n = 6)"


def test_a_class_that_does_not_occur_does_not_count():
    assert Accuracy(torch.tensor([[3, 1], [0, 0]])).balanced == 0.75


def test_accuracy_asks_in_evaluation_and_puts_back(train, data):
    network, _ = train(steps=1)
    before = accuracy(network, *data).confusion
    state = {k: v.clone() for k, v in network.state_dict().items()}
    assert torch.equal(accuracy(network.train(), *data).confusion, before)
    assert network.training
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


BAD = {
    "outside": (lambda x, y: (x, y + 1), ValueError, r"knows the classes 0 to 2, found \[3\]"),
    "absent": (lambda x, y: (x, y.clamp(1)), ValueError, r"no image of class \[0\] among 27"),
    "fewer": (lambda x, y: (x, y[1:]), ValueError, "27 images, but 26 labels"),
    "type": (lambda x, y: (x, y.float()), TypeError, "expected int64 of shape"),
    "range": (lambda x, y: (255 * x, y), ValueError, r"images: expected values in \[0, 1\]"),
    "square": (lambda x, y: (x[..., 1:], y), ValueError, r"expected squares .* \(27, 1, 32, 31\)"),
    "none": (lambda x, y: (x[:0], y[:0]), ValueError, r"images: expected shape \(B, 1, H, W\)"),
    "few": (lambda x, y: (x[:1], y[:1]), ValueError, r"no image of class .* among 1;"),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses_images_and_labels_that_do_not_fit(train, data, kind):
    change, error, reason = BAD[kind]
    images, labels = change(*data)
    with pytest.raises(error, match=reason):
        train(images=images, labels=labels)


@pytest.mark.parametrize("kind", ["outside", "fewer", "type", "range"])
def test_accuracy_refuses_them_too(train, data, kind):
    change, error, reason = BAD[kind]
    with pytest.raises(error, match=reason):
        accuracy(train(steps=1)[0], *change(*data))


def test_validation_is_looked_at_before_the_training(train, data):
    with pytest.raises(ValueError, match=r"validation: the network knows .* found \[3\]"):
        train(validation=(data[0], data[1] + 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch": 1}, "batch must be at least 2, got 1"),
        ({"learning_rate": (1e30, 1e30)}, "the loss became NaN or infinite"),
    ],
)
def test_refuses_arguments_that_cannot_work(train, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(**change)


def test_shifts_leave_up_where_it_is(monkeypatch):
    for name in ("CONTRAST", "BRIGHTNESS"):
        monkeypatch.setattr(supervised, name, 0)
    image = torch.linspace(0, 1, 40)[None, None, :, None].expand(3, 1, 40, 40).clone()
    image[..., :20] *= 0.5  # dark at the left
    x, _ = batches(image, torch.arange(3), augment="shifts")(0)
    assert (x[:, 0, 30:].mean((1, 2)) > x[:, 0, :10].mean((1, 2)) + 0.3).all()
    assert (x[:, 0, :, 25:].mean((1, 2)) > x[:, 0, :, :15].mean((1, 2)) + 0.1).all()
    assert (x - image[:1]).abs().mean((1, 2, 3)).min() > 0.001


def test_place_shifts_enlarges_and_turns():
    image = torch.zeros(4, 20, 20)
    image[:, 8:12, 14:18] = 1
    zero = torch.zeros(4, 1)
    by = {name: zero.clone() for name in ("down", "right", "scale", "angle")}
    by["down"][0], by["right"][1], by["scale"][2], by["angle"][3] = 0.1, 0.1, -0.5, np.pi / 2
    x = supervised.place(image, **by)
    rows, columns = torch.arange(20.0)[:, None], torch.arange(20.0)
    centre = [((x * v).sum((1, 2)) / x.sum((1, 2))).tolist() for v in (rows, columns)]
    assert centre[0][0] == pytest.approx(11.5, abs=0.01)  # two rows down
    assert centre[1][1] == pytest.approx(17.2, abs=0.4)  # two to the right, reflected at the edge
    assert x[2, 7:13, 19].min() > 0.9  # twice as large
    assert abs(centre[0][3] - 9.5) == pytest.approx(6, abs=0.01)  # a quarter of a turn
    assert centre[1][3] == pytest.approx(9.5, abs=0.01)


def test_shifts_train_the_same_way_twice(train):
    one, two = (train(augment="shifts")[1].losses for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, train()[1].losses)


def test_patience_goes_back_to_the_best_look(train, data):
    network, training = train(
        steps=40, validation=data, patience=2, looks=20, learning_rate=(2e-2, 1e-2)
    )
    looks = training.validation
    best = looks.loc[looks["loss"].idxmin()]
    assert training.best_step == best["step"]
    assert accuracy(network, *data).accuracy == best["accuracy"]
    again, _ = train(steps=40, validation=data, learning_rate=(2e-2, 1e-2))
    assert not torch.equal(again.head[3].weight, network.head[3].weight)


def test_patience_ends_the_training(train, data, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(
        classify, "_look", lambda *_: {"accuracy": 0, "balanced": 0, "loss": next(losses)}
    )
    _, training = train(steps=20, validation=data, patience=2, looks=10)
    assert training.validation["step"].tolist() == [2, 4, 6, 8]
    assert training.best_step == 4
    assert len(training.losses) == 8
    assert "kept as after step 4" in repr(training)


def test_without_patience_the_last_step_is_kept(train):
    _, training = train(steps=5)
    assert training.best_step == 5
    assert "kept" not in repr(training)


def test_the_loss_that_decides_is_balanced():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.tensor([0.8, 0.2]))

        def forward(self, x):
            return self.p.log().expand(len(x), 2)

    found = classify._look(Fixed(), flat(0.1, 0.1, 0.1, 0.1), torch.tensor([0, 0, 0, 1]))
    assert found["loss"] == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patience": 2}, "patience needs validation images"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"looks": 0}, "looks must be at least 1, got 0"),
        ({"augment": "flips"}, "augment must be 'turns' or 'shifts', got 'flips'"),
    ],
)
def test_refuses_what_cannot_be_patient(train, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(**change)


def test_patience_needs_every_class_in_validation(train, data):
    images, labels = data
    with pytest.raises(ValueError, match=r"validation: no image of class \[2\]"):
        train(validation=(images[labels < 2], labels[labels < 2]), patience=2)


def test_the_head_judges_the_last_features():
    network = LesionClassifier(classes=["well", "ill"], width=4).eval()
    x = torch.rand(2, 1, 64, 48)
    last = network.last_features(x)
    assert last.shape == (2, 32, 4, 3)
    assert torch.equal(network.head(last), network(x))
