"""Times things side by side, in turns, so that whatever else the machine does meets all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def side_by_side(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median milliseconds of each function; one round first that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if round_:
                taken[name].append(1000 * (clock() - start))
    return {name: statistics.median(values) for name, values in taken.items()}


def show(title: str, milliseconds: Mapping[str, float]) -> None:
    """Print a line per function, with its ratio to the first."""
    print(title)
    first = next(iter(milliseconds.values()))
    for name, value in milliseconds.items():
        print(f"  {name:<42} {value:10.3f} ms  {value / first:8.2f} x")
