"""What a reader would see of networks of others, ×4: every fifth slice of fold 3.

.venv/bin/python docs/results/seen.py DATA RUN METHOD ...      -> seen.csv.gz

Measured as in notebook 05. RUN is a folder for the prepared slices.
"""

import argparse
from functools import partial
from pathlib import Path

import keep

from medsr_lib.assess import uniform
from medsr_lib.assess.fidelity import appearance
from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, linear, methods, resample

FOLD = 3
SEEN = ["sharpness_change", "brightness_shift_sd", "cnr_change", "slope", "invented"]


def main() -> None:
    """Restore the slices, measure them, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of slices.h5")
    parser.add_argument("methods", nargs="+", help="as in notebook 07")
    parser.add_argument("--most", type=int, default=40, help="slices that are restored, about")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    train, test = splits.split(slices.table, fold=FOLD)
    training = slices.select(train)
    tested = slices.select(test.iloc[:: max(1, len(test) // options.most)])
    lr = {"degrade": degrade.by_name("bicubic", scale=4), "scale": 4}
    asked = ["bicubic", "lanczos", "linear", *options.methods]
    found = methods.find(asked, saved={"linear": linear.fit(training, **lr)}, scale=4)
    compared = {keep.SHOWN.get(name, name): of for name, of in found.items()}

    low_pass = uniform.references(compared["bicubic"], strengths={"low-pass": [0.7]})
    references = {
        "HR, low-pass": uniform.from_hr(partial(resample.measured_part, scale=4)),
        "HR, sharper low-pass": low_pass["uniform low-pass 0.7"],
    }
    how = lr | {"upsample": compared["bicubic"], "tissue": "brain"}
    looks = appearance.appearance(compared | references, tested, **how)
    looks = looks[looks["region"] == "tumour"]
    keep.write("seen", looks[["id", "patient", "method", "region", *SEEN]])


if __name__ == "__main__":
    main()
