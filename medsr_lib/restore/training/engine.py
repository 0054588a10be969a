"""How an optimisation step is computed: on what device, how precisely, by how many processes."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, distributed, nn

from medsr_lib import devices

Dtype = Literal["float32", "bfloat16", "float16"]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Precision:
    """What makes a step faster on some devices; `benchmarks/train_srgan.py` measures on which.

    Attributes:
        dtype: of the convolutions; with "float16" the gradients are scaled. Weights, losses and
            optimizers stay in float32.
        channels_last: keep the channels of a pixel side by side in memory.
        compile: have `torch.compile` fuse the networks' operations; the first steps then take a
            minute.

    Raises:
        ValueError: another dtype.
    """

    dtype: Dtype = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Dtype):
            raise ValueError(f"dtype must be one of {get_args(Dtype)}, got {self.dtype!r}")


class Engine:
    """Computes steps with the gradients averaged over all processes of `torch.distributed`.

    Where no process group was initialised, this process is the only one.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        precision: number format, memory format, compilation.
    """

    def __init__(self, device: str, precision: Precision) -> None:
        self.precision = precision
        self.device = devices.choose(device)  # of several GPUs the one that this process has set
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if together else 0
        self.world = distributed.get_world_size() if together else 1
        if precision.compile:  # `optimizer_step` may keep the graph for another loss
            torch._functorch.config.donated_buffer = False
        half = precision.dtype == "float16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)

    def to_device(self, network: Module) -> Module:
        """Bring a network to the device, in the memory format; it is changed in place."""
        if self.precision.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.world > 1 and self.device.type == "cuda":  # statistics of the whole batch
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network.to(self.device)

    def compiled(self, network: nn.Module) -> Any:
        """The network as the training steps are to call it."""
        return torch.compile(network) if self.precision.compile else network

    def autocast(self) -> AbstractContextManager[Any]:
        """In this context, convolutions are computed in the stated precision."""
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.precision.dtype)
        return torch.autocast(self.device.type, dtype=half, enabled=half is not None)

    def optimizer_step(
        self,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float,
        clip: float | None = None,
        keep_graph: bool = False,
    ) -> None:
        """Take one step down the loss with the optimizer's parameters, and with no others.

        Args:
            loss: a scalar, whose mean over all processes is meant.
            rate: the learning rate.
            clip: norm to which the gradient is clipped; None for never.
            keep_graph: another loss needs what this one was computed from.
        """
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad()
        self.scaler.scale(loss).backward(inputs=parameters, retain_graph=keep_graph)
        if self.world > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            together = self.mean(torch.cat([g.flatten() for g in gradients]))
            for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients])):
                gradient.copy_(mean.view_as(gradient))
        if clip is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in each of them."""
        if self.world == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.world

    def agree(self, decision: bool) -> bool:
        """What the first process has decided; known when all have come this far."""
        ours = torch.tensor(float(decision and self.rank == 0), device=self.device)
        return bool(self.mean(ours) > 0)

    def wait(self) -> None:
        """Go on when all processes have come this far."""
        if self.world > 1:
            distributed.barrier()


def ready(network: nn.Module) -> None:
    """Leave a network ready for use: in evaluation mode, on the CPU, in the usual memory format."""
    network.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
