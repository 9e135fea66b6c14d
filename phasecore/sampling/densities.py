"""Choosing points by the size of their residual: what RAD and RAR-D share."""

from __future__ import annotations

import numpy as np

from phasecore.errors import InputError
from phasecore.sampling.base import Floats, Situation


def probabilities(sizes: Floats, k: float, c: float) -> Floats:
    """Return the probability of each candidate, `p_i ~ s_i^k / mean(s^k) + c`, summing to one, shape (m,).

    Equal ones where all sizes are zero.

    Args:
        sizes: of the residuals, at least zero, shape (m,).
        k: how strongly large residuals are preferred, at least zero; 0 for not at all.
        c: what every candidate has beside, at least zero.

    Source: arXiv 2207.10289, where the size is called epsilon.

    Example:
        >>> probabilities(np.asarray([1.0, 3.0]), k=1, c=1).tolist()
        [0.375, 0.625]
    """
    largest = sizes.max()
    # relative to the largest, so that no power is too large a number
    powers = (sizes / largest) ** k if largest > 0 else np.ones_like(sizes)
    density = powers / powers.mean() + c
    return np.asarray(density / density.sum())


def chosen(sampling: str, count: int, candidates: int, k: float, c: float, situation: Situation) -> Floats:
    """Return so many different points among candidates, drawn without replacement by `probabilities`, in random order.

    Candidate i gets an exponential variate over `p_i`, and the smallest are taken, which draws one after the other with
    the probabilities of those that are left; candidates of probability zero come last.

    Args:
        sampling: its name, for messages.
        count: number of points.
        candidates: how many are drawn to choose from.
        k: see `probabilities`.
        c: see `probabilities`.
        situation: what the move knows.

    Raises:
        InputError: if there are fewer candidates than points to choose.
    """
    if candidates < count:
        raise InputError(
            f"sampling {sampling!r}, option 'candidates'",
            received=candidates,
            expected=f"{count} or more: so many points are chosen among them",
        )
    points = situation.draw(candidates)
    likely = probabilities(situation.sizes(points), k, c)
    variates = situation.generator.exponential(size=candidates)
    with np.errstate(divide="ignore"):
        first = np.argsort(variates / likely, kind="stable")[:count]
    # by place, not by variate: the points come in random order, the variates by probability
    return points[np.sort(first)]
