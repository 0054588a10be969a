"""Training steps on the CPU: `fit` against the bare optimisation step.

ESPCN x4 on slices, then the denoising autoencoder on radiographs of 256 x 256 with mixed noise.

The bare step repeats forward, backward and Adam on one and the same batch: the least that
any training loop can take. `fit` also draws the crops, degrades them, keeps its history and shows a
progress bar.

.venv/bin/python benchmarks/training.py [DIR of slices, by default data/phantom] [steps] \\
    [DIR of radiographs, by default data/phantom-chest]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib.data import store
from medsr_lib.restore import degrade, networks, noise
from medsr_lib.restore.training import fit

slices_in, steps_wanted, radiographs_in = (
    *sys.argv[1:],
    *("data/phantom", "1000", "data/phantom-chest")[len(sys.argv) - 1 :],
)
steps = int(steps_wanted)
folder = Path(tempfile.mkdtemp())


@dataclass(frozen=True)
class Task:
    """What is trained, on what."""

    name: str
    images: Any
    make: Callable[[], nn.Module]
    degrade: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    batch: int
    crop: int


def bare(task: Task) -> float:
    """Steps per second of forward, backward and Adam alone."""
    network = task.make()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    part = slice(100, 100 + task.crop)
    hr = torch.stack([task.images[i].image[None, part, part] for i in range(task.batch)])
    lr = task.degrade(hr)
    start = time.perf_counter()
    for _ in range(steps):
        value = task.loss(network(lr), hr)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return steps / (time.perf_counter() - start)


def fitted(task: Task) -> tuple[float, float]:
    """Steps per second of `fit`, and the share of its time that is the optimisation step."""
    start = time.perf_counter()
    history = fit.fit(
        task.make(),
        task.images,
        degrade=task.degrade,
        loss=task.loss,
        steps=steps,
        seed=0,
        recipe=fit.Recipe(batch=task.batch),
        crop=task.crop,
        device="cpu",
    )
    return steps / (time.perf_counter() - start), history.step_share


TASKS = [
    Task(
        "ESPCN x4",
        store.prepare(slices_in, folder / "slices.h5"),
        lambda: networks.ESPCN(scale=4),
        degrade.by_name("bicubic", scale=4),
        F.mse_loss,
        batch=16,
        crop=96,
    ),
    Task(
        "autoencoder",
        store.prepare(radiographs_in, folder / "radiographs.h5", size=256),
        networks.DenoisingAutoencoder,
        noise.by_name("mixed", level=(0.02, 0.2), seed=0),
        F.l1_loss,
        batch=8,
        crop=48,
    ),
]
print(f"{steps} steps, {torch.get_num_threads()} threads")
for task in TASKS:
    print(f"{task.name}, batch {task.batch} of {task.crop} x {task.crop}")
    bare(task), fitted(task)
    for _ in range(3):
        plain, (ours, share) = bare(task), fitted(task)
        print(
            f"  bare {plain:6.1f} steps/s   fit {ours:6.1f} steps/s   ratio {ours / plain:.2f}   "
            f"in the step {100 * share:.0f} % of the time"
        )
