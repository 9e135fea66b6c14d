"""Latin hypercube sampling: each of n slices of each coordinate holds one point. The default."""

from __future__ import annotations

from phasecore.sampling.base import Sampling


def latin_hypercube() -> Sampling:
    """Return Latin hypercube sampling; the points stay where they are.

    Source: McKay, Beckman, Conover (1979), by `scipy.stats.qmc.LatinHypercube`.

    Example:
        >>> import numpy
        >>> points = latin_hypercube().draw(4, 1, numpy.random.default_rng(0))
        >>> sorted(int(4 * value) for value in points[:, 0])
        [0, 1, 2, 3]
    """
    return Sampling()
