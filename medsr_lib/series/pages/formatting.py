"""Recorded values as people read them: numbers, estimates with their intervals, tables."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

CENTRES = ("value", "d")  # the first of these is what an interval belongs to
ENDS = ("low", "high")
UNSHOWN = ("low90", "high90", "skewness")  # stay in results.json
ABBREVIATIONS = {word: word.upper() for word in ("psnr", "ssim", "mse", "auc", "hr", "lr")}
ABBREVIATIONS["dice"] = "Dice"
THINGS = ("cases", "slices", "images")  # what is counted beside patients
LONGEST = 24  # rows that a page shows of a table
WIDEST = 6  # columns; of a wider table those that are the same in all rows are left out
OWN_N = re.compile(r"\d+ (\w+ ){0,2}(slice|image|case|patient|radiograph)s?\b|(Slice|Radiograph) ")
ITEMS = 12  # of a list that is shown


def value(found: object) -> str:
    """One recorded value as text.

    >>> value({"value": 0.5, "low": 0.25, "high": 0.75, "p": 0.00002})
    '0.50 (0.25 to 0.75), p < 0.001'
    """
    if found is None:
        return "–"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float):
        return _minus(f"{found:.4g}")
    if isinstance(found, list):
        more = f", … ({len(found)})" if len(found) > ITEMS else ""
        return (", ".join(map(value, found[:ITEMS])) or "none") + more
    if is_estimate(found):
        patients = f"n = {found['patients']} patients" if found.get("patients") else ""
        return ", ".join(filter(None, [interval(found), p_value(found.get("p")), patients]))
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {value(one)}" for name, one in found.items())
    return str(found)


def is_estimate(found: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a number with its interval."""
    return isinstance(found, Mapping) and centre(found) != ""


def centre(found: Mapping[str, Any]) -> str:
    """The name of the number that an interval belongs to; "" where there is no interval."""
    return next((name for name in CENTRES if found.keys() >= {name, *ENDS}), "")


def interval(found: Mapping[str, Any], *, sign: str = "") -> str:
    """A number with its interval, in the decimals that two digits of the interval's width have.

    >>> interval({"value": 1.45, "low": -1.3671, "high": 1.5}, sign="+")  # a difference
    '+1.4 (−1.4 to +1.5)'
    """
    numbers = [found[name] for name in (centre(found), *ENDS)]
    try:
        decimals = max(0, 1 - math.floor(math.log10(found["high"] - found["low"])))
        texts = [_minus(f"{number:{sign}.{decimals}f}") for number in numbers]
    except (TypeError, ValueError):  # no interval, or none of numbers
        texts = [value(number) for number in numbers]
    return texts[0] if found["low"] is None else f"{texts[0]} ({texts[1]} to {texts[2]})"


def p_value(p: float | None) -> str:
    """A p value as papers write it.

    >>> p_value(0.00002), p_value(0.03), p_value(None)
    ('p < 0.001', 'p = 0.03', '')
    """
    if not isinstance(p, int | float):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def count(values: Mapping[str, Any]) -> str:
    """How many slices or images of how many patients the values come from.

    >>> count({"slices": 227, "patients": 113})
    '227 slices of 113 patients'
    """
    for prefix, things in itertools.product(("test_", ""), THINGS):
        if isinstance(number := values.get(prefix + things), int):
            patients = values.get(prefix + "patients")
            of = f" of {patients} patients" if isinstance(patients, int) else ""
            return f"{number} {prefix.replace('_', ' ')}{things}{of}"
    return ""


def behind(figure: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """How many images are behind a figure, as far as its caption does not say it."""
    if OWN_N.search(figure["caption"]):
        return ""
    notebook = count(values)
    return f"n: {figure['n']}" if figure.get("n") else notebook and f"this notebook: {notebook}"


def label(name: str) -> str:
    """A recorded name as a heading: `spelt`, with a capital."""
    text = spelt(name)
    return text[:1].upper() + text[1:]


def spelt(name: str) -> str:
    """A recorded name without underscores, its abbreviations in capitals.

    >>> spelt("gain_psnr")
    'gain PSNR'
    """
    words = name.replace("_", " ").split()
    return " ".join(ABBREVIATIONS.get(word, word) for word in words)


def duration(seconds: float | None) -> str:
    """A time as people say it.

    >>> duration(3.21), duration(133)
    ('3.2 s', '2 min 13 s')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded values by how they are shown: counts, single values, tables."""
    kept = {name: found for name, found in values.items() if name != "headlines"}
    tables = {name: rows for name, found in kept.items() if (rows := as_rows(found))}
    counted = [n for n in kept if n in ("patients", *THINGS) and isinstance(kept[n], int)]
    return {
        "counts": [f"{kept[name]} {name}" for name in counted],
        "single": {n: kept[n] for n in kept if n not in counted and n not in tables},
        "tables": tables,
    }


def as_rows(found: object) -> list[dict[str, Any]]:
    """The rows of what is a table: a list of rows, or named estimates; [] of anything else."""
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return found
    if not isinstance(found, dict) or not found or is_estimate(found):
        return []
    named = all(isinstance(row, dict) for row in found.values())
    return [{"": name} | row for name, row in found.items()] if named else []


def table(
    rows: Sequence[Mapping[str, Any]], *, longest: int = LONGEST, estimate: str = ""
) -> dict[str, list[Any]]:
    """The first `longest` rows as text, the heads of the columns, and which to align on the right;
    `same` says what is the same in all rows of a wide table.

    Estimates are in one column with their intervals, headed `estimate` or as in the rows; so are
    means with their SD. The numbers of a column have the same number of decimals. What is empty is
    left out.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = centre(rows[0])
    merged = {*UNSHOWN, *(f"{n}_sd" for n in names), *(ENDS if found else ())}
    shown = [n for n in names if n not in merged and any(r.get(n) is not None for r in rows)]
    one, own = rows[0], ("", "method", "p", found)
    narrow = len(shown) <= WIDEST or len(rows) == 1
    equal = [] if narrow else [n for n in shown if all(r.get(n) == one.get(n) for r in rows)]
    same = [f"{spelt(n)} {spelt(value(one[n]))}" for n in equal if n not in own and one[n]]
    shown = sorted([n for n in shown if n not in equal or n in own], key="method".__ne__)
    first = rows[:longest]
    columns = [_column(first, name, found) for name in shown]
    heads = [f"{estimate or spelt(n)} (95 % interval)" if n == found else spelt(n) for n in shown]
    heads = [f"{h} (SD)" if f"{n}_sd" in names else h for h, n in zip(heads, shown)]
    numeric = [
        all(isinstance(row.get(n), int | float | None) for row in first) and n != "" for n in shown
    ]
    return {"columns": heads, "rows": list(zip(*columns)), "numeric": numeric, "same": same}


def _column(rows: Sequence[Mapping[str, Any]], name: str, centre: str) -> list[str]:
    values = [row.get(name) for row in rows]
    if name in ("p", "p_adjusted"):
        return [re.sub(r"^p (= )?", "", p_value(p)) or "–" for p in values]
    together = values + ([row.get(end) for row in rows for end in ENDS] if name == centre else [])
    sizes = [abs(v) for v in together if isinstance(v, float)]
    decimals = 4 - min(len(str(int(max(sizes)))), 4) if sizes and max(sizes) >= 1 else 4
    texts = [_number(v, decimals) for v in values]
    if name == centre:
        ends = [[_number(row.get(end), decimals) for end in ENDS] for row in rows]
        return [f"{t} ({low} to {high})" for t, (low, high) in zip(texts, ends)]
    spread = [row.get(f"{name}_sd") for row in rows]
    return [t if s is None else f"{t} ({_number(s, decimals)})" for t, s in zip(texts, spread)]


def _number(found: object, decimals: int) -> str:
    if not isinstance(found, float):
        return value(found)
    if decimals == 4 and found.is_integer():  # counts that met a gap in a table
        return str(int(found))
    text = f"{found:.{decimals}f}"
    return _minus(f"{found:.2g}" if found and not float(text) else text)


def _minus(number: str) -> str:
    return "−" + number[1:] if number[0] == "-" else number
