import numpy as np
import pytest
import torch
from states import identical, resumed_bit_for_bit, same_end
from torch import nn

from medsr_lib.restore.networks import LesionClassifier, UNet
from medsr_lib.restore.training import readers
from medsr_lib.restore.training.fit import Recipe
from medsr_lib.restore.training.loop import Diverged

N = [9, 4, 14]  # images by class


@pytest.fixture
def labelled():
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
def outlined():
    """Noise with a brighter square in all but every fourth image: twice (12, 1, 32, 32)."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((12, 1, 32, 32), np.float32)) * 0.5
    masks = torch.zeros(images.shape, dtype=torch.bool)
    for n, (top, left) in enumerate(rng.integers(0, 24, (12, 2))):
        masks[n, 0, top : top + 8, left : left + 8] = n % 4 > 0
    return images + 0.4 * masks, masks


def mirrored(images, labels):
    """Images that were not trained on, of the same classes."""
    return images.flip(-1), labels


def trainer(function, make, data, **fixed):
    """`train(path, **changes)` -> (network, history) that always starts alike."""

    def run(path=None, *, images=data[0], truth=data[1], **changes):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            network = make()
        arguments = {"steps": 20, "seed": 3, "device": "cpu"} | fixed | changes
        return network, function(network, images, truth, checkpoint=path, **arguments)

    run.data = data
    return run


@pytest.fixture
def classify(labelled):
    def make():
        return LesionClassifier(classes=["small", "middle", "large"], width=4)

    return trainer(readers.fit_classifier, make, labelled, recipe=Recipe(12))


@pytest.fixture
def segment(outlined):
    recipe = Recipe(4, (1e-3, 1e-5))
    return trainer(readers.fit_segmenter, lambda: UNet(width=4, depth=2), outlined, recipe=recipe)


@pytest.fixture(params=["classify", "segment"])
def train(request):
    return request.getfixturevalue(request.param)


def flat(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4)


def test_a_classifier_learns_to_separate_the_classes(classify, labelled):
    network, history = classify(steps=150, recipe=Recipe(12, (5e-3, 1e-5)))
    losses = history.table["loss"]
    assert len(losses) == 150
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()
    assert readers.evaluate_classifier(network, *labelled)["balanced"] > 0.9


def test_a_segmenter_learns_to_outline(segment, outlined):
    network, history = segment(steps=120, crop=16, recipe=Recipe(4, (1e-2, 1e-4)))
    images, masks = outlined
    outlines = network(images) > 0
    assert 2 * (outlines & masks).sum() / (outlines.sum() + masks.sum()) > 0.6
    assert history.table["loss"][-10:].mean() < history.table["loss"][:10].mean()
    assert history.best_step == 120


def test_the_network_is_left_ready_for_use(train):
    network, _ = train(steps=1)
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert all(p.is_contiguous() for p in network.parameters())


def test_training_follows_from_the_seed_and_leaves_the_global_generators_alone(train):
    before, outside = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    one, first = train()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], outside)
    torch.rand(1)
    two, second = train()
    assert first.table.equals(second.table)
    assert identical(one.state_dict(), two.state_dict())
    assert not train(seed=4)[1].table.equals(first.table)


@pytest.mark.parametrize("name", ["classify", "classify, best state", "segment"])
@pytest.mark.parametrize("interruption", [{"step": 5}, {"step": 6, "during": "_evaluate"}], ids=str)
def test_resumes_bit_for_bit_after_an_interruption(request, tmp_path, interruption, name):
    train = request.getfixturevalue(name.partition(",")[0])
    changes = {"validation": mirrored(*train.data)} if "classify" in name else {}
    changes |= {"patience": 2} if "best" in name else {}
    resumed_bit_for_bit(lambda path: train(path, **changes), tmp_path, **interruption)


def test_resumes_bit_for_bit_after_running_out_of_hours(train, tmp_path, clock, monkeypatch):
    network, _ = train(tmp_path / "whole.pt")
    monkeypatch.setattr(readers, "cosine", clock.slow(readers.cosine))
    done = []
    while not done or done[-1] < 20:
        again, history = train(tmp_path / "a.pt", hours=8.5 / 3600)
        done.append(history.steps_done)
    assert done == [8, 16, 20]
    assert same_end(tmp_path / "whole.pt", tmp_path / "a.pt", [network], [again])


def test_refuses_a_checkpoint_of_other_images(train, tmp_path):
    train(tmp_path / "a.pt", steps=2)
    images, truth = train.data
    with pytest.raises(ValueError, match="it differs in images"):
        train(tmp_path / "a.pt", steps=2, images=images.flip(0), truth=truth.flip(0))


def test_refuses_validation_images_that_are_trained_on(classify, labelled):
    images, labels = labelled
    mixed = torch.cat([images[:2], images[2:].flip(-1)]), labels
    with pytest.raises(
        ValueError, match=rf"2 of {len(labels)} validation images are trained on, t"
    ):
        classify(validation=mixed)


def test_validation_decides_nothing_without_patience(classify, labelled):
    (_, without), (_, history) = (
        classify(steps=25),
        classify(steps=25, validation=mirrored(*labelled)),
    )
    assert history.validation["step"].tolist() == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert history.table.equals(without.table)
    assert history.best_step == 25
    assert without.validation.empty


def test_patience_goes_back_to_the_best_evaluation(classify, labelled):
    others = mirrored(*labelled)
    settings = {"steps": 40, "validation": others, "recipe": Recipe(12, (2e-2, 1e-2))}
    network, history = classify(**settings, patience=2, evaluations=20)
    best = history.validation.loc[history.validation["loss"].idxmin()]
    assert history.best_step == best["step"]
    assert readers.evaluate_classifier(network, *others)["accuracy"] == best["accuracy"]
    again, _ = classify(**settings)
    assert not torch.equal(again.head[3].weight, network.head[3].weight)


def test_patience_ends_the_training(classify, labelled, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(readers, "evaluate_classifier", lambda *_: {"loss": next(losses)})
    _, history = classify(validation=mirrored(*labelled), patience=2, evaluations=10)
    assert history.validation["step"].tolist() == [2, 4, 6, 8]
    assert history.best_step == 4
    assert history.steps_done == len(history.table) == 8
    assert history.done


class Threshold(nn.Module):
    """Class by the mean of the image: below 0.25, below 0.5, above."""

    def __init__(self):
        super().__init__()
        self.edge = nn.Parameter(torch.tensor([0.25, 0.5]))

    def forward(self, x):
        return nn.functional.one_hot((x.mean((1, 2, 3))[:, None] > self.edge).sum(1), 3).float()


def test_evaluation_of_a_classifier_by_hand():
    images = flat(0.1, 0.1, 0.3, 0.4, 0.1, 0.9)
    found = readers.evaluate_classifier(Threshold(), images, torch.tensor([0, 0, 0, 1, 1, 2]))
    right, wrong = np.log(np.e + 2) - 1, np.log(np.e + 2)  # one logit is 1, the others are 0
    assert found == pytest.approx({
        "accuracy": 4 / 6,
        "balanced": (2 / 3 + 1 / 2 + 1) / 3,
        "loss": ((2 * right + wrong) / 3 + (right + wrong) / 2 + right) / 3,
    })  # fmt: skip
    found = readers.evaluate_classifier(Threshold(), images[:3], torch.tensor([0, 0, 0]))
    assert found["balanced"] == pytest.approx(2 / 3)  # a class that does not occur does not count


def test_evaluation_is_in_evaluation_mode_and_puts_back(classify, labelled):
    network, _ = classify(steps=1)
    before = readers.evaluate_classifier(network, *labelled)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    assert readers.evaluate_classifier(network.train(), *labelled) == before
    assert network.training
    assert identical(state, dict(network.state_dict()))


def test_segmentation_loss_by_hand():
    logits = torch.tensor([0.0, 0.0, 50.0, -50.0]).view(1, 1, 2, 2)
    masks = torch.tensor([True, False, True, False]).view(1, 1, 2, 2)
    soft = 2 * (0.5 + 1) / (0.25 + 0.25 + 1 + 2)
    entropy = 2 * np.log(2) / 4
    assert readers.segmentation_loss(logits, masks).item() == pytest.approx(entropy + 1 - soft)
    with pytest.raises(ValueError, match="must be the same as input size"):
        readers.segmentation_loss(logits, masks[..., :1])


LABELS = {
    "outside": (lambda x, y: (x, y + 1), ValueError, r"knows the classes 0 to 2, found \[3\]"),
    "fewer": (lambda x, y: (x, y[1:]), ValueError, "27 images, but 26 labels"),
    "type": (lambda x, y: (x, y.float()), TypeError, "expected int64 of shape"),
    "range": (lambda x, y: (255 * x, y), ValueError, r"expected values in \[0, 1\]"),
    "absent": (lambda x, y: (x, y.clamp(1)), ValueError, r"no image of class \[0\] among 27"),
    "square": (lambda x, y: (x.repeat(1, 1, 1, 2), y), ValueError, r"expected squares .* 32, 64\)"),
    "none": (lambda x, y: (x[:0], y[:0]), ValueError, r"images: expected shape \(B, 1, H, W\)"),
}
MASKS = {
    "type": (lambda x, y: (x, y.float()), TypeError, "masks of images: expected bool, got torch.f"),
    "fewer": (lambda x, y: (x, y[1:]), ValueError, r"images are \(12, .* but masks \(11"),
    "range": (lambda x, y: (255 * x, y), ValueError, r"images: expected values in \[0, 1\]"),
    "square": (lambda x, y: (x[..., 1:], y[..., 1:]), ValueError, "expected squares"),
    "empty": (lambda x, y: (x, y & False), ValueError, "all 12 masks are empty"),
}


@pytest.mark.parametrize(("change", "error", "reason"), LABELS.values(), ids=LABELS)
def test_refuses_images_and_labels_that_do_not_fit(classify, labelled, change, error, reason):
    images, labels = change(*labelled)
    with pytest.raises(error, match=reason):
        classify(images=images, truth=labels)


@pytest.mark.parametrize(("change", "error", "reason"), [*LABELS.values()][:4], ids=[*LABELS][:4])
def test_evaluation_and_validation_refuse_them_too(classify, labelled, change, error, reason):
    with pytest.raises(error, match=reason):
        readers.evaluate_classifier(classify(steps=1)[0], *change(*labelled))
    with pytest.raises(error, match=f"validation.*{reason}|{reason}"):
        classify(validation=change(*labelled))


@pytest.mark.parametrize(("change", "error", "reason"), MASKS.values(), ids=MASKS)
def test_refuses_images_and_masks_that_do_not_fit(segment, outlined, change, error, reason):
    images, masks = change(*outlined)
    with pytest.raises(error, match=reason):
        segment(images=images, truth=masks)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"recipe": Recipe(batch=1)}, "batch must be a whole number of at least 2, got 1"),
        ({"hours": -1}, "hours must be positive"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_refuses_arguments_that_cannot_work(train, change, reason):
    with pytest.raises(ValueError, match=reason):
        train(**change)


def test_refuses_arguments_of_its_own(classify, segment, labelled):
    with pytest.raises(ValueError, match="augment must be 'turns' or 'shifts', got 'flips'"):
        classify(augment="flips")
    with pytest.raises(ValueError, match="evaluations must be a whole number of at least 1, got 0"):
        classify(evaluations=0)
    with pytest.raises(ValueError, match="patience must be a whole number of at least 1, got 0"):
        classify(patience=0)
    with pytest.raises(ValueError, match="patience needs validation images"):
        classify(patience=2)
    images, labels = labelled
    with pytest.raises(ValueError, match=r"validation: no image of class \[2\]"):
        classify(validation=(images[labels < 2], labels[labels < 2]), patience=2)
    with pytest.raises(ValueError, match="crop 33 does not fit: the images measure 32 pixels"):
        segment(crop=33)


def test_a_loss_that_is_no_number_stops(train):
    with pytest.raises(Diverged, match="the loss became NaN or infinite"):
        train(recipe=Recipe(4, (1e30, 1e30)))
