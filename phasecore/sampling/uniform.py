"""Points that are drawn anew now and then, wherever the residual is."""

from __future__ import annotations

from phasecore.sampling.base import Floats, Sampling, Situation
from phasecore.sampling.options import check_count


def uniform(every: int = 1000) -> Sampling:
    """Return a sampling that draws all points anew every so many iterations, as the first ones were drawn.

    In the limit of many moves the loss is that of the whole domain, not of one set of points. `sobol+uniform` draws
    Sobol points each time, scrambled anew.

    Source: "Random-R" of Wu, Zhu, Tan, Kartha, Lu, "A comprehensive study of non-adaptive and residual-based adaptive
    sampling for physics-informed neural networks" (arXiv 2207.10289). How often is a choice by problem; 1000 is ours.

    Args:
        every: iterations between moves, positive.

    Raises:
        InputError: if it is not.

    Example:
        >>> uniform(every=200).every
        200
    """
    check_count("uniform", "every", every)

    def move(situation: Situation) -> Floats:
        return situation.draw(len(situation.points))

    return Sampling(move=move, every=every)
