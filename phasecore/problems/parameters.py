"""Checks of parameters that built-in problems share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError
from phasecore.problems.coefficients import Trained

if TYPE_CHECKING:
    from phasecore.problems.base import Problem


def check_positive(problem: Problem, *names: str) -> None:
    """Refuse parameters that are no positive numbers; a trained coefficient is taken for its initial value.

    Raises:
        InputError: naming the problem and the parameter.

    Example:
        >>> from phasecore.problems.wave import Wave
        >>> Wave(speed=0)
        Traceback (most recent call last):
        phasecore.errors.InputError: problem 'wave', parameter 'speed': received 0; expected a positive number.
    """
    for name in names:
        value = getattr(problem, name)
        known = isinstance(value, Trained) or is_number(value)
        if not known or not 0 < value < math.inf:
            raise InputError(
                f"problem {problem.name!r}, parameter {name!r}", received=repr(value), expected="a positive number"
            )


def check_finite(problem: Problem, *names: str) -> None:
    """Refuse parameters that are neither finite numbers nor trained coefficients.

    Raises:
        InputError: naming the problem and the parameter.
    """
    for name in names:
        value = getattr(problem, name)
        if not isinstance(value, Trained) and not is_number(value):
            raise InputError(
                f"problem {problem.name!r}, parameter {name!r}", received=repr(value), expected="a finite number"
            )


def check_positive_integer(problem: Problem, name: str) -> None:
    """Refuse a parameter that is no positive integer.

    Raises:
        InputError: naming the problem and the parameter.
    """
    value = getattr(problem, name)
    if not is_whole(value, least=1):
        raise InputError(
            f"problem {problem.name!r}, parameter {name!r}", received=repr(value), expected="a positive integer"
        )


def check_not_trained(problem: Problem, *names: str) -> None:
    """Refuse trained coefficients where a parameter is part of no equation, and so nothing would train it.

    Raises:
        InputError: naming the problem and the parameter.
    """
    for name in names:
        value = getattr(problem, name)
        if isinstance(value, Trained):
            raise InputError(
                f"problem {problem.name!r}, parameter {name!r}",
                received=repr(value),
                expected="a number: it is no coefficient of the equation",
            )
