"""Training a generator against a discriminator (SRGAN, Ledig et al. 2017, arXiv 1609.04802)."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib.restore import networks, resample
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training.batches import Crops, Images
from medsr_lib.restore.training.clock import Clock
from medsr_lib.restore.training.engine import Engine, Precision, ready
from medsr_lib.restore.training.fit import Loss, Recipe, evaluate, prepare, scale_of
from medsr_lib.restore.training.loop import Diverged, Evaluation, History, Training, describe

COLUMNS = (
    "generator_loss",
    "pixel_loss",
    "content_loss",
    "adversarial_loss",
    "discriminator_loss",
    "d_real",
    "d_fake",
)
AVERAGE = 0.999  # of the running average's weights, what stays at a step
SATURATED = 0.99  # mean probability beyond which the discriminator has nothing left to teach
SATURATED_STEPS = 5000  # in a row, that end the training
WORST = 10.0  # times the squared error of bicubic interpolation, which is a PSNR 10 dB lower


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of the generator's loss; the defaults are the paper's.

    Attributes:
        pixel: of the squared error.
        content: of the content term, there the MSE of VGG19 features times 0.006 (section 3.2).
        adversarial: of -log D(SR) (equation 3).
        ramp_up: steps over which the adversarial weight grows from 0; not in the paper.
    """

    pixel: float = 0.0
    content: float = 0.006
    adversarial: float = 1e-3
    ramp_up: int = 0

    def adversarial_at(self, step: int) -> float:
        """The adversarial weight at a step, which counts from 0."""
        return self.adversarial * min(1.0, (step + 1) / max(1, self.ramp_up))


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    content: Loss,
    steps: int,
    seed: int,
    after: History | None = None,
    weights: Weights = Weights(),
    recipe: Recipe = Recipe(learning_rate=(1e-4, 1e-5), clip=1.0),  # noqa: B008 - it is frozen
    crop: int = 96,
    checkpoint: str | Path | None = None,
    hours: float | None = None,
    reserve: float = 0.0,
    validation: Images | None = None,
    validate_every: int = 1000,
    measures: Mapping[str, Loss] | None = None,
    picture: Tensor | None = None,
    device: str = "auto",
    precision: Precision = Precision(),  # noqa: B008 - it is frozen
    progress: bool = True,
) -> History:
    """Train a generator against a discriminator, as SRGAN does.

    Give it a generator that `fit` has trained: from nothing, the adversarial game does not start.
    Every step degrades HR crops and restores them, and both networks take a step of Adam:

        generator       w.pixel MSE + w.content content + w.adversarial -log D(SR)
        discriminator   -(log D(HR) + log(1 - D(SR))) / 2

    with D = sigmoid of the discriminator's logits (Goodfellow et al. 2014). The discriminator sees
    real and restored crops **in separate batches**, as implementations of SRGAN do. In one batch,
    its batch norm would normalise both by their common statistics, so that the logit of a restored
    crop would depend on the real crops beside it.

    The paper's values are the defaults: weights, batch 16 of 96 x 96, half of the steps at 1e-4,
    half at 1e-5. A running average of the generator (not in the paper) is validated, and is what is
    kept. Checkpoint, hours and interruptions are as in `fit`.

    Args:
        generator, discriminator: trained in place. Both come back on the CPU in evaluation mode,
            the **generator with its running average**, ready for use.
        content: (SR, HR) -> a number, such as `losses.PerceptualLoss`.
        after: the history of the generator's pretraining. Until it is done no step is taken.
        weights: of the generator's loss.
        measures: name -> (SR, HR) -> a number or (B,), averaged over the validation images.
        picture: an LR image (1, 1, h, w) to be restored at each validation, for the eye.
        images, degrade, steps, seed, recipe, crop, checkpoint: as in `fit`.
        hours, reserve, validation, validate_every, device, precision, progress: as in `fit`.

    Returns:
        The history, with the columns of COLUMNS.

    Raises:
        ValueError: as `fit`.
        Diverged: a number that is not finite, a saturated discriminator, or a PSNR more than 10 dB
            under bicubic interpolation; the checkpoint keeps the last state, and the message says
            what to change.
    """
    clock = Clock(hours if after is None or after.done else 1e-12, reserve)
    engine, measures = Engine(device, precision), measures or {}
    settings = {"steps": steps, "seed": seed, "crop": crop, "validate_every": validate_every}
    crops, held_out, configuration = prepare(
        [generator, discriminator],
        images,
        validation,
        engine,
        recipe,
        degrade=describe(degrade),
        **settings,
    )
    configuration |= {
        "generator": repr(generator),
        "discriminator": repr(discriminator),
        "beginning": [networks.fingerprint(generator), networks.fingerprint(discriminator)],
        "content": describe(content),
        "weights": asdict(weights),
        "measures": {name: describe(measure) for name, measure in measures.items()},
    }
    generator, discriminator = engine.to_device(generator), engine.to_device(discriminator)
    guides = [m for m in (content, *measures.values()) if isinstance(m, nn.Module)]
    for guide in guides:
        guide.to(engine.device)
    scale = scale_of(generator, degrade, crops)
    _try_out(discriminator, content, crops)
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    validate = None
    if held_out is not None:
        squared: Mapping[str, Loss] = {"mse": F.mse_loss}
        measured = partial(evaluate, images=held_out, degrade=degrade)
        bicubic = measured(partial(resample.bicubic, scale=scale), measures=squared)["mse"]
        measured = partial(measured, measures={**squared, **measures})
        validate = partial(_guarded, average, measured, bicubic=bicubic)
    g_optimizer = torch.optim.Adam(generator.parameters(), fused=True)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), fused=True)
    training = Training(
        {
            "generator": generator,
            "discriminator": discriminator,
            "average": average,
            "generator_optimizer": g_optimizer,
            "discriminator_optimizer": d_optimizer,
            "scaler": engine.scaler,
        },
        configuration,
        network=average,
        columns=COLUMNS,
        engine=engine,
        clock=clock,
        checkpoint=checkpoint,
        evaluation=Evaluation(
            measure=validate,
            every=validate_every,
            picture=picture,
        ),
        check=_refuse_saturated,
        progress=progress,
    )
    restore, discriminate = engine.compiled(generator), engine.compiled(discriminator)
    generator.train()
    discriminator.train()
    for step in training:
        hr = crops(step)  # (B, 1, S, S)
        lr = crops.degraded(hr, step, degrade)  # (B, 1, S / scale, S / scale)
        with clock.measure("step"):
            with engine.autocast():
                sr = restore(lr)  # (B, 1, S, S)
                real, fake = discriminate(hr).float(), discriminate(sr).float()  # logits (B, 1)
                pixel = weights.pixel * F.mse_loss(sr, hr)
                likeness = weights.content * content(sr, hr)
                adversarial = weights.adversarial_at(step) * losses.generator_loss(fake)
                g_loss = pixel + likeness + adversarial
                d_loss = losses.discriminator_loss(real, fake)
            rate = recipe.learning_rate[0 if step < steps / 2 else 1]
            engine.optimizer_step(g_loss, g_optimizer, rate=rate, clip=recipe.clip, keep_graph=True)
            engine.optimizer_step(d_loss, d_optimizer, rate=rate, clip=recipe.clip)
            _follow(average, generator, keep=min(AVERAGE, (step + 1) / (step + 10)))
        d_real, d_fake = real.sigmoid().mean(), fake.sigmoid().mean()
        training.note(g_loss, pixel, likeness, adversarial, d_loss, d_real, d_fake)
    history = training.finish()
    generator.load_state_dict(average.state_dict())
    for network in (generator, discriminator):
        ready(network)
    for guide in guides:
        guide.cpu()
    return history


def _guarded(
    network: nn.Module, measured: Callable[..., dict[str, float]], *, bicubic: float
) -> dict[str, float]:
    """What the validation gives; raises `Diverged` if the squared error is far above bicubic's."""
    found = measured(network)
    worse = found["mse"] / bicubic
    if worse > WORST:
        raise Diverged(
            f"the generator's PSNR is {10 * math.log10(worse):.1f} dB under bicubic interpolation "
            "on the validation images; the checkpoint keeps the last saved state: pretrain the "
            "generator for longer, raise the pixel weight, or lower the adversarial weight"
        )
    return found


def _refuse_saturated(training: Training) -> None:
    rows = -(-SATURATED_STEPS // training.log_every)
    whole = training.step // training.log_every
    d_real, d_fake = training.means(max(0, whole - rows))[:rows, -2:].T
    if whole >= rows and (d_real > SATURATED).all() and (d_fake < 1 - SATURATED).all():
        raise Diverged(
            "the discriminator has separated real from restored crops without a mistake for "
            f"{rows * training.log_every} steps, up to step {training.step}: it teaches nothing "
            "any more. The checkpoint keeps the last saved state: take a narrower discriminator, "
            "a lower learning rate, or a longer ramp_up"
        )


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, *, keep: float) -> None:
    """average = keep average + (1 - keep) network; counts and statistics are taken over."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
    for ours, theirs in zip(average.buffers(), network.buffers()):
        ours.copy_(theirs)


@torch.inference_mode()
def _try_out(discriminator: nn.Module, content: Loss, crops: Crops) -> None:
    """Have both refuse crops of a size that they do not take before anything is saved."""
    hr = crops(0)[:1]
    discriminator.eval()(hr)
    content(hr, hr)
