"""The Lorenz system: three ordinary differential equations."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.measured import data_of, number_of_data_points
from phasecore.problems.parameters import check_not_trained, check_positive

START = {"x": -8.0, "y": 7.0, "z": 27.0}
"""Values at t = 0."""

LONGEST = 20.0
"""Longer than this the trajectory depends on the last digits of the numbers that it is computed with."""

TOLERANCE = 1e-12


@final
class Lorenz(Problem):
    """`x_t = sigma (y - x)`, `y_t = x (rho - z) - y`, `z_t = x y - beta z`, t in [0, end]; from (-8, 7, 27).

    The equations are called "velocity_x", "velocity_y" and "velocity_z". With `rho=28` the system is chaotic.

    Attributes:
        sigma: Prandtl number, positive; or `phasecore.trained(...)`, to be found from the solution at 500 times.
        rho: Rayleigh number over the critical one, positive; likewise.
        beta: geometric factor, positive; likewise.
        end: of time, positive, at most 20.

    Raises:
        InputError: if a number is out of range.

    The preset "quick" is milder than the source's: a sixth of the time. Its `rba` has weights below
    0.1: with weights up to 1 the start is given up for the velocities, whose squares begin in the thousands.

    Sources: Lorenz, J. Atmos. Sci. 20 (1963), 130-141; start, end and coefficients are those of DeepXDE's example
    "Inverse problem for the Lorenz system" (Lu, Meng, Mao, Karniadakis, SIAM Review 63 (2021), 208-228).

    Example:
        >>> problem = Lorenz(rho=28)
        >>> {name: float(values[0]) for name, values in problem.reference([[0.0]]).items()}
        {'x': -8.0, 'y': 7.0, 'z': 27.0}
    """

    sigma: float | Trained = 10.0
    rho: float | Trained = 15.0
    beta: float | Trained = 8 / 3
    end: float = 3.0

    outputs: ClassVar[tuple[str, ...]] = ("x", "y", "z")
    reference_accuracy: ClassVar[str] = "1e-9 up to t = 3 (Runge-Kutta of order 8, tolerance 1e-12)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=200,
            condition_points=1,
            width=64,
            depth=3,
            iterations=3000,
            learning_rate=1e-2,
            decay_interval=300,
            parameters={"end": 0.5},
            weighting={"rba": {"eta": 1e-4}},
        ),
        "paper": Preset(points=400, condition_points=1, width=40, depth=3, iterations=60_000, every=100),
    }

    def __post_init__(self) -> None:
        check_not_trained(self, "end")
        check_positive(self, "sigma", "rho", "beta", "end")
        if self.end > LONGEST:
            raise InputError("problem 'lorenz', parameter 'end'", received=self.end, expected=f"at most {LONGEST:g}")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def domain(self) -> Mapping[str, tuple[float, float]]:
        """Time: t in [0, end]."""
        return {"t": (0.0, float(self.end))}

    @property
    def conditions(self) -> Sequence[Condition]:
        """The start, and the data."""
        return [Prescribed("initial", ("t", 0.0), START), *data_of(self)]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return the three velocities less what they are to be, shape (n,) each."""
        x, y, z = (partials[name] for name in self.outputs)
        velocities = _velocities(x, y, z, self.sigma, self.rho, self.beta)
        return {
            f"velocity_{name}": partials[f"{name}_t"] - velocity
            for name, velocity in zip(self.outputs, velocities, strict=True)
        }

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the trajectory, solved on first use, shape (m,) each."""
        times = np.clip(self.check_points(points)[:, 0], 0.0, self.end)
        trajectory = _trajectory(*(float(self.true_parameter(name)) for name in ("sigma", "rho", "beta")), self.end)
        return dict(zip(self.outputs, trajectory(times), strict=True))


def _velocities(x: Any, y: Any, z: Any, sigma: Any, rho: Any, beta: Any) -> tuple[Any, Any, Any]:
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


@functools.lru_cache(maxsize=8)
def _trajectory(sigma: float, rho: float, beta: float, end: float) -> Any:
    from scipy.integrate import solve_ivp

    def rates(_: float, state: Floats) -> Floats:
        x, y, z = state
        return np.asarray(_velocities(x, y, z, sigma, rho, beta))

    start = list(START.values())
    found = solve_ivp(rates, (0.0, end), start, method="DOP853", rtol=TOLERANCE, atol=TOLERANCE, dense_output=True)
    return found.sol
