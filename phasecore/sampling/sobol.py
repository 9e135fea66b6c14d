"""Sobol points: a digital sequence in base two, balanced in every power of two."""

from __future__ import annotations

import numpy as np

from phasecore.sampling.base import Floats, Sampling


def sobol() -> Sampling:
    """Return Sobol points, scrambled by the seed and in random order; they stay where they are.

    The first n of the sequence are taken, then shuffled, because the batches of the SNR are contiguous blocks of points
    in random order. Their balance is perfect where n is a power of two.

    Source: Sobol (1967), with the direction numbers of Joe and Kuo (2008) and a random linear scramble with a digital
    shift (Matousek 1998), by `scipy.stats.qmc.Sobol`.

    Example:
        >>> points = sobol().draw(8, 2, np.random.default_rng(0))
        >>> [sorted(int(8 * value) for value in column) for column in points.T]
        [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]]
    """

    def draw(count: int, dimension: int, generator: np.random.Generator) -> Floats:
        from scipy.stats import qmc

        # whole powers of two are drawn: of other numbers scipy warns
        points = qmc.Sobol(d=dimension, rng=generator).random_base2((count - 1).bit_length())[:count]
        return np.asarray(generator.permutation(points), dtype=np.float64)

    return Sampling(draw)
