"""How often a method is called different from a uniform change: level and power, by patients.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/null_band.py [--table scores.csv --method ESPCN]

Patients are drawn with replacement from those of a score table that has uniform references; without
one, from a phantom. The method's values in the tumour are moved by one number, so that in the whole
table its contrast lies a stated distance below the lower edge of the band; how far patients differ
stays as it is. At distance 0 it is the worst case of no difference: at most 2.5 % may be called
worse.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medsr_lib.assess import score, uniform
from medsr_lib.assess.statistics import bootstrap, null_band
from medsr_lib.assess.statistics.estimate import Estimate
from medsr_lib.data import figshare, phantom
from medsr_lib.restore import degrade, linear, resample

PATIENTS = (15, 50, 100, 233)
BEYOND = {"ssim": (0.0, 0.001, 0.002, 0.003, 0.005), "psnr": (0.0, 0.05, 0.1, 0.2, 0.4)}


def phantoms(folder: Path) -> pd.DataFrame:
    """Scores of bicubic and linear with references, of 60 patients."""
    phantom.write_figshare(folder, patients=60, slices_per_patient=1, seed=0, size=128)
    cases = [figshare.read_slice(path) for path in sorted((folder / "data").glob("*.mat"))]
    to_lr, bicubic = degrade.by_name("bicubic", scale=2), partial(resample.bicubic, scale=2)
    best = linear.cross_fit(cases, degrade=to_lr, scale=2, progress=False)
    references = uniform.references(bicubic, linear=best)
    return score(
        dict(bicubic=bicubic, linear=best, **references),
        cases,
        degrade=to_lr,
        scale=2,
        progress=False,
    )


def population(
    table: pd.DataFrame, metric: str, method: str, gain_region: str
) -> tuple[np.ndarray, np.ndarray, dict[str, slice]]:
    """Of every patient the metric in the gain region, and in the tumour less matched."""
    families = uniform.families(table)
    names = [method, "bicubic", *(name for of in families.values() for name in of)]
    wide = table.pivot_table(metric, "patient", ["region", "method"])
    places = [wide[place][names].to_numpy() for place in (gain_region, "tumour", "matched")]
    whole = np.isfinite(np.hstack(places)).all(1)
    q, tumour, matched = (place[whole] for place in places)
    return q, tumour - matched, null_band.positions(families)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--method", default="linear")
    parser.add_argument("--gain-region", default="head")
    parser.add_argument("--simulations", type=int, default=300)
    given = parser.parse_args()
    bootstrap.RESAMPLES = 1000
    if given.table:
        table = pd.read_csv(given.table, dtype={"id": str, "patient": str})
    else:
        with tempfile.TemporaryDirectory() as folder:
            table = phantoms(Path(folder))
    for metric, distances in BEYOND.items():
        q, d, curves = population(table, metric, given.method, given.gain_region)
        references = null_band.references_at(q.mean(0)[None], d.mean(0)[None], curves)
        edges = [float(contrast[0]) for contrast in references.values()]
        here = d.mean(0)[0] - d.mean(0)[1]
        print(f"{metric} of {given.method}, {len(q)} patients: contrast {here:+.4f}, band ", end="")
        print(f"{min(edges):+.4f} to {max(edges):+.4f}; called worse, in %, by distance below it")
        print(f"{'patients':>9}" + "".join(f"{distance:9g}" for distance in distances))
        for patients in PATIENTS:
            rng = np.random.default_rng(patients)
            found = np.zeros(len(distances))
            for seed in range(given.simulations):
                drawn = rng.integers(0, len(q), patients)
                for i, distance in enumerate(distances):
                    moved = d[drawn].copy()
                    moved[:, 0] += min(edges) - distance - here
                    found[i] += worse(q[drawn], moved, curves, seed)
            rates = 100 * found / given.simulations
            print(f"{patients:>9}" + "".join(f"{rate:9.1f}" for rate in rates), flush=True)


def worse(q: np.ndarray, d: np.ndarray, curves: dict[str, slice], seed: int) -> bool:
    """Whether the method is called worse than a uniform change."""
    references = null_band.references_at(q.mean(0)[None], d.mean(0)[None], curves)
    low = min(float(contrast[0]) for contrast in references.values())
    below = min(0.0, float(d[:, 0].mean() - d[:, 1].mean()) - low)
    if not below:
        return False
    return null_band.with_interval(Estimate(below), q, d, curves, seed).p <= null_band.LEVEL


if __name__ == "__main__":
    main()
