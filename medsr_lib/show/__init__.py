"""Figures, for the eye: `from medsr_lib import show`, then `show.curves(...)` and so on.

Every function returns a matplotlib `Figure` with its title, units and the numbers behind it. They
take cases, tensors, tables of scores and estimates, and measure nothing themselves. `title` says
what is drawn, and `note` is added below it. `show.explore` holds the interactive views.

What cannot be drawn is refused by a ValueError that says what was got: an empty table or mapping, a
name or a column that is not there, a case without the mask that is drawn, an image of another size
or far outside [0, 1].
"""

from importlib import import_module
from typing import Any

try:
    import matplotlib  # noqa: F401
    import seaborn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"figures need {error.name}, which is not installed: pip install 'medsr-lib[notebooks]'"
    ) from None

from medsr_lib.show.dataset import (
    file_traits,
    fold_counts,
    gallery,
    grey_window,
    lesion_locations,
    lesion_sizes,
    mask_and_border,
)
from medsr_lib.show.decisions import (
    attention_maps,
    decision_changes,
    diagnosis_changes,
    over_trainings,
    roc_curves,
)
from medsr_lib.show.estimates import differences, null_bands, transfer_matrix
from medsr_lib.show.images import (
    beside_hr,
    comparison,
    invention_maps,
    region_montage,
    restorations,
    with_and_without,
)
from medsr_lib.show.scores import (
    by_patient,
    contrast_detail,
    perception_plane,
    quality_by_level,
)
from medsr_lib.show.slide import summary_slide
from medsr_lib.show.style import Folded, NothingToDraw, keep
from medsr_lib.show.training import adversarial_curves, curves

__all__ = [
    "Folded",
    "NothingToDraw",
    "adversarial_curves",
    "attention_maps",
    "beside_hr",
    "by_patient",
    "comparison",
    "contrast_detail",
    "curves",
    "decision_changes",
    "diagnosis_changes",
    "differences",
    "explore",
    "file_traits",
    "fold_counts",
    "gallery",
    "grey_window",
    "invention_maps",
    "keep",
    "lesion_locations",
    "lesion_sizes",
    "mask_and_border",
    "null_bands",
    "over_trainings",
    "perception_plane",
    "quality_by_level",
    "region_montage",
    "restorations",
    "roc_curves",
    "summary_slide",
    "transfer_matrix",
    "with_and_without",
]


def __getattr__(name: str) -> Any:
    """Import `explore` when it is first used: it needs ipywidgets."""
    if name == "explore":
        return import_module("medsr_lib.show.explore")
    raise AttributeError(f"module 'medsr_lib.show' has no attribute {name!r}")
