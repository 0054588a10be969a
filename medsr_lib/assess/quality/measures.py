"""The pixel measures of a batch by region: maps of the whole images, averaged over masks."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from medsr_lib.assess.quality import metrics
from medsr_lib.assess.quality.metrics import INNER
from medsr_lib.assess.quality.ssim import BORDER, PARTS

METRICS = ("psnr", "mse", "ssim")  # always measured
FURTHER = (*PARTS, "ms_ssim", "ssim_within")  # on request
WINDOWED = ("ssim", *FURTHER)  # measured without the outer 5 pixels of the image


def check_metrics(names: Sequence[str]) -> None:
    """Refuse names of measures that do not exist."""
    unknown = [name for name in names if name not in (*METRICS, *FURTHER)]
    if unknown:
        wrong = ", ".join(map(repr, unknown))
        raise ValueError(f"no metric {wrong}; there are {', '.join((*METRICS, *FURTHER))}")


def measure(
    sr: Tensor,
    hr: Tensor,
    regions: Sequence["Regions"],
    *,
    names: Sequence[str],
    maps: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """METRICS, what else is named, and the mean of each of `maps`, (B, R) each, on the CPU.

    Of images (B, 1, H, W) in [0, 1] and maps (B, H, W). NaN over an empty region; for SSIM and its
    relatives also over one that lies wholly in the outer 5 pixels.
    """
    parts, start = [], 0
    for some in regions:
        here = slice(start, start + len(some.masks))
        own = {name: of_batch[here] for name, of_batch in maps.items()}
        parts.append(some.measure(sr[here], hr[here], names, own))
        start = here.stop
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def prepare(masks: Tensor) -> list["Regions"]:
    """The regions (B, R, H, W), bool, for `measure`: on a CPU slice by slice, else all at once."""
    return [Regions(some) for some in masks.split(1 if masks.device.type == "cpu" else len(masks))]


class Regions:
    """Regions (B, R, H, W) with what averaging over them takes, once for all methods."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self.pixels = masks.sum((-2, -1)).cpu()  # (B, R)
        self.inner_pixels = masks[INNER].sum((-2, -1)).cpu()

    def measure(
        self, sr: Tensor, hr: Tensor, names: Sequence[str], maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """As `measure`, for these images."""
        windowed = ["ssim", *(name for name in PARTS if name in names)]
        multi_scale = "ms_ssim" in names and min(hr.shape[-2:]) >= metrics.MS_LEAST
        if multi_scale:
            windowed.append("contrast_structure")
        similar = metrics.ssim_maps(sr, hr, windowed, data_range=1.0)
        found = self._means({"mse": (sr - hr).square()[:, 0], **maps}, similar)
        found["psnr"] = metrics.decibels(found["mse"], data_range=1.0)
        found["ms_ssim"] = torch.full_like(found["mse"], torch.nan)
        if multi_scale:
            found["ms_ssim"] = self._ms_ssim(sr, hr, found["contrast_structure"])
        if "ssim_within" in names:
            found["ssim_within"] = self._ssim_within(sr, hr, similar["ssim"])
        return {name: found[name] for name in dict.fromkeys((*METRICS, *names, *maps))}

    def _means(
        self, maps: Mapping[str, Tensor], windowed: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Mean of each map over each region; of windowed maps without their border."""
        inner = [functional.pad(found[INNER], (BORDER,) * 4) for found in windowed.values()]
        stacked = _double(torch.stack((*maps.values(), *inner), -1).flatten(1, 2))  # (B, H W, maps)
        sums = dict(zip((*maps, *windowed), (self._weights @ stacked).cpu().unbind(-1)))
        pixels = dict.fromkeys(maps, self.pixels) | dict.fromkeys(windowed, self.inner_pixels)
        return {name: total / pixels[name] for name, total in sums.items()}

    def _ms_ssim(self, sr: Tensor, hr: Tensor, finest: Tensor) -> Tensor:
        """As `metrics.ms_ssim_within`, given the means of the finest scale."""
        coarser = metrics.ms_ssim_maps(sr, hr, data_range=1.0, first=1)
        maps = [_double(one[INNER].flatten(1))[..., None] for one in coarser]  # (B, pixels, 1)
        means = [(w @ x)[..., 0] / w.sum(2) for w, x in zip(self._coarser_weights, maps)]
        return metrics.ms_product([finest, *(mean.cpu() for mean in means)])

    def _ssim_within(self, sr: Tensor, hr: Tensor, ssim: Tensor) -> Tensor:
        """Mean SSIM from the pixels of each region alone; `ssim`, where that is all of them."""
        found = [
            ssim if mask.all() else metrics.ssim_map_within(sr, hr, mask, data_range=1.0)
            for mask in self.masks.unbind(1)
        ]
        return torch.stack([_double(one[INNER]).nanmean((1, 2)) for one in found], 1).cpu()

    @cached_property
    def _weights(self) -> Tensor:
        return _double(self.masks.flatten(2))  # (B, R, H W)

    @cached_property
    def _coarser_weights(self) -> list[Tensor]:
        return [_double(share.flatten(2)) for share in metrics.ms_shares(self.masks)[1:]]


def _double(x: Tensor) -> Tensor:
    """Float64, in which a sum over a slice keeps its digits; MPS has none, so the CPU does it."""
    return (x.cpu() if x.device.type == "mps" else x).double()
