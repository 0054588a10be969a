"""Results in sentences. Each is made from the numbers, so that it reads rightly whatever they are.

Estimates have `value`, `low`, `high` (95 % interval) and `patients`, as `statistics.Estimate`.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from medsr_lib.assess.statistics.estimate import direction

REGIONS = {
    "whole": "whole image",
    "tumour": "tumour",
    "core": "tumour, inside (core)",
    "rim": "tumour, border (rim)",
    "peritumoural": "ring around the tumour",
    "brain": "brain",
    "normal": "tissue far from the tumour",
    "matched": "matched tissue",
    "mirror": "mirrored place",
    "rest_of_head": "rest of the head",
    "head": "head",
    "air": "air",
}
"""Names of regions as a reader says them."""

MAIN = ("whole", "brain", "tumour", "core", "rim", "peritumoural", "matched")
"""Regions of a main table."""


def listed(names: Iterable[str]) -> str:
    """Names as a list in a sentence.

    >>> listed(["A", "B", "C"]), listed([])
    ('A, B and C', 'none')
    """
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def rise(name: str, validation: pd.DataFrame) -> str:
    """Whether a training has flattened, by the PSNR of its validation.

    >>> rise("ESPCN", pd.DataFrame({"psnr": [20, 30, 31]}))
    'ESPCN: PSNR still rises, more steps would help (+1.00 dB in the second half)'
    """
    if validation.empty:
        return f"{name}: not validated yet"
    late = validation["psnr"].iloc[len(validation) // 2 :]
    change = late.iloc[-1] - late.iloc[0]
    words = "still rises, more steps would help" if change > 0.1 else "has flattened"
    return f"{name}: PSNR {words} ({_signed(change, 2)} dB in the second half)"


def number(e: Any, digits: int = 3, *, unit: str = "", factor: float = 1) -> str:
    """A difference with its 95 % interval.

    >>> from medsr_lib.assess.statistics import Estimate
    >>> number(Estimate(-0.0123, -0.02, 0.004)), number(Estimate(0.5), 1, unit=" dB")
    ('−0.012 [−0.020, +0.004]', '+0.5 dB [no interval]')
    """
    value, low, high = (_signed(factor * x, digits) for x in (e.value, e.low, e.high))
    interval = f"[{low}, {high}]" if np.isfinite(e.low) else "[no interval]"
    return f"{value}{unit} {interval}"


def cells(
    table: pd.DataFrame, *, index: str, columns: str, digits: int = 3, sign: bool = True
) -> pd.DataFrame:
    """A table of `number`, from rows with value, low and high; "–" where there is no value.

    Rows and columns are in the order in which they first occur.
    """
    rows: Any = table.itertuples()
    texts = [number(e, digits) if np.isfinite(e.value) else "–" for e in rows]
    texts = [(t if sign else t.replace("+", "")).replace(", ", ",\xa0") for t in texts]
    wide = table.assign(text=texts).pivot(index=index, columns=columns, values="text")
    down, across = (table[name].drop_duplicates() for name in (index, columns))
    wide = wide.reindex(index=down, columns=across).fillna("–")
    return wide.rename_axis(index=None, columns=None)


def erased(of_erased: float, of_methods: Mapping[str, float], *, slices: int) -> str:
    """Does a whole-slice score prefer slices without their tumour to what the methods restore?

    Args:
        of_erased: mean score of HR slices whose tumour is erased.
        of_methods: mean score of each method, a mapping or a pandas Series.
        slices: that the means are over.
    """
    of_methods = dict(of_methods)  # also of a pandas Series
    best = max(of_methods, key=lambda name: of_methods[name])
    first = f"Without its tumour, a slice scores SSIM {of_erased:.3f} (mean of {slices} slices)."
    above = [name for name, value in of_methods.items() if value > of_erased]
    if not above:
        return f"{first} No method reaches that: the best, {best}, scores {of_methods[best]:.3f}."
    more = f"{first} {listed(above)} score{'s' * (len(above) == 1)} more"
    return f"{more}; the best, {best}, {of_methods[best]:.3f}."


def masked_first(row: Mapping[str, float], *, method: str, slices: int) -> str:
    """What masking before measuring does to a method's scores in the tumour.

    Args:
        row: "masked first", "mean over the tumour" (SSIM), "PSNR, masked first" and "PSNR of the
            tumour" (dB).
        method: whose scores these are.
        slices: that they are means over.
    """
    wrong, right = row["masked first"], row["mean over the tumour"]
    decibels = row["PSNR, masked first"] - row["PSNR of the tumour"]
    how = "too good" if min(wrong - right, decibels) > 0 else "another result"
    return (
        f"{method}, mean of {slices} slices: SSIM is {right:.3f} over the tumour, {wrong:.3f} if "
        f"masked first; masking changes PSNR by {_signed(decibels, 1)} dB. The restored tumour is "
        f"the same: the masked score is {how}."
    )


def gained(gains: Mapping[Any, Any], *, method: str, region: str) -> str:
    """What a method gains in SSIM over each baseline, and where in the tumour.

    Args:
        gains: of `statistics.contrasts`, of several regions.
        method: whose gain it is.
        region: "tumour" or "whole".
    """
    own = [c for c in gains if (c.metric, c.method, c.reference) == ("ssim", method, None)]
    over = {c.baseline: gains[c] for c in own if c.region == region}
    words = ("gains", "loses", "neither gain nor loss is shown")
    texts = [f"{_shown(e, *words)} over {name}: {number(e, 4)}" for name, e in over.items()]
    n = next(iter(over.values())).patients
    text = f"{method}, SSIM of the {REGIONS[region]} (n = {n} patients): {'; '.join(texts)}."
    for c in own:
        if c.region in ("core", "rim") and c.baseline == next(iter(over)):
            text += f"\n{REGIONS[c.region].capitalize()}, over {c.baseline}: {number(gains[c], 4)}."
    return text


def gains_by_region(gains: Mapping[Any, Any], *, metric: str, baseline: str) -> pd.DataFrame:
    """Gains over a baseline with their intervals: a row per region, a column per method.

    Args:
        gains: of `statistics.contrasts`, of several regions.
        metric, baseline: which of them.
    """
    found = [
        {"region": REGIONS[c.region], "method": c.method, **vars(e)}
        for c, e in gains.items()
        if (c.metric, c.baseline) == (metric, baseline)
    ]
    table = pd.DataFrame(found)
    wide = cells(table, index="region", columns="method")
    wide["patients"] = table.groupby("region")["patients"].max()
    return wide.rename_axis(columns=f"gain in {metric.upper()}")


def contrast(row: Mapping[str, Any]) -> str:
    """Whether a method treats the tumour differently: its contrast against the null band.

    Args:
        row: of `statistics.verdict_table`.
    """
    ends = (row[f"contrast{end}"] for end in ("", "_low", "_high"))
    found = number(SimpleNamespace(**dict(zip(("value", "low", "high"), ends))), 4)
    first = (
        f"{row['method']}, gain in {str(row['metric']).upper()} in the tumour minus that in "
        f"matched tissue: {found} (n = {row['patients']} patients)."
    )
    if not np.isfinite(row["band_low"]):
        return f"{first} No verdict: {row['verdict']}."
    edges = f"{_signed(row['band_low'], 4)} to {_signed(row['band_high'], 4)}"
    band = f"Uniform changes of the same gain show {edges}."
    if row["verdict"] == "too few patients":
        return f"{first} {band} No verdict: too few patients."
    if row["verdict"].startswith("treats"):
        return f"{first} {band} So it {row['verdict']}."
    return (
        f"{first} {band} So nothing shows that it treats the tumour differently, which does not "
        "prove that it treats it alike."
    )


def answer(row: Mapping[str, Any]) -> str:
    """`contrast` in one sentence without its numbers, for the top of a page."""
    method, who = row["method"], f"{str(row['metric']).upper()}, n = {row['patients']} patients"
    if row["verdict"].startswith("treats"):
        return f"{method} {row['verdict']} of the same gain ({who})."
    if np.isfinite(row["band_low"]) and row["verdict"] != "too few patients":
        return (
            f"Nothing shows that {method} treats the tumour differently from a uniform change of "
            f"the image ({who})."
        )
    return f"There is no answer for {method}: {row['verdict']} ({who})."


def verdicts(table: pd.DataFrame, *, place: str) -> str:
    """Which methods lose more than the margin, a line for each metric.

    Args:
        table: of `statistics.verdicts`.
        place: such as "tumour".
    """
    lines = []
    for metric, rows in table.groupby("metric", sort=False):
        groups = rows.groupby("words", sort=False)["method"]
        said = "; ".join(f"{words}: {listed(names)}" for words, names in groups)
        margin, unit = rows["margin"].iloc[0], " dB" if metric == "psnr" else ""
        n = rows["patients"].max()
        name = "Dice" if metric == "dice" else str(metric).upper()
        about = f"{name} of the {place}, margin {margin:g}{unit}, n = {n} patients"
        lines.append(f"{about}: {said}.")
    return "\n".join(lines)


def changes(
    estimates: Mapping[str, Any],
    what: str,
    less: str,
    more: str,
    factor: float | None = None,
    unit: str = "",
) -> str:
    """Which methods change something from HR, in which direction.

    Args:
        estimates: of the change, by method.
        what: changes, such as "the tumour's border".
        less, more: words for a negative and a positive change, such as "softer".
        factor, unit: of the numbers, such as 100 and " %"; None gives the names alone.
    """
    neither = "no difference shown"
    groups: dict[str, list[str]] = {less: [], more: [], neither: []}
    digits = 3 if factor == 1 else 0
    for name, e in estimates.items():
        words = _shown(e, more, less, neither)
        text = number(e, digits, unit=unit, factor=factor) if factor else ""
        groups[words].append(f"{name} {text}".strip())
    said = "; ".join(f"{words}: {listed(names)}" for words, names in groups.items() if names)
    n = next(iter(estimates.values())).patients
    if len(groups[neither]) == len(estimates):
        said = f"no difference in {what} is shown: {listed(groups[neither])}"
        return f"Against HR (n = {n} patients), {said}."
    return f"Against HR (n = {n} patients), {what} is {said}."


def agreement(table: pd.DataFrame, *, measure: str) -> str:
    """Which method comes closest to HR when something is measured, and how close.

    Args:
        table: of `statistics.agreement_by_method`, for one measure, by method.
        measure: such as "sharpness of the border".
    """
    n = table["patients"].max()
    if table["ccc"].isna().all():
        return f"{measure}: too few patients (n = {n}) for limits of agreement."
    rows: Any = table.sort_values("ccc").dropna(subset=["ccc"])
    least, best = rows.iloc[0], rows.iloc[-1]
    low, high = _signed(best["lower"], 4), _signed(best["upper"], 4)
    return (
        f"Closest to HR in the {measure} (n = {n} patients): {best.name}, CCC {best['ccc']:.2f}, "
        f"95 % of patients within {low} to {high} of HR. Farthest: {least.name}, CCC "
        f"{least['ccc']:.2f}."
    )


def invented(estimates: Mapping[str, Any], *, zero: str) -> str:
    """Which methods invent more than a reference that cannot invent.

    Args:
        estimates: of the difference from the reference, by method.
        zero: the reference.
    """
    more = [f"{k} ({number(e, 2)})" for k, e in estimates.items() if e.low > 0]
    rest = [name for name, e in estimates.items() if not e.low > 0]
    n = next(iter(estimates.values())).patients
    return (
        f"More than {zero}, which cannot invent (n = {n} patients): {listed(more)}. "
        f"No more is shown for: {listed(rest)}."
    )


def painted(found: Mapping[str, Any], *, margin: float) -> str:
    """Which methods are shown to paint nothing in where the tumour was erased.

    Args:
        found: `statistics.equivalence` by method.
        margin: that it was tested with.
    """
    groups: dict[str, list[str]] = {}
    for name, e in found.items():
        words = "shown" if e.words.startswith("equivalent") else e.words
        groups.setdefault(words, []).append(name)
    worst = max(found, key=lambda name: abs(found[name].worst))
    said = "; ".join(f"{words}: {listed(names)}" for words, names in groups.items())
    n = next(iter(found.values())).estimate.patients
    change = f"{_signed(found[worst].worst, 3)} (slice {found[worst].worst_id}, {worst})"
    return (
        f"A mean change of contrast within ±{margin:g} (n = {n} patients): {said}. "
        f"Largest change of one slice: {change}."
    )


def detected(gained: pd.DataFrame) -> str:
    """Which inserted lesions a method makes easier or harder to detect than the baseline does.

    Args:
        gained: of `contrast_detail.differences`.
    """
    n, baseline = gained["patients"].max(), gained["baseline"].iloc[0]
    about = f"Differences in d' from {baseline} (n = {n} patients):"
    if gained["p_adjusted"].isna().all():
        return f"{about} none is tested, since there are too few patients."
    clear = gained[gained["p_adjusted"] < 0.05]
    groups: dict[str, list[str]] = {"easier to detect": [], "harder to detect": []}
    rows: Any = clear.itertuples()
    for e in rows:
        words = "easier to detect" if e.value > 0 else "harder to detect"
        lesion = f"{e.diameter:g} pixels, contrast {e.contrast:g}"
        groups[words].append(f"{e.method} ({lesion}): {number(e)}")
    first = f"{about} {len(clear)} of {len(gained)} shown after Holm's correction."
    lines = [f"{words.capitalize()}: {'; '.join(of) or 'none'}." for words, of in groups.items()]
    return "\n".join([first, *lines])


def flips(changed: Mapping[str, float], apart: Sequence[int], *, of: str, images: int) -> str:
    """Which methods change more decisions than another training does without any method.

    Args:
        changed: method -> number of decisions that change from HR, mean over trainings.
        apart: in how many images each two trainings decide otherwise on HR.
        of: whose decisions, such as "the classifier".
        images: number of images.
    """
    texts = {name: f"{name} ({value:.1f})" for name, value in changed.items()}
    if not apart:
        found = listed(texts.values())
        return f"Of {images} decisions of {of} change by {found}; one training shows no zero."
    more = [text for name, text in texts.items() if changed[name] > max(apart)]
    rest = [text for name, text in texts.items() if not changed[name] > max(apart)]
    least, most = min(apart), max(apart)
    spread = f"{least} to {most}" if least < most else f"{most}"
    clauses = {"more decisions change by": more, "no more change by": rest}
    found = ", ".join(f"{words} {listed(names)}" for words, names in clauses.items() if names)
    return f"Two trainings of {of} differ on {spread} of {images} HR images; {found}."


def mismatch(known: str, met: str, decibels: float) -> str:
    """How a network restores one tumour from LR that it was not trained for.

    Args:
        known, met: the degradations that it was trained for, and that made the LR.
        decibels: its PSNR there minus that of the network trained for `met`.
    """
    how = "worse" if decibels < 0 else "better"
    return (
        f"From {met} LR, a network trained on {known} restores this tumour {abs(decibels):.1f} dB "
        f"{how} than one trained on {met}"
    )


def lead(on: str, best: str, e: Any, *, runs: str) -> str:
    """Whether the network trained for a degradation is the best there.

    Args:
        on: the degradation.
        best: what the better of the others was trained on.
        e: its PSNR minus that of `best`, over trainings.
        runs: such as "3 trainings".
    """
    says = direction(
        e,
        above=f"Training on {on} is better there.",
        below=f"Even there, training on {best} is better.",
    )
    return (
        f"On {on}, trained on {on} minus trained on {best}: {number(e, 2, unit=' dB')}, "
        f"n = {e.patients} patients, {runs} each. {says}"
    )


def on_noise(gains: Mapping[str, Any]) -> str:
    """What a network trained on clean LR gains there and with the strongest noise.

    Args:
        gains: level of noise, in words, from none on -> gain in PSNR.
    """
    clean, *others = gains
    text = f"A network trained on clean LR: gain {_signed(gains[clean].value, 1)} dB on clean LR"
    return text + "".join(f", {_signed(gains[k].value, 1)} dB with {k}" for k in others[-1:])


def with_noise(gains: Mapping[str, Any], *, condition: str, runs: str) -> str:
    """At which noise a network trained on clean LR gains or loses.

    Args:
        gains: as of `on_noise`.
        condition: such as "bicubic ×4".
        runs: such as "3 trainings".
    """
    words = ("gains", "loses", "is not shown to gain or lose")
    said = [
        f"{_shown(e, *words)} with {name} in LR ({number(e, 2, unit=' dB')})"
        for name, e in gains.items()
    ]
    n = next(iter(gains.values())).patients
    return (
        f"Against bicubic interpolation, in the tumour, an ESPCN trained on clean LR "
        f"{'; '.join(said)}. PSNR, {condition}, n = {n} patients, {runs}."
    )


def _shown(e: Any, more: str, less: str, neither: str) -> str:
    return (neither, more, less)[e.sign]


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")
