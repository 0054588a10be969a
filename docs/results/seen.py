"""What a reader would see and decide of networks: every fifth slice of fold 3.

.venv/bin/python docs/results/seen.py DATA RUN METHOD ... --scale 4 --degradation bicubic blur
    --kept seen-x4 decided-x4                      -> seen-x4.csv.gz, decided-x4.csv.gz

Measured as in notebooks 05 and 06. In a METHOD, {} stands for the degradation: NAME=x4_{}_0.pt is a
network for each. Five classifiers are trained on HR slices of folds 1 and 2; they stay in RUN, and
a second call goes on. Each image is restored once, for all measures.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import keep
import pandas as pd
import torch
from torch import Tensor

from medsr_lib.assess import decisions, uniform
from medsr_lib.assess.fidelity import appearance
from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, linear, methods, networks, resample
from medsr_lib.restore.training import readers
from medsr_lib.restore.training.fit import Recipe

FOLD = 3
PATCH = 160  # side of the square that a classifier sees
SEEN = ["sharpness_change", "brightness_shift_sd", "cnr_change", "slope", "invented", "consistency"]
READ = ["predicted", "right", "flipped"]
ABOUT = ["id", "patient", "label", "degradation", "method"]


def main() -> None:
    """For each degradation: restore the slices, measure them, have them read; keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of the classifiers")
    parser.add_argument("methods", nargs="+", help="as in notebook 07; {} is the degradation")
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--degradation", nargs="+", required=True, help="bicubic, blur, kspace")
    parser.add_argument("--kept", nargs=2, required=True, help="names of the tables")
    parser.add_argument("--steps", type=int, default=400, help="of each classifier")
    parser.add_argument("--most", type=int, default=40, help="slices that are restored, about")
    options = parser.parse_args()
    named = {kind: [m.replace("{}", kind) for m in options.methods] for kind in options.degradation}
    every = [method for asked in named.values() for method in asked]
    record = keep.made(options.data, options.run, methods=every)
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    train, test = splits.split(slices.table, fold=FOLD)
    training = slices.select(train)
    tested = slices.select(test.iloc[:: max(1, len(test) // options.most)])
    readers_of = {
        seed: classifier(training, slices.classes, seed, options.steps, options.run)
        for seed in range(1, 6)
    }
    looks, read = [], []
    for kind, asked in named.items():
        lr = {"degrade": degrade.by_name(kind, scale=options.scale), "scale": options.scale}
        compared = restoring(asked, training, **lr)
        looks += [seen(compared, tested, **lr).assign(degradation=kind)]
        where = partial(store.around, size=PATCH)
        cut, _ = decisions.patches(compared, tested, **lr, where=where)
        for seed, network in readers_of.items():
            rows = decisions.classify(network, cut, tested.table, classes=slices.classes)
            read += [rows.assign(seed=seed, degradation=kind)]
    keep.write(options.kept[0], pd.concat(looks)[[*ABOUT, "region", *SEEN]], record)
    keep.write(options.kept[1], pd.concat(read)[[*ABOUT, "seed", *READ]], record)


def restoring(
    asked: Sequence[str], training: store.Store, *, degrade: methods.Method, scale: int
) -> dict[str, methods.Method]:
    """Interpolation, the best linear filter and the methods asked for, by the names of the page."""
    saved = {"linear": linear.fit(training, degrade=degrade, scale=scale)}
    found = methods.find(["bicubic", "lanczos", "linear", *asked], saved=saved, scale=scale)
    return {keep.SHOWN.get(name, name): once(of) for name, of in found.items()}


def seen(
    compared: Mapping[str, methods.Method],
    tested: store.Store,
    *,
    degrade: methods.Method,
    scale: int,
) -> pd.DataFrame:
    """How the tumour looks after each method, and in two low-passes of HR, which cannot invent."""
    low_pass = uniform.references(compared["bicubic"], strengths={"low-pass": [0.7]})
    references = {
        "HR, low-pass": uniform.from_hr(partial(resample.measured_part, scale=scale)),
        "HR, sharper low-pass": low_pass["uniform low-pass 0.7"],
    }
    looks = appearance.appearance(
        {**compared, **references},
        tested,
        degrade=degrade,
        scale=scale,
        upsample=compared["bicubic"],
        tissue="brain",
    )
    return looks[looks["region"] == "tumour"]


def classifier(
    training: store.Store, classes: list[str], seed: int, steps: int, run: Path
) -> torch.nn.Module:
    """Trained as in notebook 06."""
    torch.manual_seed(seed)
    network = networks.LesionClassifier(classes=classes)
    readers.fit_classifier(
        network,
        training.patches(PATCH),
        training.labels,
        steps=steps,
        recipe=Recipe(batch=16),
        seed=seed,
        checkpoint=run / f"classifier_{seed}_checkpoint.pt",
    )
    return network.eval()


def once(method: methods.Method) -> methods.Method:
    """A method that restores each LR image once, and remembers it."""
    known: dict[bytes, Tensor] = {}

    def restore(lr: Tensor) -> Tensor:
        key = lr.numpy().tobytes()
        if key not in known:
            known[key] = method(lr)
        return known[key]

    return restore


if __name__ == "__main__":
    main()
