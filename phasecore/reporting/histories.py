"""What is drawn of a history: the captures that have a quantity, with a gap where it was measured and is no number.

A quantity that is captured less often than others leaves no gap: lines go on between the captures that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 0.06
"""Width, in decades of iterations, of the running median drawn over the recorded values."""


def curve_of(columns: Mapping[str, Sequence[float | None] | Floats], name: str) -> tuple[Floats, Floats]:
    """Return iterations and values of the captures that have a quantity, from the first iteration on.

    Args:
        columns: the history, each column of shape (captures,): None where a capture lacks a quantity, NaN or infinite
            where it was measured and is no number.
        name: of the column.

    Returns:
        Both of shape (captures that have it,), the values NaN where they are no numbers; empty if no capture has any.

    Example:
        >>> iteration, values = curve_of({"iteration": [0, 1, 2, 3], "snr": [9.0, 4.0, None, np.inf]}, "snr")
        >>> iteration.tolist(), values.tolist()
        ([1.0, 3.0], [4.0, nan])
    """
    if name not in columns or "iteration" not in columns:
        return np.empty(0), np.empty(0)
    return captures_with(
        np.asarray(columns["iteration"], dtype=np.float64),
        np.array(columns[name], dtype=np.float64),
        np.asarray([value is not None for value in columns[name]], dtype=np.bool_),
    )


def captures_with(iteration: Floats, values: Floats, has: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the captures that have a quantity, from the first iteration on, in order; NaN where it is no number.

    Args:
        iteration: shape (captures,); that of a history which somebody has put together may go backwards.
        values: likewise.
        has: which captures have the quantity, likewise.
    """
    kept = np.flatnonzero(has & (iteration >= 1))
    kept = kept[np.argsort(iteration[kept], kind="stable")]
    return iteration[kept], np.where(np.isfinite(values[kept]), values[kept], np.nan)


def on_scale(values: Floats, scale: str) -> Floats:
    """Return values with NaN in place of what a scale cannot show.

    Args:
        values: of any shape.
        scale: "log" or "linear".

    Example:
        >>> on_scale(np.asarray([2.0, 0.0]), "log").tolist(), on_scale(np.asarray([2.0, 0.0]), "linear").tolist()
        ([2.0, nan], [2.0, 0.0])
    """
    return np.where(values > 0, values, np.nan) if scale == "log" else values


def alone(values: Floats) -> NDArray[np.intp]:
    """Return the places of the numbers between two gaps, or a gap and an end, through which no line can go.

    Example:
        >>> alone(np.asarray([1.0, np.nan, 2.0, 3.0, np.nan, 4.0])).tolist()
        [0, 5]
    """
    there = np.isfinite(np.concatenate([[np.nan], values, [np.nan]]))
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])


def running_median(iteration: Floats, values: Floats, window: float = WINDOW) -> Floats:
    """Return the median over the captures within half a window of each, in decades of iterations.

    Args:
        iteration: ascending and positive, shape (captures,).
        values: likewise; NaN in a gap, where the median is NaN too.
        window: width in decades.

    Example:
        >>> running_median(np.asarray([100.0, 101.0, 102.0, 1000.0]), np.asarray([1.0, 9.0, 2.0, np.nan])).tolist()
        [2.0, 2.0, 2.0, nan]
    """
    there = np.isfinite(values)
    place, known = np.log10(iteration[there]), values[there]
    first = np.searchsorted(place, place - window / 2, side="left")
    end = np.searchsorted(place, place + window / 2, side="right")
    found = np.full(values.shape, np.nan)
    found[there] = [np.median(known[low:high]) for low, high in zip(first, end, strict=True)]
    return found


def thinned(iteration: Floats, most: int) -> NDArray[np.intp]:
    """Return the places of at most `most` captures, evenly over the logarithm of the iterations, the last included.

    Args:
        iteration: ascending and positive, shape (captures,).
        most: at least 2.

    Example:
        >>> thinned(np.asarray([1.0, 10.0, 20.0, 30.0, 100.0]), 3).tolist()
        [0, 1, 4]
    """
    if iteration.size <= most:
        return np.arange(iteration.size)
    wanted = np.geomspace(iteration[0], iteration[-1], most)
    return np.unique(np.minimum(np.searchsorted(iteration, wanted * (1 - 1e-12)), iteration.size - 1))


def thinned_curve(iteration: Floats, values: Floats, most: int) -> tuple[Floats, Floats]:
    """Return a curve with at most `most` of its numbers, and one NaN for each gap between two of them.

    Args:
        iteration: ascending and positive, shape (captures,).
        values: likewise, NaN in a gap.
        most: at least 2.

    Example:
        >>> values = np.asarray([1.0, np.nan, np.nan, 4.0, 5.0, np.nan])
        >>> thinned_curve(np.arange(1.0, 7.0), values, 2)[1].tolist()
        [1.0, nan, 5.0]
    """
    there = np.isfinite(values)
    kept = np.flatnonzero(there)[thinned(iteration[there], most)]
    missing = np.flatnonzero(~there)
    before = np.searchsorted(kept, missing)
    _, first = np.unique(before, return_index=True)
    gaps = missing[first][(before[first] > 0) & (before[first] < kept.size)]
    places = np.sort(np.concatenate([kept, gaps]))
    return iteration[places], values[places]
