"""Anyone's images, anyone's methods: notebook 04, which trains nothing, run on them as one page."""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs, report, run
from medsr_lib.series.notebook import tags
from medsr_lib.series.pages import formatting
from medsr_lib.series.report import Result
from medsr_lib.series.running import lock

if TYPE_CHECKING:
    from medsr_lib.data.layouts import Options

NOTEBOOK = "04"
MASKS = "masks"  # tag of the cells that need an outlined lesion
BASELINES = ("bicubic", "linear")
PLAIN = {"bicubic", "linear", "nearest", "lanczos", "zero_fill"}  # not the subject if others are
WITHOUT = """\
> **No lesion is outlined in these images.** So only whole images can be measured. What the methods
> do inside a lesion, which is what this notebook is for, stays open: whole-image scores hide it.
> Put masks beside the images (`medsr data show DIR` says how they are found) and run this again."""


def assess(
    data: Path,
    methods: Sequence[str],
    *,
    scale: int,
    out: Path,
    degradation: str = "bicubic",
    lr: Path | None = None,
    fold: int | None = None,
    keep_going: bool = False,
    options: "Options",
    parameters: Mapping[str, object],
) -> Result:
    """Measure what methods do to images, and write the page.

    Bicubic interpolation and the best linear filter are compared in any case; the filter needs two
    patients. Where no image has a mask, whole images are measured.

    Args:
        data: folder of images of any kind that `data.source` knows.
        methods: as `restore.methods.find` takes them.
        scale: of the methods.
        out: folder of the run.
        degradation: that makes LR.
        lr: folder of LR images in place of one.
        fold: the one to test; None for all images.
        keep_going: leave out files that cannot be used and cases that a method fails on.
        options: how a folder of images and masks is to be understood.
        parameters: further ones of the notebook.

    Raises:
        FileNotFoundError, ValueError: data that cannot be used, or parameters that the notebook
            does not take; or another run in `out`.
    """
    from medsr_lib.data import store

    if not methods:
        raise ValueError("give at least one method: --method bicubic, --method mine=net.onnx, ...")
    values = {
        "methods": list(methods),
        "primary": primary(methods),
        "scale": scale,
        "degradation": degradation,
        "lr_dir": None if lr is None else str(lr.resolve()),
        "fold": fold,
        "keep_going": keep_going,
        "reading": {k: v for k, v in asdict(options).items() if v != getattr(type(options), k)},
    }
    (found,) = notebooks.find([NOTEBOOK])
    notebooks.accepted([found], values | dict(parameters))
    with lock.hold(out), tempfile.TemporaryDirectory() as folder:
        cases = store.prepare(data, out / "slices.h5", skip_bad=keep_going, options=options)
        one = cases.table["patient"].nunique() < 2
        values["baselines"] = list(BASELINES[:1] if one else BASELINES)
        bare = cases.table["mask_pixels"].isna().all()
        content = without_masks(found.content) if bare else found.content
        report.write(Path(folder) / found.path.name, outputs.text(content))
        (result,) = run.run(
            [NOTEBOOK],
            data={found.name: data},
            out=out,
            parameters={**values, **parameters},
            folder=Path(folder),
        )
    return result


def primary(methods: Sequence[str]) -> str:
    """The method of the primary contrast: the first that is no interpolation, else the last."""
    names = [method.partition("=")[0] for method in methods]
    return next((name for name in names if name not in PLAIN), names[-1])


def without_masks(content: Any) -> Any:
    """A notebook without the cells that need masks, and with a word on what is missing."""
    import nbformat

    cut = copy.deepcopy(content)
    cut.cells = [cell for cell in cut.cells if MASKS not in tags(cell)]
    cut.cells.insert(1, nbformat.v4.new_markdown_cell(WITHOUT))
    return cut


def answers(result: Result) -> list[str]:
    """What the page says first, a line each."""
    found = result.values.get("headlines", {})
    return [f"{name}: {formatting.value(of)}" for name, of in found.items()]
