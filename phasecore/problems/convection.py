"""Convection at a constant speed: a linear equation on which plain networks fail when the speed is high."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Periodic, Prescribed
from phasecore.problems.measured import data_of, number_of_data_points
from phasecore.problems.parameters import check_positive


@final
class Convection(Problem):
    """`u_t + beta u_x = 0`, x in [0, 2 pi], t in [0, 1], periodic in x; `u(x, 0) = sin(x)`. Exact: `sin(x - beta t)`.

    Attributes:
        beta: speed, positive; or `phasecore.trained(...)`, to be found from the solution at 500 points inside.

    Raises:
        InputError: if the speed is not positive.

    The preset "quick" is milder than the source's: a sixth of the speed.

    Source: Krishnapriyan, Gholami, Zhe, Kirby, Mahoney, NeurIPS 2021 (arXiv 2109.01050), section 3.1.

    Example:
        >>> float(Convection(beta=math.pi / 2).reference([[math.pi, 1.0]])["u"][0])
        1.0
    """

    beta: float | Trained = 30.0

    domain: ClassVar[Mapping[str, tuple[float, float]]] = {"x": (0.0, 2 * math.pi), "t": (0.0, 1.0)}
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
            parameters={"beta": 5.0},
        ),
        "paper": Preset(points=1000, condition_points=100, width=50, depth=4, iterations=100_000, every=100),
    }

    def __post_init__(self) -> None:
        check_positive(self, "beta")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def conditions(self) -> Sequence[Condition]:
        """A sine at the start, periodicity, and the data."""
        start = Prescribed("initial", ("t", 0.0), {"u": lambda at: np.sin(at["x"])})
        return [start, Periodic("boundary", "x", ("u",)), *data_of(self)]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t + beta u_x`, shape (n,)."""
        return {"pde": partials["u_t"] + self.beta * partials["u_x"]}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return `sin(x - beta t)`, shape (m,)."""
        x, t = self.check_points(points).T
        return {"u": np.sin(x - self.true_parameter("beta") * t)}
