from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from medsr_lib.restore import degrade
from medsr_lib.restore.networks import SRResNet
from medsr_lib.restore.training import fit
from medsr_lib.restore.training.engine import Engine, Precision

halve = degrade.by_name("bicubic", scale=2)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def train(random_images):
    """`train(precision)` -> (network, history) of a short training that always starts alike."""

    def run(precision, steps=8):
        torch.manual_seed(7)
        network = SRResNet(scale=2, blocks=1, width=8, norm=None)
        arguments = {
            "seed": 3,
            "recipe": fit.Recipe(4),
            "crop": 16,
            "device": "cpu",
            "progress": False,
        }
        images = random_images(5, 24, 28)
        history = fit.fit(
            network, images, degrade=halve, steps=steps, precision=precision, **arguments
        )
        return network, history

    return run


@pytest.fixture
def engine():
    return Engine("cpu", Precision())


@pytest.fixture
def pair():
    """Two layers in a row and an optimizer of each, with a learning rate of its own."""
    torch.manual_seed(0)
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
    optimizers = [torch.optim.SGD(n.parameters(), lr=9.0) for n in (first, second)]
    x = torch.rand(5, 3)
    return SimpleNamespace(first=first, second=second, optimizers=optimizers, x=x)


def losses_of(history):
    return torch.tensor(history.table["loss"].to_numpy())


def halved(history):
    return losses_of(history)[-5:].mean() < 0.5 * losses_of(history)[:5].mean()


def weights_of(network):
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("precision", ["float64", "half", "", None, 32])
def test_refuses_an_unknown_precision(precision):
    with pytest.raises(ValueError, match=rf"one of \('float32', 'bfloat16', .*got {precision!r}"):
        Precision(precision)


def test_bfloat16_trains_and_leaves_weights_of_float32(train):
    network, history = train(Precision("bfloat16"), steps=60)
    assert halved(history)
    assert {w.dtype for w in network.state_dict().values()} == {torch.float32}
    assert history.table["loss"].dtype == "float32"


def test_bfloat16_is_a_little_different(train):
    (_, half), (_, single) = train(Precision("bfloat16")), train(Precision())
    assert not torch.equal(losses_of(half), losses_of(single))
    torch.testing.assert_close(losses_of(half), losses_of(single), rtol=0.05, atol=0)


def test_float16_scales_the_gradients_and_trains(train):
    _, history = train(Precision("float16"), steps=60)
    assert Engine("cpu", Precision("float16")).scaler.is_enabled()
    assert halved(history)


def test_channels_last_changes_nothing_but_the_order_in_memory_meanwhile(train):
    (a, first), (b, second) = train(Precision()), train(Precision(channels_last=True))
    torch.testing.assert_close(losses_of(first), losses_of(second), atol=1e-5, rtol=0)
    for ours, theirs in zip(a.parameters(), b.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        assert theirs.is_contiguous()
    Engine("cpu", Precision(channels_last=True)).to_device(b)
    assert b.after[0].weight.is_contiguous(memory_format=torch.channels_last)  # (8, 8, 3, 3)


def test_a_step_moves_the_optimizers_parameters_alone(engine, pair):
    loss, still = pair.second(pair.first(pair.x)).square().mean(), weights_of(pair.second)
    before = weights_of(pair.first)
    engine.optimizer_step(loss, pair.optimizers[0], rate=0.1)
    assert all(map(torch.equal, weights_of(pair.second), still))
    assert all(p.grad is None for p in pair.second.parameters())
    gradients = [p.grad for p in pair.first.parameters()]
    expected = [w - 0.1 * g for w, g in zip(before, gradients)]
    torch.testing.assert_close(weights_of(pair.first), expected)


def test_two_losses_of_one_pass_move_their_own_parameters(engine, pair):
    y = pair.second(pair.first(pair.x))
    expected = torch.autograd.grad((y - 1).square().mean(), pair.second.weight, retain_graph=True)
    engine.optimizer_step(y.mean(), pair.optimizers[0], rate=0.1, keep_graph=True)
    engine.optimizer_step((y - 1).square().mean(), pair.optimizers[1], rate=0.1)
    torch.testing.assert_close(pair.second.weight.grad, *expected)


@pytest.mark.parametrize(("clip", "norm"), [(0.01, 0.01), (1e6, None), (None, None)])
def test_a_gradient_is_shortened_where_it_is_longer(engine, pair, clip, norm):
    loss = pair.first(pair.x).square().sum()
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(
        loss, list(pair.first.parameters()), retain_graph=True)])  # fmt: skip
    engine.optimizer_step(loss, pair.optimizers[0], rate=0.1, clip=clip)
    found = torch.cat([p.grad.flatten() for p in pair.first.parameters()])
    expected = whole if norm is None else whole * norm / whole.norm()
    torch.testing.assert_close(found, expected)


def test_one_process_means_and_agrees_by_itself(engine):
    value = torch.tensor([1.0, 2.0])
    assert (engine.rank, engine.world) == (0, 1)
    assert torch.equal(engine.mean(value), value)
    assert engine.agree(True)
    assert not engine.agree(False)


def test_two_processes_go_down_the_mean_of_their_gradients(pair, monkeypatch):
    messages = []
    monkeypatch.setattr(Engine, "mean", lambda self, own: messages.append(len(own)) or 2 * own)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    loss = F.mse_loss(pair.first(pair.x), pair.x)
    own = torch.autograd.grad(loss, list(pair.first.parameters()), retain_graph=True)
    Engine("cpu", Precision()).optimizer_step(loss, pair.optimizers[0], rate=0.1)
    assert messages == [9 + 3]  # all gradients together
    for parameter, gradient in zip(pair.first.parameters(), own):
        torch.testing.assert_close(parameter.grad, 2 * gradient)
