import pytest
import torch

from medsr_lib.case import Case, digests, trained_on
from medsr_lib.restore import networks
from medsr_lib.restore.linear import LinearFilter
from medsr_lib.restore.networks import (
    ESPCN,
    WDSR,
    Discriminator,
    LesionClassifier,
    SRResNet,
    UNet,
)
from medsr_lib.restore.networks.ensemble import Ensemble
from medsr_lib.restore.training import checkpoint


def started(network):
    """With a last convolution that is no longer 0."""
    torch.nn.init.normal_(network.last.weight)
    return network


LESIONS = ("meningioma", "glioma", "pituitary")
SMALL = {
    "espcn": lambda: ESPCN(scale=3),
    "srresnet": lambda: SRResNet(scale=2, blocks=2, width=4),
    "wdsr": lambda: started(WDSR(scale=2, blocks=2, width=4)),
    "srresnet without norm": lambda: SRResNet(scale=3, blocks=1, width=4, norm=None),
    "discriminator": lambda: Discriminator(size=40, width=2),
    "classifier": lambda: LesionClassifier(classes=LESIONS, width=4),
    "unet": lambda: UNet(width=2, depth=2, block=2),
}


@pytest.fixture(params=SMALL)
def network(request):
    """One small network of each kind, with weights and running means of its own."""
    torch.manual_seed(0)
    made = SMALL[request.param]()
    made.train()(torch.rand(2, 1, 40, 40))
    return made


def test_networks_come_back_from_their_file(tmp_path, network):
    networks.save(network, tmp_path / "a.pt", fold=3, degradation="kspace", hours=None)
    found, x = networks.load(tmp_path / "a.pt", fold=3), torch.rand(1, 1, 40, 40)
    assert type(found) is type(network)
    assert found.arguments == network.arguments
    assert not found.training
    assert torch.equal(found(x), network.eval()(x))
    about = {"fold": 3, "degradation": "kspace", "hours": None}
    assert found.about == about | {"fingerprint": networks.fingerprint(network)}


def test_saving_changes_nothing(tmp_path, network):
    before = networks.fingerprint(network)
    networks.save(network, tmp_path / "a.pt")
    assert networks.fingerprint(network) == before
    assert network.training
    assert not hasattr(network, "about")


def test_gradients_reach_every_parameter(network):
    network(torch.rand(2, 1, 40, 40)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert all(p.grad.any() for p in network.parameters() if p.ndim > 1)  # BN cancels biases


def test_networks_refuse_positional_arguments(network):
    with pytest.raises(TypeError, match="positional argument"):
        type(network)(2)


def test_fingerprint_changes_with_one_bit_of_any_state(network):
    before = networks.fingerprint(network)
    assert len(before) == 16
    for value in network.state_dict().values():
        first = value.view(-1)[:1].view(torch.uint8)[:1]  # a view: the network's own bytes
        first ^= 1
        assert networks.fingerprint(network) != before
        first ^= 1
    assert networks.fingerprint(network) == before


def test_fingerprint_knows_names_types_and_shapes():
    weights, found = torch.zeros(4), set()
    others = {"b": weights}, {"a": weights.view(2, 2)}, {"a": weights.view(torch.int32)}
    for state in ({"a": weights}, *others):
        network = torch.nn.Module()
        for name, value in state.items():
            network.register_buffer(name, value)
        found.add(networks.fingerprint(network))
    assert len(found) == 4


def test_load_refuses_a_network_trained_for_something_else(tmp_path):
    networks.save(ESPCN(scale=2), tmp_path / "a.pt", fold=3)
    with pytest.raises(ValueError, match="trained for something else: fold is 3, not 4"):
        networks.load(tmp_path / "a.pt", fold=4)


@pytest.fixture
def cases():
    images = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0))
    return [Case(str(n), f"p{n}", "", image) for n, image in enumerate(images)]


def test_what_a_network_was_trained_on_is_kept_with_it(tmp_path, cases):
    network = ESPCN(scale=2)
    network.trained_on = digests(cases[:1])
    networks.save(network, tmp_path / "a.pt", cases=cases[1:3])
    assert trained_on(networks.load(tmp_path / "a.pt")) == digests(cases[:3])
    assert networks.load(tmp_path / "a.pt", cases=cases[:3])


def test_a_file_that_stands_for_another_training_is_refused_with_the_remedy(tmp_path, cases):
    path = tmp_path / "judge.pt"
    networks.save(ESPCN(scale=2), path, cases=cases[:3], steps=3)
    remedy = r"use another --out \(out_dir\), or delete .*judge\.pt$"
    message = rf"judge\.pt was trained on other cases \(2 of 4 differ\): {remedy}"
    with pytest.raises(ValueError, match=message):
        networks.load(path, cases=cases[1:], steps=3)
    with pytest.raises(
        ValueError, match=f"trained for something else: steps is 3, not 4; {remedy}"
    ):
        networks.load(path, cases=cases[:3], steps=4)


def test_a_network_over_another_filter_than_it_was_made_with_is_kept(tmp_path):
    before, lr = started(WDSR(scale=2, blocks=1, width=4)).eval(), torch.rand(1, 1, 8, 9)
    before.linear = LinearFilter(scale=2, taps=3)
    before.linear.get_buffer("weights").fill_(0.1)
    networks.save(before, tmp_path / "a.pt")
    assert torch.equal(networks.load(tmp_path / "a.pt")(lr), before(lr))


def test_an_ensemble_is_one_file_and_knows_what_its_members_were_trained_on(tmp_path, cases):
    members = ESPCN(scale=2), SRResNet(scale=2, blocks=1, width=4)
    members[0].trained_on, members[1].trained_on = digests(cases[:1]), digests(cases[2:])
    before = Ensemble(members).eval()
    networks.save(before, tmp_path / "a.pt", scale=2)
    after, lr = networks.load(tmp_path / "a.pt", scale=2), torch.rand(1, 1, 8, 9)
    assert torch.equal(after(lr), before(lr))
    assert trained_on(after) == digests([cases[0], *cases[2:]])


def test_an_ensemble_with_a_member_that_could_not_be_made_again_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot save a network of class Linear"):
        networks.save(Ensemble([ESPCN(scale=2), torch.nn.Linear(2, 2)]), tmp_path / "a.pt")


def test_save_notes_the_fingerprint_of_the_weights_it_writes(tmp_path):
    networks.save(ESPCN(scale=2), tmp_path / "a.pt", fingerprint="of another network")
    found = networks.load(tmp_path / "a.pt")
    assert found.about == {"fingerprint": networks.fingerprint(found)}


def test_load_refuses_changed_weights(tmp_path):
    networks.save(ESPCN(scale=2), tmp_path / "a.pt")
    state = checkpoint.load(tmp_path / "a.pt")
    state["weights"]["conv1.bias"][0] += 1
    checkpoint.save(tmp_path / "a.pt", state)
    with pytest.raises(ValueError, match=r"a\.pt: holds weights of fingerprint \w{16}, but \w{16}"):
        networks.load(tmp_path / "a.pt")


def test_save_refuses_a_class_it_does_not_know(tmp_path):
    message = r"cannot save a network of class Linear, only ESPCN, SRResNet, WDSR, Discriminator"
    with pytest.raises(ValueError, match=message):
        networks.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


def test_load_refuses_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.pt: no such file; train the network"):
        networks.load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "state",
    [
        {"step": 3},
        {"network": "EDSR", "arguments": {}, "weights": {}, "about": {}, "cases": []},
        {"network": "ESPCN"},
        {"network": {"conv1.bias": torch.zeros(2)}, "step": 3},  # a training's
    ],
)
def test_load_refuses_what_is_no_network(tmp_path, state):
    checkpoint.save(tmp_path / "a.pt", state)
    with pytest.raises(ValueError, match=r"a\.pt: not a network written by networks\.save"):
        networks.load(tmp_path / "a.pt")


def test_load_refuses_a_foreign_file(tmp_path):
    torch.save(ESPCN(scale=2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: .*it does not end with its sha256"):
        networks.load(tmp_path / "a.pt")
