"""Functions under `torch.compile`, or as they are where that fails."""

from __future__ import annotations

import time
import types
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any, final

import torch
from torch import Tensor

_CODES: weakref.WeakValueDictionary[Hashable, types.CodeType] = weakref.WeakValueDictionary()


@final
class Compiled:
    """A function that is compiled at its first call; where that fails, one warning says why, and it runs as it is.

    torch keeps what it compiled with a function's code, eight versions of it at most; any further one would run as it
    is, unnoticed. So functions that are alike share a code of their own: networks of one shape are compiled once, and
    any number of shapes, of networks or of what they are applied to, can be.

    Args:
        function: of tensors, or of lists and mappings of tensors.
        what: the beginning of what the warning says: "residuals are evaluated".
        parameters: that the function computes with: functions are alike if these, and the tensors that a call is
            given, have the same shapes.
        active: False to run the function as it is from the start.

    Attributes:
        seconds: how long the first compiled call took, or None.

    Example:
        >>> double = Compiled(lambda x: 2 * x, "numbers are doubled", parameters=[], active=False)
        >>> double(torch.ones(2)), double.seconds
        (tensor([2., 2.]), None)
    """

    def __init__(
        self, function: Callable[..., Any], what: str, *, parameters: Iterable[Tensor], active: bool = True
    ) -> None:
        self.active = active
        self.seconds: float | None = None
        self._function = function
        self._what = what
        self._shapes = tuple(parameter.shape for parameter in parameters)
        self._fast: dict[Hashable, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns."""
        if not self.active or torch.compiler.is_compiling():
            return self._function(*args)
        began = time.perf_counter()
        try:
            applied_to = tuple(given.shape for given in args if isinstance(given, Tensor))
            if applied_to not in self._fast:
                function = _with_code_of((self._what, self._shapes, applied_to), self._function)
                self._fast[applied_to] = torch.compile(function, dynamic=False)
            result = self._fast[applied_to](*args)
        except Exception as error:
            result = self._function(*args)
            self.active = False
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            warnings.warn(f"torch.compile failed ({reason}); {self._what} without it.", stacklevel=4)
        if self.seconds is None:
            self.seconds = time.perf_counter() - began
        return result


def _with_code_of(alike: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    call.__code__ = _CODES.setdefault(alike, call.__code__.replace())
    return call


def is_compilable(method: str) -> bool:
    """Whether residuals are compiled whose derivatives are taken so; where they are not, a warning says it."""
    if method != "jets":
        warnings.warn(
            "torch.compile does not go through nested autodiff; residuals are evaluated without it.", stacklevel=3
        )
    return method == "jets"
