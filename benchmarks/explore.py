"""From a control's new value to the bytes of the new picture: milliseconds, at 512 x 512.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/explore.py
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/explore.py --network SRGAN=srgan.pt
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from medsr_lib.assess.quality import metrics, regions, score
from medsr_lib.data import figshare, phantom
from medsr_lib.restore import degrade, networks
from medsr_lib.restore.methods import find
from medsr_lib.restore.training import fit
from medsr_lib.show import explore

SCALE = 4
to_lr = degrade.by_name("bicubic", scale=SCALE)


def first(title: str, make: Callable[[], Any], rounds: int) -> Any:
    """Print the time to the first picture of a new explorer."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        made = make()
        taken.append(1000 * (time.perf_counter() - start))
        assert not made.message, made.message
    print(f"{title}\n  {'first picture':<44} {statistics.median(taken):8.1f} ms")
    return made


def move(made: Any, name: str, values: Iterable[Any], *, title: str = "") -> None:
    """Print the time from a control's new value to the first new picture, and to the last."""
    control = made.controls.get(name) or made.ticks[name]
    seen: list[float] = []
    made.screen.observe(lambda _: seen.append(time.perf_counter()), "value")
    to_first, to_last = [], []
    for value in values:
        seen.clear()
        start = time.perf_counter()
        control.value = value
        if seen:
            to_first.append(1000 * (seen[0] - start))
            to_last.append(1000 * (time.perf_counter() - start))
    made.screen.unobserve_all()
    text, median = title or name, statistics.median
    worst = f"worst {max(to_first):6.1f} ms   all done {median(to_last):7.1f} ms"
    print(f"  {text:<44} {median(to_first):8.1f} ms   {worst}")


def hover(made: Any, x: int, y: int, rounds: int, *, title: str) -> None:
    """Print the time from a move of the mouse to the new text of what is under it."""
    seen: list[float] = []
    made.under.observe(lambda _: seen.append(time.perf_counter()), "value")
    taken = []
    for k in range(rounds):
        seen.clear()
        start = time.perf_counter()
        made.hover(x + 4 * k, y + 3 * k)
        taken.append(1000 * ((seen or [time.perf_counter()])[0] - start))
    made.under.unobserve_all()
    print(f"  {title:<44} {statistics.median(taken):8.1f} ms   worst {max(taken):6.1f} ms")


def slices_and_methods(slices: list[Any], methods: dict[str, Any], rounds: int) -> None:
    """The browser and the comparator."""
    n = len(slices)
    there = list(itertools.islice(itertools.cycle(range(2, n + 1)), rounds))
    levels = [0.3 + 0.002 * k for k in range(rounds)]
    made = first("Image browser", lambda: explore.slices(slices), rounds)
    move(made, "image", there)
    move(made, "level", levels)
    move(made, "zoom", [True, False] * rounds)
    hover(made, 200, 200, rounds, title="hover")
    given = {"degrade": to_lr, "scale": SCALE, "regions": regions.regions}
    maps = {"SSIM": partial(metrics.ssim_map, data_range=1)}
    making = partial(explore.methods, slices, methods, **given, maps=maps)
    made = first(f"Method comparator, {', '.join(methods)}", making, min(rounds, 3))
    for box in made.ticks.values():
        box.value = True
    shown = f"{len(made.ticks)} pictures"
    move(made, "image", range(2, n + 1), title=f"image not seen before, {shown}")
    move(made, "image", there, title=f"image seen before, {shown}")
    left, top, *_ = made.boxes[-1]
    hover(made, left + 20, top + 20, rounds, title=f"hover, {shown}")
    start = time.perf_counter()
    made.click(left + 60, top + 60)
    taken = 1000 * (time.perf_counter() - start)
    print(f"  {f'click, {shown}':<44} {taken:8.1f} ms")
    for name, values in {
        "level": levels,
        "overlay": ["error", "SSIM"] * rounds,
        "row": [made.controls["row"].value + 1 + k for k in range(rounds)],
        "zoom": [False, True] * rounds,
    }.items():
        move(made, name, values, title=f"{name}, {shown}")
    made.controls["zoom"].value = False
    move(made, "level", levels, title=f"level, whole slices, {shown}")
    made.controls["view"].value = "swipe"
    move(made, "swipe", [20 + k for k in range(rounds)])


def scores_and_training(slices: list[Any], methods: dict[str, Any], rounds: int) -> None:
    """The explorer of scores and the training monitor."""
    table = score.score(methods, slices, degrade=to_lr, scale=SCALE, progress=False)
    made = first("Region statistics", lambda: explore.scores(table, slices), rounds)
    move(made, "point", [1 + k % len(slices) for k in range(rounds)])
    move(made, "metric", ["psnr", "ssim"] * rounds)
    hover(made, 300, 60, rounds, title="hover")
    with tempfile.TemporaryDirectory() as folder:
        images = torch.stack([s.image for s in slices[:2]])[:, None]
        fit.fit(
            networks.ESPCN(scale=SCALE), images, degrade=to_lr, steps=300, seed=0, crop=32,
            recipe=fit.Recipe(batch=1), checkpoint=Path(folder) / "a_checkpoint.pt",
            progress=False, validation=1 - images[:1], validate_every=50,
        )  # fmt: skip
        made = first("Training monitor", lambda: explore.training(folder, follow=False), rounds)
        move(made, "step", [1 + k for k in range(rounds)])
        move(made, "smooth", [4 + k % 9 for k in range(rounds)])
        hover(made, 200, 100, rounds, title="hover")


def main() -> None:
    """Measure on phantom slices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        phantom.write_figshare(folder, patients=6, slices_per_patient=2, seed=0)
        slices = [figshare.read_slice(path) for path in figshare.find(Path(folder))]
    assert {s.image.shape for s in slices} == {torch.Size((512, 512))}
    methods = find(["nearest", "bicubic", "lanczos", *args.network], scale=SCALE)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    slices_and_methods(slices, methods, args.rounds)
    scores_and_training(slices, methods, args.rounds)
    cache = sys.modules["medsr_lib.show.explore.methods"].CACHE
    print(f"cache: {cache.currsize / 2**20:.0f} MiB, of {cache.maxsize / 2**20:.0f} at most")


if __name__ == "__main__":
    main()
