"""Steady incompressible flow in the unit square under a lid, y = 1, that moves: Newton, Chebyshev.

With the stream function psi, `u = psi_y`, `v = -psi_x` and q the Laplacian of psi, the Navier-Stokes equations
are `lap(q) = Re (psi_y q_x - psi_x q_y)`, psi and its normal derivative given on the walls. psi is the sum of the
leading terms of the two singular corners (`cavity_corners`), a Hermite blend of what these leave on the walls,
and a polynomial that vanishes on the walls with its normal derivative. The polynomial's values at the inner
Chebyshev points solve the collocated equation by Newton's method, started on a coarse grid from the Stokes flow
through rising Reynolds numbers. The pressure is the least-squares potential of the momentum balance. A lid at u = 1
jumps at its ends; a regularized one, `u = 16 x^2 (1 - x)^2`, does not, and there is nothing singular to take off.

Measured, default degree 56, for Re 100 and 400 against degree 64, for 1000 and 2500 against 72, at 6000 random
points: error of u and v, root mean square, at most 8e-6, 3e-5, 1.2e-4 and 3e-4. It is largest at the lid: farther
than 0.03 from its ends at most 2e-4, 6e-4 and 1.5e-3 (Re 100, 400, 1000), closer to them 6e-4, 2.4e-3 and 9e-3.
Pressure: root mean square at most 1e-4. A solve takes 1 to 2 s on one core.

Against tables, Re 1000: the centre-line velocities of Botella and Peyret (Computers and Fluids 27, 1998) to 6e-5
in u and 6e-6 in v, their minimum of psi, -0.1189366, to 1e-6, their pressure at the ends of the vertical line to
6e-5. Ghia, Ghia and Shin (J. Comput. Phys. 48, 1982), whose second-order grid has 129 points a side: within 1% of
the lid speed at 84 of the 90 inner points of Re 100, 400 and 1000. The other six are v at Re 400, x = 0.9063, a
misprint that its neighbours betray, and v at Re 1000, x = 0.9063 to 0.9688, in the steep boundary layer, where
Ghia's values differ from Botella and Peyret's by 1.1% to 1.8%, as they do from these.

Regularized lid, Re 1 to 2500, degree 56 against 72, at 3000 random points: u and v at most 4e-9 up to
Re 100, 3e-7 at 1000, 2e-5 at 2500; pressure 2e-6 and, at 2500, 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.errors import InputError
from phasecore.problems.references import chebyshev
from phasecore.problems.references.cavity_corners import corner_flow, no_corner_flow
from phasecore.problems.references.checks import Floats, check_count, check_number, check_points

LARGEST_REYNOLDS = 2500.0
"""Above it the default grid no longer resolves the boundary layers to the stated accuracy."""

_COARSE_DEGREE = 32
_CONTINUATION = (100.0, 250.0, 500.0, 1000.0, 1600.0)
_NEWTON_TOLERANCE = 1e-8
_NEWTON_ITERATIONS = 15


@final
@dataclass(frozen=True)
class CavitySolution:
    """The flow on a grid of Chebyshev points, dense towards the walls.

    Attributes:
        reynolds: Reynolds number, of unit lid speed and unit side length.
        is_regularized: whether the lid's speed falls to zero towards its ends.
        x: horizontal coordinate, rising from 0 to 1, shape (n,).
        y: vertical coordinate, likewise.
        u: horizontal velocity, shape (n, n), first axis x; on the lid, y = 1, the lid's, at its ends too.
        v: vertical velocity, likewise.
        stream_function: psi with `u = psi_y`, `v = -psi_x`, zero on the walls; negative in the main vortex.
        pressure: over density and squared lid speed, zero at the centre; infinite at the two ends of a lid that is
            not regularized.
    """

    reynolds: float
    is_regularized: bool
    x: Floats
    y: Floats
    u: Floats
    v: Floats
    stream_function: Floats
    pressure: Floats


def lid_speed(x: Floats, is_regularized: bool) -> Floats:
    """Return the lid's speed at some places, of their shape: 1, or `16 x^2 (1 - x)^2`, which is 1 in the middle.

    Source: Shen, J. Comput. Phys. 95 (1991), 228-245, for the latter.

    Example:
        >>> lid_speed(np.asarray([0.0, 0.5]), is_regularized=True).tolist()
        [0.0, 1.0]
    """
    return 16 * x**2 * (1 - x) ** 2 if is_regularized else np.ones_like(x)


def solve(reynolds: float, *, degree: int = 56, is_regularized: bool = False) -> CavitySolution:
    """Return the steady flow at a Reynolds number.

    Args:
        reynolds: lid speed times side length over kinematic viscosity, positive, at most 2500.
        degree: degree of the polynomials in x and in y; the grid has `degree + 1` points each way. Time grows
            like its sixth power, memory like its fourth.
        is_regularized: whether the lid's speed falls to zero towards its ends, see `lid_speed`.

    Raises:
        InputError: for a Reynolds number out of range, a degree below 16, or one at which Newton's method
            finds no flow.

    Example:
        >>> flow = solve(100, degree=32)
        >>> round(float(flow.stream_function.min()), 3)
        -0.103
    """
    reynolds = check_number("lid-driven cavity reference, 'reynolds'", reynolds)
    if reynolds > LARGEST_REYNOLDS:
        raise InputError(
            "lid-driven cavity reference, 'reynolds'",
            received=reynolds,
            expected=f"at most {LARGEST_REYNOLDS:g}",
            fix="The solver does not resolve the boundary layers of faster flows; lower the Reynolds number.",
        )
    check_count("lid-driven cavity reference, 'degree'", degree, least=16)
    coarse = _Discretization(min(degree, _COARSE_DEGREE), is_regularized)
    regular = coarse.stokes()
    for step in [*(step for step in _CONTINUATION if step < reynolds), reynolds]:
        regular = coarse.newton(step, regular)
    fine = coarse
    if degree > _COARSE_DEGREE:
        fine = _Discretization(degree, is_regularized)
        transfer = chebyshev.interpolation(coarse.x, fine.x)
        regular = fine.newton(reynolds, transfer @ regular @ transfer.T)
    return fine.solution(reynolds, regular)


def interpolate(solution: CavitySolution, points: ArrayLike) -> dict[str, Floats]:
    """Return the flow at arbitrary points of the unit square, as exact as on the grid.

    Args:
        solution: what `solve` returned.
        points: coordinates (x, y), shape (n, 2).

    Returns:
        "u", "v", "stream_function" and "pressure", shape (n,) each.

    Raises:
        InputError: for points of another shape or outside the square.

    Example:
        >>> values = interpolate(solve(100, degree=32), [[0.5, 1.0], [0.5, 0.5]])
        >>> values["u"].round(3), values["v"].round(3)
        (array([ 1.   , -0.209]), array([0.   , 0.058]))
    """
    located = check_points("lid-driven cavity reference, points (x, y)", points, (0.0, 0.0), (1.0, 1.0))
    x, y = located.T
    at_corners = no_corner_flow if solution.is_regularized else corner_flow
    at_nodes = at_corners(*np.meshgrid(solution.x, solution.y, indexing="ij"))
    at_points = at_corners(x, y)
    inner = slice(1, -1)

    def evaluate(values: Floats, part: slice = slice(None)) -> Floats:
        along_x = chebyshev.interpolation(solution.x[part], x)
        along_y = chebyshev.interpolation(solution.y[part], y)
        return np.asarray(np.einsum("ni,ij,nj->n", along_x, values[part, part], along_y, optimize=True))

    with np.errstate(invalid="ignore"):  # infinity less infinity, at the corners, which `inner` leaves out
        smooth_pressure = solution.pressure - at_nodes.pressure / solution.reynolds
    return {
        "u": evaluate(solution.u - at_nodes.psi_y) + at_points.psi_y,
        "v": evaluate(solution.v + at_nodes.psi_x) - at_points.psi_x,
        "stream_function": evaluate(solution.stream_function - at_nodes.psi) + at_points.psi,
        "pressure": evaluate(smooth_pressure, inner) + at_points.pressure / solution.reynolds,
    }


@final
class _Discretization:
    """The collocated equation for the regular part of psi: all of it but the corner terms, at all nodes."""

    def __init__(self, degree: int, is_regularized: bool = False) -> None:
        self._is_regularized = is_regularized
        self._corner_flow = no_corner_flow if is_regularized else corner_flow
        self.x = chebyshev.nodes(degree)
        first = chebyshev.differentiation(self.x)
        self._powers = [np.eye(degree + 1), first]
        for _ in range(3):
            self._powers.append(first @ self._powers[-1])
        self._inner = slice(2, degree - 1)
        self._extension = self._clamped_extension(first)
        self._matrices = [power[self._inner] @ self._extension for power in self._powers]
        self._grid = np.meshgrid(self.x, self.x, indexing="ij")
        self._corners = self._corner_flow(*(axis[self._inner, self._inner] for axis in self._grid))
        self._lift = self._wall_values()

    def _clamped_extension(self, first: Floats) -> Floats:
        """From values at the nodes but two at each end to all, by the polynomial with double zeros at 0 and 1."""
        extension = np.zeros((len(self.x), len(self.x) - 4))
        extension[self._inner] = np.eye(len(self.x) - 4)
        slopes = first[[0, -1]]
        extension[[1, -2]] = -np.linalg.solve(slopes[:, [1, -2]], slopes[:, self._inner])
        return extension

    def _wall_values(self) -> Floats:
        """Hermite blend of psi and its normal derivative on the walls, less the corner terms (Coons patch)."""
        s = self.x
        cubics = np.stack([1 - 3 * s**2 + 2 * s**3, 3 * s**2 - 2 * s**3, s - 2 * s**2 + s**3, s**3 - s**2], 1)
        flow = self._corner_flow(*self._grid)
        on_vertical = -np.stack([flow.psi[0], flow.psi[-1], flow.psi_x[0], flow.psi_x[-1]])
        on_horizontal = -np.stack([flow.psi[:, 0], flow.psi[:, -1], flow.psi_y[:, 0], flow.psi_y[:, -1]])
        on_horizontal[3] += lid_speed(s, self._is_regularized)
        ends = on_vertical @ np.concatenate([self._powers[0][[0, -1]], self._powers[1][[0, -1]]]).T
        along_x = cubics @ on_vertical
        return np.asarray(along_x + (cubics @ on_horizontal).T - cubics @ ends @ cubics.T)

    def _derivative(self, regular: Floats, in_x: int, in_y: int, part: slice) -> Floats:
        return np.asarray(self._powers[in_x][part] @ regular @ self._powers[in_y][part].T)

    def stokes(self) -> Floats:
        """Return the flow at Reynolds number zero."""
        return self.newton(0.0, self._lift)

    def newton(self, reynolds: float, regular: Floats) -> Floats:
        """Return the regular part at the nodes, shape (n, n), from that of a flow nearby."""
        from scipy.linalg import solve as solve_linear

        inner = self._inner
        values = (regular - self._lift)[inner, inner]
        for _ in range(_NEWTON_ITERATIONS):
            residual, jacobian = self._linearized(reynolds, self._everywhere(values))
            update = solve_linear(jacobian, residual.ravel(), overwrite_a=True, check_finite=False)
            values -= update.reshape(values.shape)
            size = float(np.abs(update).max())
            if size < _NEWTON_TOLERANCE:
                return self._everywhere(values)
            if not np.isfinite(size):
                break
        raise InputError(
            "lid-driven cavity reference: Newton's method finds no steady flow",
            received=f"Reynolds number {reynolds:g}, degree {len(self.x) - 1}",
            expected="a flow that the grid resolves",
            fix="Raise the degree or lower the Reynolds number.",
        )

    def _everywhere(self, values: Floats) -> Floats:
        """The regular part at all nodes, from its clamped part's values at the inner ones."""
        return np.asarray(self._extension @ values @ self._extension.T + self._lift)

    def _linearized(self, reynolds: float, regular: Floats) -> tuple[Floats, Floats]:
        """The equation's residual at the inner nodes, (n, n), and its derivative by the values there, (n^2, n^2)."""
        corners = self._corners
        d = {
            (i, j): self._derivative(regular, i, j, self._inner)
            for i, j in ((1, 0), (0, 1), (3, 0), (1, 2), (2, 1), (0, 3), (4, 0), (2, 2), (0, 4))
        }
        psi_x, psi_y = d[1, 0] + corners.psi_x, d[0, 1] + corners.psi_y
        q_x = d[3, 0] + d[1, 2] + corners.q_x
        q_y = d[2, 1] + d[0, 3] + corners.q_y
        residual = d[4, 0] + 2 * d[2, 2] + d[0, 4] - reynolds * (psi_y * q_x - psi_x * q_y)
        return residual, self._jacobian(reynolds * psi_x, reynolds * psi_y, reynolds * q_x, reynolds * q_y)

    def _jacobian(self, psi_x: Floats, psi_y: Floats, q_x: Floats, q_y: Floats) -> Floats:
        """Derivative of the residual by the inner values; arguments come multiplied by the Reynolds number."""
        _, d1, d2, d3, d4 = self._matrices
        n = len(d1)
        jacobian = np.empty((n, n, n, n))
        for i in range(n):
            # terms that couple both directions: lap's cross term, and the mixed derivatives in q_x and q_y
            by_second = 2 * d2 + psi_x[i][:, None] * d1
            by_first = psi_y[i][:, None] * d2
            np.multiply(by_second[:, None, :], d2[i][:, None], out=jacobian[i])
            jacobian[i] -= by_first[:, None, :] * d1[i][:, None]
        along_x = np.einsum("ijkj->ijk", jacobian)  # writeable views on the entries that share y, and x
        along_x += d4[:, None, :] - psi_y[:, :, None] * d3[:, None, :] + q_y[:, :, None] * d1[:, None, :]
        along_y = np.einsum("ijil->ijl", jacobian)
        along_y += d4 + psi_x[:, :, None] * d3 - q_x[:, :, None] * d1
        return jacobian.reshape(n * n, n * n)

    def solution(self, reynolds: float, regular: Floats) -> CavitySolution:
        """Return all fields from the regular part of psi."""
        flow = self._corner_flow(*self._grid)
        everywhere = slice(None)
        u = self._derivative(regular, 0, 1, everywhere) + flow.psi_y
        v = -self._derivative(regular, 1, 0, everywhere) - flow.psi_x
        psi = regular + flow.psi
        speed = lid_speed(self.x, self._is_regularized)
        for field, lid in ((u, speed), (v, 0.0), (psi, 0.0)):  # the walls hold to rounding; make them exact
            field[[0, -1]] = 0.0
            field[:, 0] = 0.0
            field[:, -1] = lid
        pressure = self._pressure(reynolds, regular) + flow.pressure / reynolds
        return CavitySolution(reynolds, self._is_regularized, self.x, self.x.copy(), u, v, psi, pressure)

    def _pressure(self, reynolds: float, regular: Floats) -> Floats:
        """The pressure less the corner terms', at all nodes: a polynomial fitted to its gradient at the inner ones.

        Two degrees lower than psi, so that no spurious mode has a vanishing gradient there.
        """
        part = slice(1, -1)
        flow = self._corner_flow(*(axis[part, part] for axis in self._grid))
        d = {(i, j): self._derivative(regular, i, j, part) for i in range(4) for j in range(4 - i)}
        u, v = d[0, 1] + flow.psi_y, -d[1, 0] - flow.psi_x
        psi_xx, psi_xy, psi_yy = d[2, 0] + flow.psi_xx, d[1, 1] + flow.psi_xy, d[0, 2] + flow.psi_yy
        p_x = (d[2, 1] + d[0, 3]) / reynolds - u * psi_xy - v * psi_yy
        p_y = -(d[3, 0] + d[1, 2]) / reynolds + u * psi_xx + v * psi_xy

        x = self.x[part]
        root = np.sqrt(np.sqrt(x * (1 - x)))  # square root of the quadrature weights, up to a factor
        gradient = root[:, None] * chebyshev.differentiation(x) / root
        right = gradient.T @ (root[:, None] * p_x * root) + (root[:, None] * p_y * root) @ gradient
        _, singular, modes = np.linalg.svd(gradient)
        singular[-1] = 0.0  # the constant
        scale = singular[:, None] ** 2 + singular**2
        scale[-1, -1] = np.inf
        fitted = modes.T @ ((modes @ right @ modes.T) / scale) @ modes / root[:, None] / root
        extend = chebyshev.interpolation(x, self.x)
        centre = chebyshev.interpolation(x, np.asarray([0.5]))
        return np.asarray(extend @ fitted @ extend.T - centre @ fitted @ centre.T)
