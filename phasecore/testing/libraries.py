"""The array libraries that laws run on, and a guarded one that permits only what every library can do."""

from __future__ import annotations

import importlib
import importlib.util
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, final

import numpy as np

from phasecore.arrays import NAMES, Array, ArrayNamespace, error_function
from phasecore.errors import InputError
from phasecore.testing.trees import map_leaves

_MODULES = {"numpy": "numpy", "array_api_strict": "array_api_strict", "torch": "array_api_compat.torch"}


@final
@dataclass(frozen=True)
class ArrayLibrary:
    """An array library, with the way into it and out of it.

    Attributes:
        name: for messages.
        namespace: what code under test receives as `xp`.
        from_numpy: numpy array in, a copy as the library's array out.
        to_numpy: the library's array in, a copy as numpy array out.
    """

    name: str
    namespace: ArrayNamespace
    from_numpy: Callable[[Any], Array]
    to_numpy: Callable[[Array], Any]


def library(name: str) -> ArrayLibrary:
    """Return an array library by name: "numpy", "array_api_strict", "torch" or "guarded".

    Raises:
        InputError: for another name, or one that is not installed.

    Example:
        >>> library("numpy").namespace.__name__
        'numpy'
    """
    if name == "guarded":
        return GUARDED
    if name not in _MODULES:
        raise InputError("unknown array library", received=repr(name), expected=f"one of {', '.join(_MODULES)}")
    if importlib.util.find_spec(name) is None:
        raise InputError(f"array library {name!r} is not installed", fix=f"Install with: pip install {name}")
    namespace: Any = importlib.import_module(_MODULES[name])
    return ArrayLibrary(
        name,
        namespace,
        from_numpy=lambda array: namespace.asarray(np.array(array), copy=True),
        to_numpy=lambda array: np.asarray(array).copy(),
    )


def libraries(namespaces: Iterable[str | ArrayLibrary] | None = None) -> tuple[ArrayLibrary, ...]:
    """Return those named, or by default numpy and whichever of array-api-strict and torch are installed.

    Example:
        >>> [item.name for item in libraries(["numpy"])]
        ['numpy']
    """
    if namespaces is None:
        namespaces = [name for name in _MODULES if importlib.util.find_spec(name) is not None]
    return tuple(library(item) if isinstance(item, str) else item for item in namespaces)


class PortabilityError(AssertionError, AttributeError):
    """Code did something that is not possible on every backend or under its compiler."""


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: GuardedArray(function(self.unguarded, _unwrap(other)))


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: GuardedArray(function(_unwrap(other), self.unguarded))


def _refuse(what: str, instead: str) -> Callable[..., NoReturn]:
    def refusal(self: object, *arguments: object) -> NoReturn:
        raise PortabilityError(f"{what} does not run on every backend and under its compiler; {instead}")

    return refusal


@final
class GuardedArray:
    """A numpy array that permits arithmetic, comparison and slicing, and refuses everything else.

    Code that runs on it branches on no value, writes nothing in place and calls no method of the array, so it can be
    traced by a compiler.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any) -> None:
        self.unguarded = np.array(values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.unguarded.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.unguarded.ndim

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.unguarded.dtype

    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __pow__, __rpow__ = _binary(operator.pow), _reflected(operator.pow)
    __and__, __or__ = _binary(operator.and_), _binary(operator.or_)
    __lt__, __le__ = _binary(operator.lt), _binary(operator.le)
    __gt__, __ge__ = _binary(operator.gt), _binary(operator.ge)
    __eq__, __ne__ = _binary(operator.eq), _binary(operator.ne)

    def __neg__(self) -> GuardedArray:
        return GuardedArray(-self.unguarded)

    def __invert__(self) -> GuardedArray:
        return GuardedArray(~self.unguarded)

    def __getitem__(self, key: Any) -> GuardedArray:
        keys = key if isinstance(key, tuple) else (key,)
        if not all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in keys):
            raise PortabilityError("indexing with arrays does not run on every backend; use xp.where")
        return GuardedArray(self.unguarded[key])

    __bool__ = _refuse("a branch on a value (if, and, or, min, max, assert)", "use xp.where")
    __float__ = _refuse("float(array)", "keep it an array")
    __int__ = __index__ = _refuse("int(array)", "keep it an array")
    __iter__ = _refuse("a loop over an array", "use array operations")
    __len__ = _refuse("len(array)", "use array.shape[0]")
    __setitem__ = _refuse("a write into an array", "use xp.where or make a new array")
    __array__ = _refuse("a call of numpy itself", "use the namespace that is handed over")

    def __getattr__(self, name: str) -> NoReturn:
        raise PortabilityError(f"arrays have no {name!r} on every backend; use a function of phasecore.arrays.NAMES")


@final
class GuardedNamespace:
    """Numpy on guarded arrays, with the functions of `phasecore.arrays.NAMES` and no others."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "erf":
            return lambda x: GuardedArray(error_function(_unwrap(x), np))
        if name not in NAMES:
            raise PortabilityError(
                f"xp.{name} is not there on every backend; phasecore.arrays.NAMES lists what is: {', '.join(NAMES)}"
            )
        function = getattr(np, name)

        def guarded(*arguments: Any, **options: Any) -> Any:
            return GuardedArray(function(*_unwrap(arguments), **_unwrap(options)))

        return guarded


def _unwrap(tree: Any) -> Any:
    return map_leaves(lambda leaf: leaf.unguarded if isinstance(leaf, GuardedArray) else leaf, tree)


GUARDED = ArrayLibrary(
    "guarded",
    GuardedNamespace(),
    from_numpy=GuardedArray,
    to_numpy=lambda array: np.array(_unwrap(array)),
)
"""The library that permits only what runs everywhere; the laws always run on it."""
