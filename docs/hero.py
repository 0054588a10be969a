"""Draw the figure at the top of README.md from a run on the embedded synthetic slices.

python3 tasks.py run                                        trains ESPCN and SRGAN -> runs/demo
.venv/bin/python docs/hero.py runs/demo                     draws docs/pictures/hero.png

Every number in the figure is computed here from the slice and the networks of that run.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medsr_lib.assess.lesions import insert
from medsr_lib.assess.quality import metrics
from medsr_lib.case import Case
from medsr_lib.data import splits, store
from medsr_lib.restore import degrade, linear, networks, resample
from medsr_lib.show import panels
from medsr_lib.show.style import PHONE, STYLE

SCALE, FOLD = 4, 1
NETWORKS = {
    "ESPCN": "02_espcn/espcn.pt",
    "SRResNet": "03_srgan/srresnet.pt",
    "SRGAN": "03_srgan/srgan.pt",
}
SHOWN = ("bicubic", "linear", "ESPCN", "SRGAN")
GROUND = "#FFFFFF"
MARGIN = 14  # pixels around the tumour


def main() -> None:
    """Read the run, restore one of its test slices, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, such as runs/demo")
    parser.add_argument("--slice", help="its id (default: the one that notebook 04 shows)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures/hero.png")
    arguments = parser.parse_args()
    slices = store.open(arguments.run / "slices.h5")
    training, test = splits.split(slices.table, fold=FOLD)
    if arguments.slice is None:
        rows = test.sort_values("mask_pixels").iloc[[len(test) * 3 // 4]]
    else:
        rows = test[test["id"] == arguments.slice]
    (case,) = (found.cropped(SCALE) for found in slices.select(rows))
    to_lr = degrade.by_name("bicubic", scale=SCALE)
    hr = case.image[None, None]
    lr = to_lr(hr)
    fitted = linear.fit(slices.select(training), degrade=to_lr, scale=SCALE)
    restored = {"bicubic": resample.bicubic(lr, scale=SCALE), "linear": fitted(lr)}
    for name, path in NETWORKS.items():
        network = networks.load(arguments.run / path, scale=SCALE, fold=FOLD)
        with torch.inference_mode():
            restored[name] = network(lr).clamp(0, 1)
    write(draw(case, hr, insert.remove(hr, case.mask), restored), arguments.out)
    print(arguments.out, f"{arguments.out.stat().st_size / 1000:.0f} kB", f"slice {case.id}")


def draw(case: Case, hr: Tensor, erased: Tensor, restored: dict[str, Tensor]) -> Figure:
    """Original, erased and best restored slice; below them the tumour by each method."""
    ssim = {name: metrics.ssim(sr, hr, data_range=1).item() for name, sr in restored.items()}
    maps = {name: metrics.ssim_map(sr, hr, data_range=1)[0] for name, sr in restored.items()}
    inside = {name: values[case.mask].mean().item() for name, values in maps.items()}
    best = max(NETWORKS, key=ssim.__getitem__)
    of_erased = metrics.ssim(erased, hr, data_range=1).item()
    box = panels.square_around(case.mask.numpy(), MARGIN)
    window = limits(hr[0, 0].numpy(), 99.7)
    of_tumour = limits(panels.part(hr[0, 0].numpy(), box), 99)

    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(PHONE, 4.95), facecolor=GROUND, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(2.65, 2.3))
        above.set_facecolor(GROUND)
        below.set_facecolor(GROUND)
        above.suptitle(
            "Which is the better restoration?\nWhole-slice SSIM prefers the one without the tumour",
            x=0.008, ha="left", size=11, weight="bold",
        )  # fmt: skip
        top = {
            "Original (HR)": (hr, "SSIM 1"),
            "Tumour erased": (erased, f"whole-slice SSIM {of_erased:.3f}"),
            f"Best network: {best}": (restored[best], f"whole-slice SSIM {ssim[best]:.3f}"),
        }
        for axes, (name, (image, text)) in zip(above.subplots(1, 3), top.items(), strict=True):
            panels.grey(axes, image[0, 0].numpy(), window)
            panels.corners(axes, box)
            label(axes, name, text)
        share = case.mask.float().mean().item()
        below.suptitle(
            f"The tumour, {share:.1%} of the pixels, from LR at a quarter of\nthe resolution"
            f" (×{SCALE}), with SSIM inside its outline",
            x=0.008, ha="left", size=9,
        )  # fmt: skip
        tumours = {"HR": hr, **{name: restored[name] for name in SHOWN}}
        for axes, (name, image) in zip(below.subplots(1, 5), tumours.items(), strict=True):
            panels.grey(axes, image[0, 0].numpy(), of_tumour, box=box)
            label(axes, name, f"SSIM {inside[name]:.3f}" if name in inside else "the original")
        below.supxlabel(
            f"Synthetic slice {case.id} ({case.label}), not a patient. Bicubic down-sampling"
            " without noise.\nThe networks were trained for a minute or two.",
            x=0.008, ha="left", size=8.5, color="#555555",
        )  # fmt: skip
    plt.close(figure)
    return figure


def limits(image: NDArray[np.float32], upper: float) -> tuple[float, float]:
    """Values to be shown as black and as white."""
    low, high = np.percentile(image, [1, upper])
    return float(low), float(high)


def label(axes: Axes, name: str, text: str) -> None:
    """Name a panel above it and give its number below it."""
    axes.set_title(name, size=8.5, weight="bold")
    axes.set_xlabel(text, size=8.5)


def write(figure: Figure, path: Path) -> None:
    """Save a picture in 128 colours, which is a third of the size and looks the same."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=230, facecolor=GROUND)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
