"""How often intervals of a difference of d' cover the truth, and tests find what is not there.

Two methods respond to the same backgrounds, 6 of each patient, normal or heavy-tailed (t with 4
degrees of freedom). Compared: pseudo-values with the bootstrap-t, as `contrast_detail.differences`
takes them, and percentiles of resampled patients.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/detectability.py --simulations 400
"""

import argparse

import numpy as np

from medsr_lib.assess.lesions.observers import pseudo_values
from medsr_lib.assess.statistics import bootstrap

BACKGROUNDS = 6
PATIENTS = (8, 15, 40)
EFFECTS = (0.0, 0.2)  # what the second method adds to a signal of 1
MANY = 200_000  # patients that tell the truth
RESAMPLES = 2000


def draw(rng: np.random.Generator, patients: int, heavy: bool, effect: float) -> np.ndarray:
    """Responses (2 methods, present and absent, patients, BACKGROUNDS)."""
    size = (patients, BACKGROUNDS)
    noise = rng.standard_t(4, size) / np.sqrt(2) if heavy else rng.standard_normal(size)
    absent = 0.5 * rng.standard_normal((patients, 1)) + noise
    absent = absent + 0.35 * rng.standard_normal((2, *size))
    signal = np.array([1, 1 + effect])[:, None, None] + 0.1 * rng.standard_normal((2, *size))
    return np.stack((absent + signal, absent), 1)


def index(responses: np.ndarray) -> np.ndarray:
    """d' over the last axis of (..., present and absent, n)."""
    variance = responses.var(-1, ddof=1).mean(-1)
    return (responses.mean(-1)[..., 0] - responses.mean(-1)[..., 1]) / np.sqrt(variance)


def percentiles(rng: np.random.Generator, responses: np.ndarray) -> np.ndarray:
    """95 % interval of the difference of d' from patients drawn again."""
    patients = responses.shape[2]
    drawn = [
        np.diff(index(responses[:, :, rng.integers(0, patients, patients)].reshape(2, 2, -1)))
        for _ in range(RESAMPLES)
    ]
    return np.quantile(drawn, (0.025, 0.975))


def main() -> None:
    """Print a line for each kind of data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--percentiles", action="store_true", help="compare them too: minutes each")
    settings = parser.parse_args()
    rng = np.random.default_rng(0)
    for patients in PATIENTS:
        groups = np.repeat(range(patients), BACKGROUNDS)
        for heavy in (False, True):
            for effect in EFFECTS:
                many = draw(rng, MANY, heavy, effect).reshape(2, 2, -1)
                truth = float(np.diff(index(many))[0])
                sets = [draw(rng, patients, heavy, effect) for _ in range(settings.simulations)]
                values = [
                    [pseudo_values(*of.reshape(2, -1), groups=groups) for of in one] for one in sets
                ]
                found = bootstrap.estimates([b - a for a, b in values], seed=0)
                covers = np.mean([e.low <= truth <= e.high for e in found])
                finds = np.mean([e.p < 0.05 for e in found])
                text = (
                    f"{patients} patients, {'heavy' if heavy else 'normal'}, truth {truth:+.3f}: "
                )
                text += f"covers {covers:.1%}, p < 0.05 in {finds:.1%}"
                if settings.percentiles:
                    ends = [percentiles(rng, one) for one in sets]
                    text += f"; percentiles cover {np.mean([a <= truth <= b for a, b in ends]):.1%}"
                print(text, flush=True)


if __name__ == "__main__":
    main()
