"""Restoring a whole slice: how long, by what the C library does with memory that is freed.

glibc hands large pieces back and asks for each layer's anew, which the system then clears;
medsr_lib has it keep them. CPU seconds of one thread, the least of four calls, in turns.

.venv/bin/python benchmarks/memory.py                     # 3 minutes
.venv/bin/python benchmarks/memory.py --rounds 1
"""

import argparse
import os
import statistics
import subprocess
import sys
from itertools import product

SIDE = 512
WAYS: dict[str, dict[str, str]] = {
    "glibc's own": {"MALLOC_CHECK_": "0"},  # changes nothing, but medsr_lib leaves the rest as well
    "as medsr_lib sets it": {},
}
NETWORKS, SCALES = ("SRResNet", "WDSR"), (2, 4)
RESTORING = """
import resource, sys, time
from medsr_lib.restore import networks
import torch
torch.set_num_threads(1)
scale, side = int(sys.argv[2]), int(sys.argv[3])
network = getattr(networks, sys.argv[1])(scale=scale).eval()
lr = torch.rand(1, 1, side // scale, side // scale)
taken = []
with torch.inference_mode():
    for _ in range(4):
        start = time.process_time()
        network(lr)
        taken.append(time.process_time() - start)
print(min(taken), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def main() -> None:
    """Print the medians over rounds, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for network, scale in product(NETWORKS, SCALES):
        found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _, (way, own) in product(range(rounds), WAYS.items()):
            found[way].append(restored(network, scale, own))
        median = {way: [statistics.median(of) for of in zip(*all_)] for way, all_ in found.items()}
        shown = [f"{way}: {s:.2f} s, {mb:.0f} MB" for way, (s, mb) in median.items()]
        (before, _), (after, _) = median.values()
        print(f"{network} ×{scale}: {'; '.join(shown)}; {before / after:.2f} times", flush=True)


def restored(network: str, scale: int, own: dict[str, str]) -> list[float]:
    """Seconds, and the most memory of the process in MB."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", RESTORING, network, str(scale), str(SIDE)]
    done = subprocess.run(command, env=plain | own, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    main()
