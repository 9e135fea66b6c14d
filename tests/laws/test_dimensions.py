"""The laws of problems hold for sound problems of any dimension and domain, and refuse what is wrong in each."""

import math
from dataclasses import dataclass
from typing import ClassVar

import faulty_plugins as faulty
import numpy as np
import pytest

from phasecore.problems import Data, Periodic, Prescribed, Preset, Problem
from phasecore.testing import PROBLEM_LAWS, ProblemSubject, check_problem
from phasecore.testing.problem_declarations import refuses_bad_points


@dataclass(frozen=True)
class Rod(Problem):
    """`u_xx + pi^2 sin(pi x) = 0` on [1, 3], away from zero: Dirichlet, Neumann, periodic and data; u = sin(pi x)."""

    name = "rod"
    coordinates = ("x",)
    outputs = ("u",)
    equations: ClassVar = {"rod": ("u_xx",)}
    grid = (31,)
    reference_accuracy = "exact"
    presets: ClassVar = {"quick": Preset(points=60, width=8, depth=2, iterations=10)}

    @property
    def domain(self):
        return {"x": (1.0, 3.0)}

    @property
    def conditions(self):
        return [
            Prescribed("left", ("x", 1.0), {"u": 0.0}),
            Prescribed("right", ("x", 3.0), {"u_x": -math.pi}),
            Periodic("both", "x", ("u", "u_x")),
            Data("measured", np.asarray([[1.5]]), {"u": np.asarray([-1.0])}),
        ]

    def residuals(self, coordinates, partials, xp):
        return {"rod": partials["u_xx"] + math.pi**2 * xp.sin(math.pi * coordinates["x"])}

    def reference(self, points):
        return {"u": np.sin(math.pi * self.check_points(points)[:, 0])}


@dataclass(frozen=True)
class Box(Problem):
    """`u_xx + u_yy + u_zz = 6` in a box away from zero, u = x^2 + y^2 + z^2."""

    name = "box"
    coordinates = ("x", "y", "z")
    outputs = ("u",)
    equations: ClassVar = {"poisson": ("u_xx + u_yy + u_zz",)}
    grid = (5, 5, 5)
    reference_accuracy = "exact"
    presets: ClassVar = {"quick": Preset(points=60, width=8, depth=2, iterations=10)}

    @property
    def domain(self):
        return {"x": (2.0, 3.0), "y": (-3.0, -2.0), "z": (5.0, 9.0)}

    @property
    def conditions(self):
        return [Prescribed("wall", ("z", 5.0), {"u": lambda at: at["x"] ** 2 + at["y"] ** 2 + 25.0})]

    def residuals(self, coordinates, partials, xp):
        return {"poisson": partials["u_xx + u_yy + u_zz"] - 6.0}

    def reference(self, points):
        return {"u": np.square(self.check_points(points)).sum(axis=1)}


SOUND = [faulty.Decay(), Rod(), Box()]


@pytest.mark.parametrize("problem", SOUND, ids=lambda problem: problem.name)
def test_a_sound_problem_keeps_every_law_in_any_dimension(problem):
    assert len(check_problem(problem).passed) == len(PROBLEM_LAWS)


CARELESS = {
    "outside the domain": lambda points: np.asarray(points, dtype=np.float64).reshape(len(points), -1),
    "that are complex": lambda points: np.real(np.asarray(points)),
    "of no rows": lambda points: np.asarray(points, dtype=np.float64),
    "with rows of unequal length": lambda points: np.asarray([row[: len(points[0])] for row in points], dtype=float),
}


@pytest.mark.parametrize("problem", SOUND, ids=lambda problem: problem.name)
@pytest.mark.parametrize("kind", CARELESS)
def test_points_of_each_bad_kind_are_noticed_in_any_dimension(kind, problem):
    """A reference that looks at everything but one kind of bad points fails for that kind."""

    def reference(self, points):
        wrong = _kind_of(points, self)
        checked = CARELESS[kind](points) if wrong == kind else self.check_points(points)
        return {"u": checked[:, 0]}

    careless = dataclass(frozen=True)(type("Careless", (type(problem),), {"reference": reference}))()
    with pytest.raises(AssertionError, match=f"points {kind}"):
        refuses_bad_points(ProblemSubject(careless))


def _kind_of(points, problem):
    try:
        values = np.asarray(points)
    except ValueError:
        return "with rows of unequal length"
    if values.dtype.kind == "c":
        return "that are complex"
    if len(values) == 0:
        return "of no rows"
    low, high = problem.bounds
    numbers = values.dtype.kind == "f" and values.shape[-1:] == low.shape and values.ndim == 2
    return "outside the domain" if numbers and np.any(values > high) and np.all(np.isfinite(values)) else ""
