"""Poisson's equation on an L-shaped domain, whose corner bends inwards and makes the gradient infinite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.domains import Polygon
from phasecore.problems.parameters import check_finite, check_not_trained
from phasecore.problems.references import l_shape


@final
class PoissonLShape(Problem):
    """`u_xx + u_yy + source = 0` on [-1, 1]^2 without [0, 1]^2, u = 0 on the boundary.

    At the corner (0, 0) the solution goes as r^(2/3), with r the distance from it.

    Attributes:
        source: right-hand side, any finite number but 0; the solution is proportional to it.

    Raises:
        InputError: if the source is zero or not finite.

    Source: the example "Poisson equation over L-shaped domain" of DeepXDE (Lu, Meng, Mao, Karniadakis, SIAM Review 63
    (2021), 208-228). The domain and its reference: Fox, Henrici, Moler, SIAM J. Numer. Anal. 4 (1967), 89-102.

    Example:
        >>> problem = PoissonLShape(source=2)
        >>> problem.sample(40).interior.shape, round(float(problem.reference([[-0.5, -0.5]])["u"][0]), 4)
        ((40, 2), 0.2621)
    """

    source: float = 1.0

    domain: ClassVar[Mapping[tuple[str, ...], Polygon]] = {("x", "y"): Polygon(l_shape.VERTICES)}
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    reference_accuracy: ClassVar[str] = l_shape.ACCURACY
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(
            points=1000,
            condition_points=200,
            width=64,
            depth=3,
            iterations=2500,
            learning_rate=5e-3,
            decay_interval=250,
        ),
        "paper": Preset(points=1200, condition_points=120, width=50, depth=4, iterations=50_000, every=100),
    }

    def __post_init__(self) -> None:
        check_not_trained(self, "source")
        check_finite(self, "source")
        if self.source == 0:
            raise InputError("problem 'poisson_l_shape', parameter 'source'", received="0", expected="another number")

    @property
    def conditions(self) -> Sequence[Condition]:
        """Zero on the whole boundary."""
        return [Prescribed("boundary", "boundary", {"u": 0.0})]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_xx + u_yy + source`, shape (n,)."""
        return {"pde": partials["u_xx + u_yy"] + self.source}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the solution by a series, shape (m,)."""
        x, y = self.check_points(points).T
        return {"u": np.asarray(self.source * l_shape.solution(x, y))}
