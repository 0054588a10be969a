"""One table for everything: a row per slice, method and region."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess import metrics
from medsr_lib.assess.regions import NAMES, check_names, regions

METRICS = ("psnr", "mse", "ssim")
REFERENCE = "HR"  # the method name of the images that were never degraded
COLUMNS = (
    *("slice_id", "patient_id", "patient", "tumour", "fold", "method", "scale", "degradation"),
    *("region", "pixels", *METRICS),
)
SUMMARISED = ("psnr", "ssim", "mse")  # in the order of `summary`
COUNTS = ("slices", "patients", "skipped")
_MOMENTS = (("", "mean"), ("_sd", "std"))
MIN_PIXELS = (
    50  # of a region; half an SSIM window's 121: fewer say little beyond their surroundings
)

Method = Callable[[Tensor], Tensor]
Map = Callable[[Tensor, Tensor], Tensor]


def score(
    methods: Mapping[str, Method],
    slices: Sequence[Any],
    *,
    degrade: Callable[..., Tensor],
    scale: int,
    region_names: Sequence[str] = NAMES,
    min_pixels: int = MIN_PIXELS,
    degradation: str | None = None,
    device: str = "auto",
    batch: int = 8,
    progress: bool = True,
    maps: Mapping[str, Map] | None = None,
) -> pd.DataFrame:
    """Degrade every slice, restore it by every method, and measure every region.

    One SSIM map and one squared-error map of the whole, unmasked images serve all regions: a
    region's SSIM is the mean of the map over its pixels (without the image's outer 5 pixels, whose
    windows reach beyond it; so `whole` is `metrics.ssim`), its MSE the mean squared error, and its
    PSNR that of its MSE. Masking the images first would flatter every method.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1]; a
            network is put into evaluation mode, and stays on the device it was on.
        slices: of `data` (a `Pack` or a list of `TumourSlice`): image, mask, slice_id, patient_id,
            patient, tumour and fold are read.
        degrade: HR -> LR, as `degrade.by_name` gives.
        scale: of the degradation; slices it does not divide are centre-cropped, mask alike.
        region_names: which of `regions.NAMES`.
        min_pixels: a smaller region is NaN (and its `pixels` tell).
        degradation: the name to write into the table; that of `degrade` by default.
        device: where SR and the maps are computed; "auto" takes CUDA, else MPS, else the CPU.
        batch: slices of one size taken together.
        progress: show a progress bar.
        maps: further measures: name -> function from SR and HR (B, 1, H, W) to (B, H, W), averaged
            over each region as the squared error is; a network in it must be on the device already.

    Returns:
        Columns slice_id, patient_id, patient, tumour, fold, method, scale, degradation, region,
        pixels, psnr (dB), mse, ssim, and one for each of `maps`.

    Raises:
        ValueError: no slices or methods, a region that does not exist, a degradation of another
            scale, a method whose SR has a wrong size, NaN, or values out of [0, 1] (names method
            and slice), a map named like a column, or one of a wrong size or not finite.
    """
    maps = maps or {}
    check_arguments(methods, slices, region_names)
    _check_map_names(maps)
    on = devices.choose(device)
    named = degradation or _name(degrade)
    bound = getattr(degrade, "keywords", {}).get("scale", scale)
    if bound != scale:
        raise ValueError(f"degrade has scale {bound}, but score was asked for scale {scale}")
    if "scale" in inspect.signature(degrade).parameters:
        degrade = partial(degrade, scale=scale)
    rows: list[dict[str, Any]] = []
    bar = tqdm(total=len(slices), desc="scoring", unit="slice", disable=not progress, leave=False)
    with on_device(methods, on), torch.inference_mode():
        for group in _by_size(slices, batch):
            hr, found = _prepare(group, scale, region_names)
            measured = _Measured(torch.stack(found).to(on))
            hr = hr.to(on)
            lr = degrade(hr)
            for name, method in methods.items():
                sr = method(lr)
                check_sr(sr, hr, name, group)
                extra = {key: _map(key, function, sr, hr) for key, function in maps.items()}
                rows += _rows(sr, hr, extra, measured, name, group, region_names, min_pixels)
            bar.update(len(group))
    bar.close()
    table = pd.DataFrame(rows)
    table.insert(6, "scale", scale)
    table.insert(7, "degradation", named)
    return table


@contextmanager
def on_device(methods: Mapping[str, Method], device: torch.device) -> Iterator[None]:
    """Have the networks among the methods on a device, in evaluation mode; then where they were.

    Evaluation mode stays; methods that are no networks are left alone.
    """
    networks = [method for method in methods.values() if isinstance(method, nn.Module)]
    homes = [next((p.device for p in network.parameters()), device) for network in networks]
    try:
        for network in networks:
            network.eval().to(device)
        yield
    finally:
        for network, home in zip(networks, homes):
            network.to(home)


def _prepare(
    group: Sequence[Any], scale: int, region_names: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """HR (B, 1, H, W) and each slice's regions (R, H, W), cropped to a multiple of the scale."""
    images, found = [], []
    for tumour_slice in group:
        image = image_rules.centre_crop(tumour_slice.image, multiple=scale)
        mask = image_rules.centre_crop(tumour_slice.mask, multiple=scale)
        try:
            by_name = regions(image, mask, names=region_names)
        except ValueError as error:
            raise ValueError(f"slice {_identity(tumour_slice)}: {error}") from None
        images.append(image)
        found.append(torch.stack(list(by_name.values())))
    hr = torch.stack(images)[:, None]
    image_rules.check(hr, f"slices {_identity(group[0])} ...")
    return hr, found


def _rows(
    sr: Tensor,
    hr: Tensor,
    extra: Mapping[str, Tensor],
    measured: "_Measured",
    method: str,
    group: Sequence[Any],
    region_names: Sequence[str],
    min_pixels: int,
) -> Iterator[dict[str, Any]]:
    """The rows of one method for one batch."""
    ssim, (mse, *others) = measured.means(
        metrics.ssim_map(sr, hr, data_range=1.0), [(sr - hr).square()[:, 0], *extra.values()]
    )
    means = {"psnr": metrics.decibels(mse, data_range=1.0), "mse": mse, "ssim": ssim}
    means |= dict(zip(extra, others))
    too_small = measured.pixels < min_pixels
    values = {name: v.masked_fill(too_small, torch.nan).tolist() for name, v in means.items()}
    for b, tumour_slice in enumerate(group):
        for r, region in enumerate(region_names):
            yield {
                **about(tumour_slice),
                "method": method,
                "region": region,
                "pixels": int(measured.pixels[b, r]),
                **{name: of_name[b][r] for name, of_name in values.items()},
            }


class _Measured:
    """The regions of a batch (B, R, H, W), ready to average maps over them."""

    def __init__(self, masks: Tensor) -> None:
        inner = masks[..., metrics.BORDER : -metrics.BORDER, metrics.BORDER : -metrics.BORDER]
        self.weights = _double(masks.flatten(2))  # (B, R, H W)
        self.pixels = self.weights.sum(2).cpu()  # (B, R)
        self.inner_pixels = inner.sum((-2, -1)).cpu()  # of SSIM, whose map is not used at the edge

    def means(self, ssim: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mean of the maps (B, H, W) over each region, (B, R); NaN over an empty one."""
        border = metrics.BORDER
        used = torch.zeros_like(ssim)
        used[:, border:-border, border:-border] = ssim[:, border:-border, border:-border]
        maps = _double(torch.stack((used, *others), -1).flatten(1, 2))  # (B, H W, 1 + others)
        ssim, *sums = (self.weights @ maps).cpu().unbind(-1)
        return ssim / self.inner_pixels, [total / self.pixels for total in sums]


def _double(x: Tensor) -> Tensor:
    """Float64, in which a sum over a slice keeps its digits; MPS has none, so the CPU does it."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def summary(table: pd.DataFrame, *, by: Sequence[str] = ("region", "method")) -> pd.DataFrame:
    """Mean and standard deviation over slices of each metric, with n of slices and patients.

    Columns psnr, psnr_sd, ssim, ssim_sd, mse, mse_sd, the same for every further column of
    floating-point numbers (the `maps` of `score`), slices, patients and skipped, which counts the
    slices whose region was too small to measure.
    """
    measured = table.dropna(subset=list(METRICS))
    keys = list(by)
    extra = [
        name
        for name in table.columns
        if name not in (*COLUMNS, *keys) and pd.api.types.is_float_dtype(table[name])
    ]
    values = [(name, end, how) for name in (*SUMMARISED, *extra) for end, how in _MOMENTS]
    out = measured.groupby(keys, sort=False, observed=True).agg(
        **{name + end: (name, how) for name, end, how in values},
        slices=("slice_id", "nunique"),
        patients=("patient", "nunique"),
    )
    rows = table.groupby(keys, sort=False, observed=True)["slice_id"].nunique()
    out = out.reindex(rows.index)
    out[["slices", "patients"]] = out[["slices", "patients"]].fillna(0).astype(int)
    return out.assign(skipped=rows - out["slices"])


def about(tumour_slice: Any) -> dict[str, Any]:
    """Which slice it is: the columns that every table of slices has."""
    patient_id = str(tumour_slice.patient_id)
    return {
        "slice_id": _identity(tumour_slice),
        "patient_id": patient_id,
        "patient": getattr(tumour_slice, "patient", patient_id),
        "tumour": tumour_slice.tumour,
        "fold": getattr(tumour_slice, "fold", None),
    }


def _identity(tumour_slice: Any) -> str:
    return str(tumour_slice.slice_id)


def _by_size(slices: Sequence[Any], batch: int) -> Iterator[list[Any]]:
    """Consecutive slices of one size, at most `batch` of them."""
    group: list[Any] = []
    for tumour_slice in slices:
        if group and (len(group) == batch or group[0].image.shape != tumour_slice.image.shape):
            yield group
            group = []
        group.append(tumour_slice)
    yield group


def _name(function: Callable[..., Tensor]) -> str:
    inner = function.func if isinstance(function, partial) else function
    return getattr(inner, "__name__", type(inner).__name__)


def check_arguments(
    methods: Mapping[str, Method], slices: Sequence[Any], region_names: Sequence[str]
) -> None:
    """Refuse no methods, no slices, or a region that does not exist."""
    if not methods:
        raise ValueError('there are no methods to score; give {"bicubic": function, ...}')
    if len(slices) == 0:
        raise ValueError("there are no slices to score")
    check_names(region_names)


def _check_map_names(maps: Mapping[str, Map]) -> None:
    """No map may be named like a column of `score`, or give `summary` a column twice."""
    taken = {*COLUMNS, *COUNTS, *(f"{name}_sd" for name in (*METRICS, *maps))}
    clashing = [name for name in maps if name in taken]
    if clashing:
        raise ValueError(
            f"maps: {', '.join(map(repr, clashing))} would be a column twice; choose another name"
        )


def _map(name: str, function: Map, sr: Tensor, hr: Tensor) -> Tensor:
    """One further measure of one method, (B, H, W)."""
    found = function(sr, hr)
    wanted = (sr.shape[0], *sr.shape[-2:])
    if tuple(found.shape) != wanted:
        raise ValueError(
            f"map {name!r}: expected shape (B, H, W) = {wanted}, got {tuple(found.shape)}"
        )
    if not torch.isfinite(found).all():
        raise ValueError(f"map {name!r}: holds NaN or infinite values")
    return found


def check_sr(sr: Tensor, hr: Tensor, method: str, group: Sequence[Any]) -> None:
    """Refuse SR of another size than HR or out of range; names method and slices."""
    names = ", ".join(_identity(s) for s in group)
    if sr.shape != hr.shape:
        raise ValueError(
            f"method {method!r}, slices {names}: SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; "
            "does it have the scale of the degradation?"
        )
    for one, tumour_slice in zip(sr, group):
        image_rules.check(one[None], f"method {method!r}, slice {_identity(tumour_slice)}")
