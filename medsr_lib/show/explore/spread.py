"""The explorer of scores: a metric in a region by method, its interval, a point's slice."""

import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from medsr_lib.show.explore import base, picture
from medsr_lib.show.explore.base import Explorer, choice, slider, tick
from medsr_lib.show.explore.chart import Axes, Chart, beside, reach_of
from medsr_lib.show.explore.chooser import WINDOW, box_around, index
from medsr_lib.show.explore.history import whole_lines
from medsr_lib.show.panels import as_image, as_mask
from medsr_lib.show.style import INK, MUTED, colours, count, label_of, need, plural, written

NOTHING = "nothing"
NO_METRIC = ("slice_id", "patient_id", "fold", "scale", "pixels", "slices", "patients")
ROW, LEFT, RIGHT, TOP = 46, 130, 178, 44
Interval = Callable[[NDArray[np.float64]], tuple[float, float]]


def student(values: NDArray[np.float64]) -> tuple[float, float]:
    """Student's 95 % interval of a mean; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


class Scores(Explorer):
    """An explorer of a score table; `explore.scores` makes one.

    Attributes:
        values: of the chosen metric and region, a row per slice and a column per method.
        estimates: mean over patients, low and high of its interval, patients and slices, by method.
        point: slice_id of the point chosen.
    """

    title = "Region statistics"
    hint = "Point at a dot for its slice and value; click to see the slice."

    def __init__(
        self, table: pd.DataFrame | str | Path, slices: Sequence[Any] | None, interval: Interval
    ) -> None:
        super().__init__()
        self.interval, self.slices = interval, slices
        self.values, self.point = pd.DataFrame(), ""
        self.axes: Axes | None = None
        self.estimates: dict[str, dict[str, float]] = {}
        with self.guarded():
            self.scores, self.cut = _read(table)
            self._build()
            self.choose()

    def _build(self) -> None:
        rows = self.scores
        metrics = [
            str(name)
            for name in rows.select_dtypes("number").columns
            if name not in NO_METRIC and rows[name].notna().any()
        ]
        if not metrics:
            raise ValueError(f"the table has no metric; its columns are {list(rows.columns)}")
        names = [str(name) for name in rows["method"].unique()]
        regions = [str(name) for name in rows["region"].unique()]
        settings = list(dict.fromkeys(rows["setting"]))
        self.ticks = {name: tick(name, True) for name in names}
        self.controls = {
            "metric": choice("Metric", metrics, "ssim" if "ssim" in metrics else metrics[0]),
            "region": choice("Region", regions, "tumour" if "tumour" in regions else regions[0]),
            "baseline": choice("Less that of", [NOTHING, *names]),
            "setting": choice("Setting", settings),
            "method": choice("Points in order of", names, names[-1]),
            "point": slider("Point, from the lowest to the highest", 1, 1, 1, 1),
            "zoom": tick("Zoom on the tumour", True),
        }
        c = self.controls
        asked = [c[name] for name in ("metric", "region", "baseline", "setting")]
        self.listen(*asked, c["method"], *self.ticks.values(), to=self.choose)
        self.listen(c["point"], c["zoom"], to=self.draw)
        first = asked if len(settings) > 1 else asked[:-1]
        last = [c["method"], c["point"], *([c["zoom"]] if self.slices is not None else [])]
        self.lay_out(first, list(self.ticks.values()), last)

    def choose(self, slice_id: str = "") -> None:
        """Take the values of what is chosen; the point goes to a slice, or else to the median."""
        c = {name: control.value for name, control in self.controls.items()}
        rows = self.scores
        rows = rows[(rows["region"] == c["region"]) & (rows["setting"] == c["setting"])]
        keys = ["patient", "slice_id"]
        wide = rows.pivot(index=keys, columns="method", values=c["metric"]).astype(float)
        if c["baseline"] != NOTHING:
            wide = wide.sub(wide[c["baseline"]], axis=0)
        shown = [name for name, box in self.ticks.items() if box.value and name in wide]
        if not shown:
            raise ValueError("nothing is ticked: tick a method")
        self.values = wide[shown].replace([np.inf, -np.inf], np.nan)
        self.estimates = {name: self._estimate(self.values[name]) for name in shown}
        method = c["method"] if c["method"] in shown else shown[-1]
        self.order = self.values[method].dropna().sort_values().index
        self.ordered_by = method
        found = np.flatnonzero(self.order.get_level_values("slice_id") == slice_id)
        with self.quietly():
            point = self.controls["point"]
            point.max = max(1, len(self.order))
            point.value = int(found[0]) + 1 if len(found) else (len(self.order) + 1) // 2 or 1
        self.draw()

    def _estimate(self, values: pd.Series) -> dict[str, float]:
        per_patient = values.dropna().groupby(level="patient").mean().to_numpy()
        mean = float(per_patient.mean()) if len(per_patient) else float("nan")
        low, high = self.interval(per_patient) if len(per_patient) else (np.nan, np.nan)
        counts = {"patients": len(per_patient), "slices": int(values.count())}
        return {"mean": mean, "low": low, "high": high, **counts}

    def draw(self) -> None:
        """Draw the distributions, and beside them the slice of the point."""
        if not len(self.order):
            raise ValueError(
                f"{self.controls['metric'].value} was not measured in "
                f"{self.controls['region'].value}: the regions are too small or missing"
            )
        patient, self.point = self.order[self.controls["point"].value - 1]
        pixels = self._rows()
        self.say(self.cut)
        if self.slices is not None:
            pixels = beside(pixels, self._slice())
        self.show(pixels)
        metric, here = self.controls["metric"].value, self.values.loc[(patient, self.point)]
        rows = [[name, _written(metric, value)] for name, value in here.items()]
        about = f"slice {self.point}, patient {patient}"
        self.notes.value = base.table(f"The point: {about}", ["method", metric], rows) + escape(
            f"Black bar: mean over patients with its 95 % interval; box: quartiles of the slices; "
            f"ring: {about}."
        )

    def hover(self, x: int, y: int) -> None:
        """Say which slice the dot under the mouse is."""
        if (found := self._nearest(x, y)) is None:
            self.leave()
            return
        name, patient, slice_id = found
        metric, value = self.controls["metric"].value, self.values.loc[(patient, slice_id), name]
        self.tell(
            f"{name}: {metric} {_written(metric, value)}, slice {slice_id}, patient {patient}"
        )

    def click(self, x: int, y: int) -> None:
        """Choose the dot under the mouse; the points are then in the order of its method."""
        if (found := self._nearest(x, y)) is not None:
            with self.quietly():
                self.controls["method"].value = found[0]
            self.choose(found[2])

    def _rows(self) -> picture.Pixels:
        """The distributions, a row per method."""
        c = {name: control.value for name, control in self.controls.items()}
        names = list(self.estimates)
        chart = Chart(LEFT + 430 + RIGHT, TOP + ROW * len(names) + 44)
        box = (LEFT, TOP, LEFT + 430, TOP + ROW * len(names))
        ends = [[of["low"], of["high"]] for of in self.estimates.values()]
        reach = reach_of([self.values.to_numpy(), ends])
        axes = self.axes = Axes(chart, box, reach, (0, 1))
        label, more = label_of(c["metric"])
        less = "" if c["baseline"] == NOTHING else f", less that of {c['baseline']}"
        arrow = "better →" if more else "← better"
        head = f"{label} in {c['region']}{less}"
        axes.frame(title=head, below=f"{label}   {arrow}", rows=True)
        if c["baseline"] != NOTHING and axes.x[0] < 0 < axes.x[1]:
            axes.upright(0, MUTED)
        chart.text((box[2] + 12, 24), "mean [95 % interval]", size=11, colour=MUTED)
        tones = colours(names)
        for row, name in enumerate(names):
            self._row(axes, name, row, tones[name])
        return chart.pixels()

    def _dots(self, axes: Axes, name: str, row: int) -> tuple[pd.Series, Any, Any]:
        """The values of a method, and from left and from above where their dots lie."""
        values = self.values[name].dropna()
        jitter = (np.arange(len(values)) * 0.618034) % 1 - 0.5
        return values, axes.across(values), TOP + ROW * (row + 0.5) + 20 * jitter

    def _nearest(self, x: int, y: int) -> tuple[str, str, str] | None:
        """Method, patient and slice of the dot nearest to a pixel in the row of a method."""
        names, row = list(self.estimates), (y - TOP) // ROW
        if self.axes is None or self.axes.at(x, y) is None or not 0 <= row < len(names):
            return None
        values, across, down = self._dots(self.axes, names[row], row)
        if not len(values):
            return None
        patient, slice_id = values.index[int(np.argmin((across - x) ** 2 + (down - y) ** 2))]
        return names[row], patient, slice_id

    def _row(self, axes: Axes, name: str, row: int, tone: str) -> None:
        middle, (values, across, down) = TOP + ROW * (row + 0.5), self._dots(axes, name, row)
        metric, chart = self.controls["metric"].value, axes.chart
        chart.text((LEFT - 8, middle), name, anchor="rm", bold=True)
        axes.dots(across, down, tone)
        of = self.estimates[name]
        mean, low, high = of["mean"], of["low"], of["high"]
        if len(values):
            quarter, half, most = np.quantile(values, [0.25, 0.5, 0.75])
            axes.block((quarter, most), (middle - 13, middle + 13), tone, width=1.6)
            axes.block((half, half), (middle - 13, middle + 13), tone, width=2)
            if np.isfinite(low):
                axes.block((low, high), (middle - 2, middle + 2), INK, fill=True)
            axes.block((mean, mean), (middle - 7, middle + 7), INK, fill=True)
        if (value := self._at_point().get(name)) is not None and np.isfinite(value):
            place = values.index.get_loc(self.order[self.controls["point"].value - 1])
            axes.ring(value, float(down[place]))
        text = f"{_written(metric, mean)} [{_written(metric, low)}, {_written(metric, high)}]"
        chart.text((axes.box[2] + 12, middle - 8), text.replace(" dB", ""), size=11, anchor="lm")
        behind = f"n = {count(of['slices'])} of {plural(int(of['patients']), 'patient')}"
        chart.text((axes.box[2] + 12, middle + 8), behind, size=10, colour=MUTED, anchor="lm")

    def _at_point(self) -> dict[str, float]:
        patient = self.order[self.controls["point"].value - 1][0]
        return {str(k): float(v) for k, v in self.values.loc[(patient, self.point)].items()}

    def _slice(self) -> picture.Pixels:
        """The slice of the point, or why there is none."""
        assert self.slices is not None  # draw asks
        rows = index(self.slices)
        found = np.flatnonzero(rows["slice_id"] == self.point)
        if not len(found):
            return picture.refusal(f"slice {self.point} is not among the slices given", (300, 300))
        try:
            chosen = self.slices[int(found[0])]
            image = as_image(chosen.image, "the slice")
            mask = as_mask(chosen.mask, image.shape)
        except Exception as error:
            return picture.refusal(f"slice {self.point}: {base.reason(error)}", (300, 300))
        box = box_around(mask, 20) if self.controls["zoom"].value else None
        small = picture.shrunk(picture.part(image, box), 320)
        pixels = picture.enlarged(picture.grey(small, WINDOW), 320)
        picture.outline(pixels, picture.part(mask, box))
        tumour = rows["tumour"].iloc[int(found[0])]
        return picture.sheet([picture.Panel(pixels, f"slice {self.point}, {tumour}")], columns=1)[0]


def _read(table: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    """A score table with names as text and one column `setting`, of scale and degradation; and what
    is to be said of a file that is still being written.
    """
    cut = ""
    if not isinstance(table, pd.DataFrame):
        path = Path(str(table))
        if not path.is_file():
            raise ValueError(f"{path}: no such file; a notebook writes its scores.csv when it runs")
        names = {"slice_id": str, "patient": str, "patient_id": str}
        try:
            lines, rest = whole_lines(path)
            table = pd.read_csv(io.StringIO(lines), dtype=names)
        except ValueError as error:
            raise ValueError(f"{path}: no table can be read from it ({error})") from None
        if rest:
            cut = f"{path}: its last line has no end and is left out; is it still being written?"
    rows = table.rename(columns={} if "patient" in table else {"patient_id": "patient"})
    need(rows, "slice_id", "patient", "method", "region")
    of = [rows[name].astype(str) for name in ("degradation", "scale") if name in rows]
    setting = of[0] + " ×" + of[1] if len(of) == 2 else pd.Series("all", rows.index)
    texts = {name: rows[name].astype(str) for name in ("slice_id", "patient", "method", "region")}
    rows = rows.assign(**texts, setting=setting)
    keys = ["setting", "slice_id", "method", "region"]
    if rows.duplicated(keys).any():
        twice = rows.loc[rows.duplicated(keys), "slice_id"].iloc[0]
        raise ValueError(f"slice {twice} stands in the table twice with one method and region")
    return rows, cut


def _written(metric: str, value: Any) -> str:
    value = float(value)
    return "–" if np.isnan(value) else written(metric, value).replace("-", "−")
