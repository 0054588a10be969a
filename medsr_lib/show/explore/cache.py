"""What was computed once is kept, as long as all of it takes no more than half a gigabyte."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")
LIMIT = 512 * 2**20


class Cache:
    """Values by key; when they take more than `limit` bytes, those not used longest go.

    >>> import numpy as np
    >>> cache = Cache(limit=1000)
    >>> cache.get("a", lambda: np.zeros(100)).shape, cache.bytes
    ((100,), 800)
    >>> cache.get("b", lambda: np.zeros(50)).shape, cache.bytes, "a" in cache
    ((50,), 400, False)
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.bytes = limit, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if it is not there; one above the limit is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                value: T = self._values[key][0]
                return value
        value = make()
        size = weight(value)
        with self._lock:
            if size <= self.limit and key not in self._values:
                self._values[key] = (value, size)
                self.bytes += size
                while self.bytes > self.limit:
                    self.bytes -= self._values.popitem(last=False)[1][1]
        return value

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def drop(self, owner: Hashable) -> None:
        """Forget the keys that are tuples beginning with `owner`."""
        with self._lock:
            for key in [k for k in self._values if isinstance(k, tuple) and k[0] == owner]:
                self.bytes -= self._values.pop(key)[1]


def weight(value: object) -> int:
    """Bytes of the arrays and tensors in a value and in what it holds; 64 for anything else."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return 64 + sum(weight(of) for of in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return 64 + sum(weight(of) for of in value)
    return 64


SHARED = Cache()
"""One for all explorers of a process, so that the bound is one on all of them."""
