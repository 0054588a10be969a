"""One case restored by one method, with maps of the differences and their means over regions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsr_lib import images
from medsr_lib.case import Case, for_case
from medsr_lib.show.explore.base import reason
from medsr_lib.show.explore.viewer import Scale
from medsr_lib.show.panels import round_limit

Method = Callable[[Tensor], Tensor]
Map = Callable[[Tensor, Tensor], Tensor]
Regions = Callable[[Tensor, Tensor], Mapping[str, Any]]

EDGE = 5  # pixels at the image's edge that SSIM's mean leaves out: its windows reach beyond it
MIN_PIXELS = 50  # a smaller region is not measured; both are as in a table of scores
ERROR, WHOLE, LESION = "error", "whole", "tumour"
GIVEN = ("HR", "LR")


@dataclass(frozen=True)
class Degraded:
    """A case, its degraded image, and where to measure.

    Attributes:
        case: cropped to what the scale divides.
        lr: (1, 1, h, w).
        corner: row and column of its first pixel in the case as it was given.
        places: regions (H, W) by name.
        trouble: why there are no more of them.
    """

    case: Case
    lr: Tensor
    corner: tuple[int, int]
    places: dict[str, NDArray[np.bool_]]
    trouble: str

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        regions = sum(inside.nbytes for inside in self.places.values())
        return self.case.image.nbytes + self.lr.nbytes + regions

    @property
    def images(self) -> dict[str, "Restored"]:
        """HR and, with its own pixels on the grid of HR, LR."""
        hr, lr = self.case.image.numpy(), flat(self.lr)
        down, across = (n // m for n, m in zip(hr.shape, lr.shape))
        return {"HR": Restored(hr), "LR": Restored(lr.repeat(down, 0).repeat(across, 1))}


@dataclass(frozen=True)
class Restored:
    """What one method made of a case.

    Attributes:
        image: SR, (H, W); None where the method failed.
        maps: (H, W) by name; the error, SR - HR, is one of them.
        numbers: a row per region with pixels, psnr, mse and the mean of each map.
        trouble: what went wrong.
    """

    image: NDArray[np.float32] | None = None
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)
    trouble: str = ""

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(of.nbytes for of in (self.image, *self.maps.values()) if of is not None)


def flat(values: Tensor) -> NDArray[np.float32]:
    """A tensor (1, ..., H, W) as an array (H, W)."""
    return values.detach().cpu().float().numpy().reshape(values.shape[-2:])


def degraded(case: Case, *, degrade: Method, scale: int, regions: Regions | None) -> Degraded:
    """Crop a case to what the scale divides, degrade it, and find the regions where to measure:
    without a function for them, or where it fails, the whole image and the lesion if there is one.

    Raises:
        ValueError: a case smaller than the scale, or LR of another scale.
    """
    before, case = case.image.shape, case.cropped(scale)
    size = case.image.shape
    corner = (before[0] - size[0]) // 2, (before[1] - size[1]) // 2
    with torch.inference_mode():
        lr = for_case(degrade, case)(case.image[None, None])
    if lr.shape[-2:] != (size[0] // scale, size[1] // scale):
        raise ValueError(
            f"LR is {tuple(lr.shape)} for HR {tuple(size)}; give the degradation of scale {scale}"
        )
    found: Mapping[str, Any] = {WHOLE: np.ones(size, bool)}
    trouble = ""
    if case.mask is not None:
        found = {**found, LESION: case.mask}
        if regions is not None and case.mask.any():
            try:
                found = regions(case.image, case.mask)
            except Exception as error:
                trouble = f"the regions cannot be found: {reason(error)}"
    places = {name: np.asarray(inside, bool) for name, inside in found.items()}
    return Degraded(case, lr, corner, places, trouble)


def restored(method: Method, given: Degraded, maps: Mapping[str, Map]) -> Restored:
    """Restore a case and measure it; what goes wrong is in the answer."""
    hr, troubles = given.case.image[None, None], []
    try:
        with torch.inference_mode():
            sr = _called(method, given)
            if sr.shape != hr.shape:
                raise ValueError(
                    f"SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; does it have the scale of the "
                    "degradation?"
                )
            images.check(sr, "SR")
            found = {ERROR: flat(sr - hr)}
            for name, function in maps.items():
                try:
                    found[name] = flat(function(sr, hr)).reshape(hr.shape[-2:])
                except Exception as error:
                    troubles.append(f"{name}: {reason(error)}")
    except Exception as error:
        return Restored(trouble=reason(error))
    return Restored(flat(sr), found, measured(found, given), "; ".join(troubles))


def measured(maps: Mapping[str, NDArray[np.float32]], given: Degraded) -> pd.DataFrame:
    """PSNR, MSE and the mean of each map over each region, as a table of scores has them."""
    inner = np.zeros(given.case.image.shape, bool)
    inner[EDGE:-EDGE, EDGE:-EDGE] = True
    squared = np.square(maps[ERROR])
    rows = []
    for inside in given.places.values():
        mse = _mean(squared, inside)
        with np.errstate(divide="ignore"):
            row = {"pixels": inside.sum(), "psnr": float(-10 * np.log10(mse)), "mse": mse}
        for name, values in maps.items():
            if name != ERROR:
                row[name] = _mean(values, inside & inner if _is_ssim(name) else inside)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(given.places, name="region"))


def scale_of(name: str, shown: Sequence[NDArray[np.float32]]) -> Scale:
    """Which colours the maps of one name have, of all methods alike."""
    if _is_ssim(name):
        return Scale("magma_r", 0, 1, name, ("0: unlike HR", "1: as in HR"))
    limit = round_limit([values[::2, ::2] for values in shown])
    if min(float(np.nanmin(values)) for values in shown) < 0:
        return Scale("RdBu_r", -limit, limit, name, (f"−{limit:g}", f"+{limit:g} (white: 0)"))
    return Scale("Reds", 0, limit, name, ("0", f"{limit:g}"))


def _called(method: Method, given: Degraded) -> Tensor:
    """A method's SR; a network is put into evaluation mode and called where it is."""
    method, lr = for_case(method, given.case), given.lr
    if isinstance(method, nn.Module):
        method.eval()
        lr = lr.to(next((p.device for p in method.parameters()), lr.device))
    sr = method(lr)
    if not isinstance(sr, Tensor):
        raise ValueError(f"SR is {type(sr).__name__}; it must be a tensor")
    return sr.cpu()


def _mean(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    found = values[inside]
    return float(found.mean(dtype=np.float64)) if len(found) >= MIN_PIXELS else float("nan")


def _is_ssim(name: str) -> bool:
    return name.casefold() == "ssim"
