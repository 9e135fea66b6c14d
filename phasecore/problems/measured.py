"""Data of a problem whose solution is known: what an inverse problem finds its coefficients from."""

from __future__ import annotations

import functools

import numpy as np

from phasecore.arguments import is_whole
from phasecore.errors import InputError
from phasecore.problems.base import Problem
from phasecore.problems.conditions import Data
from phasecore.problems.sampling import latin_hypercube

MEASURED = 500
"""Points at which the solution is given where a coefficient is trained and nothing else is said."""


def number_of_data_points(problem: Problem, asked: int | None = None) -> int:
    """Return at how many points the solution is given: as asked, by default `MEASURED` where coefficients are trained.

    Raises:
        InputError: for anything but None or a whole number, 0 or more.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> number_of_data_points(Helmholtz()), number_of_data_points(Helmholtz(), 20)
        (0, 20)
    """
    if asked is None:
        return MEASURED if problem.trained_coefficients else 0
    if not is_whole(asked, least=0):
        raise InputError(
            f"problem {problem.name!r}, parameter 'data_points'", received=repr(asked), expected="an integer, 0 or more"
        )
    return asked


def data_of(problem: Problem) -> list[Data]:
    """Return the condition that gives the true solution of a problem at its data points, if there are any.

    Args:
        problem: whose attribute `_data_points` is their number.
    """
    count: int = vars(problem)["_data_points"]
    if not count:
        return []
    return [measured(type(problem)(**{name: problem.true_parameter(name) for name in problem.parameters}), count)]


@functools.lru_cache(maxsize=8)
def measured(problem: Problem, count: int) -> Data:
    """Return the reference solution of a problem as data without noise, at points drawn once for all trainings.

    Args:
        problem: with parameters that are numbers, whose outputs the reference gives.
        count: number of points, by Latin hypercube sampling.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> measured(Helmholtz(), 20).points.shape
        (20, 2)
    """
    points = latin_hypercube(count, problem.bounds, np.random.default_rng(0))
    return Data("data", points, dict(problem.reference(points)))
