"""How often 95 % intervals cover the truth, and how often tests find what is not there.

Patients of 1 to 60 slices (13 on average, as in the set), half of the variance between patients.
`--simulations` data sets for each number of patients and shape of the patients' effects.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/coverage.py --simulations 10000
"""

import argparse

import numpy as np
from scipy import stats

from medsr_lib.assess.statistics import bootstrap

PATIENTS = (5, 8, 15, 30, 100, 233)
RESAMPLES = 4000
TOGETHER = 200  # data sets that share their resamples
MOST = 60
LOGNORMAL = 0.8
SHAPES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal": lambda rng, shape: (
        (rng.lognormal(0, LOGNORMAL, shape) - np.exp(LOGNORMAL**2 / 2))
        / np.sqrt(np.expm1(LOGNORMAL**2) * np.exp(LOGNORMAL**2))
    ),
    "t, 5 degrees": lambda rng, shape: rng.standard_t(5, shape) / np.sqrt(5 / 3),
}


def draw(rng: np.random.Generator, shape: str, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over slices, and number of slices, of the patients of each data set; the truth is 0."""
    size = (patients, TOGETHER)
    slices = np.minimum(1 + rng.negative_binomial(1.5, 1.5 / 13.65, size), MOST)
    return SHAPES[shape](rng, size) + rng.normal(size=size) / np.sqrt(slices), slices


def by_slice(rng: np.random.Generator, means: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """Whether Student's interval covers that takes every slice for a patient."""
    n = slices.sum(0)
    mean = (means * slices).sum(0) / n
    within = rng.chisquare(np.maximum(slices - 1, 1e-9)).sum(0)
    variance = (within + (slices * (means - mean) ** 2).sum(0)) / (n - 1)
    return abs(mean) <= stats.t.ppf(0.975, n - 1) * np.sqrt(variance / n)


def bca(values: np.ndarray, level: float, seed: int) -> np.ndarray:
    """The BCa interval (k, 2) of (n, k) values (Efron & Tibshirani 1993, equation 14.9 on)."""
    centred, n = values - values.mean(0), len(values)
    drawn = bootstrap.resampled(n, seed=seed, resamples=RESAMPLES)
    means = np.concatenate([counts / n @ centred for counts in drawn])
    z0 = stats.norm.ppf(((means < 0).mean(0) + (means <= 0).mean(0)) / 2)[:, None]
    a = ((centred**3).sum(0) / (6 * (centred**2).sum(0) ** 1.5))[:, None]
    z = z0 + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    shares = stats.norm.cdf(z0 + z / (1 - a * z))
    ends = [np.quantile(column, share) for column, share in zip(means.T, shares)]
    return values.mean(0)[:, None] + np.stack(ends)


def intervals(values: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Low and high (k, 2) of each kind of interval, for (n, k) values."""
    n = len(values)
    reach = stats.t.ppf(0.975, n - 1) * values.std(0, ddof=1) / np.sqrt(n)
    wider = 1 - 2 * stats.norm.sf(stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))  # Hesterberg
    return {
        "BCa": bca(values, 0.95, seed),
        "BCa, expanded": bca(values, wider, seed),
        "Student": np.stack([values.mean(0) - reach, values.mean(0) + reach], 1),
    }


def simulate(shape: str, patients: int, simulations: int) -> dict[str, float]:
    """Percent covered by each interval, percent of tests below 0.05, widths to Student's."""
    rng = np.random.default_rng([0, patients, len(shape)])
    covered: dict[str, list[np.ndarray]] = {}
    widths: dict[str, list[np.ndarray]] = {}
    for start in range(0, simulations, TOGETHER):
        means, slices = draw(rng, shape, patients)
        found = intervals(means, seed=start)
        ours = bootstrap.estimates(list(means.T), seed=start)
        found["ours"] = np.array([[e.low, e.high] for e in ours])
        for name, ends in found.items():
            covered.setdefault(name, []).append((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
            widths.setdefault(name, []).append(ends[:, 1] - ends[:, 0])
        covered.setdefault("test", []).append(np.array([e.p <= 0.05 for e in ours]))
        covered.setdefault("by slice", []).append(by_slice(rng, means, slices))
    out = {name: 100 * float(np.mean(hits)) for name, hits in covered.items()}
    median = {name: np.median(np.concatenate(of)) for name, of in widths.items()}
    return out | {"width": float(median["ours"] / median["Student"])}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--simulations", type=int, default=10_000)
    simulations = parser.parse_args().simulations
    bootstrap.RESAMPLES = RESAMPLES
    names = ("BCa", "BCa, expanded", "Student", "ours", "by slice", "test", "width")
    print(f"{simulations} simulations; Monte-Carlo error (1 sd) of 95 %: ", end="")
    print(f"{100 * np.sqrt(0.95 * 0.05 / simulations):.2f} points")
    print(f"{'effects':<14}{'patients':>9}" + "".join(f"{name:>15}" for name in names))
    for shape in SHAPES:
        for patients in PATIENTS:
            found = simulate(shape, patients, simulations)
            numbers = "".join(f"{found[name]:15.2f}" for name in names)
            print(f"{shape:<14}{patients:>9}{numbers}", flush=True)


if __name__ == "__main__":
    main()
