"""Residual-based adaptive distribution (RAD): all points are drawn anew, more of them where the residual is large."""

from __future__ import annotations

from phasecore.sampling.base import Floats, Sampling, Situation
from phasecore.sampling.densities import chosen
from phasecore.sampling.options import check_count, check_not_negative


def rad(every: int = 1000, k: float = 1.0, c: float = 1.0, candidates: int = 100_000) -> Sampling:
    """Return the residual-based adaptive distribution: all points anew, with density `|r|^k / mean(|r|^k) + c`.

    Every so many iterations the residual r is evaluated at many candidates, drawn evenly over the domain, and as many
    of them as there are points are chosen without replacement, with probabilities in proportion to the density. k = 0
    or a large c draw evenly; a large k gathers the points at the largest residuals. Of a system, `|r|` is the root of
    the sum of the equations' squares, which is ours.

    Source: Wu, Zhu, Tan, Kartha, Lu, "A comprehensive study of non-adaptive and residual-based adaptive sampling for
    physics-informed neural networks" (arXiv 2207.10289); k = c = 1 and 100 000 candidates are theirs. How often is a
    choice by problem; 1000 is ours.

    Args:
        every: iterations between moves, positive.
        k: power of the residual, 0 or more.
        c: what is added to the density relative to its mean, 0 or more.
        candidates: how many points the residual is evaluated at, at least as many as there are points.

    Raises:
        InputError: if an option is outside its range; when training is set up, for fewer candidates than points.

    Example:
        >>> rad(every=500, k=2).every
        500
    """
    check_count("rad", "every", every)
    check_not_negative("rad", "k", k)
    check_not_negative("rad", "c", c)
    check_count("rad", "candidates", candidates)

    def move(situation: Situation) -> Floats:
        return chosen("rad", len(situation.points), candidates, k, c, situation)

    return Sampling(move=move, every=every)
