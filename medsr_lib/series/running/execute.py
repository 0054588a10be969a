"""One notebook run by papermill in this interpreter, and what a terminal shows meanwhile."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from joblib import cpu_count
from tqdm import tqdm

from medsr_lib.data.phantom.files import Job, bar
from medsr_lib.series.notebook import INJECTED, Notebook, tags
from medsr_lib.series.outputs import ESCAPES

STOPPED = "KeyboardInterrupt: stopped by the user"
BAR = "{desc} {bar:20} {percentage:3.0f}% {elapsed}{postfix}"  # on a terminal; a log has lines


class Stop:
    """Ctrl-C while notebooks run: handed to the running cell, so that it can save what it has.

    A second one kills the kernel, a third one ends this process at once. A `KeyboardInterrupt`
    just anywhere in this process would leave kernels and locks behind.
    """

    def __init__(self) -> None:
        self.presses = 0  # of Ctrl-C
        self.managers: list[Any] = []  # of the kernels
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def follow(self, jobs: Collection[Job]) -> Iterator[Job]:
        """Go through jobs up to Ctrl-C, with a bar."""
        for job in bar(jobs):
            if self.presses:
                raise KeyboardInterrupt
            yield job

    def _pressed(self, *_: object) -> None:
        self.presses += 1
        if self.presses > 2:
            raise KeyboardInterrupt
        for manager in self.managers:  # from a loop of its own: theirs are busy
            threading.Thread(target=asyncio.run, args=(self._end(manager),), daemon=True).start()

    async def _end(self, manager: Any) -> None:
        if manager.has_kernel and self.presses == 1:
            await manager.interrupt_kernel()
        elif manager.has_kernel:
            await manager.provisioner.kill()


class Position:
    """Which code cell of a notebook is running: nbclient's hook `on_cell_start`.

    It is also the file of a notebook's stderr, whose newest line is shown beside the bar. A log has
    a line for the notebook's start instead.
    """

    def __init__(self, notebook: Notebook, stop: Stop, beside: int = 1):
        self.notebook = notebook
        self.stop = stop
        self.number = 0
        self.source = ""
        # Explorers leave a live viewer for the page, beside their still picture.
        self.environment = dict(os.environ) | {"MEDSR_FOR_PAGE": "1"}
        if beside > 1:  # kernels share the cores
            self.environment.setdefault("OMP_NUM_THREADS", str(max(1, cpu_count() // beside)))
        n = len(notebook.code)
        self.bar = tqdm(total=n, bar_format=BAR, disable=None, leave=False, dynamic_ncols=True)
        self.bar.set_description_str(f"{notebook.name}  starting")
        if self.bar.disable:
            self.bar.write(f"{notebook.name}  started, {n} cells", file=sys.stderr)

    def __call__(self, cell: Any, cell_index: int) -> None:
        """Count the code cells of the author, note the first line of each."""
        if self.stop.presses:
            raise RuntimeError(STOPPED)
        if cell.cell_type != "code" or INJECTED in tags(cell):
            return
        self.bar.update(self.number > 0)
        self.number += 1
        lines = [line for line in cell.source.splitlines() if line.strip()]
        self.source = next((line for line in lines if line[0] != "#"), lines[0] if lines else "")
        place = f"{self.notebook.name}  cell {self.number}/{len(self.notebook.code)}"
        self.bar.set_description_str(place, refresh=False)
        self.bar.set_postfix_str(self.source)

    def write(self, text: str) -> None:
        """A running cell wrote to stderr: a progress bar or a warning."""
        lines = [line.strip() for line in ESCAPES.sub("", text).splitlines()]
        if shown := [line for line in lines if line]:
            self.bar.set_postfix_str(shown[-1])

    def flush(self) -> None:
        """Nothing is held back."""


def execute(copy: Path, parameters: Mapping[str, object], position: Position) -> str | None:
    """Run the notebook at `position` into `copy`; the error that stopped it, None for none."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # It warns of annotations such as `int | None`, which it cannot read and sets all the same.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    try:
        papermill.execute_notebook(
            position.notebook.content,
            str(copy).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
            parameters=dict(parameters),
            language="python",
            kernel_name="python3",
            kernel_manager_class=_this_python(position),
            cwd=Path.cwd(),  # so that paths in parameters mean what they mean in the shell
            progress_bar=False,
            start_timeout=120,
            iopub_timeout=60,
            extra_arguments=["--log-level=CRITICAL"],  # it may log its own end as an interruption
            record_timing=False,
            on_cell_start=position,
            stderr_file=position,
        )
    except PapermillExecutionError as error:
        failed = f"{error.ename}: {error.evalue}"
    except RuntimeError as error:  # the kernel died
        failed = f"{type(error).__name__}: {error}"
    else:
        return None
    finally:
        position.bar.close()
    return STOPPED if position.stop.presses else failed


def _this_python(position: Position) -> type:
    """A kernel manager that starts this interpreter, whatever a user has installed as python3."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        def __init__(self, **options: Any):
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)
            position.stop.managers.append(self)

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            await super().start_kernel(**{"env": position.environment} | options)

    return ThisPython
