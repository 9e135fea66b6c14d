"""Norms over several arrays, such as the weight matrices of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike


def norm(arrays: Iterable[ArrayLike]) -> float:
    """Return the L2 norm over all entries of all arrays.

    Computed in float64, so that gradients of 1e-30 in float32 do not vanish when squared, and without BLAS, whose idle
    threads would slow down those of the framework that trains.

    Example:
        >>> norm([[3.0], [4.0]])
        5.0
    """
    return math.hypot(*(math.sqrt(np.square(np.asarray(array, dtype=np.float64)).sum()) for array in arrays))


def ratio(numerator: float, denominator: float) -> float:
    """Return `numerator / denominator`: infinity for a denominator of zero, NaN for zero over zero.

    Example:
        >>> ratio(1.0, 0.0), ratio(1.0, 4.0)
        (inf, 0.25)
    """
    if denominator == 0.0:
        return math.inf if numerator > 0 else math.nan
    return numerator / denominator
