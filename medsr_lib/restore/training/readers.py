"""Training the networks that read images: one that names a class, one that outlines a lesion.

Trained on HR and then left as they are, they show which decisions SR changes; and a classifier's
features are a distance that knows the images at hand (`losses.PerceptualLoss`).
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import checks
from medsr_lib import images as image_rules
from medsr_lib.restore.training.batches import Augment, LabelledImages, MaskedCrops, digest
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine, Precision
from medsr_lib.restore.training.fit import Loss, Recipe, cosine, refuse_shared
from medsr_lib.restore.training.loop import Evaluation, History, Training

# Szegedy et al. 2016 (arXiv 1512.00567, section 7): 0.1 of the target is spread over all classes.
LABEL_SMOOTHING = 0.1
# Of a segmenter's training, which no validation guides, in a checkpoint's configuration.
UNCHOSEN = {"evaluations": 10, "patience": None, "validation": None}
PRECISION = Precision(channels_last=True)  # a third faster


def fit_classifier(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = Recipe(batch=32),  # noqa: B008 - it is frozen
    augment: Augment = "turns",
    validation: tuple[Tensor, Tensor] | None = None,
    evaluations: int = 10,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    device: str = "auto",
) -> History:
    """Train a network to name the class of an image.

    Every step draws a class and then an image of it for each place of the batch, so that rare
    classes are seen as often as common ones; changes its position, brightness and contrast; and
    takes one step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) down the cross-entropy with
    smoothed labels. All that is random follows from `seed`: on a CPU the same call from the same
    weights gives the same weights. Interruptions are as in `fit.fit`.

    Args:
        network: images (B, 1, S, S) -> logits (B, K), such as `networks.LesionClassifier`; trained
            in place and left in evaluation mode on the CPU, with the last step's weights, or with
            those of the best evaluation where there is a patience.
        images: (N, 1, S, S) float32 in [0, 1].
        labels: (N,) int64, 0 to K - 1; each class at least once.
        steps: to take in all, over all sessions.
        seed: of batches, changes of the images, and dropout.
        recipe: images a step, learning rate, clipping.
        augment: "turns", one of the eight flips and transposes, for lesions without an up and a
            side; or "shifts", a small shift, enlargement and rotation (`batches.random_affine`),
            for bodies, whose heart is on the left and whose diaphragm is below.
        validation: images and labels of other patients. They decide nothing without a patience.
        evaluations: of the validation images, about.
        patience: stop after this many evaluations without a lower loss (the mean over classes of
            the cross-entropy), and go back to the state of the lowest; None for the last state.
        checkpoint, hours, device: as for `fit.fit`.

    Raises:
        TypeError, ValueError: invalid images, labels that do not belong to them or to the network's
            classes, a class without an image (with a patience: without a validation image), an
            image in both training and validation, a patience without validation images, or a
            checkpoint of another configuration.
        Diverged: a loss that is no longer finite (a ValueError too).
    """
    if augment not in get_args(Augment):
        raise ValueError(f"augment must be 'turns' or 'shifts', got {augment!r}")
    checks.whole("evaluations", evaluations, least=1)
    if patience is not None:
        checks.whole("patience", patience, least=1)
        if validation is None:
            raise ValueError("patience needs validation images to decide by; give some")
    engine = Engine(device, PRECISION)
    network = engine.to_device(network)
    n_classes = _check_labels(network, images, labels, "images", each=True)
    settings: dict[str, Any] = {"augment": augment, "evaluations": evaluations}
    settings |= {"patience": patience, "validation": None}
    measure = None
    if validation is not None:
        _check_labels(network, *validation, "validation", each=patience is not None)
        refuse_shared(images, validation[0])
        settings["validation"] = digest(*validation)
        measure = partial(evaluate_classifier, network, *validation)
    return _train(
        network,
        (images, labels),
        LabelledImages(
            images.to(engine.device),
            labels,
            n_classes=n_classes,
            batch=recipe.batch,
            seed=seed,
            augment=augment,
        ),
        partial(F.cross_entropy, label_smoothing=LABEL_SMOOTHING),
        settings | {"steps": steps, "seed": seed},
        Evaluation(
            measure=measure,
            every=-(-steps // evaluations),
            choose=None if patience is None else "loss",
            patience=patience,
        ),
        engine=engine,
        recipe=recipe,
        checkpoint=checkpoint,
        hours=hours,
    )


def fit_segmenter(
    network: nn.Module,
    images: Tensor,
    masks: Tensor,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = Recipe(batch=8, learning_rate=(1e-3, 1e-5)),  # noqa: B008 - it is frozen
    crop: int | None = None,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    device: str = "auto",
) -> History:
    """Train a network to outline the lesion in an image.

    Every step draws crops, half of which hold a part of a lesion (`batches.MaskedCrops`), changes
    their brightness and contrast a little, and takes one step of AdamW down `segmentation_loss`.
    Randomness and interruptions are as in `fit_classifier`.

    Args:
        network: images (B, 1, S, S) -> logits (B, 1, S, S), such as `networks.UNet`; trained in
            place and left as `fit_classifier` leaves its own.
        images: (N, 1, S, S) float32 in [0, 1].
        masks: (N, 1, S, S) bool; an image may have no lesion, but not all of them.
        crop: side of the square crops in pixels; None for whole images.
        steps, seed, recipe, checkpoint, hours, device: as for `fit_classifier`.

    Raises:
        TypeError, ValueError: invalid images, masks that do not belong to them or are all empty, a
            crop that does not fit, logits of another shape, or a checkpoint of another
            configuration.
        Diverged: a loss that is no longer finite (a ValueError too).
    """
    image_rules.check(images, "images")
    if masks.dtype != torch.bool:
        raise TypeError(f"masks of images: expected bool, got {masks.dtype}")
    if masks.shape != images.shape:
        raise ValueError(f"images are {tuple(images.shape)}, but masks {tuple(masks.shape)}")
    engine = Engine(device, PRECISION)
    network = engine.to_device(network)
    here = images.to(engine.device), masks.to(engine.device)
    return _train(
        network,
        (images, masks),
        MaskedCrops(*here, size=crop, batch=recipe.batch, seed=seed),
        segmentation_loss,
        {"steps": steps, "seed": seed, "crop": crop} | UNCHOSEN,
        Evaluation(measure=None, every=steps),
        engine=engine,
        recipe=recipe,
        checkpoint=checkpoint,
        hours=hours,
    )


def _train(
    network: nn.Module,
    data: tuple[Tensor, Tensor],
    batches: Callable[[int], tuple[Tensor, Tensor]],
    loss: Loss,
    settings: dict[str, Any],
    evaluation: Evaluation,
    *,
    engine: Engine,
    recipe: Recipe,
    checkpoint: str | Path | None,
    hours: float | None,
) -> History:
    """The loop of both: `batches` gives images and what the network should say of them."""
    checks.whole("steps", settings["steps"], least=1)
    checks.whole("batch", recipe.batch, least=2)
    clock = Clock(hours)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    settings |= {"network": repr(network), "n_images": len(data[0]), "images": digest(*data)}
    with torch.random.fork_rng([engine.device] if engine.device.type == "cuda" else []):
        torch.manual_seed(settings["seed"])
        training = Training(
            {"network": network, "optimizer": optimizer, "dropout": _Dropout(engine.device)},
            settings | asdict(recipe),
            network=network,
            engine=engine,
            clock=clock,
            checkpoint=checkpoint,
            evaluation=evaluation,
        )
        network.train()
        for step in training:
            x, y = batches(step)  # (B, 1, S, S); (B,) or (B, 1, S, S)
            with clock.measure("step"):
                value = loss(network(x), y)
                rate = cosine(step / settings["steps"], *recipe.learning_rate)
                engine.optimizer_step(value, optimizer, rate=rate, clip=recipe.clip)
            training.note(value)
    return training.finish()


class _Dropout:
    """The random numbers that dropout takes, as a part of a checkpoint: they come from the global
    generators, which cannot be keyed by the step.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def state_dict(self) -> dict[str, Tensor]:
        """The generators' states."""
        state = {"cpu": torch.get_rng_state()}
        return state | ({"cuda": torch.cuda.get_rng_state()} if self.cuda else {})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        torch.set_rng_state(state["cpu"])
        if self.cuda:
            torch.cuda.set_rng_state(state["cuda"])


@torch.inference_mode()
def evaluate_classifier(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Compare the classes that a network predicts with the true ones.

    Args:
        network: images (B, 1, H, W) -> logits (B, K); put into evaluation mode meanwhile.
        images: (N, 1, H, W) float32 in [0, 1].
        labels: (N,) int64, 0 to K - 1.

    Returns:
        accuracy, the share of images that are classified correctly; balanced, the mean over the
        classes that occur of that share; loss, the mean over these classes of the cross-entropy.

    Raises:
        TypeError, ValueError: invalid images, or labels that do not belong to them or to the
            network's classes.
    """
    _check_labels(network, images, labels, "images", each=False)
    logits, labels = _logits(network, images, at_once=64), labels.cpu()
    right, loss = logits.argmax(1) == labels, F.cross_entropy(logits, labels, reduction="none")
    classes = [labels == k for k in labels.unique()]
    return {
        "accuracy": right.double().mean().item(),
        "balanced": torch.stack([right[k].double().mean() for k in classes]).mean().item(),
        "loss": torch.stack([loss[k].mean() for k in classes]).mean().item(),
    }


@torch.inference_mode()
def _logits(network: nn.Module, images: Tensor, *, at_once: int) -> Tensor:
    """(N, ...), in evaluation mode, on the CPU."""
    on, was_training = next(network.parameters()).device, network.training
    network.eval()
    logits = torch.cat([network(part.to(on)).cpu() for part in images.split(at_once)])
    network.train(was_training)
    return logits


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
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
    g = masks.to(logits.dtype)
    p = logits.sigmoid()
    D = 2 * (p * g).sum() / (p.square().sum() + g.sum())  # g^2 = g
    return F.binary_cross_entropy_with_logits(logits, g) + 1 - D


def _check_labels(
    network: nn.Module, images: Tensor, labels: Tensor, name: str, *, each: bool
) -> int:
    """How many classes the network knows; refuses labels of others, and a class without an image
    if `each` must occur.
    """
    image_rules.check(images, name)
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise TypeError(
            f"labels of {name}: expected int64 of shape (N,), got {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    if len(labels) != len(images):
        raise ValueError(f"{name}: {len(images)} images, but {len(labels)} labels")
    n_classes = _logits(network, images[:1], at_once=1).shape[1]
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if len(outside):
        raise ValueError(
            f"{name}: the network knows the classes 0 to {n_classes - 1}, "
            f"found {outside.unique().tolist()}"
        )
    missing = sorted(set(range(n_classes)) - set(labels.tolist()))
    if each and missing:
        raise ValueError(
            f"{name}: no image of class {missing} among {len(labels)}; give images of each class, "
            "or take a network of fewer classes"
        )
    return n_classes
