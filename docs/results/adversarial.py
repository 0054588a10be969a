"""Train our best network further against a discriminator, for a while and for longer.

.venv/bin/python docs/results/adversarial.py DATA RUN START.pt --scale 4 --degradation bicubic

On the figshare slices of folds 1 and 2, as notebook 03 does; fold 3 is not looked at. START.pt is a
network of `best.py`, trained at that scale and for that degradation. Each number of steps is a
whole training of its own, written to RUN/srgan_STEPS.pt; to stop early is to choose among them.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, networks, resample
from medsr_lib.restore.networks import losses
from medsr_lib.restore.training import fit, readers
from medsr_lib.restore.training.engine import Precision
from medsr_lib.restore.training.gan import Weights, fit_gan

FOLD = 3  # is tested
CROP = 96
JUDGE = 32  # channels of the discriminator's first layer: half of the paper's


def main() -> None:
    """Train the feature network, then one generator for each number of steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the figshare slices")
    parser.add_argument("run", type=Path, help="folder of the networks; a second call goes on")
    parser.add_argument("start", type=Path, help="the network that is trained further")
    parser.add_argument("--steps", type=int, nargs="+", default=[250, 500, 2000])
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--degradation", default="bicubic", help="bicubic, blur or kspace")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    slices = store.prepare(options.data, options.run / "slices.h5")
    training = slices.select(splits.split(slices.table, fold=FOLD)[0])
    to_lr = degrade.by_name(options.degradation, scale=options.scale)
    patches = training.patches(2 * CROP)
    torch.manual_seed(options.seed)
    classifier = networks.LesionClassifier(classes=slices.classes)
    readers.fit_classifier(
        classifier,
        patches,
        training.labels,
        steps=150,
        seed=options.seed,
        checkpoint=options.run / "classifier_checkpoint.pt",
    )
    content = losses.PerceptualLoss(classifier.features, name="tumour-type classifier")
    some = patches[:64]
    content = content.relative_to(partial(resample.bicubic, scale=options.scale)(to_lr(some)), some)
    about = {"scale": options.scale, "degradation": options.degradation, "fold": FOLD}
    for steps in options.steps:
        generator = networks.load(options.start, **about)
        torch.manual_seed(options.seed)
        fit_gan(
            generator,
            networks.Discriminator(size=CROP, width=JUDGE),
            training,
            degrade=to_lr,
            content=content,
            steps=steps,
            seed=options.seed,
            weights=Weights(pixel=1.0, ramp_up=steps // 10),
            recipe=fit.Recipe(8, (1e-4, 1e-5), 1.0),
            crop=CROP,
            checkpoint=options.run / f"srgan_{steps}_checkpoint.pt",
            precision=Precision("bfloat16", channels_last=True),
        )
        more = {"steps": steps, "seed": options.seed}
        networks.save(generator, options.run / f"srgan_{steps}.pt", **about, **more)


if __name__ == "__main__":
    main()
