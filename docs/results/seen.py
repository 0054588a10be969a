"""What a reader would see and decide of networks, ×4: every fifth slice of fold 3.

.venv/bin/python docs/results/seen.py DATA RUN METHOD ...      -> seen.csv.gz, decided.csv.gz

Measured as in notebooks 05 and 06. Five classifiers are trained on HR slices of folds 1 and 2; they
stay in RUN, and a second call goes on. Each image is restored once, for all measures.
"""

import argparse
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
SEEN = ["sharpness_change", "brightness_shift_sd", "cnr_change", "slope", "invented"]


def main() -> None:
    """Restore the slices, measure them, have them read, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of the classifiers")
    parser.add_argument("methods", nargs="+", help="as in notebook 07")
    parser.add_argument("--steps", type=int, default=400, help="of each classifier")
    parser.add_argument("--most", type=int, default=40, help="slices that are restored, about")
    parser.add_argument("--kept", nargs=2, default=["seen", "decided"], help="names of the tables")
    options = parser.parse_args()
    record = keep.made(options.data, options.run)
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    train, test = splits.split(slices.table, fold=FOLD)
    training = slices.select(train)
    tested = slices.select(test.iloc[:: max(1, len(test) // options.most)])
    lr = {"degrade": degrade.by_name("bicubic", scale=4), "scale": 4}
    asked = ["bicubic", "lanczos", "linear", *options.methods]
    found = methods.find(asked, saved={"linear": linear.fit(training, **lr)}, scale=4)
    compared = {keep.SHOWN.get(name, name): once(of) for name, of in found.items()}

    low_pass = uniform.references(compared["bicubic"], strengths={"low-pass": [0.7]})
    references = {
        "HR, low-pass": uniform.from_hr(partial(resample.measured_part, scale=4)),
        "HR, sharper low-pass": low_pass["uniform low-pass 0.7"],
    }
    how = lr | {"upsample": compared["bicubic"], "tissue": "brain"}
    looks = appearance.appearance(compared | references, tested, **how)
    looks = looks[looks["region"] == "tumour"]
    keep.write(options.kept[0], looks[["id", "patient", "method", "region", *SEEN]], record)

    cut, _ = decisions.patches(compared, tested, **lr, where=partial(store.around, size=PATCH))
    read = []
    for seed in range(1, 6):
        network = classifier(training, slices.classes, seed, options.steps, options.run)
        rows = decisions.classify(network, cut, tested.table, classes=slices.classes)
        read.append(rows.assign(seed=seed))
    about = ["id", "patient", "label", "method", "seed", "predicted", "right", "flipped"]
    keep.write(options.kept[1], pd.concat(read)[about], record)


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
