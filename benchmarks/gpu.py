"""SRGAN on one CUDA GPU, in eight minutes: crops per second, kernels, resumption, scoring.

The paper's configuration: SRResNet x4 of 16 blocks of 64 channels, its discriminator, features of
VGG19 (random weights cost the same), crops of 96 x 96. What no longer fits into --minutes is left
out, and said so. The CUDA graph replays the same step as `fit_gan`'s, captured once; it is here to
see what the launching of kernels costs, and not in the library.

.venv/bin/python benchmarks/gpu.py
.venv/bin/python benchmarks/gpu.py --device cpu --steps 2 --batch 2 --blocks 1 --width 4 \\
    --crop 32 --slices 1                                               # to see it work
"""

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from medsr_lib import devices
from medsr_lib.data import phantom, store
from medsr_lib.restore import degrade, networks
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training import batches, clock, engine, fit, gan
from medsr_lib.restore.training.engine import Precision

WARM_UP = 5  # steps that do not count
AIMS = {
    16: 1520,
    64: 4000,
}  # crops/s; the first are 20 000 epochs of 2450 slices in nine hours
BOTH = Precision("bfloat16", channels_last=True)
WAYS = {
    "eager": Precision(),
    "channels_last": Precision(channels_last=True),
    "bfloat16": Precision("bfloat16"),
    "bfloat16, channels_last": BOTH,
}
COMPILED = Precision("bfloat16", True, True)
RECIPE = partial(fit.Recipe, learning_rate=(1e-4, 1e-5), clip=1.0)
to_lr = degrade.by_name("bicubic", scale=4)


class Meter:
    """A degradation that is called once a step, and notes when the first and last one begin."""

    def __init__(self, steps: int, device: torch.device, *, profiled: bool = False) -> None:
        self.last, self.device, self.calls = WARM_UP + steps, device, 0
        self.profile: Any = None
        if profiled and device.type == "cuda":
            activities = [torch.profiler.ProfilerActivity.CUDA]
            self.profile = torch.profiler.profile(activities=activities)

    def __repr__(self) -> str:
        return repr(to_lr)

    def __call__(self, hr: Tensor) -> Tensor:
        """Note the time at the first step that counts and at the one after the last."""
        if self.calls == WARM_UP:
            self._wait()
            if self.profile:
                self.profile.start()
            self.begun = time.perf_counter()
        elif self.calls == self.last:
            self._wait()
            self.seconds = time.perf_counter() - self.begun
            if self.profile:
                self.profile.stop()
        self.calls += 1
        return to_lr(hr)

    @property
    def outside(self) -> float:
        """Share of the time in which the GPU ran no kernel."""
        if self.profile is None:
            return float("nan")
        busy = sum(event.self_device_time_total for event in self.profile.key_averages())
        return 1 - busy / 1e6 / self.seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Task:
    """What is trained: always from the same weights, on the same crops."""

    def __init__(self, options: argparse.Namespace, images: Any) -> None:
        self.options, self.images = options, images
        self.device = devices.choose(options.device)
        torch.manual_seed(1)
        self.content = losses.PerceptualLoss(losses.VGG19(), name="VGG19, random weights")

    def networks(self) -> tuple[Any, Any]:
        """A generator and a discriminator."""
        torch.manual_seed(0)
        blocks, width, crop = self.options.blocks, self.options.width, self.options.crop
        generator = networks.SRResNet(scale=4, blocks=blocks, width=width)
        return generator, networks.Discriminator(size=crop, width=width)

    def train(
        self, batch: int, steps: int, precision: Precision, to_lr: Any, **more: Any
    ) -> tuple[Any, str]:
        """By the library; the history, and the weights' fingerprint."""
        generator, discriminator = self.networks()
        history = gan.fit_gan(
            generator, discriminator, self.images, degrade=to_lr, content=self.content, steps=steps,
            seed=0, recipe=RECIPE(batch), crop=self.options.crop, device=self.options.device,
            precision=precision, progress=False, **more,
        )  # fmt: skip
        return history, networks.fingerprint(generator)

    def by_library(self, batch: int, precision: Precision, meter: Meter) -> None:
        """So many steps by `fit_gan`."""
        self.train(batch, meter.last + 1, precision, meter)

    def by_graph(self, batch: int, precision: Precision, meter: Meter) -> None:
        """The same steps from one CUDA graph; on a CPU they are only called."""
        cuda, motor = self.device.type == "cuda", engine.Engine(self.options.device, precision)
        generator, discriminator = map(motor.to_device, self.networks())
        average = copy.deepcopy(generator).requires_grad_(False)
        content = self.content.to(self.device)
        adam = partial(torch.optim.Adam, lr=1e-4, fused=True, capturable=cuda)
        optimizers = adam(generator.parameters()), adam(discriminator.parameters())
        crops = batches.Crops(
            batches.as_packed(self.images),
            size=self.options.crop,
            batch=batch,
            seed=0,
            device=self.device,
        )
        hr = crops(0)
        lr = to_lr(hr)

        def step() -> None:
            with motor.autocast():
                sr = generator(lr)
                real, fake = discriminator(hr).float(), discriminator(sr).float()
                g_loss = 0.006 * content(sr, hr) + 1e-3 * losses.generator_loss(fake)
                d_loss = losses.discriminator_loss(real, fake)
            for loss, optimizer, keep in zip((g_loss, d_loss), optimizers, (True, False)):
                motor.optimizer_step(loss, optimizer, rate=1e-4, clip=1.0, keep_graph=keep)
            gan._follow(average, generator, keep=gan.AVERAGE)

        replay: Callable[[], None] = step
        if cuda:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            replay = graph.replay
        for number in range(meter.last + 1):
            drawn = crops(number)
            hr.copy_(drawn)
            lr.copy_(meter(drawn))
            replay()


def speed(
    name: str, run: Callable[..., None], batch: int, precision: Precision, task: Task
) -> None:
    """Print a line: crops per second, and the share outside kernels, which is measured apart."""
    steps = task.options.steps
    try:
        meter = Meter(steps, task.device)
        run(batch, precision, meter)
        rate = batch * steps / meter.seconds
        profiled = Meter(min(steps, 20), task.device, profiled=True)
        if task.device.type == "cuda":
            run(batch, precision, profiled)
    except RuntimeError as error:
        print(f"  {name:<36} not possible: {str(error).splitlines()[0][:90]}", flush=True)
        return
    aim = f"   aim {AIMS[batch]}" if batch in AIMS else ""
    hours = 20_000 * 2450 / rate / 3600
    print(
        f"  {name:<36} {rate:9.1f} crops/s{aim}   20 000 epochs of 2450: {hours:7.1f} h   "
        f"outside kernels {100 * profiled.outside:3.0f} %",
        flush=True,
    )


def resumption(task: Task, batch: int) -> None:
    """Print whether a training in two sessions ends with the weights of one that was not cut."""
    steps = min(20, 2 * task.options.steps)
    for exact in (False, True):
        torch.use_deterministic_algorithms(exact, warn_only=True)
        whole, again = (task.train(batch, steps, BOTH, to_lr)[1] for _ in range(2))
        with tempfile.TemporaryDirectory() as folder:
            more = {"checkpoint": Path(folder) / "a.pt", "hours": None}
            left = [True] * (1 + steps // 2) + [False] * steps  # time, whenever it is asked for
            with mock.patch.object(clock.Clock, "has_time_left", side_effect=left):
                first, _ = task.train(batch, steps, BOTH, to_lr, **more)
            last, resumed = task.train(batch, steps, BOTH, to_lr, **more)
        assert 0 < first.steps_done < steps == last.steps_done
        how = "deterministic algorithms" if exact else "as it is"
        print(
            f"  {how}: cut after {first.steps_done} of {steps} steps and resumed "
            f"{'bit for bit' if resumed == whole else 'DIFFERENT'}; "
            f"the same training again {'bit for bit' if again == whole else 'DIFFERENT'}",
            flush=True,
        )
    torch.use_deterministic_algorithms(False)


def scoring(options: argparse.Namespace, seconds: float) -> None:
    """Print what `scoring.py` says of so many slices."""
    script = Path(__file__).with_name("scoring.py")
    flags = ["--device", options.device, "--slices", str(options.slices)]
    flags += ["--compared", "0"]
    try:
        done = subprocess.run(
            [sys.executable, str(script), *flags], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        print(f"  {options.slices} slices were not scored within {seconds:.0f} s", flush=True)
        return
    print("\n".join(done.stdout.splitlines()[-2:]) or done.stderr[-500:], flush=True)


def main() -> None:
    """The parts in turn, the slowest to begin last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to see the script work")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together")
    parser.add_argument("--steps", type=int, default=100, help="that are timed, of each way")
    parser.add_argument("--batch", type=int, nargs="+", default=list(AIMS))
    parser.add_argument("--blocks", type=int, default=16, help="16 in the paper")
    parser.add_argument("--width", type=int, default=64, help="64 in the paper")
    parser.add_argument("--crop", type=int, default=96, help="96 in the paper")
    parser.add_argument("--slices", type=int, default=3064, help="to be scored")
    options = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products
    end = time.monotonic() + 60 * options.minutes
    folder = Path(tempfile.mkdtemp())
    patients = max(options.batch)
    phantom.write_figshare(folder, patients=patients, slices_per_patient=1, seed=0, size=256)
    task = Task(options, store.prepare(folder, folder / "slices.h5"))
    cuda = task.device.type == "cuda"
    chip = torch.cuda.get_device_name() if cuda else "CPU"
    print(f"{chip}, torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    parts: list[tuple[str, Callable[[], None]]] = []
    for batch in options.batch:
        ways = {name: (task.by_library, precision) for name, precision in WAYS.items()}
        ways["bfloat16, channels_last, CUDA graph"] = (task.by_graph, BOTH)
        for name, (run, precision) in ways.items():
            parts.append((f"batch {batch}", partial(speed, name, run, batch, precision, task)))
    parts.append(("resumption", partial(resumption, task, options.batch[0])))
    parts.append(("scoring", lambda: scoring(options, end - time.monotonic())))
    for batch in options.batch if cuda else ():  # on a CPU this takes minutes
        name = "bfloat16, channels_last, compiled"
        one = partial(speed, name, task.by_library, batch, COMPILED, task)
        parts.append((f"batch {batch}, compiled", one))
    before = ""
    for title, part in parts:
        if title != before:
            print(title, flush=True)
        before = title
        if time.monotonic() < end:
            part()
        else:
            print("  left out: the time is over", flush=True)
    if not cuda:
        print("no CUDA GPU here: these are not the numbers that this script is for")


if __name__ == "__main__":
    main()
