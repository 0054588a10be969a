"""Explorers for JupyterLab: images, methods, a running training, scores.

Each gives controls above a picture; display it as the last line of a cell:

    explore.slices(cases)
    explore.methods(cases, {"bicubic": bicubic, "ESPCN": espcn}, degrade=to_lr, scale=4)
    explore.training("runs/lab/phantom/03_srgan")
    explore.scores("runs/lab/phantom/04_regional_ssim/scores.csv", cases)

Images are shown by the viewer: whatever the mouse, a finger or a key does there is answered in the
browser, without the kernel. All other controls work by mouse and by keyboard too. What is wrong is
written above the picture, in place of a traceback. Where no widget can run, the picture is shown as
it was.
"""

try:
    import cachetools  # noqa: F401
    import ipywidgets  # type: ignore[import-untyped]  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"explorers need {error.name}, which is not installed: pip install 'medsr-lib[notebooks]'"
    ) from None

from medsr_lib.show.explore.images import Methods, Slices
from medsr_lib.show.explore.scores import Scores
from medsr_lib.show.explore.training import Training

slices, methods, training, scores = Slices, Methods, Training, Scores

__all__ = ["methods", "scores", "slices", "training"]
