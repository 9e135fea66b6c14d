"""The Korteweg-de Vries equation, of third order: a solitary wave that keeps its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.measured import data_of, number_of_data_points
from phasecore.problems.parameters import check_finite, check_not_trained, check_positive


@final
class KortewegDeVries(Problem):
    """`u_t + steepening u u_x + dispersion u_xxx = 0`, x in [-1, 1], t in [0, 1], with its exact soliton.

    The solution is one soliton, with c its speed, a and b the two coefficients, s its centre at the start:
    `u = (3 c / a) / cosh((x - c t - s) sqrt(c / b) / 2)^2`. It is prescribed at the start and at both ends, its slope
    at x = 1 too.

    Attributes:
        steepening: coefficient of u u_x, positive; or `phasecore.trained(...)`, to be found from the solution at 500
            points inside.
        dispersion: coefficient of u_xxx, positive; likewise.
        speed: of the soliton, positive.
        start: where its centre is at t = 0.

    Raises:
        InputError: if a number is not finite, or one but `start` not positive.

    The preset "quick" is milder: a soliton of four times the dispersion, and so of twice the width.

    Sources: Korteweg, de Vries, Philosophical Magazine 39 (1895), 422-443; the coefficients 1 and 0.0025 and the domain
    are those of Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378 (2019), 686-707, section 5.2, where the start is
    a cosine.

    Example:
        >>> float(KortewegDeVries().reference([[0.2, 1.0]])["u"][0])
        1.5
    """

    steepening: float | Trained = 1.0
    dispersion: float | Trained = 0.0025
    speed: float = 0.5
    start: float = -0.3

    name: ClassVar[str] = "kdv"
    domain: ClassVar[Mapping[str, tuple[float, float]]] = {"x": (-1.0, 1.0), "t": (0.0, 1.0)}
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=1000,
            width=48,
            depth=3,
            iterations=2000,
            learning_rate=5e-3,
            decay_interval=200,
            parameters={"dispersion": 0.01},
        ),
        "paper": Preset(points=25_600, width=128, depth=6, iterations=300_000, every=100),
    }

    def __post_init__(self) -> None:
        check_not_trained(self, "speed", "start")
        check_positive(self, "steepening", "dispersion", "speed")
        check_finite(self, "start")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def conditions(self) -> Sequence[Condition]:
        """The soliton at the start and at both ends, its slope at x = 1, and the data."""

        def soliton(at: Mapping[str, Floats]) -> Floats:
            return self._soliton(at["x"], at["t"])[0]

        def slope(at: Mapping[str, Floats]) -> Floats:
            return self._soliton(at["x"], at["t"])[1]

        return [
            Prescribed("initial", ("t", 0.0), {"u": soliton}),
            Prescribed("boundary", ("x", -1.0), {"u": soliton}),
            Prescribed("boundary", ("x", 1.0), {"u": soliton, "u_x": slope}),
            *data_of(self),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t + steepening u u_x + dispersion u_xxx`, shape (n,)."""
        return {"pde": partials["u_t + dispersion*u_xxx"] + self.steepening * partials["u"] * partials["u_x"]}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the soliton, shape (m,)."""
        x, t = self.check_points(points).T
        return {"u": self._soliton(x, t)[0]}

    def _soliton(self, x: Floats, t: Floats) -> tuple[Floats, Floats]:
        """Its values and its slope."""
        steepening, dispersion = self.true_parameter("steepening"), self.true_parameter("dispersion")
        rate = np.sqrt(self.speed / dispersion) / 2
        phase = rate * (x - self.speed * t - self.start)
        values = 3 * self.speed / steepening / np.cosh(phase) ** 2
        return values, -2 * rate * np.tanh(phase) * values
