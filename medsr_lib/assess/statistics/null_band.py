"""Does a method treat the tumour differently? Its contrast, held against uniform changes.

The contrast is the gain over a baseline in one region minus that in a reference. For a change that
treats every pixel alike it is not 0: the tissues leave SSIM different room, and their spectra
differ. So it is held against the band that such changes of the same whole-brain gain span
(`assess.uniform`), on the same cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from medsr_lib import checks
from medsr_lib.assess import uniform
from medsr_lib.assess.statistics import bootstrap
from medsr_lib.assess.statistics.contrasts import KEYS, Contrast, check_names, check_once
from medsr_lib.assess.statistics.estimate import FEW, Estimate, adjust

Array = NDArray[np.float64]

LEVEL = 0.05  # of the two-sided decision
SAME = 1e-9  # means that differ by less differ by rounding
# Without any noise there is no more to gain; linear is hardly worse than a baseline that it equals.
MAY_FALL_SHORT = ("noise", "linear")
DEFICITS = ("ssim", "psnr")


@dataclass(frozen=True)
class Band:
    """A contrast with the band of the uniform references of the same gain.

    Attributes:
        metric, method, baseline, region, reference: of the contrast, as of `paired_difference`.
        gain_region: where the references gain as much as the method.
        contrast: gain of the method in `region` minus that in `reference`.
        gain: of the method in `gain_region`.
        gap: of the baseline, `region` less `reference`.
        references: the contrast of each reference at the method's gain; empty where there is no
            band.
        distance: of the contrast to the nearest edge of the band, negative below it, 0 within;
            interval and p over patients, for 8 and more.
        left_out: references whose range does not reach the method's gain.
        reason: why there is no band; "" where there is one.
    """

    metric: str
    method: str
    baseline: str
    region: str
    reference: str
    gain_region: str
    contrast: Estimate
    gain: Estimate
    gap: Estimate
    references: Mapping[str, float]
    distance: Estimate
    left_out: tuple[str, ...] = ()
    reason: str = ""

    @property
    def low(self) -> float:
        """The lower edge of the band; NaN where there is none."""
        return min(self.references.values(), default=np.nan)

    @property
    def high(self) -> float:
        """The upper edge of the band; NaN where there is none."""
        return max(self.references.values(), default=np.nan)

    @property
    def lowest(self) -> str:
        """The reference that makes the lower edge; "" where there is none."""
        return min(self.references, key=self.references.__getitem__, default="")

    @property
    def highest(self) -> str:
        """The reference that makes the upper edge; "" where there is none."""
        return max(self.references, key=self.references.__getitem__, default="")

    @property
    def words(self) -> str:
        """What the distance says, at 5 %, of this contrast alone."""
        return self.verdict(self.distance.p)

    def verdict(self, p: float) -> str:
        """What the distance says with this p value, such as one corrected for a family."""
        if self.reason:
            return self.reason
        if self.distance.patients < FEW:
            return "too few patients"
        if not p <= LEVEL:
            return "not distinguishable from a uniform change"
        how = "worse" if self.distance.value < 0 else "better"
        return f"treats the {self.region} {how} than a uniform change"

    def __str__(self) -> str:
        where = f"{self.metric}, {self.method} − {self.baseline}, {self.region} − {self.reference}"
        edges = f"uniform changes {self.low:+.4f} ({self.lowest}) to {self.high:+.4f}"
        found = f" {edges} ({self.highest}); distance {self.distance}" if self.references else ""
        return f"{where}: {self.contrast.value:+.4f};{found}: {self.words}"


def null_bands(
    table: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("ssim", "psnr"),
    methods: Iterable[str] | None = None,
    baseline: str,
    regions: Sequence[str] = ("tumour",),
    reference: str = "matched",
    gain_region: str = "brain",
    seed: int,
) -> list[Band]:
    """Hold contrasts against those of uniform references of the same whole-brain gain.

    Let q be the mean of the metric in `gain_region`, D the mean in `region` minus that in
    `reference`; means over a patient's cases, then over patients. A family of references, in
    several strengths, gives a curve D(q), taken as straight between them. The method's contrast is
    D(method) - D(baseline). Each family has two that it is compared with:

    - its own name: D(q of the method) - D(baseline), the reference in place of the method;
    - with "pair": D(q of the method) - D(q of the baseline), from one of the family to another, so
      that the kind of image stays the same. It is left out where it is the same number (the
      baseline itself is of the family).

    The band is from the least to the greatest of them. What lies between two uniform changes is no
    evidence of anything else.

    Interval and p: 10 000 resamples of the patients, in each of which contrast, interpolation,
    edges and distance are found again; the interval is that of percentiles, widened for few
    patients (Hesterberg 2015, The American Statistician 69:371: quantiles of Student's t, and n in
    place of n - 1). The test is that of the nearest edge, two-sided: to lie outside the band is to
    lie beyond every reference, so that no correction for their number is needed (intersection-union
    test; Berger 1982, Technometrics 24:295). Fewer than 8 patients have neither. In 1000
    simulations from 227 real slices (`benchmarks/null_band.py`), a method on the edge itself was
    called worse in 3.3 % of samples of 233 patients and in fewer of smaller ones, nominally 2.5 %;
    one 0.005 SSIM beyond it in 32, 56 and 88 % of samples of 50, 100 and 233 patients.

    Args:
        table: of `score.score`, with the methods of `uniform.references` among its methods. A case
            in which a value needed is missing or infinite is skipped, and counted.
        metrics: of which more is better, in the table. "psnr" is in dB of each case and region, so
            that the mixture with HR, which takes the same share of error everywhere, is at 0.
        methods: of the table; None takes all but the baseline and the references.
        baseline: a method of the table. It need not be the one that the references were made from.
        regions, reference, gain_region: regions of the table.
        seed: of the bootstrap.

    Returns:
        One for each metric, region and method, in this order. Nothing is extrapolated: where the
        gain lies beyond the range of a family, there is no band and `reason` says so, as where no
        case has all values; noise and linear, which cannot always reach, are left out instead.

    Raises:
        ValueError: "mse"; a metric, method or region that the table does not have, no references in
            it, or rows that occur twice.
    """
    if "mse" in metrics:
        raise ValueError("of mse less is better; take 'psnr', which is made of it")
    checks.columns(table, *KEYS, numbers=metrics)
    families = uniform.families(table)
    if not families:
        text = "no uniform reference among the methods of the table; score uniform.references, too"
        raise ValueError(text)
    if methods is None:
        methods = [m for m in uniform.without(table)["method"].unique() if m != baseline]
    chosen, places = list(methods), [gain_region, *regions, reference]
    named = [*chosen, baseline, *(name for of in families.values() for name in of)]
    check_names(table, {"method": named, "region": places})
    wide = {metric: _values(table, metric, named, places) for metric in metrics}
    return [
        _held(wide[metric], families, asked, gain_region=gain_region, seed=seed)
        for metric in metrics
        for region in regions
        for method in chosen
        for asked in [Contrast(metric, method, baseline, region, reference)]
    ]


def verdict_table(bands: Sequence[Band]) -> pd.DataFrame:
    """A row per band, with p corrected for all as one family (Holm), and the verdict by that.

    Columns metric, region, method, gain (in the gain region), contrast with contrast_low and _high,
    gap (of the baseline), band_low, band_high and the references that make them (`lowest`,
    `highest`), distance with distance_low and _high, p_adjusted, verdict, patients, cases, skipped.
    """
    p = adjust([band.distance.p for band in bands])
    rows = [
        {
            "metric": band.metric,
            "region": band.region,
            "method": band.method,
            "gain": band.gain.value,
            "contrast": band.contrast.value,
            "contrast_low": band.contrast.low,
            "contrast_high": band.contrast.high,
            "gap": band.gap.value,
            "band_low": band.low,
            "band_high": band.high,
            "lowest": band.lowest,
            "highest": band.highest,
            "distance": band.distance.value,
            "distance_low": band.distance.low,
            "distance_high": band.distance.high,
            "p_adjusted": adjusted,
            "verdict": band.verdict(adjusted),
            "patients": band.distance.patients,
            "cases": band.distance.cases,
            "skipped": band.distance.skipped,
        }
        for band, adjusted in zip(bands, p)
    ]
    return pd.DataFrame(rows)


def deficit_closed(
    table: pd.DataFrame,
    *,
    baselines: Sequence[str],
    metrics: Sequence[str] = ("ssim", "psnr"),
    seed: int,
) -> pd.DataFrame:
    """How much of what a baseline lacks each method makes up for, by region.

    For "ssim" 1 - (1 - SSIM of the method) / (1 - SSIM of the baseline); for "psnr" 1 - MSE of the
    method / MSE of the baseline, so that the ratio of mean squared errors is 1 less the share. 1
    for HR itself, 0 for the baseline, below 0 for a worse method. It takes from a gain what depends
    on how much there was to gain, though not all of it: the verdict rests on `null_bands`.

    Both are of each patient's means over cases; the value is the mean over patients, with the
    interval and p (that it is 0) of `bootstrap.estimates`.

    Args:
        table: of `score.score`; the methods of `uniform.references` are left out.
        baselines: such as ["bicubic", "linear"].
        metrics: "ssim", "psnr" or both.
        seed: of bootstrap and sign flips.

    Returns:
        A row per metric, baseline, region and method: these, the attributes of an `Estimate`, and
        `p_adjusted` (Holm, over all rows). A patient without any deficit of the baseline is left
        out; cases that lack a value are skipped and counted.

    Raises:
        ValueError: another metric, a baseline that the table does not have, rows that occur twice.
    """
    if unknown := [name for name in metrics if name not in DEFICITS]:
        raise ValueError(f"no deficit of {unknown[0]!r}; there are {', '.join(DEFICITS)}")
    if not (metrics and baselines):
        raise ValueError("give at least one metric and one baseline")
    columns = ["mse" if name == "psnr" else name for name in metrics]
    checks.columns(table, *KEYS, numbers=columns)
    methods = uniform.without(table)
    names, samples, counts = [], [], []
    for metric, column in zip(metrics, columns):
        wide = _wide(methods, column)
        lacks = wide if metric == "psnr" else 1 - wide
        check_names(methods, {"method": baselines})
        for baseline in baselines:
            for region in lacks.columns.unique("region"):
                of_region = pd.DataFrame(lacks[region])
                for method in of_region.columns.drop(baseline, errors="ignore"):
                    pair = of_region.reindex(columns=[method, baseline])
                    measured = pair[np.isfinite(pair).all(axis=1)]
                    of_patients = measured.groupby(level="patient").mean()
                    of_patients = of_patients[of_patients[baseline] > 0]
                    names.append((metric, baseline, region, method))
                    samples.append((1 - of_patients[method] / of_patients[baseline]).to_numpy())
                    counts.append((len(measured), len(pair) - len(measured)))
    found = bootstrap.estimates(samples, seed=seed)
    out = pd.DataFrame(names, columns=["metric", "baseline", "region", "method"])
    numbers = [
        vars(replace(e, cases=cases, skipped=skipped)) for e, (cases, skipped) in zip(found, counts)
    ]
    out = pd.concat([out, pd.DataFrame(numbers)], axis=1)
    return out.assign(p_adjusted=adjust(out["p"]))


def _held(
    wide: pd.DataFrame,
    families: Mapping[str, Sequence[str]],
    spec: Contrast,
    *,
    gain_region: str,
    seed: int,
) -> Band:
    """A band, from the values of `_values`."""
    names = [spec.method, spec.baseline, *(name for of in families.values() for name in of)]
    places = [gain_region, spec.region, spec.reference]
    cells = [(place, name) for place in dict.fromkeys(places) for name in dict.fromkeys(names)]
    values = wide.loc[np.isfinite(wide[cells].to_numpy()).all(axis=1), cells]
    counts = {"cases": len(values), "skipped": len(wide) - len(values)}
    patients = values.groupby(level="patient").mean()
    q, here, there = (patients[place][names].to_numpy() for place in places)
    d = here - there  # (patients, names), as q
    samples = [d[:, 0] - d[:, 1], q[:, 0] - q[:, 1], d[:, 1]]
    contrast, gain, gap = (replace(e, **counts) for e in bootstrap.estimates(samples, seed=seed))
    found = Band(
        **vars(spec),
        gain_region=gain_region,
        contrast=contrast,
        gain=gain,
        gap=replace(gap, p=np.nan),  # a description: that tissues differ is no finding
        references={},
        distance=Estimate(np.nan, patients=len(patients), **counts),
    )
    if not len(patients):
        return replace(found, reason="no band: no case has all values")
    curves = positions(families)
    short = [f for f, at in curves.items() if not _reaches(q.mean(0), at)]
    if missing := [f for f in short if f not in MAY_FALL_SHORT or len(short) == len(curves)]:
        reason = f"no band: the gain lies outside the range of {', '.join(missing)}"
        return replace(found, left_out=tuple(short), reason=reason)
    curves = {f: at for f, at in curves.items() if f not in short}
    of_families = references_at(q.mean(0)[None], d.mean(0)[None], curves)
    references = {name: float(value[0]) for name, value in of_families.items()}
    for family in curves:
        if abs(references[f"{family} pair"] - references[family]) < SAME:
            del references[f"{family} pair"]
    ends = min(references.values()), max(references.values())
    distance = replace(found.distance, value=float(_outside(contrast.value, *ends)))
    if len(patients) >= FEW:
        distance = with_interval(distance, q, d, curves, seed)
    return replace(found, references=references, distance=distance, left_out=tuple(short))


def _values(
    table: pd.DataFrame, metric: str, methods: Sequence[str], places: Sequence[str]
) -> pd.DataFrame:
    """A row for each case (patient and id), the metric in columns (region, method)."""
    rows = table[table["method"].isin(methods) & table["region"].isin(places)]
    columns = pd.MultiIndex.from_product([dict.fromkeys(places), dict.fromkeys(methods)])
    cases = pd.MultiIndex.from_frame(table[["patient", "id"]].drop_duplicates()).sort_values()
    return _wide(rows, metric).reindex(columns=columns).reindex(cases).astype(float)


def _wide(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """By patient and id the values of a metric, in columns (region, method)."""
    check_once(rows)
    return pd.DataFrame(rows.set_index(KEYS)[metric].unstack(["region", "method"])).sort_index()


def positions(families: Mapping[str, Sequence[str]]) -> dict[str, slice]:
    """Where each family's strengths are, after method and baseline."""
    found, start = {}, 2
    for family, names in families.items():
        found[family] = slice(start, start + len(names))
        start += len(names)
    return found


def _reaches(q: Array, at: slice) -> bool:
    """Whether method and baseline lie within what a family spans."""
    low, high = q[at].min() - SAME, q[at].max() + SAME
    return bool(low <= q[:2].min() and q[:2].max() <= high)


def references_at(q: Array, d: Array, curves: Mapping[str, slice]) -> dict[str, Array]:
    """Contrasts (b,) of each reference, from means q and d (b, names)."""
    found = {}
    for family, at in curves.items():
        ours, theirs = _interpolated(q[:, at], d[:, at], q[:, :2]).T
        found[family] = ours - d[:, 1]
        found[f"{family} pair"] = ours - theirs
    return found


def _interpolated(x: Array, y: Array, to: Array) -> Array:
    """Curves y(x) (b, k), straight between their points, at `to` (b, m); beyond, as at the end."""
    order = np.argsort(x, axis=1)
    x, y = (np.take_along_axis(v, order, axis=1) for v in (x, y))
    left = ((x[:, :, None] <= to[:, None]).sum(1) - 1).clip(0, x.shape[1] - 2)
    x0, x1, y0, y1 = (np.take_along_axis(v, left + more, 1) for v in (x, y) for more in (0, 1))
    width = x1 - x0
    return y0 + (y1 - y0) * (to - x0) / np.where(width > 0, width, 1)


def _outside(value: Array | float, low: Array | float, high: Array | float) -> Array:
    """How far a value lies above `high`, or (negative) below `low`; 0 within, but for rounding."""
    found = np.maximum(value - np.asarray(high), 0) + np.minimum(value - np.asarray(low), 0)
    return np.where(abs(found) > SAME, found, 0.0)


def with_interval(
    distance: Estimate, q: Array, d: Array, curves: Mapping[str, slice], seed: int
) -> Estimate:
    """The distance with interval and p, from q and d (patients, names)."""
    n = len(q)
    drawn = []
    for counts in bootstrap.resampled(n, seed=seed, resamples=bootstrap.RESAMPLES):
        of_q, of_d = counts / n @ q, counts / n @ d
        found = np.stack(list(references_at(of_q, of_d, curves).values()))
        drawn.append(_outside(of_d[:, 0] - of_d[:, 1], found.min(0), found.max(0)))
    values = np.concatenate(drawn)
    wider = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(LEVEL / 2, n - 1)))
    low, high = np.quantile(values, (wider, 1 - wider)).tolist()
    p = 1.0
    if distance.value:
        share = (1 + (values * np.sign(distance.value) <= 0).sum()) / (1 + len(values))
        # the share that a normal distribution has beyond as many wider standard errors
        z = stats.norm.isf(share) * np.sqrt((n - 1) / n)
        p = min(1.0, float(2 * stats.t.sf(z, n - 1)))
    return replace(distance, low=low, high=high, p=p)
