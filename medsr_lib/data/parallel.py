"""Work that threads can share: decoding pictures, where Pillow releases Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

AHEAD = 4  # results a thread may be ahead of the reader: what is held in memory at once


def ordered(
    function: Callable[[A], B], items: Iterable[A], *, workers: int | None = None
) -> Iterator[B]:
    """`map(function, items)` by several threads, results in the order of the items.

    An exception of `function` appears where its result would; what was not begun is then dropped.

    Args:
        function: called in a thread.
        items: one call each, taken as the results are read.
        workers: how many threads; as many as there are processor cores where it is None.

    Raises:
        ValueError: fewer than one worker.

    >>> list(ordered(abs, [-3, -2, 1], workers=2))
    [3, 2, 1]
    """
    workers = cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[B]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def cores() -> int:
    """Processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
