"""Chebyshev collocation on [0, 1]: nodes, differentiation, interpolation.

Sources: Trefethen, Spectral Methods in MATLAB (SIAM 2000), chapter 6; Berrut and Trefethen, Barycentric
Lagrange interpolation, SIAM Review 46 (2004).
"""

from __future__ import annotations

import numpy as np

from phasecore.problems.references.checks import Floats


def nodes(degree: int) -> Floats:
    """Return the `degree + 1` Chebyshev points of the second kind, rising from 0 to 1.

    Example:
        >>> nodes(2)
        array([0. , 0.5, 1. ])
    """
    return np.sin(0.5 * np.pi * np.arange(degree + 1) / degree) ** 2


def barycentric_weights(x: Floats) -> Floats:
    """Return the weights of barycentric interpolation in distinct nodes `x`, shape (n,), scaled to at most 1.

    Example:
        >>> barycentric_weights(np.asarray([0.0, 0.5, 1.0]))
        array([ 0.5, -1. ,  0.5])
    """
    difference = 4 * (x[:, None] - x)  # the factor is the inverse capacity of [0, 1]: no overflow
    np.fill_diagonal(difference, 1.0)
    weights = 1 / np.prod(difference, axis=1)
    return np.asarray(weights / np.abs(weights).max())


def differentiation(x: Floats) -> Floats:
    """Return the matrix that takes values at distinct nodes `x` to the derivative of their polynomial there.

    The diagonal makes the derivative of a constant exactly zero.

    Example:
        >>> x = nodes(3)
        >>> np.allclose(differentiation(x) @ x**3, 3 * x**2)
        True
    """
    weights = barycentric_weights(x)
    difference = x[:, None] - x
    np.fill_diagonal(difference, 1.0)
    matrix = weights / weights[:, None] / difference
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return np.asarray(matrix)


def interpolation(x: Floats, points: Floats) -> Floats:
    """Return the matrix (m, n) that takes values at nodes `x` (n,) to those of their polynomial at `points` (m,).

    Example:
        >>> x = nodes(3)
        >>> np.allclose(interpolation(x, np.asarray([0.1, 0.75])) @ x**3, [0.001, 0.421875])
        True
    """
    difference = points[:, None] - x
    row, column = np.nonzero(difference == 0)
    difference[row, column] = 1.0
    matrix = barycentric_weights(x) / difference
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix[row] = 0.0
    matrix[row, column] = 1.0
    return np.asarray(matrix)
