"""Residual-based adaptive refinement with distribution (RAR-D): points are added where the residual is large."""

from __future__ import annotations

import numpy as np

from phasecore.sampling.base import Floats, Sampling, Situation
from phasecore.sampling.densities import chosen
from phasecore.sampling.options import check_count, check_not_negative


def rar_d(every: int = 1000, added: int = 100, k: float = 1.0, c: float = 1.0, candidates: int = 100_000) -> Sampling:
    """Return residual-based adaptive refinement with distribution: the set of points grows.

    Every so many iterations `added` points join those that are there, chosen among many candidates as `rad` chooses
    all: without replacement, with density `|r|^k / mean(|r|^k) + c`. The old points stay. The set is shuffled, because
    the batches of the SNR are contiguous blocks of points in random order; each point's weight stays with the point.
    A step costs more the more points there are, and what is compiled is compiled anew for each number of points.

    Source: Wu, Zhu, Tan, Kartha, Lu, "A comprehensive study of non-adaptive and residual-based adaptive sampling for
    physics-informed neural networks" (arXiv 2207.10289), with 100 000 candidates. k = c = 1 are those of `rad`; k = 2,
    c = 0, which the authors are said to prefer here, gathers points more. How many are added and how often are choices
    by problem; 100 and 1000 are ours.

    Args:
        every: iterations between moves, positive.
        added: number of points that join at each move, positive.
        k: power of the residual, 0 or more.
        c: what is added to the density relative to its mean, 0 or more.
        candidates: how many points the residual is evaluated at, at least `added`.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> rar_d(every=500, added=20).every
        500
    """
    check_count("rar_d", "every", every)
    check_count("rar_d", "added", added)
    check_not_negative("rar_d", "k", k)
    check_not_negative("rar_d", "c", c)
    check_count("rar_d", "candidates", candidates)

    def move(situation: Situation) -> Floats:
        joined = np.concatenate([situation.points, chosen("rar_d", added, candidates, k, c, situation)])
        return situation.generator.permutation(joined)

    return Sampling(move=move, every=every)
