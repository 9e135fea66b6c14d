"""What a problem returns, checked where it is used: residuals, fields, targets and the reference solution.

Adapters evaluate problems through these functions, and the conformance suite does too, so that a problem that breaks
its contract is told the same thing by both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import USE_XP, InputError, PluginError, called, described
from phasecore.problems.base import Floats, Problem
from phasecore.problems.conditions import Condition
from phasecore.problems.domains.normals import check_normals
from phasecore.problems.finite import places_not_finite
from phasecore.problems.pointwise import check_pointwise
from phasecore.problems.reference_data import ReferenceData

_NUMPY = (np.ndarray, np.generic)


def check_problem_given(problem: Any, model: Any = None) -> None:
    """Refuse what is no problem in the place of one, terms without names of their own, and residuals that mix points.

    Args:
        problem: what was given for it.
        model: what was given for the network: a problem, where the two are exchanged.

    Raises:
        InputError: saying what to write in its place, or as `Problem.check_terms`.
        PluginError: as `phasecore.problems.pointwise.check_pointwise`.
    """
    if isinstance(problem, Problem):
        problem.check_terms()
        check_pointwise(problem)
        return
    received, fix = described(problem), 'Write a class of it, phasecore.Problem, or take phasecore.problem("burgers").'
    if isinstance(model, Problem):
        received, fix = f"{received}, and the problem for the model", "Exchange the two arguments."
    elif isinstance(problem, type) and issubclass(problem, Problem):
        received, fix = f"the class {problem.__name__}", f"Write {problem.__name__}()."
    elif isinstance(problem, str):
        received, fix = repr(problem), f"Write phasecore.problem({problem!r})."
    raise InputError("argument 'problem'", received=received, expected="a problem", fix=fix)


def check_columns(points: Mapping[str, Any], coordinates: Sequence[str]) -> None:
    """Refuse collocation points by name unless there is a column for each coordinate, all of one length.

    Raises:
        InputError: naming the columns, or their shapes.
    """
    what = "collocation points by name"
    if set(points) != set(coordinates):
        raise InputError(what, received=f"columns {[*points]}", expected=f"one for each of {[*coordinates]}")
    shapes = {name: tuple(np.shape(column)) for name, column in points.items()}
    if len({math.prod(shape) for shape in shapes.values()}) > 1:
        received = ", ".join(f"{name!r} of shape {shape}" for name, shape in shapes.items())
        raise InputError(what, received=received, expected="columns of one length, shape (n,) or (n, 1)")


def columns_joined(points: Any, coordinates: Sequence[str]) -> Any:
    """Return collocation points by name as one array, shape (n, dimension), and anything else as it is.

    Raises:
        InputError: as `check_columns`.

    Example:
        >>> columns_joined({"t": np.zeros(2), "x": np.ones(2)}, ["x", "t"]).tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    if not isinstance(points, Mapping):
        return points
    check_columns(points, coordinates)
    return np.stack([np.ravel(points[name]) for name in coordinates], axis=-1)


def residuals_of(
    problem: Problem, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
) -> dict[str, Array]:
    """Return the residual of each equation, as `Problem.residuals` is to return them, shape (n,) each.

    Raises:
        PluginError: naming the problem, the equation and what it returned.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> zero = np.zeros(3)
        >>> found = residuals_of(Helmholtz(), {"x": zero, "y": zero}, {"u": zero, "u_xx + u_yy": zero}, np)
        >>> found["pde"].shape
        (3,)
    """
    where = f"problem {problem.name!r}: residuals()"
    equations = problem.equations
    found = called(where, lambda: problem.residuals(coordinates, partials, xp))
    if not problem.names_equations:
        several = found if isinstance(found, (list, tuple)) else (found,)
        found = dict(zip(equations, several, strict=True)) if len(several) == len(equations) else found
    _check_names(where, found, equations, "as 'equations' declares")
    return {term: _column(f"the residual of {term!r}", where, found[term], coordinates) for term in equations}


def fields_of(
    problem: Problem, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
) -> dict[str, Array]:
    """Return the fields, as `Problem.fields` is to return them, shape (m,) each.

    Raises:
        PluginError: naming the problem, the field and what it returned.
    """
    where = f"problem {problem.name!r}: fields()"
    found = called(where, lambda: problem.fields(coordinates, partials, xp))
    if not isinstance(found, Mapping) or not found:
        raise PluginError(where, received=described(found), expected="a mapping of field to values, one for each point")
    return {name: _column(f"field {name!r}", where, values, coordinates) for name, values in found.items()}


def reference_of(problem: Problem, points: NDArray[Any], fields: Iterable[str]) -> dict[str, Floats]:
    """Return the reference solution at points of shape (m, dimension), shape (m,) each.

    Args:
        problem: whose reference.
        points: where.
        fields: names of what it is compared with, those that `Problem.fields` returns.

    Raises:
        PluginError: for other names than those of the fields, a shape that is not (m,), and values that are not finite
            real numbers, naming the problem and the field.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> reference_of(Helmholtz(), np.zeros((3, 2)), ["u"])["u"].shape
        (3,)
    """
    where = f"problem {problem.name!r}: reference()"
    found = called(where, lambda: problem.reference(points))
    if problem.reference_data is None:
        _check_names(where, found, fields, "the names of what fields() returns")
    return {
        name: _checked_values(f"{where}: reference field {name!r}", values, points, problem.coordinates)
        for name, values in found.items()
    }


def compared_with(problem: Problem, fields: Iterable[str]) -> tuple[Floats, dict[str, Floats]]:
    """Return where the relative L2 error is taken, shape (m, dimension), and the reference solution there, shape (m,).

    Args:
        problem: one that has a reference.
        fields: names of what it is compared with, those that `Problem.fields` returns.

    Raises:
        InputError: for reference data that cannot be read, or with points outside the domain.
        PluginError: as `reference_of`.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> points, reference = compared_with(Helmholtz(), ["u"])
        >>> points.shape, reference["u"].shape
        ((10201, 2), (10201,))
    """
    data: ReferenceData | None = problem.reference_data
    if data is not None:
        return data.compared(problem)
    points = problem.evaluation_points()
    return points, reference_of(problem, points, fields)


def targets_of(
    condition: Condition,
    points: NDArray[Any],
    names: Iterable[str],
    normals: Callable[[Floats], Floats] | None = None,
) -> dict[str, Floats]:
    """Return what a condition's residuals compare with at its points, shape (m,) each.

    Args:
        condition: the condition.
        points: its points, shape (m, dimension).
        names: of the coordinates, in order.
        normals: returns the outward unit normals at points, for conditions that need them.

    Raises:
        PluginError: for a shape that is not (m,), and values that are not finite real numbers, naming the condition's
            term and the target.
        InputError: for points without a normal, away from the boundary, where the condition takes normals.
    """
    names = tuple(names)
    where = f"condition of term {condition.term!r}"
    columns = {name: points[:, axis] for axis, name in enumerate(names)}
    if condition.needs_normals and normals is not None:
        found = called(f"{where}: normals of the domain", lambda: normals(np.asarray(points, dtype=np.float64)))
        columns |= {f"normal {name}": found[:, axis] for axis, name in enumerate(names)}
    found = called(f"{where}: targets()", lambda: condition.targets(columns))
    if not isinstance(found, Mapping):
        raise PluginError(f"{where}: targets()", received=described(found), expected="a mapping of name to values")
    checked = {
        name: _checked_values(f"{where}: target {name!r}", values, points, names) for name, values in found.items()
    }
    if condition.needs_normals and normals is not None:
        # as the condition returns them, or as it was given them
        check_normals(where, points, {**columns, **checked}, names, normals)
    return checked


def check_conditions_stay(problem: Problem, points: Sequence[Floats]) -> None:
    """Refuse conditions that are others each time they are asked for, such as data made of random numbers.

    Args:
        problem: whose conditions.
        points: of each, shape (m, dimension).

    Raises:
        InputError: naming the term and what differs between two calls.
        PluginError: as `targets_of`.
    """
    first, second = problem.conditions, problem.conditions
    differs = "" if len(first) == len(second) else f"{len(first)} conditions, then {len(second)},"
    for one, other, own in zip(first, second, points, strict=False):
        differs = differs or _difference(problem, one, other, own)
    if differs:
        raise InputError(
            f"problem {problem.name!r}: conditions()",
            received=f"{differs} when it is called once more",
            expected="the same conditions each time: it is called often, and anew when points move",
            fix="Make what is random once, outside of it, or from a seed: np.random.default_rng(0).",
        )


def _difference(problem: Problem, one: Condition, other: Condition, points: Floats) -> str:
    """What two conditions that are to be the same do not share, or nothing."""
    if (type(one), one.term, one.partials) != (type(other), other.term, other.partials):
        return f"{_told(one)}, then {_told(other)},"
    if one.is_fixed:
        space = problem.coordinates, problem.bounds
        mine, others = (given.sample(1, *space, np.random.default_rng(0)) for given in (one, other))
        if not np.array_equal(mine, others):
            return f"other points of the condition in term {one.term!r}"
    first, second = (targets_of(condition, points, problem.coordinates, problem.normals) for condition in (one, other))
    changed = [name for name in first if name not in second or not np.array_equal(first[name], second[name])]
    return f"another {changed[0]!r} of the condition in term {one.term!r}" if changed else ""


def _told(condition: Condition) -> str:
    return f"{type(condition).__name__}({condition.term!r}) of {', '.join(condition.partials)}"


def condition_residuals_of(
    condition: Condition, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace, points: int
) -> Array:
    """Return a condition's residuals, as `Condition.residuals` is to return them: one axis, of any length but zero.

    A scalar is a residual of a condition that has one point. Of several points it might be a mean, an integral or an
    error: one value of all points is of shape (1,).

    Args:
        condition: the condition.
        partials: as for `Condition.residuals`.
        targets: likewise.
        xp: likewise.
        points: number of the condition's points.

    Raises:
        PluginError: naming the condition's term and what it returned.
    """
    where = f"condition of term {condition.term!r}: residuals()"
    found = called(where, lambda: condition.residuals(partials, targets, xp))
    shape = _shape_of(found, next(iter(partials.values()), found))
    if shape == () and points == 1:
        return xp.reshape(found, (1,))
    if shape is None or len(shape) != 1 or shape[0] == 0:
        raise PluginError(
            where,
            received=described(found),
            expected=f"residuals at the condition's {points} points, an array of one axis",
            fix="For one value of all points, such as an integral, return shape (1,).",
        )
    return found


def _checked_values(what: str, given: Any, points: NDArray[Any], names: Iterable[str]) -> Floats:
    expected = f"real numbers of shape ({len(points)},), one for each point"
    try:
        values = np.asarray(given)
    except Exception as error:
        raise PluginError(what, received=f"{type(given).__name__}: {error}", expected=expected) from error
    if values.dtype.kind not in "fiu":
        raise PluginError(what, received=f"dtype {values.dtype}", expected=expected)
    if values.shape != (len(points),):
        raise PluginError(what, received=f"shape {values.shape}", expected=expected)
    if not np.isfinite(values).all():
        raise PluginError(
            what, received=f"values {places_not_finite(values, points, names)}", expected="finite numbers"
        )
    return values.astype(np.float64)


def _check_names(where: str, found: Any, names: Iterable[str], whose: str) -> None:
    if not isinstance(found, Mapping):
        raise PluginError(where, received=described(found), expected=f"a mapping with {[*names]}, {whose}")
    if set(found) != set(names):
        raise PluginError(where, received=f"{[*found]}", expected=f"{[*names]}, {whose}")


def _column(what: str, where: str, values: Any, coordinates: Mapping[str, Array]) -> Array:
    like = next(iter(coordinates.values()))
    shape = _shape_of(values, like)
    if shape is None or shape != tuple(like.shape):
        raise PluginError(
            f"{where}: {what}",
            received=described(values),
            expected=f"an array of shape {tuple(like.shape)}, one value for each point",
            fix=USE_XP if isinstance(values, _NUMPY) and not isinstance(like, _NUMPY) else "",
        )
    return values


def _shape_of(values: Any, like: Any) -> tuple[int, ...] | None:
    """The shape of an array of the framework, or None: numpy's among another framework's has left its graph."""
    foreign = isinstance(values, _NUMPY) and not isinstance(like, _NUMPY)
    return None if foreign or not hasattr(values, "shape") else tuple(values.shape)
