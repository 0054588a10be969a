"""20 000 epochs, really: a small SRGAN in chained sessions, every second one killed by SIGKILL.

An uninterrupted training of the same steps runs first. Then sessions follow each other: each takes
the checkpoints of the one before from a read-only folder, trains until its own clock ends it, or
is killed at a random moment. At the end both generators must have the same weights.

.venv/bin/python benchmarks/endurance.py                                  # hours
.venv/bin/python benchmarks/endurance.py --epochs 100 --minutes 0.15      # to see it work
"""

import argparse
import json
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SLICES, BATCH, CROP = 64, 16, 32
CHECKPOINT = "srgan_checkpoint.pt"


def session(folder: Path, former: Path | None, data: Path, steps: int, hours: float | None) -> None:
    """Train as far as the clock allows, in this process; print what came of it."""
    import torch
    import torch.nn.functional as F

    from medsr_lib.data import store
    from medsr_lib.restore import degrade, networks
    from medsr_lib.restore.training import checkpoint, fit, gan

    if former is not None:
        checkpoint.carry(former, folder)
    torch.manual_seed(0)
    generator = networks.SRResNet(scale=4, blocks=2, width=8)
    discriminator = networks.Discriminator(size=CROP, width=4)
    history = gan.fit_gan(
        generator, discriminator, store.prepare(data, data.parent / "slices.h5"),
        degrade=degrade.by_name("bicubic", scale=4), content=F.l1_loss, steps=steps, seed=0,
        recipe=fit.Recipe(batch=BATCH, learning_rate=(1e-4, 1e-5), clip=1.0), crop=CROP,
        checkpoint=folder / CHECKPOINT, hours=hours, device="cpu", progress=False,
    )  # fmt: skip
    found = {
        "step": history.steps_done,
        "done": history.done,
        "weights": networks.fingerprint(generator),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def run(*arguments: str, kill_after: float | None = None) -> tuple[dict[str, Any] | None, float]:
    """A session in a process of its own: what it printed, None if it was killed, and seconds."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, __file__, "--session", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        out, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None, time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"a session ended with {process.returncode}")
    return json.loads(out), time.monotonic() - start


def main() -> None:
    """Run it, print a line a session and the sums."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=20_000)
    options.add_argument("--minutes", type=float, default=1.2, help="of a session")
    options.add_argument("--out", type=Path, help="kept, and gone on with; default: a new folder")
    options.add_argument("--session", nargs=5, metavar="WHAT", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.session:
        folder, former, data, steps, hours = given.session
        session(
            Path(folder), Path(former) if former else None, Path(data), int(steps),
            float(hours) if hours else None,
        )  # fmt: skip
        return
    from medsr_lib.data import phantom

    out = given.out or Path(tempfile.mkdtemp(prefix="endurance"))
    data, steps = out / "data", given.epochs * SLICES // BATCH
    if not data.exists():
        phantom.write_figshare(data, patients=SLICES, slices_per_patient=1, seed=0, size=128)
    (out / "whole").mkdir(exist_ok=True)
    whole, seconds = run(str(out / "whole"), "", str(data), str(steps), "")
    assert whole is not None
    print(
        f"uninterrupted: {steps} steps in {seconds:.0f} s, {whole['megabytes']:.0f} MB", flush=True
    )
    chance, former, last = random.Random(0), "", 0
    lost: dict[str, list[float]] = {"ended": [], "killed": []}
    memory, number, found = [], 0, None
    while found is None or not found["done"]:
        number += 1
        folder = out / f"s{number}"
        folder.mkdir(exist_ok=True)
        killed = number % 2 == 0
        at = 60 * given.minutes * chance.uniform(0.2, 0.95) if killed else None
        hours = str(given.minutes / 60)
        found, taken = run(str(folder), former, str(data), str(steps), hours, kill_after=at)
        step = found["step"] if found else _step(folder, last)
        lost["ended" if found else "killed"].append(taken - (step - last) * seconds / steps)
        if found:
            memory.append(found["megabytes"])
        print(f"session {number}: {'ended' if found else 'killed'} at step {step}", flush=True)
        last, former = step, str(folder if (folder / CHECKPOINT).exists() else former)
        _read_only(Path(former))
    print(f"{number} sessions, {len(lost['killed'])} killed")
    for how, each in lost.items():
        if each:
            print(f"  time lost, {how}: median {statistics.median(each):.1f} s of {len(each)}")
    begun, ended = memory[0], memory[-1]
    print(f"  memory: {begun:.0f} MB at first, {ended:.0f} at last, {max(memory):.0f} at most")
    same = found["weights"] == whole["weights"]
    print(f"  weights: {'identical' if same else 'DIFFERENT'} ({found['weights']})")
    raise SystemExit(0 if same else 1)


def _step(folder: Path, last: int) -> int:
    """How far a killed session's checkpoint came; where it left none, the one before counts."""
    from medsr_lib.restore.training import checkpoint

    state = checkpoint.load(folder / CHECKPOINT)
    return int(state["step"]) if state else last


def _read_only(folder: Path) -> None:
    """As the output of an earlier Kaggle session."""
    for path in folder.glob("*"):
        path.chmod(0o444)


if __name__ == "__main__":
    main()
