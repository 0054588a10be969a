import pytest
import torch

from medsr_lib.restore import degrade, linear, networks
from medsr_lib.restore.networks import ESPCN, WDSR, Discriminator, SRResNet


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


@pytest.mark.parametrize(
    ("scale", "n"), [(2, 1_381_011), (3, 1_565_651), (4, 1_528_724), (8, 1_676_437)]
)
def test_srresnet_has_the_papers_parameters(scale, n):
    assert networks.n_parameters(SRResNet(scale=scale)) == n


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("norm", ["batch", None])
def test_srresnet_enlarges(scale, norm):
    network = SRResNet(scale=scale, blocks=1, width=4, norm=norm)
    assert network(torch.rand(2, 1, 9, 14)).shape == (2, 1, 9 * scale, 14 * scale)


@pytest.mark.parametrize(("scale", "r"), [(2, 2), (3, 3), (8, 2)])
def test_srresnet_starts_without_a_checkerboard(scale, r):
    for stage in SRResNet(scale=scale, blocks=1, width=4).enlarge:
        x = stage(torch.rand(1, 4, 5, 6))
        assert x.std() > 0.01
        cells = x[..., ::r, ::r].repeat_interleave(r, -1).repeat_interleave(r, -2)
        torch.testing.assert_close(x, cells, rtol=0, atol=1e-6)


def test_srresnet_channels_start_different_from_each_other():
    conv = SRResNet(scale=2, blocks=1, width=4).enlarge[0][0]
    assert len(conv.weight.unique(dim=0)) == len(conv.bias.unique()) == 4


def test_srresnet_is_clipped_in_evaluation_only():
    network, lr = SRResNet(scale=2, blocks=1, width=4, norm=None), torch.rand(1, 1, 8, 8)
    network.last.weight.data *= 1000 / network(lr).std().item()
    sr = network.train()(lr)
    assert sr.min() < 0 or sr.max() > 1
    assert torch.equal(network.eval()(lr), sr.clamp(0, 1))


@pytest.mark.parametrize("norm", ["batch", None])
def test_srresnet_normalises_only_if_asked(norm):
    layers = SRResNet(scale=4, blocks=3, width=4, norm=norm).modules()
    norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(norms) == (7 if norm else 0)  # two a block and the one before the long skip


def test_wdsr_has_as_many_parameters_as_counted_by_hand():
    convolutions = [(1, 32), *[(32, 128), (128, 32)] * 16, (32, 16)]
    n = sum(9 * before * after + after for before, after in convolutions)
    assert networks.n_parameters(WDSR(scale=4)) == n == 1_187_152


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_untrained_wdsr_does_what_its_linear_filter_does(scale):
    hr = torch.rand(8, 1, 12 * scale, 10 * scale)
    to_lr = degrade.by_name("bicubic", scale=scale)
    network = WDSR(scale=scale, blocks=1, width=4)
    network.linear = linear.fit(hr, degrade=to_lr, scale=scale, taps=3, progress=False)
    lr = 1.5 * to_lr(hr)  # beyond [0, 1] where it is not clipped
    assert torch.equal(network.eval()(lr), network.linear(lr))
    assert torch.equal(network.train()(lr), network.linear.train()(lr))
    assert network(lr).max() > 1


def test_wdsr_adds_to_the_filter_what_its_blocks_learn_and_leaves_the_filter():
    network, lr = WDSR(scale=2, blocks=2, width=4), torch.rand(1, 1, 8, 9)
    torch.nn.init.constant_(network.last.bias, 0.25)
    assert torch.equal(network(lr), torch.full((1, 1, 16, 18), 0.25))  # of no filter yet
    network(lr).sum().backward()
    learned = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any("linear" in name for name in learned)


def test_wdsr_in_half_precision_keeps_the_filter_whole():
    network, lr = WDSR(scale=2, blocks=1, width=4), torch.rand(1, 1, 8, 9)
    network.linear.get_buffer("weights")[:, :, 5, 5] = 1  # nearest neighbour
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sr = network(lr)
    assert torch.equal(sr[..., ::2, ::2], lr)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 5}, r"scale must be one of \(2, 3, 4, 8\), got 5"),
        ({"blocks": 0}, "blocks must be a whole number of at least 1, got 0"),
        ({"width": 8.0}, r"width must be a whole number of at least 1, got 8\.0"),
        ({"norm": "layer"}, "norm must be 'batch' or None, got 'layer'"),
    ],
)
def test_srresnet_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        SRResNet(**{"scale": 2} | wrong)


def test_discriminator_has_the_papers_parameters():
    with torch.device("meta"):  # counts only
        assert networks.n_parameters(Discriminator()) == 23_564_353


@pytest.mark.parametrize("size", [16, 33, 96])
def test_discriminator_gives_one_logit_an_image(size):
    network = Discriminator(size=size, width=2)
    network.dense[-1].bias.data.fill_(9.0)
    logits = network(torch.rand(2, 1, size, size))
    assert logits.shape == (2, 1)
    assert (logits > 1).all()  # no probabilities


def test_discriminator_refuses_other_crops():
    with pytest.raises(ValueError, match="for crops of 96 x 96, got 64 x 96; make it with the si"):
        Discriminator(size=96, width=2)(torch.rand(2, 1, 64, 96))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 15}, "size must be a whole number of at least 16, got 15"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
    ],
)
def test_discriminator_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        Discriminator(**wrong)
