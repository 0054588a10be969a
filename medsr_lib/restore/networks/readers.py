"""Networks that read an image: which lesion is it, and where does it end?

They take images (B, 1, H, W) with values in [0, 1] and give logits.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules


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
        checks.whole("width", width, least=1)
        super().__init__()
        self.classes = tuple(str(name) for name in classes)  # no NumPy text, for `save`
        self.arguments: dict[str, Any] = {"classes": list(self.classes), "width": width}
        self.stem = nn.Sequential(*_convolution(1, width, stride=2), nn.ReLU())
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
        checks.whole("width", width, least=1)
        checks.whole("depth", depth, least=1)
        checks.whole("block", block, least=1)
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
            *_convolution(channels, out, stride=2), nn.ReLU(), *_convolution(out, out)
        )
        self.skip = nn.Sequential(*_convolution(channels, out, size=1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def _two_conv3(before: int, after: int) -> nn.Sequential:
    """(B, before, H, W) -> (B, after, H, W), at least 0: a stage of `UNet`."""
    return nn.Sequential(
        *_convolution(before, after), nn.ReLU(), *_convolution(after, after), nn.ReLU()
    )


def _convolution(before: int, after: int, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution and the batch norm behind it."""
    conv = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(after)]
