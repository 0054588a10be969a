"""20 000 epochs, really: a small SRGAN in chained sessions, every second one killed by SIGKILL.

An uninterrupted training of the same steps runs first. Then sessions follow each other: each takes
the checkpoints of the one before from a read-only folder, trains until its own clock ends it, or
is killed at a random moment. At the end both generators must have the same weights.

A batch holds a crop of each of the 64 slices, so that one epoch is one step. A session is given
the time of a 32nd of the steps, at the speed of the one before, so that there are 40 and more
however busy the machine is. What is lost is counted in CPU time, for the same reason. The script
can be killed too: with --out it resumes after the last session that it noted.

.venv/bin/python benchmarks/endurance.py --out FOLDER          # hours
.venv/bin/python benchmarks/endurance.py --epochs 100          # to see it work
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SLICES, CROP, PARTS = 64, 32, 32
CHECKPOINT, NOTES = "srgan_checkpoint.pt", "sessions.jsonl"


def session(folder: Path, former: Path | None, data: Path, steps: int, hours: float | None) -> None:
    """Train as far as the clock allows, in this process; print what came of it."""
    import torch
    import torch.nn.functional as F

    from medsr_lib.data import store
    from medsr_lib.restore import degrade, networks
    from medsr_lib.restore.training import checkpoint, clock, engine, fit, gan

    if former is not None:
        checkpoint.carry(former, folder)
    torch.manual_seed(0)
    generator = networks.SRResNet(scale=4, blocks=2, width=8)
    discriminator = networks.Discriminator(size=CROP, width=4)
    images = store.prepare(data, data.parent / "slices.h5")
    startup = clock.session_age()
    history = gan.fit_gan(
        generator, discriminator, images, degrade=degrade.by_name("bicubic", scale=4),
        content=F.l1_loss, steps=steps, seed=0, crop=CROP, checkpoint=folder / CHECKPOINT,
        recipe=fit.Recipe(batch=SLICES, learning_rate=(1e-4, 1e-5), clip=1.0), hours=hours,
        device="cpu", precision=engine.Precision(channels_last=True), progress=False,
    )  # fmt: skip
    found = {
        "step": history.steps_done,
        "epochs": history.epochs_done,
        "done": history.done,
        "weights": networks.fingerprint(generator),
        "startup": startup,
    }
    print(json.dumps(found))


def run(*arguments: str, kill_after: float = float("inf")) -> dict[str, Any]:
    """A session in a process of its own: what it printed if it was not killed, and what it took."""
    import psutil

    cpu, start, memory = _cpu(), time.monotonic(), []
    process = subprocess.Popen(
        [sys.executable, __file__, "--session", *arguments], stdout=subprocess.PIPE, text=True
    )
    while True:
        left = start + kill_after - time.monotonic()
        try:
            out, _ = process.communicate(timeout=max(0.0, min(5.0, left)))
            break
        except subprocess.TimeoutExpired:
            memory.append(psutil.Process(process.pid).memory_info().rss / 2**20)
            if left <= 5:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                break
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a session ended with {process.returncode}")
    found = {} if process.returncode else json.loads(out)
    return found | {"cpu": _cpu() - cpu, "seconds": time.monotonic() - start, "memory": memory}


def main() -> None:
    """Run it, print a line a session and the sums."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=20_000)
    options.add_argument("--out", type=Path, help="kept, and resumed from; default: a new folder")
    options.add_argument("--session", nargs=5, metavar="WHAT", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.session:
        folder, former, data, steps, hours = given.session
        session(
            Path(folder), Path(former) if former else None, Path(data), int(steps),
            float(hours) if hours else None,
        )  # fmt: skip
        return
    out = given.out or Path(tempfile.mkdtemp(prefix="endurance"))
    whole, sessions = chain(out, given.epochs)
    raise SystemExit(0 if report(whole, sessions, given.epochs) else 1)


def chain(out: Path, steps: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The uninterrupted training, and the sessions; those that are noted in `out` are not run."""
    from medsr_lib.data import phantom

    data, notes = out / "data", out / NOTES
    if not data.exists():
        phantom.write_figshare(data, patients=SLICES, slices_per_patient=1, seed=0, size=128)
    noted = notes.read_text().splitlines() if notes.exists() else []
    found = [json.loads(line) for line in noted]
    while not found or not found[-1].get("done") or len(found) == 1:
        number = len(found)
        folder = out / f"s{number}"
        shutil.rmtree(folder, ignore_errors=True)  # what was begun when the script was killed
        folder.mkdir(parents=True)
        if number == 0:
            one = run(str(folder), "", str(data), str(steps), "")
        else:
            before = next(one for one in reversed(found) if "startup" in one)
            last = found[-1] if number > 1 else {"step": 0, "from": ""}
            seconds = 1.5 * before["startup"] + steps / PARTS * before["per_step"]
            at = seconds * random.Random(number).uniform(0.2, 0.95)
            one = run(
                str(folder), last["from"], str(data), str(steps), str(seconds / 3600),
                kill_after=float("inf") if number % 2 else at,
            )  # fmt: skip
            one = {"step": _step(folder, last["step"]), "from": last["from"]} | one
            if (folder / CHECKPOINT).exists():
                one["from"] = str(folder)
        taken = one["step"] - (found[-1]["step"] if number > 1 else 0)
        if "startup" in one:
            one["per_step"] = (one["seconds"] - one["startup"]) / max(1, taken)
            if number > 0:  # few steps say little
                one["per_step"] = min(one["per_step"], 2 * before["per_step"])
        one["taken"] = taken
        for path in folder.glob("*"):  # as the output of an earlier Kaggle session
            path.chmod(0o444)
        with notes.open("a") as file:
            file.write(json.dumps(one) + "\n")
            os.fsync(file.fileno())
        found.append(one)
        print(f"session {number}: step {one['step']}, {one['cpu']:.0f} s of CPU time", flush=True)
    return found[0], found[1:]


def report(whole: dict[str, Any], sessions: list[dict[str, Any]], steps: int) -> bool:
    """Print the sums; whether the weights are the same."""
    per_step = whole["cpu"] / steps
    killed = [one for one in sessions if "done" not in one]
    ended = [one for one in sessions if "done" in one]
    print(f"{whole['epochs']:.0f} epochs in {steps} steps, {1000 * per_step:.0f} ms each (CPU)")
    for name, each in (("uninterrupted", [whole]), ("in sessions", sessions)):
        cpu, hours = (sum(one[what] for one in each) / 3600 for what in ("cpu", "seconds"))
        print(f"  {name}: {cpu:.2f} h of CPU time, {hours:.2f} h on the clock")
    print(f"{len(sessions)} sessions, {len(killed)} killed")
    for name, each in (("ended", ended), ("killed", killed)):
        if lost := [one["cpu"] - one["taken"] * per_step for one in each]:
            print(f"  lost, {name}: median {statistics.median(lost):.1f} s, most {max(lost):.1f} s")
    memory = whole["memory"][2:] or [0.0]
    tenth = max(1, len(memory) // 10)
    print(
        f"  memory, uninterrupted: {statistics.median(memory[:tenth]):.0f} MB in the first tenth, "
        f"{statistics.median(memory[-tenth:]):.0f} in the last, {max(memory):.0f} at most"
    )
    most = [max(one["memory"]) for one in ended if one["memory"]] or [0.0]
    print(f"  memory, sessions: at most {most[0]:.0f} MB in the first, {most[-1]:.0f} in the last")
    same = ended[-1]["weights"] == whole["weights"]
    print(f"  weights: {'identical' if same else 'DIFFERENT'} ({whole['weights']})")
    return bool(same)


def _cpu() -> float:
    """Seconds of CPU time that sessions have taken so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _step(folder: Path, last: int) -> int:
    """How far a killed session's checkpoint came; where it left none, the one before counts."""
    from medsr_lib.restore.training import checkpoint

    state = checkpoint.load(folder / CHECKPOINT)
    return int(state["step"]) if state else last


if __name__ == "__main__":
    main()
