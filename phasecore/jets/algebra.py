"""The algebra of truncated Taylor coefficients: which differential operators are carried, and how they multiply.

A jet carries, for each of a few linear differential operators D, the values of `D f`. To multiply two jets one needs
Leibniz' rule for each operator, `D(f g) = D f g + f D g + sum c (D1 f)(D2 g)`, with D1 and D2 of lower order and
carried too. For an operator with symbol P that sum is the polynomial `P(a + b) - P(a) - P(b)`: the reduced coproduct.
The Laplacian's is `2 a_x b_x + 2 a_y b_y`, so that it costs one coefficient beside the gradient, in any dimension.

Sources: Griewank and Walther, "Evaluating Derivatives" (2nd ed., chapter 13), for propagating Taylor coefficients; the
Laplacian as one coefficient is the "forward Laplacian" of Li et al. (arXiv 2307.08214); linear operators are collapsed
likewise by Dangel et al. (arXiv 2505.13644).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.partials import Exponents, Operator

Floats = NDArray[np.float64]


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
        operators: the carried operators; the first is the identity, orders never decrease.
        products: for each operator the mixed summands of Leibniz' rule, without `D f g + f D g`.
    """

    dimension: int
    operators: tuple[Operator, ...]
    products: tuple[tuple[Product, ...], ...]

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

    @property
    def orders(self) -> tuple[int, ...]:
        """Order of each operator."""
        return tuple(_order(operator) for operator in self.operators)

    @property
    def order(self) -> int:
        """The highest order."""
        return self.orders[-1]

    def combination(self, operator: Operator) -> tuple[tuple[float, int], ...]:
        """Return `operator` as a linear combination of carried ones: pairs of factor and index.

        Raises:
            InputError: if it is not in their span.

        Example:
            >>> laplacian = (((2, 0), 1.0), ((0, 2), 1.0))
            >>> algebra_of(2, [laplacian]).combination(laplacian)
            ((1.0, 3),)
        """
        peers = [index for index, order in enumerate(self.orders) if order == _order(operator)]
        monomials = _monomials([operator, *(self.operators[index] for index in peers)])
        if peers:
            basis = _vectors([self.operators[index] for index in peers], monomials)
            target = _vectors([operator], monomials)[0]
            factors = _clean(np.linalg.lstsq(basis.T, target, rcond=None)[0])
            if np.allclose(factors @ basis, target, rtol=0, atol=1e-9 * np.abs(target).max()):
                pairs = zip(factors.tolist(), peers, strict=True)
                return tuple((factor, index) for factor, index in pairs if factor != 0.0)
        raise InputError("differential operator that the jet does not carry", received=operator)


def algebra_of(dimension: int, wanted: Iterable[Operator]) -> Algebra:
    """Return the smallest algebra, order by order, that carries every wanted operator.

    Of each order it carries a basis of what is wanted and of what Leibniz' rule for the higher orders needs: monomials
    where they are no more than that, else the wanted sums themselves.

    Args:
        dimension: number of coordinates.
        wanted: operators, see `phasecore.partials`.

    Example:
        >>> laplacian = (((2, 0), 1.0), ((0, 2), 1.0))
        >>> len(algebra_of(2, [laplacian]).operators)
        4
    """
    needed: dict[int, list[Operator]] = {}
    for operator in wanted:
        needed.setdefault(_order(operator), []).append(operator)
    identity: Operator = (((0,) * dimension, 1.0),)
    bases: dict[int, list[Operator]] = {0: [identity]}
    for order in range(max(needed, default=0), 0, -1):
        bases[order] = _basis(needed.get(order, []))
        for operator in bases[order]:
            for lower in range(1, order):
                needed.setdefault(lower, []).extend(_factors(operator, lower))
    operators = [operator for order in sorted(bases) for operator in bases[order]]
    return Algebra(dimension, tuple(operators), tuple(_products(operator, operators) for operator in operators))


def _merge_symmetric(products: tuple[Product, ...]) -> tuple[Product, ...]:
    """Half the products of a jet with itself, `a b` and `b a` taken together."""
    merged: dict[tuple[int, int], float] = {}
    for factor, left, right in products:
        pair = (min(left, right), max(left, right))
        merged[pair] = merged.get(pair, 0.0) + factor / 2
    return tuple(Product(factor, left, right) for (left, right), factor in merged.items())


def _order(operator: Operator) -> int:
    return sum(operator[0][0])


def _coproduct(operator: Operator, left_order: int) -> dict[tuple[Exponents, Exponents], float]:
    """Terms `factor * a^left b^right` of P(a + b) with the left exponents summing to `left_order`."""
    terms: dict[tuple[Exponents, Exponents], float] = {}
    for exponents, factor in operator:
        for left in np.ndindex(*(exponent + 1 for exponent in exponents)):
            if sum(left) == left_order:
                right = tuple(total - part for total, part in zip(exponents, left, strict=True))
                ways = math.prod(math.comb(total, part) for total, part in zip(exponents, left, strict=True))
                terms[left, right] = terms.get((left, right), 0.0) + factor * ways
    return terms


def _factors(operator: Operator, order: int) -> list[Operator]:
    """The operators of `order` that appear opposite each monomial in Leibniz' rule for `operator`."""
    opposite: dict[Exponents, list[tuple[Exponents, float]]] = {}
    for (left, right), factor in _coproduct(operator, order).items():
        opposite.setdefault(right, []).append((left, factor))
    return [tuple(sorted(terms)) for terms in opposite.values()]


def _basis(operators: list[Operator]) -> list[Operator]:
    monomials = _monomials(operators)
    chosen: list[Operator] = []
    for operator in operators:
        if np.linalg.matrix_rank(_vectors([*chosen, operator], monomials)) > len(chosen):
            chosen.append(operator)
    if len(chosen) == len(monomials):
        return [((exponents, 1.0),) for exponents in monomials]
    return chosen


def _products(operator: Operator, operators: list[Operator]) -> tuple[Product, ...]:
    """Leibniz' rule for `operator` in terms of `operators`, from `A^T C B = M` with M over monomials."""
    products = []
    for left_order in range(1, _order(operator)):
        coproduct = _coproduct(operator, left_order)
        left = [index for index, other in enumerate(operators) if _order(other) == left_order]
        right = [index for index, other in enumerate(operators) if _order(other) == _order(operator) - left_order]
        left_monomials = _monomials([operators[index] for index in left])
        right_monomials = _monomials([operators[index] for index in right])
        target = np.asarray([[coproduct.get((a, b), 0.0) for b in right_monomials] for a in left_monomials])
        A = _vectors([operators[index] for index in left], left_monomials)
        B = _vectors([operators[index] for index in right], right_monomials)
        factors = _clean(np.linalg.pinv(A.T) @ target @ np.linalg.pinv(B))
        for row, i in enumerate(left):
            products += [Product(float(factors[row, column]), i, j) for column, j in enumerate(right)]
    return tuple(product for product in products if product.factor != 0.0)


def _monomials(operators: Iterable[Operator]) -> list[Exponents]:
    return sorted({exponents for operator in operators for exponents, _ in operator}, reverse=True)


def _vectors(operators: list[Operator], monomials: list[Exponents]) -> Floats:
    columns = {exponents: column for column, exponents in enumerate(monomials)}
    vectors = np.zeros((len(operators), len(monomials)))
    for row, operator in enumerate(operators):
        for exponents, factor in operator:
            vectors[row, columns[exponents]] = factor
    return vectors


def _clean(factors: Floats) -> NDArray[Any]:
    """Round off what least squares adds to factors that are whole numbers or halves."""
    rounded = np.round(factors * 12) / 12
    return np.where(np.abs(factors - rounded) < 1e-9 * max(1.0, np.abs(factors).max(initial=0.0)), rounded, factors)
