"""The Allen-Cahn equation: layers that sharpen while the solution settles at plus and minus one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Periodic, Prescribed
from phasecore.problems.measured import measured, number_of_data_points
from phasecore.problems.parameters import check_positive
from phasecore.problems.references import allen_cahn
from phasecore.problems.references.cache import cached

_MODES = 1024


@final
@dataclass(frozen=True)
class AllenCahn(Problem):
    """`u_t - diffusion u_xx + reaction (u^3 - u) = 0`, x in [-1, 1], t in [0, 1]; `u(x, 0) = x^2 cos(pi x)`.

    Attributes:
        diffusion: coefficient of u_xx, positive; or `phasecore.trained(...)`, to be found from data.
        reaction: coefficient of u^3 - u, positive; likewise.
        periodic: impose that u and u_x are periodic in x, as the standard benchmark does; the authors of arXiv
            2403.18494 impose the initial condition alone. The reference solution is periodic either way.
        data_points: number of points inside at which the solution is given, without noise; by default 500 where a
            coefficient is trained, and none else. They are the same in every training, and those of the true
            coefficients, 1e-4 and 5 unless `trained(..., true=...)` says another.

    Raises:
        InputError: if a coefficient is not positive, or `data_points` is no whole number.

    The preset "quick" is milder than the paper's: 100 times the diffusion and a fifth of the reaction; and the bound of
    residual-based attention is 4, so that the equation counts more beside the conditions.

    Sources: Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019), 686-707; arXiv 2403.18494.

    Example:
        >>> abs(float(AllenCahn().reference([[0.0, 0.0]])["u"][0])) < 1e-12
        True
    """

    diffusion: float | Trained = 1e-4
    reaction: float | Trained = 5.0
    periodic: bool = True
    data_points: int | None = None

    name: ClassVar[str] = "allen_cahn"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "t")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u", "u_t - diffusion*u_xx")}
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    reference_accuracy: ClassVar[str] = "1e-8 (Fourier spectral method, ETDRK4)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=1000,
            condition_points=128,
            width=64,
            depth=3,
            iterations=3000,
            learning_rate=1e-2,
            decay_interval=300,
            every=20,
            parameters={"diffusion": 0.01, "reaction": 1.0},
            weighting={"rba": {"gamma": 0.99, "eta": 0.04}},
        ),
        "paper": Preset(
            points=25_600, width=128, depth=6, iterations=300_000, every=100, parameters={"periodic": False}
        ),
        "paper_periodic": Preset(
            points=25_600, width=128, depth=6, iterations=300_000, every=100, parameters={"periodic": True}
        ),
    }

    def __post_init__(self) -> None:
        check_positive(self, "diffusion", "reaction")
        if not isinstance(self.periodic, bool):
            raise InputError(
                "problem 'allen_cahn', parameter 'periodic'", received=repr(self.periodic), expected="True or False"
            )
        object.__setattr__(self, "_data_points", number_of_data_points(self, self.data_points))

    @property
    def domain(self) -> Mapping[str, tuple[float, float]]:
        """One period in space, unit time: x in [-1, 1], t in [0, 1]."""
        return {"x": (-1.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self) -> Sequence[Condition]:
        """The initial values, periodicity if asked for, and the data."""
        count: int = vars(self)["_data_points"]
        return [
            Prescribed("initial", ("t", 0.0), {"u": lambda at: at["x"] ** 2 * np.cos(np.pi * at["x"])}),
            *([Periodic("boundary", "x", ("u", "u_x"))] if self.periodic else []),
            *([measured(AllenCahn(*self._true()), count)] if count else []),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t - diffusion u_xx + reaction (u^3 - u)`, shape (n,)."""
        u = partials["u"]
        return {"pde": partials["u_t - diffusion*u_xx"] + self.reaction * (u * u * u - u)}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the spectral solution, interpolated, shape (m,); solved on first use and cached on disk."""
        solution = _solution(*self._true())
        return {"u": allen_cahn.interpolate(solution, self.check_points(points))}

    def _true(self) -> tuple[float, float]:
        return self.true_parameter("diffusion"), self.true_parameter("reaction")


@functools.cache
def _solution(diffusion: float, reaction: float) -> allen_cahn.AllenCahnSolution:
    def compute() -> dict[str, Floats]:
        solution = allen_cahn.solve(diffusion, reaction, modes=_MODES)
        return {"x": solution.x, "t": solution.t, "u": solution.u}

    parameters = {"diffusion": diffusion, "reaction": reaction, "modes": _MODES}
    fields = cached("allen_cahn", parameters, compute)
    return allen_cahn.AllenCahnSolution(fields["x"], fields["t"], fields["u"], diffusion, reaction)
