"""Examples of DeepXDE's that are not built in, in short; `benchmarks.deepxde_examples` compares them with DeepXDE."""

# ruff: noqa: RUF012, D102

from __future__ import annotations

from typing import Any

import numpy as np

import phasecore
from phasecore import Box, Disk, Prescribed, ResidualCondition

WAVENUMBER = 2 * np.pi


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
