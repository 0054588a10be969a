"""The training monitor: losses, validation and pictures of a training while it runs."""

import time
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from threading import Event, RLock, Thread

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, MaxNLocator

from medsr_lib.show.explore import base, charts, history
from medsr_lib.show.explore.base import Explorer, reason
from medsr_lib.show.explore.charts import Chart, Pixels
from medsr_lib.show.explore.controls import choice, offer, slider, tick
from medsr_lib.show.explore.history import Log
from medsr_lib.show.panels import WINDOW
from medsr_lib.show.style import INK, METHOD_COLOURS, MUTED, label_of, plural

TONES = ("#0072B2", METHOD_COLOURS["SRGAN"], "#009E73", "#CC79A7", "#E69F00", MUTED)
POINTS = 720  # of a curve, at most: its axes are 370 pixels wide
SHARE = 0.1  # of the time, at most, that looking takes: the kernel may be training
SIZE, BOX = (580, 290), (60, 26, 430, 246)
LOSSES, ANSWERS, VALIDATION = "Training", "The discriminator's answers", "Validation"
WATCHED = "Watched image"


class Training(Explorer):
    """Follow a training by what it writes: losses, validation, the watched image, time left.

    It may run in this kernel (show the monitor in a cell before that of `fit`), or in another
    process. `fit` writes its checkpoint at the beginning, every two minutes and at the end, and
    every second its losses into tables beside it; pictures are those of the checkpoint. Other
    tables `*training.csv` (with `*validation.csv` beside them) that grow line by line are followed
    too.

    Args:
        folder: with checkpoints or tables in it, as a notebook's; or one such file.
        follow: look again and again until all steps are taken.
        every: seconds between two looks.

    Attributes:
        log: what was read last, None before anything could be.
    """

    title = "Training monitor"

    def __init__(self, folder: str | Path, *, follow: bool = True, every: float = 2.0) -> None:
        super().__init__()
        self.folder, self.every = Path(str(folder)), every
        self.log: Log | None = None
        self.charts: dict[str, Chart] = {}
        self.panels: list[str] = []
        self._drawn: dict[str, tuple[Hashable, Pixels]] = {}
        self._stamp = (Path(), 0.0, 0)
        self._lock, self._stop = RLock(), Event()
        self._thread: Thread | None = None
        self.controls = {
            "file": choice("Training", []),
            "follow": tick(f"Follow (look every {every:g} seconds)", follow),
            "smooth": slider("Running mean over % of the steps", 3, 0, 20),
            "measure": choice("Validation", []),
            "step": slider("Look at step", 1, 1, 1),
        }
        c = self.controls
        self.listen(c["file"], to=self.look)
        self.listen(c["smooth"], c["measure"], c["step"], to=self.update)
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
                if (stamp := (path, *history.stamp(path))) != self._stamp:
                    self.log, self._stamp = history.read(path), stamp
            except ValueError as error:
                if self.log is None:
                    raise
                self.warn(f"{reason(error)}. Shown is what was read before.")
                return
            assert self.log is not None
            with self.quietly():
                measures = [str(name) for name in self.log.validation if name != "step"]
                offer(self.controls["measure"], measures, measures[0] if measures else None)
                step = self.controls["step"]
                at_end = step.value >= step.max
                step.max = max(1, self.log.step)
                step.value = step.max if at_end else step.value
            self.update()

    def update(self) -> None:
        """Draw what was read last."""
        with self._lock:
            log = self.log
            if log is None:
                return
            if not len(log.training):
                self.refuse("No step has been taken yet.")
                return
            self.warn("")
            columns = [self._curves(log), self._right(log)]
            self.panels = [name for parts in columns for name in parts]
            shown = [charts.joined([*parts.values()], axis=0) for parts in columns if parts]
            self.show(charts.joined(shown, axis=1))
            self.notes.value = self._notes(log)

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
            start = time.perf_counter()
            self.look()
            took = time.perf_counter() - start

    def _offer_files(self, names: list[str]) -> None:
        """Offer the files; when a training is done and another begins, follow that one."""
        begun = [name for name in names if name not in self.controls["file"].options]
        offer(self.controls["file"], names, names[0])
        if begun and self.log is not None and self.log.done and self.controls["follow"].value:
            self.controls["file"].value = begun[0]

    def _curves(self, log: Log) -> dict[str, Pixels]:
        """The losses, and the discriminator's answers where there is one."""
        names = [str(name) for name in log.training if name != "step"]
        shown = {LOSSES: [name for name in names if "loss" in name] or names}
        if answers := [name for name in names if name in ("d_real", "d_fake")]:
            shown[ANSWERS] = answers
        smooth = self.controls["smooth"].value
        return {
            title: self._chart(title, (log, smooth), partial(_curves, title, log, columns, smooth))
            for title, columns in shown.items()
        }

    def _right(self, log: Log) -> dict[str, Pixels]:
        """The validation, above the watched image as it was restored last before the step."""
        parts, measure = {}, self.controls["measure"].value
        if measure and len(log.validation):
            draw = partial(_validation, log, measure)
            parts[VALIDATION] = self._chart(VALIDATION, (log, measure), draw)
        before = [n for n in log.pictures if n <= self.controls["step"].value]
        if before:
            title = f"The watched image after step {max(before)}"
            shot = log.pictures[max(before)]
            parts[WATCHED] = charts.titled(shot, title, side=260, window=WINDOW)
        return parts

    def _chart(self, name: str, key: Hashable, draw: Callable[[], Chart]) -> Pixels:
        """A chart, drawn where its key is a new one, with a line at the step looked at."""
        if name not in self._drawn or self._drawn[name][0] != key:
            self.charts[name] = draw()
            self._drawn[name] = key, self.charts[name].pixels()
        return self.charts[name].with_line(self._drawn[name][1], self.controls["step"].value)

    def _notes(self, log: Log) -> str:
        """How far it has come, and the numbers at the step looked at."""
        of = "" if log.steps is None else f" of {log.steps} ({100 * log.step / log.steps:.0f} %)"
        line = [f"step {log.step}{of}"]
        if log.seconds is not None:
            line.append(f"{_span(log.seconds)} trained")
            if log.steps and 0 < log.step < log.steps:
                left = log.seconds / log.step * (log.steps - log.step)
                line.append(f"about {_span(left)} to go")
        written = _span(max(0.0, time.time() - self._stamp[1]))
        line.append("all steps are taken" if log.done else f"written {written} ago")
        row = _row_at(log.training, self.controls["step"].value)
        cells = [[str(n), f"{value:.4g}"] for n, value in row.items() if n != "step"]
        return " · ".join(line) + base.table(f"At step {int(row['step'])}", ["", ""], cells)


def _curves(title: str, log: Log, columns: list[str], smooth: int) -> Chart:
    """Columns over steps: every value pale, their running mean dark, over `smooth` % of the steps;
    losses, which have no bounds, on a logarithmic axis where all are positive.
    """
    chart = Chart(SIZE, BOX, title=title, below="step")
    axes, table = chart.axes, _thin(log.training[["step", *columns]])
    columns = [name for name in columns if table[name].fillna(0).any()] or columns
    span = max(1, round(len(table) * smooth / 100))
    for name, tone in zip(columns, TONES):
        axes.plot(table["step"], table[name], color=tone, alpha=0.35, linewidth=0.8)
        mean = table[name].rolling(span, min_periods=1, center=True).mean()
        axes.plot(table["step"], mean, color=tone, linewidth=1.8, label=name.replace("_", " "))
    values = table[columns].to_numpy()[np.isfinite(table[columns])]
    if title == LOSSES and values.min(initial=1) > 0:
        axes.set_yscale("log")
        narrow = values.max(initial=0) < 10 * values.min(initial=1)
        axes.yaxis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:.4g}")
        axes.minorticks_off()
    axes.set_xlim(0, max(1, log.step))
    chart.name_lines()
    return chart


def _validation(log: Log, measure: str) -> Chart:
    """A measure over steps, with a ring at its best."""
    table = log.validation.dropna(subset=["step", measure])
    label, more = label_of(measure)
    title = f"Validation: {label}, {'higher' if more else 'lower'} is better"
    chart = Chart(SIZE, BOX, title=title, below="step")
    chart.axes.plot(table["step"], table[measure], color=TONES[0], linewidth=1.8)
    chart.axes.set_xlim(0, max(1, log.step))
    if len(table):
        best = table.iloc[int(table[measure].argmax() if more else table[measure].argmin())]
        ring = chart.axes.scatter(best["step"], best[measure], 70, label="best", zorder=3)
        ring.set(facecolor="none", edgecolor=INK)
        chart.name_lines()
    return chart


def _row_at(table: pd.DataFrame, step: int) -> pd.Series:
    """The row that holds a step: the first that ends with it or later."""
    return table.iloc[min(int(np.searchsorted(table["step"], step)), len(table) - 1)]


def _thin(table: pd.DataFrame) -> pd.DataFrame:
    """Long tables as means of blocks of rows: no screen shows more."""
    block = max(1, -(-len(table) // POINTS))
    return table.astype(float).groupby(np.arange(len(table)) // block).mean()


def _span(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return plural(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"
