import pytest
import torch

from medsr_lib.restore import checkpoint, networks
from medsr_lib.restore.networks import ESPCN


@pytest.mark.parametrize(("scale", "n"), [(2, 21_284), (3, 22_729), (4, 24_752)])
def test_espcn_has_the_papers_parameters(scale, n):
    assert networks.n_parameters(ESPCN(scale=scale)) == n


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_espcn_enlarges(scale):
    assert ESPCN(scale=scale)(torch.rand(2, 1, 9, 14)).shape == (2, 1, 9 * scale, 14 * scale)


def test_espcn_shuffles_channel_c_to_row_c_over_r_and_column_c_mod_r():
    network = ESPCN(scale=3)
    torch.nn.init.zeros_(network.conv3.weight)
    network.conv3.bias.data = torch.arange(9.0)
    tile = torch.arange(9.0).view(3, 3)  # equation (4): T[c r (y mod r) + c (x mod r)]
    assert torch.equal(network(torch.rand(1, 1, 4, 5))[0, 0], tile.repeat(4, 5))


def test_espcn_is_clipped_in_evaluation_only():
    network = ESPCN(scale=2)
    torch.nn.init.zeros_(network.conv3.weight)
    network.conv3.bias.data = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    lr = torch.rand(1, 1, 4, 4)
    assert network.train()(lr).aminmax() == (-1, 2)
    assert network.eval()(lr).aminmax() == (0, 1)


def test_espcn_sees_as_far_as_the_paper_says():
    lr = torch.rand(1, 1, 21, 21, requires_grad=True)
    ESPCN(scale=2)(lr)[0, 0, 20, 20].backward()
    seen = torch.nonzero(lr.grad[0, 0])
    assert seen.min(0).values.tolist() == [6, 6]  # 5 x 5, 3 x 3 and 3 x 3 reach 2 + 1 + 1
    assert seen.max(0).values.tolist() == [14, 14]


@pytest.mark.parametrize("scale", [1, 5, 2.0, None])
def test_espcn_refuses_other_scales(scale):
    with pytest.raises(ValueError, match=r"scale must be one of \(2, 3, 4, 8\)"):
        ESPCN(scale=scale)


def test_save_and_load(tmp_path):
    network, lr = ESPCN(scale=3), torch.rand(1, 1, 8, 8)
    networks.save(network, tmp_path / "a.pt", fold=3, degradation="kspace", hours=None)
    found = networks.load(tmp_path / "a.pt")
    assert found.scale == 3
    assert not found.training
    assert found.about == {"fold": 3, "degradation": "kspace", "hours": None}
    assert torch.equal(found(lr), network.eval()(lr))


def test_load_refuses_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.pt: no such file; train the network"):
        networks.load(tmp_path / "a.pt")


@pytest.mark.parametrize("state", [{"step": 3}, {"network": "EDSR"}, {"network": "ESPCN"}])
def test_load_refuses_what_is_no_network(tmp_path, state):
    checkpoint.save(tmp_path / "a.pt", state)
    with pytest.raises(ValueError, match=r"a\.pt: not a network written by networks\.save"):
        networks.load(tmp_path / "a.pt")


def test_load_refuses_a_foreign_file(tmp_path):
    torch.save(ESPCN(scale=2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: expected 'medsr checkpoint 1', found None"):
        networks.load(tmp_path / "a.pt")
