"""How the numbers of README and docs are computed from the tables beside this file.

In a page, `<!--n:ID-->text<!--/n-->` marks what `NUMBERS[ID]()` gives; see `medsr verify`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from medsr_lib.assess import statistics
from medsr_lib.assess.lesions import contrast_detail
from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Contrast, Estimate

HERE = Path(__file__).parent
SEED = 0  # of the bootstrap, as in the runs
SHORT = "not distinguishable from a uniform change"

BRAIN = ["bicubic", "linear", "ESPCN", "SRResNet", "SRGAN", "SRMD", "esrgan-slim"]
SEEDS = {"": "seed 0", "-seed1": "seed 1", "-seed2": "seed 2"}
PAIRS = [  # method, baseline, as the page says it, trainings where they are not several
    ("ESPCN", "linear", "ESPCN − linear", ""),
    ("SRResNet", "linear", "SRResNet − linear", ""),
    ("SRResNet", "ESPCN", "SRResNet − ESPCN", ""),
    ("SRGAN", "SRResNet", "SRGAN − SRResNet, from which it was trained further", "1"),
    ("SRMD", "linear", "SRMD − linear", "not ours"),
    ("esrgan-slim", "bicubic", "esrgan-slim − bicubic", "not ours"),
]
REGIONS = {
    "whole": "whole slice",
    "brain": "brain",
    "tumour": "tumour",
    "core": "tumour's core",
    "rim": "tumour's rim",
    "matched": "matched brain",
}


@cache
def table(name: str) -> pd.DataFrame:
    """The rows that `keep.py` kept."""
    return pd.read_csv(HERE / f"{name}.csv.gz", dtype={"id": str})


def decibels(e: Estimate) -> str:
    """A difference of PSNR with its interval, and a minus that does not break."""
    return f"{e.value:.2f} dB [{e.low:.2f}, {e.high:.2f}]".replace("-", "−")


@cache
def with_seeds(name: str) -> pd.DataFrame:
    """Rows in which a training is a method's seed, and no longer a method."""
    rows = table(name)
    of = rows["method"].str.partition("-seed")
    return rows.assign(method=of[0], seed=of[2].replace("", "0").astype(int))


def difference(method: str, baseline: str, region: str, name: str = "brain") -> Estimate:
    """Of PSNR, over trainings where a method has several."""
    return over_trainings(with_seeds(name), method, baseline, ("psnr", region))[0]


def over_trainings(
    rows: pd.DataFrame, method: str, baseline: str, *asked: tuple[str, ...]
) -> list[Estimate]:
    """Differences, each of a metric in a region, over the trainings of the method. A baseline
    without training is the same for each; a method that was trained once is compared with that
    training of its baseline."""
    specs = [Contrast(metric, method, baseline, *where) for metric, *where in asked]
    own = rows[rows["method"] == method]
    seeds = set(own["seed"])
    if len(seeds) == 1:
        found = statistics.contrasts(rows[rows["seed"].isin(seeds)], specs, seed=SEED)
        return [found[spec] for spec in specs]
    base = rows[rows["method"] == baseline]
    if base["seed"].nunique() == 1:
        base = pd.concat([base.assign(seed=seed) for seed in seeds])
    over_seeds = statistics.contrasts_over_seeds(pd.concat([own, base]), specs)
    return [over_seeds[spec] for spec in specs]


def differences() -> str:
    """PSNR in the tumour of one method less another, and the range of the trainings."""
    lines = []
    for method, baseline, title, trained in PAIRS:
        e = difference(method, baseline, "tumour")
        spread = f"{e.seeds}, from {e.seed_low:.2f} to {e.seed_high:.2f}" if e.seeds else trained
        value = f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]".replace("-", "−")
        lines.append(f"| {title} | {value} | {spread} |")
    return rows_of("| Comparison | Difference, dB | Trainings |", lines)


def means_by_region(name: str = "brain") -> pd.DataFrame:
    """PSNR and SSIM by region and method; a method with several trainings as their mean."""
    return with_seeds(name).groupby(["region", "method"])[["psnr", "ssim"]].mean()


def means(name: str = "brain", methods: Sequence[str] = BRAIN) -> str:
    """The table of `means_by_region`."""
    mean, lines = means_by_region(name), []
    for region, title in REGIONS.items():
        cells = [mean.loc[(region, method)] for method in methods]
        shown = [f"{cell['psnr']:.2f} · {cell['ssim']:.4f}" for cell in cells]
        lines.append(line(title, *shown))
    return rows_of(line("Region", *methods), lines)


def line(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def rows_of(head: str, lines: list[str]) -> str:
    """A table of Markdown."""
    columns = head.count("|") - 1
    return "\n".join(["", "", head, "|" + "---|" * columns, *lines, ""])


def bands(name_of: str = "brain", methods: Sequence[str] = BRAIN[1:]) -> str:
    """The contrast in SSIM of each training, its band and the verdict."""
    held, lines = verdicts(name_of), []
    for method in methods:
        names = {method + seed: f"{method}, {said}" for seed, said in SEEDS.items()}
        names = {key: title for key, title in names.items() if ("ssim", key) in held.index}
        for name, title in names.items() if len(names) > 1 else [(method, method)]:
            row = held.loc[("ssim", name)]
            band = f"{row['band_low']:+.4f} to {row['band_high']:+.4f}"
            lines.append(f"| {title} | {signed(row, 'contrast')} | {band} | {reading(row)} |")
    head = "| Method | Contrast, SSIM | Null band at the same gain | Reading |"
    return rows_of(head, lines).replace("-0.", "−0.")


def signed(row: pd.Series, name: str) -> str:
    """A difference of SSIM with its interval."""
    return f"{row[name]:+.4f} [{row[f'{name}_low']:+.4f}, {row[f'{name}_high']:+.4f}]"


def reading(row: pd.Series) -> str:
    """The verdict, and for one outside the band how far, with its p."""
    if row["verdict"] == SHORT:
        return SHORT
    return f"outside: distance {signed(row, 'distance')}, p = {row['p_adjusted']:.3f}"


@cache
def verdicts(name: str) -> pd.DataFrame:
    """Of all methods and trainings, p corrected for all of them and both metrics."""
    found = statistics.null_bands(table(name), baseline="bicubic", seed=SEED)
    return statistics.verdict_table(found).set_index(["metric", "method"])


def count(unit: str, region: str = "whole", name: str = "brain") -> str:
    """How many slices or runs ("id", "patient") were measured in a region."""
    rows = table(name)
    measured = rows[(rows["region"] == region) & rows["ssim"].notna()]
    return str(measured[unit].nunique())


def contrast_of(method: str) -> str:
    """Its contrast in SSIM with the interval, without a plus."""
    return signed(verdicts("brain").loc[("ssim", method)], "contrast").replace("+", "")


def band_of(method: str) -> str:
    """What a uniform change of the same gain shows, in SSIM."""
    row = verdicts("brain").loc[("ssim", method)]
    return f"{row['band_low']:+.4f} to {row['band_high']:+.4f}".replace("-", "−")


def erased(column: str) -> float:
    """Mean over the slices whose tumour was erased: their SSIM, or the tumour's share."""
    return float(table("erased")[column].mean())


@cache
def recorded(name: str) -> dict[str, Any]:
    """What the run of a table recorded."""
    (run,) = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    values: dict[str, Any] = run["values"]
    return values


def read_by(name: str, method: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Of an image as a method shows it, what a detector says: (trainings, images) of its score and
    of whether it is right; and (images,) the patients. Ill images are those of `ill`."""
    rows = table(name)
    rows = rows[rows["method"] == method]
    logit, right = (rows.pivot(index="seed", columns="id", values=v) for v in ("logit", "right"))
    return logit, right, rows.drop_duplicates("id").set_index("id").loc[logit.columns, "patient"]


def ill(name: str, ids: pd.Index) -> pd.Series:
    """Which of these images show pneumonia."""
    label = table(name).drop_duplicates("id").set_index("id")["label"]
    return label.loc[ids] == "PNEUMONIA"


def area(e: Mapping[str, Any], digits: int = 3) -> str:
    """An area under the ROC curve, or a change of it, with its interval."""
    value, low, high = (f"{e[end]:.{digits}f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "−")


def operating_points() -> str:
    """What the detectors reach, cross-fitted over all patients."""
    lines = []
    for detector in table("detector")["method"].unique():
        logit, right, patients = read_by("detector", detector)
        sick = ill("detector", logit.columns)
        found = {"AUC": statistics.auc_interval(logit.to_numpy(), sick, patients)}
        for measure, of in (("sensitivity", sick), ("specificity", ~sick)):
            found[measure] = statistics.share(right.loc[:, of].to_numpy() == 1, patients[of])
        for measure, e in found.items():
            spread = f"{e.seed_low:.3f} to {e.seed_high:.3f}"
            n = f"{e.cases} of {e.patients}"
            lines.append(f"| {detector} | {measure} | {area(vars(e))} | {spread} | {n} |")
    head = "| Images | Measure | Value | The five trainings | n, images of patients |"
    return rows_of(head, lines)


def flips(name: str = "chest") -> dict[str, tuple[str, str]]:
    """By view: decisions that change from the original, by training; and the change in AUC."""
    rows, found = table(name), {}
    counts = rows.groupby(["method", "seed"], sort=False)["flipped"].sum().unstack()
    before, _, patients = read_by(name, "original")
    for method, of in counts.drop("original").iterrows():
        after = read_by(name, method)[0]
        e = statistics.delong(after, before, ill(name, before.columns), patients)
        found[method] = f"{of.mean():.1f} ({of.min():.0f} to {of.max():.0f})", area(vars(e))
    return found


def chest_flips() -> str:
    """The table of `flips`, for interpolation and filters."""
    lines = [line(method, *cells) for method, cells in flips().items()]
    n = table("chest")["id"].nunique()
    return rows_of(f"| Restored from | Decisions flipped of {n} | Change in AUC |", lines)


def over_linear(method: str) -> Estimate:
    """Of PSNR of restored radiographs, over the linear filter."""
    rows = table("chest-networks").query("seed == 0")
    asked = Contrast("psnr", method, f"{method.partition(',')[0]}, linear", "whole")
    return statistics.paired_difference(rows, **vars(asked), seed=SEED)


def chest_networks() -> str:
    """What existing networks make of radiographs: near to HR, over the linear filter, `flips`."""
    rows, lines = table("chest-networks").query("seed == 0"), []
    for method, cells in flips("chest-networks").items():
        kind, _, name = method.partition(", ")
        if kind.startswith("noise"):
            continue
        mean = rows.loc[rows["method"] == method, ["psnr", "ssim"]].mean()
        more = "–" if name == "linear" else number(over_linear(method), 2)
        near = f"{mean['psnr']:.2f}", f"{mean['ssim']:.4f}"
        lines.append(line(method, *near, more, *cells))
    n = rows["id"].nunique()
    heads = ("PSNR, dB", "SSIM", "PSNR − linear, dB", f"Decisions flipped of {n}", "Change in AUC")
    return rows_of(line("Restored from", *heads), lines)


def diagnoses() -> str:
    """Types named correctly and flipped, and Dice of the outlines, by method."""
    rows, lines = table("decisions"), []
    for method in ["HR", *BRAIN[:5]]:
        by_seed = rows[rows["method"] == method].groupby("seed")
        flips = "–" if method == "HR" else spread(by_seed["flipped"].sum(), 0)
        right, dice = 100 * by_seed["right"].mean(), by_seed["dice"].mean()
        lines.append(line(method, spread(right, 0), flips, spread(dice, 2)))
    heads = f"Types that flip, of {rows['id'].nunique()}", "Dice of the segmenter"
    return rows_of(line("Image", "Types named correctly, %", *heads), lines)


def spread(values: pd.Series, digits: int) -> str:
    """Mean over the trainings, with the least and the greatest."""
    mean, low, high = (f"{x:.{digits}f}" for x in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})"


def classified(method: str) -> str:
    """Change from HR in the share of tumours whose type is named correctly, in percent."""
    (row,) = (
        row
        for row in recorded("decisions")["decisions"]
        if (row["metric"], row["method"]) == ("right", method)
    )
    value, low, high = (f"{100 * row[end]:.1f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "−")


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
PSNR, SHIFT = [("psnr", "whole"), ("psnr", "tumour")], ("shift", "tumour")
BEST_GAINS = [(base, region) for base in ("bicubic", "linear") for _, region in PSNR]
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


@cache
def atlas_gains(
    scale: int, kind: str, method: str, baseline: str = "bicubic"
) -> Mapping[Contrast, Estimate]:
    """Of PSNR, over a baseline given the same LR, over trainings where there are several."""
    rows = atlas_rows(scale, kind)
    if not method.startswith("ESPCN"):  # not trained by us, so not repeated
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
                band, said = f"{row['band_low']:+.4f} to {row['band_high']:+.4f}", reading(row)
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


def ranged(e: Estimate, digits: int, factor: int = 1) -> str:
    """A difference with its interval, and from the least to the greatest of several trainings."""
    ends = (f"{factor * end:+.{digits}f}" for end in (e.seed_low, e.seed_high))
    trainings = f" ({' to '.join(ends)})".replace("-", "−") if e.seeds > 1 else ""
    return number(e, digits, factor=factor) + trainings


def noise() -> str:
    """What an ESPCN gains in the tumour on LR with noise, by the noise that it was trained with."""
    lines = []
    for method, title in NOISY.items():
        cells = []
        for kind in LEVELS:
            cells.append(ranged(atlas_gain(4, kind, method, "tumour"), 2))
        lines.append(line(title, *cells))
    return rows_of(line("Method", *LEVELS.values()), lines)


BEST = {"best-x2": "×2, bicubic", "best-x4": "×4, bicubic", "best-kspace": "×4, k-space"}


def best() -> str:
    """Gain in PSNR of our best network, by scale and degradation, over its trainings; and how many
    of these are distinguishable from a uniform change of the image."""
    lines = []
    for name, title in BEST.items():
        found = [
            e
            for base in ("bicubic", "linear")
            for e in over_trainings(with_seeds(name), "WDSR", base, *PSNR)
        ]
        spread = f"{found[-1].seed_low:.2f} to {found[-1].seed_high:.2f}"
        held = verdicts(name).loc["ssim"].filter(regex=r"^WDSR(-seed\d)?$", axis=0)["verdict"]
        outside = f"{(held != SHORT).sum()} of {len(held)}"
        lines.append(line(title, *(number(e, 2) for e in found), spread, outside))
    heads = [f"{REGIONS[region]}, over {base}" for base, region in BEST_GAINS]
    return rows_of(line("LR", *heads, "that, by training", "outside the null band"), lines)


FOLDS = ["bicubic", "linear", "lanczos", "esrgan-medium", "SRMD", "WDSR"]
FOLD_GAINS = [
    *(("WDSR", base, region) for base, region in BEST_GAINS),
    *(("SRMD", "linear", "tumour"), ("WDSR", "SRMD", "tumour")),
]


def folds() -> str:
    """Gain in PSNR out of fold: of each fold, by networks trained on the two others, and of all."""
    rows, lines = with_seeds("best-folds"), []
    for fold in (1, 2, 3, "all"):
        of = rows if fold == "all" else rows[rows["fold"] == fold]
        n = f"{of['id'].nunique()} in {of['patient'].nunique()}"
        found = [over_trainings(of, a, b, ("psnr", where))[0] for a, b, where in FOLD_GAINS]
        lines.append(line(str(fold), n, *(number(e, 2) for e in found)))
    heads = [f"{a} − {b}, {REGIONS[region]}" for a, b, region in FOLD_GAINS]
    return rows_of(line("Fold", "n, slices in runs", *heads), lines)


def refused() -> str:
    """What a network that the handshake refuses does to PSNR and brightness, by degradation."""
    lines = []
    for kind, title in KINDS.items():
        rows = with_seeds("refused")
        rows = rows[rows["degradation"] == kind]
        *over_bicubic, shift = over_trainings(rows, "refused", "bicubic", *PSNR, SHIFT)
        gains = over_bicubic + over_trainings(rows, "refused", "linear", *PSNR)
        cells = [*(number(e, 2) for e in gains), number(shift, 1, factor=100)]
        lines.append(line(title, *cells))
    heads = [f"{REGIONS[region]}, over {base}" for base, region in BEST_GAINS]
    return rows_of(line("LR by", *heads, "Brightness of the tumour, % of the range"), lines)


LOOKS = [("sharpness_change", 100, 0), ("brightness_shift_sd", 1, 3), ("cnr_change", 1, 2)]
INVENTED = ("invented", 1, 3)
MARGIN_PAINTED = 0.01  # of the range, as in notebook 05
INVENTLESS = ["linear", "HR, low-pass", "HR, sharper low-pass"]  # they cannot invent


def methods_of(rows: pd.DataFrame) -> dict[str, str]:
    """The methods of the atlas that a table has, and what the page calls them."""
    there = set(rows["method"])
    return {"bicubic": "bicubic"} | {key: of for key, of in ATLAS.items() if key in there}


def looks(rows: pd.DataFrame, method: str, base: str, *of: tuple[str, int, int]) -> list[str]:
    """How measures of the tumour's look differ between two images, with their intervals; each with
    a factor and the digits that are shown."""
    found = over_trainings(rows, method, base, *((metric, "tumour") for metric, *_ in of))
    return [number(e, digits, factor=factor) for e, (_, factor, digits) in zip(found, of)]


def inventless(rows: pd.DataFrame) -> str:
    """Which of the images that cannot invent seems to, most: by the mean over runs."""
    mean = rows.groupby(["method", "patient"])["invented"].mean().groupby("method").mean()
    return str(mean[INVENTLESS].idxmax())


def seen(scale: int) -> str:
    """How the tumour's look changes from HR; what came back, and what was invented."""
    lines = []
    for kind, lr in KINDS.items():
        rows = with_seeds(f"seen-x{scale}")
        rows = rows[rows["degradation"] == kind]
        of_runs = rows.groupby(["method", "patient"])[["slope", "consistency"]].mean()
        mean, zero = of_runs.groupby("method").mean(), inventless(rows)
        for method, title in methods_of(rows).items():
            cells = looks(rows, method, "HR", *LOOKS)
            more = ["–"] if method == zero else looks(rows, method, zero, INVENTED)
            slope, misfit = mean.loc[method]
            cells += [f"{slope:.2f}".replace("-", "−"), *more, f"{100 * misfit:.2f}"]
            lines.append(line(lr, title, *cells))
    heads = ("Sharpness of the border, %", "Brightness, sd", "CNR", "Came back")
    return rows_of(line("LR by", "Method", *heads, "Invented", "Misfit to LR, %"), lines)


def decided(scale: int) -> str:
    """Types that classifiers name correctly, and that flip, by method and degradation."""
    rows, lines = table(f"decided-x{scale}"), []
    for method, title in {"HR": "HR", **methods_of(rows)}.items():
        cells = []
        for kind in KINDS:
            of = rows[(rows["degradation"] == kind) & (rows["method"] == method)].groupby("seed")
            flips = "–" if method == "HR" else spread(of["flipped"].sum(), 0)
            cells += [spread(100 * of["right"].mean(), 0), flips]
        lines.append(line(title, *cells))
    n = rows["id"].nunique()
    heads = [f"{lr}: {said}" for lr in KINDS.values() for said in ("correct, %", f"flip, of {n}")]
    return rows_of(line("Image", *heads), lines)


ADVERSARIAL = ["linear", "WDSR", "SRGAN-250", "SRGAN-500", "SRGAN-2000"]


def early() -> str:
    """What an adversarial phase costs and gives, by how early it stops."""
    rows, lines = with_seeds("seen-ours"), []
    zero = inventless(rows)
    flips = table("decided-ours").groupby(["method", "seed"])["flipped"].sum()
    trained = flips.index.get_level_values("method").str.partition("-seed").get_level_values(0)
    for method in ADVERSARIAL:
        cells = ["–"] * 2
        if method != "WDSR":
            found = over_trainings(with_seeds("gan-x4"), method, "WDSR", *PSNR)
            cells = [ranged(e, 2) for e in found]
        (sharp,) = over_trainings(rows, method, "HR", ("sharpness_change", "tumour"))
        more = ["–"] if method == zero else looks(rows, method, zero, INVENTED)
        title = re.sub(r"SRGAN-(\d+)", r"SRGAN, \1 steps", method)
        cells += [ranged(sharp, 0, 100), *more, spread(flips[trained == method], 0)]
        lines.append(line(title, *cells))
    heads = ("PSNR, whole slice", "PSNR, tumour", "Sharpness of the border, %", "Invented")
    return rows_of(line("Method", *heads, "Types that flip"), lines)


def outlined() -> str:
    """The segmenters' outlines: Dice, by training, its change from HR, and lesions found."""
    rows, lines = table("outlined").dropna(subset=["dice"]), []
    said = rows.set_index(["seed", "id", "method"])["found"].unstack()
    other = said.ne(said["HR"], axis=0).groupby("seed").sum()
    for method, title in {"HR": "HR", **methods_of(rows)}.items():
        by_seed = rows[rows["method"] == method].groupby("seed")
        asked = Contrast("dice", method, "HR", "tumour")
        less, flips = number(statistics.over_seeds(rows, asked)), spread(other[method], 0)
        changed = ("–", "–") if method == "HR" else (less, flips)
        found = spread(by_seed["found"].sum(), 0)
        lines.append(line(title, spread(by_seed["dice"].mean(), 2), found, *changed))
    heads = (
        "Dice",
        f"Lesions found, of {rows['id'].nunique()}",
        "Dice − HR",
        "Found otherwise than in HR",
    )
    return rows_of(line("Image", *heads), lines)


def inserted() -> str:
    """How well lesions that were put in are detected: d', and its difference from bicubic."""
    rows = table("inserted")
    few = rows[rows["method"].isin({"HR", "bicubic"})]
    d = contrast_detail.detectability(few, seed=SEED).set_index(contrast_detail.KEYS)["d"]
    kept = rows[rows["method"] != "HR"]
    gained = contrast_detail.differences(kept, baseline="bicubic", seed=SEED)
    gained = gained.set_index(contrast_detail.KEYS)
    lesions = list(dict.fromkeys(zip(rows["diameter"], rows["contrast"])))
    lines = [
        line(f"{name}: d'", *(f"{d[name, *of]:.2f}" for of in lesions))
        for name in d.index.levels[0]
    ]
    for method, title in methods_of(rows).items():
        if method == "bicubic":
            continue
        found = (gained.loc[(method, *of)] for of in lesions)
        cells = (number(e, 2) + "*" * bool(e["p_adjusted"] < 0.05) for e in found)
        lines.append(line(title, *cells))
    return rows_of(line("Method", *(f"{d:g} pixels, {c:g}" for d, c in lesions)), lines)


def placed() -> pd.DataFrame:
    """The lesions for which there was room."""
    return table("inserted").query("place >= 0")


def painted() -> str:
    """The change of contrast where a tumour was erased, and whether it is shown not to matter."""
    rows, lines = table("painted"), []
    for method, title in methods_of(rows).items():
        change = statistics.case_differences(rows, Contrast("painted_in", method, "HR", "tumour"))
        e = statistics.equivalence(change, margin=MARGIN_PAINTED, seed=SEED)
        of_90 = number(replace(e.estimate, low=e.estimate.low90, high=e.estimate.high90), 4)
        lines.append(line(title, of_90, e.words, f"{e.worst:+.3f}".replace("-", "−")))
    heads = (
        "Change of contrast [90 % interval]",
        f"Within ±{MARGIN_PAINTED:g}",
        "Largest of one slice",
    )
    return rows_of(line("Method", *heads), lines)


REMEDIES = {
    "ensemble": "mean of three trainings",
    "consistent": "made consistent with LR",
    "lesion-weighted": "more weight where HR looks like a lesion",
    "worst pixels": "the worst pixels counted again",
}
COSTS = [("psnr", "whole", 2), ("psnr", "tumour", 2), ("psnr", "rim", 2), ("ssim", "tumour", 4)]


def remedies() -> str:
    """What each remedy changes from a training with the squared error alone."""
    lines = []
    for remedy, title in REMEDIES.items():
        specs = [Contrast(metric, remedy, "squared error", region) for metric, region, _ in COSTS]
        found = statistics.contrasts_over_seeds(table("remedies"), specs)
        cells = (number(found[spec], digits) for spec, (*_, digits) in zip(specs, COSTS))
        lines.append(line(title, *cells))
    heads = [f"{metric.upper()}, {REGIONS[region]}" for metric, region, _ in COSTS]
    return rows_of(line("Remedy", *heads), lines)


def flags() -> str:
    """How well the disagreement of three trainings finds the worst pixels, and edges do."""
    rows, lines = table("flags"), []
    for region, title in REGIONS.items():
        each = rows[rows["region"] == region].groupby(["method", "patient"])["auc"].mean()
        means = (f"{each[name].mean():.3f}" for name in ("disagreement", "edges of SR"))
        asked = Contrast("auc", "disagreement", "edges of SR", region)
        more = statistics.paired_difference(rows, **vars(asked), seed=SEED)
        lines.append(line(title, *means, number(more, 3)))
    return rows_of("| Region | Disagreement | Edges of SR | Difference |", lines)


def between_trainings(
    name: str = "chest", image: str = "original", decision: str = "predicted"
) -> str:
    """How many decisions two trainings of one network differ in on the original images."""
    rows = table(name).dropna(subset=[decision]).query("method == @image")
    rows = rows.drop_duplicates(["id", "seed"])  # the same for each degradation
    said = rows.pivot(index="id", columns="seed", values=decision)
    apart = [(said[a] != said[b]).sum() for a, b in combinations(said, 2)]
    return f"{min(apart)} to {max(apart)}"


def scaled(prefix: str, compute: Callable[..., str], *about: str) -> dict[str, Callable[[], str]]:
    """A number of the atlas at each scale: its ID ends in x2, x3, x4."""
    return {f"{prefix}-x{scale}": partial(compute, scale, *about) for scale in SCALES}


def gained(scale: int, *about: str, **more: str) -> str:
    """A gain in decibels; see `atlas_gain`."""
    return decibels(atlas_gain(scale, *about, **more))


def trained_for_it() -> str:
    """What WDSR gains over the linear filter in the tumour, from the least to the greatest of all
    scales and degradations, each by the network that was trained for it."""
    each = [(scale, kind, f"WDSR, {kind}") for scale in SCALES for kind in KINDS]
    gains = [atlas_gain(*of, "tumour", "linear").value for of in each]
    return f"{min(gains):.2f} to {max(gains):.2f} dB"


NUMBERS: dict[str, Callable[[], str]] = {
    **scaled("atlas", atlas),
    **scaled("atlas-bands", atlas_bands),
    **scaled("atlas-slices", measured, "id", "whole"),
    **scaled("atlas-runs", measured, "patient", "whole"),
    **scaled("atlas-matched", measured, "id", "matched"),
    **scaled("srmd-linear", gained, "bicubic", "SRMD", "tumour", "linear"),
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
    **scaled("seen", seen),
    **scaled("decided", decided),
    "seen-slices": lambda: str(table("seen-x4")["id"].nunique()),
    "seen-runs": lambda: str(table("seen-x4")["patient"].nunique()),
    "decided-apart": lambda: between_trainings("decided-x4", "HR"),
    "outlined": outlined,
    "outlined-apart": lambda: between_trainings("outlined", "HR", "found"),
    "inserted": inserted,
    "inserted-places": lambda: str(placed().groupby(["id", "place"]).ngroups),
    "inserted-slices": lambda: str(placed()["id"].nunique()),
    "painted": painted,
    "painted-slices": lambda: str(table("painted")["id"].nunique()),
    "painted-runs": lambda: str(table("painted")["patient"].nunique()),
    "remedies": remedies,
    "flags": flags,
    "remedies-slices": lambda: str(table("remedies")["id"].nunique()),
    "diagnoses": diagnoses,
    "diagnoses-apart": lambda: between_trainings("decisions", "HR"),
    "bicubic-classified": lambda: classified("bicubic"),
    "espcn-classified": lambda: classified("ESPCN"),
    "srgan-classified": lambda: classified("SRGAN"),
    "chest-points": operating_points,
    "chest-flips": chest_flips,
    "chest-networks": chest_networks,
    "chest-srmd": lambda: decibels(over_linear("×4, SRMD")),
    "chest-realsr": lambda: decibels(over_linear("×4, RealSR")),
    "chest-apart": between_trainings,
    "chest-images": lambda: str(table("chest")["id"].nunique()),
    "chest-patients": lambda: str(table("chest")["patient"].nunique()),
    "chest-files": lambda: area(recorded("chest")["metadata"]["auc"]),
    "chest-traces": lambda: area(recorded("chest")["traces"]["as they come"]["auc"]),
    "chest-traces-after": lambda: area(recorded("chest")["traces"]["one JPEG 75 for all"]["auc"]),
    "chest-attention": lambda: f"{recorded('chest')['attention'][0]['correlation']:.2f}",
    "best": best,
    "best-means": partial(means, "best-x4", ["bicubic", "linear", "SRMD", "WDSR", "WDSR-mean"]),
    "best-slices": lambda: count("id", name="best-x4"),
    "best-runs": lambda: count("patient", name="best-x4"),
    "best-bands": partial(bands, "best-x4", ["SRMD", "WDSR", "WDSR-mean"]),
    "wdsr-tumour": lambda: decibels(difference("WDSR", "linear", "tumour", "best-x4")),
    "best-srmd": lambda: decibels(difference("WDSR", "SRMD", "tumour", "best-x4")),
    "folds": folds,
    "folds-tumour": lambda: decibels(difference("WDSR", "linear", "tumour", "best-folds")),
    "folds-slices": lambda: count("id", name="best-folds"),
    "folds-runs": lambda: count("patient", name="best-folds"),
    "folds-means": partial(means, "best-folds", FOLDS),
    "folds-bands": partial(bands, "best-folds", FOLDS[1:]),
    "folds-matched": lambda: count("id", "matched", "best-folds"),
    "refused": refused,
    "early": early,
    "early-bands": partial(bands, "gan-x4", [m for m in ADVERSARIAL if m.startswith("SRGAN")]),
    "early-apart": lambda: between_trainings("decided-ours", "HR"),
    "early-slices": lambda: str(table("seen-ours")["id"].nunique()),
    "erased-ssim": lambda: f"{erased('ssim'):.3f}",
    "erased-share": lambda: f"{100 * (1 - erased('share')):.1f} %",
    "erased-slices": lambda: str(len(table("erased"))),
    "slices": lambda: count("id"),
    "runs": lambda: count("patient"),
    "slices-brain": lambda: count("id", "brain"),
    "slices-matched": lambda: count("id", "matched"),
    "runs-matched": lambda: count("patient", "matched"),
    "means": means,
    "differences": differences,
    "bands": bands,
    "espcn-tumour": lambda: decibels(difference("ESPCN", "linear", "tumour")),
    "espcn-whole": lambda: decibels(difference("ESPCN", "linear", "whole")),
    "srresnet-tumour": lambda: decibels(difference("SRResNet", "linear", "tumour")),
    "srresnet-whole": lambda: decibels(difference("SRResNet", "linear", "whole")),
    "srmd-tumour": lambda: decibels(difference("SRMD", "linear", "tumour")),
    "espcn-contrast": lambda: contrast_of("ESPCN"),
    "espcn-band": lambda: band_of("ESPCN"),
}
