"""Existing networks and our own, at each scale and on LR by each degradation."""

from collections.abc import Callable, Mapping
from functools import cache, partial

import pandas as pd

from medsr_lib.assess import statistics
from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Contrast, Estimate

from .rows import BEST_GAINS, PSNR, SEED, over_trainings, table, with_seeds
from .text import REGIONS, decibels, edges, line, ranged, reading, rows_of, signed

SCALES = (2, 3, 4)
KINDS = {"bicubic": "bicubic", "blur": "blur", "kspace": "k-space"}
ATLAS = {  # methods of the atlas, as the rows name them, and as the pages do
    "linear": "best linear filter",
    "lanczos": "Lanczos",
    **{
        f"{of}, {kind}": f"{of} of ours, trained on {title}"
        for of in ("ESPCN", "WDSR", "SRGAN")
        for kind, title in KINDS.items()
    },
    "WDSR": "WDSR of ours",
    "SRGAN": "SRGAN of ours",
    "SRMD": "SRMD",
    "waifu2x-photo": "waifu2x photo",
    "esrgan-slim": "upscalerjs slim",
    "esrgan-medium": "upscalerjs medium",
    "esrgan-thick": "upscalerjs thick",
    "RealSR": "RealSR",
}
ATLAS_REGIONS = ("whole", "tumour", "matched")
GAINS = [(b, r) for b in ("bicubic", "linear") for r in ATLAS_REGIONS]
LEVELS = {"bicubic": "no noise", "bicubic, noise 1 %": "1 %", "bicubic, noise 2 %": "2 %"}
NOISY = {f"ESPCN, {kind}": f"ESPCN, trained with {level}" for kind, level in LEVELS.items()}
NOISY |= {"linear": "best linear filter, fitted for each", "lanczos": "Lanczos"}


@cache
def atlas_rows(scale: int, kind: str) -> pd.DataFrame:
    """Rows of one scale and degradation; what has no seed is of the first."""
    rows = table(f"atlas-x{scale}").query("degradation == @kind")
    return rows.assign(seed=rows["seed"].fillna(0).astype(int))


def atlas_methods(scale: int, kind: str) -> list[str]:
    """What was compared; of our networks, those trained on bicubic and on this degradation."""
    there = set(atlas_rows(scale, kind)["method"])
    shown = {"", "bicubic", kind}  # what follows the comma: how a network of ours was trained
    return [name for name in ATLAS if name in there and name.partition(", ")[2] in shown]


def methods_of(rows: pd.DataFrame) -> dict[str, str]:
    """The methods of the atlas that a table has, and what the page calls them."""
    there = set(rows["method"])
    return {"bicubic": "bicubic"} | {key: of for key, of in ATLAS.items() if key in there}


@cache
def atlas_gains(
    scale: int, kind: str, method: str, baseline: str = "bicubic"
) -> Mapping[Contrast, Estimate]:
    """Of PSNR, over a baseline given the same LR, over trainings where there are several."""
    rows = atlas_rows(scale, kind)
    if not method.startswith("ESPCN"):  # trained once, or not at all
        rows = rows[rows["seed"] == 0]
    rows = rows[rows["method"].isin({method, baseline})]
    where = [*((region, None) for region in ATLAS_REGIONS), ("tumour", "whole")]
    specs = [Contrast("psnr", method, baseline, *of) for of in where]
    return statistics.contrasts_over_seeds(rows, specs)


def atlas_gain(
    scale: int, kind: str, method: str, region: str, baseline: str = "bicubic", **more: str
) -> Estimate:
    """One of `atlas_gains`."""
    asked = Contrast("psnr", method, baseline, region, **more)
    return atlas_gains(scale, kind, method, baseline)[asked]


def gained(scale: int, *about: str, **more: str) -> str:
    """A gain in decibels; see `atlas_gain`."""
    return decibels(atlas_gain(scale, *about, **more))


def trained_for_it() -> str:
    """What WDSR gains over the linear filter in the tumour, from the least to the greatest of all
    scales and degradations, each by the network that was trained for it."""
    each = [(scale, kind, f"WDSR, {kind}") for scale in SCALES for kind in KINDS]
    gains = [atlas_gain(*of, "tumour", "linear").value for of in each]
    return f"{min(gains):.2f} to {max(gains):.2f} dB"


def atlas(scale: int) -> str:
    """Gain in PSNR over bicubic and over the linear filter, by degradation, method and region."""
    lines = []
    for kind, title in KINDS.items():
        for method in atlas_methods(scale, kind):
            found = (
                "–" if method == base else number(atlas_gain(scale, kind, method, region, base), 2)
                for base, region in GAINS
            )
            lines.append(line(title, ATLAS[method], *found))
    heads = [f"{REGIONS[region]}, over {base}" for base, region in GAINS]
    return rows_of(line("LR by", "Method", *heads), lines)


def atlas_bands(scale: int) -> str:
    """By degradation, for each method: the share that it makes up for of what interpolation and
    the linear filter lack, its contrast in SSIM, its band and the verdict.

    p is corrected within the degradation; of trainings, the first is held against the band.
    """
    lines = []
    for kind, title in KINDS.items():
        rows = atlas_rows(scale, kind).query("seed == 0")
        held_to = {"methods": atlas_methods(scale, kind), "baseline": "bicubic", "seed": SEED}
        verdicts = statistics.verdict_table(statistics.null_bands(rows, **held_to))
        closed = closed_in_tumour(rows)
        for _, row in verdicts[verdicts["metric"] == "ssim"].iterrows():
            name = row["method"]
            shares = [closed.get((base, name), "–") for base in ("bicubic", "linear")]
            about = (title, ATLAS[name], *shares, signed(row, "contrast"))
            band, said = "none", row["verdict"]
            if pd.notna(row["band_low"]):
                band, said = edges(row), reading(row)
            lines.append(line(*about, band, said))
    shares = ["Closed, over bicubic, %", "Closed, over linear, %"]
    heads = [*shares, "Contrast, SSIM", "Null band at the same gain", "Reading"]
    return rows_of(line("LR by", "Method", *heads), lines).replace("-0.", "−0.")


def closed_in_tumour(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """By baseline and method: the share of its lack of SSIM that is made up for, in percent."""
    inside = rows[rows["region"] == "tumour"]
    baselines = ["bicubic", "linear"]
    found = statistics.deficit_closed(inside, baselines=baselines, metrics=["ssim"], seed=SEED)
    each = found.set_index(["baseline", "method"]).iterrows()
    return {key: number(row, 0, factor=100) for key, row in each}


def measured(scale: int, unit: str, region: str) -> str:
    """How many slices or runs ("id", "patient") the atlas has in a region."""
    rows = atlas_rows(scale, "bicubic")
    return str(rows[(rows["region"] == region) & rows["ssim"].notna()][unit].nunique())


def seconds() -> str:
    """Time that each method takes for a slice, by scale."""
    taken = table("times").pivot(index="method", columns="scale", values="seconds")
    lines = []
    for method in (method for method in ATLAS if method in taken.index):
        cells = ("–" if pd.isna(of) else f"{of:.2g}" for of in taken.loc[method, [*SCALES]])
        lines.append(line(ATLAS[method].partition(",")[0], *cells))
    return rows_of(line("Method", *(f"×{scale}" for scale in SCALES)), lines)


def noise() -> str:
    """What an ESPCN gains in the tumour on LR with noise, by the noise that it was trained with."""
    lines = []
    for method, title in NOISY.items():
        cells = []
        for kind in LEVELS:
            cells.append(ranged(atlas_gain(4, kind, method, "tumour"), 2))
        lines.append(line(title, *cells))
    return rows_of(line("Method", *LEVELS.values()), lines)


def refused() -> str:
    """What a network that the handshake refuses does to PSNR and brightness, by degradation."""
    lines = []
    for kind, title in KINDS.items():
        rows = with_seeds("refused")
        rows = rows[rows["degradation"] == kind]
        *over_bicubic, shift = over_trainings(
            rows, "refused", "bicubic", *PSNR, ("shift", "tumour")
        )
        gains = over_bicubic + over_trainings(rows, "refused", "linear", *PSNR)
        cells = [*(number(e, 2) for e in gains), number(shift, 1, factor=100)]
        lines.append(line(title, *cells))
    heads = [f"{REGIONS[region]}, over {base}" for base, region in BEST_GAINS]
    return rows_of(line("LR by", *heads, "Brightness of the tumour, % of the range"), lines)


def scaled(prefix: str, compute: Callable[..., str], *about: str) -> dict[str, Callable[[], str]]:
    """A number of the atlas at each scale: its ID ends in x2, x3, x4."""
    return {f"{prefix}-x{scale}": partial(compute, scale, *about) for scale in SCALES}


NUMBERS: dict[str, Callable[[], str]] = {
    **scaled("atlas", atlas),
    **scaled("atlas-bands", atlas_bands),
    **scaled("atlas-slices", measured, "id", "whole"),
    **scaled("atlas-runs", measured, "patient", "whole"),
    **scaled("atlas-matched", measured, "id", "matched"),
    **scaled("srmd-linear", gained, "bicubic", "SRMD", "tumour", "linear"),
    **scaled("thick", gained, "bicubic", "esrgan-thick", "tumour"),
    "wdsr-own": trained_for_it,
    "wdsr-elsewhere-x2": partial(gained, 2, "kspace", "WDSR, bicubic", "tumour", "linear"),
    "wdsr-elsewhere-x4": partial(gained, 4, "kspace", "WDSR, bicubic", "tumour", "linear"),
    "srmd-blur": partial(gained, 4, "blur", "SRMD", "tumour"),
    "srmd-kspace": partial(gained, 4, "kspace", "SRMD", "tumour"),
    "srmd-bicubic": partial(gained, 4, "bicubic", "SRMD", "tumour"),
    **scaled("espcn-short", gained, "bicubic", "ESPCN, bicubic", "tumour", "linear"),
    "atlas-noise": noise,
    "realsr-whole": partial(gained, 4, "bicubic", "RealSR", "whole"),
    "realsr-tumour": partial(gained, 4, "bicubic", "RealSR", "tumour"),
    "realsr-more": partial(gained, 4, "bicubic", "RealSR", "tumour", reference="whole"),
    "espcn-noise": partial(
        *(gained, 4, "bicubic, noise 1 %", "ESPCN, bicubic, noise 1 %", "tumour", "linear")
    ),
    "clean-on-noise": partial(gained, 4, "bicubic, noise 2 %", "ESPCN, bicubic", "tumour"),
    "seconds": seconds,
    "refused": refused,
}
