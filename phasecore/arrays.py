"""The array namespace: the few array-API functions that schemes, problems and jets are written against.

Code that takes an argument `xp` runs unchanged on numpy, torch, jax and tensorflow, eagerly or compiled,
because it calls only the names listed here, never branches on a value and never writes in place. The names
are those of the Python array API standard (https://data-apis.org/array-api), except `erf`, which the
standard lacks: there a namespace's own `erf` is used, or scipy's for numpy (see `error_function`).
"""

from __future__ import annotations

from typing import Any, Protocol

Array = Any
"""An array of any framework: the code that holds it knows nothing of it but the names below."""

ELEMENTWISE = (
    "abs",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "where",
)
REDUCTIONS = ("max", "mean", "min", "sum")
SHAPES = ("concat", "ones_like", "reshape", "stack", "zeros_like")

NAMES = (*ELEMENTWISE, *REDUCTIONS, *SHAPES)
"""Every function of the namespace that code in phasecore may call."""


def lacking(name: str) -> str:
    """Say what a namespace has, where it lacks a function.

    Example:
        >>> lacking("mod")[:47]
        "xp has no 'mod'; what every framework has is ab"
    """
    return (
        f"xp has no {name!r}; what every framework has is {', '.join((*NAMES, 'erf'))}, and the operators of "
        "arithmetic, such as ** and %"
    )


class ArrayNamespace(Protocol):
    """What phasecore needs of an array library; numpy itself satisfies it.

    Reductions take `axis=`; `concat` and `stack` take a sequence and `axis=`; everything else is elementwise.
    """

    def abs(self, x: Array, /) -> Array: ...  # noqa: D102
    def cos(self, x: Array, /) -> Array: ...  # noqa: D102
    def cosh(self, x: Array, /) -> Array: ...  # noqa: D102
    def exp(self, x: Array, /) -> Array: ...  # noqa: D102
    def expm1(self, x: Array, /) -> Array: ...  # noqa: D102
    def log(self, x: Array, /) -> Array: ...  # noqa: D102
    def log1p(self, x: Array, /) -> Array: ...  # noqa: D102
    def maximum(self, x1: Array, x2: Array, /) -> Array: ...  # noqa: D102
    def minimum(self, x1: Array, x2: Array, /) -> Array: ...  # noqa: D102
    def sign(self, x: Array, /) -> Array: ...  # noqa: D102
    def sin(self, x: Array, /) -> Array: ...  # noqa: D102
    def sinh(self, x: Array, /) -> Array: ...  # noqa: D102
    def sqrt(self, x: Array, /) -> Array: ...  # noqa: D102
    def square(self, x: Array, /) -> Array: ...  # noqa: D102
    def tan(self, x: Array, /) -> Array: ...  # noqa: D102
    def tanh(self, x: Array, /) -> Array: ...  # noqa: D102
    def where(self, condition: Array, x1: Array, x2: Array, /) -> Array: ...  # noqa: D102
    def max(self, x: Array, /, *, axis: int | None = None) -> Array: ...  # noqa: D102
    def mean(self, x: Array, /, *, axis: int | None = None) -> Array: ...  # noqa: D102
    def min(self, x: Array, /, *, axis: int | None = None) -> Array: ...  # noqa: D102
    def sum(self, x: Array, /, *, axis: int | None = None) -> Array: ...  # noqa: D102
    def concat(self, arrays: Any, /, *, axis: int | None = 0) -> Array: ...  # noqa: D102
    def ones_like(self, x: Array, /) -> Array: ...  # noqa: D102
    def reshape(self, x: Array, /, shape: tuple[int, ...]) -> Array: ...  # noqa: D102
    def stack(self, arrays: Any, /, *, axis: int = 0) -> Array: ...  # noqa: D102
    def zeros_like(self, x: Array, /) -> Array: ...  # noqa: D102


def error_function(x: Array, xp: ArrayNamespace) -> Array:
    """Return the error function of `x`, elementwise, shape and dtype of `x`.

    Example:
        >>> import numpy
        >>> float(error_function(numpy.asarray([0.0]), numpy)[0])
        0.0
    """
    own = getattr(xp, "erf", None)
    if own is not None:
        return own(x)
    import numpy as np
    from scipy.special import erf

    standard: Any = xp
    return standard.asarray(erf(np.asarray(x)))
