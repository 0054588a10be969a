"""Code in a process of its own, in which torch and pandas are loaded: they take three seconds."""

import io
import multiprocessing
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

LOADED = ["torch", "pandas", "scipy.ndimage", "scipy.stats", "sklearn.metrics", "h5py"]


class Done(NamedTuple):
    """What a process left: how it failed ("" if it did not), and what it printed."""

    error: str
    out: str


def run(code: str, *arguments: object, folder: Path | None = None) -> Done:
    """Run code as `python -c` would in a folder, with sys.argv; nothing of ours is loaded there."""
    here, there = _context().Pipe(duplex=False)
    process = _context().Process(target=_run, args=(there, code, [*map(str, arguments)], folder))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        process.join()
        return Done(f"it ended with exit code {process.exitcode}", "")
    finally:
        process.join()


@cache
def _context():
    """Processes are forked off one that was started anew and has loaded this and done nothing."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def _run(said: Connection, code: str, arguments: list[str], folder: Path | None) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "medsr_lib"]:
        del sys.modules[name]  # another test may have had it loaded
    os.chdir(folder or Path.cwd())
    sys.argv, sys.path[:0] = ["-c", *arguments], [str(folder or "")]
    error, text = "", io.StringIO()
    with redirect_stdout(text), redirect_stderr(io.StringIO()):
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            error = traceback.format_exc()
    said.send(Done(error, text.getvalue()))
