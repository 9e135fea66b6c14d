"""Activations in bins, and exact counts of the joint patterns that they make: what the activation probes share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.arguments import is_whole
from phasecore.errors import InputError

Values = NDArray[Any]
Cells = NDArray[np.unsignedinteger[Any]]
Labels = NDArray[np.intp]
Bounds = NDArray[np.float64]
Counts = NDArray[np.int64]

ROWS_AT_ONCE = 512
"""Rows that are binned at once: 512 x 128 numbers in float64 stay in the cache."""

MOST_THREADS = 4

TOLERANCE = 1e-5
"""Of a range in widths of bins: saturated neurons, whose ranges differ by float32's rounding, have one number of bins.
"""

MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9))
"""Odd constants of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)."""


def of_each_layer(function: Callable[[Values], float], layers: Mapping[str, Values]) -> dict[str, float]:
    """Return `function(activations)` for each layer, computed at the same time where there are several cores.

    Example:
        >>> of_each_layer(lambda values: float(values.max()), {"layer0": np.ones((3, 2)), "layer1": np.zeros((3, 2))})
        {'layer0': 1.0, 'layer1': 0.0}
    """
    arrays = [np.asarray(values) for values in layers.values()]
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(arrays), MOST_THREADS)) as pool:
        return dict(zip(layers, pool.map(function, arrays), strict=True))


def check_bins(probe: str, bins: object, option: str = "bins") -> None:
    """Refuse a number of bins that is not an integer of 2 or more.

    Raises:
        InputError: if so.
    """
    if not is_whole(bins, least=2):
        raise InputError(f"probe {probe!r}, option {option!r}", received=repr(bins), expected="an integer, 2 or more")


def ranges(values: Values) -> tuple[Bounds, Bounds]:
    """Return the smallest and the largest value of each column, shape (columns,) each.

    Example:
        >>> low, high = ranges(np.asarray([[0.0, 5.0], [1.0, -5.0]]))
        >>> low.tolist(), high.tolist()
        ([0.0, -5.0], [1.0, 5.0])
    """
    first = blocks(values)[0]
    low, high = first.min(axis=0), first.max(axis=0)
    for block in blocks(values)[1:]:
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    return low.astype(np.float64), high.astype(np.float64)


def blocks(values: Values) -> list[Values]:
    """Return views of consecutive rows that fit the cache.

    Example:
        >>> [len(block) for block in blocks(np.zeros((1000, 2)))]
        [512, 488]
    """
    return [values[start : start + ROWS_AT_ONCE] for start in range(0, len(values), ROWS_AT_ONCE)]


def bin_counts(low: Bounds, high: Bounds, bins: int) -> Counts | None:
    """Return how many bins each neuron of a layer has, shape (columns,); None if a bound is not finite.

    The layer has one width w, the average range of its neurons over `bins`; a neuron has as many bins as widths fit
    its own range, `max(1, floor(range / w))`. They divide its range evenly, so a neuron whose sign is flipped has the
    same bins in reverse. Ranges that miss a whole number of widths by `TOLERANCE` or less are taken to reach it.

    Example:
        >>> bin_counts(np.asarray([0.0, -1.0, 0.0]), np.asarray([1.0, 1.0, 0.1]), 6).tolist()
        [5, 11, 1]
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    reach = high - low
    width = float(np.mean(reach)) / bins
    if not width > 0:
        return np.ones(len(low), dtype=np.int64)
    return np.maximum(np.floor(reach / width + TOLERANCE), 1).astype(np.int64)


def cells_of(values: Values, low: Bounds, high: Bounds, counts: ArrayLike) -> Cells:
    """Return the bin of each value, of the shape of `values`: each column's range is divided into equal bins.

    Bins are closed below and open above, but for a column's last one, which holds its largest value too. A column whose
    values are all equal lies in its first bin.

    Args:
        values: finite, shape (n, columns).
        low: the smallest value of each column, shape (columns,).
        high: the largest, likewise.
        counts: number of each column's bins, scalar or shape (columns,).

    Example:
        >>> values = np.asarray([[0.0], [0.1], [0.5], [1.0]])
        >>> cells_of(values, *ranges(values), 4).ravel().tolist()
        [0, 0, 2, 3]
    """
    last = np.broadcast_to(np.asarray(counts, dtype=np.float64), low.shape) - 1
    width = (high - low) / (last + 1)
    width = np.where(width > 0, width, np.inf)
    cells = np.empty(values.shape, dtype=np.min_scalar_type(int(last.max(initial=0))))
    scratch = np.empty((min(ROWS_AT_ONCE, len(values)), len(low)))
    for number, block in enumerate(blocks(values)):
        part = scratch[: len(block)]
        part[...] = block
        part -= low
        part /= width
        np.minimum(part, last, out=part)
        cells[number * ROWS_AT_ONCE :][: len(block)] = part
    return cells


def pattern_labels(cells: Cells) -> Labels:
    """Return for each row the number of its pattern, shape (n,), equal where and only where whole rows are equal.

    Rows are mixed into keys of 64 bits, the keys sorted, and rows whose keys are equal compared: should two different
    rows share a key, which a random mixing does once in 5e10 sets of 25 600 rows, they are told apart by sorting them.

    Example:
        >>> labels = pattern_labels(np.asarray([[1, 2], [0, 7], [1, 2]], dtype=np.uint8))
        >>> labels[0] == labels[2], labels[0] == labels[1]
        (np.True_, np.False_)
    """
    words = _words(cells)
    keys = mixed(words)
    order = np.argsort(keys)
    alike = np.zeros(len(keys), dtype=bool)
    alike[1:] = keys[order[1:]] == keys[order[:-1]]
    places = np.flatnonzero(alike)
    if not np.array_equal(words[order[places]], words[order[places - 1]]):
        distinct: Labels = np.unique(words, axis=0, return_inverse=True)[1].ravel()
        return distinct
    labels = np.empty(len(keys), dtype=np.intp)
    labels[order] = np.cumsum(~alike) - 1
    return labels


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a key of 64 bits for each row, shape (n,); each step is a bijection of the key and of the word."""
    keys = np.zeros(len(words), dtype=np.uint64)
    for word in words.T:
        keys ^= word
        for multiplier in MULTIPLIERS:
            keys *= multiplier
            keys ^= keys >> np.uint64(29)
    return keys


def entropy_bits(labels: Labels) -> float:
    """Return the entropy of the empirical distribution of labels, in bits: `log2(n) - sum_k c_k log2(c_k) / n`.

    Example:
        >>> entropy_bits(np.asarray([0, 0, 1, 2]))
        1.5
    """
    counts = np.bincount(labels)
    counts = counts[counts > 1]
    # c log2 c rather than p log2 p: patterns that occur once add nothing, exactly
    return max(0.0, math.log2(len(labels)) - float(np.sum(counts * np.log2(counts))) / len(labels))


def joint_labels(first: Labels, second: Labels) -> Labels:
    """Return the number of each pair of labels, shape (n,).

    Example:
        >>> joint_labels(np.asarray([0, 0, 1]), np.asarray([0, 1, 1])).tolist()
        [0, 1, 2]
    """
    pairs = first.astype(np.int64) * (int(second.max()) + 1) + second
    labels: Labels = np.unique(pairs, return_inverse=True)[1]
    return labels


def _words(cells: Cells) -> NDArray[np.uint64]:
    """The rows as words of 64 bits, padded with zeros."""
    columns = 8 // cells.dtype.itemsize
    missing = -cells.shape[1] % columns
    if missing:
        cells = np.concatenate([cells, np.zeros((len(cells), missing), dtype=cells.dtype)], axis=1)
    return np.ascontiguousarray(cells).view(np.uint64)
