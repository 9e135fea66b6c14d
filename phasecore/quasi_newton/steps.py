"""Steps of self-scaled L-BFGS: a direction and a line search each, the same on every backend.

scipy's and torch's own loops cannot be stopped between two steps of a line search's length and gone on with from a
checkpoint, nor told of another loss between two; the search for the strong Wolfe conditions is scipy's
(`scipy.optimize.line_search`), of the one number that says how far to go along the direction.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, final

import numpy as np

from phasecore.quasi_newton.inverse_hessian import Arrays, InverseHessian, V

MOST_EVALUATIONS = 25
"""Most evaluations of a line search."""

JUMP = 2.0
"""Where the loss is so many times what it was at the same parameters, it is another one: nothing is remembered."""

WON, MANY = 0.5, 50
"""Steps that have halved the loss, or so many of them, have won something that an optimizer after them might undo."""

NUMBERS: Mapping[str, float | None] = {"evaluations": 0, "length": None, "count": 0, "left": 1.0}
"""What steps count, and begin with."""

ROUNDED = 10_000
"""Up to so many units of rounding, differences of the loss are told by its gradients."""


def hidden_by_rounding(begin: float, end: float, unit: float) -> bool:
    """Return whether the losses at both ends of a step differ by no more than rounding may have done.

    The difference is then better told by the gradients at both ends along the step, by the trapezoidal rule. So a line
    search goes on to see what it does where the loss has no digits left: one of residuals that are differences of
    derivatives has five in float32 (Hager, Zhang, SIAM J. Optim. 16 (2005), 170-192, section 4, tell it by gradients
    too).

    Args:
        begin: the loss at the beginning.
        end: the loss at the end.
        unit: the unit of rounding of what both are computed in, as a part of one.

    Example:
        >>> hidden_by_rounding(1.0, 1.0 + 1e-5, 2**-23), hidden_by_rounding(1.0, 1.0 + 1e-5, 2**-52)
        (True, False)
    """
    return abs(end - begin) <= ROUNDED * unit * abs(begin)


class Evaluated(NamedTuple, Generic[V]):
    """The parameters as one flat vector, the loss there, and its gradient, shapes `(size,)`, `()`, `(size,)`."""

    point: V
    loss: float
    gradient: V


class NotFiniteError(Exception):
    """An evaluation is not finite."""


@final
class SelfScaledLBFGS(Generic[V]):
    """Makes steps of self-scaled L-BFGS with strong Wolfe conditions.

    A line search that finds no other parameters, or leaves the finite numbers, is made once more along the gradient,
    with nothing remembered. Where that fails too, and for a loss that is not finite, the step ends where it began, and
    `failure` says why; another optimizer goes on.

    Args:
        evaluate: returns the loss and its gradient for parameters, and raises `NotFiniteError` where they are not
            finite. The vectors are of the precision of the parameters.
        unit: the unit of rounding of what the loss is computed in.
        arrays: of the vectors.
        memory: most pairs that are remembered, see `inverse_hessian`.

    Attributes:
        evaluations: of loss and gradient, so far.
        failure: why the last step failed, or None.
        length: of the last step that did not, root mean square over the parameters; None before the first.
        count: steps that did not fail, one after the other, so far.
        left: the part of the loss that these have left; 0 where a loss was not positive.

    Example:
        >>> from phasecore.quasi_newton.inverse_hessian import numpy_arrays
        >>> scales = np.asarray([1.0, 10.0])
        >>> def evaluate(x):
        ...     return Evaluated(x, float(scales @ x**2), 2 * scales * x)
        >>> steps = SelfScaledLBFGS(evaluate, 2**-52, numpy_arrays(), memory=10)
        >>> x = np.asarray([3.0, -1.0])
        >>> for _ in range(8):
        ...     x = steps.step(x, is_fixed=True)
        >>> bool(abs(x).max() < 1e-6), steps.failure
        (True, None)
    """

    def __init__(self, evaluate: Callable[[V], Evaluated[V]], unit: float, arrays: Arrays[V], memory: int) -> None:
        self._evaluate = evaluate
        self._unit = unit
        self.inverse_hessian: InverseHessian[V] = InverseHessian(arrays, memory)
        self.evaluations = 0
        self.failure: str | None = None
        self.length: float | None = None
        self.count = 0
        self.left = 1.0
        self.good: Evaluated[V] | None = None
        self.last: Evaluated[V] | None = None

    def step(self, point: V, *, is_fixed: bool) -> V:
        """Make one step, and return where it ends; `good` is what it began with, `last` what it ended with.

        `last` is None where it failed, and `good`, too, where it began with a loss that is not finite.

        Args:
            point: the parameters, shape `(size,)`.
            is_fixed: whether the loss is the same function of the parameters as in the last step; the evaluation with
                which its line search ended is then that with which this one begins.
        """
        self.failure = None
        if self.last is None:
            self.count, self.left = 0, 1.0
        before = None if self.good is None else self.good.loss
        try:
            known = self.last if is_fixed and self.last is not None and bool((self.last.point == point).all()) else None
            self.good = known or self._at(point)
            if known is None and self._has_jumped(self.good):
                self.inverse_hessian.clear()
        except NotFiniteError:
            # what is known of an earlier step is of parameters that others may have left long ago
            self.good, self.failure = None, "the loss was not finite"
        else:
            self.failure = self._searched(self.good, before)
            if self.failure is not None and len(self.inverse_hessian):
                self.inverse_hessian.clear()
                self.failure = self._searched(self.good, before)
        if self.failure is None:
            assert self.last is not None
            assert self.good is not None
            self.count += 1
            self.left *= max(self.last.loss, 0.0) / self.good.loss if self.good.loss > 0.0 else 0.0
            moved = self.last.point - point
            self.length = math.sqrt(float(moved @ moved) / len(point))
            return self.last.point
        self.inverse_hessian.clear()
        self.last = None
        return point

    def _has_jumped(self, now: Evaluated[V]) -> bool:
        """Whether the loss is another than the one that the last step ended with, as where points have moved."""
        last = self.last
        return last is not None and bool((last.point == now.point).all()) and now.loss > JUMP * last.loss

    def _searched(self, start: Evaluated[V], before: float | None) -> str | None:
        """Move along the direction, and return why that failed, or None; `before` is the loss a step ago."""
        try:
            self.last = self._search(start, before)
        except NotFiniteError:
            return "the line search left the finite numbers"
        return None if bool((self.last.point != start.point).any()) else "the line search found nothing better"

    def _search(self, start: Evaluated[V], before: float | None) -> Evaluated[V]:
        """Move along the direction, and remember what was met there.

        The first length tried is that which would win as much again as the last step did, and one at most.
        """
        from scipy.optimize import line_search

        direction = self._direction(start.gradient)
        slope = float(start.gradient @ direction)
        if not (math.isfinite(slope) and slope < 0):
            return start
        seen = {0.0: start}

        def at(place: Any) -> Evaluated[V]:
            length = float(place[0])
            if length not in seen:
                seen[length] = self._at(start.point + length * direction)
            return seen[length]

        def loss(place: Any) -> float:
            return self._told(start, at(place))

        def slope_at(place: Any) -> Any:
            return np.asarray([float(at(place).gradient @ direction)])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            searched: Any = line_search(
                loss, slope_at, np.zeros(1), np.ones(1), np.asarray([slope]), start.loss, before,
                maxiter=MOST_EVALUATIONS,
            )  # fmt: skip
        length = searched[0]
        if length is None:
            length = min(seen, key=lambda place: self._told(start, seen[place]))
        end = at([length])
        if length:
            # B s is the negative gradient, as many times as the step is the direction
            step = end.point - start.point
            known = len(self.inverse_hessian) > 0
            self.inverse_hessian.add(step, end.gradient - start.gradient, -length * length * slope if known else None)
        return end

    def _direction(self, gradient: V) -> V:
        if not len(self.inverse_hessian):
            return -gradient / max(float(abs(gradient).sum()), 1e-300)  # type: ignore[no-any-return]
        return -(self.inverse_hessian @ gradient)  # type: ignore[no-any-return]

    def _told(self, start: Evaluated[V], end: Evaluated[V]) -> float:
        """The loss at the end of a step, told by gradients where rounding hides what the step did to it."""
        if start is end or not hidden_by_rounding(start.loss, end.loss, self._unit):
            return end.loss
        return start.loss + 0.5 * float((end.point - start.point) @ (start.gradient + end.gradient))

    def _at(self, point: V) -> Evaluated[V]:
        self.evaluations += 1
        return self._evaluate(point)


class MadeOfSteps(ABC, Generic[V]):
    """An optimizer of a framework that has its steps made by `SelfScaledLBFGS`."""

    _steps: SelfScaledLBFGS[V]

    @abstractmethod
    def _at(self, point: V) -> Evaluated[V]:
        """Return the loss and its gradient for parameters."""

    @property
    def evaluations(self) -> int:
        """Of loss and gradient, so far."""
        return self._steps.evaluations

    @evaluations.setter
    def evaluations(self, evaluations: int) -> None:
        """Count on from so many."""
        self._steps.evaluations = evaluations

    @property
    def failure(self) -> str | None:
        """Why the last step failed, or None."""
        return self._steps.failure

    @property
    def length(self) -> float | None:
        """Of the last step that did not fail, root mean square over the parameters; None before the first."""
        return self._steps.length

    @property
    def has_won(self) -> bool:
        """Whether the steps before a failure have won something: the loss halved, or many steps made."""
        return self._steps.left <= WON or self._steps.count >= MANY

    def _numbers(self) -> dict[str, float]:
        """Return what the steps so far have come to, by name."""
        numbers = {name: getattr(self._steps, name) for name in NUMBERS}
        return {name: number for name, number in numbers.items() if number is not None}

    def _count_on(self, numbers: Mapping[str, Any]) -> None:
        """Go on from `_numbers()`."""
        for name, first in NUMBERS.items():
            setattr(self._steps, name, np.asarray(numbers[name]).item() if name in numbers else first)
