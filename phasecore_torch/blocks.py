"""Residuals block by block: what one evaluation touches stays in the cache; compiled, if asked for."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError

Evaluate = Callable[[Tensor], dict[str, Tensor]]

CACHED_NUMBERS = 2**17
"""How many activations of a layer a block may have on a CPU: half a megabyte in float32."""


@final
class Blocks:
    """Evaluates a function of points, row by row, in blocks of one size.

    Autograd goes back block by block too, so the loss is an ordinary one: `loss.backward()` is all that it needs.

    Args:
        evaluate: maps points (n, dimension) to values by name, each of shape (n,).
        model: chooses the size of the blocks: its widest layer has `CACHED_NUMBERS` activations in one.
        size: number of points of a block instead; on accelerators everything is one block by default.
        compiled: compile the evaluation with `torch.compile`, at its first use. Where that fails, one warning says why,
            and the evaluation goes on without.

    Attributes:
        width: outputs of the model's widest layer.
        compile_seconds: how long the first compiled evaluation took, or None.

    Raises:
        InputError: for a size that is not a positive integer.

    Example:
        >>> blocks = Blocks(lambda points: {"r": points.sum(1)}, None, size=2)
        >>> blocks(torch.ones(5, 3))["r"]
        tensor([3., 3., 3., 3., 3.])
    """

    def __init__(self, evaluate: Evaluate, model: object, size: int | None = None, *, compiled: bool = False) -> None:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InputError("argument 'block'", received=repr(size), expected="a positive integer, or None")
        self.size = size
        self.compiled = compiled
        self.compile_seconds: float | None = None
        self.width = _width(model)
        self._evaluate = evaluate
        self._fast: Evaluate = torch.compile(evaluate, dynamic=False) if compiled else evaluate

    def __call__(self, points: Tensor) -> dict[str, Tensor]:
        """Return the values at `points`, shape (n,) each."""
        largest = self.size or self._by_default(points)
        if torch.compiler.is_compiling() or len(points) <= largest or not len(points):
            return self._apply(points)
        size = math.ceil(len(points) / math.ceil(len(points) / largest))
        parts = self.parts(torch.split(points, size))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def parts(self, chunks: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Return the values at several sets of points; those that are short are filled up, to be compiled once."""
        longest = max(len(chunk) for chunk in chunks)
        results = []
        for chunk in chunks:
            lacking = longest - len(chunk) if self.compiled else 0
            filled = torch.cat([chunk, chunk[-1:].expand(lacking, -1)]) if lacking else chunk
            values = self._apply(filled)
            results.append({name: value[: len(chunk)] for name, value in values.items()} if lacking else values)
        return results

    def _by_default(self, points: Tensor) -> int:
        return len(points) if points.device.type != "cpu" else max(256, CACHED_NUMBERS // self.width)

    def _apply(self, points: Tensor) -> dict[str, Tensor]:
        if not self.compiled or torch.compiler.is_compiling():
            return self._evaluate(points)
        began = time.perf_counter()
        try:
            values = self._fast(points)
        except Exception as error:
            values = self._evaluate(points)
            self.compiled = False
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            warnings.warn(f"torch.compile failed ({reason}); residuals are evaluated without it.", stacklevel=4)
        if self.compile_seconds is None:
            self.compile_seconds = time.perf_counter() - began
        return values


def _width(model: object) -> int:
    """The largest number of outputs of a layer."""
    shapes = [p.shape for p in model.parameters() if p.ndim > 1] if isinstance(model, nn.Module) else []
    return max((shape[0] for shape in shapes), default=128)
