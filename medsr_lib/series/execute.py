"""One notebook through papermill: in this interpreter, told to the progress line cell by cell."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medsr_lib.series import clean
from medsr_lib.series.progress import Progress

STOPPED = "KeyboardInterrupt: stopped by the user"


class Position:
    """Which code cell of a notebook is running; told by nbclient's hook `on_cell_start`."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.number = 0
        self.source = ""

    def __call__(self, cell: Any, cell_index: int) -> None:
        """Count the code cells of the author, note the first line of each."""
        if cell.cell_type == "code" and clean.INJECTED not in clean.tags(cell):
            self.number += 1
            lines = [line for line in cell.source.splitlines() if line.strip()]
            self.source = next(
                (line for line in lines if line[0] != "#"), lines[0] if lines else ""
            )
            self.progress.cell(self.number, self.source)


def execute(
    path: Path,
    copy: Path,
    parameters: Mapping[str, object],
    position: Position,
    timeout: float | None,
) -> str | None:
    """Run `path` into `copy`; the error that stopped it, None for none."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        with _papermill_is_quiet():
            papermill.execute_notebook(
                clean.read(path),
                str(copy).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
                parameters=dict(parameters),
                language="python",
                kernel_name="python3",
                kernel_manager_class=_this_python(),
                cwd=path.parent,
                progress_bar=False,
                start_timeout=120,
                execution_timeout=timeout,
                iopub_timeout=60,
                extra_arguments=["--log-level=ERROR"],  # of the kernel itself, not of the notebook
                record_timing=False,
                on_cell_start=position,
                stderr_file=position.progress,
            )
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (RuntimeError, TimeoutError) as error:  # the kernel died, or a cell took too long
        return f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        return STOPPED
    return None


@contextmanager
def _papermill_is_quiet() -> Iterator[None]:
    """No log lines between the bars; papermill's errors reach us as exceptions.

    It warns of annotations such as `int | None`, which it cannot read and sets all the same.
    """
    logger = logging.getLogger("papermill")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _this_python() -> type:
    """A kernel manager that starts this interpreter, whatever a user has installed as python3."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        def __init__(self, **options: Any):
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)

    return ThisPython
