"""Does a map that is known without HR say where a method errs?

Such a map is the disagreement of several trainings. It is held against one that costs nothing: the
edges of SR, since most methods err at edges.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from skimage.filters import sobel
from sklearn.metrics import roc_auc_score
from torch import Tensor

from medsr_lib import checks
from medsr_lib.assess.quality import regions
from medsr_lib.assess.restored import Method, restored
from medsr_lib.case import Case

EDGES = "edges of SR"
RESTORED = "SR"


def areas(
    method: Method,
    flags: Mapping[str, Method],
    cases: Iterable[Case],
    *,
    degrade: Method,
    scale: int,
    region_names: Sequence[str] = ("whole",),
    worst: float = 0.1,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """How well each map finds the pixels with the largest errors, by case and region.

    The area under the ROC curve of the map's values, where the `worst` pixels of the region by
    |SR - HR| are to be distinguished from the others: 0.5 is chance, 1 finds them all first.

    Args:
        method: LR (B, 1, h, w) -> SR (B, 1, scale h, scale w) in [0, 1], whose errors are flagged.
        flags: name -> LR -> map (B, 1, scale h, scale w) in [0, 1], higher where errors are
            expected. `EDGES` is added: the gradient of SR by Sobel's filter (scikit-image).
        cases: with masks, unless only "whole" is asked.
        degrade, scale, device, progress: as of `restored.restored`.
        region_names: of `regions.NAMES`.
        worst: share of a region's pixels that are to be found.

    Returns:
        A row per case, region and map: id, patient, label, method (the map's name), region, pixels
        and auc, NaN in a region without pixels to distinguish.

    Raises:
        ValueError: a share outside (0, 1), a map called `EDGES` or "SR", and as `restored`.
    """
    checks.share("worst", worst)
    if taken := {EDGES, RESTORED} & set(flags):
        raise ValueError(f"no map may be called {taken.pop()!r}: that name is used here")
    rows: list[dict[str, Any]] = []
    named = {RESTORED: method, **flags}
    how: dict[str, Any] = {"degrade": degrade, "scale": scale, "device": device}
    for one in restored(named, cases, progress=progress, **how):
        (case,), maps = one.cases, dict(one.sr)
        sr = maps.pop(RESTORED)
        error = (sr - one.hr).abs()[0, 0].cpu()
        maps[EDGES] = torch.from_numpy(sobel(sr[0, 0].cpu().numpy()))[None, None]
        for region, mask in regions.of_case(case, region_names).items():
            largest = _largest(error[mask], worst)
            for name, flag in maps.items():
                given = {"id": case.id, "patient": case.patient, "label": case.label}
                about = {"method": name, "region": region, "pixels": int(mask.sum())}
                tells = 0 < largest.sum() < len(largest)
                area = roc_auc_score(largest, flag[0, 0].cpu()[mask]) if tells else float("nan")
                rows.append(given | about | {"auc": area})
    return pd.DataFrame(rows)


def _largest(error: Tensor, share: float) -> Tensor:
    """Which pixels have the largest errors: that share of them, rounded."""
    chosen = torch.zeros(len(error), dtype=torch.bool)
    chosen[error.topk(round(share * len(error))).indices] = True
    return chosen
