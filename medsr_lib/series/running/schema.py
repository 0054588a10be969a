"""What the files of a run must hold, and the first place in one that holds something else."""

import json
from pathlib import Path
from typing import Any

DEEPEST = 12  # of lists within lists
LARGEST = 1e300

NUMBER = (int, float, None)
VERDICT = {"method": str, "metric": (str, None), "words": (str, None), "reason": (str, None)}
VALUES: dict[str, Any] = {  # of results.json those that are more than shown
    "answer": (str, None),
    "headlines": ({str: object}, None),
    "methods": ({str: dict}, [object], None),
    "table": ([{"method": (str, None), "region": (str, None)}], None),
    "verdicts": ([VERDICT | {"value": NUMBER, "low": NUMBER, "high": NUMBER}], None),
}
RECORD: dict[str, Any] = {
    "notebook": (str, None),
    "created": (str, None),
    "versions": ({str: str}, None),
    "values": {str: object},
    "figures": ([{"file": str, "caption": str}], None),
}
RESULT = {
    **{"notebook": str, "status": str},
    **dict.fromkeys(("title", "question", "digest", "content", "error", "source"), (str, None)),
    **{"seconds": NUMBER, "cell": (int, None)},
    **{"parameters": ({str: object}, None), "changed": ([str], None)},
}
RUN = {
    **{"command": (str, None), "created": (str, None), "versions": ({str: str}, None)},
    **{"data": ([str], None), "without": ([str], None), "notebooks": [RESULT]},
    "inputs": ({str: str}, None),
}


def load(path: Path) -> dict[str, Any]:
    """The named values in a JSON file.

    Raises:
        OSError: it cannot be opened.
        ValueError: it holds something else; the message says what.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"not named values, but {_short(found)}")
    return found


def mismatch(found: object, kind: Any, where: str) -> str:
    """Where a value is of another kind, and what is there; "" where all fits.

    A kind is a type or None; a tuple of kinds, of which one must fit; [kind] for the items of a
    list; {str: kind} for all that a dict holds; {name: kind} for some of it.
    """
    if isinstance(kind, tuple):
        tried = [mismatch(found, one, where) for one in kind]
        return "" if "" in tried else tried[0]
    inside: list[tuple[object, Any, str]] = []
    if isinstance(kind, list) and isinstance(found, list):
        inside = [(one, kind[0], f"{where}[{n}]") for n, one in enumerate(found)]
    elif isinstance(kind, dict) and isinstance(found, dict):
        fields = dict.fromkeys(found, kind[str]) if str in kind else kind
        inside = [
            (found.get(name), of, f"{where}.{name}".lstrip(".")) for name, of in fields.items()
        ]
    elif kind is None or not isinstance(kind, type):
        return "" if kind is None and found is None else f"{where} cannot be {_short(found)}"
    elif not isinstance(found, kind) or (isinstance(found, bool) and kind in (int, float)):
        return f"{where} cannot be {_short(found)}"
    return next((wrong for one in inside if (wrong := mismatch(*one))), "") or _unsound(
        found, where
    )


def _unsound(found: object, where: str, depth: int = 0) -> str:
    """Where a value holds what no file of a run does: NaN, huge numbers, lists without end."""
    if depth > DEEPEST:
        return f"{where} has too many lists within lists"
    if isinstance(found, int | float) and not abs(found) < LARGEST:
        return f"{where} cannot be {_short(found)}"
    inside: Any = found.items() if isinstance(found, dict) else []
    inside = enumerate(found) if isinstance(found, list) else inside
    return next((w for n, one in inside if (w := _unsound(one, f"{where}[{n!r}]", depth + 1))), "")


def _short(found: object) -> str:
    text = repr(found) if not isinstance(found, dict | list) else type(found).__name__
    return text if len(text) < 60 else f"{text[:60]} ..."
