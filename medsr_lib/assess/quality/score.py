"""One table for everything: a row per case, method and region."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from medsr_lib import checks, devices
from medsr_lib.assess.quality import metrics as of_image
from medsr_lib.assess.quality.regions import NAMES, Tissue, check_names, of_case
from medsr_lib.assess.quality.ssim import (
    BORDER,
    INNER,
    PARTS,
    WINDOW,
    full_precision,
    maps,
    mirror,
    to_double,
)
from medsr_lib.assess.quality.sums import Sums
from medsr_lib.assess.restored import Method, Restored, restored
from medsr_lib.case import Case

Measure = Callable[[Tensor, Tensor], Tensor]

METRICS = ("psnr", "mse", "ssim")  # always measured
WINDOWED = (*PARTS, "ms_ssim", "ssim_within")  # of SSIM's kin, on request
MEASURES: dict[str, Measure] = {"edges": of_image.edge_preservation}
"""Further measures on request: name -> function of SR and HR, (B, 1, H, W) each.

A map (B, H, W) is averaged over every region; a number for each image, (B,), is that of `whole`.
"""

COLUMNS = (
    *("id", "patient", "label", "fold", "method", "scale", "degradation", "region", "pixels"),
    *METRICS,
)
SUMMARISED = ("psnr", "ssim", "mse")  # in the order of `summary`
DIGITS = {"psnr": 2, "mse": 5}  # of `mean_and_sd`; of all others 3
COUNTS = ("cases", "patients", "skipped")
_MOMENTS = (("", "mean"), ("_sd", "std"))
_OF_MEASUREMENT = ("method", "region")  # the columns of which every case should have every value
MIN_PIXELS = 50  # of a region: half an SSIM window; fewer say little beyond their surroundings
TILE = 16  # pixels of the squares in which the borders of regions are measured
BATCH = 8  # cases of one size at once on a GPU; one on a CPU, whose cache and memory that suits


@torch.inference_mode()
def score(
    methods: Mapping[str, Method],
    cases: Sequence[Case],
    *,
    degrade: Method,
    scale: int,
    region_names: Sequence[str] | None = None,
    metrics: Sequence[str] = METRICS,
    measures: Mapping[str, Measure] | None = None,
    tissue: Tissue = "brain",
    device: str = "auto",
    keep_going: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Degrade every case, restore it by every method, and measure every region.

    One SSIM map and one squared-error map of the whole, unmasked images serve all regions: a
    region's SSIM is the mean of the map over its pixels (without the image's outer 5 pixels, whose
    windows reach beyond it; so `whole` is `metrics.ssim`), its MSE the mean squared error, and its
    PSNR that of its MSE. Masking the images first would make every method look better.

    What cannot be measured is NaN, and counted by `summary`: a region that is empty or below
    `MIN_PIXELS` (as `normal`, `matched` and `mirror` are where no brain is found or none is left),
    for SSIM also one too small without the outer 5 pixels, `ms_ssim` of an image smaller than 176
    pixels or of a region within 80 of its edge.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1].
        cases: cropped around their centre to what the scale divides, masks alike.
        degrade: HR -> LR, such as `degrade.by_name` gives.
        scale: of the degradation; 1 for noise.
        region_names: which of `regions.NAMES`; None takes all where every case has a mask, else
            "whole".
        metrics: psnr, mse and ssim are always measured; on request also luminance, contrast and
            structure (`metrics.ssim_maps`), ms_ssim (`metrics.ms_ssim_within`), ssim_within
            (`metrics.ssim_map_within`: what of ssim has not leaked in from outside the region), all
            without the outer 5 pixels, as ssim; and those of `MEASURES`.
        measures: more of your own, as in `MEASURES`; a network in one must be on the device.
        tissue: what the tumour is compared with, in `normal`, `matched` and `mirror`, as in
            `regions.regions`; masks of your own by case id.
        device: where SR and the maps are computed; "auto" takes CUDA, else MPS, else the CPU.
        keep_going: leave out cases that cannot be restored by one of the methods, in place of
            raising.
        progress: show a progress bar.

    Returns:
        Columns id, patient, label, fold, method, scale, degradation, region, pixels, psnr (dB),
        mse, ssim, and one for each further one of `metrics` and `measures`. `attrs["left_out"]`
        says why cases were left out (id -> error).

    Raises:
        TypeError, ValueError: what `restored.restored` refuses; a region or metric that does not
            exist, a case smaller than SSIM's 11 pixels or without a mask where one is needed (names
            the case), a measure named like a column, of a wrong size, or a map that is not finite.
    """
    extra = _measures(metrics, measures or {})
    if region_names is None:
        outlined = all(case.mask is not None for case in cases)
        region_names = NAMES if outlined else ("whole",)
    check_names(region_names)
    left_out: dict[str, str] = {}
    loop = restored(
        *(methods, cases), degrade=degrade, scale=scale, device=device,
        batch=1 if devices.choose(device).type == "cpu" else BATCH,
        left_out=left_out if keep_going else None, progress=progress,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for batch in loop:
        rows += _rows(batch, region_names, metrics, extra, tissue)
    if not rows:
        first = next(iter(left_out.values()))
        raise ValueError(f"none of the {len(left_out)} cases can be scored; the first: {first}")
    table = pd.DataFrame(rows)
    names = (getattr(degrade, attribute, None) for attribute in ("label", "name", "__name__"))
    name = next((name for name in names if name), type(degrade).__name__)
    table.insert(5, "scale", scale)
    table.insert(6, "degradation", name)
    table.attrs["left_out"] = left_out
    return table


def summary(table: pd.DataFrame, *, by: Sequence[str] = ("region", "method")) -> pd.DataFrame:
    """Mean and standard deviation over cases of each metric, with n of cases and patients.

    Columns psnr, psnr_sd, ssim, ssim_sd, mse, mse_sd, the same for every further column of
    floating-point numbers (of `metrics` and `measures` of `score`), cases, patients and skipped.
    That counts the cases that were not measured, though the table has them: the region was too
    small, or the row of this method or region is missing. A further column that lacks values in
    cases that were measured is averaged over the others, and `<name>_skipped` counts these cases.
    """
    keys = [by] if isinstance(by, str) else list(by)
    checks.columns(table, "id", "patient", *keys, numbers=METRICS)
    if not keys:
        raise ValueError("by must name at least one column")
    measured = table.dropna(subset=list(METRICS))
    extra = [
        name
        for name in table.columns
        if name not in (*COLUMNS, *keys) and pd.api.types.is_float_dtype(table[name])
    ]
    values = [(name, end, how) for name in (*SUMMARISED, *extra) for end, how in _MOMENTS]
    out = measured.groupby(keys, sort=False, observed=True).agg(
        **{name + end: (name, how) for name, end, how in values},
        cases=("id", "nunique"),
        patients=("patient", "nunique"),
    )
    expected = _expected(table, keys)
    out = out.reindex(expected.index)
    out[["cases", "patients"]] = out[["cases", "patients"]].fillna(0).astype(int)
    out["skipped"] = expected - out["cases"]
    for name in extra:
        lacking = measured[measured[name].isna()]
        if len(lacking):
            n = lacking.groupby(keys, sort=False, observed=True)["id"].nunique()
            out[name + "_skipped"] = n.reindex(out.index, fill_value=0)
    return out


def mean_and_sd(means: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Means as `summary` gives them, as text with their standard deviations: "33.20 ± 1.31"."""
    checks.columns(means, *metrics, *(f"{name}_sd" for name in metrics))
    texts = {}
    for name in metrics:
        digits = DIGITS.get(name, 3)
        pairs = zip(means[name], means[f"{name}_sd"])
        texts[name] = [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in pairs]
    return pd.DataFrame(texts, index=means.index)


def by_seed(table: pd.DataFrame, trainings: Mapping[str, Mapping[int, str]]) -> pd.DataFrame:
    """Several trainings of a method under its one name, told apart by a column `seed`.

    Each training is scored as a method of its own, so that every case is restored and measured
    once. Of the result, `statistics.over_seeds` asks how a method does over its trainings.

    Args:
        table: of `score`.
        trainings: method -> the name that each seed's training has in the table. All methods have
            the same seeds.

    Returns:
        A copy; the rows of methods that are not in `trainings` are there once for each seed.

    Raises:
        ValueError: other seeds in one method than in another, or a training the table lacks.
    """
    seeds = {method: list(names) for method, names in trainings.items()}
    if len({tuple(of) for of in seeds.values()}) != 1:
        raise ValueError(f"all methods need the same seeds, and at least one; got {seeds}")
    every = {name for names in trainings.values() for name in names.values()}
    if missing := every - set(table["method"]):
        raise ValueError(f"the table has no method {sorted(missing)}; score each training")
    parts = []
    for seed in next(iter(seeds.values())):
        own = {names[seed]: method for method, names in trainings.items()}
        rows = table[table["method"].isin(own) | ~table["method"].isin(every)]
        parts.append(rows.assign(method=rows["method"].replace(own), seed=seed))
    return pd.concat(parts, ignore_index=True)


def _expected(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """How many cases each group would have, if every method and region were measured in all."""
    of_case = [key for key in keys if key not in _OF_MEASUREMENT]
    cases = pd.Series(table["id"].nunique(), table.index)
    if of_case:
        cases = table.groupby(of_case, observed=True)["id"].transform("nunique")
    return cases.groupby([table[key] for key in keys], sort=False, observed=True).first()


def about(case: Case) -> dict[str, Any]:
    """Which case it is: the columns that every table of cases has."""
    return {"id": case.id, "patient": case.patient, "label": case.label, "fold": case.fold}


def _rows(
    batch: Restored,
    region_names: Sequence[str],
    metrics: Sequence[str],
    measures: Mapping[str, Measure],
    tissue: Tissue,
) -> Iterator[dict[str, Any]]:
    """The rows of a batch: each method's cases, each case's regions."""
    for case in batch.cases:
        if min(case.image.shape) < WINDOW:
            size = " x ".join(map(str, case.image.shape))
            raise ValueError(
                f"case {case.id}: SSIM needs at least {WINDOW} x {WINDOW} pixels, got {size}"
            )
    found = (of_case(case, region_names, tissue=tissue) for case in batch.cases)
    masks = torch.stack([mask for of in found for mask in of.values()]).to(batch.hr.device)
    masks = masks.unflatten(0, (len(batch.cases), -1))
    regions, every = _Regions(batch.hr[:, 0], masks, metrics), list(batch.sr.values())
    extra = {
        name: torch.stack([_measured(name, of, sr, batch.hr) for sr in every])
        for name, of in measures.items()
    }
    values = _values(regions, [sr[:, 0] for sr in every], region_names, metrics, extra)
    for m, method in enumerate(batch.sr):
        for b, case in enumerate(batch.cases):
            for r, region in enumerate(region_names):
                row = about(case) | {"method": method, "region": region}
                row["pixels"] = int(regions.sums.pixels[b, r])
                yield row | {name: of_name[m][b][r] for name, of_name in values.items()}


def _values(
    regions: "_Regions",
    every: Sequence[Tensor],
    region_names: Sequence[str],
    metrics: Sequence[str],
    extra: Mapping[str, Tensor],
) -> dict[str, list[list[list[float]]]]:
    """Every measure by method, case and region; NaN where a region is too small."""
    further = {name: value for name, value in extra.items() if value.ndim == 4}
    found = regions.measure(every, further)
    everywhere = torch.tensor([name == "whole" for name in region_names])
    for name in extra.keys() - further.keys():
        value = to_double(extra[name]).cpu()[..., None]
        found[name] = torch.where(everywhere, value, torch.nan)
    return {name: found[name].tolist() for name in dict.fromkeys((*METRICS, *metrics, *extra))}


class _Regions:
    """HR (B, H, W) and regions of it (B, R, H, W), with what measuring them takes once."""

    def __init__(self, hr: Tensor, masks: Tensor, names: Sequence[str]) -> None:
        self.hr, self.masks, self.sums = hr, masks, Sums(masks)
        self.parts = [name for name in PARTS if name in names]
        self.within, self.multi_scale = "ssim_within" in names, "ms_ssim" in names
        self.large = self.multi_scale and min(hr.shape[-2:]) >= of_image.MS_LEAST

    def measure(self, every: Sequence[Tensor], further: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """METRICS and what else is named, of all methods' SR, (M, B, R) each, on the CPU.

        And means of further maps (M, B, H, W).
        """
        plain: dict[str, Any] = {"mse": [(sr - self.hr).square_() for sr in every], **further}
        windowed = ["ssim", *self.parts, *(["contrast_structure"] if self.large else [])]
        exact = full_precision(self.hr.device) if self.parts else torch.float32
        inner = maps(every, self.hr, windowed, data_range=1.0, dtype=exact)
        sums = {
            name: torch.stack([self.sums(one, inner=name in inner) for one in of])
            for name, of in (plain | inner).items()
        }
        pixels, inner_pixels = self.sums.pixels, self.sums.inner_pixels
        found = {k: of / (pixels if k in plain else inner_pixels) for k, of in sums.items()}
        found["psnr"] = of_image.decibels(found["mse"], data_range=1.0)
        if self.large:
            *half, hr = (avg_pool2d(of, 2) for of in (*every, self.hr))
            n, shares = len(of_image.SCALES) - 1, of_image.ms_shares(self.masks, first=1)
            scales = of_image.ms_maps(half, hr, n, data_range=1.0, dtype=torch.float32)
            rest = [of_image.mean_within(*both).cpu() for both in zip(scales, shares)]
            found["ms_ssim"] = of_image.ms_product([found["contrast_structure"], *rest])
        elif self.multi_scale:
            found["ms_ssim"] = torch.full_like(found["mse"], torch.nan)
        if self.within:
            leaked = self._leaked(every, inner["ssim"])
            found["ssim_within"] = (sums["ssim"] - leaked) / inner_pixels
        for name, value in found.items():
            used = pixels if name in plain or name == "psnr" else inner_pixels
            found[name] = value.masked_fill(used < MIN_PIXELS, torch.nan)
        return found

    def _leaked(self, every: Sequence[Tensor], ssim: Tensor) -> Tensor:
        """By how much SSIM's sums over regions, (M, B, R), exceed those from their pixels alone."""
        b, r, *at = self._borders
        leaked = self.sums.pixels.new_zeros((*self.sums.pixels.shape, len(every)))
        if len(b):
            inner = torch.zeros_like(self.masks[:, 0])
            inner[INNER] = True
            mask = _tiles(self._framed)[b, r, *at]
            *near, hr = (_tiles(mirror(of))[b, *at] for of in (*every, self.hr))
            own = maps(near, hr, data_range=1.0, dtype=torch.float32, mask=mask)["ssim"]
            unused = ~(mask[INNER] & _tiles(inner, 0)[b, *at])
            whole = torch.stack([_tiles(one, 0)[b, *at] for one in ssim])
            more = to_double((whole - own).masked_fill_(unused, 0)).sum((2, 3))
            leaked.index_put_((b.cpu(), r.cpu()), more.T.cpu(), accumulate=True)
        return leaked.permute(2, 0, 1)

    @cached_property
    def _borders(self) -> tuple[Tensor, ...]:
        """The tiles that a border of a region reaches: image, region, row and column of each.

        Elsewhere windows lie wholly inside or outside the region, and SSIM is the same.
        """
        whole = self._framed
        for dim in (-2, -1):
            whole = whole.unfold(dim, TILE + 2 * BORDER, TILE).all(-1)
        return (_tiles(self.masks, 0).any(-1).any(-1) & ~whole).nonzero(as_tuple=True)

    @cached_property
    def _framed(self) -> Tensor:
        """The regions in whole tiles, and what is around the image, as if it were in all of them:
        windows that reach it are not used."""
        h, w = self.masks.shape[-2:]
        ends = (BORDER, BORDER + -w % TILE, BORDER, BORDER + -h % TILE)
        return pad(self.masks, ends, value=True)


def _tiles(x: Tensor, frame: int = BORDER) -> Tensor:
    """Squares of 16 pixels of (..., H, W), (..., down, across, 16, 16), each with such a frame."""
    h, w = (n - 2 * frame for n in x.shape[-2:])
    x = pad(x, (0, -w % TILE, 0, -h % TILE))
    size = TILE + 2 * frame
    return x.unfold(-2, size, TILE).unfold(-2, size, TILE)


def _measures(names: Sequence[str], own: Mapping[str, Measure]) -> dict[str, Measure]:
    """The functions to call, by name; refuses names that do not exist or would clash."""
    known = (*METRICS, *WINDOWED, *MEASURES)
    if unknown := [name for name in names if name not in known]:
        wrong = ", ".join(map(repr, unknown))
        raise ValueError(f"no metric {wrong}; there are {', '.join(known)}")
    columns = [f"{name}{end}" for name in (*known, *own) for end in ("_sd", "_skipped")]
    taken = {*COLUMNS, *COUNTS, *known, *columns}
    if clashing := [name for name in own if name in taken]:
        raise ValueError(
            f"measures: {', '.join(map(repr, clashing))} would be a column twice; "
            "choose another name"
        )
    return {name: MEASURES[name] for name in names if name in MEASURES} | dict(own)


def _measured(name: str, function: Measure, sr: Tensor, hr: Tensor) -> Tensor:
    """One further measure of one method: a map (B, H, W), or a number for each image (B,)."""
    found = function(sr, hr)
    of_map = (len(sr), *sr.shape[-2:])
    if tuple(found.shape) not in (of_map, of_map[:1]):
        raise ValueError(
            f"measure {name!r}: expected a map (B, H, W) = {of_map} or numbers (B,), "
            f"got shape {tuple(found.shape)}"
        )
    if found.ndim == 3 and not torch.isfinite(found).all():
        raise ValueError(f"measure {name!r}: holds NaN or infinite values")
    return found
