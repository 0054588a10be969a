"""What remedies cost and gain, on the figshare slices: rows of fold 3, trained on folds 1 and 2.

.venv/bin/python docs/results/remedies.py DATA RUN           -> remedies.csv.gz, flags.csv.gz

ESPCN, x4 from bicubic down-sampling, three trainings with each loss: squared error, the same with
more weight where HR looks like a lesion, and with the worst pixels counted again. The ensemble is
the mean of the three with the squared error; `consistent` are these, corrected to agree with LR.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from keep import made, write

from medsr_lib.assess.fidelity import flags
from medsr_lib.assess.quality import score
from medsr_lib.data import splits, store
from medsr_lib.restore import consistency, degrade, linear, networks, resample
from medsr_lib.restore.networks.emphasis import LesionWeighted, WorstPixels
from medsr_lib.restore.networks.ensemble import Ensemble
from medsr_lib.restore.training import fit

SEEDS = (0, 1, 2)
REGIONS = ["whole", "brain", "tumour", "core", "rim", "matched"]
KEPT = ["id", "patient", "method", "seed", "region"]


def main() -> None:
    """Train, restore about 50 slices of fold 3, and keep their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of checkpoints; a second call goes on")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--most", type=int, default=50, help="slices that are restored, about")
    options = parser.parse_args()
    record = made(options.data, options.run)
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    train, test = splits.split(slices.table, fold=3)
    training = slices.select(train)
    tested = slices.select(test.iloc[:: max(1, len(test) // options.most)])
    to_lr = degrade.by_name("bicubic", scale=4)
    losses = {
        "squared error": torch.nn.functional.mse_loss,
        "lesion-weighted": LesionWeighted(training),
        "worst pixels": WorstPixels(),
    }
    trained = {
        (name, seed): fitted(
            training, loss, seed, to_lr, options.steps, options.run / f"{name}_{seed}.pt"
        )
        for name, loss in losses.items()
        for seed in SEEDS
    }
    plain = [trained["squared error", seed] for seed in SEEDS]
    ensemble = Ensemble(plain)
    methods = {f"{name}, {seed}": network for (name, seed), network in trained.items()}
    methods |= {
        f"consistent, {seed}": consistency.project(network, degrade=to_lr)
        for seed, network in zip(SEEDS, plain)
    }
    methods |= {
        "ensemble": ensemble,
        "bicubic": partial(resample.bicubic, scale=4),
        "linear": linear.fit(training, degrade=to_lr, scale=4),
    }
    asked = {"degrade": to_lr, "scale": 4, "region_names": REGIONS}
    each = {name: {seed: f"{name}, {seed}" for seed in SEEDS} for name in [*losses, "consistent"]}
    rows = score.by_seed(score.score(methods, tested, **asked), each)
    write("remedies", rows[[*KEPT, "psnr", "ssim"]], record)
    flagged = flags.areas(ensemble, {"disagreement": ensemble.disagreement}, tested, **asked)
    write("flags", flagged[["id", "patient", "method", "region", "auc"]], record)


def fitted(
    training: store.Store,
    loss: fit.Loss,
    seed: int,
    to_lr: degrade.Degradation,
    steps: int,
    checkpoint: Path,
) -> torch.nn.Module:
    """An ESPCN, trained as notebook 02 does on real slices."""
    torch.manual_seed(seed)
    network = networks.ESPCN(scale=4)
    fit.fit(
        network,
        training,
        degrade=to_lr,
        loss=loss,
        steps=steps,
        crop=96,
        recipe=fit.Recipe(batch=16),
        seed=seed,
        checkpoint=checkpoint,
    )
    return network.eval()


if __name__ == "__main__":
    main()
