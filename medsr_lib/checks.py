"""Numbers that people give: refused at the door, with what was got."""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
        ValueError: names the argument, its least value and what was got.

    >>> whole("steps", 3, least=1)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0.

    Raises:
        ValueError: names the argument and what was got.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")


def finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Numbers as float64, in their shape; refuse NaN, infinite ones, and what is no number.

    Raises:
        ValueError: names the argument and how many are not finite.

    >>> finite("scores", [1, 2.5])
    array([1. , 2.5])
    """
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, got {_some(values)}") from None
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


def _some(values: ArrayLike) -> str:
    text = repr(values)
    return text if len(text) < 80 else f"{text[:80]} ..."
