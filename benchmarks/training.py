"""Training steps of ESPCN x4 on the CPU: `fit` against the bare optimisation step.

The bare step repeats forward, backward and Adam on one and the same batch: the least that
any training loop can take. `fit` also draws the crops, degrades them, keeps its history and shows a
progress bar.

.venv/bin/python benchmarks/training.py [DIR of slices, by default data/phantom] [steps]
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from medsr_lib.data import pack
from medsr_lib.restore import degrade, fit, networks

root = sys.argv[1] if len(sys.argv) > 1 else "data/phantom"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
images = pack.prepare(root, Path(tempfile.mkdtemp()) / "slices.h5")
to_lr = degrade.by_name("bicubic", scale=4)


def bare() -> float:
    """Steps per second of forward, backward and Adam alone."""
    network = networks.ESPCN(scale=4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    hr = torch.stack([images[i].image[None, 200:296, 200:296] for i in range(16)])
    lr = to_lr(hr)
    start = time.perf_counter()
    for _ in range(steps):
        value = F.mse_loss(network(lr), hr)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return steps / (time.perf_counter() - start)


def fitted() -> tuple[float, float]:
    """Steps per second of `fit`, and the share of its time that is the optimisation step."""
    start = time.perf_counter()
    history = fit.fit(
        networks.ESPCN(scale=4), images, degrade=to_lr, steps=steps, seed=0, device="cpu"
    )
    return steps / (time.perf_counter() - start), history.step_share


bare(), fitted()
print(f"batch 16 of 96 x 96, {steps} steps, {torch.get_num_threads()} threads")
for _ in range(3):
    plain, (ours, share) = bare(), fitted()
    print(
        f"  bare {plain:6.1f} steps/s   fit {ours:6.1f} steps/s   ratio {ours / plain:.2f}   "
        f"in the step {100 * share:.0f} % of the time"
    )
