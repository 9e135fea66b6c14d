"""Functions under `torch.compile`, or as they are where that fails."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, final

import torch


@final
class Compiled:
    """A function that is compiled at its first call; where that fails, one warning says why, and it runs as it is.

    Args:
        function: of tensors, or of lists and mappings of tensors.
        what: the beginning of what the warning says: "residuals are evaluated".
        active: False to run the function as it is from the start.

    Attributes:
        seconds: how long the first compiled call took, or None.

    Example:
        >>> double = Compiled(lambda x: 2 * x, "numbers are doubled", active=False)
        >>> double(torch.ones(2)), double.seconds
        (tensor([2., 2.]), None)
    """

    def __init__(self, function: Callable[..., Any], what: str, *, active: bool = True) -> None:
        self.active = active
        self.seconds: float | None = None
        self._function = function
        self._what = what
        self._fast = torch.compile(function, dynamic=False) if active else function

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns."""
        if not self.active or torch.compiler.is_compiling():
            return self._function(*args)
        began = time.perf_counter()
        try:
            result = self._fast(*args)
        except Exception as error:
            result = self._function(*args)
            self.active = False
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            warnings.warn(f"torch.compile failed ({reason}); {self._what} without it.", stacklevel=4)
        if self.seconds is None:
            self.seconds = time.perf_counter() - began
        return result
