"""Explorers for JupyterLab: slices, methods, a running training, scores.

Each function gives an explorer whose last line in a cell shows controls above a picture:

    explore.slices(pack)
    explore.methods(pack, {"bicubic": bicubic, "ESPCN": espcn}, degrade=to_lr, scale=4)
    explore.training("runs/lab/03_srgan")
    explore.scores("runs/lab/04_regional_ssim/scores.csv", slices=pack)

All controls work by mouse and by keyboard (Tab, arrow keys, space). With the package ipyevents the
mouse works in the pictures too: pointing tells values, a click goes there, dragging sets the grey
window or the line of a swipe. What is wrong is said above the picture, in place of a traceback.
Where no widget can run, the picture is shown as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from medsr_lib.show.explore.browse import Slices
from medsr_lib.show.explore.chooser import WINDOW
from medsr_lib.show.explore.compare import Methods
from medsr_lib.show.explore.follow import Training
from medsr_lib.show.explore.restored import Map, Method, Regions
from medsr_lib.show.explore.spread import Interval, Scores, student
from medsr_lib.show.panels import Window

__all__ = [
    "Methods",
    "Scores",
    "Slices",
    "Training",
    "methods",
    "scores",
    "slices",
    "training",
]


def slices(slices: Sequence[Any], *, window: Window = WINDOW) -> Slices:
    """Browse slices by tumour type and patient, with outline, zoom, window and level.

    Args:
        slices: a `Pack` or a list of slices: image, mask, slice_id, tumour and patient are read; or
            images without a mask, such as `Radiographs`: image, image_id, label and patient.
        window: values shown as black and as white at first.
    """
    return Slices(slices, window=window)


def methods(
    slices: Sequence[Any],
    methods: Mapping[str, Method] | Mapping[int, Mapping[str, Method]],
    *,
    degrade: Callable[..., Tensor] | Mapping[int, Callable[..., Tensor]],
    scale: int,
    regions: Regions | None = None,
    maps: Mapping[str, Map] | None = None,
    window: Window = WINDOW,
    at: int | None = None,
) -> Methods:
    """Compare what methods make of a slice: side by side or under a swipe, with maps and numbers.

    Each method is asked once about a slice, when it is first to be shown. A method that fails says
    why in its panel, and the others are shown.

    Args:
        slices: as for `slices`.
        methods: name -> function from LR (1, 1, h, w) to SR (1, 1, H, W) in [0, 1]; of several
            scales, among which one can then choose, {2: {name: function}, 4: {name: function}}. A
            method need not be there at all scales.
        degrade: HR -> LR; of several scales {2: function, 4: function}, or one that is told its
            `scale`.
        scale: of the degradation, or the one to begin with; slices it does not divide are
            centre-cropped.
        regions: (image, mask) -> masks by name, as `assess.regions.regions`, for the table of
            numbers; without it the whole slice and the tumour.
        maps: name -> function from SR and HR (1, 1, H, W) to (1, H, W), to lay over the pictures
            and to average over the regions: `{"SSIM": partial(metrics.ssim_map, data_range=1)}`.
            The mean of one called SSIM leaves out the slice's outer 5 pixels, as a score table
            does. One with a parameter `scale` is told it. The error, SR - HR, is always there.
        window: values shown as black and as white at first.
        at: place in `slices` of the one to begin with.
    """
    return Methods(
        slices,
        methods,
        degrade=degrade,
        scale=scale,
        regions=regions,
        maps=maps or {},
        window=window,
        at=at,
    )


def training(folder: str | Path, *, follow: bool = True, every: float = 2.0) -> Training:
    """Follow a training by what it writes: losses, validation, the watched image, time left.

    It may run in this kernel (show the monitor in a cell before that of `fit`), or in another
    process. `fit` writes its checkpoint at the beginning, every two minutes and at the end, and
    every second its losses into tables beside it; pictures and times are those of the checkpoint,
    curves those of whichever is further. Other tables `*training.csv` (with `*validation.csv`
    beside them) that grow line by line are followed too.

    Args:
        folder: with checkpoints or tables in it, as a notebook's; or one such file.
        follow: look again and again until all steps are taken.
        every: seconds between two looks.
    """
    return Training(folder, follow=follow, every=every)


def scores(
    table: pd.DataFrame | str | Path,
    slices: Sequence[Any] | None = None,
    *,
    interval: Interval = student,
) -> Scores:
    """Explore a score table: a metric in a region by method, with intervals, point by point.

    Args:
        table: of `score.score`, or the CSV file of one.
        slices: where the slice of a point is found, by its slice_id; without it none is shown.
        interval: of the mean of (n,) patients, such as
            `partial(statistics.bootstrap_interval, seed=0)`; Student's 95 % interval by default.
    """
    return Scores(table, slices, interval)
