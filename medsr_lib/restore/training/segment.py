"""Training a small network to outline the lesion in a slice, and measuring how well it does.

A segmenter that is trained on HR and then left as it is can say what of a lesion SR has left.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.restore.training.batches import BLOCK
from medsr_lib.restore.training.supervised import Training, draw_light, light, train

AT_ONCE = 8  # images outlined together in `measure`


def fit_segmenter(
    network: nn.Module,
    images: Tensor,
    masks: Tensor,
    *,
    steps: int,
    seed: int,
    batch: int = 8,
    crop: int | None = None,
    learning_rate: tuple[float, float] = (1e-3, 1e-5),
    validation: tuple[Tensor, Tensor] | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Training:
    """Train a network to outline the lesion in an image.

    Every step draws images and a crop of each; the first half of the batch (rounded up) holds at
    least one pixel of a lesion, drawn from an image that has one, the other half lies anywhere.
    Each crop is turned by one of the eight flips and transposes, its brightness and contrast are
    changed a little, and one step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) is taken
    down `loss`; the learning rate falls along half a cosine. All that is random follows from `seed`
    and the step: on a CPU the same call from the same weights gives the same weights.

    Args:
        network: images (B, 1, S, S) -> logits (B, 1, S, S), such as `networks.UNet`; trained in
            place and left with the last step's weights, in evaluation mode, on the CPU.
        images: (N, 1, S, S) float32 in [0, 1].
        masks: (N, 1, S, S) bool; an image may have no lesion, but not all of them.
        steps: to take.
        seed: of images, crops and turns.
        batch: crops a step.
        crop: side of the square crops in pixels; None for whole images.
        learning_rate: at the first and at the last step.
        validation: images and masks of other patients, looked at about ten times; they decide
            nothing.
        device: "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Raises:
        TypeError, ValueError: images that are none, masks that do not belong to them or are all
            empty, a crop that does not fit, logits of another shape, or a loss that is no longer
            finite.
    """
    for name, number, least in (("steps", steps, 1), ("batch", batch, 2)):
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
    _check(images, masks, "images")
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images: expected squares (N, 1, S, S), got {tuple(images.shape)}")
    if validation is not None:
        _check(*validation, "validation")
    on = devices.choose(device)
    return train(
        network.to(on),
        _Batches(images.to(on), masks.to(on), size=crop, batch=batch, seed=seed),
        loss,
        steps=steps,
        seed=seed,
        learning_rate=learning_rate,
        look=None if validation is None else partial(_look, network, *validation),
        columns=("dice",),
        device=on,
        progress=progress,
    )


def loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus soft Dice, ().

    Soft Dice is D = 2 sum p g / (sum p^2 + sum g^2) with p = sigmoid(logits) (Milletari et al.
    2016, arXiv 1606.04797, section 3), here over all pixels of the batch together: crops without a
    lesion have none of their own. The cross-entropy is the mean over pixels.

    Args:
        logits: (B, 1, H, W).
        masks: (B, 1, H, W) bool, not all of them empty.

    Raises:
        ValueError: logits and masks of different shapes.
    """
    _check_alike(logits, masks)
    g = masks.to(logits.dtype)
    p = logits.sigmoid()
    D = 2 * (p * g).sum() / (p.square().sum() + g.sum())  # g^2 = g
    return F.binary_cross_entropy_with_logits(logits, g) + 1 - D


def dice(prediction: Tensor, masks: Tensor) -> Tensor:
    """Overlap of two outlines, 2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297), (B,).

    NaN where both are empty.

    Args:
        prediction: (B, 1, H, W), bool, or logits: a lesion is where they are above 0.
        masks: (B, 1, H, W) bool.

    Raises:
        TypeError: masks that are not bool, or a prediction of whole numbers.
        ValueError: different shapes, or a prediction that holds NaN.
    """
    _check_mask(masks, "masks")
    _check_alike(prediction, masks)
    if prediction.is_floating_point():
        if prediction.isnan().any():
            raise ValueError("prediction: holds NaN")
        prediction = prediction > 0
    _check_mask(prediction, "prediction")
    both, one, other = (
        m.flatten(1).sum(1).double().cpu() for m in (prediction & masks, prediction, masks)
    )
    return (2 * both / (one + other)).float()


@torch.inference_mode()
def measure(network: nn.Module, images: Tensor, masks: Tensor) -> Tensor:
    """`dice` of what a network outlines, (N,); NaN where neither it nor the mask has a lesion.

    Args:
        network: images (B, 1, H, W) -> logits (B, 1, H, W); asked in evaluation mode, where it is.
        images: (N, 1, H, W) float32 in [0, 1].
        masks: (N, 1, H, W) bool.

    Raises:
        TypeError, ValueError: images that are none, or masks that do not belong to them.
    """
    _check(images, masks, "images")
    on = next(network.parameters()).device
    was_training = network.training
    network.eval()
    parts = zip(images.split(AT_ONCE), masks.split(AT_ONCE))
    found = torch.cat([dice(network(x.to(on)).cpu(), y.cpu()) for x, y in parts])
    network.train(was_training)
    return found


def _look(network: nn.Module, images: Tensor, masks: Tensor) -> dict[str, float]:
    return {"dice": measure(network, images, masks).nanmean().item()}


class _Batches:
    """`batches(step)` -> crops of images (B, 1, s, s) and of their masks (B, 1, s, s) bool."""

    def __init__(
        self, images: Tensor, masks: Tensor, *, size: int | None, batch: int, seed: int
    ) -> None:
        n, side = len(images), images.shape[-1]
        self.size = side if size is None else size
        if not 1 <= self.size <= side:
            raise ValueError(f"crop {size} does not fit: the images measure {side} pixels")
        self.images, self.masks, self.batch, self.seed = images, masks, batch, seed
        self.places = side - self.size + 1  # along each axis
        flat = masks.flatten(1)
        self.pixels = flat.nonzero()[:, 1].cpu().numpy()  # of lesions, image after image
        self.counts = flat.sum(1).cpu().numpy()  # (N,)
        self.first = np.cumsum(self.counts) - self.counts
        self.ill = np.flatnonzero(self.counts)
        if not len(self.ill):
            raise ValueError(f"all {n} masks are empty; there is no lesion to learn from")
        self.drawn: tuple[int, dict[str, NDArray[Any]]] = (-1, {})

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        block, place = divmod(step, BLOCK)
        on = self.images.device
        drawn = {k: torch.from_numpy(v[place]).to(on) for k, v in self._draw(block).items()}
        along = torch.arange(self.size, device=on)
        rows, columns = (
            drawn[first] + torch.where(drawn[flip], along.flip(0), along)
            for first, flip in (("top", "flip_y"), ("left", "flip_x"))
        )  # (B, s)
        at = drawn["which"][:, :, None], 0, rows[:, :, None], columns[:, None, :]
        x, y = (
            torch.where(drawn["transpose"][:, :, None], t.mT, t)
            for t in (self.images[at], self.masks[at])
        )  # (B, s, s)
        return light(x, drawn["contrast"], drawn["brightness"])[:, None], y[:, None]

    def _draw(self, block: int) -> dict[str, NDArray[Any]]:
        """Everything random of a block of steps, (BLOCK, B, 1) each."""
        if self.drawn[0] == block:
            return self.drawn[1]
        rng = np.random.default_rng([self.seed, block])
        shape = (BLOCK, self.batch, 1)
        on_lesion = np.arange(self.batch)[:, None] < -(-self.batch // 2)  # (B, 1)
        anywhere = rng.integers(len(self.counts), size=shape)
        which = np.where(on_lesion, self.ill[rng.integers(len(self.ill), size=shape)], anywhere)
        number = (rng.random(shape) * self.counts[which]).astype(np.int64)
        pixel = self.pixels[np.minimum(self.first[which] + number, len(self.pixels) - 1)]
        starts = []
        for at in np.divmod(pixel, self.images.shape[-1]):
            low = np.where(on_lesion, np.maximum(at - self.size + 1, 0), 0)
            high = np.where(on_lesion, np.minimum(at, self.places - 1), self.places - 1)
            starts.append(low + (rng.random(shape) * (high - low + 1)).astype(np.int64))
        flips = rng.integers(2, size=(3, *shape)).astype(bool)
        drawn = {
            "which": which,
            **dict(zip(("top", "left"), starts)),
            **dict(zip(("flip_y", "flip_x", "transpose"), flips)),
            **draw_light(rng, shape),
        }
        self.drawn = block, drawn
        return drawn


def _check(images: Tensor, masks: Tensor, name: str) -> None:
    image_rules.check(images, name)
    _check_mask(masks, f"masks of {name}")
    if masks.shape != images.shape:
        raise ValueError(
            f"{name}: images are {tuple(images.shape)}, but masks {tuple(masks.shape)}"
        )


def _check_mask(masks: Tensor, name: str) -> None:
    if masks.dtype != torch.bool:
        raise TypeError(f"{name}: expected bool, got {masks.dtype}")


def _check_alike(prediction: Tensor, masks: Tensor) -> None:
    if prediction.ndim != 4 or prediction.shape != masks.shape:
        raise ValueError(
            f"expected prediction and masks of one shape (B, 1, H, W), got "
            f"{tuple(prediction.shape)} and {tuple(masks.shape)}"
        )
