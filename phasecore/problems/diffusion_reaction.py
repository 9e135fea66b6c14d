"""Diffusion with a source that keeps five waves decaying together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arrays import Array, ArrayNamespace
from phasecore.problems.base import Floats, Preset, Problem
from phasecore.problems.coefficients import Trained
from phasecore.problems.conditions import Condition, Prescribed
from phasecore.problems.measured import data_of, number_of_data_points
from phasecore.problems.parameters import check_positive

WAVES = (1, 2, 3, 4, 8)
"""Wave numbers of the solution."""


@final
class DiffusionReaction(Problem):
    """`u_t = diffusion u_xx + exp(-t) sum_k (diffusion k^2 - 1) sin(k x) / k`, x in [-pi, pi], t in [0, 1].

    k is 1, 2, 3, 4 and 8, and u = 0 at both ends. Exact: `exp(-t) sum_k sin(k x) / k`, whatever the diffusion.

    Attributes:
        diffusion: coefficient of u_xx, positive; or `phasecore.trained(...)`, to be found from the solution at 500
            points inside. The source is that of the true one, 1 unless `trained(..., true=...)` says another.

    Raises:
        InputError: if the diffusion is not positive.

    Source: the example "Diffusion-reaction equation" of DeepXDE (Lu, Meng, Mao, Karniadakis, SIAM Review 63 (2021),
    208-228).

    Example:
        >>> round(float(DiffusionReaction().reference([[math.pi / 2, 0.0]])["u"][0]), 6)
        0.666667
    """

    diffusion: float | Trained = 1.0

    domain: ClassVar[Mapping[str, tuple[float, float]]] = {"x": (-math.pi, math.pi), "t": (0.0, 1.0)}
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {
        "quick": Preset(points=1000, width=64, depth=3, iterations=2500, learning_rate=5e-3, decay_interval=250),
        "paper": Preset(points=320, condition_points=160, width=30, depth=6, iterations=20_000, every=100),
    }

    def __post_init__(self) -> None:
        check_positive(self, "diffusion")
        object.__setattr__(self, "_data_points", number_of_data_points(self))

    @property
    def conditions(self) -> Sequence[Condition]:
        """The five waves at the start, zero at both ends, and the data."""
        return [
            Prescribed("initial", ("t", 0.0), {"u": lambda at: _waves(at["x"], lambda k: 1 / k, np)}),
            Prescribed("boundary", ("x", -math.pi), {"u": 0.0}),
            Prescribed("boundary", ("x", math.pi), {"u": 0.0}),
            *data_of(self),
        ]

    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return `u_t - diffusion u_xx` less the source, shape (n,)."""
        diffusion = self.true_parameter("diffusion")
        source = _waves(coordinates["x"], lambda k: (diffusion * k**2 - 1) / k, xp)
        return {"pde": partials["u_t - diffusion*u_xx"] - xp.exp(-coordinates["t"]) * source}

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the decaying waves, shape (m,)."""
        x, t = self.check_points(points).T
        return {"u": np.exp(-t) * _waves(x, lambda k: 1 / k, np)}


def _waves(x: Any, amplitude: Any, xp: Any) -> Any:
    first, *others = (amplitude(k) * xp.sin(k * x) for k in WAVES)
    return sum(others, start=first)
