"""Crops per second of adversarial training: `fit_gan` against a plain PyTorch loop, in turns.

The plain loop is what one writes first: the same networks and losses in float32, fed by a
DataLoader whose workers read the .mat files, the discriminator called apart for its own update (on
HR and on SR) and for the generator's. The content features are those of VGG19 with random weights,
which cost the same as trained ones.

.venv/bin/python benchmarks/train_srgan.py [--data DIR] [--batch 16 64] [--steps N] [--compile]
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from medsr_lib.data import figshare, store
from medsr_lib.restore import degrade, networks
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training import fit, gan
from medsr_lib.restore.training.engine import Precision

SLICES, EPOCHS, SESSION = 2450, 20_000, 9.0  # the training slices of four folds; hours
CROP = 96


class Slices(Dataset):
    """Crops read from .mat files, flipped at random, as a plain training set does it."""

    def __init__(self, paths, n):
        self.paths, self.n = paths, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        image = figshare.read_slice(self.paths[torch.randint(len(self.paths), ()).item()]).image
        y, x = (torch.randint(n - CROP + 1, ()).item() for n in image.shape)
        crop = image[y : y + CROP, x : x + CROP]
        return (crop.flip(-1) if torch.rand(()) < 0.5 else crop)[None].clone()


def networks_of(options):
    """A generator and a discriminator, always alike."""
    torch.manual_seed(0)
    generator = networks.SRResNet(scale=4, blocks=options.blocks, width=options.width)
    return generator, networks.Discriminator(size=CROP, width=options.width)


def plain(options, batch, steps, images, to_lr, vgg, device):
    """The plain loop."""
    generator, discriminator = (network.to(device).train() for network in networks_of(options))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-4)
    entropy = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch, 1, device=device), torch.zeros(batch, 1, device=device)
    data = Slices(images.table["path"].tolist(), batch * steps)
    loader = DataLoader(data, batch, num_workers=options.workers, persistent_workers=False)
    for hr in loader:
        hr = hr.to(device)
        sr = generator(to_lr(hr))
        d_loss = (entropy(discriminator(hr), ones) + entropy(discriminator(sr.detach()), zeros)) / 2
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        content = F.mse_loss(vgg(sr), vgg(hr).detach())
        g_loss = 0.006 * content + 1e-3 * entropy(discriminator(sr), ones)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        g_loss.item(), d_loss.item()  # for the progress bar, as one does


def ours(options, batch, steps, images, to_lr, vgg, device, precision):
    """The share of `fit_gan`'s time that is spent in the step itself."""
    history = gan.fit_gan(
        *networks_of(options),
        images,
        degrade=to_lr,
        content=losses.PerceptualLoss(vgg, name="VGG19, random weights"),
        steps=steps,
        seed=0,
        recipe=fit.Recipe(batch, learning_rate=(1e-4, 1e-5), clip=1.0),
        crop=CROP,
        device=device,
        precision=precision,
        progress=False,
    )
    return history.step_share


class Stamped:
    """A degradation that notes when it is called: once a step, in both loops."""

    def __init__(self, to_lr):
        self.to_lr, self.at = to_lr, []

    def __call__(self, hr):
        """Note the time, then degrade."""
        self.at.append(time.perf_counter())
        return self.to_lr(hr)

    def __repr__(self):
        return "stamped"


def seconds_a_step(stamps, device):
    """The median on a CPU, which other programs disturb; the mean on a GPU, which runs behind."""
    taken = [later - earlier for earlier, later in pairwise(stamps)]
    return statistics.mean(taken) if device == "cuda" else statistics.median(taken)


def peak_memory(device):
    """GiB: of the GPU where there is one, else of this process so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)


def outside_kernels(train):
    """Share of the time in which the GPU runs no kernel."""
    from torch.profiler import ProfilerActivity, profile

    train()
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        train()
    wall = time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in found.key_averages()) / 1e6
    return 1 - busy / wall


def measure(options, batch, images, to_lr, vgg, device, ways):
    """Print a line for the plain loop and for each way of ours."""
    stamped = Stamped(to_lr)
    given = (options, batch, options.steps, images, stamped, vgg, device)
    runs = {"plain loop": partial(plain, *given)}
    runs |= {name: partial(ours, *given, precision) for name, precision in ways.items()}
    taken, shares, memory = ({name: [] for name in runs} for _ in range(3))
    for round_ in range(options.rounds + 1):  # the first warms up
        for name, run in runs.items():
            stamped.at.clear()
            share = run()
            if round_:
                taken[name].append(seconds_a_step(stamped.at[-options.steps :], device))
                shares[name].append(share)
                memory[name] = peak_memory(device)
    print(f"\nbatch {batch}")
    rates = {name: batch / statistics.median(seconds) for name, seconds in taken.items()}
    for name, rate in rates.items():
        hours = EPOCHS * SLICES / rate / 3600
        share = f"{100 * shares[name][-1]:.0f} %" if shares[name][-1] else ""
        print(
            f"  {name:<30} {rate:8.1f} crops/s {rate / rates['plain loop']:6.2f} x   "
            f"in the step {share:>5}   memory {memory[name]:5.1f} GiB   "
            f"{EPOCHS} epochs: {hours:7.1f} h = {hours / SESSION:6.1f} sessions",
            flush=True,
        )
    if device == "cuda":
        idle = outside_kernels(runs["fit_gan"])
        print(f"  share of the time outside kernels: {100 * idle:.0f} %")


def main():
    """Measure, and say what the paper's number of epochs would take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/phantom")
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--steps", type=int, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns")
    parser.add_argument("--blocks", type=int, default=16, help="16 in the paper")
    parser.add_argument("--width", type=int, default=64, help="64 in the paper")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    options = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = store.prepare(options.data, Path(tempfile.mkdtemp()) / "slices.h5")
    large = images.table["height"] >= CROP
    images = images.select(images.table[large])
    to_lr = degrade.by_name("bicubic", scale=4)
    torch.manual_seed(1)
    vgg = losses.VGG19().requires_grad_(False).eval().to(device)
    chip = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{chip}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"SRResNet x4, {options.blocks} blocks of {options.width}; crops of {CROP}")
    ways = {
        "fit_gan": Precision(),
        "  channels last": Precision(channels_last=True),
        "  bfloat16": Precision("bfloat16"),
        "  bfloat16, channels last": Precision("bfloat16", channels_last=True),
    }
    if options.compile:
        ways["  compiled"] = Precision(compile=True)
        ways["  compiled, bfloat16, channels last"] = Precision("bfloat16", True, True)
    for batch in options.batch:
        measure(options, batch, images, to_lr, vgg, device, ways)
    if device != "cuda":
        print("\nno CUDA GPU here: kernels, GPU memory and float16 could not be measured")


if __name__ == "__main__":
    main()
