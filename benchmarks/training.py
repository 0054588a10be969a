"""Training steps of ESPCN x4 on the CPU: `fit` against the bare optimisation step.

The bare step repeats forward, backward and Adam on one and the same batch: the least that
any training loop can take. `fit` also draws the crops, degrades them, keeps its history and shows a
progress bar.

.venv/bin/python benchmarks/training.py [steps]
"""

import sys
import time

import torch
import torch.nn.functional as F

from medsr_lib.restore import degrade, fit, networks

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
images = torch.rand(20, 1, 512, 512, generator=torch.Generator().manual_seed(0))
to_lr = degrade.by_name("bicubic", scale=4)


def bare() -> float:
    """Steps per second of forward, backward and Adam alone."""
    network = networks.ESPCN(scale=4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    hr = images[:16, :, :96, :96].contiguous()
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
