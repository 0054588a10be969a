"""Score slices of 512 x 512 in ten regions by five methods: ours, and scikit-image per region.

On one thread, what is compared is CPU time, which other programs disturb least.

.venv/bin/python benchmarks/scoring.py                 # a few minutes
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/scoring.py --slices 4 --compared 4 --rounds 2
.venv/bin/python benchmarks/scoring.py --device cuda --slices 3064
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from timing import show, side_by_side
from torch import Tensor

from medsr_lib import devices
from medsr_lib.assess.quality import regions
from medsr_lib.assess.quality import score as scoring
from medsr_lib.assess.quality.regions import NAMES
from medsr_lib.assess.quality.score import METRICS, MIN_PIXELS, WINDOWED, score
from medsr_lib.case import Case
from medsr_lib.data import figshare, phantom
from medsr_lib.restore import degrade

SCALE, BORDER = 4, 5
ALL = (*METRICS, *WINDOWED)
settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
shrink = degrade.by_name("bicubic", scale=SCALE)


def enlarge(lr: Tensor, mode: str) -> Tensor:
    """An interpolation, which costs next to nothing."""
    return F.interpolate(lr, scale_factor=SCALE, mode=mode).clamp(0, 1)


METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest": partial(enlarge, mode="nearest"),
    "bilinear": partial(enlarge, mode="bilinear"),
    "bicubic": partial(enlarge, mode="bicubic"),
    "darker": lambda lr: 0.9 * enlarge(lr, "bilinear"),
    "flat": lambda lr: 0.1 + 0.8 * enlarge(lr, "nearest"),
}


def as_found(case: Case, names: Sequence[str], **tissue: object) -> dict[str, Tensor]:
    """The regions of a case, found once for all that is timed."""
    if case.id not in FOUND:
        FOUND[case.id] = regions.of_case(case, NAMES)
    return FOUND[case.id]


FOUND: dict[str, dict[str, Tensor]] = {}


def given(function: Callable[[], object]) -> Callable[[], object]:
    """The same without finding the regions."""

    def run() -> object:
        finder, scoring.of_case = scoring.of_case, as_found
        try:
            return function()
        finally:
            scoring.of_case = finder

    return run


def ours(slices: Sequence, device: str, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """The table of `score`."""
    return score(METHODS, slices, degrade=shrink, scale=SCALE, metrics=metrics, device=device,
                 progress=False)  # fmt: skip


def plain(slices: Sequence, *, once: bool, dtype: type = np.float32) -> pd.DataFrame:
    """The program one would write with scikit-image: SSIM's map for every region, or `once`."""
    rows = []
    for s in slices:
        hr = s.image.numpy().astype(dtype)
        lr = shrink(s.image[None, None])
        masks = {name: mask.numpy() for name, mask in scoring.of_case(s, NAMES).items()}
        for method, restore in METHODS.items():
            sr = restore(lr)[0, 0].numpy().astype(dtype)
            similar = partial(structural_similarity, sr, hr, data_range=1.0, **settings)
            ssim = similar()[1] if once else None
            for region, mask in masks.items():
                if mask.sum() < MIN_PIXELS:
                    rows.append((s.id, method, region, *[np.nan] * len(METRICS)))
                    continue
                found = ssim if once else similar()[1]
                inner = (slice(BORDER, -BORDER),) * 2
                mse = np.square(sr[mask] - hr[mask], dtype=np.float64).mean()
                values = (-10 * np.log10(mse), mse, found[inner][mask[inner]].mean())
                rows.append((s.id, method, region, *values))
    return pd.DataFrame(rows, columns=["id", "method", "region", *METRICS])


def compare(slices: Sequence, device: str, rounds: int) -> None:
    """Side by side on a few slices, and the largest difference."""
    n = len(slices)
    mine, other = partial(ours, slices, device), partial(plain, slices, once=True)
    taken = side_by_side(
        {
            "score, psnr, mse and ssim": mine,
            "scikit-image, a map for every region": partial(plain, slices, once=False),
            "scikit-image, a map for all regions": other,
            f"score, all {len(ALL)} measures": partial(mine, ALL),
            "regions given: score": given(mine),
            f"regions given: score, all {len(ALL)} measures": given(partial(mine, ALL)),
            "regions given: scikit-image, one map": given(other),
            "regions given: the same in float64": given(partial(other, dtype=np.float64)),
        },
        rounds=rounds,
        clock=time.process_time if torch.get_num_threads() == 1 else time.perf_counter,
    )
    title = f"Per slice: {len(METHODS)} methods, {len(NAMES)} regions; medians of {rounds} rounds"
    show(title, {name: total / n for name, total in taken.items()})
    keys = ["id", "method", "region"]
    first, second = ours(slices, device), plain(slices, once=True, dtype=np.float64)
    both = first.merge(second, on=keys, suffixes=("", "_second"), validate="one_to_one")
    for metric in METRICS:
        mine, other = both[metric], both[f"{metric}_second"]
        missing = (mine.isna() != other.isna()).sum() + len(first) - len(both)
        apart = (mine - other).abs().max()
        print(f"  largest difference, {metric:<5} {apart:.1e}; only in one: {missing}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--slices", type=int, default=100, help="of the long run, timed once")
parser.add_argument("--compared", type=int, default=4, help="slices of the comparison; 0: none")
parser.add_argument("--rounds", type=int, default=5, help="of the comparison")
parser.add_argument("--device", default="cpu", help="of score: cpu, cuda or auto")
args = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    drawn = min(args.slices, 100)  # more are these again
    root = phantom.write_figshare(folder, patients=drawn, slices_per_patient=1, seed=0)
    read = [figshare.read_slice(root / "data" / f"{n}.mat") for n in range(1, drawn + 1)]
slices = [read[n % drawn] for n in range(args.slices)]
print(f"{devices.choose(args.device)}, {torch.get_num_threads()} CPU threads, 512 x 512")
if args.compared:
    compare(slices[: args.compared], args.device, args.rounds)
print(f"{args.slices} slices, {len(METHODS)} methods, {len(NAMES)} regions:")
for names in (METRICS, ALL):
    start, busy = time.perf_counter(), time.process_time()
    ours(slices, args.device, names)
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"  {len(names)} measures: {taken:.1f} s, {busy:.1f} s of CPU time")
start = time.perf_counter()
with torch.inference_mode():
    for s in slices:
        lr = shrink(s.image[None, None])
        for restore in METHODS.values():
            restore(lr)
print(f"  degradation and methods alone: {time.perf_counter() - start:.1f} s")
print(f"  load average {os.getloadavg()[0]:.1f}")
