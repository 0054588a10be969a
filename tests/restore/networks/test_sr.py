import pytest
import torch

from medsr_lib.restore import networks
from medsr_lib.restore.networks.sr import ESPCN, Discriminator, LesionClassifier, SRResNet, UNet
from medsr_lib.restore.training import checkpoint

LESIONS = ("meningioma", "glioma", "pituitary")
SMALL = {
    "espcn": lambda: ESPCN(scale=3),
    "srresnet": lambda: SRResNet(scale=2, blocks=2, width=4),
    "srresnet without norm": lambda: SRResNet(scale=3, blocks=1, width=4, norm=None),
    "discriminator": lambda: Discriminator(size=40, width=2),
    "discriminator of any size": lambda: Discriminator(size=None, width=2, norm=None),
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


@pytest.mark.parametrize(("size", "n"), [(96, 23_564_353), (None, 5_214_273)])
def test_discriminator_has_the_papers_parameters(size, n):
    with torch.device("meta"):  # counts only
        assert networks.n_parameters(Discriminator(size=size)) == n


@pytest.mark.parametrize("size", [16, 33, 96])
@pytest.mark.parametrize("norm", ["batch", None])
def test_discriminator_gives_one_logit_an_image(size, norm):
    crops = torch.rand(2, 1, size, size)
    assert Discriminator(size=size, width=2, norm=norm)(crops).shape == (2, 1)
    assert Discriminator(size=None, width=2, norm=norm)(crops).shape == (2, 1)


def test_discriminator_gives_logits_not_probabilities():
    network = Discriminator(size=None, width=2)
    network.dense[-1].bias.data.fill_(9.0)
    assert (network(torch.rand(2, 1, 24, 40)) > 1).all()


@pytest.mark.parametrize(
    ("size", "found", "message"),
    [
        (96, (64, 96), "for crops of 96 x 96, got 64 x 96; make it with their size, or with size"),
        (None, (15, 40), "crops must be at least 16 x 16, got 15 x 40"),
    ],
)
def test_discriminator_refuses_other_crops(size, found, message):
    with pytest.raises(ValueError, match=message):
        Discriminator(size=size, width=2)(torch.rand(2, 1, *found))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 15}, "size must be a whole number of at least 16, got 15"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"norm": True}, "norm must be 'batch' or None, got True"),
    ],
)
def test_discriminator_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        Discriminator(**wrong)


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
    weights = torch.zeros(4)
    states = [
        {"a": weights},
        {"b": weights},
        {"a": weights.view(2, 2)},
        {"a": weights.view(torch.int32)},
    ]
    assert len({networks._digest(state) for state in states}) == 4


def test_load_refuses_a_network_trained_for_something_else(tmp_path):
    networks.save(ESPCN(scale=2), tmp_path / "a.pt", fold=3)
    with pytest.raises(ValueError, match="trained for something else: fold is 3, not 4"):
        networks.load(tmp_path / "a.pt", fold=4)


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


def test_load_reads_files_without_fingerprint(tmp_path):
    state = {"network": "ESPCN", "arguments": {"scale": 2}, "about": {"fold": 3}}
    checkpoint.save(tmp_path / "a.pt", state | {"weights": ESPCN(scale=2).state_dict()})
    assert networks.load(tmp_path / "a.pt", fold=3).about == {"fold": 3}


def test_save_refuses_a_class_it_does_not_know(tmp_path):
    message = r"cannot save a network of class Linear, only ESPCN, SRResNet, Discriminator, Lesion"
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
        {"network": "EDSR", "arguments": {}, "weights": {}, "about": {}},
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
    with pytest.raises(ValueError, match=rf"a\.pt: expected '{checkpoint.FORMAT}', found None"):
        networks.load(tmp_path / "a.pt")
