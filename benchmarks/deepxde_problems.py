"""Five of DeepXDE's examples as problems in short; `benchmarks.deepxde_examples` compares them with DeepXDE."""

# ruff: noqa: RUF012, D102

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import phasecore
from phasecore import Box, Data, Disk, Polygon, Prescribed, ResidualCondition

ELL = [[0, 0], [1, 0], [1, -1], [-1, -1], [-1, 1], [0, 1]]
WAVENUMBER = 2 * np.pi
LORENZ_START = (-8.0, 7.0, 27.0)
LORENZ_END = 3.0
LORENZ_TRUE = (10.0, 28.0, 8 / 3)


class PoissonOnAnEll(phasecore.Problem):
    """`-u_xx - u_yy = 1` on an L, zero on its boundary."""

    domain = Polygon(ELL)
    outputs = ("u",)

    def conditions(self) -> Any:
        return Prescribed("boundary", "boundary", {"u": 0})

    def residuals(self, x: Any, u: Any, xp: Any) -> Any:
        return -u["u_xx + u_yy"] - 1


def on_hole(at: Any) -> Any:
    """Choose the boundary of the hole."""
    return at["x"] ** 2 + at["y"] ** 2 < 0.1


class HelmholtzWithAHole(phasecore.Problem):
    """`-u_xx - u_yy - k^2 u = k^2 sin(k x) sin(k y)` around a hole: values outside, the flux on the hole."""

    domain = Box((-0.5, -0.5), (0.5, 0.5)) - Disk((0, 0), 0.25)
    outputs = ("u",)
    k = WAVENUMBER

    def conditions(self) -> Any:
        k = self.k

        def flux(x: Any, u: Any, normal: Any, xp: Any) -> Any:
            along_x = u["u_x"] - k * xp.cos(k * x["x"]) * xp.sin(k * x["y"])
            along_y = u["u_y"] - k * xp.sin(k * x["x"]) * xp.cos(k * x["y"])
            return along_x * normal["x"] + along_y * normal["y"]

        values = {"u": lambda at: np.sin(k * at["x"]) * np.sin(k * at["y"])}
        return [Prescribed("outer", lambda at: ~on_hole(at), values), ResidualCondition("hole", on_hole, flux)]

    def residuals(self, x: Any, u: Any, xp: Any) -> Any:
        k = self.k
        return -u["u_xx + u_yy"] - k**2 * u["u"] - k**2 * xp.sin(k * x["x"]) * xp.sin(k * x["y"])

    def reference(self, x: Any, y: Any) -> Any:
        return np.sin(self.k * x) * np.sin(self.k * y)


class DiffusionOnADisk(phasecore.Problem):
    """`u_t = d (u_xx + u_yy)` on a disk that is cooled along its boundary, `u_n = h (outside - u)`."""

    domain = {("x", "y"): Disk((0.2, -0.1), 0.8), "t": (0, 1)}
    outputs = ("u",)
    diffusivity = 0.3
    cooling = 2.0
    outside = 0.5

    def conditions(self) -> Any:
        def robin(x: Any, u: Any, normal: Any, xp: Any) -> Any:
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] - self.cooling * (self.outside - u["u"])

        start = {"u": lambda at: np.exp(-(at["x"] ** 2) - at["y"] ** 2)}
        return [ResidualCondition("cooled", "boundary", robin), Prescribed("initial", ("t", 0), start)]

    def residuals(self, x: Any, u: Any, xp: Any) -> Any:
        return u["u_t"] - self.diffusivity * u["u_xx + u_yy"]


class LorenzInverse(phasecore.Problem):
    """The Lorenz system, its three coefficients unknown, its start known and its values measured at 25 times."""

    domain = {"t": (0, LORENZ_END)}
    outputs = ("x", "y", "z")
    prandtl = phasecore.trained(1.0, true=LORENZ_TRUE[0])
    rayleigh = phasecore.trained(1.0, true=LORENZ_TRUE[1])
    ratio = phasecore.trained(1.0, true=LORENZ_TRUE[2])

    def conditions(self) -> Any:
        times, values = lorenz_measured()
        starts = [Prescribed(f"start_{k}", ("t", 0), {k: v}) for k, v in zip("xyz", LORENZ_START, strict=True)]
        return [*starts, *(Data(f"data_{k}", times, {k: own}) for k, own in zip("xyz", values.T, strict=True))]

    def residuals(self, x: Any, u: Any, xp: Any) -> Any:
        return (
            u["x_t"] - self.prandtl * (u["y"] - u["x"]),
            u["y_t"] - u["x"] * (self.rayleigh - u["z"]) + u["y"],
            u["z_t"] - u["x"] * u["y"] + self.ratio * u["z"],
        )


class HeatWithASource(phasecore.Problem):
    """`u_t = u_xx + exp(-t) (pi^2 - 1) sin(pi x)` in a rod, with the solution `exp(-t) sin(pi x)`."""

    domain = {"x": (-1, 1), "t": (0, 1)}
    outputs = ("u",)

    def conditions(self) -> Any:
        start = Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"])})
        return [Prescribed("boundary", "boundary", {"u": 0}), start]

    def residuals(self, x: Any, u: Any, xp: Any) -> Any:
        source = xp.exp(-x["t"]) * (np.pi**2 - 1) * xp.sin(np.pi * x["x"])
        return u["u_t"] - u["u_xx"] - source

    def reference(self, x: Any, t: Any) -> Any:
        return np.exp(-t) * np.sin(np.pi * x)


@functools.cache
def lorenz_measured() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times, shape (25, 1), and the values of x, y and z there, shape (25, 3), without noise."""
    prandtl, rayleigh, ratio = LORENZ_TRUE
    times = np.linspace(0, LORENZ_END, 25)

    def slopes(_: float, now: Any) -> list[Any]:
        x, y, z = now
        return [prandtl * (y - x), x * (rayleigh - z) - y, x * y - ratio * z]

    solved = solve_ivp(slopes, (0, LORENZ_END), LORENZ_START, t_eval=times, rtol=1e-9, atol=1e-9)
    return times[:, None], solved.y.T
