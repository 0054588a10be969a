"""The network that takes noise away: noisy images (B, 1, H, W) -> clean ones."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.restore.noise import estimate_sigma

LEAST = 1e-3  # the least noise that is assumed: a quarter of one of 255 grey levels


class DenoisingAutoencoder(nn.Module):
    """Convolutional denoising autoencoder with symmetric skips: y = x + noise -> x.

    An encoder squeezes the noisy image into ever fewer places, a decoder draws it again (Vincent et
    al. 2008, 10.1145/1390156.1390294: trained to undo a corruption). What the encoder had at a size
    is added to what the decoder has there, so that detail need not pass the narrowest place
    (RED-Net, Mao et al. 2016, arXiv 1603.09056), and what comes out is the noise, which is taken
    from y (residual learning: DnCNN, Zhang et al. 2017, arXiv 1608.03981, section III).

        in         (y - 1/2) / s and log s, with the noise s estimated from y    2 channels
        encoder    conv, conv | conv /2, conv | conv /2, conv       all 3 x 3, each with ReLU
        channels   width        2 width         4 width             for a depth of 2
        decoder    up x2 + skip, conv | up x2 + skip, conv | conv   2 x 2 up-convolutions
        out        y - s times the last convolution

    Nothing tells it the level: it is blind. It estimates s by `noise.estimate_sigma` and works in
    units of it, as FFDNet takes the level as an input (Zhang et al. 2018, arXiv 1710.04026), so
    that what it does to faint noise is not drowned by what it learns of strong noise. There is no
    batch norm, which would mix the levels of a batch. The last convolution starts at 0: an
    untrained network gives back what it gets. Parameters at width 16 and depth 2: 93 937.

    Args:
        width: channels at first. 16 keeps a training on a CPU possible.
        depth: how often the size is halved.
    """

    def __init__(self, *, width: int = 16, depth: int = 2) -> None:
        checks.whole("width", width, least=1)
        checks.whole("depth", depth, least=1)
        super().__init__()
        self.depth = depth
        self.arguments: dict[str, Any] = {"width": width, "depth": depth}
        channels = [width * 2**level for level in range(depth + 1)]
        pairs = list(pairwise(channels))
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.encode = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in channels)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.decode = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in channels[:-1])
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor) -> Tensor:
        """Noisy images (B, 1, H, W) -> clean ones (B, 1, H, W).

        In training the output is left as it is; in evaluation it is clipped to [0, 1]. Sizes that
        2^depth does not divide are padded by reflection, and cropped back.

        Raises:
            ValueError: images smaller than 2^depth.
        """
        image_rules.check_shape(noisy)
        height, width = noisy.shape[-2:]
        step = 2**self.depth
        if min(height, width) < step:
            raise ValueError(f"images must be at least {step} x {step}, got {height} x {width}")
        s = estimate_sigma(noisy.detach()).clamp_(min=LEAST).view(-1, 1, 1, 1)
        scaled = 0.1 * (noisy - 0.5) / s  # 0.1: the levels of interest are around 0.1
        x = torch.cat((scaled, 0.3 * s.log().expand_as(noisy)), 1)  # (B, 2, H, W)
        x = F.pad(x, (0, -width % step, 0, -height % step), mode="reflect")
        clean = noisy - s * self._noise(x)[..., :height, :width]
        return clean if self.training else clean.clamp(0, 1)

    def _noise(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> the noise in units of its standard deviation, (B, 1, H, W)."""
        x = torch.relu(self.encode[0](torch.relu(self.first(x))))  # (B, width, H, W)
        kept = [x]
        for shrink, encode in zip(self.shrink, self.encode[1:]):
            x = torch.relu(encode(torch.relu(shrink(x))))  # (B, 2 C, H / 2, W / 2)
            kept.append(x)
        for level in reversed(range(self.depth)):
            x = torch.relu(self.enlarge[level](x) + kept[level])  # (B, C, 2 H, 2 W)
            x = torch.relu(self.decode[level](x))
        noise: Tensor = self.last(x)
        return noise
