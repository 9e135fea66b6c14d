"""How several schemes work on one loss: their weights are multiplied, and terms are balanced as points weight them.

A scheme that reads gradients of terms, or traces of their kernels, is updated after the others, and reads those of
`mean((f r)^2)`, with f the product of the weights of points that the loss of the same step uses. So `causal+grad_norm`
balances the losses that are minimized, as the authors of both do (jaxpi differentiates the losses that hold the causal
weights, and multiplies the kernel's diagonal by them). Weights of whole terms are no part of f: they are what such
schemes decide. Losses of terms stay those without weights: they tell how far a term has come, and a weight that grows
would look like a loss that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import TANGENT_KERNEL_TRACES, TERM_GRADIENTS
from phasecore.weighting.base import WeightingScheme

Multiplies = Literal["residual", "squared_residual"]
Products = Mapping[tuple[str, Multiplies], Array]
"""By term and by what it multiplies: the product of the schemes' weights, shape (n,) or ()."""

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


def products(parts: Iterable[tuple[WeightingScheme, Mapping[str, Array]]]) -> dict[tuple[str, Multiplies], Array]:
    """Return the products of schemes' weights, by term and by what they multiply.

    Args:
        parts: each scheme with its weights.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> products([(rba(), {"pde": 2.0}), (rba(), {"pde": 3.0, "data": 1.0})])
        {('pde', 'residual'): 6.0, ('data', 'residual'): 1.0}
    """
    found: dict[tuple[str, Multiplies], Any] = {}
    for scheme, weights in parts:
        for term, weight in weights.items():
            key = (term, scheme.multiplies)
            found[key] = found[key] * weight if key in found else weight
    return found


def averaged(weight: Array, multiplies: Multiplies, xp: ArrayNamespace, counts: Array | None = None) -> Array:
    """Return the one weight, shape (), that points of equal residuals give a term the same loss with as their own.

    Args:
        weight: of each of the term's points, shape (n,), or of all, shape ().
        multiplies: what it multiplies.
        xp: its namespace.
        counts: one for each point that counts, zero for others, shape (n,); None for all.

    Example:
        >>> import numpy
        >>> float(averaged(numpy.asarray([3.0, 4.0, 0.0, 0.0]), "residual", numpy))
        2.5
    """
    if not len(weight.shape):
        return weight
    powers = xp.square(weight) if multiplies == "residual" else weight
    if counts is None:
        mean = xp.mean(powers)
    else:
        number = xp.sum(counts)
        mean = xp.sum(counts * powers) / xp.maximum(number, xp.ones_like(number))
    return xp.sqrt(mean) if multiplies == "residual" else mean


def filled(weight: Array, unseen: Array, multiplies: Multiplies, xp: ArrayNamespace) -> Array:
    """Return weights of points, shape (n,), with the mean of the others where a point was not seen yet.

    Args:
        weight: of each point, shape (n,).
        unseen: one for a point that was not seen, zero for others, shape (n,). Where none was seen, weights stay.
        multiplies: what they multiply, see `averaged`.
        xp: their namespace.

    Example:
        >>> import numpy
        >>> filled(numpy.asarray([3.0, 1.0, 4.0]), numpy.asarray([0.0, 1.0, 0.0]), "squared_residual", numpy).tolist()
        [3.0, 3.5, 4.0]
    """
    seen = 1.0 - unseen
    return xp.where(unseen * xp.sum(seen) > 0, averaged(weight, multiplies, xp, seen), weight)


def weighted_square(term: str, residual: Array, weights: Products, xp: ArrayNamespace) -> Array:
    """Return the squared residual with all the weights of its term, of the residual's shape.

    Example:
        >>> import numpy
        >>> weights = {("pde", "residual"): numpy.asarray(3.0), ("pde", "squared_residual"): numpy.asarray(0.5)}
        >>> weighted_square("pde", numpy.asarray([2.0]), weights, numpy).tolist()
        [18.0]
    """
    of_residual: Any = weights.get((term, "residual"))
    of_square: Any = weights.get((term, "squared_residual"))
    square: Any = xp.square(residual if of_residual is None else of_residual * residual)
    return square if of_square is None else of_square * square


def point_weights(weights: Products) -> dict[str, Array]:
    """Return the product of each term's weights, shape (n,), for the terms that are weighted point by point.

    Where some multiply the residual and some its square, the former enter squared.

    Example:
        >>> import numpy
        >>> weights = {("pde", "residual"): numpy.asarray([2.0, 3.0]), ("data", "residual"): numpy.asarray(2.0)}
        >>> {term: weight.tolist() for term, weight in point_weights(weights).items()}
        {'pde': [2.0, 3.0]}
    """
    found: dict[str, Array] = {}
    for term in dict.fromkeys(term for term, _ in weights):
        of_residual: Any = weights.get((term, "residual"))
        of_square: Any = weights.get((term, "squared_residual"))
        product = of_square if of_residual is None else of_residual
        if of_residual is not None and of_square is not None:
            product = of_residual * of_residual * of_square
        if len(product.shape):
            found[term] = product
    return found
