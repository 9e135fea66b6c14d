"""How several schemes work on one loss: their weights are multiplied, and terms are balanced as points weight them.

A scheme that reads gradients of terms, or traces of their kernels, is updated after the others, and reads those of
`mean((f r)^2)`, with f the product of the weights of points that the loss of the same step uses. So `causal+grad_norm`
balances the losses that are minimized, as the authors of both do (jaxpi differentiates the losses that hold the causal
weights, and multiplies the kernel's diagonal by them). Weights of whole terms are no part of f: they are what such
schemes decide. Losses of terms stay those without weights: they tell how far a term has come, and a weight that grows
would look like a loss that does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import TANGENT_KERNEL_TRACES, TERM_GRADIENTS
from phasecore.weighting.base import WeightingScheme

OF_WEIGHTED_TERMS = frozenset({TERM_GRADIENTS, TANGENT_KERNEL_TRACES})
"""Signals that schemes read of the terms as their points are weighted; each costs backward passes."""


def reads_weighted_terms(scheme: WeightingScheme) -> bool:
    """Return whether a scheme is updated after those that it is composed with.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> reads_weighted_terms(rba())
        False
    """
    return not scheme.requires.isdisjoint(OF_WEIGHTED_TERMS)


def point_factor(weights: Iterable[tuple[WeightingScheme, Array | None]], xp: ArrayNamespace) -> Array | None:
    """Return what multiplies the residual of each of a term's points, shape (n,), or None where no scheme weights them.

    Args:
        weights: each scheme with its weights of the term, shape (n,) or (), or None. Those of squares enter as their
            roots, those of the whole term not at all.
        xp: their namespace.

    Example:
        >>> import numpy
        >>> from phasecore.weighting.causal import causal
        >>> from phasecore.weighting.rba import rba
        >>> quarter, half = numpy.asarray([0.25, 0.25]), numpy.asarray([0.5, 1.0])
        >>> point_factor([(causal(), quarter), (rba(), half), (rba(), None)], numpy).tolist()
        [0.25, 0.5]
    """
    product: Any = None
    for scheme, weight in weights:
        if weight is not None and len(weight.shape):
            factor = weight if scheme.multiplies == "residual" else xp.sqrt(weight)
            product = factor if product is None else product * factor
    return product
