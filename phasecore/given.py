"""What a user gives where something is made already or named: told apart, and refused where it is neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from phasecore.arguments import is_number
from phasecore.errors import InputError, described
from phasecore.hookspecs import Kind
from phasecore.specifications import specification_of

Made = TypeVar("Made")


def by_name(kind: Kind, given: Mapping[Any, Any], made: type[Made]) -> dict[str, Made]:
    """Return things that were given by name.

    Args:
        kind: what they are.
        given: the mapping.
        made: their type.

    Raises:
        InputError: for a name that is no text, or a thing of another type.

    Example:
        >>> by_name("policy", {"mine": 3.0}, int)
        Traceback (most recent call last):
        ...
        phasecore.errors.InputError: policy 'mine': received a float, 3.0; expected a int.
    """
    for name, item in given.items():
        if not isinstance(name, str):
            raise InputError(f"name of a {kind}", received=described(name), expected="a text")
        if not isinstance(item, made):
            fix = _instead(kind, given, item)
            raise InputError(f"{kind} {name!r}", received=described(item), expected=_public(made), fix=fix)
    return dict(given)


def in_a_row(kind: Kind, given: Any, made: type[Made]) -> list[str | Made]:
    """Return one or several, each a specification or made already, as a list.

    Args:
        kind: what they are.
        given: one, or several.
        made: their type.

    Raises:
        InputError: for what is neither.

    Example:
        >>> in_a_row("policy", "stop_when_done", int), in_a_row("policy", [3, "stop_when_done"], int)
        (['stop_when_done'], [3, 'stop_when_done'])
    """
    if isinstance(given, str | made):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
        raise wrong(kind, given, made)
    items = list(given)
    for item in items:
        if not isinstance(item, str | made):
            raise wrong(kind, item, made)
    return items


def wrong(kind: Kind, given: object, made: type) -> InputError:
    """Return the error of what is neither made already nor a specification.

    Example:
        >>> str(wrong("policy", 3.0, int))
        'policy: received a float, 3.0; expected a int, or "name" or "name:key=value,key=value".'
    """
    expected = f'{_public(made)}, or "name" or "name:key=value,key=value"'
    return InputError(kind, received=described(given), expected=expected, fix=_instead(kind, given, given))


def check_written(given: object, what: str) -> None:
    """Refuse a weighting that is no text, where only specifications are taken.

    Raises:
        InputError: naming what was given, and the specification where it is weights by term, as other libraries take
            them.

    Example:
        >>> try:
        ...     check_written({"initial": 100}, "weighting")
        ... except InputError as error:
        ...     print(str(error).rpartition("+")[2])
        ". Weights of terms that you choose are 'fixed:initial=100'.
    """
    if not isinstance(given, str):
        expected = '"name" or "name:key=value,key=value", several joined by "+"'
        written = _fixed(given)
        fix = f"Weights of terms that you choose are {written!r}." if written else ""
        raise InputError(what, received=described(given), expected=expected, fix=fix)


def _fixed(given: object) -> str:
    """The specification of weights that stand in a mapping of numbers, or nothing for something else."""
    if not isinstance(given, Mapping) or not all(isinstance(term, str) and is_number(given[term]) for term in given):
        return ""
    return specification_of("fixed", given) if given else ""


def _instead(kind: Kind, given: object, item: object) -> str:
    """Say what to give in the place of weights by term, or of what makes the thing that is wanted."""
    if kind == "weighting" and (written := _fixed(given)):
        called = f"fixed({written.partition(':')[2].replace(',', ', ')})"
        return f"Weights of terms that you choose are {written!r}, or phasecore.weighting.{called}."
    return "Call it, and give what it returns." if callable(item) else ""


def _public(made: type) -> str:
    return f"a {made.__module__.rpartition('.')[0]}.{made.__name__}".replace("a .", "a ")
