"""Whether residuals are of one point each: points are evaluated in blocks and batches, of whatever size suits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import PluginError
from phasecore.problems.base import Problem
from phasecore.problems.rehearsal import residuals_at
from phasecore.problems.standins import StandInPartials

POINTS = 32


def check_pointwise(problem: Problem) -> None:
    """Refuse a problem whose residual at a point depends on which other points are evaluated with it.

    Its equations are run on made-up values, all at once and some of them; those that need a framework are let pass.

    Raises:
        PluginError: naming the problem and the equation.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> check_pointwise(Helmholtz())
    """
    try:
        whole, part = _residuals(problem, POINTS), _residuals(problem, POINTS // 8)
    except Exception:
        return
    for name, values in whole.items():
        if values.shape != (POINTS,):
            continue  # its shape is told where it is evaluated
        size = float(np.nanmax(np.abs(values), initial=0.0))
        if not np.allclose(part[name], values[: len(part[name])], rtol=0.0, atol=1e-9 * size, equal_nan=True):
            raise PluginError(
                f"problem {problem.name!r}: residuals()",
                received=f"a residual of {name!r} that depends at one point on the other points",
                expected="each point by itself: how many are evaluated at once depends on batches and caches",
                fix="A mean or an integral of the solution is a condition: phasecore.Integral.",
            )


def _residuals(problem: Problem, count: int) -> dict[str, NDArray[Any]]:
    low, high = problem.bounds
    # drawn point by point, so that fewer points are the first of more
    points = np.random.default_rng(0).uniform(low, high, size=(count, len(low)))
    partials = StandInPartials(problem.name, problem.outputs, problem.coordinates, problem.parameters, count)
    return residuals_at(problem, points, partials)
