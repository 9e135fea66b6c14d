"""The parts of what a problem computes, each by itself: a change of a small one does not hide behind a large one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.arguments import is_number
from phasecore.problems.base import Problem
from phasecore.problems.checks import targets_of
from phasecore.problems.rehearsal import residuals_at, with_numbers
from phasecore.problems.standins import StandIn, StandInNamespace, coordinates_at, values_of

Floats = NDArray[np.float64]

Parts = dict[str, dict[str, list[float]]]
"""Group, part: mean, root mean square, and a mean that tells the order of values apart."""

REFERENCE = "the reference solution"
TOLERANCE, OF_REFERENCE = 1e-9, 1e-6
"""How far numbers of one problem may differ between machines, relative to their size; splines differ more."""

ROUNDING = 1e-14
"""What rounding leaves of numbers that cancel, relative to the largest of their group."""

PLACES, OF_SOLUTION = 1024, 64


def parts_of(problem: Problem, conditions: Sequence[Floats]) -> Parts:
    """Return what the parts of a problem come to, in groups whose numbers are of one size.

    Residuals without any partial and with each alone, at many places; what conditions prescribe, and where; how much of
    the bounds is inside; the fields; the reference solution. What cannot be had by itself is left out.

    Args:
        problem: whose parts.
        conditions: points of each of its conditions, shape (m, dimension).

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> problem = Helmholtz()
        >>> list(parts_of(problem, problem.sample(4).conditions)["the residual of pde"])
        ['without partials', 'of u alone', 'of u_xx + u_yy alone']
    """
    places = _places(problem, PLACES)
    found: Parts = {}
    with contextlib.suppress(Exception):
        found |= _of_equations(problem, places)
    for place, (condition, points) in enumerate(zip(problem.conditions, conditions, strict=True), start=1):
        what = f"condition {place}, of {condition.term}"
        for axis, name in enumerate(problem.coordinates):
            found[f"the points of {what}, {name}"] = {"values": moments(points[:, axis])}
        targets = targets_of(condition, points, problem.coordinates, problem.normals)
        found[f"what is prescribed in {what}"] = {name: moments(values) for name, values in targets.items()}
    inside = problem.region.contains(places)
    found["the domain"] = {"share of its bounds": moments(inside.astype(np.float64))}
    with contextlib.suppress(Exception):
        found["the fields"] = _fields(problem, places)
    with contextlib.suppress(Exception):
        if problem.has_reference:
            known = problem.reference(places[inside][:OF_SOLUTION])
            found[REFERENCE] = {name: moments(values) for name, values in known.items()}
    return found


def different_part(recorded: Any, now: Any) -> tuple[str, Any, Any] | None:
    """Return the first part that differs, in words, with what it was and is; None where none does, or one has none.

    Example:
        >>> different_part({"the fields": {"u": [1.0, 1.0, 0.5]}}, {"the fields": {"u": [1.0, 1.0, 0.6]}})
        ('the fields, u', [1.0, 1.0, 0.5], [1.0, 1.0, 0.6])
    """
    if not (isinstance(recorded, Mapping) and isinstance(now, Mapping)):
        return None
    for group in dict.fromkeys([*recorded, *now]):
        before, after = _readable(recorded.get(group)), _readable(now.get(group))
        numbers = [number for part in (*before.values(), *after.values()) for number in part]
        rounding = ROUNDING * max(map(abs, numbers), default=0.0)
        relative = OF_REFERENCE if group == REFERENCE else TOLERANCE
        for name in dict.fromkeys([*before, *after]):
            one, other = before.get(name), after.get(name)
            if not one or not other or len(one) != len(other):
                return f"{group}, {name}", one, other
            size = max(map(abs, (*one, *other)))
            if not np.allclose(one, other, rtol=0.0, atol=relative * size + rounding):
                return f"{group}, {name}", one, other
    return None


def _readable(group: Any) -> dict[str, list[float]]:
    """The parts of a group that are lists of numbers: a file may hold anything."""
    found = group.items() if isinstance(group, Mapping) else ()
    return {name: part for name, part in found if isinstance(part, list) and part and all(map(is_number, part))}


def _of_equations(problem: Problem, places: Floats) -> Parts:
    """Of each equation its residual without any partial, and with each alone."""
    read = list(dict.fromkeys(name for reads in problem.equations.values() for name in reads))
    found: Parts = {f"the residual of {name}": {} for name in problem.equations}
    for alone in (None, *read):
        values = {name: StandIn(np.full(len(places), float(name == alone)), (name,)) for name in read}
        for name, residual in residuals_at(problem, places, values).items():
            if alone is None or alone in problem.equations[name]:
                part = "without partials" if alone is None else f"of {alone} alone"
                found[f"the residual of {name}"][part] = moments(residual)
    return found


def _fields(problem: Problem, places: Floats) -> dict[str, list[float]]:
    at = coordinates_at(problem.coordinates, places)
    read = {name: StandIn(np.full(len(places), 1.0 / place)) for place, name in enumerate(problem.fields_read, start=1)}
    fields = with_numbers(problem).fields(at, read, StandInNamespace())
    return {name: moments(values_of(values)) for name, values in fields.items()}


def _places(problem: Problem, count: int) -> Floats:
    """Places that fill the bounds evenly, the same for every version of every package, shape (count, dimension)."""
    low, high = problem.bounds
    # powers of the root of x**(d + 1) = x + 1: the additive recurrence of the golden ratio in d dimensions
    dimension, root = len(low), 1.5
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / (dimension + 1))
    shares = (0.5 + np.arange(1, count + 1)[:, None] * root ** -np.arange(1.0, dimension + 1)) % 1.0
    return np.asarray(low + shares * (high - low))


def moments(values: Any) -> list[float]:
    """Return the mean, the root mean square, and a mean that tells the order of values apart.

    Example:
        >>> moments([3.0, -3.0])[:2]
        [0.0, 3.0]
    """
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64)).ravel()
    with np.errstate(over="ignore"):
        order = np.cos(np.arange(len(numbers)))
        found = numbers.mean(), np.sqrt(np.square(numbers).mean()), (numbers * order).mean()
        return [float(number) for number in np.nan_to_num(found)]
