"""Elementwise functions with their derivatives to any order, as jets need them.

Each function here takes `(x, order, xp)` and returns the tuple of f, f', ..., f^(order) at x, each of the shape of x,
written with the array namespace alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from phasecore.arrays import Array, error_function

Function = Callable[[Array, int, Any], tuple[Array, ...]]
Polynomial = tuple[float, ...]
"""Coefficients in ascending powers."""


def exp(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The exponential."""
    return (xp.exp(x),) * (order + 1)


def sin(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The sine."""
    s = xp.sin(x)
    c = xp.cos(x) if order else s
    return tuple((s, c, -s, -c)[k % 4] for k in range(order + 1))


def cos(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The cosine."""
    c = xp.cos(x)
    s = xp.sin(x) if order else c
    return tuple((c, -s, -c, s)[k % 4] for k in range(order + 1))


def tanh(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The hyperbolic tangent: with t = tanh, `t' = 1 - t^2`, and higher derivatives are `t'` times polynomials in t."""
    t = xp.tanh(x)
    slope = 1.0 - t * t
    return (t, *_slope_times_polynomials(t, slope, (1.0, 0.0, -1.0), order))


def sigmoid(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The logistic function s = (1 + tanh(x / 2)) / 2, which neither overflows nor underflows: `s' = s - s^2`."""
    s = 0.5 + 0.5 * xp.tanh(0.5 * x)
    slope = s * (1.0 - s)
    return (s, *_slope_times_polynomials(s, slope, (0.0, 1.0, -1.0), order))


def softplus(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """`log(1 + exp(x))`, whose derivative is the sigmoid."""
    magnitude = xp.abs(x)
    value = 0.5 * (x + magnitude) + xp.log1p(xp.exp(-magnitude))
    return (value, *sigmoid(x, order - 1, xp)) if order else (value,)


def silu(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """`x sigmoid(x)`, also called swish."""
    return _times_argument(x, sigmoid(x, order, xp))


def gelu(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """`x Phi(x)` with the normal distribution Phi, whose derivatives are Hermite polynomials times its density."""
    distribution = 0.5 + 0.5 * error_function(x * math.sqrt(0.5), xp)
    derivatives = [distribution]
    if order:
        density = xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        polynomial: Polynomial = (1.0,)
        for _ in range(order):
            derivatives.append(_horner(polynomial, x) * density)
            polynomial = _sum(_derivative(polynomial), _product(polynomial, (0.0, -1.0)))
    return _times_argument(x, tuple(derivatives))


def log(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The natural logarithm."""
    return (xp.log(x), *power(-1.0)(x, order - 1, xp)) if order else (xp.log(x),)


def power(exponent: float) -> Function:
    """Return the function `x^exponent`; a non-negative whole exponent is fine at x <= 0."""

    def function(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
        derivatives = []
        factor = 1.0
        for k in range(order + 1):
            derivatives.append(factor * x ** (exponent - k) if factor else 0.0 * x)
            factor *= exponent - k
        return tuple(derivatives)

    return function


def sqrt(x: Array, order: int, xp: Any) -> tuple[Array, ...]:
    """The square root."""
    return power(0.5)(x, order, xp)


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "cos": cos,
        "exp": exp,
        "gelu": gelu,
        "log": log,
        "sigmoid": sigmoid,
        "silu": silu,
        "sin": sin,
        "softplus": softplus,
        "sqrt": sqrt,
        "tanh": tanh,
    }
)
"""The functions by the names that frameworks call them."""


def _times_argument(x: Array, derivatives: tuple[Array, ...]) -> tuple[Array, ...]:
    """Derivatives of x g(x) from those of g: `x g^(k) + k g^(k-1)`."""
    products = [x * derivatives[0]]
    for k in range(1, len(derivatives)):
        products.append(x * derivatives[k] + (derivatives[k - 1] if k == 1 else k * derivatives[k - 1]))
    return tuple(products)


def _slope_times_polynomials(y: Array, slope: Array, rate: Polynomial, order: int) -> list[Array]:
    """Derivatives 1 to order of a function with y' = rate(y): y^(k) = y' q_k(y)."""
    derivatives = []
    for polynomial in _polynomials(rate, order):
        derivatives.append(slope if polynomial == (1.0,) else slope * _horner(polynomial, y))
    return derivatives


def _polynomials(rate: Polynomial, order: int) -> tuple[Polynomial, ...]:
    """The q_k: q_1 = 1 and q_(k+1) = q_k' rate + q_k rate', since d/dx (y' q(y)) = y' (rate q)'(y)."""
    polynomials: list[Polynomial] = []
    polynomial: Polynomial = (1.0,)
    for _ in range(order):
        polynomials.append(polynomial)
        polynomial = _derivative(_product(polynomial, rate))
    return tuple(polynomials)


def _horner(polynomial: Polynomial, x: Array) -> Array:
    if len(polynomial) == 1:
        return polynomial[0] + 0.0 * x
    value = polynomial[-1] * x
    for index, coefficient in enumerate(reversed(polynomial[:-1])):
        if coefficient != 0.0:
            value = value + coefficient
        if index < len(polynomial) - 2:
            value = value * x
    return value


def _derivative(polynomial: Polynomial) -> Polynomial:
    return tuple(k * coefficient for k, coefficient in enumerate(polynomial))[1:] or (0.0,)


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    product = [0.0] * (len(a) + len(b) - 1)
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            product[i + j] += left * right
    return tuple(product)


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    size = max(len(a), len(b))
    padded = [(*p, *(0.0 for _ in range(size - len(p)))) for p in (a, b)]
    return tuple(x + y for x, y in zip(*padded, strict=True))
