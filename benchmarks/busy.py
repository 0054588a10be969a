"""Training beside other programs: how fast, by the way threads wait and their number.

On a quiet machine and beside `--busy` programs that count, in turns. Two things are reported:

- quiet loss: how many fewer steps a second than with libgomp's own choice, on a quiet machine,
  where spinning costs others nothing. The aim for what medsr_lib sets is at most 5 %.
- kept: beside the others, of the fair share of n threads beside b programs on c cores, which is
  min(n, c n / (n + b)) cores, the share that did steps, at the quiet speed of libgomp's own choice
  with as many threads. The aim is at least 60 %.

.venv/bin/python benchmarks/busy.py                       # 3 minutes
.venv/bin/python benchmarks/busy.py --seconds 1 --rounds 2
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAITING: dict[str, dict[str, str]] = {  # what is set before torch is loaded
    "300000 times (libgomp's own)": {"GOMP_SPINCOUNT": "300000"},
    "10000 times": {"GOMP_SPINCOUNT": "10000"},
    "1000 times (as medsr_lib sets it)": {},
    "never (OMP_WAIT_POLICY=passive)": {"OMP_WAIT_POLICY": "passive"},
}
OWN = next(iter(WAITING))
TRAINING = """
import sys, time
from medsr_lib.restore.networks import ESPCN
import torch
import torch.nn.functional as F
network, crops = ESPCN(scale=4), torch.rand(16, 1, 96, 96)
small = F.avg_pool2d(crops, 4)
optimizer = torch.optim.Adam(network.parameters(), fused=True)
def step():
    optimizer.zero_grad()
    F.l1_loss(network(small), crops).backward()
    optimizer.step()
for _ in range(3):
    step()
print("ready", flush=True)
for line in sys.stdin:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < float(line):
        step()
        steps += 1
    print(steps / (time.perf_counter() - start), flush=True)
"""


class Training:
    """A training in a process of its own, which runs only when it is asked to."""

    def __init__(self, threads: int, waiting: dict[str, str]) -> None:
        policies = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
        plain = {name: value for name, value in os.environ.items() if name not in policies}
        own = {"OMP_NUM_THREADS": str(threads), **waiting}
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINING], env=plain | own, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def run(self, seconds: float) -> float:
        """Steps per second."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def others(n: int) -> Iterator[None]:
    """So many programs that do nothing but count."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--busy", type=int, default=4, help="programs beside the training")
parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
parser.add_argument("--rounds", type=int, default=4)
args = parser.parse_args()
cores = len(os.sched_getaffinity(0))
start, load = time.perf_counter(), os.getloadavg()[0]
setups = {(n, name): Training(n, of) for name, of in WAITING.items() for n in sorted({1, cores})}
found: dict[tuple[int, str, int], list[float]] = {}
try:
    for _ in range(args.rounds):
        for beside in (0, args.busy):
            with others(beside):
                for key, training in setups.items():
                    found.setdefault((*key, beside), []).append(training.run(args.seconds))
finally:
    for training in setups.values():
        training.process.kill()
speed = {key: statistics.median(steps) for key, steps in found.items()}
print(
    f"ESPCN x4, batch 16 of 96 x 96; {cores} cores; load average {load:.1f} before; medians of "
    f"{args.rounds} rounds of {args.seconds:g} s in turns; {time.perf_counter() - start:.0f} s\n"
)
print(f"| threads | spins | steps/s alone | quiet loss | beside {args.busy} more | kept |")
print("|---:|---|---:|---:|---:|---:|")
for threads, name in setups:
    alone, beside = (speed[threads, name, b] for b in (0, args.busy))
    quiet = speed[threads, OWN, 0]
    share = min(threads, cores * threads / (threads + args.busy)) / min(threads, cores)
    loss, kept = 1 - alone / quiet, beside / (quiet * share)
    print(f"| {threads} | {name} | {alone:.1f} | {loss:.0%} | {beside:.1f} | {kept:.0%} |")
if load > 0.5:
    print(f"\nThe machine was not quiet (load average {load:.1f}): both shares mean little.")
