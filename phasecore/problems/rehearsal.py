"""A problem's equations run once on stand-ins: their names, the partials that each reads, and what they come to."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError, PhasecoreError, described
from phasecore.problems.coefficients import Trained
from phasecore.problems.standins import (
    POINTS,
    StandIn,
    StandInNamespace,
    StandInPartials,
    ValueNeededError,
    coordinates_at,
    values_of,
)

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

ONLY = "pde"
"""Name of the equation of a problem that names none."""

_DECLARE = "Or declare what each equation reads: equations = {'pde': ('u_t', 'u_xx')}."


@final
@dataclass(frozen=True)
class Rehearsal:
    """What running `residuals` once shows.

    Attributes:
        equations: for each equation the partials that its residual was computed from, in the order of reading.
        values: the residual of each equation at made-up points and partials, shape (points,).
        named: whether `residuals` names the equations, by returning a mapping.
    """

    equations: Mapping[str, tuple[str, ...]]
    values: Mapping[str, NDArray[np.float64]]
    named: bool


def rehearse(problem: Problem) -> Rehearsal:
    """Run `residuals` once on stand-ins.

    Several residuals in a tuple or a list are called "pde_1", "pde_2" and so on, a single one "pde".

    Raises:
        InputError: where it raises, decides by the value of an array, reads what is no partial of the problem, reads
            none, or returns something else than residuals of one value for each point.
    """
    where = f"problem {problem.name!r}: residuals()"
    low, high = np.asarray(problem.bounds, dtype=np.float64)
    shares = np.linspace(0.1, 0.9, POINTS)[:, None] ** np.linspace(1.0, 2.0, len(low))
    points = low + shares * (high - low)
    at = coordinates_at(problem.coordinates, points)
    partials = StandInPartials(where, problem.outputs, problem.coordinates, problem.parameters)
    actor = with_numbers(problem)
    try:
        found = actor.residuals(at, partials, StandInNamespace())
    except PhasecoreError:
        raise
    except ValueNeededError as error:
        raise InputError(
            f"{where}: the partials that it reads cannot be found by running it once",
            received=f"{error}{_line_of(error)}",
            expected="the same partials read whatever the values: values of stand-ins cannot be compared",
            fix=f"Choose values by xp.where(condition, one, other). {_DECLARE}",
        ) from None
    except Exception as error:
        raise InputError(
            f"{where}, run once to see what it reads",
            received=f"{type(error).__name__}: {error}{_line_of(error)}",
            expected="ordinary arithmetic with the coordinates, the partials and the functions of xp",
            fix=_DECLARE,
        ) from error
    residuals = named_residuals(where, found)
    for name, residual in residuals.items():
        _check(where, name, residual)
    equations = {name: residual.reads for name, residual in residuals.items()}
    rest = [name for name in partials.read if not any(name in reads for reads in equations.values())]
    first = next(iter(equations))
    equations[first] = tuple(name for name in partials.read if name in {*equations[first], *rest})
    ordered = {name: tuple(sorted(reads, key=partials.read.index)) for name, reads in equations.items()}
    return Rehearsal(
        ordered,
        {name: np.asarray(residual.values, dtype=np.float64) for name, residual in residuals.items()},
        isinstance(found, Mapping),
    )


def residuals_at(problem: Problem, points: NDArray[np.float64], partials: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the residual of each equation at points of shape (n, dimension) and these partials.

    Raises:
        InputError: for what are no residuals; else whatever the problem raises on stand-ins.
    """
    at = coordinates_at(problem.coordinates, points)
    found = with_numbers(problem).residuals(at, partials, StandInNamespace())
    return {name: values_of(residual) for name, residual in named_residuals(problem.name, found).items()}


def fields_known(problem: Problem) -> tuple[str, ...]:
    """Return the names of what `fields` returns."""
    where = f"problem {problem.name!r}: fields()"
    partials = StandInPartials(where, problem.outputs, problem.coordinates, problem.parameters)
    coordinates = coordinates_at(problem.coordinates, np.repeat(np.asarray(problem.bounds)[:1], POINTS, axis=0))
    return tuple(with_numbers(problem).fields(coordinates, partials, StandInNamespace()))


def with_numbers(problem: Problem) -> Problem:
    """Return the problem with a number in the place of each parameter that is a tensor or is to be trained."""
    held: Mapping[str, Any] = getattr(problem, "__dict__", {})
    replaced = {
        name: _number_of(value)
        for name, value in problem.parameters.items()
        if isinstance(value, Trained) or (name in held and _is_tensor(value))
    }
    if not replaced:
        return problem
    actor = object.__new__(type(problem))
    actor.__dict__.update({**held, **replaced})
    return actor


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and not isinstance(value, (np.ndarray, np.generic))


def _number_of(value: Any) -> Any:
    return float(value.initial) if isinstance(value, Trained) else np.ones(tuple(value.shape))


def named_residuals(where: str, found: Any) -> dict[str, Any]:
    """Return what `residuals` returned, by the names of the equations.

    Raises:
        InputError: for what is none, naming `where`.
    """
    if isinstance(found, Mapping) and found:
        odd = [name for name in found if not (isinstance(name, str) and name.isidentifier())]
        if odd:
            raise InputError(
                f"{where}: name of an equation", received=repr(odd[0]), expected="letters, digits and underscores"
            )
        return dict(found)
    if isinstance(found, (list, tuple)) and found:
        return {f"{ONLY}_{place}": residual for place, residual in enumerate(found, start=1)}
    if isinstance(found, (StandIn, int, float, np.ndarray, np.generic)):
        return {ONLY: found}
    raise InputError(
        where,
        received=described(found),
        expected="the residual, one value for each point, or a mapping of each equation's name to its residual",
    )


def _check(where: str, name: str, residual: Any) -> None:
    what = f"{where}: the residual of {name!r}"
    if isinstance(residual, StandIn) and residual.values.shape != (POINTS,):
        raise InputError(
            what,
            received=f"shape {residual.values.shape} at {POINTS} points",
            expected=f"one value for each point, shape ({POINTS},)",
        )
    if not isinstance(residual, StandIn) or not residual.reads:
        raise InputError(
            what,
            received=f"{'values' if isinstance(residual, StandIn) else described(residual)} computed from no partial",
            expected='an equation for the solution, such as u["u_t"] - u["u_xx"]',
        )


def _line_of(error: BaseException) -> str:
    """The last line outside of this package and numpy that led to an error, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<") and not _is_ours(f.filename)]
    return f" (line {own[-1].lineno} of {own[-1].filename}: {own[-1].line})" if own and own[-1].line else ""


def _is_ours(filename: str) -> bool:
    own, numpy = __file__.rpartition("problems")[0], np.__file__.rpartition("__init__")[0]
    return filename.startswith((own, numpy))
