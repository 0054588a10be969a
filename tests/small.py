"""Small parameters, with which every notebook takes seconds; each is given those that it has."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from medsr_lib.series import notebook as notebooks

SLICES = {
    "scale": 2,
    "fold": 2,
    "steps": 12,
    "pretraining": 60,
    "trainings": 2,
    "classifier_steps": 8,
    "segmenter_steps": 8,
    "robust_steps": 8,
    "patch": 64,
    "crop": 32,
    "tissue": "head",
    "device": "cpu",
}
DENOISING = {
    "size": 64,
    "trainings": 2,
    "steps": 16,
    "espcn_steps": 16,
    "upscalers": ["ESPCN", "SRResNet"],
    "srresnet_steps": 4,
    "levels": [0.05, 0.2],
    "device": "cpu",
}
DETECTION = {
    "size": 64,
    "folds": 2,
    "trainings": 2,
    "steps": 10,
    "noise_levels": [0.1],
    "scales": [2],
    "device": "cpu",
}


@dataclass(frozen=True)
class Ran:
    """Notebooks that were run: their data, the folder of the run, and what each recorded."""

    data: Path
    out: Path
    values: dict[str, dict]


def parameters_of(number: str) -> dict[str, object]:
    """Those of `SLICES` that a notebook has."""
    (notebook,) = notebooks.find([number])
    return {name: SLICES[name] for name in notebook.parameters if name in SLICES}


def played(number: str, data: Path, out: Path, **given: object) -> dict:
    """What a notebook on slices records with small parameters and these, run in this process."""
    (notebook,) = notebooks.find([number])
    folders = {"data_dir": str(data), "out_dir": str(out)}
    return play(notebook.content, **parameters_of(number) | folders | given)


def has_viewer(page: Path) -> bool:
    """Whether a page has one viewer of several images that needs no kernel, and not too large."""
    text = page.read_text(encoding="utf-8")
    (viewer,) = re.findall(r'<div class="mv-page".*?</script></div>', text, re.DOTALL)
    return viewer.count('"layers"') > 1 and len(viewer) < 3e6


def play(content: NotebookNode, **given: object) -> dict:
    """Run the code cells in this process, for a kernel takes longer to start than they to run.

    `given` are set behind the parameters; what was recorded.
    """
    import matplotlib.pyplot as plt

    names: dict = {}
    for cell in content.cells:
        if cell.cell_type == "code":
            exec(re.sub(r"(?m)^%.*$", "", cell.source), names)
            if "parameters" in notebooks.tags(cell):
                names |= given
    plt.close("all")
    return json.loads((names["out"] / "results.json").read_text(encoding="utf-8"))["values"]
