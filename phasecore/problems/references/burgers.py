"""Burgers, `u_t + u u_x = viscosity u_xx`, `u(x, 0) = -sin(pi x)`, `u(+-1, t) = 0`: Cole-Hopf and quadrature.

The Cole-Hopf transformation gives the solution as a ratio of two integrals (Basdevant et al., Computers and
Fluids 14, 1986):

    u(x, t) = - int sin(pi y) w(y) dy / int w(y) dy,
    w(y) = exp(-cos(pi y) / (2 pi viscosity) - (x - y)^2 / (4 viscosity t)).

Gauss-Hermite nodes are spread by the heat kernel alone and miss the mass of `w` in the shock, near y = +-1.
Here the trapezoidal rule is used, which converges geometrically for such entire, rapidly decaying integrands
(Trefethen and Weideman, SIAM Review 56, 2014), on nodes that cover all of `w` and resolve its narrowest peak;
the largest exponent is subtracted before exponentials are taken.

Measured, default viscosity, over the whole domain, shock included: halving the spacing of the nodes changes u
by less than 1e-14; against 40-digit arithmetic the error is less than 1e-14. 25 600 points take 0.3 s.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from phasecore.errors import InputError
from phasecore.problems.references.checks import Floats, check_number

_CHUNK = 2**20


def cole_hopf(x: ArrayLike, t: ArrayLike, viscosity: float = 0.01 / np.pi, *, spacing: float = 0.125) -> Floats:
    """Return the solution at arbitrary points.

    Args:
        x: positions, any shape; the solution is odd and periodic with period 2.
        t: times, not negative, of a shape that broadcasts with `x`. At t = 0 the initial condition is returned.
        viscosity: coefficient of u_xx, positive; the cost grows like `1 / sqrt(viscosity)`.
        spacing: distance of the quadrature nodes in widths of the narrowest peak; halve it to check convergence.

    Returns:
        Values of u, of the broadcast shape.

    Raises:
        InputError: for a negative time, values that are not finite, shapes that do not broadcast, or a
            viscosity or spacing that is not positive.

    Example:
        >>> cole_hopf([-0.5, 0.0, 0.5], 0.5).round(6)
        array([ 0.59277, -0.     , -0.59277])
    """
    viscosity = check_number("Burgers reference, 'viscosity'", viscosity)
    spacing = check_number("Burgers reference, 'spacing'", spacing)
    positions = np.asarray(x, dtype=np.float64)
    times = np.asarray(t, dtype=np.float64)
    try:
        positions, times = np.broadcast_arrays(positions, times)
    except ValueError:
        raise InputError(
            "Burgers reference, points", received=f"shapes {positions.shape} and {times.shape}", expected="like shapes"
        ) from None
    if not np.isfinite(positions).all() or not np.isfinite(times).all() or (times < 0).any():
        raise InputError("Burgers reference, points", expected="finite x, and finite t of at least 0")

    flat_x, flat_t = positions.ravel(), times.ravel()
    u = -np.sin(np.pi * flat_x)
    later = np.flatnonzero(flat_t > 0)
    if later.size:
        nodes = _nodes(viscosity, float(flat_t.max()), spacing)
        for part in np.array_split(later, -(-later.size * nodes.size // _CHUNK)):
            u[part] = _ratio(flat_x[part], flat_t[part], viscosity, nodes)
    return u.reshape(positions.shape)


def _nodes(viscosity: float, latest: float, spacing: float) -> Floats:
    """Symmetric equidistant nodes s, with y = x - 2 sqrt(viscosity t) s.

    The cosine raises the exponent by at most 1 / (pi viscosity) above its value at s = 0: beyond the reach
    below, `w` is negligible. At y = +-1 its curvature narrows the peak in s by the factor sqrt(1 + pi t).
    """
    reach = np.sqrt(1 / (np.pi * viscosity) + 40.0)
    count = int(np.ceil(reach * np.sqrt(1 + np.pi * latest) / spacing))
    return np.linspace(-reach, reach, 2 * count + 1)


def _ratio(x: Floats, t: Floats, viscosity: float, nodes: Floats) -> Floats:
    angle = np.pi * (x[:, None] - 2 * np.sqrt(viscosity * t)[:, None] * nodes)
    exponent = -np.cos(angle) / (2 * np.pi * viscosity) - nodes**2
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return np.asarray(-(np.sin(angle) * weight).sum(axis=1) / weight.sum(axis=1))


@functools.lru_cache(maxsize=4)
def cole_hopf_at(viscosity: float, points: bytes) -> Floats:
    """Return the solution at points that are given as the bytes of an array, kept for those that are asked for last.

    Args:
        viscosity: coefficient of u_xx, positive.
        points: (x, t) in float64, shape (n, 2), up to rounding x in [-1, 1] and t in [0, 1].

    Returns:
        Values of u, shape (n,), to be copied before they are changed.

    Example:
        >>> cole_hopf_at(0.1, np.asarray([[0.5, 0.0]]).tobytes())
        array([-1.])
    """
    x, t = np.frombuffer(points).reshape(-1, 2).T
    return cole_hopf(np.clip(x, -1.0, 1.0), np.clip(t, 0.0, 1.0), viscosity)
