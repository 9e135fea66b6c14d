from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from phasecore.problems import Prescribed, Preset, Problem


@dataclass(frozen=True)
class Advection(Problem):
    """`u_t + speed u_x = 0` on [0, 1]^2, with `u = exp(-(x - speed t)^2)`."""

    speed: float = 0.5

    name: ClassVar[str] = "advection"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "t")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u_t", "u_x")}
    grid: ClassVar[tuple[int, ...]] = (21, 21)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {"quick": Preset(points=200, width=16, depth=2, iterations=200)}

    @property
    def domain(self):
        return {"x": (0.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [
            Prescribed("initial", ("t", 0.0), {"u": lambda at: np.exp(-(at["x"] ** 2))}),
            Prescribed("inflow", ("x", 0.0), {"u": lambda at: np.exp(-((self.speed * at["t"]) ** 2))}),
        ]

    def residuals(self, coordinates, partials, xp):
        return {"pde": partials["u_t"] + self.speed * partials["u_x"]}

    def reference(self, points):
        x, t = self.check_points(points).T
        return {"u": np.exp(-((x - self.speed * t) ** 2))}
