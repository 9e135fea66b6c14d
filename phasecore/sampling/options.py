"""Checks of the options that sampling factories take."""

from __future__ import annotations

from phasecore.arguments import is_number, is_whole
from phasecore.errors import InputError


def check_count(sampling: str, option: str, value: object) -> None:
    """Refuse an option that is not a positive integer.

    Raises:
        InputError: naming sampling, option and value.

    Example:
        >>> check_count("r3", "every", 0)
        Traceback (most recent call last):
        ...
        phasecore.errors.InputError: sampling 'r3', option 'every': received 0; expected a positive integer.
    """
    if not is_whole(value):
        raise InputError(
            f"sampling {sampling!r}, option {option!r}", received=repr(value), expected="a positive integer"
        )


def check_not_negative(sampling: str, option: str, value: object) -> None:
    """Refuse an option that is not a finite number of at least zero.

    Raises:
        InputError: naming sampling, option and value.

    Example:
        >>> check_not_negative("rad", "c", 1.0)
    """
    if not (is_number(value) and value >= 0):
        raise InputError(
            f"sampling {sampling!r}, option {option!r}",
            received=repr(value),
            expected="a non-negative, finite number",
        )
