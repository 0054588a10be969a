"""A session's time: how long things take, and whether there is enough left for another step."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Knows how long things take, and whether there is time for another step."""

    def __init__(self, hours: float | None) -> None:
        if hours is not None and not hours > 0:
            raise ValueError(f"hours must be positive, or None for no limit; got {hours}")
        self.start = time.monotonic()
        self.limit = math.inf if hours is None else hours * 3600
        self.longest = {"step": 0.0, "validate": 0.0, "save": 0.0}
        self.total = dict.fromkeys(self.longest, 0.0)
        self.last: dict[str, float] = {}

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Time the block."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.longest[what] = max(self.longest[what], seconds)
        self.total[what] += seconds

    def has_time_left(self) -> bool:
        """Whether a step, a validation and a save fit in, each as long as the longest so far."""
        return self.elapsed() + sum(self.longest.values()) < self.limit

    def is_due(self, what: str, seconds: float) -> bool:
        """True once every so many seconds, first when that many have passed."""
        now = time.monotonic()
        if now - self.last.setdefault(what, self.start) < seconds:
            return False
        self.last[what] = now
        return True

    def share(self, what: str) -> float:
        """Of the time since the start."""
        return self.total[what] / max(self.elapsed(), 1e-9)
