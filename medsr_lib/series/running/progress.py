"""What a terminal, or a log, shows while notebooks run."""

import re
import shutil
import sys
import threading
from typing import Self

from tqdm import tqdm

from medsr_lib.series.outputs import ESCAPES


class Log:
    """A line when a notebook starts and a line when it ends.

    It is also the file that a notebook's stderr goes to, whose progress bars a log does not show.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def start(self, notebook: str, cells: int) -> None:
        """`notebook` begins; it has `cells` code cells."""
        self.end(f"{notebook}  started, {cells} cells")

    def cell(self, number: int, source: str) -> None:
        """Code cell `number`, counted from 1, begins; a line of its code is `source`."""

    def end(self, message: str) -> None:
        """The notebook has ended as `message` says."""
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    def write(self, text: str) -> object:
        """A running cell wrote to stderr: a progress bar or a warning."""

    def flush(self) -> None:
        """Nothing is held back."""


class Terminal(Log):
    """Two lines that stay: the series and its clock, and below what the running cell writes."""

    def __init__(self, cells: int):
        self._series = tqdm(
            total=cells,
            bar_format="{desc} {bar} {percentage:3.0f}% {elapsed}",
            position=0,
            leave=False,
            dynamic_ncols=True,
        )
        self._inner = tqdm(total=0, bar_format="{desc}", position=1, leave=False)
        self._notebook, self._cells, self._done = "", 0, 0
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._clock.join(timeout=2)
        self._inner.close()
        self._series.close()

    def start(self, notebook: str, cells: int) -> None:
        """Name the notebook on the first line."""
        self._notebook, self._cells = notebook, cells
        self._done = int(self._series.n)
        self._series.set_description_str(f"{notebook}  starting")
        self._show("")

    def cell(self, number: int, source: str) -> None:
        """Name the cell on the first line, show its first line of code on the second."""
        self._series.n = self._done + number - 1
        self._series.set_description_str(f"{self._notebook}  cell {number}/{self._cells}")
        self._show(source)

    def end(self, message: str) -> None:
        """Leave one line about the notebook above the bars."""
        self._series.n = self._done + self._cells
        self._show("")
        self._series.write(message, file=sys.stderr)

    def write(self, text: str) -> object:
        """Show the newest line of what the cell wrote."""
        pieces = [piece.strip() for piece in re.split(r"[\r\n]", ESCAPES.sub("", text))]
        if shown := [piece for piece in pieces if piece]:
            self._show(shown[-1])
        return len(text)

    def _show(self, text: str) -> None:
        width = shutil.get_terminal_size().columns
        self._inner.set_description_str(text[: width - 1])

    def _tick(self) -> None:
        while not self._stop.wait(1):
            self._series.refresh()


def watch(cells: int) -> Log:
    """Bars on a terminal, lines in a log."""
    return Terminal(cells) if sys.stderr.isatty() else Log()
