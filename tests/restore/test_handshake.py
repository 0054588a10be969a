"""Networks with one fault each: the handshake adapts it and says so, or names it; none pass."""

from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medsr_lib.restore import degrade, handshake, resample
from medsr_lib.restore.foreign.adapted import Adapted, Findings
from medsr_lib.restore.foreign.probe import Probe

SCALE = 2


def up(x, scale=SCALE, **options):
    """What a good network would do, for any channels and values."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False, **options)


def only(accepts, words="refused", network=up):
    def strict(x):
        if not accepts(x):
            raise RuntimeError(words)
        return network(x)

    return strict


def rgb(x):
    return x.shape[1] == 3


def clipped(x, low=0, high=1):
    """A network whose outputs are clipped, so that its range shows."""
    return up(x.clamp(low, high)).clamp(low, high)


def moved(down, right):
    def network(x):
        grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 2 * x.shape[-2], 2 * x.shape[-1]],
                             align_corners=False).expand(len(x), -1, -1, -1)  # fmt: skip
        by = torch.tensor([right / x.shape[-1], down / x.shape[-2]])
        return F.grid_sample(x, grid - by, "bicubic", "border", align_corners=False)

    return network


def valid(x):
    """Loses 3 LR pixels at each side, as convolutions without padding do."""
    return up(x[..., 3:-3, 3:-3])


def tiled(x, tile=64):
    """Tiles without overlap, each darker at its edges, as zero padding makes them."""
    blur = torch.ones(x.shape[1], 1, 3, 3) / 9
    rows = [F.conv2d(part, blur, padding=1, groups=x.shape[1]) for part in x.split(tile, -2)]
    return up(torch.cat(rows, -2))


class Trained(nn.Module):
    """Something with weights, in evaluation mode a plain enlargement."""

    def __init__(self, *layers):
        super().__init__()
        self.same = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.same.weight)
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return up(self.layers(self.same(x)))


class Remembers:
    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return up(x) * (1 + 0.01 * self.calls)


def in_place(x):
    x.mul_(0.5)
    return up(x) * 2


def mixes_batches(x):
    return up(x - x.mean((0, 2, 3), keepdim=True)) + x.mean((1, 2, 3), keepdim=True)


def channels_last(x):
    if x.shape[-1] != 1:
        raise RuntimeError("wants (B, h, w, 1)")
    return up(x.movedim(-1, 1)).movedim(1, -1)


def painted(x):
    sr = clipped(x)
    down, right = torch.gradient(sr, dim=(-2, -1))
    return sr + 0.07 * torch.sign(down * right)


def enlarges_corner_to_corner(x):
    return F.interpolate(x, scale_factor=SCALE, mode="bicubic", align_corners=True)


def cast(x):
    return up(x).repeat(1, 3, 1, 1) * torch.tensor([1.04, 1.0, 0.96])[:, None, None]


class Hungry(nn.Module):
    """Enlarges images of up to so many pixels; of larger ones it says what torch says."""

    def forward(self, lr):
        if lr.shape[-2] * lr.shape[-1] > 48 * 48:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return resample.bicubic(lr, scale=2)


def test_what_does_not_fit_into_memory_goes_through_in_tiles():
    method = Adapted(Hungry(), Findings(2))
    lr = torch.rand(1, 1, 80, 130, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="restored in tiles of (65|33) LR pixels"):
        sr = method(lr)
    torch.testing.assert_close(sr, resample.bicubic(lr, scale=2))
    with pytest.raises(RuntimeError, match="no such layer"):
        Adapted(FailsOtherwise(), Findings(2))(lr)


class FailsOtherwise(nn.Module):
    def forward(self, lr):
        raise RuntimeError("no such layer")


def fixed(size):
    network = only(lambda x: x.shape[-2:] == (size, size), f"wants {size} x {size}")
    return network


class Declared:
    input_size = (40, 56)

    def __call__(self, x):
        return only(lambda x: tuple(x.shape[-2:]) == self.input_size)(x)


ADAPTED = {
    "colour": (only(rgb), {"channels": 3}, "grey goes in three times"),
    "colour cast": (cast, {}, "its channels differ by 0.0"),
    "0-255": (lambda x: clipped(x, 0, 255).round(), {"range_in": "0-255", "range_out": "0-255"},
              "0-255"),
    "[-1, 1] in": (lambda x: clipped(x, -1, 1) / 2 + 0.5, {"range_in": "[-1, 1]"},
                   "in as [-1, 1] and come out as [0, 1]"),
    "tanh at the end": (lambda x: clipped(x) * 2 - 1, {"range_out": "[-1, 1]"}, "in as [0, 1]"),
    "whole numbers": (lambda x: (clipped(x) * 255).round().to(torch.uint8), {"range_out": "0-255"},
                      "256 grey levels"),
    "0-255 in": (lambda x: clipped(x, 0, 255) / 255, {"range_in": "0-255"}, "in as 0-255"),
    "a pixel too low": (moved(1, 0), {"shift": (1, 0)}, "moved back by 1.00 rows"),
    "half a pixel": (moved(-0.5, 0.5), {"shift": (-0.5, 0.5)}, "-0.50 rows, 0.50 columns"),
    "smaller": (valid, {"margin": 3}, "padded by 3 LR pixels"),
    "larger": (lambda x: up(F.pad(x, (2, 2, 2, 2), mode="replicate")), {}, "scale 2"),
    "multiples of 8": (only(lambda x: x.shape[-1] % 8 == x.shape[-2] % 8 == 0), {"multiple": 8},
                       "multiples of 8"),
    "odd rows lost": (lambda x: up(x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]),
                      {"multiple": 2}, "multiples of 2"),
    "multiples of 64": (only(lambda x: x.shape[-1] % 64 == x.shape[-2] % 64 == 0),
                        {"multiple": 64, "least": 64}, "multiples of 64"),
    "at least 20": (only(lambda x: min(x.shape[-2:]) >= 20), {"least": 24}, "under 24"),
    "48 x 48 only": (fixed(48), {"fixed": (48, 48)}, "tiles of 48 x 48"),
    "declared size only": (Declared(), {"fixed": (40, 56)}, "tiles of 40 x 56"),
    "one at a time": (only(lambda x: len(x) == 1), {"batches": False}, "one image at a time"),
    "paints flat": (painted, {}, "RMS difference of 0.0"),
    "checks its range": (only(lambda x: x.min() >= 0 and x.max() <= 1), {}, "scale 2"),
    "mixes a batch": (mixes_batches, {"batches": False}, "one image at a time"),
    "double": (Trained().double(), {}, "its weights were float64"),
    "half": (Trained().half(), {}, "its weights were float16"),
    "training mode": (Trained(nn.Dropout()).train(), {}, "scale 2"),
    "channels last": (channels_last, {"channels_last": True}, "channels go last"),
    "writes into LR": (in_place, {}, "scale 2"),
    "a list": (lambda x: [up(x)], {}, "scale 2"),
    "a dictionary": (lambda x: {"sr": up(x)}, {}, "scale 2"),
    "an array": (lambda x: up(x).numpy(), {}, "scale 2"),
    "float64 out": (lambda x: up(x).double(), {}, "scale 2"),
    "no channels": (lambda x: up(x)[:, 0], {}, "scale 2"),
}  # fmt: skip


FREE = {"notes", "brightness", "rms", "least"}
USUAL = {f.name: f.default for f in fields(Findings)} | {"scale": SCALE}


def flat(x):
    low, high = x.amin(), x.amax()
    return up((x - low) / (high - low))


NAMED = {
    "another scale": (lambda x: up(x, 4), "it has scale 4, not 2"),
    "no scale": (lambda x: x, "it has scale 1, not 2; if it wants what bicubic has enlarged"),
    "two scales": (lambda x: up(x)[..., ::2], "it has scale 2 x 1, not 2"),
    "dropout": (lambda x: F.dropout(up(x), 0.1), "two calls with one image differ"),
    "noise": (lambda x: up(x) + 0.001 * torch.randn_like(up(x)), "two calls .* differ by 0.00"),
    "memory": (Remembers(), "two calls with one image differ"),
    "NaN": (lambda x: up(x) / 0 * 0, "NaN or infinite values for a plain image"),
    "NaN in black": (lambda x: up(x) * (x.mean() / x.mean()), "NaN .* for an even image of 0"),
    "fails on grey": (only(lambda x: x.std() > 0, "grey"), "fails on a probe .*RuntimeError: grey"),
    "own range": (flat, "changes contrast|changes brightness"),
    "stretched": (enlarges_corner_to_corner, "it stretches images: .*align_corners=True"),
    "mirrored": (lambda x: up(x.flip(-1)), "come out mirrored"),
    "upside down": (lambda x: up(x.flip(-2)), "come out upside down"),
    "turned": (lambda x: up(x.rot90(1, (-2, -1))), "turned by 270|turned by 90"),
    "transposed": (lambda x: up(x.mT), "with rows and columns exchanged"),
    "inverted": (lambda x: 1 - up(x), "inverted: black is white"),
    "constant": (lambda x: torch.full_like(up(x), 0.5), "the same grey whatever goes in"),
    "a difference": (lambda x: up(x) - F.interpolate(x, scale_factor=2),
                     "is not that image .*difference to add"),
    "brighter": (lambda x: clipped(x) + 0.04, "it changes brightness: an even image of 0 "),
    "gamma": (lambda x: up(x.clamp(1e-6, 1)) ** 0.9, "it changes brightness: an even image of 0"),
    "contrast": (lambda x: 0.5 + (up(x) - 0.5) * 1.1, "it changes contrast and brightness .*1.10"),
    "other normalisation": (lambda x: (up(x) - 0.485) / 0.229, "changes contrast and brightness"),
    "seams": (tiled, "its images have seams: a step of .* after row"),
    "two images": (lambda x: (up(x), x), "it returns 2 things"),
    "nothing": (lambda x: None, "it returns NoneType, not an image"),
    "four channels": (lambda x: up(x).repeat(1, 4, 1, 1), "images have 1 or 3 channels"),
    "one for the batch": (lambda x: up(x)[0, 0], "images have 1 or 3 channels"),
    "always fails": (only(lambda x: False, "out of order"), "no probe .*1 channel: out of order"),
    "blurred away": (lambda x: up(F.avg_pool2d(x, 15, 1, 7, count_include_pad=False)),
                     "it changes contrast|is not that image"),
    "noisy": (lambda x: clipped(x) + 0.3 * torch.sin(torch.arange(2 * x.shape[-1]) * 2.0),
              "is not that image"),
    "wobbles": (lambda x: moved(0, 0.6 * bool(x[0, 0, 16, 12] > 0.8))(x),
                "it moves one image by"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ADAPTED)
def test_what_can_be_adapted_is_adapted_and_said(fault):
    network, found, words = ADAPTED[fault]
    method = handshake.adapt(network, scale=SCALE)
    for name in {f.name for f in fields(Findings)} - FREE:
        wanted = {**USUAL, **found}[name]
        assert getattr(method.findings, name) == pytest.approx(wanted, abs=0.03)
    assert words in repr(method)
    for batch, height, width in ((2, 37, 53), (1, 5, 71)):
        probe = Probe(height, width, SCALE, seed=5)
        sr = method(probe.lr().expand(batch, -1, -1, -1))
        assert sr.shape == (batch, 1, SCALE * height, SCALE * width)
        assert (sr == sr.clamp(0, 1)).all()
        assert probe.inner(sr - up(probe.lr())).square().mean().sqrt() < 0.075


@pytest.mark.parametrize("fault", NAMED)
def test_what_cannot_be_adapted_is_named(fault):
    network, words = NAMED[fault]
    with pytest.raises(ValueError, match=words):
        handshake.adapt(network, scale=SCALE)


def test_a_network_against_noise_has_scale_1():
    assert handshake.adapt(torch.clone, scale=1).findings.adapted == []


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["nearest", "bicubic", "lanczos", "zero_fill"])
def test_a_good_method_needs_nothing(name, scale):
    function = getattr(resample, name)
    method = handshake.adapt(lambda lr: function(lr, scale=scale), scale=scale)
    assert method.findings.adapted == []
    lr = degrade.bicubic(torch.rand(2, 1, 12 * scale, 20 * scale), scale=scale)
    torch.testing.assert_close(method(lr), function(lr, scale=scale))


def test_networks_move_and_change_mode_with_their_method():
    network = Trained(nn.Dropout()).train()
    method = handshake.adapt(network, scale=SCALE)
    assert not network.training
    assert method.to("cpu").train().network.training
    assert list(method.parameters()) == list(network.parameters())


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.3, -0.4)])
def test_a_probe_measures_shift_stretch_and_values(shift):
    probe = Probe(32, 40, 3)
    fit = probe.fit(0.9 * probe.hr(*shift) + 0.02)
    np.testing.assert_allclose(fit.shift, shift, atol=1e-4)
    np.testing.assert_allclose([*fit.stretch, fit.gain, fit.offset], [0, 0, 0.9, 0.02], atol=1e-4)
    assert fit.rms == pytest.approx((0.1 * probe.inner(probe.hr()) - 0.02).std().item(), abs=0.02)
