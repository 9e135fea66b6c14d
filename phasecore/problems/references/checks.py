"""Checks of the arguments that the reference solvers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError

Floats = NDArray[np.float64]


def check_number(what: str, value: float, *, zero: bool = False) -> float:
    """Return `value` as a float, if it is finite and positive (or zero, where allowed).

    Raises:
        InputError: otherwise.

    Example:
        >>> check_number("viscosity", 1)
        1.0
    """
    if not is_number(value) or value < 0 or (value == 0 and not zero):
        kind = "non-negative" if zero else "positive"
        raise InputError(what, received=repr(value), expected=f"a finite {kind} number")
    return float(value)


def check_count(what: str, value: int, *, least: int = 1) -> int:
    """Return `value` as an int, if it is an integer not below `least`.

    Raises:
        InputError: otherwise.

    Example:
        >>> check_count("modes", 512)
        512
    """
    if not is_whole(value, least):
        raise InputError(what, received=repr(value), expected=f"an integer of at least {least}")
    return int(value)


def check_points(what: str, points: ArrayLike, low: tuple[float, float], high: tuple[float, float]) -> Floats:
    """Return `points` as float64 of shape (n, 2), inside the box from `low` to `high` up to rounding.

    Raises:
        InputError: for another shape, for values that are not finite, and for points outside.

    Example:
        >>> check_points("points", [[0.5, 1.0]], (0, 0), (1, 1))
        array([[0.5, 1. ]])
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise InputError(what, received=f"shape {values.shape}", expected="shape (n, 2)")
    inside = (values >= np.asarray(low) - 1e-6) & (values <= np.asarray(high) + 1e-6)
    if not inside.all():
        row = int(np.flatnonzero(~inside.all(axis=1))[0])
        raise InputError(
            what, received=f"{values[row].tolist()} in row {row}", expected=f"points between {low} and {high}"
        )
    return np.clip(values, low, high)
