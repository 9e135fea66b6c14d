"""Quasi-Newton steps: self-scaled L-BFGS over the flattened variables, one step at a time, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
from numpy.typing import NDArray

from phasecore.quasi_newton.inverse_hessian import memory_for, numpy_arrays
from phasecore.quasi_newton.steps import Evaluated, MadeOfSteps, NotFiniteError, SelfScaledLBFGS
from phasecore_keras.autodiff import to_numpy

Floats = NDArray[np.floating[Any]]


@final
class LBFGS(MadeOfSteps[Floats]):
    """Self-scaled L-BFGS with strong Wolfe conditions: each `step()` is one direction and its line search.

    See `phasecore.quasi_newton` for the method. A line search that finds no other variables, or leaves the finite
    numbers, is made once more along the gradient, with nothing remembered. Where that fails too, and for a loss that
    is not finite, the variables are those that the step began with, and `failure` says why; another optimizer goes on.

    Args:
        variables: that are trained.
        evaluate: returns the loss and its gradients with respect to the variables, at their values now.
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
        is_fixed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._variables = list(variables)
        self._evaluate = evaluate
        self._is_fixed = is_fixed
        computed = {keras.backend.result_type(variable.dtype, variable.dtype) for variable in self._variables}
        unit = float(np.finfo(np.float64 if computed == {"float64"} else np.float32).eps)
        point = self._point()
        self._steps = SelfScaledLBFGS(self._at, unit, numpy_arrays(), memory_for(len(point), point.itemsize))

    def step(self) -> float:
        """Make one step, and return the loss before it; NaN where that was not finite."""
        self._put(self._steps.step(self._point(), is_fixed=self._is_fixed()))
        return float("nan") if self._steps.good is None else self._steps.good.loss

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry, as arrays by name."""
        known = self._steps.inverse_hessian.state()
        numbers = {name: np.asarray(number) for name, number in self._numbers().items()}
        state = {**numbers, **{name: np.array(known[name]) for name in known}}
        for name, own in (("before", self._steps.good), ("evaluated", self._steps.last)):
            if own is not None:
                state |= {
                    f"{name}_point": own.point,
                    f"{name}_loss": np.asarray(own.loss),
                    f"{name}_gradient": own.gradient,
                }
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""

        def evaluated(name: str) -> Evaluated[Floats] | None:
            if f"{name}_point" not in state_dict:
                return None
            point, loss, gradient = (state_dict[f"{name}_{part}"] for part in ("point", "loss", "gradient"))
            return Evaluated(np.asarray(point), float(loss), np.asarray(gradient))

        self._count_on(state_dict)
        self._steps.good, self._steps.last = evaluated("before"), evaluated("evaluated")
        self._steps.inverse_hessian.restore(state_dict)

    def _at(self, point: Floats) -> Evaluated[Floats]:
        self._put(point)
        loss, gradients = self._evaluate()
        flat = np.concatenate([np.asarray(gradient, dtype=point.dtype).ravel() for gradient in gradients])
        if not (np.isfinite(loss) and np.isfinite(flat).all()):
            raise NotFiniteError
        return Evaluated(point, float(loss), flat)

    def _point(self) -> Floats:
        flat = np.concatenate([to_numpy(variable.value).ravel() for variable in self._variables])
        return flat.astype(np.result_type(flat, np.float32), copy=False)

    def _put(self, point: Floats) -> None:
        begin = 0
        for variable in self._variables:
            size = int(np.prod(variable.shape))
            variable.assign(point[begin : begin + size].reshape(variable.shape).astype(variable.dtype))
            begin += size
