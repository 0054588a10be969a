"""A grid of 12 combinations, one after the other and on two workers of dask, in fresh folders.

Each combination is a notebook that computes for some seconds of CPU time. On a busy machine the
clock says little: how many combinations ran at a time is the sum of their own times over that of
the sweep, and CPU time shows what workers cost.

.venv/bin/python benchmarks/sweep.py [--seconds 10]
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from medsr_lib.series import sweep

PARAMETERS = 'data_dir = "data"  # of nothing\nout_dir = "out"  # folder\nscale = 1  # any'
WORK = """import time
from medsr_lib.series import report
while time.process_time() < {seconds}: sum(range(10_000))
(folder := __import__("pathlib").Path(out_dir) / "02_work").mkdir(exist_ok=True)
report.record(folder, {{"scale": scale}})"""


def cpu() -> float:
    """Seconds of CPU time of this process and of those that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of CPU time, a combination")
    parser.add_argument("--points", type=int, default=12)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    root = Path(tempfile.mkdtemp())
    (root / "data").mkdir()
    cells = [new_code_cell(PARAMETERS), new_code_cell(WORK.format(seconds=options.seconds))]
    cells[0].metadata.tags = ["parameters"]
    nbformat.write(new_notebook(cells=cells), root / "02_work.ipynb")
    grid = [{"scale": n + 1} for n in range(options.points)]
    for name, workers in {"one after the other": None, "two workers": 2}.items():
        wall, busy = time.monotonic(), cpu()
        points = sweep.sweep(
            ["02"], grid, data=[root / "data"], out=root / name, folder=root, workers=workers
        )
        wall, busy = time.monotonic() - wall, cpu() - busy
        assert all(point.status == "done" for point in points), points
        at_a_time = sum(point.seconds or 0.0 for point in points) / wall
        print(
            f"{name:<20} {wall:7.1f} s, {busy:6.1f} s of CPU time, {at_a_time:.2f} at a time",
            flush=True,
        )


if __name__ == "__main__":
    main()
