"""The rows of a history as columns, one value per capture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError

NUMBERS = int | float | np.integer | np.floating

SPARSEST = 20
"""Cells of a table for each value at most."""


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Return each numeric column of the rows, shape (captures,), NaN where a row has no number.

    Example:
        >>> columns_of([{"iteration": 0, "snr": 2.0}, {"iteration": 10, "snr": None}])["snr"].tolist()
        [2.0, nan]
    """
    rows = list(rows)
    names = dict.fromkeys(
        name for row in rows for name, value in row.items() if value is None or isinstance(value, NUMBERS)
    )
    check_table(len(rows), len(names), sum(map(len, rows)))
    return {name: np.asarray([number_of(row.get(name)) for row in rows], dtype=np.float64) for name in names}


def recorded_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return each numeric column of the rows as the detector takes it: None where a row lacks it, NaN for null.

    Example:
        >>> recorded_columns([{"iteration": 0, "snr": 2.0}, {"iteration": 10, "snr": None}, {"iteration": 20}])["snr"]
        [2.0, nan, None]
    """
    rows = list(rows)
    return {name: [number_of(row[name]) if name in row else None for row in rows] for name in columns_of(rows)}


def check_table(rows: int, names: int, values: int) -> None:
    """Refuse a table that is far larger than the values that are to be put into it.

    Raises:
        InputError: if so: every row has columns of its own.

    Example:
        >>> check_table(rows=1_000_000, names=50, values=20_000_000)
    """
    if rows * names > max(SPARSEST * values, 10_000_000):
        raise InputError("history", received=f"{names} columns in {rows} rows", expected="rows with the same columns")


def number_of(value: object) -> float:
    """Return what a row says as a number, NaN for null and what is none.

    Example:
        >>> number_of(2), number_of(None), number_of("2")
        (2.0, nan, nan)
    """
    try:
        return float(value) if isinstance(value, NUMBERS) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan
