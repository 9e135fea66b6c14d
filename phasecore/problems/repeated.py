"""Measurements at places: several at one place belong together, as the place alone does not tell which is which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError

Floats = NDArray[np.float64]


def parts_by_place(points: Floats, count: int) -> list[Floats]:
    """Cut points into parts, each with all that is at its places, in the order of the points.

    Args:
        points: shape (m, dimension).
        count: number of parts.

    Example:
        >>> places = np.asarray([[0.0], [1.0], [0.0], [2.0]])
        >>> [part[:, 0].tolist() for part in parts_by_place(places, 2)]
        [[0.0, 1.0, 0.0], [2.0]]
    """
    numbers: dict[bytes, int] = {}
    place = np.asarray([numbers.setdefault(name, len(numbers)) for name in _names(points)])
    return [points[np.isin(place, own)] for own in np.array_split(np.arange(len(numbers)), count)]


def rows_of(term: str, asked: NDArray[Any], own: NDArray[Any]) -> list[int] | None:
    """Return which measurements are asked for, several at one place in their order; None for all, as they are.

    Args:
        term: of the data.
        asked: places in any order, shape (k, dimension).
        own: where something was measured, shape (m, dimension).

    Raises:
        InputError: for places where nothing was measured, and for a part of what was measured at one.

    Example:
        >>> places = np.asarray([[0.0], [1.0], [0.0], [2.0]])
        >>> rows_of("seen", places[[3, 0, 2]], places)
        [3, 0, 2]
    """
    asked, own = asked.astype(np.float32), own.astype(np.float32)
    if np.array_equal(asked, own):
        return None
    names, rows = _names(asked), dict[bytes, list[int]]()
    for row, name in enumerate(_names(own)):
        rows.setdefault(name, []).append(row)
    unknown = sum(name not in rows for name in names)
    torn = sum(1 < len(rows.get(name, ())) != times for name, times in Counter(names).items())
    if unknown or torn:
        raise InputError(
            f"points of the data in term {term!r}",
            received=f"{unknown} of {len(names)} that are none of its points"
            if unknown
            else f"{torn} places with a part of what was measured there",
            expected="its own points, in any order, or some of them, with all that was measured at a place",
            fix="" if unknown else "Cut them with phasecore.problems.part_of().",
        )
    waiting = {name: iter(found) for name, found in rows.items()}
    return [next(waiting[name]) if len(rows[name]) > 1 else rows[name][0] for name in names]


def _names(points: NDArray[Any]) -> list[bytes]:
    """What tells places apart, in single precision, as frameworks may have them."""
    return [place.tobytes() for place in points.astype(np.float32) + np.float32(0)]
