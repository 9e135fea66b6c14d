"""Halton points: the digits of 1, 2, 3, ... mirrored at the point, in another base for each coordinate."""

from __future__ import annotations

import numpy as np

from phasecore.sampling.base import Floats, Sampling


def halton() -> Sampling:
    """Return Halton points, scrambled by the seed and in random order; they stay where they are.

    Coordinate j of point i is the radical inverse of i in the j-th prime base, its digits permuted at random: such
    points leave smaller gaps than independent ones. The first n of the sequence are taken, then shuffled, because the
    batches of the SNR are contiguous blocks of points in random order.

    Source: Halton (1960), scrambled as in Owen, "A randomized Halton algorithm in R" (arXiv 1706.02808), by
    `scipy.stats.qmc.Halton`.

    Example:
        >>> points = halton().draw(8, 1, np.random.default_rng(0))
        >>> sorted(int(8 * value) for value in points[:, 0])
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def draw(count: int, dimension: int, generator: np.random.Generator) -> Floats:
        from scipy.stats import qmc

        points = qmc.Halton(d=dimension, rng=generator).random(count)
        return np.asarray(generator.permutation(points), dtype=np.float64)

    return Sampling(draw)
