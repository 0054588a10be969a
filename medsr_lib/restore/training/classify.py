"""Training a small classifier on image patches, and measuring how often it is right.

It serves two ends: its features are a distance that knows the pictures at hand (`losses.Content`),
and what it says of SR and of HR can be compared.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.restore.training.batches import BLOCK
from medsr_lib.restore.training.supervised import (
    LOOKS,
    Training,
    draw_light,
    draw_place,
    light,
    place,
    train,
)

Augment = Literal["turns", "shifts"]

# Szegedy et al. 2016 (arXiv 1512.00567, section 7): 0.1 of the target is dealt to all classes.
LABEL_SMOOTHING = 0.1
AT_ONCE = 64  # images classified together in `accuracy`


@dataclass(frozen=True, repr=False)
class Accuracy:
    """How often a classifier is right.

    Attributes:
        confusion: (K, K) int64, images by true class (rows) and by class given (columns).
    """

    confusion: Tensor

    @property
    def n(self) -> int:
        """How many images."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of images given their true class."""
        return self.confusion.trace().item() / self.n

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean over the classes that occur of the share found of each."""
        of_class = self.confusion.sum(1)
        return (self.confusion.diag() / of_class)[of_class > 0].double().mean().item()

    def __repr__(self) -> str:
        return f"Accuracy({self.accuracy:.3f}, balanced {self.balanced:.3f}, n = {self.n})"


def fit_classifier(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    batch: int = 32,
    learning_rate: tuple[float, float] = (2e-3, 1e-5),
    validation: tuple[Tensor, Tensor] | None = None,
    augment: Augment = "turns",
    patience: int | None = None,
    looks: int = LOOKS,
    device: str = "auto",
    progress: bool = True,
) -> Training:
    """Train a network to name the class of an image.

    Every step draws a class and then an image of it for each place of the batch, so that rare
    classes are seen as often as common ones (instead of weights in the loss, which differ from that
    in expectation by nothing); changes its place, brightness and contrast; and takes one step of
    AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) down the cross-entropy with smoothed labels;
    the learning rate falls along half a cosine. All that is random follows from `seed`: on a CPU
    the same call from the same weights gives the same weights.

    Args:
        network: images (B, 1, S, S) -> logits (B, K), such as `networks.LesionClassifier`; trained
            in place and left in evaluation mode on the CPU, with the last step's weights, or with
            those of the best look where there is a patience.
        images: (N, 1, S, S) float32 in [0, 1].
        labels: (N,) int64, 0 to K - 1; each class at least once.
        steps: to take.
        seed: of batches, changes of the images, and dropout.
        batch: images a step.
        learning_rate: at the first and at the last step.
        validation: images and labels of other patients. They decide nothing without a patience.
        augment: "turns", one of the eight flips and transposes, for lesions without an up and a
            side; or "shifts", a small shift, enlargement and rotation (`supervised.place`), for
            bodies, whose heart is on the left and whose diaphragm is below.
        patience: stop after so many looks at the validation images without a lower loss (the mean
            over classes of the cross-entropy), and go back to the state of the lowest.
        looks: how often the validation images are looked at, about.
        device: "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Raises:
        TypeError, ValueError: images that are none, labels that do not belong to them or to the
            network's classes, a class without an image (or without one to be patient with), a
            patience without validation images, or a loss that is no longer finite.
    """
    _check_design(steps, batch, looks, augment, patience, validation)
    _check(images, labels, "images")
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images: expected squares (N, 1, S, S), got {tuple(images.shape)}")
    if validation is not None:
        _check(*validation, "validation")
    on = devices.choose(device)
    network.to(on)
    n_classes = _n_classes(network, images)
    _check_classes(labels, n_classes, "images")
    if validation is not None:
        check = _refuse_outside if patience is None else _check_classes
        check(validation[1], n_classes, "validation")
    return train(
        network,
        _Batches(images.to(on), labels, n_classes, batch=batch, seed=seed, augment=augment),
        partial(F.cross_entropy, label_smoothing=LABEL_SMOOTHING),
        steps=steps,
        seed=seed,
        learning_rate=learning_rate,
        look=None if validation is None else partial(_look, network, *validation),
        columns=("accuracy", "balanced", "loss"),
        device=on,
        progress=progress,
        patience=patience,
        times=looks,
    )


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> Accuracy:
    """Compare what a network says of images with what they are.

    Args:
        network: images (B, 1, H, W) -> logits (B, K); asked in evaluation mode, where it is.
        images: (N, 1, H, W) float32 in [0, 1].
        labels: (N,) int64, 0 to K - 1.

    Raises:
        TypeError, ValueError: images that are none, or labels that do not belong to them or to the
            network's classes.
    """
    _check(images, labels, "images")
    return _accuracy(_logits(network, images), labels)


def _accuracy(logits: Tensor, labels: Tensor) -> Accuracy:
    n_classes = logits.shape[1]
    _refuse_outside(labels, n_classes, "images")
    cells = labels.cpu() * n_classes + logits.argmax(1)
    return Accuracy(cells.bincount(minlength=n_classes**2).view(n_classes, n_classes))


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    """(N, K), in evaluation mode, on the CPU."""
    on = next(network.parameters()).device
    was_training = network.training
    network.eval()
    logits = torch.cat([network(part.to(on)).cpu() for part in images.split(AT_ONCE)])
    network.train(was_training)
    return logits


@torch.inference_mode()
def _look(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    logits, labels = _logits(network, images), labels.cpu()
    found = _accuracy(logits, labels)
    of_image = F.cross_entropy(logits, labels, reduction="none")
    of_class = [of_image[labels == k].mean() for k in labels.unique()]
    loss = torch.stack(of_class).mean().item()
    return {"accuracy": found.accuracy, "balanced": found.balanced, "loss": loss}


class _Batches:
    """`batches(step)` -> images (B, 1, S, S), changed at random, and labels (B,)."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        n_classes: int,
        *,
        batch: int,
        seed: int,
        augment: Augment = "turns",
    ) -> None:
        self.images, self.batch, self.seed, self.augment = images, batch, seed, augment
        by_class = [np.flatnonzero(labels.cpu().numpy() == k) for k in range(n_classes)]
        self.counts = np.array([len(members) for members in by_class])
        self.first = np.cumsum(self.counts) - self.counts
        self.members = np.concatenate(by_class)
        self.drawn: tuple[int, dict[str, NDArray[Any]]] = (-1, {})

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        block, place = divmod(step, BLOCK)
        on = self.images.device
        drawn = {k: torch.from_numpy(v[place]).to(on) for k, v in self._draw(block).items()}
        images = self._turned(drawn) if self.augment == "turns" else self._placed(drawn)
        images = light(images, drawn["contrast"], drawn["brightness"])
        return images[:, None], drawn["label"][:, 0]

    def _turned(self, drawn: dict[str, Tensor]) -> Tensor:
        """Images (B, S, S) by one of the eight flips and transposes each."""
        along = torch.arange(self.images.shape[-1], device=self.images.device)
        rows, columns = (
            torch.where(drawn[flip], along.flip(0), along) for flip in ("flip_y", "flip_x")
        )  # (B, S)
        which = drawn["which"][:, :, None]  # (B, 1, 1)
        images = self.images[which, 0, rows[:, :, None], columns[:, None, :]]  # (B, S, S)
        return torch.where(drawn["transpose"][:, :, None], images.mT, images)

    def _placed(self, drawn: dict[str, Tensor]) -> Tensor:
        """Images (B, S, S), each a little elsewhere."""
        images = self.images[drawn["which"][:, 0], 0]
        return place(images, *(drawn[name] for name in ("down", "right", "scale", "angle")))

    def _draw(self, block: int) -> dict[str, NDArray[Any]]:
        """Everything random of a block of steps, (BLOCK, B, 1) each."""
        if self.drawn[0] == block:
            return self.drawn[1]
        rng = np.random.default_rng([self.seed, block])
        shape = (BLOCK, self.batch, 1)
        label = rng.integers(len(self.counts), size=shape)
        number = (rng.random(shape) * self.counts[label]).astype(np.int64)
        drawn = {"label": label, "which": self.members[self.first[label] + number]}
        if self.augment == "turns":
            flips = rng.integers(2, size=(3, *shape)).astype(bool)
            drawn |= dict(zip(("flip_y", "flip_x", "transpose"), flips))
        else:
            drawn |= draw_place(rng, shape)
        drawn |= draw_light(rng, shape)
        self.drawn = block, drawn
        return drawn


@torch.inference_mode()
def _n_classes(network: nn.Module, images: Tensor) -> int:
    """How many logits the network gives."""
    logits = network.eval()(images[:1].to(next(network.parameters()).device))
    return int(logits.shape[1])


def _check_design(
    steps: int,
    batch: int,
    looks: int,
    augment: str,
    patience: int | None,
    validation: tuple[Tensor, Tensor] | None,
) -> None:
    for name, value, least in (
        ("steps", steps, 1),
        ("batch", batch, 2),
        ("looks", looks, 1),
        ("patience", 1 if patience is None else patience, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if augment not in get_args(Augment):
        raise ValueError(f"augment must be 'turns' or 'shifts', got {augment!r}")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation images to decide by; give them, or no patience")


def _check(images: Tensor, labels: Tensor, name: str) -> None:
    image_rules.check(images, name)
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise TypeError(
            f"labels of {name}: expected int64 of shape (N,), got {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    if len(labels) != len(images):
        raise ValueError(f"{name}: {len(images)} images, but {len(labels)} labels")


def _refuse_outside(labels: Tensor, n_classes: int, name: str) -> None:
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if len(outside):
        raise ValueError(
            f"{name}: the network knows the classes 0 to {n_classes - 1}, "
            f"found {outside.unique().tolist()}"
        )


def _check_classes(labels: Tensor, n_classes: int, name: str) -> None:
    _refuse_outside(labels, n_classes, name)
    counts = labels.cpu().bincount(minlength=n_classes)
    if (counts == 0).any():
        missing = (counts == 0).nonzero()[:, 0].tolist()
        raise ValueError(
            f"{name}: no image of class {missing} among {len(labels)}; give images of each class, "
            "or take a network of fewer classes"
        )
