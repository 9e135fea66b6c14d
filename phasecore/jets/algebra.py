"""The algebra of truncated Taylor coefficients: which differential operators are carried, and how they multiply.

A jet carries, for each of a few linear differential operators D, the values of `D f`. To multiply two jets one needs
Leibniz' rule for each operator, `D(f g) = D f g + f D g + sum c (D1 f)(D2 g)`, with D1 and D2 of lower order and
carried too. For an operator with symbol P that sum is the polynomial `P(a + b) - P(a) - P(b)`: the reduced coproduct.
The Laplacian's is `2 a_x b_x + 2 a_y b_y`, so that it costs one coefficient beside the gradient, in any dimension; that
of the heat operator `d/dt - nu d2/dx2` is `-2 nu a_x b_x`, so that it needs no time derivative of its own.

Sources: Griewank and Walther, "Evaluating Derivatives" (2nd ed., chapter 13), for propagating Taylor coefficients; the
Laplacian as one coefficient is the "forward Laplacian" of Li et al. (arXiv 2307.08214); linear operators are collapsed
likewise by Dangel et al. (arXiv 2505.13644).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np

from phasecore.partials import Exponents, Operator, order_of

NEGLIGIBLE = 1e-13
"""What counts as zero beside one: rounding of an elimination."""


class Product(NamedTuple):
    """One summand of Leibniz' rule: `factor * left(f) * right(g)`; left and right index carried operators."""

    factor: float
    left: int
    right: int


@final
@dataclass(frozen=True)
class Algebra:
    """A set of differential operators closed under Leibniz' rule. Make it with `algebra_of`.

    Attributes:
        dimension: number of coordinates.
        operators: the carried operators; the first is the identity, the highest orders never decrease.
        products: for each operator the mixed summands of Leibniz' rule, without `D f g + f D g`.
        combinations: each wanted operator as a linear combination of carried ones: pairs of factor and index.
    """

    dimension: int
    operators: tuple[Operator, ...]
    products: tuple[tuple[Product, ...], ...]
    combinations: Mapping[Operator, tuple[tuple[float, int], ...]] = field(compare=False)

    @functools.cached_property
    def powers(self) -> Mapping[int, tuple[tuple[Product, ...], ...]]:
        """For k from 2 on, the summands of `d^k / k! = (d^(k-1) / (k-1)!) d / k` for a deviation d without value."""
        squares = tuple(_merge_symmetric(products) for products in self.products)
        powers = {2: squares}
        for k in range(3, self.order + 1):
            powers[k] = tuple(
                tuple(Product(p.factor / k, p.left, p.right) for p in products if self.orders[p.left] >= k - 1)
                for products in self.products
            )
        return powers

    @functools.cached_property
    def orders(self) -> tuple[int, ...]:
        """Highest order of each operator."""
        return tuple(order_of(operator) for operator in self.operators)

    @property
    def order(self) -> int:
        """The highest order."""
        return self.orders[-1]


def algebra_of(dimension: int, wanted: Iterable[Operator]) -> Algebra:
    """Return the smallest algebra that carries every wanted operator.

    It carries a basis of what is wanted and of what Leibniz' rule needs: for an operator with symbol P the derivatives
    of P.

    Args:
        dimension: number of coordinates.
        wanted: operators, see `phasecore.partials`.

    Example:
        >>> laplacian = (((2, 0), 1.0), ((0, 2), 1.0))
        >>> len(algebra_of(2, [laplacian]).operators)
        4
        >>> heat = (((0, 1), 1.0), ((2, 0), -0.1))
        >>> algebra_of(2, [heat]).operators
        ((((0, 0), 1.0),), (((1, 0), 1.0),), (((0, 1), 1.0), ((2, 0), -0.1)))
    """
    wanted = tuple(wanted)
    needed: list[Operator] = []
    for operator in wanted:
        without_identity = tuple((exponents, factor) for exponents, factor in operator if any(exponents))
        if without_identity:
            needed += [without_identity, *_factors(without_identity)]
    identity = (0,) * dimension
    carried = {identity: ((identity, 1.0),)} | _basis(needed)
    return Algebra(
        dimension,
        tuple(carried.values()),
        tuple(_products(operator, list(carried)) for operator in carried.values()),
        {operator: _combination(operator, list(carried)) for operator in wanted},
    )


def _merge_symmetric(products: tuple[Product, ...]) -> tuple[Product, ...]:
    """Half the products of a jet with itself, `a b` and `b a` taken together."""
    merged: dict[tuple[int, int], float] = {}
    for factor, left, right in products:
        pair = (min(left, right), max(left, right))
        merged[pair] = merged.get(pair, 0.0) + factor / 2
    return tuple(Product(factor, left, right) for (left, right), factor in merged.items())


def _coproduct(operator: Operator) -> dict[tuple[Exponents, Exponents], float]:
    """Terms `factor * a^left b^right` of P(a + b) - P(a) - P(b)."""
    terms: dict[tuple[Exponents, Exponents], float] = {}
    for exponents, factor in operator:
        for left in np.ndindex(*(exponent + 1 for exponent in exponents)):
            right = tuple(total - part for total, part in zip(exponents, left, strict=True))
            if any(left) and any(right):
                ways = math.prod(math.comb(total, part) for total, part in zip(exponents, left, strict=True))
                terms[left, right] = terms.get((left, right), 0.0) + factor * ways
    return terms


def _factors(operator: Operator) -> list[Operator]:
    """The operators that appear opposite each monomial in Leibniz' rule for `operator`."""
    opposite: dict[Exponents, list[tuple[Exponents, float]]] = {}
    for (left, right), factor in _coproduct(operator).items():
        opposite.setdefault(right, []).append((left, factor))
    return [tuple(sorted(terms)) for terms in opposite.values()]


def _basis(operators: list[Operator]) -> dict[Exponents, Operator]:
    """Return a basis of the span by pivots: monomials of which each has factor one in its own operator, else zero.

    A member of the span is then the sum of the basis with the factors of its pivots. Found by Gauss-Jordan elimination
    with complete pivoting: of a sum over several orders the largest factor is the pivot, so that a small one, such as a
    viscosity, is never divided by. Sorted by highest order.
    """
    monomials = sorted({exponents for operator in operators for exponents, _ in operator}, reverse=True)
    rows = np.asarray([[dict(operator).get(exponents, 0.0) for exponents in monomials] for operator in operators])
    rows = rows.reshape(len(operators), len(monomials))
    rows /= np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    pivots: dict[int, int] = {}
    while len(pivots) < min(rows.shape):
        remaining = np.abs(rows)
        remaining[list(pivots)] = 0.0
        row, column = np.unravel_index(int(remaining.argmax()), rows.shape)
        if remaining[row, column] < NEGLIGIBLE:
            break
        pivots[int(row)] = int(column)
        rows[row] /= rows[row, column]
        others = np.arange(len(rows)) != row
        rows[others] -= np.outer(rows[others, column], rows[row])
        rows[others, column] = 0.0
    basis = {
        monomials[column]: tuple(
            (exponents, float(factor))
            for exponents, factor in sorted(zip(monomials, rows[row], strict=True))
            if abs(factor) >= NEGLIGIBLE
        )
        for row, column in pivots.items()
    }
    descending = sorted(basis.items(), reverse=True)
    return dict(sorted(descending, key=lambda pair: order_of(pair[1])))


def _products(operator: Operator, pivots: list[Exponents]) -> tuple[Product, ...]:
    """Leibniz' rule for `operator`: its coproduct at pairs of pivots."""
    coproduct = _coproduct(operator)
    return tuple(
        Product(coproduct[left, right], i, j)
        for i, left in enumerate(pivots)
        for j, right in enumerate(pivots)
        if (left, right) in coproduct
    )


def _combination(operator: Operator, pivots: list[Exponents]) -> tuple[tuple[float, int], ...]:
    factors = dict(operator)
    return tuple((factors[pivot], index) for index, pivot in enumerate(pivots) if pivot in factors)
