"""One run at a time in a folder: who runs there now, by a lock that ends with its process."""

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from medsr_lib.series import report

NAME = ".lock"
HOLDER = ".lock.json"  # a locked file cannot be read everywhere


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs; the folder is made.

    The lock is the operating system's: whatever ends its process, it is free. The same thread may
    hold a folder several times.

    Raises:
        ValueError: another one holds it; the message says which process, where and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / NAME, timeout=0, is_singleton=True)
    first = not lock.is_locked
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{folder} is in use by {_holder(folder)}; wait until it has ended, stop it, or give "
            "another --out"
        ) from None
    try:
        if first:
            about = {"pid": os.getpid(), "host": socket.gethostname(), "since": report.now()}
            report.save(folder / HOLDER, about | {"command": shlex.join(sys.argv)[:200]})
        yield
    finally:
        if first:
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    """Who holds a folder, as far as it is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return "process {pid} on {host} since {since} ({command})".format_map(about)
    return "another process"
