"""Quasi-Newton steps: L-BFGS over the flattened variables, of scipy's parts, one step at a time, on every backend.

scipy's own loop cannot be stopped between two steps and gone on with from a checkpoint; its two parts can: the
approximate inverse Hessian (`LbfgsInvHessProduct`) and the line search for the strong Wolfe conditions (`line_search`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
from numpy.typing import NDArray

from phasecore.policies.line_search import MEMORY, MOST_EVALUATIONS, hidden_by_rounding
from phasecore_keras.autodiff import to_numpy

LEAST_CURVATURE = 1e-10
"""Least product of a step and its change of the gradient that is remembered, as a part of the loss."""

Floats = NDArray[np.float64]
Evaluated = tuple[Floats, float, Floats]
"""A point with the loss and its gradient there."""


@final
class LBFGS:
    """L-BFGS with strong Wolfe conditions, of which each `step()` makes one step: a direction and a line search.

    A line search that finds no other variables, or leaves the finite numbers, is made once more along the gradient,
    with nothing remembered. Where that fails too, and for a loss that is not finite, the variables are those of the
    last finite loss again, and `failure` says why; another optimizer goes on.

    Args:
        variables: that are trained.
        evaluate: returns the loss and its gradients with respect to the variables, at their values now.
        memory: see `MEMORY`.
        is_fixed: says whether the loss is the same function of the variables as in the last step; the evaluation with
            which a line search ended is then that with which the next step begins. By default it may be another.

    Attributes:
        evaluations: of loss and gradient, so far.
        failure: why the last step failed, or None.
        length: of the last step that did not, root mean square over the variables; None before the first.

    Example:
        >>> import keras
        >>> x = keras.Variable([3.0, -1.0])
        >>> scales = np.asarray([1.0, 10.0])
        >>> optimizer = LBFGS([x], lambda: (scales @ (to_numpy(x.value) ** 2), [2 * scales * to_numpy(x.value)]))
        >>> losses = [optimizer.step() for _ in range(8)]
        >>> losses[-1] < 1e-6, optimizer.failure
        (True, None)
    """

    def __init__(
        self,
        variables: Sequence[Any],
        evaluate: Callable[[], tuple[Any, Sequence[Any]]],
        memory: int = MEMORY,
        is_fixed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._variables = list(variables)
        self._evaluate = evaluate
        self._memory = memory
        self._is_fixed = is_fixed
        self.evaluations = 0
        self.failure: str | None = None
        self.length: float | None = None
        self._steps: list[Floats] = []
        self._changes: list[Floats] = []
        self._before: Evaluated | None = None
        self._evaluated: Evaluated | None = None
        computed = {keras.backend.result_type(variable.dtype, variable.dtype) for variable in self._variables}
        self._rounding = float(np.finfo(np.float64 if computed == {"float64"} else np.float32).eps)

    def step(self) -> float:
        """Make one step, and return the loss before it."""
        point = self._point()
        known = self._evaluated
        self.failure = None
        try:
            if known is None or not self._is_fixed() or not np.array_equal(known[0], point):
                known = self._at(point)
            self._remember(known)
            self.failure = self._searched(known)
            if self.failure is not None and self._steps:
                self._steps, self._changes = [], []
                self.failure = self._searched(known)
        except _NotFiniteError:
            self.failure = "the loss was not finite"
        if self.failure is not None:
            self._put(point if self._before is None else self._before[0])
            self._steps, self._changes, self._evaluated = [], [], None
        else:
            self.length = float(np.sqrt(np.mean(np.square(self._point() - point))))
        return float("nan") if self._before is None else self._before[1]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry, as arrays by name."""
        size = len(self._point())
        state: dict[str, Any] = {
            "evaluations": np.asarray(self.evaluations),
            "steps": np.asarray(self._steps).reshape(-1, size),
            "changes": np.asarray(self._changes).reshape(-1, size),
        }
        if self.length is not None:
            state["length"] = np.asarray(self.length)
        for name, own in (("before", self._before), ("evaluated", self._evaluated)):
            if own is not None:
                state |= {f"{name}_point": own[0], f"{name}_loss": np.asarray(own[1]), f"{name}_gradient": own[2]}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""

        def evaluated(name: str) -> Evaluated | None:
            if f"{name}_point" not in state_dict:
                return None
            point, loss, gradient = (state_dict[f"{name}_{part}"] for part in ("point", "loss", "gradient"))
            return np.asarray(point), float(loss), np.asarray(gradient)

        self.evaluations = int(state_dict["evaluations"])
        self._steps, self._changes = list(state_dict["steps"]), list(state_dict["changes"])
        self._before, self._evaluated = evaluated("before"), evaluated("evaluated")
        self.length = float(state_dict["length"]) if "length" in state_dict else None

    def _remember(self, now: Evaluated) -> None:
        """Keep the last step and its change of the gradient."""
        if self._before is not None and not np.array_equal(self._before[0], now[0]):
            step, change = now[0] - self._before[0], now[2] - self._before[2]
            if step @ change > LEAST_CURVATURE * abs(now[1]):
                self._steps, self._changes = (
                    [*self._steps, step][-self._memory :],
                    [*self._changes, change][-self._memory :],
                )
        self._before = now

    def _direction(self, gradient: Floats) -> Floats:
        """The quasi-Newton direction, with `s y / y y` of the last pair as the first guess of the inverse Hessian."""
        from scipy.optimize import LbfgsInvHessProduct

        if not self._steps:
            return -gradient / max(float(np.abs(gradient).sum()), 1e-300)
        step, change = self._steps[-1], self._changes[-1]
        scale = np.sqrt(step @ change / (change @ change))
        # in units in which that guess is one
        inverse = LbfgsInvHessProduct(np.asarray(self._steps) / scale, np.asarray(self._changes) * scale)
        return np.asarray(-scale * inverse.matvec(scale * gradient))

    def _searched(self, start: Evaluated) -> str | None:
        """Move along the direction, and return why that failed, or None."""
        try:
            self._search(start)
        except _NotFiniteError:
            return "the line search left the finite numbers"
        moved = self._evaluated is not None and not np.array_equal(self._evaluated[0], start[0])
        return None if moved else "the line search found nothing better"

    def _search(self, start: Evaluated) -> None:
        """Move along the direction."""
        from scipy.optimize import line_search

        point, loss, gradient = start
        seen: dict[bytes, Evaluated] = {point.tobytes(): start}

        def at(other: Floats) -> Evaluated:
            key = other.tobytes()
            if key not in seen:
                seen[key] = self._at(other)
            return seen[key]

        def loss_at(other: Floats) -> float:
            return self._told_by_gradients(start, at(other))

        def gradient_at(other: Floats) -> Floats:
            return at(other)[2]

        direction = self._direction(gradient)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            searched: Any = line_search(
                loss_at, gradient_at, point, direction, gradient, loss,
                maxiter=MOST_EVALUATIONS,
            )  # fmt: skip
        length = searched[0]
        if length is None:
            found = min(seen.values(), key=lambda end: self._told_by_gradients(start, end))
        else:
            found = at(point + length * direction)
        self._put(found[0])
        self._evaluated = (self._point(), *found[1:])

    def _told_by_gradients(self, start: Evaluated, end: Evaluated) -> float:
        """The loss at the end of a step, told by gradients where rounding hides what the step did to it."""
        if start is end or not hidden_by_rounding(start[1], end[1], self._rounding):
            return end[1]
        return start[1] + 0.5 * float((end[0] - start[0]) @ (start[2] + end[2]))

    def _at(self, point: Floats) -> Evaluated:
        self._put(point)
        loss, gradients = self._evaluate()
        self.evaluations += 1
        flat = np.concatenate([np.asarray(gradient, dtype=np.float64).ravel() for gradient in gradients])
        if not (np.isfinite(loss) and np.isfinite(flat).all()):
            raise _NotFiniteError
        return point, float(loss), flat

    def _point(self) -> Floats:
        return np.concatenate([to_numpy(variable.value).ravel() for variable in self._variables]).astype(np.float64)

    def _put(self, point: Floats) -> None:
        begin = 0
        for variable in self._variables:
            size = int(np.prod(variable.shape))
            variable.assign(point[begin : begin + size].reshape(variable.shape).astype(variable.dtype))
            begin += size


class _NotFiniteError(Exception):
    """An evaluation is not finite."""
