"""Training beside other programs: how fast, by the way threads wait and their number.

On a quiet machine and beside `--busy` programs that count, in turns. The fair share of a training
with n threads beside b programs on c cores is min(n, c (n / (n + b))) of a core.

.venv/bin/python benchmarks/busy.py                       # 6 minutes
.venv/bin/python benchmarks/busy.py --seconds 3 --rounds 1
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WAITING: dict[str, dict[str, str]] = {  # what is set before torch is loaded
    "300000 times, as ever": {"GOMP_SPINCOUNT": "300000"},
    "10000 times": {"GOMP_SPINCOUNT": "10000"},
    "1000 times": {"GOMP_SPINCOUNT": "1000"},
    "passive, not once": {"OMP_WAIT_POLICY": "passive"},
}
TRAINING = """
import json, sys, time
import torch
import torch.nn.functional as F
from medsr_lib.restore.networks import ESPCN
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
    start, busy, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < float(line):
        step()
        steps += 1
    taken = time.perf_counter() - start
    print(json.dumps([steps / taken, (time.process_time() - busy) / taken]), flush=True)
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

    def run(self, seconds: float) -> tuple[float, float]:
        """Steps per second, and cores used."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        steps, cores = json.loads(self.process.stdout.readline())
        return steps, cores


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
parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
parser.add_argument("--rounds", type=int, default=4)
args = parser.parse_args()
cores = len(os.sched_getaffinity(0))
print(f"{cores} cores, load average {os.getloadavg()[0]:.1f} before")
setups = {
    (threads, name): Training(threads, of) for name, of in WAITING.items() for threads in (1, cores)
}
found: dict[tuple[int, str, int], list[tuple[float, float]]] = {}
for _ in range(args.rounds):
    for beside in (0, args.busy):
        with others(beside):
            for (threads, name), training in setups.items():
                found.setdefault((threads, name, beside), []).append(training.run(args.seconds))
print(f"{'threads':>7}  {'spins':<21} steps/s alone  beside {args.busy}  kept of the fair share")
for threads, name in setups:
    alone, beside = (
        [statistics.median(of) for of in zip(*found[threads, name, b])] for b in (0, args.busy)
    )
    share = min(threads, cores * threads / (threads + args.busy)) / min(threads, cores)
    kept = beside[0] / (alone[0] * share)
    print(f"{threads:>7}  {name:<21} {alone[0]:13.2f}  {beside[0]:8.2f}  {kept:8.0%}")
for training in setups.values():
    training.process.kill()
