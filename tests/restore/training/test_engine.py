from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from medsr_lib.restore import degrade
from medsr_lib.restore.networks.sr import SRResNet
from medsr_lib.restore.training import fit
from medsr_lib.restore.training.engine import Engine, Speed

halve = degrade.by_name("bicubic", scale=2)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def train(random_images):
    """`train(speed)` -> (network, history) of a short training that always starts alike."""

    def run(speed, steps=8):
        torch.manual_seed(7)
        network = SRResNet(scale=2, blocks=1, width=8, norm=None)
        arguments = {"seed": 3, "batch": 4, "crop": 16, "device": "cpu", "progress": False}
        images = random_images(5, 24, 28)
        history = fit.fit(network, images, degrade=halve, steps=steps, speed=speed, **arguments)
        return network, history

    return run


@pytest.fixture
def engine():
    return Engine("cpu", Speed())


@pytest.fixture
def pair():
    """Two layers in a row and an optimiser of each, with a learning rate of its own."""
    torch.manual_seed(0)
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
    optimisers = [torch.optim.SGD(n.parameters(), lr=9.0) for n in (first, second)]
    x = torch.rand(5, 3)
    return SimpleNamespace(first=first, second=second, optimisers=optimisers, x=x)


def weights_of(network):
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("precision", ["float64", "half", "", None, 32])
def test_refuses_an_unknown_precision(precision):
    with pytest.raises(ValueError, match=rf"one of \('float32', 'bfloat16', .*got {precision!r}"):
        Speed(precision=precision)


def test_bfloat16_trains_and_leaves_weights_of_float32(train):
    network, history = train(Speed(precision="bfloat16"), steps=60)
    assert history.losses[-5:].mean() < 0.5 * history.losses[:5].mean()
    assert {w.dtype for w in network.state_dict().values()} == {torch.float32}
    assert history.log.dtype == torch.float32


def test_bfloat16_is_a_little_different(train):
    (_, half), (_, single) = train(Speed(precision="bfloat16")), train(Speed())
    assert not torch.equal(half.losses, single.losses)
    torch.testing.assert_close(half.losses, single.losses, rtol=0.05, atol=0)


def test_float16_scales_the_gradients_and_trains(train):
    _, history = train(Speed(precision="float16"), steps=60)
    assert Engine("cpu", Speed(precision="float16")).scaler.is_enabled()
    assert history.losses[-5:].mean() < 0.5 * history.losses[:5].mean()


def test_channels_last_changes_nothing_but_the_order_in_memory(train):
    (a, first), (b, second) = train(Speed()), train(Speed(channels_last=True))
    torch.testing.assert_close(first.losses, second.losses, atol=1e-5, rtol=0)
    for ours, theirs in zip(a.parameters(), b.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    wide = b.after[0].weight  # (8, 8, 3, 3)
    assert wide.is_contiguous(memory_format=torch.channels_last)


def test_descend_moves_the_optimisers_parameters_alone(engine, pair):
    loss, still = pair.second(pair.first(pair.x)).square().mean(), weights_of(pair.second)
    before = weights_of(pair.first)
    engine.descend(loss, pair.optimisers[0], rate=0.1)
    assert all(map(torch.equal, weights_of(pair.second), still))
    assert all(p.grad is None for p in pair.second.parameters())
    gradients = [p.grad for p in pair.first.parameters()]
    expected = [w - 0.1 * g for w, g in zip(before, gradients)]
    torch.testing.assert_close(weights_of(pair.first), expected)


def test_two_losses_of_one_pass_move_their_own_parameters(engine, pair):
    y = pair.second(pair.first(pair.x))
    expected = torch.autograd.grad((y - 1).square().mean(), pair.second.weight, retain_graph=True)
    engine.descend(y.mean(), pair.optimisers[0], rate=0.1, keep_graph=True)
    engine.descend((y - 1).square().mean(), pair.optimisers[1], rate=0.1)
    torch.testing.assert_close(pair.second.weight.grad, *expected)


@pytest.mark.parametrize(("clip", "norm"), [(0.01, 0.01), (1e6, None), (None, None)])
def test_a_gradient_is_shortened_where_it_is_longer(engine, pair, clip, norm):
    loss = pair.first(pair.x).square().sum()
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(
        loss, list(pair.first.parameters()), retain_graph=True)])  # fmt: skip
    engine.descend(loss, pair.optimisers[0], rate=0.1, clip=clip)
    found = torch.cat([p.grad.flatten() for p in pair.first.parameters()])
    expected = whole if norm is None else whole * norm / whole.norm()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("world", [None, 1])
def test_one_process_means_and_agrees_by_itself(world):
    alone = SimpleNamespace(device=torch.device("cpu"), global_rank=0, world_size=1)
    engine = Engine("cpu", Speed(), None if world is None else alone)
    value = torch.tensor([1.0, 2.0])
    assert (engine.rank, engine.world) == (0, 1)
    assert torch.equal(engine.mean(value), value)
    assert engine.agree(True)
    assert not engine.agree(False)


def test_two_processes_descend_the_mean_of_their_gradients(pair, monkeypatch):
    messages = []
    monkeypatch.setattr(Engine, "mean", lambda self, own: messages.append(len(own)) or 2 * own)
    fabric = SimpleNamespace(device=torch.device("cpu"), global_rank=1, world_size=2)
    loss = F.mse_loss(pair.first(pair.x), pair.x)
    own = torch.autograd.grad(loss, list(pair.first.parameters()), retain_graph=True)
    Engine("cpu", Speed(), fabric).descend(loss, pair.optimisers[0], rate=0.1)
    assert messages == [9 + 3]  # all gradients together
    for parameter, gradient in zip(pair.first.parameters(), own):
        torch.testing.assert_close(parameter.grad, 2 * gradient)
