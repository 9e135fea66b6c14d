"""A condition run once on stand-ins: what it comes to, and how many residuals it has of each point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasecore.problems.base import Problem
from phasecore.problems.checks import condition_residuals_of, targets_of
from phasecore.problems.coefficients import rehearsed
from phasecore.problems.conditions import Condition
from phasecore.problems.rehearsal import with_numbers
from phasecore.problems.standins import StandIn, StandInNamespace, StandInPartials, values_of

Floats = NDArray[np.float64]


def condition_rehearsed(problem: Problem, condition: Condition, points: Floats) -> Floats:
    """Return the residuals of a condition at its points and made-up partials, shape (k,).

    Trained coefficients that the residuals read have their initial values, in a closure too. Targets are computed once,
    before a coefficient has any value, and so are computed here.

    Raises:
        PluginError: for a condition that breaks its contract.
        InputError: for a residual of another shape than its points, or normals of a wrong shape.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> problem = Helmholtz()
        >>> condition_rehearsed(problem, problem.conditions[0], problem.sample(9).conditions[0][:4]).shape
        (4,)
    """
    targets = targets_of(condition, points, problem.coordinates, problem.normals)
    where = f"condition of term {condition.term!r}"
    partials = StandInPartials(
        where, problem.outputs, problem.coordinates, with_numbers(problem).parameters, len(points)
    )
    read = {name: partials[name] for name in condition.partials}
    given = {name: StandIn(values) for name, values in targets.items()}
    with rehearsed():
        return values_of(condition_residuals_of(condition, read, given, StandInNamespace(), len(points)))
