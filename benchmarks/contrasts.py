"""60 contrasts of a score table: ours in one go, scipy's bootstrap and permutation one by one.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/contrasts.py
"""

import time

import numpy as np
import pandas as pd
from scipy import stats

from medsr_lib.assess import statistics
from medsr_lib.assess.statistics import Contrast

PATIENTS, SLICES, SKIPPED = 233, 3064, 0.05
METHODS = ("bicubic", "lanczos", "ESPCN", "SRResNet", "SRGAN")
REGIONS = (
    *("whole", "tumour", "core", "rim", "peritumoural"),
    *("head", "normal", "mirror", "matched", "air"),
)
METRICS = ("ssim", "psnr", "mse")


def table() -> pd.DataFrame:
    """As `score.score` gives it: 153 200 rows; 5 % of the regions too small to measure."""
    rng = np.random.default_rng(0)
    patient = np.sort(np.append(np.arange(PATIENTS), rng.integers(0, PATIENTS, SLICES - PATIENTS)))
    shape = (SLICES, len(METHODS), len(REGIONS))
    of_patient = rng.gamma(2, 1, (PATIENTS, *shape[1:]))[patient]  # skewed
    s, m, r = (axis.ravel() for axis in np.indices(shape))
    out = pd.DataFrame({"id": s.astype(str), "patient": patient[s].astype(str)})
    out["method"], out["region"] = np.array(METHODS)[m], np.array(REGIONS)[r]
    small = np.broadcast_to(rng.random((SLICES, 1, len(REGIONS))) < SKIPPED, shape)
    for metric in METRICS:
        value = of_patient + rng.normal(size=shape)
        out[metric] = np.where(small, np.nan, value).ravel()
    return out


def specs() -> list[Contrast]:
    """Two metrics, three networks over bicubic, ten regions: 60 contrasts, nine in ten double."""
    return [
        Contrast(metric, method, "bicubic", region, None if region == "matched" else "matched")
        for metric in ("ssim", "psnr")
        for method in METHODS[2:]
        for region in REGIONS
    ]


def scipys(scores: pd.DataFrame, spec: Contrast) -> tuple[float, float, float]:
    """BCa interval and sign-flip p of one contrast, by scipy."""
    of_patients = statistics.patient_differences(scores, spec).to_numpy()
    settings = {"n_resamples": 10_000, "vectorized": True, "batch": 1000}
    low, high = stats.bootstrap(
        (of_patients,), np.mean, method="BCa", random_state=np.random.default_rng(1), **settings
    ).confidence_interval
    p = stats.permutation_test(
        (of_patients, np.zeros_like(of_patients)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        random_state=np.random.default_rng(1),
        **settings,
    ).pvalue
    return float(low), float(high), float(p)


scores, wanted = table(), specs()
start = time.perf_counter()
ours = statistics.contrasts(scores, wanted, seed=0)
taken = time.perf_counter() - start
start = time.perf_counter()
theirs = {spec: scipys(scores, spec) for spec in wanted}
taken_scipy = time.perf_counter() - start
print(f"{len(wanted)} contrasts of {len(scores)} rows, {PATIENTS} patients, 10 000 resamples")
print(f"  contrasts(), bootstrap-t         {taken:7.2f} s")
print(f"  scipy, BCa, contrast by contrast {taken_scipy:7.2f} s  {taken_scipy / taken:.1f} x")
width = np.array([e.high - e.low for e in ours.values()])
for end, (a, b) in {
    "low": ([e.low for e in ours.values()], [t[0] for t in theirs.values()]),
    "high": ([e.high for e in ours.values()], [t[1] for t in theirs.values()]),
}.items():
    apart = (np.array(a) - np.array(b)) / width
    print(f"  {end:<4} end, ours - scipy's, in widths: {apart.mean():+.4f}, sd {apart.std():.4f}")
p = np.array([e.p for e in ours.values()]) - np.array([t[2] for t in theirs.values()])
print(f"  p, ours - scipy's: largest {abs(p).max():.4f}")
