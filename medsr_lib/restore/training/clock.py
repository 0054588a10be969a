"""A session's time: how long things take, and whether there is enough left for another step."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

_IMPORTED = time.time()


def session_age() -> float:
    """Seconds since the session began."""
    return max(0.0, time.time() - started())


def started() -> float:
    """When the session began, in seconds since 1970.

    That is when this process was started (of a notebook: its kernel). Without psutil (extra
    `notebooks`) it is when this module was imported, a few seconds later.
    """
    try:
        import psutil
    except ImportError:
        return _IMPORTED
    return float(psutil.Process().create_time())


class Clock:
    """Knows how long things take, and whether there is time for another step.

    Args:
        hours: of the session, counted from its start (see `started`); None for no limit.
        reserve: seconds of them to be kept for what comes afterwards.

    Raises:
        ValueError: hours that are not positive.
    """

    def __init__(self, hours: float | None, reserve: float = 0.0) -> None:
        if hours is not None and not hours > 0:
            raise ValueError(f"hours must be positive, or None for no limit; got {hours}")
        self.start = time.monotonic()
        self.limit = math.inf if hours is None else hours * 3600 - session_age() - reserve
        self.longest = {"step": 0.0, "validate": 0.0, "save": 0.0}
        self.total = dict.fromkeys(self.longest, 0.0)
        self.last: dict[str, float] = {}

    def elapsed(self) -> float:
        """Seconds since this clock was made."""
        return time.monotonic() - self.start

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Time the block."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.longest[what] = max(self.longest[what], seconds)
        self.total[what] += seconds

    def has_time_left(self, steps: int = 1) -> bool:
        """Whether so many steps, a validation and a save fit in, each as long as the longest."""
        kept = self.longest["step"] * (steps - 1) + sum(self.longest.values())
        return self.elapsed() + kept < self.limit

    def is_due(self, what: str, seconds: float) -> bool:
        """True once every so many seconds, first when that many have passed."""
        now = time.monotonic()
        if now - self.last.setdefault(what, self.start) < seconds:
            return False
        self.last[what] = now
        return True

    def share(self, what: str) -> float:
        """Share of the time since the start that went into `what`."""
        return self.total[what] / max(self.elapsed(), 1e-9)
