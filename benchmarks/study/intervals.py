"""Statistics over a few runs: medians with intervals, rank correlations, and what they say of a claim."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVEL = 0.9
RESAMPLES = 1000
LEAST_RUNS = 5


@dataclass(frozen=True)
class Interval:
    """An estimate, and where it lies with 90% confidence, from so many runs."""

    estimate: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        if self.runs == 0:
            return "none"
        if self.runs == 1:
            return f"{_digits(self.estimate)} (1 run)"
        return f"{_digits(self.estimate)} ({_digits(self.low)} to {_digits(self.high)}; {self.runs} runs)"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def median(values: Sequence[float]) -> Interval:
    """Return the median with the interval of the bootstrap, resampling runs; always the same for the same values.

    Example:
        >>> str(median([1.0, 1.0, 1.0]))
        '1 (1 to 1; 3 runs)'
    """
    if not values:
        return NOTHING
    table = np.asarray(values, dtype=np.float64)
    return _percentiles(float(np.median(table)), np.median(table[_resampled(len(table))], axis=1), len(table))


def bootstrap(rows: Sequence[Sequence[float]], statistic: Callable[[Floats], float]) -> Interval:
    """Return a statistic of rows, one row for each run, with its percentile interval over resampled runs.

    Resamples for which the statistic is not finite, such as those of one run many times, are left out.
    """
    if not rows:
        return NOTHING
    table = np.asarray(rows, dtype=np.float64)
    drawn = np.asarray([statistic(table[places]) for places in _resampled(len(table))])
    return _percentiles(statistic(table), drawn, len(table))


def _resampled(runs: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(runs, size=(RESAMPLES, runs))


def _percentiles(estimate: float, drawn: Floats, runs: int) -> Interval:
    finite = drawn[np.isfinite(drawn)]
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(finite) else (math.nan, math.nan)
    return Interval(estimate, float(low), float(high), runs)


def share(count: int, runs: int) -> Interval:
    """Return a share of runs with its Wilson interval.

    Example:
        >>> str(share(5, 5))
        '1 (0.65 to 1; 5 runs)'
    """
    if runs == 0:
        return NOTHING
    z = 1.6449
    middle = (count + z * z / 2) / (runs + z * z)
    half = z / (runs + z * z) * math.sqrt(count * (runs - count) / runs + z * z / 4)
    return Interval(count / runs, max(0.0, middle - half), min(1.0, middle + half), runs)


def ranks(values: ArrayLike) -> Floats:
    """Return ranks from 1, equal values sharing the mean of theirs.

    Example:
        >>> ranks([3.0, 1.0, 3.0]).tolist()
        [2.5, 1.0, 2.5]
    """
    given = np.asarray(values, dtype=np.float64)
    below = (given[None, :] < given[:, None]).sum(axis=1)
    equal = (given[None, :] == given[:, None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)


def rank_correlation(x: ArrayLike, y: ArrayLike, given: ArrayLike | None = None) -> float:
    """Return Spearman's correlation of x and y; with `given`, the partial one: beyond what its rank predicts of both.

    NaN where a rank does not vary, or is predicted wholly.

    Example:
        >>> rank_correlation([1, 2, 3, 4], [1, 4, 9, 16])
        1.0
    """
    first, second = _centered(x), _centered(y)
    if given is not None:
        third = _centered(given)
        size = float(third @ third)
        if size > 0:
            first, second = first - third * (first @ third) / size, second - third * (second @ third) / size
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return round(float(first @ second) / scale, 12) if scale > 1e-9 else math.nan


def within_groups(groups: Sequence[Sequence[Sequence[float]]], *, partial: bool = False) -> Interval:
    """Return the rank correlation of the first two columns within groups (problems), the groups' mean by their size.

    Args:
        groups: rows (x, y) or, for the partial correlation, (x, y, given), one for each run.
        partial: beyond what the third column predicts.
    """
    large = [np.asarray(group, dtype=np.float64) for group in groups if len(group) >= LEAST_RUNS]
    rows = [(number, *row) for number, group in enumerate(large) for row in group]

    def statistic(table: Floats) -> float:
        found = []
        for _, own in itertools.groupby(sorted(table.tolist()), key=lambda row: row[0]):
            columns = np.asarray(list(own)).T
            value = rank_correlation(columns[1], columns[2], columns[3] if partial else None)
            if math.isfinite(value):
                found.append((value, columns.shape[1]))
        total = sum(size for _, size in found)
        return sum(value * size for value, size in found) / total if total else math.nan

    return bootstrap(rows, statistic)


Verdict = Literal["holds", "holds partly", "does not hold here", "too few runs"]


def verdict(found: Interval, boundary: float, claim: Literal["above", "below"]) -> Verdict:
    """Return what an interval says of the claim that a quantity lies above, or below, a boundary.

    It holds where the whole 90% interval does, does not where none of it does, and holds partly in between; fewer
    than 5 runs say nothing.

    Example:
        >>> verdict(Interval(0.5, 0.3, 0.8, 9), 1.0, "below"), verdict(Interval(0.5, 0.3, 1.2, 9), 1.0, "below")
        ('holds', 'holds partly')
    """
    if found.runs < LEAST_RUNS or not math.isfinite(found.low + found.high):
        return "too few runs"
    low, high = (found.low, found.high) if claim == "above" else (-found.high, -found.low)
    edge = boundary if claim == "above" else -boundary
    if low > edge:
        return "holds"
    return "does not hold here" if high <= edge else "holds partly"


def _centered(values: ArrayLike) -> Floats:
    ranked = ranks(values)
    return ranked - ranked.mean()
