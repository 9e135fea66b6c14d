"""What a condition is given to compare with: refused, where it is written, if it says nothing that can be computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from phasecore.errors import InputError, described
from phasecore.problems.coefficients import Trained


def check_some(what: str, term: str, given: Collection[str]) -> None:
    """Refuse a condition that says nothing.

    Raises:
        InputError: if so.
    """
    if not len(given):
        raise InputError(f"{what} in term {term!r}", received="none", expected='one partial at least, such as "u"')


def check_values(what: str, term: str, given: Any, like: str) -> None:
    """Refuse values that are not given by partial.

    Raises:
        InputError: if so.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{what} in term {term!r}", received=described(given), expected=f"them by partial: {like}")


def check_known(what: str, term: str, partial: str, value: Any) -> None:
    """Refuse a trained coefficient, or several values of which one is: targets are computed once.

    Raises:
        InputError: if so, and for what is no array.
    """
    try:
        values = np.asarray(value)
    except Exception as error:  # of a framework's own arrays that need gradients, and of lists of unequal ones
        raise InputError(
            what, received=f"{described(value)}: {error}", expected="numbers, which are computed once"
        ) from error
    coefficients = [item for item in values.ravel() if isinstance(item, Trained)] if values.dtype == object else []
    if coefficients:
        raise InputError(
            what,
            received=f"{coefficients[0]!r}, which is no number before it is trained",
            expected="numbers, which are computed once",
            fix=f'Write ResidualCondition({term!r}, ..., lambda x, u, xp: u["{partial}"] - self.NAME) in its place.',
        )
