"""How an optimisation step is computed: on what device, how precisely, by how many processes."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from medsr_lib import devices

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["float32", "bfloat16", "float16"]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Speed:
    """What may make a step faster on some devices; `benchmarks/train_srgan.py` tells on which.

    Attributes:
        precision: of the convolutions; with "float16" the gradients are scaled. Weights, losses and
            optimisers stay in float32.
        channels_last: keep the channels of a pixel side by side in memory.
        compile: have `torch.compile` fuse the networks' operations; the first steps then take a
            minute.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision must be one of {get_args(Precision)}, got {self.precision!r}"
            )


class Engine:
    """Computes steps as `speed` says, with the gradients averaged over all processes.

    Args:
        device: "auto", "cpu", "cuda" or "mps"; that of `fabric` where there is one.
        speed: precision, memory format, compilation.
        fabric: a launched `lightning_fabric.Fabric`, in a training by several processes.
    """

    def __init__(self, device: str, speed: Speed, fabric: "Fabric | None" = None) -> None:
        self.speed, self.fabric = speed, fabric
        self.device = devices.choose(device) if fabric is None else fabric.device
        self.rank, self.world = (
            (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
        )
        if speed.compile:  # `descend` may keep the graph for another loss
            torch._functorch.config.donated_buffer = False
        half = speed.precision == "float16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)

    def place(self, network: Module) -> Module:
        """Bring a network to the device, in the memory format; it is changed in place."""
        if self.speed.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.world > 1 and self.device.type == "cuda":  # one batch, whoever computes it
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network.to(self.device)

    def compiled(self, network: nn.Module) -> Any:
        """The network as the training steps are to call it."""
        return torch.compile(network) if self.speed.compile else network

    def autocast(self) -> AbstractContextManager[Any]:
        """In this context, convolutions are computed in the stated precision."""
        name = self.speed.precision
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
        return torch.autocast(self.device.type, dtype=half, enabled=half is not None)

    def descend(
        self,
        loss: Tensor,
        optimiser: torch.optim.Optimizer,
        *,
        rate: float,
        clip: float | None = None,
        keep_graph: bool = False,
    ) -> None:
        """Take one step down the loss with the optimiser's parameters, and with no others.

        Args:
            loss: a number, whose mean over all processes is meant.
            rate: the learning rate.
            clip: shorten the gradient to this norm where it is longer.
            keep_graph: another loss needs what this one was computed from.
        """
        for group in optimiser.param_groups:
            group["lr"] = rate
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        optimiser.zero_grad()
        self.scaler.scale(loss).backward(inputs=parameters, retain_graph=keep_graph)
        self._average(parameters)
        if clip is not None:
            self.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimiser)
        self.scaler.update()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in each of them."""
        if self.world == 1:
            return value
        mean = value.detach().clone()  # Fabric's all_reduce would have the GPU wait each time
        torch.distributed.all_reduce(mean)
        return mean / self.world

    def agree(self, decision: bool) -> bool:
        """What the first process has decided; known when all have come this far."""
        ours = torch.tensor(float(decision and self.rank == 0), device=self.device)
        return bool(self.mean(ours) > 0)

    def wait(self) -> None:
        """Go on when all processes have come this far."""
        if self.fabric is not None:
            self.fabric.barrier()

    def _average(self, parameters: Iterable[nn.Parameter]) -> None:
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = self.mean(torch.cat([g.flatten() for g in gradients]))
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients])):
            gradient.copy_(mean.view_as(gradient))
