"""Measuring a network on whole images, now and then while it is trained."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib import images as image_rules
from medsr_lib.restore import resample
from medsr_lib.restore.training.batches import Images, PackedImages, as_packed, whole_image
from medsr_lib.restore.training.loop import Diverged

Loss = Callable[[Tensor, Tensor], Tensor]


def mean_loss(
    network: Callable[[Tensor], Tensor],
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    loss: Loss,
) -> float:
    """Mean over whole images (each weighs the same) of the loss between SR and HR."""
    return measured(network, images, degrade=degrade, measures={"loss": loss})["loss"]


@torch.inference_mode()
def measured(
    network: Callable[[Tensor], Tensor],
    images: Images,
    *,
    degrade: Callable[[Tensor], Tensor],
    measures: Mapping[str, Loss],
) -> dict[str, float]:
    """Mean over whole images (each weighs the same) of measures between SR and HR.

    Args:
        network: LR -> SR; an `nn.Module` is put into evaluation mode meanwhile.
        images: HR.
        degrade: HR -> LR.
        measures: name -> (SR, HR) -> a number or one per image.
    """
    packed = as_packed(images)
    module = network if isinstance(network, nn.Module) else nn.Identity()
    on = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    total = dict.fromkeys(measures, torch.zeros((), device=on))
    for i in range(len(packed.offset)):
        hr = whole_image(packed, i).to(on)
        lr = degrade(hr)
        sr = network(lr)
        hr = image_rules.centre_crop(hr, multiple=sr.shape[-1] // lr.shape[-1])
        for name, measure in measures.items():
            total[name] = total[name] + measure(sr, hr).mean()
    module.train(was_training)
    return {name: value.item() / len(packed.offset) for name, value in total.items()}


class Watch:
    """Measures a generator, and refuses to go on when it has become far worse than bicubic."""

    def __init__(
        self,
        network: nn.Module,
        images: PackedImages,
        degrade: Callable[[Tensor], Tensor],
        scale: int,
        measures: Mapping[str, Loss],
    ) -> None:
        self.network, self.images, self.degrade = network, images, degrade
        self.measures = {"mse": F.mse_loss, **measures}
        self.interpolate = partial(resample.bicubic, scale=scale)

    @cached_property
    def bicubic(self) -> float:
        """The mean squared error of bicubic interpolation."""
        return mean_loss(self.interpolate, self.images, degrade=self.degrade, loss=F.mse_loss)

    def __call__(self) -> dict[str, float]:
        """The mean squared error ("mse") and the further measures; raises `Diverged`."""
        found = measured(self.network, self.images, degrade=self.degrade, measures=self.measures)
        worse = found["mse"] / self.bicubic
        if worse > 10:  # 10 dB
            raise Diverged(
                f"the generator's PSNR is {10 * math.log10(worse):.1f} dB under bicubic "
                "interpolation on the validation images; the checkpoint keeps the last saved "
                "state: pretrain the generator for longer, add a pixel_weight, or lower "
                "adversarial_weight"
            )
        return found
