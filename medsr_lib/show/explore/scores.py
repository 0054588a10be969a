"""The explorer of scores: a metric in a region by method, its interval, a point's image."""

import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from medsr_lib.case import Case
from medsr_lib.show import style
from medsr_lib.show.explore import base
from medsr_lib.show.explore.base import Explorer, visible
from medsr_lib.show.explore.charts import Chart
from medsr_lib.show.explore.controls import choice, index, slider, tick
from medsr_lib.show.explore.history import whole_lines
from medsr_lib.show.explore.viewer import Scene
from medsr_lib.show.style import INK, MUTED, written

NOTHING = "nothing"
NO_METRIC = ("id", "fold", "scale", "pixels", "cases", "patients")
ROW, LEFT, WIDE, RIGHT, TOP, FOOT = 46, 130, 430, 190, 34, 44
Interval = Callable[[NDArray[np.float64]], tuple[float, float]]


def student(values: NDArray[np.float64]) -> tuple[float, float]:
    """Student's 95 % interval of a mean; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


class Scores(Explorer):
    """Explore a score table: a metric in a region by method, with intervals, point by point.

    Args:
        table: of `score.score`, or the CSV file of one.
        cases: where the image of a point is found, by its id; without it none is shown.
        interval: of the mean of (n,) patients, such as
            `partial(statistics.bootstrap_interval, seed=0)`; Student's 95 % interval by default.

    Attributes:
        values: of the chosen metric and region, a row per case and a column per method.
        estimates: mean over patients, low and high of its interval, patients and cases, by method.
        point: id of the point chosen.
    """

    title = "Region statistics"

    def __init__(
        self,
        table: pd.DataFrame | str | Path,
        cases: Sequence[Case] | None = None,
        *,
        interval: Interval = student,
    ) -> None:
        super().__init__()
        self.interval, self.cases = interval, cases
        self.values, self.point = pd.DataFrame(), ""
        self.estimates: dict[str, dict[str, float]] = {}
        self.names: list[str] = []
        with self.guarded():
            self.scores, self.cut = _read(table)
            self.ids = None if cases is None else index(cases)
            self._add_controls()
            self.choose()

    def _add_controls(self) -> None:
        rows = self.scores
        metrics = [
            str(name)
            for name in rows.select_dtypes("number").columns
            if name not in NO_METRIC and rows[name].notna().any()
        ]
        if not metrics:
            raise ValueError(f"the table has no metric; its columns are {list(rows.columns)}")
        names, regions, settings = (
            list(dict.fromkeys(rows[column])) for column in ("method", "region", "setting")
        )
        self.ticks = {name: tick(name, True) for name in names}
        self.controls = c = {
            "metric": choice("Metric", metrics, "ssim" if "ssim" in metrics else metrics[0]),
            "region": choice("Region", regions, "tumour" if "tumour" in regions else regions[0]),
            "baseline": choice("Difference from", [NOTHING, *names]),
            "setting": choice("Setting", settings),
            "method": choice("Points in order of", names, names[-1]),
            "point": slider("Point, from the lowest to the highest", 1, 1, 1),
        }
        asked = [c[name] for name in ("metric", "region", "baseline", "setting")]
        visible(c["setting"], len(settings) > 1)
        self.listen(*asked, c["method"], *self.ticks.values(), to=self.choose)
        self.listen(c["point"], to=self.update)
        self.lay_out(asked, [*self.ticks.values()], [c["method"], c["point"]])

    def choose(self) -> None:
        """Take the values of what is chosen; the point goes to the median."""
        c = {name: control.value for name, control in self.controls.items()}
        rows = self.scores
        rows = rows[(rows["region"] == c["region"]) & (rows["setting"] == c["setting"])]
        wide = rows.pivot(index=["patient", "id"], columns="method", values=c["metric"])
        wide = wide.astype(float).replace([np.inf, -np.inf], np.nan)
        if c["baseline"] != NOTHING:
            wide = wide.sub(wide[c["baseline"]], axis=0)
        shown = [name for name, box in self.ticks.items() if box.value and name in wide]
        if not shown:
            raise ValueError("nothing is ticked: tick a method")
        self.values = wide[shown]
        self.names, self.estimates = shown, {name: self._estimate(wide[name]) for name in shown}
        method = c["method"] if c["method"] in shown else shown[-1]
        self.order = self.values[method].dropna().sort_values().index
        if not len(self.order):
            raise ValueError(
                f"{c['metric']} was not measured in {c['region']}: the regions are too small or "
                "missing"
            )
        with self.quietly():
            point = self.controls["point"]
            point.max = len(self.order)
            point.value = (len(self.order) + 1) // 2
        self.chart = self._chart()
        self.drawn = self.chart.pixels()
        self.update()

    def _estimate(self, values: pd.Series) -> dict[str, float]:
        per_patient = values.dropna().groupby(level="patient").mean().to_numpy()
        low, high = self.interval(per_patient) if len(per_patient) else (np.nan, np.nan)
        mean = per_patient.mean() if len(per_patient) else np.nan
        counts = {"patients": len(per_patient), "cases": values.count()}
        return {"mean": mean, "low": low, "high": high, **counts}

    def update(self) -> None:
        """Ring the point in the distributions, and show its image below them."""
        patient, self.point = self.order[self.controls["point"].value - 1]
        places = []
        for row, name in enumerate(self.names):
            values = self.values[name].dropna()
            if (here := (patient, self.point)) in values.index:
                at = values.index.get_loc(here)
                places.append((values.iloc[at], row + _jitter(len(values))[at]))
        scene, trouble = (None, "") if self.cases is None else self._image(self.cases)
        self.show(self.chart.with_rings(self.drawn, *zip(*places)), scene)
        self.warn("; ".join(filter(None, (self.cut, trouble))))
        metric, here = self.controls["metric"].value, self.values.loc[(patient, self.point)]
        rows = [[name, _written(metric, value)] for name, value in here.items()]
        about = f"image {self.point}, patient {patient}"
        self.notes.value = base.table(f"The point: {about}", ["method", metric], rows) + escape(
            f"Black bar: mean over patients with its 95 % interval; band: quartiles of the images; "
            f"ring: {about}."
        )

    def _chart(self) -> Chart:
        """The distributions, a row per method."""
        c = {name: control.value for name, control in self.controls.items()}
        metric, rows = c["metric"], np.arange(len(self.names))
        bottom = TOP + ROW * len(rows)
        less = "" if c["baseline"] == NOTHING else f", difference from {c['baseline']}"
        title = f"{style.label_of(metric)[0]} in {c['region']}{less}"
        chart = Chart(
            (LEFT + WIDE + RIGHT, bottom + FOOT), (LEFT, TOP, LEFT + WIDE, bottom),
            title=title, below=style.better(metric),
        )  # fmt: skip
        axes, tones = chart.axes, [*style.colours(self.names).values()]
        low, middle, high = self.values.quantile([0.25, 0.5, 0.75]).to_numpy()
        axes.hlines(rows, low, high, colors=tones, linewidths=26, alpha=0.25)
        axes.vlines(middle, rows - 0.28, rows + 0.28, colors=tones, linewidths=2.5, zorder=3)
        for row, (name, of) in enumerate(self.estimates.items()):
            values = self.values[name].dropna()
            places = row + _jitter(len(values))
            axes.plot(values, places, "o", color=tones[row], alpha=0.35, markersize=4.5, mew=0)
            mean, *ends = (_written(metric, of[end]) for end in ("mean", "low", "high"))
            n = f"n = {style.count(of['cases'])} of {style.plural(int(of['patients']), 'patient')}"
            text = f"{mean} [{', '.join(ends)}]".replace(" dB", "") + f"\n{n}"
            beside = axes.get_yaxis_transform()
            axes.text(1.03, row, text, transform=beside, va="center", size=8.5, color=INK)
        found = pd.DataFrame(self.estimates).T
        axes.hlines(rows, found["low"], found["high"], colors=INK, linewidths=4, zorder=4)
        axes.vlines(found["mean"], rows - 0.15, rows + 0.15, colors=INK, linewidths=3, zorder=4)
        if less:
            axes.axvline(0, color=MUTED, linewidth=1)
        axes.grid(visible=False, axis="y")
        style.name_rows(axes, self.names)
        return chart

    def _image(self, cases: Sequence[Case]) -> tuple[Scene | None, str]:
        """The image of the point, or why there is none."""
        found = np.flatnonzero(index(cases)["id"] == self.point)
        if not len(found):
            return None, f"image {self.point} is not among those given"
        try:
            case = cases[int(found[0])]
        except Exception as error:
            return None, f"image {self.point}: {base.reason(error)}"
        title = ", ".join(filter(None, (f"image {case.id}", case.label)))
        mask = None if case.mask is None else case.mask.numpy()
        image = case.image.numpy()
        return Scene(title, image, mask=mask, spacing=case.spacing, enlarge=True), ""


def _jitter(n: int) -> NDArray[Any]:
    """Heights that keep n dots of a row apart: the golden ratio's multiples."""
    return 0.43 * ((np.arange(n) * 0.618034) % 1 - 0.5)


def _read(table: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    """A score table with names as text and one column `setting`, of scale, degradation and seed;
    and what is to be said of a file that is still being written.
    """
    cut = ""
    if not isinstance(table, pd.DataFrame):
        path = Path(str(table))
        if not path.is_file():
            raise ValueError(f"{path}: no such file; a notebook writes its scores.csv when it runs")
        try:
            lines, rest = whole_lines(path)
            table = pd.read_csv(io.StringIO(lines), dtype={"id": str, "patient": str})
        except ValueError as error:
            raise ValueError(f"{path}: no table can be read from it ({error})") from None
        if rest:
            cut = f"{path}: its last line has no end and is left out; is it still being written?"
    style.need(table, "id", "patient", "method", "region")
    of = [table[name].astype(str) for name in ("degradation", "scale") if name in table]
    setting = of[0] + " ×" + of[1] if len(of) == 2 else "all"
    if "seed" in table:
        setting = setting + ", seed " + table["seed"].astype(str)
    texts = {name: table[name].astype(str) for name in ("id", "patient", "method", "region")}
    rows = table.assign(**texts, setting=setting)
    twice = rows[rows.duplicated(["setting", "id", "method", "region"])]
    if len(twice):
        name = twice["id"].iloc[0]
        raise ValueError(f"image {name} is in the table twice with one method and region")
    return rows, cut


def _written(metric: str, value: Any) -> str:
    value = float(value)
    return "–" if np.isnan(value) else written(metric, value).replace("-", "−")
