"""What a network is trained on: collocation points, and set-ups by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class CollocationPoints:
    """Where the residuals of the equations and of the conditions are evaluated.

    Attributes:
        interior: coordinates of the equations' collocation points, shape (n, dimension).
        conditions: for each of the problem's conditions, in its order, points of shape (m, dimension).
    """

    interior: Floats
    conditions: tuple[Floats, ...]


@final
@dataclass(frozen=True)
class Preset:
    """A named training set-up of a problem.

    Attributes:
        parameters: the problem's own parameters.
        points: number of collocation points.
        condition_points: number of points of each condition; None lets the problem choose.
        width: neurons of each hidden layer.
        depth: number of hidden layers.
        iterations: optimizer iterations.
        learning_rate: Adam's, multiplied by `decay_factor` every `decay_interval` iterations.
        every: iterations between captures.
        weighting: recommended options by scheme name.
    """

    points: int
    width: int
    depth: int
    iterations: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    condition_points: int | None = None
    learning_rate: float = 1e-3
    decay_factor: float = 0.9
    decay_interval: int = 5000
    every: int = 10
    weighting: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def presets_of(problem: Problem) -> Mapping[str, Preset]:
    """Return the preset "quick" of a problem that gives none."""
    points = 500 if len(problem.coordinates) == 1 else 2500
    return {"quick": Preset(points=points, width=64, depth=4, iterations=3000)}
