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
from medsr_lib.assess.quality import measures
from medsr_lib.assess.quality.measures import METRICS as METRICS
from medsr_lib.assess.quality.regions import NAMES, check_names, regions
from medsr_lib.assess.quality.ssim import WINDOW

REFERENCE = "HR"  # the method name of the images that were never degraded
COLUMNS = (
    *("slice_id", "patient_id", "patient", "tumour", "fold", "method", "scale", "degradation"),
    *("region", "pixels", *METRICS),
)
SUMMARISED = ("psnr", "ssim", "mse")  # in the order of `summary`
COUNTS = ("slices", "patients", "skipped")
_MOMENTS = (("", "mean"), ("_sd", "std"))
_OF_MEASUREMENT = ("method", "region")  # the columns of which every slice should have every value
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
    metrics: Sequence[str] = METRICS,
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

    What cannot be measured is NaN, and counted by `summary`: a region that is empty or too small
    (as `normal`, `mirror` and `matched` are where the tumour leaves no normal tissue), for SSIM
    also one too small without the outer 5 pixels, `ms_ssim` of an image smaller than 176 pixels or
    of a region within 80 of its edge. All else that is wrong is an error that names the slice.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1]; a
            network is put into evaluation mode, and stays on the device it was on.
        slices: of `data` (a `Pack` or a list of `TumourSlice`): image, mask, slice_id, patient_id,
            patient, tumour and fold are read.
        degrade: HR -> LR, as `degrade.by_name` gives.
        scale: of the degradation; slices it does not divide are centre-cropped, mask alike.
        region_names: which of `regions.NAMES`.
        metrics: psnr, mse and ssim are always measured; on request also luminance, contrast and
            structure (`metrics.ssim_parts`), ms_ssim (`metrics.ms_ssim_within`), and ssim_within
            (`metrics.ssim_map_within`: what of ssim has not leaked in from outside the region), all
            without the outer 5 pixels, as ssim.
        min_pixels: a smaller region is NaN; `pixels` tells its size.
        degradation: the name to write into the table; that of `degrade` by default.
        device: where SR and the maps are computed; "auto" takes CUDA, else MPS, else the CPU.
        batch: slices of one size taken together.
        progress: show a progress bar.
        maps: further measures: name -> function from SR and HR (B, 1, H, W) to (B, H, W), averaged
            over each region as the squared error is; a network in it must be on the device already.

    Returns:
        Columns slice_id, patient_id, patient, tumour, fold, method, scale, degradation, region,
        pixels, psnr (dB), mse, ssim, and one for each further one of `metrics` and of `maps`.

    Raises:
        TypeError, ValueError: no slices or methods, a region or metric that does not exist, a
            degradation of another scale; a slice that is raw, holds NaN, is smaller than SSIM's 11
            pixels or has no tumour in its mask (names the slice); a method whose SR is no tensor,
            has a wrong size, NaN, or values out of [0, 1] (names method and slice); a map named
            like a column, or one of a wrong size or not finite.
    """
    maps = maps or {}
    check_arguments(methods, slices, region_names)
    measures.check_metrics(metrics)
    _check_map_names(maps, metrics)
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
            prepared = [prepare(s, scale=scale, names=region_names) for s in group]
            hr, masks = (torch.stack(tensors).to(on) for tensors in zip(*prepared))
            places = measures.prepare(masks)
            lr = degrade(hr)
            for name, method in methods.items():
                sr = method(lr)
                check_sr(sr, hr, name, group)
                extra = {key: _map(key, function, sr, hr) for key, function in maps.items()}
                values = measures.measure(sr, hr, places, names=metrics, maps=extra)
                rows += _rows(values, places, name, group, region_names, min_pixels)
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


def prepare(tumour_slice: Any, *, scale: int, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """HR (1, H, W) and its regions (R, H, W), cropped to a multiple of the scale.

    Raises:
        TypeError, ValueError: as `score` says of slices; names the slice.
    """
    image, mask = tumour_slice.image, tumour_slice.mask
    try:
        if image.shape != mask.shape:
            raise ValueError(f"image is {tuple(image.shape)} and mask {tuple(mask.shape)}")
        image, mask = (image_rules.centre_crop(of, multiple=scale) for of in (image, mask))
        image_rules.check(image[None, None], "image")
        if min(image.shape) < WINDOW:
            size = " x ".join(map(str, image.shape))
            raise ValueError(f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {size}")
        by_name = regions(image, mask, names=names)
    except (TypeError, ValueError) as error:
        raise type(error)(f"slice {_identity(tumour_slice)}: {error}") from None
    return image[None], torch.stack([by_name[name] for name in names])


def _rows(
    values: Mapping[str, Tensor],
    places: Sequence[measures.Regions],
    method: str,
    group: Sequence[Any],
    region_names: Sequence[str],
    min_pixels: int,
) -> Iterator[dict[str, Any]]:
    """The rows of one method for one batch, from values (B, R)."""
    pixels, inner = (torch.cat(n) for n in zip(*((p.pixels, p.inner_pixels) for p in places)))
    measured = {}
    for name, of_name in values.items():
        used = inner if name in measures.WINDOWED else pixels
        measured[name] = of_name.masked_fill(used < min_pixels, torch.nan).tolist()
    for b, tumour_slice in enumerate(group):
        for r, region in enumerate(region_names):
            yield {
                **about(tumour_slice),
                "method": method,
                "region": region,
                "pixels": int(pixels[b, r]),
                **{name: of_name[b][r] for name, of_name in measured.items()},
            }


def summary(table: pd.DataFrame, *, by: Sequence[str] = ("region", "method")) -> pd.DataFrame:
    """Mean and standard deviation over slices of each metric, with n of slices and patients.

    Columns psnr, psnr_sd, ssim, ssim_sd, mse, mse_sd, the same for every further column of
    floating-point numbers (of `metrics` and `maps` of `score`), slices, patients and skipped. That
    counts the slices that were not measured, though the table has them: the region was too small,
    or the row of this method or region is missing. A further column that lacks values in slices
    that were measured is averaged over the others, and `<name>_skipped` counts these slices.
    """
    keys = list(by)
    measured = table.dropna(subset=list(METRICS))
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
    expected = _expected(table, keys)
    out = out.reindex(expected.index)
    out[["slices", "patients"]] = out[["slices", "patients"]].fillna(0).astype(int)
    out["skipped"] = expected - out["slices"]
    for name in extra:
        lacking = measured[measured[name].isna()]
        if len(lacking):
            n = lacking.groupby(keys, observed=True)["slice_id"].nunique()
            out[name + "_skipped"] = n.reindex(out.index, fill_value=0)
    return out


def _expected(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """How many slices each group would have, if every method and region stood in all of them."""
    of_slice = [key for key in keys if key not in _OF_MEASUREMENT]
    slices = pd.Series(table["slice_id"].nunique(), table.index)
    if of_slice:
        slices = table.groupby(of_slice, observed=True)["slice_id"].transform("nunique")
    return slices.groupby([table[key] for key in keys], sort=False, observed=True).first()


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


def _check_map_names(maps: Mapping[str, Map], metrics: Sequence[str]) -> None:
    """No map may be named like a column of `score`, or give `summary` a column twice."""
    ends = [f"{name}{end}" for name in (*METRICS, *metrics, *maps) for end in ("_sd", "_skipped")]
    taken = {*COLUMNS, *COUNTS, *metrics, *ends}
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
    """Refuse SR that is no tensor, of another size than HR or out of range; names the slices."""
    names = ", ".join(_identity(s) for s in group)
    if not isinstance(sr, Tensor):
        raise TypeError(
            f"method {method!r}, slices {names}: SR is {type(sr).__name__}; it must be a tensor"
        )
    if sr.shape != hr.shape:
        raise ValueError(
            f"method {method!r}, slices {names}: SR is {tuple(sr.shape)}, HR {tuple(hr.shape)}; "
            "does it have the scale of the degradation?"
        )
    for one, tumour_slice in zip(sr, group):
        image_rules.check(one[None], f"method {method!r}, slice {_identity(tumour_slice)}")
