"""The points of one of several processes: a part of all, in which what belongs together stays together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phasecore.arguments import is_whole
from phasecore.errors import InputError, PluginError
from phasecore.problems.condition_rehearsal import condition_rehearsed
from phasecore.problems.conditions import Condition
from phasecore.problems.training_set import CollocationPoints

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

Floats = NDArray[np.float64]


def part_of(
    problem: Problem, points: CollocationPoints, rank: int, processes: int, *, batches: int | None = None
) -> CollocationPoints:
    """Return the points of one of several processes, which together have all of them.

    Each condition says what of its points belongs together: the two faces of a periodic one, the nodes of an integral,
    what was measured at one place (`phasecore.problems.Condition.parts`).

    Args:
        problem: that the points are of.
        points: of all, as `problem.sample(...)` draws them.
        rank: which process it is, from 0.
        processes: how many there are.
        batches: of the gradient statistics: each stays whole, as in one process; without it the points of the equations
            are cut as `numpy.array_split` does.

    Raises:
        InputError: for points of another problem, too few points or batches, and a condition with one residual of all
            its points, of which each process would have another.

    Example:
        >>> from phasecore.problems.allen_cahn import AllenCahn
        >>> problem = AllenCahn()
        >>> part = part_of(problem, problem.sample(10, condition_points=4), 1, 2)
        >>> part.interior.shape, part.conditions[1][:, 0].tolist()
        ((5, 2), [-1.0, -1.0, 1.0, 1.0])
    """
    if not (is_whole(processes) and is_whole(rank, least=0) and rank < processes):
        raise InputError(
            "the part of a process",
            received=f"process {rank!r} of {processes!r}",
            expected="whole numbers: which process, from 0, and how many there are",
        )
    points = problem.check_collocation_points(points)
    total = len(points.interior) if batches is None else batches
    hindrance = f"{total} {'points of the equations' if batches is None else 'batches'}" if total < processes else ""
    if hindrance := hindrance or not_in_parts(problem, points.conditions, processes):
        raise InputError(
            f"the points of problem {problem.name!r} in {processes} parts",
            received=hindrance,
            expected="of the equations and of each condition as many as processes, and residuals of points",
            fix="Draw more points, or train in fewer processes.",
        )
    cut = np.array_split(points.interior, total)
    interior = np.concatenate([cut[own] for own in np.array_split(np.arange(total), processes)[rank]])
    pairs = zip(problem.conditions, points.conditions, strict=True)
    return CollocationPoints(interior, tuple(condition.parts(own, processes)[rank] for condition, own in pairs))


def not_in_parts(problem: Problem, points: Sequence[Floats], processes: int) -> str:
    """Return which condition cannot be cut into so many parts, and why, in words; nothing if each can.

    Args:
        problem: whose conditions.
        points: of each, shape (m, dimension).
        processes: number of parts.
    """
    for condition, own in zip(problem.conditions, points, strict=True):
        parts = condition.parts(own, processes)
        if not all(map(len, parts)):
            return f"a condition of {len(own)} points"
        residuals = [_number_of_residuals(problem, condition, part) for part in (own, *parts)]
        if residuals[0] != sum(residuals[1:]):
            return f"condition {condition.term}, of whose points each process would have a residual of its own"
    return ""


def _number_of_residuals(problem: Problem, condition: Condition, points: Floats) -> int:
    """How many residuals a condition has at points; 0 for one that only a framework's arrays go through."""
    try:
        return len(condition_rehearsed(problem, condition, points))
    except PluginError:
        return 0
