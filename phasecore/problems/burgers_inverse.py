"""Burgers' equation with both coefficients unknown, to be found from measured points alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained, trained
from phasecore.problems.conditions import Condition
from phasecore.problems.measured import measured
from phasecore.problems.parameters import check_finite, check_positive, check_positive_integer
from phasecore.problems.references.burgers import cole_hopf_at


@final
class BurgersInverse(Problem):
    """`u_t + advection u u_x - viscosity u_xx = 0`, x in [-1, 1], t in [0, 1], both coefficients unknown.

    There is neither an initial nor a boundary condition: the solution of `burgers` is given, without noise, at points
    that are the same in every training. What is to be found is its advection, 1, and its viscosity.

    Attributes:
        advection: coefficient of u u_x, trained from 0; a number keeps it, and only 1 is that of the data.
        viscosity: coefficient of u_xx, positive, trained from 0.05; a number keeps it, and is that of the data.
        data_points: number of points at which the solution is given, a positive integer.

    Raises:
        InputError: if a coefficient is out of range, or `data_points` no positive integer.

    The preset "quick" is milder than the source's: 16 times the viscosity, and 500 points.

    Source: Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019), 686-707, appendix B.

    Example:
        >>> problem = BurgersInverse()
        >>> problem.terms, [*problem.trained_coefficients]
        (('pde', 'data'), ['advection', 'viscosity'])
    """

    advection: float | Trained = trained(0.0, true=1.0)
    viscosity: float | Trained = trained(0.05, positive=True, true=0.01 / math.pi)
    data_points: int = 2000

    domain: ClassVar[Mapping[str, tuple[float, float]]] = {"x": (-1.0, 1.0), "t": (0.0, 1.0)}
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    reference_accuracy: ClassVar[str] = "1e-13 (Cole-Hopf transformation, quadrature)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=1000,
            width=48,
            depth=3,
            iterations=2500,
            learning_rate=5e-3,
            decay_interval=250,
            parameters={"viscosity": trained(0.2, positive=True, true=0.05), "data_points": 500},
        ),
        "paper": Preset(points=2000, width=20, depth=8, iterations=100_000, every=100),
    }

    def __post_init__(self) -> None:
        check_finite(self, "advection")
        check_positive(self, "viscosity")
        if isinstance(self.advection, Trained) and self.true_parameter("advection") != 1:
            raise InputError(
                "problem 'burgers_inverse', parameter 'advection'",
                received=repr(self.advection),
                expected="a true value of 1, which is that of the data",
            )
        check_positive_integer(self, "data_points")

    @property
    def conditions(self) -> Sequence[Condition]:
        """The data."""
        return [measured(BurgersInverse(1.0, self.true_parameter("viscosity"), self.data_points), self.data_points)]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t + advection u u_x - viscosity u_xx`, shape (n,)."""
        return {"pde": partials["u_t - viscosity*u_xx"] + self.advection * partials["u"] * partials["u_x"]}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the exact solution of the true coefficients, shape (m,)."""
        viscosity = float(self.true_parameter("viscosity"))
        return {"u": cole_hopf_at(viscosity, self.check_points(points).tobytes()).copy()}
