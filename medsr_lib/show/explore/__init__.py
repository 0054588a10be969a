"""Explorers for JupyterLab: images, methods, a running training, scores.

Each gives controls above a picture; display it as the last line of a cell:

    explore.slices(cases)
    explore.methods(cases, {"bicubic": bicubic, "ESPCN": espcn}, degrade=to_lr, scale=4)
    explore.training("runs/lab/phantom/03_srgan")
    explore.scores("runs/lab/phantom/04_regional_ssim/scores.csv", cases)

All controls work by mouse and by keyboard (Tab, arrow keys, space). With the package ipyevents the
mouse works in the pictures too: pointing shows values, a click goes there, dragging sets the grey
window or the line of a swipe. What is wrong is written above the picture, in place of a traceback.
Where no widget can run, the picture is shown as it was.
"""

try:
    import cachetools  # noqa: F401
    import ipywidgets  # type: ignore[import-untyped]  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"explorers need {error.name}, which is not installed: pip install 'medsr-lib[notebooks]'"
    ) from None

from medsr_lib.show.explore.methods import Methods
from medsr_lib.show.explore.scores import Scores
from medsr_lib.show.explore.slices import Slices
from medsr_lib.show.explore.training import Training

slices, methods, training, scores = Slices, Methods, Training, Scores

__all__ = ["methods", "scores", "slices", "training"]
