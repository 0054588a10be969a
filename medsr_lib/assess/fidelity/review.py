"""What a radiologist would see change, as a table: a row per slice, method and region."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib.assess.fidelity import appearance, invention
from medsr_lib.assess.quality import score

Function = Callable[[Tensor], Tensor]
AROUND = ("tumour", "rim", "peritumoural")  # what `appearance.measure` reads of a tumour
INVENTION = ("improvement", "omission", "hallucination", "d_im", "d_om")


def review(
    methods: Mapping[str, Function],
    slices: Sequence[Any],
    *,
    degrade: Function,
    upsample: Function,
    scale: int,
    region_names: Sequence[str] = ("tumour", "matched"),
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Restore every slice by every method, and measure appearance and invention in regions.

    HR itself stands in the table as a method whose changes are 0, so that
    `statistics.contrasts` with the baseline "HR" gives the change against HR, and with a reference
    region the change in the tumour less that in comparable tissue.

    Args:
        methods: name -> LR (B, 1, h, w) -> SR (B, 1, H, W) in [0, 1].
        slices: as for `score.score`.
        degrade: HR -> LR.
        upsample: LR -> HR's size, the interpolation that invention is measured against.
        scale: of the degradation; slices it does not divide are centre-cropped, mask alike.
        region_names: "tumour" with all of `appearance.MEASURES`, others with those that need no
            border (NaN in the rest).
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        Columns slice_id, patient_id, patient, tumour, fold, method, region, those of
        `appearance.MEASURES`, consistency (mean |degrade(SR) - LR|, intensity) and those of
        INVENTION (HR is all improvement, the interpolation all omission, by construction). What
        cannot be measured is NaN, such as `matched` where no normal tissue is left; `statistics`
        counts it as skipped.

    Raises:
        TypeError, ValueError: no slices or methods, a method called HR, a slice or SR that
            `score.score` refuses too (names slice and method).
    """
    if score.REFERENCE in methods:
        raise ValueError(f"no method may be called {score.REFERENCE!r}: that is the reference")
    score.check_arguments(methods, slices, region_names)
    on = devices.choose(device)
    places = list(dict.fromkeys((*AROUND, *region_names)))
    rows: list[dict[str, Any]] = []
    with score.on_device(methods, on), torch.inference_mode():
        for s in tqdm(slices, "reviewing", unit="slice", disable=not progress, leave=False):
            hr, masks = score.prepare(s, scale=scale, names=places)
            hr, found = hr[None].to(on), dict(zip(places, masks))
            lr = degrade(hr)
            restored = {score.REFERENCE: hr} | {
                name: method(lr) for name, method in methods.items()
            }
            for name, sr in restored.items():
                score.check_sr(sr, hr, name, [s])
                measured = _measure(sr, hr, lr, found, region_names, degrade, upsample)
                rows += [
                    {**score.about(s), "method": name, "region": region, **values}
                    for region, values in measured.items()
                ]
    return pd.DataFrame(rows)


def _measure(
    sr: Tensor,
    hr: Tensor,
    lr: Tensor,
    found: Mapping[str, Tensor],
    region_names: Sequence[str],
    degrade: Function,
    upsample: Function,
) -> dict[str, dict[str, float]]:
    """All measures of one slice and method, by region."""
    masks = {region: found[region].to(hr.device) for region in region_names}
    map_ = invention.data_consistency_hr(sr, lr, degrade=degrade)
    consistency = invention.region_means(map_, masks)
    shares = invention.region_shares(sr, hr, lr, masks, upsample=upsample)
    seen = {r: found if r == "tumour" else {"tumour": found[r]} for r in region_names}
    return {
        region: {
            **appearance.measure(sr.cpu(), hr.cpu(), seen[region]),
            "consistency": consistency[region].item(),
            **{name: getattr(shares[region], name).item() for name in INVENTION},
        }
        for region in region_names
    }
