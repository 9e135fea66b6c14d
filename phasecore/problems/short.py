"""Problems in short: what a class need not say is inferred from what it says."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from phasecore.errors import InputError, UnknownNameError, described
from phasecore.problems.conditions import Condition
from phasecore.problems.domains.region import region_of
from phasecore.problems.reference_data import ReferenceData
from phasecore.problems.rehearsal import rehearse
from phasecore.problems.reserved import check_own

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

_POINTS_ALONG_EACH = {1: 1001, 2: 101, 3: 31}
_MOST_ON_GRID = 20_000


@final
class Inferred:
    """A class attribute of a problem that follows from others where a class does not give it.

    Args:
        infer: returns it for a problem.
        kept: keep what was found with the problem.
    """

    def __init__(self, infer: Callable[[Any], Any], *, kept: bool = False) -> None:
        self._infer = infer
        self._kept = kept

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, problem: Any, owner: type) -> Any:
        if problem is None:
            return _of_class(owner, self._name)
        value = self._infer(problem)
        if self._kept:
            problem.__dict__[self._name] = value
        return value


def name_of(problem: Problem) -> str:
    """Return the name of the class in lower case, words apart."""
    return snake_case(type(problem).__name__)


def snake_case(name: str) -> str:
    """Return the name of a class in lower case, words apart.

    Example:
        >>> snake_case("LidDrivenCavity"), snake_case("PDEOfMine")
        ('lid_driven_cavity', 'pde_of_mine')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"_+", "_", words).lower().strip("_")


def coordinates_of(problem: Problem) -> tuple[str, ...]:
    """Return the keys of the domain."""
    return region_of(problem.name, problem.domain).coordinates


def grid_of(problem: Problem) -> tuple[int, ...]:
    """Return 1001 points on a line, 101 along each side of a plane, 31 in space, about 20 000 in all beyond."""
    axes = len(problem.coordinates)
    return (_POINTS_ALONG_EACH.get(axes) or max(3, int(_MOST_ON_GRID ** (1 / axes))),) * axes


def equations_of(problem: Problem) -> Mapping[str, tuple[str, ...]]:
    """Return the equations with the partials that each reads, found by running them once."""
    found = rehearse(problem)
    problem.__dict__["names_equations"] = found.named
    return dict(found.equations)


def outputs_of(problem: Problem) -> tuple[str, ...]:
    """Refuse a problem without outputs.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"problem {problem.name!r}",
        received="a class without 'outputs'",
        expected='names of what the network returns, such as outputs = ("u",)',
    )


def normalize(cls: type, problem: type) -> None:
    """Let methods and plain values stand for what the contract has as properties, whichever form a class has.

    `conditions` and `domain` may be methods, `outputs` one name, and `reference` the path of a file or an array.

    Args:
        cls: the class.
        problem: `Problem`.

    Raises:
        InputError: for a class that uses a name of the contract for something else.
    """
    own = vars(cls)
    conditions = own.get("conditions", _of_mixin(cls, "conditions"))
    if isinstance(conditions, property):
        conditions = conditions.fget
    if isinstance(conditions, types.FunctionType):
        cls.conditions = _conditions(conditions)  # type: ignore[attr-defined]
    domain = own.get("domain", _of_mixin(cls, "domain"))
    if isinstance(domain, types.FunctionType):
        cls.domain = property(domain)  # type: ignore[attr-defined]
    if isinstance(own.get("outputs"), str):
        cls.outputs = (own["outputs"],)  # type: ignore[attr-defined]
    if isinstance(own.get("reference"), (str, Path, tuple)):
        given = own["reference"]
        data = ReferenceData(*given) if isinstance(given, tuple) else ReferenceData(given)
        data.__set_name__(cls, "reference")
        cls.reference = data  # type: ignore[attr-defined]
    check_own(cls, problem)


def _of_mixin(cls: type, name: str) -> Any:
    """A method that a class has from a base that is no problem, as it was written."""
    found = inspect.getattr_static(cls, name)
    return found if isinstance(found, types.FunctionType) else None


def complete(cls: type, contract: frozenset[str]) -> None:
    """Make a class whose author did not decorate it a frozen dataclass, its public numbers and texts the fields.

    Args:
        cls: a subclass of `Problem`.
        contract: names that belong to problems and are no parameters.
    """
    own = vars(cls)
    if "__dataclass_fields__" in own:
        return
    annotations = {
        name: kind for name, kind in inspect.get_annotations(cls).items() if name not in contract and name[:1] != "_"
    }
    for name, value in own.items():
        if name not in contract and not name.startswith("_") and name not in annotations and _is_parameter(value):
            annotations[name] = type(value)
    cls.__annotations__ = annotations
    above = [vars(base)["__dataclass_params__"] for base in cls.__mro__[1:] if "__dataclass_params__" in vars(base)]
    frozen = all(parameters.frozen for parameters in above)
    dataclass(frozen=frozen, init=False)(cls)
    if isinstance(own.get("reference"), types.FunctionType):
        cls.reference = _reference(own["reference"])  # type: ignore[attr-defined]


def bind(problem: Problem, values: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Set the parameters of a problem of a completed class, and check their kinds.

    Raises:
        InputError: for an unknown parameter, one given twice or not at all, or a text for a number.
    """
    known = [item for item in fields(problem) if item.init]  # type: ignore[arg-type]
    what = f"problem {problem.name!r}"
    if len(values) > len(known):
        raise InputError(what, received=f"{len(values)} values", expected=f"{len(known)} at most: {_listed(known)}")
    given = dict(zip((item.name for item in known), values, strict=False))
    for name, value in named.items():
        if name not in {item.name for item in known}:
            raise UnknownNameError(f"parameter of {what}", name, [item.name for item in known])
        if name in given:
            raise InputError(f"{what}, parameter {name!r}", received="two values", expected="one")
        given[name] = value
    for item in known:
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if item.name not in given and default is MISSING:
            raise InputError(f"{what}, parameter {item.name!r}", received="no value", expected="a value")
        value = given.get(item.name, default)
        _check_kind(f"{what}, parameter {item.name!r}", default, value)
        object.__setattr__(problem, item.name, value)
    if hasattr(problem, "__post_init__"):
        problem.__post_init__()


def _listed(known: Iterable[Any]) -> str:
    return ", ".join(item.name for item in known) or "it has no parameters"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_parameter(value: Any) -> bool:
    is_coefficient = type(value).__module__.startswith("phasecore.") and hasattr(value, "initial")
    return isinstance(value, (str, bool, np.bool_)) or _is_number(value) or is_coefficient


def _check_kind(what: str, default: Any, value: Any) -> None:
    expected = ""
    if _is_number(default) and isinstance(value, (str, bool)):
        expected = "a number"
    elif isinstance(default, bool) and not isinstance(value, (bool, np.bool_)):
        expected = "True or False"
    elif isinstance(default, str) and not isinstance(value, str):
        expected = "a text"
    if expected:
        raise InputError(what, received=repr(value), expected=expected)


def _of_class(owner: type, name: str) -> Any:
    """What a problem with its parameters as they are by default has."""
    if name == "name":
        return snake_case(owner.__name__)
    try:
        return getattr(owner(), name)
    except InputError:
        raise
    except Exception as error:
        raise AttributeError(f"{owner.__name__} has no {name!r} but for an instance: {error}") from error


@final
class Conditions(list[Condition]):
    """The conditions of a problem, and what a call of them returns: a subclass extends `super().conditions()`."""

    def __call__(self) -> list[Condition]:
        """Return them, as the method does that they were written as."""
        return [*self]


def _conditions(method: Callable[[Any], Any]) -> property:
    def conditions(self: Problem) -> Conditions:
        found = method(self)
        if isinstance(found, Condition):
            return Conditions([found])
        listed = list(found) if isinstance(found, Iterable) and not isinstance(found, (str, Mapping)) else None
        odd = [item for item in listed or () if not isinstance(item, Condition)]
        if listed is None or odd:
            raise InputError(
                f"problem {self.name!r}: conditions()",
                received=described(odd[0] if odd else found),
                expected="a list of conditions, such as phasecore.Prescribed(...)",
            )
        return Conditions(listed)

    conditions.__doc__ = method.__doc__
    return property(conditions)


def _reference(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with its points checked, and its values under the names of the outputs."""
    parameters = inspect.signature(method).parameters.values()
    given = tuple(one.name for one in parameters)
    # a static method has no `self`; what has a default of its own keeps it
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]

    def reference(self: Problem, points: Any) -> Any:
        checked = self.check_points(points)
        columns = dict(zip(self.coordinates, checked.T, strict=True))
        if set(needed) == set(columns):
            found = method(**columns)
        elif set(needed[1:]) == set(columns):
            found = method(self, **columns)
        elif len(needed) > 2:
            raise InputError(
                f"problem {self.name!r}: reference()",
                received=f"a method of {', '.join(needed[1:])}",
                expected=f"one of the points, or of the coordinates {', '.join(columns)}",
            )
        else:
            found = method(checked) if len(given) == 1 else method(self, checked)
        if isinstance(found, Mapping):
            return found
        several = found if isinstance(found, (list, tuple)) and len(self.outputs) > 1 else (found,)
        if len(several) != len(self.outputs):
            raise InputError(
                f"problem {self.name!r}: reference()",
                received=described(found),
                expected=f"the values of each of {list(self.outputs)}, or a mapping of names to values",
            )
        return {name: np.asarray(values) for name, values in zip(self.outputs, several, strict=True)}

    reference.__doc__ = method.__doc__
    return reference
