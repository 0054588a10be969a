"""The training monitor: losses, validation and pictures of a training while it runs."""

import time
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Any

import numpy as np
import pandas as pd

from medsr_lib.show.explore import base, history, picture
from medsr_lib.show.explore.base import Explorer, choice, reason, slider, tick
from medsr_lib.show.explore.chart import GAP, Axes, Chart, beside, pale, reach_of
from medsr_lib.show.explore.chooser import WINDOW
from medsr_lib.show.explore.history import Log
from medsr_lib.show.style import METHOD_COLOURS, MUTED, label_of, plural

TONES = ("#0072B2", METHOD_COLOURS["SRGAN"], "#009E73", "#CC79A7", "#E69F00", MUTED)
POINTS = 1500
SHARE = 0.05
"""Of the time, at most, that looking takes: the kernel may be training."""
PLOT = (70, 40, 430, 250)
LEGEND, HEIGHT = 130, PLOT[3] + 44


class Training(Explorer):
    """A monitor of trainings; `explore.training` makes one.

    Attributes:
        log: what was read last, None before anything could be.
    """

    title = "Training monitor"
    hint = "Point at a curve for its values; click to look at that step."

    def __init__(self, folder: str | Path, *, follow: bool, every: float) -> None:
        super().__init__()
        self.folder, self.every = Path(str(folder)), every
        self.log: Log | None = None
        self.plots: list[Axes] = []
        self._stamp = (0.0, 0)
        self._lock, self._stop = RLock(), Event()
        self._thread: Thread | None = None
        self.controls = {
            "file": choice("Training", []),
            "follow": tick(f"Follow (look every {every:g} seconds)", follow),
            "smooth": slider("Running mean over % of the steps", 3, 0, 20, 1),
            "measure": choice("Validation", []),
            "step": slider("Look at step", 1, 1, 1, 1),
        }
        c = self.controls
        self.listen(c["file"], to=self.look)
        self.listen(c["smooth"], c["measure"], c["step"], to=self.draw)
        self.listen(c["follow"], to=self._follow)
        self.lay_out([c["file"], c["measure"], c["follow"]], [c["step"], c["smooth"]])
        self.look()
        self._follow()

    def close(self) -> None:
        """Stop following and take the widget off the page."""
        self._stop.set()
        super().close()

    def look(self) -> None:
        """Read what the training has written since; if that fails, what was there stays."""
        with self._lock, self.guarded():
            try:
                files = history.find(self.folder)
                with self.quietly():
                    self._offer_files(list(files))
                path = files[self.controls["file"].value]
                stamp = history.stamp(path)
                self.log, self._stamp = history.read(path), stamp
            except ValueError as error:
                if self.log is None:
                    raise
                self.say(f"{reason(error)}. Shown is what was read before.")
                return
            self._offer_what_is_there(self.log)
            self.draw()

    def draw(self) -> None:
        """Draw what was read last."""
        with self._lock:
            if self.log is None:
                return
            log = self.log
            if not len(log.training):
                self.refuse("No step has been taken yet.")
                return
            self.say("")
            losses = [n for n in log.training if "loss" in str(n)] or list(log.training)[1:]
            answers = [n for n in log.training if str(n) in ("d_real", "d_fake")]
            plots = [self._curves("Training", log.training, losses, log=True)]
            if answers:
                more = self._curves("The discriminator's answers", log.training, answers)
                plots.append(more)
            pixels = np.concatenate([axes.chart.pixels() for axes in plots])
            self.plots = [axes.moved(0, HEIGHT * place) for place, axes in enumerate(plots)]
            validated, right = self._right(log)
            if validated is not None:
                self.plots.append(validated.moved(pixels.shape[1] + GAP, 0))
            self.show(pixels if right is None else beside(pixels, right))
            self.notes.value = self._notes(log)

    def hover(self, x: int, y: int) -> None:
        """Say what the curves show under the mouse."""
        with self._lock:
            step = self._step_at(x, y)
            if step is None or self.log is None:
                self.leave()
                return
            parts = [_at(self.log.training, step)]
            if len(self.log.validation):
                parts.append(f"validation: {_at(self.log.validation, step)}")
            self.tell(" · ".join(parts))

    def click(self, x: int, y: int) -> None:
        """Look at the step under the mouse."""
        if (step := self._step_at(x, y)) is not None:
            self.controls["step"].value = step

    def _step_at(self, x: int, y: int) -> int | None:
        """The step that a pixel of a plot stands for, from 1 to the last."""
        found = [at for axes in self.plots if (at := axes.at(x, y)) is not None]
        return min(max(1, round(found[0])), self.controls["step"].max) if found else None

    def _follow(self) -> None:
        """Start or stop the thread that looks: it works while this kernel trains, too."""
        running = self._thread is not None and self._thread.is_alive()
        if not self.controls["follow"].value:
            self._stop.set()
        elif not running:
            self._stop = Event()
            self._thread = Thread(target=self._keep_looking, args=(self._stop,), daemon=True)
            self._thread.start()

    def _keep_looking(self, stop: Event) -> None:
        took = 0.0
        while not stop.wait(max(self.every, took / SHARE)):
            if self._changed():
                start = time.perf_counter()
                self.look()
                took = time.perf_counter() - start
            elif self.log is not None and not self.message:
                with self._lock:
                    self.notes.value = self._notes(self.log)

    def _changed(self) -> bool:
        """Whether the file shown was written since, or another has appeared."""
        file = self.controls["file"]
        try:
            files = history.find(self.folder)
        except ValueError as error:
            return reason(error) not in self.message
        new = set(files) != set(file.options) or file.value not in files
        return new or history.stamp(files[file.value]) != self._stamp

    def _offer_files(self, names: list[str]) -> None:
        """Offer the files; when a training is done and another begins, follow that one."""
        begun = [name for name in names if name not in self.controls["file"].options]
        self._offer("file", names)
        if begun and self.log is not None and self.log.done and self.controls["follow"].value:
            self.controls["file"].value = begun[0]

    def _offer(self, name: str, options: list[str]) -> None:
        """Give a list its options; what was chosen stays chosen if it is still there."""
        control = self.controls[name]
        if list(control.options) != options:
            before = control.value
            control.options = options
            control.value = before if before in options else (options[0] if options else None)

    def _offer_what_is_there(self, log: Log) -> None:
        with self.quietly():
            self._offer("measure", [str(name) for name in log.validation if name != "step"])
            step = self.controls["step"]
            at_end = step.value >= step.max
            step.max = max(1, log.step)
            if at_end:
                step.value = step.max

    def _curves(
        self, title: str, table: pd.DataFrame, names: list[Any], *, log: bool = False
    ) -> Axes:
        """Columns over steps: every value pale, their running mean dark."""
        drawn = [n for n in names if np.nan_to_num(table[n].to_numpy(float)).any()] or names
        table = _thin(table[["step", *drawn]])
        values = [table[n].to_numpy(float) for n in drawn]
        log = log and all((v[np.isfinite(v)] > 0).all() for v in values)
        axes = self._axes(table["step"], values, log, title)
        span = max(1, round(len(table) * self.controls["smooth"].value / 100))
        for name, tone in zip(drawn, TONES):
            axes.line(table["step"], table[name], pale(tone, 0.35), 0.8)
        for place, (name, tone) in enumerate(zip(drawn, TONES)):
            mean = table[name].rolling(span, min_periods=1, center=True).mean()
            axes.line(table["step"], mean, tone, 1.8)
            top = PLOT[1] + 6 + 18 * place
            box = [2 * (PLOT[2] + 10), 2 * top + 6, 2 * (PLOT[2] + 22), 2 * top + 14]
            axes.chart.draw.rectangle(box, picture.rgb(tone))
            text = str(name).replace("_", " ")
            axes.chart.text((PLOT[2] + 27, top - 2), text, size=11)
        return axes

    def _axes(self, steps: pd.Series, values: list[Any], log: bool, title: str) -> Axes:
        chart = Chart(PLOT[2] + LEGEND + 20, HEIGHT)
        y = reach_of(values, log=log)
        axes = Axes(chart, PLOT, (0.0, float(max(steps.max(), 1))), y, log=log)
        axes.frame(title=title, below="step")
        axes.upright(min(self.controls["step"].value, float(steps.max())), "#9A9A9A")
        return axes

    def _right(self, log: Log) -> tuple[Axes | None, picture.Pixels | None]:
        """The validation, above the watched image as it was restored last before the step."""
        parts: list[picture.Pixels] = []
        axes = None
        measure = self.controls["measure"].value
        if len(log.validation) and measure:
            table = log.validation.dropna(subset=["step", measure])
            label, more = label_of(measure)
            title = f"Validation: {label}, {'higher' if more else 'lower'} is better"
            axes = self._axes(log.training["step"], [table[measure]], False, title)
            axes.line(table["step"], table[measure], TONES[0], 1.8)
            best = table[measure].idxmax() if more else table[measure].idxmin()
            if len(table):
                at, value = float(table.loc[best, "step"]), float(table.loc[best, measure])
                axes.ring(at, float(axes.up(value)))
                axes.chart.text((PLOT[2] + 10, PLOT[1] + 4), "ring: best", size=11)
            parts.append(axes.chart.pixels())
        before = [n for n in log.pictures if n <= self.controls["step"].value]
        if before:
            shot = picture.shrunk(log.pictures[max(before)], 260)
            pixels = picture.enlarged(picture.grey(shot, WINDOW), 260)
            title, note = f"After step {max(before)}", "the watched image, restored"
            parts.append(picture.sheet([picture.Panel(pixels, title, note)], columns=1)[0])
        if not parts:
            return None, None
        width = max(part.shape[1] for part in parts)
        return axes, np.concatenate(
            [
                np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255)
                for p in parts
            ]
        )

    def _notes(self, log: Log) -> str:
        """How far it has come, and the numbers at the step looked at."""
        of = "" if log.steps is None else f" of {log.steps} ({100 * log.step / log.steps:.0f} %)"
        line = [f"step {log.step}{of}"]
        if log.seconds is not None:
            line.append(f"{_span(log.seconds)} trained")
            if log.steps and 0 < log.step < log.steps:
                left = log.seconds / log.step * (log.steps - log.step)
                line.append(f"about {_span(left)} to go")
        written = _span(max(0.0, time.time() - self._stamp[0]))
        line.append("all steps are taken" if log.done else f"written {written} ago")
        row = _row_at(log.training, self.controls["step"].value)
        cells = [[str(n), f"{value:.4g}"] for n, value in row.items() if n != "step"]
        return " · ".join(line) + base.table(f"At step {int(row['step'])}", ["", ""], cells)


def _row_at(table: pd.DataFrame, step: int) -> pd.Series:
    """The row that holds a step: the first that ends with it or later."""
    return table.iloc[min(int(np.searchsorted(table["step"], step)), len(table) - 1)]


def _at(table: pd.DataFrame, step: int) -> str:
    """The numbers of a step in a line."""
    row = _row_at(table, step)
    parts = [
        f"{name} {value:.4g}".replace("_", " ") for name, value in row.items() if name != "step"
    ]
    return f"step {int(row['step'])}: {', '.join(parts)}"


def _thin(table: pd.DataFrame) -> pd.DataFrame:
    """Long tables as means of blocks of rows: no screen shows more."""
    block = -(-len(table) // POINTS)
    if block <= 1:
        return table.reset_index(drop=True)
    return table.astype(float).groupby(np.arange(len(table)) // block).mean()


def _span(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return plural(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"
