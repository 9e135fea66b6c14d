"""Arithmetic on jets: sums, products, linear maps and functions of truncated Taylor expansions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.jets.algebra import Algebra
from phasecore.jets.functions import Function, power
from phasecore.partials import Operator

Coefficients = tuple[Array | None, ...]


@final
@dataclass(frozen=True, eq=False)
class Jet:
    """A function of the coordinates, by its value and the values of a few differential operators applied to it.

    Plain arrays and numbers are constants: they can be added to jets and multiplied with them. Arithmetic broadcasts as
    the arrays do.

    Attributes:
        algebra: which operators are carried.
        coefficients: one array for each operator, the value first; None stands for zero.

    Example:
        >>> import numpy
        >>> from phasecore.jets import algebra_of, coordinates
        >>> algebra = algebra_of(1, [(((2,), 1.0),)])
        >>> x = coordinates(numpy.asarray([[3.0]]), algebra, numpy)
        >>> [coefficient.item() for coefficient in (x * x).coefficients]
        [9.0, 6.0, 2.0]
    """

    algebra: Algebra
    coefficients: Coefficients

    # numpy arrays leave mixed arithmetic to the jet
    __array_ufunc__ = None

    @property
    def value(self) -> Array:
        """The value, the coefficient of the identity."""
        return self.coefficients[0]

    def map(self, linear: Callable[[Array], Array]) -> Jet:
        """Apply a linear function (no constant part) to each coefficient: a matrix product, a slice, a reshape."""
        return Jet(self.algebra, tuple(None if c is None else linear(c) for c in self.coefficients))

    def __neg__(self) -> Jet:
        return self.map(lambda coefficient: -coefficient)

    def __add__(self, other: Jet | Array) -> Jet:
        if not isinstance(other, Jet):
            return _filled(self.algebra, (self.value + other, *self.coefficients[1:]))
        return _filled(
            self.algebra, tuple(_add(a, b) for a, b in zip(self.coefficients, other.coefficients, strict=True))
        )

    __radd__ = __add__

    def __sub__(self, other: Jet | Array) -> Jet:
        negative: Jet | Array = -other
        return self.__add__(negative)

    def __rsub__(self, other: Array) -> Jet:
        return (-self).__add__(other)

    def __mul__(self, other: Jet | Array) -> Jet:
        if not isinstance(other, Jet):
            return self.map(lambda coefficient: coefficient * other)
        return self.bilinear(other, _multiply)

    def __rmul__(self, other: Array) -> Jet:
        return self.map(lambda coefficient: other * coefficient)

    def bilinear(self, other: Jet, product: Callable[[Array, Array], Array]) -> Jet:
        """Apply a bilinear function, such as a product or a matrix product, by Leibniz' rule."""
        f, g = self.coefficients, other.coefficients
        return Jet(
            self.algebra,
            tuple(
                _mixed(
                    f,
                    g,
                    [(1.0, 0, 0)] if index == 0 else [(1.0, index, 0), (1.0, 0, index), *products],
                    product,
                )
                for index, products in enumerate(self.algebra.products)
            ),
        )

    def __truediv__(self, other: Jet | Array) -> Jet:
        if not isinstance(other, Jet):
            return self.map(lambda coefficient: coefficient / other)
        return self * other.apply(power(-1.0))

    def __rtruediv__(self, other: Array) -> Jet:
        return self.apply(power(-1.0)).__mul__(other)

    def __pow__(self, exponent: float) -> Jet:
        if exponent == 2:
            return self * self
        return self.apply(power(float(exponent)))

    def apply(self, function: Function, xp: ArrayNamespace | None = None) -> Jet:
        """Apply an elementwise function f, by `f(v + d) = sum_k f^(k)(v) d^k / k!`, exact for the carried orders.

        Args:
            function: returns f and its first derivatives, see `phasecore.jets.functions`.
            xp: the namespace of the arrays, where the function needs one.
        """
        algebra = self.algebra
        derivatives = function(self.value, algebra.order, xp)
        deviation: Coefficients = (None, *self.coefficients[1:])
        total: Coefficients = (derivatives[0], *(None for _ in deviation[1:]))
        power_over_factorial = deviation
        for order, derivative in enumerate(derivatives[1:], start=1):
            if order > 1:
                power_over_factorial = tuple(
                    _mixed(power_over_factorial, deviation, products, _multiply) for products in algebra.powers[order]
                )
            total = tuple(
                _add(accumulated, None if part is None else derivative * part)
                for accumulated, part in zip(total, power_over_factorial, strict=True)
            )
        return Jet(algebra, total)


def read(jet: Jet, operator: Operator, xp: ArrayNamespace) -> Array:
    """Return the values of an operator applied to the jet, in the shape of its value.

    Raises:
        InputError: if the operator is not one that the jet's algebra was made for.
    """
    if operator not in jet.algebra.combinations:
        raise InputError("differential operator that the jet does not carry", received=operator)
    parts = (
        None if jet.coefficients[index] is None else _scaled(factor, jet.coefficients[index])
        for factor, index in jet.algebra.combinations[operator]
    )
    total = functools.reduce(_add, parts, None)
    return xp.zeros_like(jet.value) if total is None else total


def coordinates(points: Array, algebra: Algebra, xp: ArrayNamespace) -> Jet:
    """Return the coordinates as a jet: what a network is applied to.

    Args:
        points: shape (n, dimension).
        algebra: which operators to carry.
        xp: the namespace of `points`.
    """
    first = points[:, :1]
    zero, one = xp.zeros_like(first), xp.ones_like(first)
    coefficients: list[Array | None] = [points]
    for operator in algebra.operators[1:]:
        first_order = [(exponents, factor) for exponents, factor in operator if sum(exponents) == 1]
        if not first_order:
            coefficients.append(None)
            continue
        slopes = [0.0] * algebra.dimension
        for exponents, factor in first_order:
            slopes[exponents.index(1)] = factor
        coefficients.append(xp.concat([zero if slope == 0.0 else slope * one for slope in slopes], axis=1))
    return Jet(algebra, tuple(coefficients))


def concat(jets: Sequence[Jet | Array], axis: int, xp: ArrayNamespace) -> Jet:
    """Concatenate jets and constant arrays along an axis."""
    return _join(jets, lambda arrays: xp.concat(arrays, axis=axis), xp)


def stack(jets: Sequence[Jet | Array], axis: int, xp: ArrayNamespace) -> Jet:
    """Stack jets and constant arrays along a new axis."""
    return _join(jets, lambda arrays: xp.stack(arrays, axis=axis), xp)


def _join(jets: Sequence[Jet | Array], join: Callable[[list[Array]], Array], xp: ArrayNamespace) -> Jet:
    algebra = next(jet.algebra for jet in jets if isinstance(jet, Jet))
    values = [jet.value if isinstance(jet, Jet) else jet for jet in jets]
    coefficients: list[Array | None] = [join(values)]
    for index in range(1, len(algebra.operators)):
        parts = [jet.coefficients[index] if isinstance(jet, Jet) else None for jet in jets]
        if all(part is None for part in parts):
            coefficients.append(None)
        else:
            pairs = zip(parts, values, strict=True)
            coefficients.append(join([xp.zeros_like(value) if part is None else part for part, value in pairs]))
    return Jet(algebra, tuple(coefficients))


def _mixed(
    f: Coefficients,
    g: Coefficients,
    products: Sequence[tuple[float, int, int]],
    product: Callable[[Array, Array], Array],
) -> Array | None:
    total = None
    for factor, left, right in products:
        a, b = f[left], g[right]
        if a is not None and b is not None:
            term = product(a, b)
            total = _add(total, _scaled(factor, term))
    return total


def _filled(algebra: Algebra, coefficients: Coefficients) -> Jet:
    """A jet whose coefficients all have the shape of the value, which a sum may have broadcast."""
    value: Array = coefficients[0]
    return Jet(
        algebra,
        (value, *(c if c is None or c.shape == value.shape else c + 0.0 * value for c in coefficients[1:])),
    )


def _multiply(a: Array, b: Array) -> Array:
    return a * b


def _scaled(factor: float, array: Array) -> Array:
    return array if factor == 1.0 else factor * array


def _add(a: Array | None, b: Array | None) -> Array | None:
    if a is None:
        return b
    return a if b is None else a + b
