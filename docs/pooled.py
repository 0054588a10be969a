"""Print the differences of docs/results-brain.md that pool three trainings.

.venv/bin/python docs/pooled.py runs/assess runs/assess2    # the pages of its commands
"""

import sys
from pathlib import Path

import pandas as pd

from medsr_lib.assess import statistics

PAIRS = [("ESPCN", "linear"), ("SRResNet", "linear"), ("SRResNet", "ESPCN")]
TRAINED = ["ESPCN", "SRResNet"]


def main(runs: list[str]) -> None:
    """Read the scores of all pages, and print a line for each comparison and region."""
    files = [Path(run) / "04_regional_ssim" / "scores.csv" for run in runs]
    table = pd.concat(map(pd.read_csv, files)).drop_duplicates(["id", "region", "method"])
    name = table["method"].str.partition("-seed")
    table = table.assign(method=name[0], seed=name[2].replace("", "0").astype(int))
    once = table[~table["method"].isin(TRAINED)]
    for method, baseline in PAIRS:
        own = table[table["method"].isin({method, baseline} & {*TRAINED})]
        fixed = [once[once["method"] == baseline].assign(seed=seed) for seed in set(own["seed"])]
        for region in ("tumour", "whole"):
            contrast = statistics.Contrast("psnr", method, baseline, region)
            found = statistics.over_seeds(pd.concat([own, *fixed]), contrast)
            print(f"{method} - {baseline}, {region}, PSNR in dB: {found}")


if __name__ == "__main__":
    main(sys.argv[1:])
