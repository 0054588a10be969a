"""Compare the numbers that two runs recorded: `same_numbers.py BEFORE AFTER [old=new ...]`.

Every number of every `results.json` in the two folders is compared by its place in the file;
`old=new` renames a key of the first run. Times are left out. For a change of the code that should
change no number.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

TIMES = {"seconds", "step_share", "milliseconds", "versions", "started", "finished"}


def numbers(value: object, renamed: dict[str, str], place: str = "") -> Iterator[tuple[str, float]]:
    """Place and value of every number."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in TIMES:
                yield from numbers(inner, renamed, f"{place}/{renamed.get(key, key)}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers(inner, renamed, f"{place}/{i}")
    elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield place, math.nan if value is None else float(value)


def compare(before: Path, after: Path, renamed: dict[str, str]) -> bool:
    """Print what differs in one file; whether nothing does."""
    a, b = (
        dict(numbers(json.loads(path.read_text()), names))
        for path, names in ((before, renamed), (after, {}))
    )
    other = {
        place: (a[place], b[place])
        for place in a.keys() & b.keys()
        if not (math.isnan(a[place]) and math.isnan(b[place]))
        and not math.isclose(a[place], b[place], rel_tol=1e-5, abs_tol=1e-9)
    }
    print(f"{after.parent.name}: {len(a)} numbers before, {len(b)} after, {len(other)} differ")
    for place, (x, y) in sorted(other.items()):
        print(f"  {place}: {x:.8g} -> {y:.8g}")
    for names, word in ((a.keys() - b.keys(), "only before"), (b.keys() - a.keys(), "only after")):
        if names:
            print(f"  {word}: {len(names)}, such as {', '.join(sorted(names)[:8])}")
    return not other and a.keys() == b.keys()


def main(arguments: list[str]) -> int:
    """0 where all numbers are the same."""
    before, after, *rest = arguments
    renamed = dict(pair.split("=") for pair in rest)
    files = sorted(Path(before).glob("*/results.json"))
    if not files:
        print(f"{before}: no folder with a results.json in it")
        return 2
    same = [compare(p, Path(after) / p.parent.name / p.name, renamed) for p in files]
    return int(not all(same))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
