"""Residuals that are not finite: of which term, at how many points and at which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import PhasecoreError, PluginError, TrainingError
from phasecore.problems.base import CollocationPoints, Floats, Problem

SUSPECTS = "for a division by zero, or a root or logarithm of a negative number"
"""What makes residuals so."""


def not_finite(problem: Problem, points: CollocationPoints, residuals: Mapping[str, NDArray[Any]]) -> str:
    """Say which residuals are no finite real numbers and where, or nothing.

    Args:
        problem: whose residuals.
        points: at which they were evaluated.
        residuals: by term, equations and conditions.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> three = CollocationPoints(np.zeros((3, 2)), ())
        >>> not_finite(Helmholtz(), three, {"pde": np.asarray([1.0, np.nan, np.inf])})
        "the residual of 'pde' is not finite at 2 of 3 points, the first x=0, y=0"
    """
    for term, values in residuals.items():
        if values.dtype.kind != "f":
            return f"the residual of {term!r} is of dtype {values.dtype}"
        if not np.isfinite(values).all():
            own = [points.interior] if term in problem.equations else _of_term(problem, points, term)
            return f"the residual of {term!r} is {places_not_finite(values, np.concatenate(own), problem.coordinates)}"
    return ""


def check_residuals_are_finite(
    problem: Problem, points: CollocationPoints, residuals: Mapping[str, NDArray[Any]]
) -> None:
    """Refuse, before a training, residuals of its network that are no finite real numbers.

    Raises:
        PluginError: naming the problem, the term, how many points and the first of them.
    """
    found = not_finite(problem, points, residuals)
    if found:
        raise PluginError(
            f"problem {problem.name!r} before the first iteration",
            received=found,
            expected="finite real numbers",
            fix=f"Look at the equation there, {SUSPECTS}, and at the network's initial outputs.",
        )


def diverged(
    problem: Problem, iteration: int, points: CollocationPoints, residuals: Mapping[str, NDArray[Any]], loss: float
) -> TrainingError:
    """Return the error that ends a training whose loss is not finite: it names the term and where.

    Args:
        problem: what is trained.
        iteration: optimizer steps done.
        points: of the training.
        residuals: of each term at these points now.
        loss: what the training reported.
    """
    found = not_finite(problem, points, residuals)
    fix = "Lower the learning rate, or look at the weighting scheme's weights in the last snapshot, if there is one."
    if any(np.isfinite(values).any() and not np.isfinite(values).all() for values in residuals.values()):
        fix = f"The network is finite elsewhere: look at the equation there, {SUSPECTS}."
    elif math.isinf(loss) and not any(np.isfinite(values).any() for values in residuals.values()):
        # the step of an infinite loss leaves no number in the network, which says nothing of the equation
        found += " after a step of such a loss"
        fix = "Have the terms of the equations of order one, by other units or a factor, or lower the learning rate."
    return TrainingError(
        f"training of {problem.name!r} at iteration {iteration}",
        received=f"loss {loss}; {found or 'the residuals are finite, so their squares or the weights are too large'}",
        expected="a finite number",
        fix=fix,
        row={"iteration": iteration, "training_loss": loss},
    )


def explained(
    error: PluginError,
    problem: Problem,
    iteration: int,
    points: CollocationPoints,
    residuals: Mapping[str, NDArray[Any]],
) -> PhasecoreError:
    """Return the error about weights, or where these only follow residuals that are not finite, one about those.

    Where no residual is finite any more the network itself is not, which wrong weights make of it too: both are told.

    Args:
        error: that weights are wrong.
        problem: what is trained.
        iteration: at which they are.
        points: of the training.
        residuals: of each term at these points now.
    """
    found = not_finite(problem, points, residuals)
    if not found:
        return error
    if any(np.isfinite(values).any() for values in residuals.values()):
        return diverged(problem, iteration, points, residuals, float("nan"))
    return PluginError(f"{str(error).rstrip('.')}. Nor are the residuals, and either makes the other so: {found}")


def places_not_finite(values: NDArray[Any], points: NDArray[Any], names: Iterable[str]) -> str:
    """Say how many values are not finite, and the coordinates of the first where values belong to points.

    Args:
        values: shape (k,).
        points: shape (m, dimension); values belong to them where k is a multiple of m.
        names: of the coordinates, in order.

    Example:
        >>> places_not_finite(np.asarray([0.0, np.nan]), np.asarray([[0.0], [2.5]]), ["x"])
        'not finite at 1 of 2 points, the first x=2.5'
    """
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(points) and len(values) % len(points) == 0:
        first = points[wrong[0] % len(points)]
        at = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, first, strict=True))
        return f"not finite at {len(wrong)} of {len(values)} points, the first {at}"
    return f"not finite in {len(wrong)} of {len(values)} values, the first at place {wrong[0]}"


def _of_term(problem: Problem, points: CollocationPoints, term: str) -> list[Floats]:
    pairs = zip(problem.conditions, points.conditions, strict=False)
    return [own for condition, own in pairs if condition.term == term] or [points.interior[:0]]
