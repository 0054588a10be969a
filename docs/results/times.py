"""Measure how long the methods of the atlas take for a slice of 512 × 512 pixels -> times.csv.gz

.venv/bin/python docs/results/times.py      # where the files lie that the recorded commands name

Seconds of the processor on one thread, which other programs disturb little; the least of three.
"""

from collections import defaultdict
from functools import partial
from time import process_time

import keep
import pandas as pd
import torch

from medsr_lib.restore import linear, methods, networks, resample

SIDE = 512


def main() -> None:
    """Write the seconds of each method at each scale."""
    torch.set_num_threads(1)
    rows, others = [], defaultdict(list)  # networks of others, by scale
    for of in sorted(keep.HERE.glob("atlas-x*.json")):
        for given in keep.given(of.stem):
            named = [name for name in given["methods"] if not name.endswith(".pt")]
            others[given["scale"]] += named
    record = keep.made(methods=[name for named in others.values() for name in named])
    for scale, named in others.items():
        timed = {"lanczos": partial(resample.lanczos, scale=scale)}
        timed |= {"linear": linear.LinearFilter(scale=scale).eval()}
        timed |= {"ESPCN, bicubic": networks.ESPCN(scale=scale).eval()}
        timed |= {"WDSR, bicubic": networks.WDSR(scale=scale, blocks=8).eval()}
        timed |= methods.find(named, scale=scale)
        lr = torch.rand(1, 1, SIDE // scale, SIDE // scale)
        for name, restore in timed.items():
            taken = min(seconds(restore, lr) for _ in range(3))
            rows.append({"method": name, "scale": scale, "seconds": taken})
    keep.write("times", pd.DataFrame(rows).replace({"method": keep.SHOWN}), record)


def seconds(restore: methods.Method, lr: torch.Tensor) -> float:
    """Of one call."""
    start = process_time()
    with torch.inference_mode():
        restore(lr)
    return process_time() - start


if __name__ == "__main__":
    main()
