"""Names that belong to every problem, and what a class may put in their place."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasecore.arguments import is_whole
from phasecore.errors import InputError, described

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

Floats = NDArray[np.float64]

ANOTHER = "Give yours another name."
_OF_ONES_OWN = ("domain", "conditions")
"""Properties that a class gives; all others follow from what it says."""


def _are_names(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(is_whole(count, least=2) for count in value)


def _has_names(value: Any) -> bool:
    """Whether a domain is under the names of its coordinates, or something that needs none."""
    keys = value if isinstance(value, Mapping) else ()
    return all(isinstance(key, str) or _are_names(key) for key in keys)


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "a text, such as 'wave'"),
    "domain": (_has_names, 'bounds or shapes by the names of coordinates, such as {"x": (0, 1), "t": (0, 1)}'),
    "coordinates": (_are_names, "the names of the domain's coordinates, such as ('x', 't')"),
    "outputs": (_are_names, "names of what the network returns, such as ('u',)"),
    "field_partials": (_are_names, "names of partials, such as ('psi_x', 'psi_y')"),
    "grid": (_are_counts, "a number of points along each coordinate, 2 at least, such as (101, 101)"),
    "equations": (lambda value: isinstance(value, Mapping), "a mapping of equations to the partials that each reads"),
    "presets": (lambda value: isinstance(value, Mapping), "a mapping of names to phasecore.Preset"),
}


def check_own(cls: type, problem: type) -> None:
    """Refuse a class that uses a name of the contract for something else, such as a parameter.

    Args:
        cls: the class.
        problem: `Problem`, whose names these are.

    Raises:
        InputError: naming the class, the name, what it holds and what it is for.
    """
    contract = vars(problem)
    for name, value in vars(cls).items():
        if name.startswith("_") or name not in contract or value is None or hasattr(value, "__get__"):
            continue
        expected, fix = _expected(name, contract[name], value)
        if expected:
            raise InputError(_of(cls, name), received=_shown(value), expected=expected, fix=fix)
    for name in inspect.get_annotations(cls):
        if name in contract and name not in (*vars(cls), *_KINDS, *_OF_ONES_OWN) and not name.startswith("_"):
            raise InputError(_of(cls, name), received="a field", expected="none: every problem has it", fix=ANOTHER)


def _of(cls: type, name: str) -> str:
    return f"problem class {cls.__name__!r}, {name!r}"


def _expected(name: str, its: Any, value: Any) -> tuple[str, str]:
    """What a class is to give under a name, where its value is no such thing, and what to do."""
    if name in _KINDS:
        is_right, expected = _KINDS[name]
        return "" if is_right(value) else expected, ""
    if isinstance(its, types.FunctionType):
        return "a method: every problem has one of that name", "" if name in ("reference", "residuals") else ANOTHER
    is_found = isinstance(its, property) and name not in _OF_ONES_OWN
    return "nothing: phasecore finds what every problem has under that name" if is_found else "", ANOTHER


def axes_of(problem: Problem) -> list[Floats]:
    """Return the values of each coordinate on a problem's grid.

    Raises:
        InputError: if the grid has not a number of points for each coordinate.

    Example:
        >>> import phasecore
        >>> [axis.shape for axis in axes_of(phasecore.problem("helmholtz"))]
        [(101,), (101,)]
    """
    if not _are_counts(problem.grid) or len(problem.grid) != len(problem.coordinates):
        raise InputError(
            f"problem {problem.name!r}, 'grid'",
            received=_shown(problem.grid),
            expected=f"a number of points along each of {problem.coordinates}",
        )
    return [np.linspace(low, high, count) for (low, high), count in zip(problem.bounds.T, problem.grid, strict=True)]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (int, float, str, tuple, list)) else described(value)
