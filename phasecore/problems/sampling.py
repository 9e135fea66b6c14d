"""Seeded sampling of points in a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def latin_hypercube(count: int, bounds: Floats, generator: np.random.Generator) -> Floats:
    """Draw a Latin hypercube sample: each of `count` slices of each coordinate holds one point.

    Args:
        count: number of points.
        bounds: lower and upper bounds, shape (2, dimension); equal bounds fix a coordinate.
        generator: source of randomness.

    Returns:
        Points in random order, shape (count, dimension).

    Source: McKay, Beckman, Conover (1979), by `scipy.stats.qmc.LatinHypercube`.

    Example:
        >>> sample = latin_hypercube(4, np.asarray([[0.0], [4.0]]), np.random.default_rng(0))
        >>> sorted(int(value) for value in sample[:, 0])
        [0, 1, 2, 3]
    """
    from scipy.stats import qmc

    low, high = bounds
    unit = qmc.LatinHypercube(d=len(low), rng=generator).random(count)
    return np.asarray(low + unit * (high - low), dtype=np.float64)
