"""The viscous Burgers equation, whose solution steepens into a standing shock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.measured import measured, number_of_data_points
from phasecore.problems.parameters import check_positive
from phasecore.problems.references.burgers import cole_hopf_at
from phasecore.problems.references.checks import check_number

_QUICK = Preset(
    points=1000,
    width=64,
    depth=3,
    iterations=2500,
    learning_rate=2e-2,
    decay_interval=500,
    every=20,
    parameters={"viscosity": 0.05},
    weighting={"rba": {"gamma": 0.99, "eta": 0.01}},
)


@final
@dataclass(frozen=True)
class Burgers(Problem):
    """`u_t + u u_x - viscosity u_xx = 0` on x in [-1, 1], t in [0, 1]; `u(x, 0) = -sin(pi x)`, `u(+-1, t) = 0`.

    Attributes:
        viscosity: coefficient of u_xx, positive; or `phasecore.trained(...)`, to be found from data.
        data_points: number of points inside at which the solution is given, without noise; by default 500 where the
            viscosity is trained, and none else. They are the same in every training, and those of the true viscosity,
            0.01 / pi unless `trained(..., true=...)` says another.

    Raises:
        InputError: if the viscosity is not positive, or `data_points` is no whole number.

    The preset "quick" is milder than the benchmark of the source: 16 times the viscosity, so that no steep front forms.
    With the same equation "phases" trains at a constant rate, and five times as long, until total diffusion.

    Source: Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019), 686-707, appendix A.

    Example:
        >>> float(Burgers().reference([[0.5, 0.0]])["u"][0])
        -1.0
    """

    viscosity: float | Trained = 0.01 / math.pi
    data_points: int | None = None

    name: ClassVar[str] = "burgers"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "t")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u", "u_x", "u_t - viscosity*u_xx")}
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    reference_accuracy: ClassVar[str] = "1e-13 (Cole-Hopf transformation, quadrature)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": _QUICK,
        "phases": replace(_QUICK, iterations=12_000, learning_rate=7e-3, decay_interval=12_000),
        "paper": Preset(points=10_000, width=128, depth=6, iterations=300_000, every=100),
    }

    def __post_init__(self) -> None:
        check_positive(self, "viscosity")
        object.__setattr__(self, "_data_points", number_of_data_points(self, self.data_points))

    @property
    def domain(self) -> Mapping[str, tuple[float, float]]:
        """Interval in space, unit time: x in [-1, 1], t in [0, 1]."""
        return {"x": (-1.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self) -> Sequence[Condition]:
        """A sine at the start, zero at both ends, and the data."""
        count: int = vars(self)["_data_points"]
        return [
            Prescribed("initial", ("t", 0.0), {"u": lambda coordinates: -np.sin(np.pi * coordinates["x"])}),
            Prescribed("boundary", ("x", -1.0), {"u": 0.0}),
            Prescribed("boundary", ("x", 1.0), {"u": 0.0}),
            *([measured(Burgers(self.true_parameter("viscosity")), count)] if count else []),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t + u u_x - viscosity u_xx`, shape (n,)."""
        return {"pde": partials["u_t - viscosity*u_xx"] + partials["u"] * partials["u_x"]}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the exact solution, shape (m,); kept for the points asked for last, such as those of the grid."""
        viscosity = check_number("Burgers reference, 'viscosity'", self.true_parameter("viscosity"))
        return {"u": cole_hopf_at(viscosity, self.check_points(points).tobytes()).copy()}
