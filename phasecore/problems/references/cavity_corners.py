"""The flow at the two corners where a moving lid meets resting walls, in closed form.

There the velocity jumps, the vorticity and the pressure grow like 1/r. The leading term solves the Stokes
equations, r times a function of the angle (Goodier 1934, Taylor 1962; Batchelor, An Introduction to Fluid
Dynamics, section 4.8). Subtracting it is what gives a spectral method its accuracy in the cavity: Botella and
Peyret, Computers and Fluids 27 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

import numpy as np

from phasecore.problems.references.checks import Floats

# psi = r (_B sin a + _C a cos a + _D a sin a), a the angle below the lid: psi = 0 on lid and wall, unit speed on
# the lid, rest on the wall.
_C = 4 / (np.pi**2 - 4)
_D = 2 * np.pi / (np.pi**2 - 4)
_B = -(np.pi**2) / (np.pi**2 - 4)


@final
@dataclass(frozen=True)
class CornerFlow:
    """Sum of both corners' leading terms at some points; every array has the points' shape.

    `u = psi_y`, `v = -psi_x`; `q` is the Laplacian of psi, minus the vorticity. `pressure` is for viscosity 1.
    At the corners themselves the velocity is the lid's, second derivatives are meaningless, and the pressure is
    minus infinity at the left corner and infinity at the right one.
    """

    psi: Floats
    psi_x: Floats
    psi_y: Floats
    psi_xx: Floats
    psi_xy: Floats
    psi_yy: Floats
    q_x: Floats
    q_y: Floats
    pressure: Floats


def corner_flow(x: Floats, y: Floats) -> CornerFlow:
    """Return the sum of the leading terms of the corners (0, 1) and (1, 1), the lid moving at u = 1.

    Example:
        >>> flow = corner_flow(np.asarray([0.5]), np.asarray([1.0]))
        >>> flow.psi, flow.psi_y  # each corner's term alone has the lid's speed
        (array([0.]), array([2.]))
    """
    left, right = _one_corner(x, 1 - y), _one_corner(1 - x, 1 - y)
    return CornerFlow(
        psi=left.psi + right.psi,
        psi_x=left.psi_x - right.psi_x,
        psi_y=-left.psi_y - right.psi_y,
        psi_xx=left.psi_xx + right.psi_xx,
        psi_xy=-left.psi_xy + right.psi_xy,
        psi_yy=left.psi_yy + right.psi_yy,
        q_x=left.q_x - right.q_x,
        q_y=-left.q_y - right.q_y,
        pressure=left.pressure - right.pressure,
    )


def no_corner_flow(x: Floats, y: Floats) -> CornerFlow:
    """Return zeros, for a lid whose speed does not jump at its ends.

    Example:
        >>> no_corner_flow(np.asarray([0.5]), np.asarray([1.0])).psi_y
        array([0.])
    """
    return CornerFlow(*(np.zeros(np.broadcast(x, y).shape) for _ in fields(CornerFlow)))


def _one_corner(along: Floats, below: Floats) -> CornerFlow:
    """One corner's term; here x is the distance along the lid and y the depth below it."""
    squared = along**2 + below**2
    corner = squared == 0
    squared = np.where(corner, 1.0, squared)
    angle = np.arctan2(below, along)
    angle_x, angle_y = -below / squared, along / squared
    angle_xx = 2 * along * below / squared**2
    angle_xy = (below**2 - along**2) / squared**2
    linear = _C * along + _D * below
    q = 2 * (_D * along - _C * below) / squared
    pressure = np.divide(-2 * linear, np.where(corner, 0.0, squared), out=np.full_like(linear, -np.inf), where=~corner)
    return CornerFlow(
        psi=_B * below + angle * linear,
        psi_x=_C * angle + linear * angle_x,
        psi_y=np.where(corner, -1.0, _B + _D * angle + linear * angle_y),
        psi_xx=2 * _C * angle_x + linear * angle_xx,
        psi_xy=_C * angle_y + _D * angle_x + linear * angle_xy,
        psi_yy=2 * _D * angle_y - linear * angle_xx,
        q_x=2 * _D / squared - 2 * q * along / squared,
        q_y=-2 * _C / squared - 2 * q * below / squared,
        pressure=pressure,
    )
