"""Score slices whose tumour is erased as if a method had restored them, and keep a row of each.

.venv/bin/python docs/results/erased.py DATA 3          # the folder, the fold -> erased.csv.gz
"""

import sys
from pathlib import Path

import keep
import pandas as pd
from tqdm import tqdm

from medsr_lib.assess.lesions import insert
from medsr_lib.assess.quality import metrics
from medsr_lib.data import source


def main(folder: str, fold: int) -> None:
    """Write SSIM of the whole slice and the tumour's share of its pixels."""
    record = keep.made(Path(folder))
    found = source.of(folder)
    table = source.index(folder)
    rows = []
    for path in tqdm(table.loc[table["fold"] == fold, "path"]):
        case = found.read(path)
        gone = insert.remove(case.image, case.mask)
        ssim = metrics.ssim(gone[None, None], case.image[None, None], data_range=1).item()
        rows.append({"id": case.id, "ssim": ssim, "share": case.mask.float().mean().item()})
    keep.write("erased", pd.DataFrame(rows), record)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
