"""What a network that the handshake refuses would do, x4: every fifth slice of fold 3.

.venv/bin/python docs/results/refused.py DATA RUN nets.py:animevideo        -> refused.csv.gz

`methods.find` does not give such a network; here it is called as it is, and SR clipped.
"""

import argparse
from functools import partial
from pathlib import Path

import keep
import pandas as pd

from medsr_lib.assess.quality import score
from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, linear, resample
from medsr_lib.restore.foreign import programs

FOLD, SCALE = 3, 4
KEPT = ["id", "patient", "label", "degradation", "method", "region", "psnr", "ssim", "shift"]


def main() -> None:
    """Restore the slices of each degradation, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of the packed slices")
    parser.add_argument("network", help="file.py:function, from LR to SR")
    options = parser.parse_args()
    record = keep.made(options.data, options.run)
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    train, test = splits.split(slices.table, fold=FOLD)
    training, tested = slices.select(train), slices.select(test.iloc[:: len(test) // 40])
    network = programs.python(options.network, scale=SCALE)
    rows = []
    for kind in ("bicubic", "blur", "kspace"):
        lr = {"degrade": degrade.by_name(kind, scale=SCALE), "scale": SCALE}
        compared = {
            "bicubic": partial(resample.bicubic, scale=SCALE),
            "linear": linear.fit(training, **lr),
            "refused": lambda image: network(image).clamp(0, 1),
        }
        wanted = {
            "region_names": ["whole", "tumour"],
            "measures": {"shift": lambda sr, hr: (sr - hr)[:, 0]},
        }
        rows += [score.score(compared, tested, **lr, **wanted)]
    keep.write("refused", pd.concat(rows)[KEPT], record)


if __name__ == "__main__":
    main()
