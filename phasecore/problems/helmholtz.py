"""The Helmholtz equation on a square, with a manufactured solution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arguments import is_number
from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.measured import measured, number_of_data_points
from phasecore.problems.parameters import check_finite

_ATTENTION = {"rba": {"start": "residuals", "normalization": "minmax"}}


_QUICK = Preset(
    points=1000,
    width=64,
    depth=3,
    iterations=2500,
    learning_rate=5e-3,
    decay_interval=500,
    parameters={"a1": 1, "a2": 2},
)


@final
@dataclass(frozen=True)
class Helmholtz(Problem):
    """`u_xx + u_yy + k^2 u = q` on [-1, 1]^2, u = 0 on the boundary, with `u = sin(a1 pi x) sin(a2 pi y)`.

    Attributes:
        a1: half-waves per unit length along x, a positive integer (so that u vanishes on the boundary).
        a2: likewise along y.
        k: wave number; or `phasecore.trained(...)`, to be found from the solution at 500 points inside. They are the
            same in every training; q is that of the true wave number, 1 unless `trained(..., true=...)` says another.

    Raises:
        InputError: if a1 or a2 is not a positive integer, or k is not finite.

    The preset "quick" is milder than the paper's: fewer waves, (1, 2). With the same waves "phases" trains at a
    constant rate, and more than twice as long: total diffusion comes more abruptly.

    Sources: Wang, Teng, Perdikaris (arXiv 2001.04536) for (1, 4); arXiv 2403.18494 for (6, 6).

    Example:
        >>> float(Helmholtz(a1=1, a2=4).reference([[0.5, 0.125]])["u"][0])
        1.0
    """

    a1: int = 1
    a2: int = 4
    k: float | Trained = 1.0

    name: ClassVar[str] = "helmholtz"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "y")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u", "u_xx + u_yy")}
    grid: ClassVar[tuple[int, ...]] = (101, 101)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": _QUICK,
        "phases": replace(_QUICK, iterations=6000, decay_interval=6000, every=20),
        "paper": Preset(
            points=25_600,
            width=128,
            depth=6,
            iterations=300_000,
            every=100,
            parameters={"a1": 6, "a2": 6},
            weighting=_ATTENTION,
        ),
    }

    def __post_init__(self) -> None:
        for option in ("a1", "a2"):
            value = getattr(self, option)
            if not is_number(value) or value < 1 or value % 1:
                raise InputError(
                    f"problem 'helmholtz', parameter {option!r}",
                    received=repr(value),
                    expected="a positive integer",
                )
        check_finite(self, "k")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def domain(self) -> Mapping[str, tuple[float, float]]:
        """The square [-1, 1]^2."""
        return {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}

    @property
    def conditions(self) -> Sequence[Condition]:
        """The solution is zero on the four sides, and the data."""
        count: int = vars(self)["_data_points"]
        sides = [(coordinate, position) for coordinate in ("x", "y") for position in (-1.0, 1.0)]
        return [
            *(Prescribed("boundary", side, {"u": 0.0}) for side in sides),
            *([measured(Helmholtz(self.a1, self.a2), count)] if count else []),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_xx + u_yy + k^2 u - q`, shape (n,)."""
        k = self.true_parameter("k")
        forcing = (k**2 - math.pi**2 * (self.a1**2 + self.a2**2)) * self._solution(coordinates, xp)
        return {"pde": partials["u_xx + u_yy"] + self.k**2 * partials["u"] - forcing}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the exact solution, shape (m,)."""
        x, y = self.check_points(points).T
        return {"u": self._solution({"x": x, "y": y}, np)}

    def _solution(self, coordinates: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        return xp.sin(self.a1 * math.pi * coordinates["x"]) * xp.sin(self.a2 * math.pi * coordinates["y"])
