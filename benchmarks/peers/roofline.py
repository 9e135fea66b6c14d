"""The matrix products that jets must do in a training step, to set beside the fastest that the machine does any."""

from __future__ import annotations

from benchmarks.peers.cases import Case, problem_of
from phasecore.jets import algebra_of
from phasecore.partials import parse_partial
from phasecore.problems import Problem


def operations(case: Case) -> int:
    """Return the floating-point operations of all matrix products of a step, equations and conditions.

    Each carried coefficient goes through each layer in one product forward and two backward: for the coefficient and
    for the matrix. Into the first layer go only the coordinates and their constant slopes, all else is zero there, and
    nothing goes back to the coordinates. Within 0.1 % of what torch.utils.flop_counter counts.
    """
    problem = problem_of(case.problem)
    points = problem.sample(case.points, seed=0)
    total = _products(problem, problem.all_partials(), case, len(points.interior))
    for condition, own in zip(problem.conditions, points.conditions, strict=True):
        total += _products(problem, condition.partials, case, len(own))
    return total


def _products(problem: Problem, names: tuple[str, ...], case: Case, points: int) -> int:
    partials = [parse_partial(name, problem.outputs, problem.coordinates, problem.parameters) for name in names]
    algebra = algebra_of(len(problem.coordinates), [partial.operator for partial in partials])
    first = sum(any(sum(exponents) <= 1 for exponents, _ in operator) for operator in algebra.operators)
    carried = len(algebra.operators)
    inner = (case.depth - 1) * case.width**2 + case.width * len(problem.outputs)
    return 2 * points * (2 * first * len(problem.coordinates) * case.width + 3 * carried * inner)
