"""Losses beyond the squared error: the distance between features, and the adversarial ones.

VGG19 and the content loss are those of Ledig et al. 2017 (SRGAN, arXiv 1609.04802, equation 5).
"""

import copy
import http.client
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.files import sha256
from medsr_lib.restore.networks.saved import fingerprint

VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
# Torchvision writes the first 8 hex digits of a file's SHA-256 into its name.
VGG19_SHA256 = "dcbb9e9d"
# Mean and standard deviation of ImageNet's channels, with which torchvision's weights were trained
# (https://pytorch.org/vision/stable/models.html).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
# Simonyan & Zisserman 2015 (arXiv 1409.1556, table 1, column E): the channels of the 3 x 3
# convolutions, of which these groups lie between two poolings.
_VGG19_GROUPS = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)


class VGG19(nn.Module):
    """VGG19 up to its last feature map, phi_5,4 of Ledig et al. 2017 (equation 5).

    That is the 4th convolution after the 4th and before the 5th max-pooling, after its activation.
    Layers are numbered and named as in torchvision (`features.0.weight` to `features.34.bias`).
    The weights are random: `vgg19` gives those trained on ImageNet.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for group in _VGG19_GROUPS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for channels in group:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
        self.features = nn.Sequential(*layers)
        for name, values in (("mean", IMAGENET_MEAN), ("sd", IMAGENET_SD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [0, 1] -> features (B, 512, H // 16, W // 16), at least 0."""
        x = (images - self.get_buffer("mean")) / self.get_buffer("sd")  # (B, 3, H, W)
        features: Tensor = self.features(x)
        return features


def vgg19(path: str | Path | None = None) -> VGG19:
    """VGG19 with torchvision's ImageNet weights: frozen, in evaluation mode, on the CPU.

    Args:
        path: torchvision's file of weights (`vgg19-dcbb9e9d.pth`, 548 MB; what it has of the
            classifier is left out). None fetches it from `VGG19_URL`, once, into torch.hub's folder
            of checkpoints.

    Raises:
        FileNotFoundError: no such file.
        ConnectionError: the file could not be fetched.
        ValueError: a file whose SHA-256 does not begin with `VGG19_SHA256`.
    """
    if path is None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_URL.rpartition("/")[2]
        if not path.is_file():
            _fetch(path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; fetch it from {VGG19_URL}")
    found = sha256(path)
    if not found.startswith(VGG19_SHA256):
        raise ValueError(
            f"{path}: expected a SHA-256 that begins with {VGG19_SHA256}, found {found}; remove "
            f"the file and fetch it again from {VGG19_URL}"
        )
    network = VGG19()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=False)
    return network.requires_grad_(False).eval()


def _fetch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(VGG19_URL, str(path), VGG19_SHA256)
    except (OSError, http.client.HTTPException) as e:
        raise ConnectionError(
            f"{path.name} could not be fetched from {VGG19_URL} ({e}). Without a network, fetch "
            "the file elsewhere (on Kaggle: add it as a data set) and give its place as path="
        ) from e
    except RuntimeError as e:  # torch.hub's word for another hash; nothing is kept
        raise ValueError(f"{VGG19_URL}: {e}; try again, or give another file as path=") from e


class PerceptualLoss(nn.Module):
    """How far SR is from HR in the features of a network: the content loss of Ledig et al. 2017.

    Equation 5 for features phi of C channels and h x w places, and any phi:

        d(SR, HR) = 1 / (C h w) sum (phi(HR) - phi(SR))^2 / normalizer

    `content(sr, hr)` is the mean of d over a batch. The network is copied, frozen, and stays in
    evaluation mode whatever `train` is given; `.to(device)` moves the copy.

    Args:
        features: phi, images (B, 1, H, W) -> (B, C, h, w): a network, or a method of one, such as
            `classifier.features`.
        name: of the features, for tables and figures.
        normalizer: the distance that counts as 1; `relative_to` measures one. Ledig et al. divide
            phi by 12.75, which is a normalizer of 12.75^2 (section 3.2).

    Raises:
        TypeError: features that belong to no network.
        ValueError: a normalizer that is not positive.
    """

    def __init__(
        self, features: Callable[[Tensor], Tensor], *, name: str, normalizer: float = 1.0
    ) -> None:
        super().__init__()
        method = features.__call__ if isinstance(features, nn.Module) else features
        network = getattr(method, "__self__", None)
        if not isinstance(network, nn.Module):
            raise TypeError(
                f"features: expected a network or a method of one, got {features!r}; put a "
                "function into the forward of an nn.Module"
            )
        checks.positive("normalizer", normalizer)
        self.name, self.normalizer = name, float(normalizer)
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._method = method.__name__

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Does not reach the network, which stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """SR and HR (B, 1, H, W) in [0, 1] -> the mean distance, a scalar of at least 0."""
        return self.distances(sr, hr).mean()

    def distances(self, sr: Tensor, hr: Tensor) -> Tensor:
        """SR and HR (B, 1, H, W) -> the distance of each pair, (B,)."""
        return self._squares(sr, hr).mean((1, 2, 3))

    def map(self, sr: Tensor, hr: Tensor) -> Tensor:
        """SR and HR (B, 1, H, W) -> the mean over channels of the squared difference, (B, H, W).

        It has the size of the images (each pixel has the value of the nearest feature), so that it
        can be averaged over regions; over the whole image it gives the distance. A feature sees far
        beyond its own pixels: that of `VGG19` 252 pixels.
        """
        squares = self._squares(sr, hr).mean(1, keepdim=True)  # (B, 1, h, w)
        return F.interpolate(squares, size=sr.shape[-2:], mode="nearest-exact")[:, 0]

    @torch.no_grad()
    def relative_to(self, sr: Tensor, hr: Tensor) -> "PerceptualLoss":
        """The same with another normalizer: these images are at distance 1 on average.

        With SR by bicubic interpolation, say, "1" means as far as bicubic. The
        normalizer is rounded to three digits, so that it is the same in every session.

        Raises:
            ValueError: images whose features do not differ.
        """
        distance = self.distances(sr, hr).double().mean().item() * self.normalizer
        if not distance > 0:
            raise ValueError(
                f"the features of SR and HR are at distance {distance}; "
                "give degraded images and their originals"
            )
        return PerceptualLoss(self._features, name=self.name, normalizer=float(f"{distance:.3g}"))

    def __repr__(self) -> str:
        features = f"{type(self.network).__name__}.{self._method}"
        return (
            f"PerceptualLoss({self.name!r}, {features}, weights {fingerprint(self.network)}, "
            f"normalizer {self.normalizer!r})"
        )

    @property
    def _features(self) -> Callable[[Tensor], Tensor]:
        """The features of the copied network."""
        features: Callable[[Tensor], Tensor] = getattr(self.network, self._method)
        return features

    def _squares(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Squared differences of the features, (B, C, h, w), normalised; no gradient to HR."""
        image_rules.check_shape(sr, "sr")
        if sr.shape != hr.shape:
            raise ValueError(f"SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; they must be alike")
        with torch.no_grad():
            wanted = self._features(hr)
        return (self._features(sr) - wanted).float().square() / self.normalizer


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The loss of the discriminator D: half for HR taken as SR, half for the reverse.

    The negative of Goodfellow et al. 2014 (arXiv 1406.2661, equation 1), halved:

        -1/2 [mean log D(HR) + mean log(1 - D(SR))],  D = sigmoid(logit)

    Blind guessing (all logits 0) gives log 2.

    Args:
        real: logits of HR, any shape.
        fake: logits of SR, any shape; detach SR, so that the generator gets no gradient.
    """
    to_one = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    to_zero = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return (to_one + to_zero) / 2


def generator_loss(fake: Tensor) -> Tensor:
    """The adversarial loss of the generator: -mean log D(SR), D = sigmoid(logit).

    Ledig et al. 2017, equation 6, as a mean over the batch; Goodfellow et al. 2014 (section 3)
    prefer it to log(1 - D(SR)), whose gradient vanishes where D is right.

    Args:
        fake: logits of SR, any shape.
    """
    return F.softplus(-fake).mean()
