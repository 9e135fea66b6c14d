"""Partial derivatives of a function given by its values alone: finite differences with steps chosen point by point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NODES = 9
STEPS = tuple(2.0**-level for level in range(4, 14))
"""Steps that are tried, as shares of the domain along a coordinate."""


def differentiate(
    function: Callable[[Floats], Floats], points: Floats, exponents: Sequence[int], bounds: Floats
) -> tuple[Floats, Floats]:
    """Return a partial derivative of `function` at `points`, and an estimate of its error.

    Nine-point stencils of decreasing step, shifted to stay within the bounds, are tried; at each point the step is
    taken at which three successive ones agree best, so that neither truncation nor noise of the function dominates.

    Args:
        function: maps points of shape (m, dimension) to values of shape (m,), NaN where it is not defined.
        points: where, shape (n, dimension).
        exponents: how often to differentiate along each coordinate.
        bounds: lower and upper bounds of the domain, shape (2, dimension).

    Returns:
        The derivatives and the largest difference among the three steps, each of shape (n,); NaN and infinity where no
        steps are within the function's domain.

    Example:
        >>> points = np.asarray([[0.0], [1.0]])
        >>> values, errors = differentiate(lambda x: np.exp(x[:, 0]), points, [2], np.asarray([[0.0], [1.0]]))
        >>> bool(np.all(np.abs(values - [1.0, np.e]) < 1e-6))
        True
    """
    if not any(exponents):
        return np.asarray(function(points), dtype=np.float64), np.zeros(len(points))
    stencils = [_stencil(points, exponents, bounds, step) for step in STEPS]
    every_node = np.clip(np.concatenate([nodes.reshape(-1, len(exponents)) for nodes, _ in stencils]), *bounds)
    values = np.asarray(function(every_node), dtype=np.float64).reshape(len(STEPS), len(points), -1)
    tried = np.stack([(weights * value).sum(axis=1) for (_, weights), value in zip(stencils, values, strict=True)])
    change = np.nan_to_num(np.abs(np.diff(tried, axis=0)), nan=np.inf)
    error = np.maximum(change[:-1], change[1:])
    best = np.argmin(error, axis=0)
    column = np.arange(len(points))
    return tried[best + 1, column], error[best, column]


def _stencil(points: Floats, exponents: Sequence[int], bounds: Floats, share: float) -> tuple[Floats, Floats]:
    """Return nodes, shape (n, m, dimension), and weights, shape (n, m), for steps of a share of the domain."""
    count, dimension = points.shape
    nodes = points[:, None, :]
    weights = np.ones((count, 1))
    for axis, order in enumerate(exponents):
        if order == 0:
            continue
        low, high = bounds[:, axis]
        step = share * (high - low)
        room = np.floor((high - points[:, axis]) / step + 1e-9) - (NODES - 1)
        first = np.clip(-(NODES // 2), np.ceil((low - points[:, axis]) / step - 1e-9), room).astype(int)
        offsets = first[:, None] + np.arange(NODES)
        shift = np.zeros((count, NODES, dimension))
        shift[:, :, axis] = step * offsets
        nodes = (nodes[:, :, None, :] + shift[:, None, :, :]).reshape(count, -1, dimension)
        table: dict[int, Any] = {start: _weights(start, order) / step**order for start in set(first.tolist())}
        factors = np.stack([table[start] for start in first.tolist()])
        weights = (weights[:, :, None] * factors[:, None, :]).reshape(count, -1)
    return nodes, weights


def _weights(first: int, order: int) -> Floats:
    offsets = np.arange(first, first + NODES, dtype=np.float64)
    moments = offsets[None, :] ** np.arange(NODES)[:, None]
    target = np.zeros(NODES)
    target[order] = math.factorial(order)
    return np.asarray(np.linalg.solve(moments, target), dtype=np.float64)
