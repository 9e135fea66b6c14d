"""The wave equation on a string: two standing waves whose frequencies are far apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed, Value
from phasecore.problems.measured import data_of, number_of_data_points
from phasecore.problems.parameters import check_positive, check_positive_integer


@final
class Wave(Problem):
    """`u_tt - speed^2 u_xx = 0` on the unit square, u = 0 at both ends; `u(x, 0) = sin(pi x) + sin(waves pi x) / 2`.

    At rest at the start. Exact: `sin(pi x) cos(speed pi t) + sin(waves pi x) cos(waves speed pi t) / 2`.

    Attributes:
        speed: of waves, positive; or `phasecore.trained(...)`, to be found from the solution at 500 points inside.
        waves: half-waves of the second standing wave, a positive integer.

    Raises:
        InputError: if the speed is not positive, or `waves` no positive integer.

    The preset "quick" is milder than the source's: half the speed, and two half-waves.

    Source: Wang, Yu, Perdikaris, J. Comput. Phys. 449 (2022), 110768 (arXiv 2007.14527), section 7.2.

    Example:
        >>> round(float(Wave().reference([[0.5, 0.5]])["u"][0]), 12)
        -1.0
    """

    speed: float | Trained = 2.0
    waves: int = 4

    domain: ClassVar[Mapping[str, tuple[float, float]]] = {"x": (0.0, 1.0), "t": (0.0, 1.0)}
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=1000,
            width=64,
            depth=3,
            iterations=2500,
            learning_rate=5e-3,
            decay_interval=250,
            parameters={"speed": 1.0, "waves": 2},
        ),
        "paper": Preset(
            points=10_000, condition_points=300, width=500, depth=5, iterations=80_000, decay_interval=1000, every=100
        ),
    }

    def __post_init__(self) -> None:
        check_positive(self, "speed")
        check_positive_integer(self, "waves")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def conditions(self) -> Sequence[Condition]:
        """Two sines at rest at the start, zero at both ends, and the data."""
        start: dict[str, Value] = {"u": lambda at: self._shape(at["x"], 1.0, 1.0), "u_t": 0.0}
        return [
            Prescribed("initial", ("t", 0.0), start),
            Prescribed("boundary", ("x", 0.0), {"u": 0.0}),
            Prescribed("boundary", ("x", 1.0), {"u": 0.0}),
            *data_of(self),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_tt - speed^2 u_xx`, shape (n,)."""
        return {"pde": partials["u_tt"] - self.speed**2 * partials["u_xx"]}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the two standing waves, shape (m,)."""
        x, t = self.check_points(points).T
        phase = math.pi * self.true_parameter("speed") * t
        return {"u": self._shape(x, np.cos(phase), np.cos(self.waves * phase))}

    def _shape(self, x: Floats, first: Floats | float, second: Floats | float) -> Floats:
        return np.asarray(first * np.sin(math.pi * x) + second * np.sin(self.waves * math.pi * x) / 2)
