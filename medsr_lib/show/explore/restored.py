"""One slice restored by methods, with maps of the differences and their means over regions."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsr_lib import images
from medsr_lib.show.explore.base import reason
from medsr_lib.show.explore.chooser import mask_of
from medsr_lib.show.explore.picture import Scale
from medsr_lib.show.panels import Box, round_limit

Method = Callable[[Tensor], Tensor]
Map = Callable[[Tensor, Tensor], Tensor]
Regions = Callable[[Any, Any], Mapping[str, Any]]

EDGE = 5
"""Pixels at the slice's edge that SSIM's mean leaves out: there its windows reach beyond it."""

MIN_PIXELS = 50
"""A smaller region is not measured; both are as in a table of scores."""

ERROR = "error"
GIVEN = ("HR", "LR")


@dataclass
class Truth:
    """A slice as it was measured, its degraded image, and where to measure."""

    hr: Tensor  # (1, 1, H, W)
    lr: Tensor  # (1, 1, h, w)
    mask: NDArray[np.bool_]
    fold: Any = None
    trouble: str = ""
    places: dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        parts = (array.nbytes for pair in self.places.values() for array in pair)
        return self.hr.nbytes + self.lr.nbytes + self.mask.nbytes + sum(parts)

    @property
    def image(self) -> NDArray[np.float32]:
        """HR, (H, W)."""
        return flat(self.hr)

    @property
    def coarse(self) -> NDArray[np.float32]:
        """LR with its own pixels on the grid of HR."""
        lr, (height, width) = flat(self.lr), self.mask.shape
        return lr.repeat(height // lr.shape[0], 0).repeat(width // lr.shape[1], 1)


@dataclass
class Restored:
    """What one method made of a slice; without `image` where it failed, which `trouble` tells."""

    image: NDArray[np.float32] | None
    maps: dict[str, NDArray[np.float32]]
    numbers: dict[str, dict[str, float]]  # by region, then by measure
    trouble: str = ""

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        of_image = 0 if self.image is None else self.image.nbytes
        return of_image + sum(values.nbytes for values in self.maps.values())


def flat(values: Tensor) -> NDArray[np.float32]:
    """A tensor (1, ..., H, W) as an array (H, W)."""
    return values.detach().cpu().float().numpy().reshape(values.shape[-2:])


def wants_scale(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter `scale` that must still be given."""
    try:
        of = inspect.signature(function).parameters.get("scale")
    except (TypeError, ValueError):  # some of those written in C have no signature
        return False
    return of is not None and of.default is of.empty


def bound(function: Callable[..., Tensor], scale: int) -> Callable[..., Tensor]:
    """A degradation or map, told its scale if it wants to be."""
    return partial(function, scale=scale) if wants_scale(function) else function


def by_scale(
    methods: Mapping[Any, Any], degrade: Any, scale: int
) -> tuple[dict[int, dict[str, Method]], dict[int, Method]]:
    """Methods and degradation of each scale; of one scale, if they are not given by scale.

    Raises:
        ValueError: no methods, one called as the slices are, or what is not there for a scale.
    """
    given = methods if isinstance(methods, Mapping) else {}
    several = any(isinstance(of, Mapping) for of in given.values())
    found = {at: dict(of) for at, of in given.items()} if several else {scale: dict(given)}
    if not all(of and not set(GIVEN) & set(of) for of in found.values()):
        raise ValueError("give methods by name, as in {'bicubic': function}; not HR or LR")
    if scale not in found:
        raise ValueError(f"there are methods for the scales {list(found)}, but not for {scale}")
    if not isinstance(degrade, Mapping):
        if len(found) > 1 and not wants_scale(degrade):
            raise ValueError(
                f"give a degradation for each scale, as in {{2: function, 4: function}}: there are "
                f"methods for {list(found)}, and this one is of one scale"
            )
        return found, {at: bound(degrade, at) for at in found}
    if lacking := [at for at in found if at not in degrade]:
        raise ValueError(f"there is no degradation for the scales {lacking}, but methods")
    return found, {at: degrade[at] for at in found}


def prepare(chosen: Any, *, degrade: Method, scale: int) -> Truth:
    """Crop a slice to what the scale divides, and degrade it.

    Raises:
        ValueError: a slice that is no image in [0, 1], or has another shape than its mask.
    """
    image, mask = torch.as_tensor(chosen.image), torch.as_tensor(mask_of(chosen))
    if image.shape != mask.shape:
        raise ValueError(f"image is {tuple(image.shape)} and mask {tuple(mask.shape)}")
    image, mask = (images.centre_crop(of, multiple=scale) for of in (image, mask > 0))
    hr = image[None, None].float()
    images.check(hr, "the slice")
    with torch.inference_mode():
        return Truth(hr, degrade(hr), mask.numpy(), getattr(chosen, "fold", None))


def with_regions(truth: Truth, regions: Regions | None, *, outlined: bool) -> Truth:
    """The same slice with the places where to measure; why there are few stands in the answer."""
    whole, trouble = np.ones_like(truth.mask), ""
    found: Mapping[str, Any] = {"whole": whole}
    if outlined:
        found = {**found, "tumour": truth.mask}
    if outlined and regions is not None:
        try:
            found = regions(truth.hr[0, 0], torch.from_numpy(truth.mask))
        except Exception as error:
            trouble = f"the regions cannot be found: {reason(error)}"
    inner = np.zeros_like(whole)
    inner[EDGE:-EDGE, EDGE:-EDGE] = True
    places = {}
    for name, region in found.items():
        inside = np.asarray(region).astype(bool)
        places[name] = (np.flatnonzero(inside), np.flatnonzero(inside & inner))
    return replace(truth, places=places, trouble=trouble)


def restore(method: Method, truth: Truth, maps: Mapping[str, Map]) -> Restored:
    """Restore a slice and measure it; what goes wrong stands in the answer."""
    try:
        with torch.inference_mode():
            sr = _called(method, truth.lr)
            _check(sr, truth.hr)
            found = {ERROR: flat(sr - truth.hr)}
            trouble = []
            for name, function in maps.items():
                try:
                    found[name] = _map(function(sr, truth.hr), truth.hr)
                except Exception as error:
                    trouble.append(f"{name}: {reason(error)}")
    except Exception as error:
        return Restored(None, {}, {}, reason(error))
    return Restored(flat(sr), found, measured(found, truth), "; ".join(trouble))


def measured(maps: Mapping[str, NDArray[np.float32]], truth: Truth) -> dict[str, dict[str, float]]:
    """PSNR, MSE and the mean of each map over each region, as a table of scores has them."""
    squared = np.square(maps[ERROR]).ravel()
    numbers: dict[str, dict[str, float]] = {}
    for region, (inside, inner) in truth.places.items():
        mse = _mean(squared, inside)
        with np.errstate(divide="ignore"):
            numbers[region] = {"PSNR": float(-10 * np.log10(mse)), "MSE": mse}
        for name, values in maps.items():
            if name != ERROR:
                places = inner if name.casefold() == "ssim" else inside
                numbers[region][name] = _mean(values.ravel(), places)
    return numbers


def scale_of(name: str, shown: list[NDArray[np.float32]], box: Box | None) -> Scale:
    """Which colours the maps of one name have, in all panels alike."""
    if name.casefold() == "ssim":
        return Scale("magma_r", 0, 1, "SSIM; dark: as in HR, bright: unlike it")
    rows = slice(None) if box is None else slice(box[1], box[3])
    columns = slice(None) if box is None else slice(box[0], box[2])
    limit = round_limit([values[rows, columns][::2, ::2] for values in shown])
    if name == ERROR:
        return Scale("RdBu_r", -limit, limit, "SR − HR; blue: too dark, red: too bright")
    if min(float(np.nanmin(values)) for values in shown) < 0:
        return Scale("RdBu_r", -limit, limit, f"{name}; white: 0")
    return Scale("Reds", 0, limit, f"{name}; white: 0")


def _called(method: Method, lr: Tensor) -> Tensor:
    """A method's SR; a network is put into evaluation mode and called where it is."""
    if isinstance(method, nn.Module):
        method.eval()
        home = next((p.device for p in method.parameters()), lr.device)
        return torch.as_tensor(method(lr.to(home))).cpu()
    sr = method(lr)
    if not isinstance(sr, Tensor):
        raise ValueError(f"SR is {type(sr).__name__}; it must be a tensor")
    return sr.cpu()


def _check(sr: Tensor, hr: Tensor) -> None:
    if sr.shape != hr.shape:
        raise ValueError(
            f"SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; does it have the scale of the "
            "degradation?"
        )
    images.check(sr, "SR")


def _map(found: Tensor, hr: Tensor) -> NDArray[np.float32]:
    if found.numel() != hr.numel():
        raise ValueError(f"the map is {tuple(found.shape)}, HR {tuple(hr.shape)}")
    return flat(found)


def _mean(values: NDArray[np.float32], places: NDArray[np.intp]) -> float:
    if len(places) < MIN_PIXELS:
        return float("nan")
    return float(values[places].mean(dtype=np.float64))
