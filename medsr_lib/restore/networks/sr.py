"""Super-resolution networks, LR (B, 1, h, w) -> SR (B, 1, scale h, scale w); a discriminator.

In training a network's output is left as it is; in evaluation it is clipped to [0, 1].
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.restore.degrade import check_scale
from medsr_lib.restore.linear import TAPS, LinearFilter

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
        checks.whole("blocks", blocks, least=1)
        checks.whole("width", width, least=1)
        if norm not in ("batch", None):
            raise ValueError(f"norm must be 'batch' or None, got {norm!r}")
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


class WDSR(nn.Module):
    """Wide residual network of Yu et al. 2018 (arXiv 1808.08718, figure 2 and section 3.1, WDSR-A).

    All convolutions are 3 x 3 and work at the size of LR, where SRResNet enlarges many channels:
    one to `width` channels; `blocks` residual blocks x + conv(ReLU(conv(x))), `widening` times as
    wide within; and one to scale^2 channels, which are shuffled into one image (`ESPCN`).

    They give what a linear filter leaves out: SR = filter(LR) + PS(...). In the paper it is 5 x 5
    and learned with the rest. Here it is the best linear filter, fitted beforehand and kept as it
    is: `network.linear = linear.fit(...)`; before that it is 0. The last convolution starts at 0,
    so that an untrained network does what the filter does, and whatever exceeds it was learned.
    Nor is there weight normalisation. One-channel parameters at scale 4: 1 187 152.

    Args:
        scale: 2, 3, 4 or 8.
        blocks: residual blocks; 16 in the paper.
        width: channels between blocks; 32 in the paper.
        widening: how many times as many there are within a block; 2 to 4 in the paper.
        taps: side of the filter's square of LR pixels, odd.
    """

    def __init__(
        self, *, scale: int, blocks: int = 16, width: int = 32, widening: int = 4, taps: int = TAPS
    ) -> None:
        check_scale(scale)
        shape = {"blocks": blocks, "width": width, "widening": widening}
        for name, value in shape.items():
            checks.whole(name, value, least=1)
        super().__init__()
        self.scale, self.shape = scale, shape
        self.linear = LinearFilter(scale=scale, taps=taps)
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_wide(width, widening) for _ in range(blocks)))
        self.last = nn.Conv2d(width, scale**2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        self.shuffle = nn.PixelShuffle(scale)

    @property
    def arguments(self) -> dict[str, Any]:
        """What it can be made with again; the filter may have come later."""
        return {**self.linear.arguments, **self.shape}

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        x = self.first(lr)  # (B, width, h, w)
        for block in self.blocks:
            x = x + block(x)
        missing = self.shuffle(self.last(x))  # (B, 1, scale h, scale w)
        with torch.autocast(lr.device.type, enabled=False):  # half precision is for what is learned
            sr = self.linear.weighted(lr) + missing
        return sr if self.training else sr.clamp(0, 1)


class Discriminator(nn.Module):
    """Learns to distinguish SR from HR (Ledig et al. 2017, arXiv 1609.04802, figure 4).

    Eight 3 x 3 convolutions of 64, 64, 128, 128, 256, 256, 512 and 512 channels, every second one
    with stride 2; BN after all but the first; LeakyReLU of slope 0.2 (section 2.1.1); then dense
    layers of 1024 and 1. The paper's final sigmoid is left to the loss. One-channel parameters at
    size 96: 23 564 353.

    Args:
        size: side of the square crops in HR pixels, at least 16; 96 in the paper.
        width: channels of the first convolution, 64 in the paper. The last has 8 times as many, the
            first dense layer 16 times.
    """

    def __init__(self, *, size: int = 96, width: int = 64) -> None:
        checks.whole("size", size, least=16)
        checks.whole("width", width, least=1)
        super().__init__()
        self.size = size
        self.arguments: dict[str, Any] = {"size": size, "width": width}
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for i, factor in enumerate((1, 2, 2, 4, 4, 8, 8)):
            layers += _conv3(channels, factor * width, "batch", stride=2 - i % 2)
            layers += [nn.LeakyReLU(0.2)]
            channels = factor * width
        self.convolutions = nn.Sequential(*layers)
        side = -(-size // 16)  # four times halved, rounded up
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
        height, width = images.shape[-2:]
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"this discriminator is for crops of {self.size} x {self.size}, "
                f"got {height} x {width}; make it with the size of the crops"
            )
        x = self.convolutions(images)  # (B, 8 width, H / 16, W / 16)
        logits: Tensor = self.dense(x)  # (B, 1)
        return logits


def _conv3(before: int, after: int, norm: Norm, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1)
    return [conv] if norm is None else [conv, nn.BatchNorm2d(after)]


def _residual(width: int, norm: Norm) -> nn.Sequential:
    """The body of a residual block; its skip is added in `SRResNet.forward`."""
    return nn.Sequential(*_conv3(width, width, norm), nn.PReLU(), *_conv3(width, width, norm))


def _wide(width: int, widening: int) -> nn.Sequential:
    """The body of a wide residual block; its skip is added in `WDSR.forward`."""
    within = widening * width
    return nn.Sequential(*_conv3(width, within, None), nn.ReLU(), *_conv3(within, width, None))


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
