"""Unknown coefficients of an equation, trained beside the network: inverse problems."""

from __future__ import annotations

import ast
import copy
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

from phasecore.arguments import is_number, plain_number
from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError

COLUMN = "coefficient_"
"""How the columns of the history begin that hold the values of trained coefficients, followed by the name."""

STOOD_FOR = "_stood_for"
"""Attribute of a copy of a problem that holds the trained coefficients which values stand for."""

_EXPECTED = "trained(NUMBER) with options among positive=True, bounds=(low,high), learning_rate=NUMBER, true=NUMBER"


_REHEARSED: ContextVar[bool] = ContextVar("rehearsed", default=False)
"""Whether equations are run only to see what they read."""


@contextmanager
def rehearsed() -> Iterator[None]:
    """Let trained coefficients take part in arithmetic with their initial values, to see what equations read.

    Example:
        >>> with rehearsed():
        ...     2 * trained(0.25)
        0.5
    """
    token = _REHEARSED.set(True)
    try:
        yield
    finally:
        _REHEARSED.reset(token)


def _binary(operate: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator of `Trained`, with the coefficient on the left and on the right."""
    return (
        lambda self, other: operate(self._number(), other),
        lambda self, other: operate(other, self._number()),
    )


@final
@dataclass(frozen=True)
class Trained:
    """A number of a problem that is not known and is trained beside the network, see `trained`.

    What is trained is a free number p, from which the value follows smoothly, so that no step leads out of bounds:
    the value is `p`; where it is to be positive `exp(p)`; and between bounds the logistic function of p,
    `low + (high - low) / (1 + exp(-p))`.

    It compares as its initial value does, so that a problem's own checks of its parameters hold for it; it has no other
    value until it is trained, and takes part in no arithmetic.

    Attributes:
        initial: the value that the training starts from.
        positive: whether the value stays positive.
        bounds: between which the value stays, or None.
        learning_rate: of p, in place of the network's; None for that of the network.
        true: the value that is to be found, where it is known, as of a problem that measures how well it is found.

    Raises:
        InputError: for an initial value that is no finite number or out of bounds, or options that contradict it.

    Example:
        >>> coefficient = Trained(0.1, positive=True)
        >>> coefficient, 0 < coefficient < 1, round(coefficient.free(), 3)
        (trained(0.1, positive=True), True, -2.303)
    """

    initial: float
    positive: bool = False
    bounds: tuple[float, float] | None = None
    learning_rate: float | None = None
    true: float | None = None

    shape: ClassVar[tuple[int, ...]] = ()
    """That of the number that it stands for."""

    def __post_init__(self) -> None:
        what = "trained coefficient"
        for name in ("initial", "learning_rate", "true"):
            object.__setattr__(self, name, plain_number(getattr(self, name)))
        if not is_number(self.initial):
            raise InputError(f"{what}, initial value", received=repr(self.initial), expected="a finite number")
        if not isinstance(self.positive, bool):
            raise InputError(f"{what}, option 'positive'", received=repr(self.positive), expected="True or False")
        if self.learning_rate is not None and not (is_number(self.learning_rate) and self.learning_rate > 0):
            raise InputError(
                f"{what}, option 'learning_rate'", received=repr(self.learning_rate), expected="a positive number"
            )
        if self.true is not None and not is_number(self.true):
            raise InputError(f"{what}, option 'true'", received=repr(self.true), expected="a finite number")
        if self.bounds is not None:
            _check_bounds(what, self.bounds)
            object.__setattr__(self, "bounds", (float(self.bounds[0]), float(self.bounds[1])))
            if self.positive:
                raise InputError(
                    f"{what}, options 'positive' and 'bounds'",
                    received="both",
                    expected="one of them",
                    fix="Bounds above zero keep a value positive.",
                )
        low, high = self._range
        for name, value in {"initial value": self.initial, "option 'true'": self.true}.items():
            if value is not None and not low < value < high:
                raise InputError(f"{what}, {name}", received=repr(value), expected=f"a number {self._within}")

    def free(self, value: float | None = None) -> float:
        """Return the free number p of a value, of the initial one by default.

        Raises:
            InputError: for a value out of bounds.
        """
        value = float(self.initial if value is None else value)
        low, high = self._range
        if not low < value < high:
            what = "value of a trained coefficient"
            raise InputError(what, received=repr(value), expected=f"a number {self._within}")
        if self.bounds is not None:
            return math.log((value - low) / (high - value))
        return math.log(value) if self.positive else value

    def value(self, free: Array, xp: ArrayNamespace) -> Array:
        """Return the value that follows from the free number p, an array of shape ().

        Between bounds it is the distance to the nearer one that is computed: that of the other bound, taken from it,
        would leave nothing but rounding. No exponential overflows on the way, nor on the way back.
        """
        if self.bounds is not None:
            low, high = self.bounds
            is_below = free < 0
            share = xp.exp(xp.where(is_below, free, -free))
            distance = (high - low) * (share / (1 + share))
            return xp.where(is_below, low + distance, high - distance)
        return xp.exp(free) if self.positive else free

    @property
    def _range(self) -> tuple[float, float]:
        return self.bounds or (0.0 if self.positive else -math.inf, math.inf)

    @property
    def _within(self) -> str:
        return "above 0" if self.positive else f"between the bounds {self.bounds}, and no bound itself"

    def __repr__(self) -> str:
        options = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        given = [f"{name}={value!r}" for name, value in options.items() if value is not None and value is not False]
        return f"trained({', '.join([repr(self.initial), *given])})"

    def __lt__(self, other: float) -> bool:
        return self.initial < other

    def __le__(self, other: float) -> bool:
        return self.initial <= other

    def __gt__(self, other: float) -> bool:
        return self.initial > other

    def __ge__(self, other: float) -> bool:
        return self.initial >= other

    def _number(self) -> float:
        """The initial value, where only what is read matters; nowhere else has it a value."""
        if _REHEARSED.get():
            return self.initial
        raise InputError(
            "trained coefficient",
            received=f"arithmetic with {self!r}, whose value is known in training alone",
            expected="to be read in residuals() of a problem, or of a condition that the problem makes",
            fix="It is to be an attribute of the class or one of its parameters, k = phasecore.trained(0.1), none that "
            "__init__ sets and no part of a list. What is computed once, such as targets and reference solutions, "
            "cannot depend on it: take the problem's true_parameter(name) there.",
        )

    __array_ufunc__ = None
    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv)
    __pow__, __rpow__ = _binary(operator.pow)

    def __neg__(self) -> float:
        return -self._number()

    def __abs__(self) -> float:
        return abs(self._number())

    def __float__(self) -> float:
        return float(self._number())


def trained(
    initial: float,
    *,
    positive: bool = False,
    bounds: tuple[float, float] | None = None,
    learning_rate: float | None = None,
    true: float | None = None,
) -> Trained:
    """Return an unknown coefficient, to be given to a problem in the place of a number.

    It is trained beside the network. Its value is the column `coefficient_NAME` of the history, part of checkpoints and
    saved models, and its gradient that of autograd on every path.

    Args:
        initial: the value that the training starts from.
        positive: keep it positive: the value is `exp(p)`, and p is trained. A step of p changes the value by a share of
            it, which suits a coefficient whose order of magnitude is not known.
        bounds: keep it between these: the value is a logistic function of p, which is trained.
        learning_rate: of what is trained, in place of the network's; it follows the schedule of the network's.
        true: the value that is to be found, where it is known, for problems with a reference solution.

    Raises:
        InputError: for an initial value that is no finite number or out of bounds, or options that contradict it.

    Example:
        >>> import phasecore
        >>> problem = phasecore.problem("burgers", viscosity=trained(0.1, positive=True))
        >>> dict(problem.trained_coefficients)
        {'viscosity': trained(0.1, positive=True)}
    """
    return Trained(initial, positive, bounds, learning_rate, true)


def as_trained(value: Any) -> Any:
    """Return a coefficient that a text such as "trained(0.1,positive=True)" writes, and any other value as it is.

    Raises:
        InputError: for a text that begins so and has another form, an unknown option, or one out of range.

    Example:
        >>> as_trained("trained(0.1, bounds=(0, 1))"), as_trained("residuals")
        (trained(0.1, bounds=(0.0, 1.0)), 'residuals')
    """
    if not isinstance(value, str) or not re.match(r"\s*trained\s*\(", value):
        return value
    try:
        call = ast.parse(value.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or any(item.arg is None for item in call.keywords):
            raise ValueError(value)
        positional = [ast.literal_eval(item) for item in call.args]
        options = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        return trained(*positional, **options)
    except (SyntaxError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("trained coefficient", received=repr(value), expected=_EXPECTED) from None


def true_value(parameter: Any, otherwise: float | None = None) -> Any:
    """Return what a parameter is in truth: itself, or of a trained one the value that is to be found.

    Args:
        parameter: of a problem.
        otherwise: what it is taken for where that is not said; None if it is not known.

    Raises:
        InputError: for a trained coefficient of which nothing says the true value.

    Example:
        >>> true_value(0.5), true_value(trained(0.1, true=0.2)), true_value(trained(0.1), 0.3)
        (0.5, 0.2, 0.3)
    """
    if not isinstance(parameter, Trained):
        return parameter
    value = otherwise if parameter.true is None else parameter.true
    if value is None:
        raise InputError(
            "true value of a trained coefficient",
            received=repr(parameter),
            expected="one that says it",
            fix=f"Write {str(parameter)[:-1]}, true=...).",
        )
    return value


def stand_in(problem: Any, trained: Mapping[str, Trained], values: Mapping[str, Any]) -> Any:
    """Return a copy of a problem in which values stand for trained coefficients, see `Problem.with_coefficients`.

    Nothing is checked and nothing looked up, so that compilers follow it.

    Args:
        problem: with its trained coefficients.
        trained: these, by name.
        values: by name, numbers or arrays of shape () of any framework.
    """
    made = copy.copy(problem)
    object.__setattr__(made, STOOD_FOR, trained)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def columns_of_coefficients(values: Mapping[str, float]) -> dict[str, float]:
    """Return the columns of the history that hold values of trained coefficients.

    Example:
        >>> columns_of_coefficients({"viscosity": 0.1})
        {'coefficient_viscosity': 0.1}
    """
    return {f"{COLUMN}{name}": float(value) for name, value in values.items()}


def final_coefficients(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of trained coefficients in the last row of a history, by name.

    Example:
        >>> final_coefficients([{"iteration": 10, "coefficient_viscosity": 0.1, "snr": 2.0}]), final_coefficients([])
        ({'viscosity': 0.1}, {})
    """
    last = rows[-1] if rows else {}
    return {name.removeprefix(COLUMN): value for name, value in last.items() if name.startswith(COLUMN)}


def _check_bounds(what: str, bounds: Any) -> None:
    is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2 and all(map(is_number, bounds))
    if not is_pair or not bounds[0] < bounds[1]:
        raise InputError(
            f"{what}, option 'bounds'", received=repr(bounds), expected="two finite numbers, the lower one first"
        )
