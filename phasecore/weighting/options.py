"""Checks of the options that weighting factories take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError


def check_number(
    scheme: str,
    option: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_included: bool = False,
    high_included: bool = False,
    otherwise: str = "",
) -> None:
    """Refuse an option that is not a number between two bounds.

    Args:
        scheme: the scheme's name.
        option: the option's name.
        value: of the option.
        low: the lower bound.
        high: the upper bound.
        low_included: whether the lower bound may be taken.
        high_included: whether the upper bound may be taken.
        otherwise: what else may be there, for the message.

    Raises:
        InputError: naming scheme, option, value and the range.

    Example:
        >>> check_number("rba", "gamma", 1.5, 0, 1, low_included=True)
        Traceback (most recent call last):
        ...
        phasecore.errors.InputError: weighting 'rba', option 'gamma': received 1.5; expected a number in [0, 1).
    """
    if not (
        is_number(value)
        and (value > low or (low_included and value == low))
        and (value < high or (high_included and value == high))
    ):
        if (low, high) == (0, math.inf):
            expected = f"a {'non-negative' if low_included else 'positive'}, finite number"
        elif (low, high) == (-math.inf, math.inf):
            expected = "a finite number"
        else:
            expected = f"a number in {'[' if low_included else '('}{low:g}, {high:g}{']' if high_included else ')'}"
        expected += f", or {otherwise}" if otherwise else ""
        raise InputError(f"weighting {scheme!r}, option {option!r}", received=repr(value), expected=expected)


def check_count(scheme: str, option: str, value: object) -> None:
    """Refuse an option that is not a positive integer.

    Raises:
        InputError: naming scheme, option and value.

    Example:
        >>> check_count("causal", "slabs", 32)
    """
    if not is_whole(value):
        raise InputError(
            f"weighting {scheme!r}, option {option!r}", received=repr(value), expected="a positive integer"
        )


def check_choice(scheme: str, option: str, value: object, choices: Sequence[object]) -> None:
    """Refuse an option that is none of the choices.

    Raises:
        InputError: naming scheme, option, value and the choices.

    Example:
        >>> check_choice("rba", "start", "zeros", ["zeros", "residuals"])
    """
    if value not in choices:
        raise InputError(
            f"weighting {scheme!r}, option {option!r}",
            received=repr(value),
            expected=f"one of {', '.join(map(str, choices))}",
        )


def check_unread(scheme: str, option: str, value: object, default: object, because: str) -> None:
    """Refuse an option that was set although other options leave it unread.

    Args:
        scheme: the scheme's name.
        option: the option's name.
        value: of the option.
        default: its value where it was not set.
        because: why it is not read; empty where it is.

    Raises:
        InputError: naming scheme, option, value and why it is not read.

    Example:
        >>> check_unread("vrba", "power", 3.0, 4.0, "it is 'cosh'")
        Traceback (most recent call last):
        ...
        phasecore.errors.InputError: weighting 'vrba', option 'power': received 3.0; expected none: it is 'cosh'.
    """
    if because and value != default:
        raise InputError(f"weighting {scheme!r}, option {option!r}", received=repr(value), expected=f"none: {because}")
