"""Arithmetic that several weighting schemes share: divisions that stay finite, softmax, norms of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from phasecore.arrays import Array, ArrayNamespace

LARGEST = 1e30
"""Bound of quotients: float32 holds its products with a few more decades."""

PARTS = 2**20
GOLDEN = 648055
"""Over `PARTS`, the golden ratio's fraction as an odd multiple: multiples of it fill [0, 1) evenly, and are exact in
float32 too.
"""


def quotient(numerator: Array, denominator: Array, otherwise: Array, xp: ArrayNamespace) -> Array:
    """Return numerator / denominator, at most 1e30, and `otherwise` where the denominator is not positive.

    Args:
        numerator: an array, at least zero.
        denominator: an array that broadcasts with it.
        otherwise: an array that broadcasts with both.
        xp: their namespace.

    Example:
        >>> import numpy
        >>> quotient(numpy.asarray([1.0, 3.0]), numpy.asarray([2.0, 0.0]), numpy.asarray(7.0), numpy).tolist()
        [0.5, 7.0]
    """
    positive = denominator > 0
    ratio = numerator / xp.where(positive, denominator, xp.ones_like(denominator))
    bounded = xp.where(ratio < LARGEST, ratio, LARGEST * xp.ones_like(ratio))
    return xp.where(positive, bounded, otherwise)


def softmax(scores: Mapping[str, Array], factors: Mapping[str, Array], xp: ArrayNamespace) -> dict[str, Array]:
    """Return `factor exp(score)` over the sum of these, by term: weights that sum to one.

    Args:
        scores: {term: scalar}.
        factors: {term: scalar, at least zero}; terms share equally where all are zero.
        xp: their namespace.

    Example:
        >>> import numpy
        >>> zero, one = numpy.asarray(0.0), numpy.asarray(1.0)
        >>> {term: float(share) for term, share in softmax({"a": zero, "b": zero}, {"a": one, "b": one}, numpy).items()}
        {'a': 0.5, 'b': 0.5}
    """
    highest = xp.max(xp.stack(list(scores.values())))
    powers = {term: factors[term] * xp.exp(score - highest) for term, score in scores.items()}
    total = xp.sum(xp.stack(list(powers.values())))
    equal = xp.ones_like(total) / len(powers)
    return {term: quotient(power, total, equal, xp) for term, power in powers.items()}


def norm(gradients: Mapping[str, Array], xp: ArrayNamespace) -> Array:
    """Return the Euclidean norm over all parameters of {parameter: gradient}, a scalar.

    The gradients are scaled by their largest entry first, so that squares of small ones do not vanish in float32.

    Example:
        >>> import numpy
        >>> float(norm({"weight": numpy.asarray([[3.0]]), "bias": numpy.asarray([4.0])}, numpy))
        5.0
    """
    held = with_entries(gradients)
    largest = maximum_of((xp.max(xp.abs(gradient)) for gradient in held), xp)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    squares = [xp.sum(xp.square(gradient / scale)) for gradient in held]
    return scale * xp.sqrt(xp.sum(xp.stack(squares)))


def with_entries(gradients: Mapping[str, Array]) -> list[Array]:
    """Return the gradients of {parameter: gradient} that have entries: others have neither a largest one nor a mean.

    Example:
        >>> import numpy
        >>> [gradient.shape for gradient in with_entries({"slope": numpy.ones(()), "unused": numpy.ones((0, 3))})]
        [()]
    """
    return [gradient for gradient in gradients.values() if math.prod(gradient.shape)]


def maximum_of(scalars: Iterable[Array], xp: ArrayNamespace) -> Array:
    """Return the largest of several scalars, a scalar.

    Example:
        >>> import numpy
        >>> float(maximum_of([numpy.asarray(1.0), numpy.asarray(3.0)], numpy))
        3.0
    """
    return xp.max(xp.stack(list(scalars)))


def one_minus_power(base: float, exponents: Array, xp: ArrayNamespace) -> Array:
    """Return `1 - base**exponents`, the bias correction of a moving average; accurate for bases near one.

    Args:
        base: in [0, 1).
        exponents: an array, positive.
        xp: its namespace.

    Example:
        >>> import numpy
        >>> float(one_minus_power(0.5, numpy.asarray(2.0), numpy))
        0.75
    """
    return -xp.expm1(math.log(base) * exponents) if base > 0 else xp.ones_like(exponents)


def evenly_spread(like: Array, xp: ArrayNamespace) -> Array:
    """Return numbers that fill (0, 1) evenly in no order, of the shape (n,) of an array: the golden ratio's multiples.

    They stand in for draws from the uniform distribution: the first n of them fill the interval evenly for every n.

    Example:
        >>> import numpy
        >>> evenly_spread(numpy.zeros(4), numpy).round(3).tolist()
        [0.0, 0.618, 0.236, 0.854]
    """
    shares = xp.zeros_like(like[:1]) + 0.5 / PARTS
    while shares.shape[0] < like.shape[0]:
        raised = shares + GOLDEN * shares.shape[0] % PARTS / PARTS
        shares = xp.concat([shares, xp.where(raised >= 1.0, raised - 1.0, raised)])
    return shares[: like.shape[0]]
