"""The trained coefficients of a problem as Keras variables, and learning rates of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import keras
from keras import ops

from phasecore.problems import Problem
from phasecore.problems.coefficients import stand_in
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.internals import inner
from phasecore_keras.namespace import namespace


@final
class Coefficients:
    """The trained coefficients of a problem: their free numbers, see `phasecore.problems.Trained`, are variables.

    Args:
        problem: whose coefficients.
        placement: the dtype to compute in; Keras chooses the device.

    Attributes:
        trained: the coefficients by name.
        free: their free numbers, likewise.

    Example:
        >>> import phasecore
        >>> burgers = phasecore.problem("burgers", viscosity=phasecore.trained(0.5))
        >>> coefficients = Coefficients(burgers, "float32")
        >>> float(to_numpy(coefficients.problem().viscosity)), list(coefficients.free)
        (0.5, ['viscosity'])
    """

    def __init__(self, problem: Problem, placement: str) -> None:
        self._problem = problem
        self.trained = dict(problem.trained_coefficients)
        self.free = {
            name: keras.Variable(coefficient.free(), dtype=placement, name=name, autocast=False)
            for name, coefficient in self.trained.items()
        }

    def values(self) -> dict[str, Tensor]:
        """Return the value of each coefficient now, shape ()."""
        return {
            name: own.value(ops.convert_to_tensor(self.free[name]), namespace) for name, own in self.trained.items()
        }

    def problem(self) -> Problem:
        """Return the problem with the values of its coefficients now."""
        if not self.trained:
            return self._problem
        made: Problem = stand_in(self._problem, self.trained, self.values())
        return made

    def parameters_of_problem(self) -> dict[str, Any]:
        """Return all parameters of the problem, with the values of its coefficients now."""
        return {**self._problem.parameters, **self.values()}

    def set_rates(self, optimizer: Any) -> None:
        """Have an optimizer move each coefficient at its own learning rate, where it has one.

        Whatever the optimizer is, its step of such a coefficient is multiplied by the ratio of the coefficient's
        learning rate to that which the optimizer begins with: it follows its schedule.
        """
        rates = {name: own.learning_rate for name, own in self.trained.items() if own.learning_rate is not None}
        optimizer = inner(optimizer)
        # where it was compiled with before
        vars(optimizer).pop("apply", None)
        if rates:
            began_with = _first_rate(optimizer)
            scaled = [(self.free[name], rate / began_with) for name, rate in rates.items()]
            optimizer.apply = _scaling(optimizer.apply, scaled)


def _scaling(apply: Callable[..., None], scaled: Sequence[tuple[Any, float]]) -> Callable[..., None]:
    @functools.wraps(apply)
    def apply_scaled(grads: Any, trainable_variables: Any = None) -> None:
        before = [ops.copy(variable.value) for variable, _ in scaled]
        apply(grads, trainable_variables)
        for (variable, ratio), value in zip(scaled, before, strict=True):
            variable.assign(value + ratio * (variable.value - value))

    return apply_scaled


def _first_rate(optimizer: Any) -> float:
    rate = getattr(optimizer, "_learning_rate", None)
    first = rate(0) if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else optimizer.learning_rate
    return float(to_numpy(ops.convert_to_tensor(first)))
