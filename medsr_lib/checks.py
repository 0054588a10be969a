"""Numbers, names and tables that people give: refused at the door, with what was got."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
        ValueError: names the argument, its least value and what was got.

    >>> whole("steps", 3, least=1)
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def positive(name: str, value: object) -> None:
    """Refuse what is not a finite number above 0.

    Raises:
        ValueError: names the argument and what was got.
    """
    if not 0 < _number(value) < math.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}")


def share(name: str, value: object) -> None:
    """Refuse what is not a number between 0 and 1, such as a level of 95.

    Raises:
        ValueError: names the argument and what was got.
    """
    if not 0 < _number(value) < 1:
        raise ValueError(f"{name} must be between 0 and 1, such as 0.95 for 95 %, got {value!r}")


def finite(name: str, values: ArrayLike, *, ndim: int | None = None) -> NDArray[np.float64]:
    """Numbers as float64, in their shape; refuse NaN, infinite ones, and what is no number.

    Raises:
        ValueError: names the argument and how many are not finite; or another number of dimensions
            than `ndim`.

    >>> finite("scores", [1, 2.5])
    array([1. , 2.5])
    """
    try:
        numbers = np.asarray(values if np.isrealobj(values) else None, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, got {_some(values)}") from None
    if ndim not in (None, numbers.ndim):
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {numbers.shape}")
    if bad := int((~np.isfinite(numbers)).sum()):
        raise ValueError(
            f"{name} must be finite, but hold NaN or infinite values ({bad} of {numbers.size}); "
            "leave these out, and count them"
        )
    return numbers


def binary(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """True and false, or 1 and 0, as bool; refuse all else, such as NaN, 0.4 and "x".

    Raises:
        ValueError: names the argument and the first that is neither.

    >>> binary("positive", [1, 0.0, True])
    array([ True, False,  True])
    """
    plain = np.asarray(values)
    if plain.dtype == bool:
        return plain
    of = pd.Series(plain.ravel(), dtype=object)
    fits = of.map(
        lambda x: isinstance(x, bool | int | float | np.bool_ | np.number) and x in (0, 1)
    )
    if not fits.all():
        raise ValueError(
            f"{name} must be true or false (1 or 0), got {of[~fits.astype(bool)].iloc[0]!r}"
        )
    return np.asarray(of.astype(bool), bool).reshape(plain.shape)


def groups(name: str, values: ArrayLike, *, n: int) -> NDArray[Any]:
    """Whose each of n cases is, as (n,); refuse another length, and names that are missing.

    Raises:
        ValueError: names the argument and what was got.
    """
    named = np.asarray(values)
    if named.shape != (n,):
        raise ValueError(f"{name} must have one length with the rest, {n}, got {named.shape}")
    missing = pd.isna(np.asarray(values, object))
    if missing.any():
        raise ValueError(f"{name} must name every case, but {missing.sum()} of {n} have no name")
    return named


def columns(table: pd.DataFrame, *names: str, numbers: Sequence[str] = ()) -> None:
    """Refuse a table that lacks a column, or has other than numbers where these are needed.

    Raises:
        TypeError: not a table.
        ValueError: names the column, and those that are there.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"expected a table (pandas DataFrame), got {type(table).__name__}")
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(table.columns)}")
    there = table.select_dtypes(["number", "bool"]).columns.tolist()
    if missing := [name for name in numbers if name not in there]:
        raise ValueError(f"no metric {missing[0]!r} in the table; its numbers are {there}")


def _number(value: Any) -> float:
    """As float; NaN for what is no number."""
    try:
        return math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _some(values: ArrayLike) -> str:
    text = repr(values)
    return text if len(text) < 80 else f"{text[:80]} ..."
