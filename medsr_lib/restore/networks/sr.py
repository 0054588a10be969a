"""Networks: for SR, to tell SR from HR, to name the lesion in a slice, and to outline it.

`ESPCN` and `SRResNet` take LR (B, 1, h, w) and give SR (B, 1, scale h, scale w): in training a
network's output is left as it is; in evaluation it is clipped to [0, 1]. `Discriminator`,
`LesionClassifier` and `UNet` take images (B, 1, H, W) with values in [0, 1] and give logits.

A network keeps what it was made with in its attribute `arguments`, so that `load` can make it again
from what `save` wrote.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import images as image_rules
from medsr_lib.restore.degrade import check_scale
from medsr_lib.restore.networks.denoise import DenoisingAutoencoder as DenoisingAutoencoder
from medsr_lib.restore.training import checkpoint

Norm = Literal["batch"] | None


class ESPCN(nn.Module):
    """Efficient sub-pixel convolutional network of Shi et al. 2016 (arXiv 1609.05158, section 3).

    Three convolutions work at the size of LR; the last one gives scale^2 channels, which the
    periodic shuffling PS of equation (4) rearranges into one image scale times as large:

        f1 = tanh(W1 * LR + b1),  f2 = tanh(W2 * f1 + b2),  SR = PS(W3 * f2 + b3)

    with (filter size, channels) = (5, 64), (3, 32), (3, scale^2). One-channel parameters: 21 284,
    22 729 and 24 752 for scale 2, 3 and 4.

    Args:
        scale: 2, 3, 4 or 8.
    """

    def __init__(self, *, scale: int) -> None:
        check_scale(scale)
        super().__init__()
        self.scale = scale
        self.arguments: dict[str, Any] = {"scale": scale}
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        x = torch.tanh(self.conv1(lr))  # (B, 64, h, w)
        x = torch.tanh(self.conv2(x))  # (B, 32, h, w)
        sr = self.shuffle(self.conv3(x))  # (B, 1, scale h, scale w)
        return sr if self.training else sr.clamp(0, 1)


class SRResNet(nn.Module):
    """Residual network of Ledig et al. 2017 (arXiv 1609.04802, figure 4): the generator of SRGAN.

    All but the last stages work at the size of LR: a 9 x 9 convolution and PReLU; `blocks` residual
    blocks x + BN(conv(PReLU(BN(conv(x))))) of 3 x 3 convolutions; one more convolution with BN; and
    a skip over all of these. Sub-pixel stages then enlarge by 2 each (one stage, two or three for
    scale 2, 4 or 8) or by 3, and a 9 x 9 convolution gives the image. Each PReLU learns one slope.

    A sub-pixel stage starts as a convolution and nearest-neighbour enlargement, hence without a
    checkerboard (ICNR, Aitken et al. 2017, arXiv 1707.02937); all else starts as PyTorch has it.
    One-channel parameters at scale 4: 1 528 724.

    Args:
        scale: 2, 3, 4 or 8.
        blocks: residual blocks; 16 in the paper.
        width: channels; 64 in the paper.
        norm: "batch", as in the paper, or None for a network without normalisation layers.
    """

    def __init__(
        self, *, scale: int, blocks: int = 16, width: int = 64, norm: Norm = "batch"
    ) -> None:
        check_scale(scale)
        _check_whole("blocks", blocks, 1)
        _check_whole("width", width, 1)
        _check_norm(norm)
        super().__init__()
        self.scale = scale
        self.arguments: dict[str, Any] = {
            "scale": scale,
            "blocks": blocks,
            "width": width,
            "norm": norm,
        }
        factors = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[scale]
        self.first = nn.Sequential(nn.Conv2d(1, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(_residual(width, norm) for _ in range(blocks)))
        self.after = nn.Sequential(*_conv3(width, width, norm))
        self.enlarge = nn.Sequential(*(_sub_pixel(width, r) for r in factors))
        self.last = nn.Conv2d(width, 1, 9, padding=4)

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        first = self.first(lr)  # (B, width, h, w)
        x = first
        for block in self.blocks:
            x = x + block(x)
        x = first + self.after(x)
        sr = self.last(self.enlarge(x))  # (B, 1, scale h, scale w)
        return sr if self.training else sr.clamp(0, 1)


class Discriminator(nn.Module):
    """Tells SR from HR: the discriminator of Ledig et al. 2017 (arXiv 1609.04802, figure 4).

    Eight 3 x 3 convolutions of 64, 64, 128, 128, 256, 256, 512 and 512 channels, every second one
    with stride 2; BN after all but the first; LeakyReLU of slope 0.2 (section 2.1.1); then dense
    layers of 1024 and 1. The paper's final sigmoid is left to the loss. One-channel parameters:
    23 564 353 at size 96, and 5 214 273 for any size.

    Args:
        size: side of the square crops in HR pixels, at least 16; 96 in the paper. None for crops of
            any size from 16 on: their mean over the image goes into the dense layers, as in a
            residual network (He et al. 2016, arXiv 1512.03385, section 3.3).
        width: channels of the first convolution, 64 in the paper. The last has 8 times as many, the
            first dense layer 16 times.
        norm: "batch", as in the paper, or None for a network without normalisation layers.
    """

    def __init__(self, *, size: int | None = 96, width: int = 64, norm: Norm = "batch") -> None:
        if size is not None:
            _check_whole("size", size, 16)
        _check_whole("width", width, 1)
        _check_norm(norm)
        super().__init__()
        self.size = size
        self.arguments: dict[str, Any] = {"size": size, "width": width, "norm": norm}
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for i, factor in enumerate((1, 2, 2, 4, 4, 8, 8)):
            layers += _conv3(channels, factor * width, norm, stride=2 - i % 2)
            layers += [nn.LeakyReLU(0.2)]
            channels = factor * width
        self.convolutions = nn.Sequential(*layers)
        side = 1 if size is None else -(-size // 16)  # four times halved, rounded up
        self.pool = nn.AdaptiveAvgPool2d(1) if size is None else nn.Identity()
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * side**2, 16 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(16 * width, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) -> logits (B, 1): the higher, the more they look like HR.

        Raises:
            ValueError: images of another size than the network was made for.
        """
        image_rules.check_shape(images)
        found = tuple(images.shape[-2:])
        if self.size is None and min(found) < 16:
            raise ValueError(f"crops must be at least 16 x 16, got {found[0]} x {found[1]}")
        if self.size is not None and found != (self.size, self.size):
            raise ValueError(
                f"this discriminator is for crops of {self.size} x {self.size}, "
                f"got {found[0]} x {found[1]}; make it with their size, or with size=None for any"
            )
        x = self.convolutions(images)  # (B, 8 width, H / 16, W / 16)
        logits: Tensor = self.dense(self.pool(x))  # (B, 1)
        return logits


class LesionClassifier(nn.Module):
    """Names the lesion in a slice: a compact residual network after He et al. 2016.

    A 3 x 3 convolution with stride 2, BN and ReLU; three residual stages, each of which halves the
    size and doubles the channels in one block of two 3 x 3 convolutions with a 1 x 1 projection as
    its skip (arXiv 1512.03385, section 3.3, option B); the mean over the image; dropout of 0.2, as
    EfficientNet-B0 has (Tan & Le 2019, arXiv 1905.11946, section 5.2); one dense layer.

        size      H, W     /2       /4         /8         /16       mean
        channels  1        width    2 width    4 width    8 width   classes

    Parameters for three classes at width 16: 302 963.

    Args:
        classes: names of the classes in the order of the logits; at least two.
        width: channels of the first convolution. 16 keeps a training on a CPU possible.
    """

    def __init__(self, *, classes: Sequence[str], width: int = 16) -> None:
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"classes must be a sequence of names, got {classes!r}")
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise ValueError(
                f"classes must be at least two names, none of them twice, got {list(classes)}"
            )
        _check_whole("width", width, 1)
        super().__init__()
        self.classes = tuple(str(name) for name in classes)  # no NumPy text, for `save`
        self.arguments: dict[str, Any] = {"classes": list(self.classes), "width": width}
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.stage1 = _Stage(width)
        self.stage2 = _Stage(2 * width)
        self.stage3 = _Stage(4 * width)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * width, len(self.classes)),
        )

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) -> activations (B, 4 width, H / 8, W / 8) after the second stage.

        They are behind the stage's ReLU, hence not negative; each stands for 8 x 8 pixels (sizes
        are rounded up) and sees 39 x 39. As a perceptual feature space, use them in evaluation
        mode: in training, batch norm makes an image's features depend on the others in the batch.

        Raises:
            ValueError: images smaller than 32 x 32.
        """
        image_rules.check_shape(images)
        if min(images.shape[-2:]) < 32:
            height, width = images.shape[-2:]
            raise ValueError(f"images must be at least 32 x 32, got {height} x {width}")
        x = self.stem(images)  # (B, width, H / 2, W / 2)
        x = self.stage1(x)  # (B, 2 width, H / 4, W / 4)
        x = self.stage2(x)  # (B, 4 width, H / 8, W / 8)
        return x

    def last_features(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) -> activations (B, 8 width, H / 16, W / 16), which `head` judges.

        Not negative; what Grad-CAM looks at.
        """
        x: Tensor = self.stage3(self.features(images))
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) -> logits (B, number of classes), in the order of `classes`."""
        logits: Tensor = self.head(self.last_features(images))
        return logits


class UNet(nn.Module):
    """Outlines the lesion in a slice: a compact U-Net (Ronneberger et al. 2015, arXiv 1505.04597).

    As in figure 1: on the way down, two 3 x 3 convolutions with ReLU at each size, then 2 x 2 max
    pooling; on the way up, a 2 x 2 up-convolution, what was kept at that size beside it, and two
    convolutions again; at last a 1 x 1 convolution. The channels are `width` at first and double
    with every halving (64 and depth 4 in the paper). Unlike there, convolutions are padded,
    so that nothing is cut off, and batch norm follows each (Ioffe & Szegedy 2015, arXiv
    1502.03167). Images of a size that block 2^depth does not divide are padded by reflection, and
    the logits cropped back.

    With `block` 2, each 2 x 2 block of pixels becomes four channels, and four channels become its
    logits: the periodic shuffling of `ESPCN` and its inverse. Every pixel is still seen and every
    pixel outlined, at a quarter of the work.

    Parameters at width 16 and depth 3: 482 449; a logit sees up to 100 x 100 pixels, or twice as
    many either way with `block` 2.

    Args:
        width: channels at first. 16 keeps a training on a CPU possible.
        depth: how often the size is halved.
        block: side of the blocks of pixels that become channels; 1 for none.
    """

    def __init__(self, *, width: int = 16, depth: int = 3, block: int = 1) -> None:
        _check_whole("width", width, 1)
        _check_whole("depth", depth, 1)
        _check_whole("block", block, 1)
        super().__init__()
        self.depth, self.block = depth, block
        self.arguments: dict[str, Any] = {"width": width, "depth": depth, "block": block}
        channels = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _two_conv3(before, after) for before, after in zip([block**2, *channels], channels)
        )
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in channels[:-1]
        )
        self.up = nn.ModuleList(_two_conv3(2 * c, c) for c in channels[:-1])
        self.last = nn.Conv2d(width, block**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) -> logits (B, 1, H, W): above 0 where a lesion is likelier than not.

        Raises:
            ValueError: images smaller than block 2^depth.
        """
        image_rules.check_shape(images)
        height, width = images.shape[-2:]
        step = self.block * 2**self.depth
        if min(height, width) < step:
            raise ValueError(f"images must be at least {step} x {step}, got {height} x {width}")
        below, right = -height % step, -width % step
        top, left = below // 2, right // 2
        x = F.pad(images, (left, right - left, top, below - top), mode="reflect")
        x = F.pixel_unshuffle(x, self.block)  # (B, block^2, H / block, W / block)
        kept = []
        for level, stage in enumerate(self.down):
            x = stage(x)  # (B, 2^level width, H / block / 2^level, W / block / 2^level)
            if level < self.depth:
                kept.append(x)
                x = F.max_pool2d(x, 2)
        for level in reversed(range(self.depth)):
            x = torch.cat((kept[level], self.enlarge[level](x)), 1)
            x = self.up[level](x)  # (B, 2^level width, H / block / 2^level, W / block / 2^level)
        logits: Tensor = F.pixel_shuffle(self.last(x), self.block)
        return logits[..., top : top + height, left : left + width]


class _Stage(nn.Module):
    """A residual block (B, C, H, W) -> (B, 2 C, H / 2, W / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = 2 * channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip = nn.Sequential(
            nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def _two_conv3(before: int, after: int) -> nn.Sequential:
    """(B, before, H, W) -> (B, after, H, W), at least 0: a stage of `UNet`."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _conv3(before: int, after: int, norm: Norm, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1)
    return [conv] if norm is None else [conv, nn.BatchNorm2d(after)]


def _residual(width: int, norm: Norm) -> nn.Sequential:
    """The body of a residual block; its skip is added in `SRResNet.forward`."""
    return nn.Sequential(*_conv3(width, width, norm), nn.PReLU(), *_conv3(width, width, norm))


def _sub_pixel(width: int, r: int) -> nn.Sequential:
    """(B, width, h, w) -> (B, width, r h, r w), at first constant in each r x r cell (ICNR).

    `PixelShuffle` fills the cells of channel c from the channels c r^2 + i, i = 0 ... r^2 - 1.
    """
    conv = nn.Conv2d(width, width * r**2, 3, padding=1)
    with torch.no_grad():
        for values in (conv.weight, conv.bias):
            if values is not None:
                values.copy_(values[:: r**2].repeat_interleave(r**2, dim=0))
    return nn.Sequential(conv, nn.PixelShuffle(r), nn.PReLU())


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_norm(norm: Norm) -> None:
    if norm not in ("batch", None):
        raise ValueError(f"norm must be 'batch' or None, got {norm!r}")


_CLASSES = {
    c.__name__: c
    for c in (ESPCN, SRResNet, Discriminator, LesionClassifier, UNet, DenoisingAutoencoder)
}


def n_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def fingerprint(network: nn.Module) -> str:
    """Tell weights apart: 16 hex digits that change with any bit of a network's state.

    The first digits of a SHA-256 over the names, types, shapes and bytes of the `state_dict`, which
    batch norm's running means belong to. The same on every device.
    """
    return _digest(network.state_dict())


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in weights.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save(network: nn.Module, path: str | Path, **about: str | int | float | None) -> None:
    """Write a trained network to one file, for `load`.

    Args:
        network: one of this module's.
        path: the file; replaced as a whole or not at all.
        about: what to remember with it: fold, degradation, steps ... The weights' `fingerprint` is
            remembered too.

    Raises:
        ValueError: a network of another class, which `load` could not make again.
    """
    name = type(network).__name__
    if _CLASSES.get(name) is not type(network):
        raise ValueError(
            f"{path}: cannot save a network of class {name}, only {', '.join(_CLASSES)}; "
            "save its state_dict with torch.save"
        )
    weights = network.state_dict()
    state = {
        "network": name,
        "arguments": network.arguments,
        "weights": weights,
        "about": {**about, "fingerprint": _digest(weights)},
    }
    checkpoint.save(path, state)


def load(path: str | Path, **expected: str | int | float | None) -> nn.Module:
    """Read a network that `save` wrote, ready to be applied: in evaluation mode, on the CPU.

    What was remembered with it is its attribute `about`.

    Args:
        path: the file.
        expected: what must have been remembered with it. `fold` for one: a network is not to be
            tested on patients it was trained on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a saved network, one about something else than expected, or weights of
            another fingerprint than was remembered.
    """
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(f"{path}: no such file; train the network and save it first")
    name = state.get("network")  # a training's checkpoint has the weights here
    complete = {"arguments", "weights", "about"} <= state.keys()
    if not isinstance(name, str) or name not in _CLASSES or not complete:
        raise ValueError(f"{path}: not a network written by networks.save")
    about = state["about"]
    other = [
        f"{k} is {about.get(k)!r}, not {v!r}" for k, v in expected.items() if about.get(k) != v
    ]
    if other:
        raise ValueError(f"{path}: a network trained for something else: {'; '.join(other)}")
    found = _digest(state["weights"])
    if about.get("fingerprint", found) != found:  # files of before have none
        raise ValueError(
            f"{path}: holds weights of fingerprint {found}, but {about['fingerprint']} were saved; "
            "the file was changed: restore it, or train the network again"
        )
    network: nn.Module = _CLASSES[name](**state["arguments"])
    network.load_state_dict(state["weights"])
    network.about = about
    return network.eval()
