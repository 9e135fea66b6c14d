"""What counts as a number in an argument: True and False do not."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Return whether a value is an integer, Python's or numpy's, of at least so much.

    Example:
        >>> is_whole(3), is_whole(np.int64(3)), is_whole(3.0), is_whole(True), is_whole(1, least=2)
        (True, True, False, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite real number, Python's or numpy's.

    Example:
        >>> is_number(0.5), is_number(np.float32(2)), is_number(math.nan), is_number(True), is_number("1")
        (True, True, False, False, False)
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and math.isfinite(value)  # type: ignore[arg-type]


def plain_number(value: Any) -> Any:
    """Return a number of numpy as Python's, which is written as it is read, and anything else as it is.

    Example:
        >>> plain_number(np.float64(0.5)), plain_number(np.int64(2)), plain_number(2), plain_number("x")
        (0.5, 2, 2, 'x')
    """
    if isinstance(value, np.floating):
        return float(value)
    return int(value) if isinstance(value, np.integer) else value
