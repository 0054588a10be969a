"""Crops per second of adversarial training: `fit_gan` against a plain PyTorch loop, in turns.

The plain loop is what one writes first: the same networks and losses in float32, fed by a
DataLoader whose workers read the .mat files, the discriminator called apart for its own update (on
HR and on SR) and for the generator's. The content features are those of VGG19 with random weights,
which cost the same as trained ones.

.venv/bin/python benchmarks/train_srgan.py [--data DIR] [--batch 16 64] [--steps N] [--paper | ...]
"""

import argparse
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from medsr_lib.data import figshare, pack
from medsr_lib.restore import degrade, fit, losses, networks

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
    """Seconds that `steps` steps of the plain loop take."""
    generator, judge = (network.to(device).train() for network in networks_of(options))
    g_optimiser = torch.optim.Adam(generator.parameters(), lr=1e-4)
    d_optimiser = torch.optim.Adam(judge.parameters(), lr=1e-4)
    entropy = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch, 1, device=device), torch.zeros(batch, 1, device=device)
    data = Slices(images.table["path"].tolist(), batch * steps)
    loader = DataLoader(data, batch, num_workers=options.workers, persistent_workers=False)
    start = time.perf_counter()
    for hr in loader:
        hr = hr.to(device)
        sr = generator(to_lr(hr))
        d_loss = (entropy(judge(hr), ones) + entropy(judge(sr.detach()), zeros)) / 2
        d_optimiser.zero_grad()
        d_loss.backward()
        d_optimiser.step()
        content = F.mse_loss(vgg(sr), vgg(hr).detach())
        g_loss = 0.006 * content + 1e-3 * entropy(judge(sr), ones)
        g_optimiser.zero_grad()
        g_loss.backward()
        g_optimiser.step()
        g_loss.item(), d_loss.item()  # for the progress bar, as one does
    return time.perf_counter() - start


def ours(options, batch, steps, images, to_lr, vgg, device, speed):
    """Seconds that `steps` steps of `fit_gan` take, and the share of them in the step itself."""
    start = time.perf_counter()
    history = fit.fit_gan(
        *networks_of(options),
        images,
        degrade=to_lr,
        content=losses.Content(vgg, name="VGG19, random weights"),
        steps=steps,
        seed=0,
        batch=batch,
        crop=CROP,
        device=device,
        speed=speed,
        progress=False,
    )
    return time.perf_counter() - start, history.step_share


def crops_per_second(train, steps, batch):
    """From runs of two lengths, so that what happens once (workers, compiling) drops out.

    Returns:
        crops per second; seconds of the start; the share in the step of the longer run.
    """
    times, share = [], float("nan")
    for n in (steps, 3 * steps):
        found = train(steps=n)
        seconds, share = found if isinstance(found, tuple) else (found, float("nan"))
        times.append(seconds)
    step = max(1e-9, (times[1] - times[0]) / (2 * steps))
    return batch / step, max(0.0, times[0] - steps * step), share


def peak_memory(device):
    """GiB: of the GPU where there is one, else of this process so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)


def outside_kernels(train, steps):
    """Share of the time in which the GPU runs no kernel."""
    from torch.profiler import ProfilerActivity, profile

    train(steps=steps)
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        train(steps=steps)
    wall = time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in found.key_averages()) / 1e6
    return 1 - busy / wall


def main():
    """Measure, and say what the paper's number of epochs would take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/phantom")
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--steps", type=int, default=2, help="of the short run; the long: 3 x")
    parser.add_argument("--blocks", type=int, default=16, help="16 in the paper")
    parser.add_argument("--width", type=int, default=64, help="64 in the paper")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    options = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = pack.prepare(options.data, Path(tempfile.mkdtemp()) / "slices.h5")
    large = images.table["height"] >= CROP
    images = images.select(images.table[large])
    to_lr = degrade.by_name("bicubic", scale=4)
    torch.manual_seed(1)
    vgg = losses.VGG19().requires_grad_(False).eval().to(device)
    chip = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{chip}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"SRResNet x4, {options.blocks} blocks of {options.width}; crops of {CROP}")
    speeds = {
        "fit_gan": fit.Speed(),
        "  channels last": fit.Speed(channels_last=True),
        "  bfloat16": fit.Speed(precision="bfloat16"),
        "  bfloat16, channels last": fit.Speed(precision="bfloat16", channels_last=True),
    }
    if options.compile:
        speeds["  compiled"] = fit.Speed(compile=True)
        speeds["  compiled, bfloat16, channels last"] = fit.Speed("bfloat16", True, True)
    for batch in options.batch:
        given = (options, batch)
        things = {"images": images, "to_lr": to_lr, "vgg": vgg, "device": device}
        runs = {"plain loop": partial(plain, *given, **things)}
        runs |= {name: partial(ours, *given, **things, speed=s) for name, s in speeds.items()}
        print(f"\nbatch {batch}")
        base = None
        for name, run in runs.items():
            rate, start, share = crops_per_second(run, options.steps, batch)
            base = base or rate
            hours = EPOCHS * SLICES / rate / 3600
            print(
                f"  {name:<36} {rate:8.1f} crops/s  {rate / base:5.2f} x  start {start:5.1f} s  "
                f"in the step {100 * share:3.0f} %  memory {peak_memory(device):5.1f} GiB  "
                f"{EPOCHS} epochs: {hours:8.1f} h, {hours / SESSION:7.1f} sessions",
                flush=True,
            )
        if device == "cuda":
            idle = outside_kernels(runs["fit_gan"], options.steps)
            print(f"  share of the time outside kernels: {100 * idle:.0f} %")
    if device != "cuda":
        print("\nno CUDA GPU here: kernels, GPU memory and float16 could not be measured")


if __name__ == "__main__":
    main()
