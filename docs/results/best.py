"""Train the best networks of ours on the figshare slices; the tested fold is not looked at.

.venv/bin/python docs/results/best.py DATA RUN --scale 4 --degradation bicubic --seed 0

A WDSR over the best linear filter of the same slices. It is written to RUN/x4_bicubic_0.pt, which
`medsr assess` takes; its checkpoint lies beside it, and a second call goes on from there. Once
several seeds are there, their mean is in RUN/x4_bicubic.pt, too. Half precision (bfloat16) halves
the time on a processor that computes in it; the filter stays whole.
"""

import argparse
from pathlib import Path

import torch

from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, linear, networks
from medsr_lib.restore.networks.ensemble import Ensemble
from medsr_lib.restore.training import fit
from medsr_lib.restore.training.engine import Precision


def main() -> None:
    """Train one network, and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of the networks; a second call goes on")
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--degradation", required=True, help="bicubic, blur or kspace")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--fold", type=int, default=3, help="the tested one; the others train")
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    training = slices.select(splits.split(slices.table, fold=options.fold)[0])
    lr = {"degrade": degrade.by_name(options.degradation, scale=options.scale)}
    name = f"x{options.scale}_{options.degradation}_{options.seed}"
    torch.manual_seed(options.seed)
    network = networks.WDSR(scale=options.scale, blocks=8)
    network.linear = linear.fit(training, **lr, scale=options.scale)
    fit.fit(
        network,
        training,
        **lr,
        steps=options.steps,
        crop=48 * options.scale,
        recipe=fit.Recipe(batch=4, learning_rate=(1e-3, 1e-5), clip=0.02),
        seed=options.seed,
        checkpoint=options.run / f"{name}_checkpoint.pt",
        precision=Precision(dtype="bfloat16", channels_last=True),
    )
    about = {"scale": options.scale, "degradation": options.degradation, "fold": options.fold}
    more = {"steps": options.steps, "seed": options.seed}
    networks.save(network, options.run / f"{name}.pt", **about, **more)
    kind = name.rpartition("_")[0]
    trained = [networks.load(path, **about) for path in sorted(options.run.glob(f"{kind}_?.pt"))]
    if len(trained) > 1:
        networks.save(Ensemble(trained), options.run / f"{kind}.pt", **about)


if __name__ == "__main__":
    main()
