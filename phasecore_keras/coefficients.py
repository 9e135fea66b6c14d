"""The trained coefficients of a problem as Keras variables, and learning rates of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import keras
import numpy as np
from keras import ops

from phasecore.errors import InputError
from phasecore.problems import Problem
from phasecore.problems.coefficients import stand_in
from phasecore.problems.unmoved import Unmoved
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.internals import forget_rates_in_place, inner, put_rates_in_place, schedule_of
from phasecore_keras.namespace import namespace

BEGAN_WITH = "phasecore_began_with"
"""Attribute of an optimizer, and name in a saved model: the learning rate that coefficients' own are set against."""

WITHOUT_STEPS = (keras.optimizers.Ftrl, keras.optimizers.ScheduleFreeAdamW)
"""Optimizers that compute where a variable is to be from what they keep themselves: a longer step misleads them."""


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
        self._unmoved = Unmoved()
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

    def warn_of_unmoved(self, model: Any, iteration: int) -> None:
        """Warn of coefficients that stand still while a model beside them is trained, see `Unmoved`."""
        beside = next((own for own in getattr(model, "trainable_variables", ())), None)
        free = {name: float(to_numpy(own.value)) for name, own in self.free.items() if own.trainable}
        if free and beside is not None:
            self._unmoved.warn(free, float(np.abs(to_numpy(beside.value)).sum()), iteration)

    def parameters_of_problem(self) -> dict[str, Any]:
        """Return all parameters of the problem, with the values of its coefficients now."""
        return {**self._problem.parameters, **self.values()}

    def set_rates(self, optimizer: Any) -> None:
        """Have an optimizer move each coefficient at its own learning rate, where it has one.

        Whatever the optimizer is, its step of such a coefficient is made at its own learning rate times the ratio of
        the coefficient's to that which it begins with: it follows its schedule. An average of the variables that the
        optimizer keeps is of what they are after that.

        Raises:
            InputError: for an optimizer that cannot, or that begins with a learning rate of zero.
        """
        rates = {name: own.learning_rate for name, own in self.trained.items() if own.learning_rate is not None}
        optimizer = inner(optimizer)
        if optimizer is None:
            return
        forget_rates_in_place(optimizer)
        if rates:
            _check_one_step(optimizer, rates)
            began_with = _first_rate(optimizer, rates)
            put_rates_in_place(optimizer, [(self.free[name], rate / began_with) for name, rate in rates.items()])


def _check_one_step(optimizer: Any, rates: Mapping[str, float]) -> None:
    """Refuse several optimizers, and one that computes where to go without regard to where the variable is."""
    several = hasattr(optimizer, "optimizers")
    if several or isinstance(optimizer, WITHOUT_STEPS):
        raise InputError(
            "learning rates of trained coefficients",
            received=f"{_said(rates)}, and the optimizer {type(optimizer).__name__}",
            expected="one optimizer whose step may be multiplied, such as Adam",
            fix="Leave learning_rate out of trained(...), and map the coefficient to an optimizer of its own: "
            f"OptimizerMap(default, {{{next(iter(rates))!r}: Adam(...)}})."
            if several
            else "Leave learning_rate out of trained(...), or take another optimizer.",
        )


def _first_rate(optimizer: Any, rates: Mapping[str, float]) -> float:
    """The learning rate that an optimizer began with when it was first compiled with; after warming up, where it does.

    It is noted with the optimizer, whose rate may be another by the time that it is compiled with again.
    """
    noted = getattr(optimizer, BEGAN_WITH, None)
    if noted is not None:
        return float(noted)
    schedule = schedule_of(optimizer)
    peak = getattr(schedule, "warmup_target", None)
    first = optimizer.learning_rate if schedule is None else schedule(0) if peak is None else peak
    rate = float(to_numpy(ops.convert_to_tensor(first)))
    if not rate > 0:
        raise InputError(
            "learning rates of trained coefficients",
            received=f"{_said(rates)}, and an optimizer that begins with {rate:g}",
            expected="a positive learning rate to begin with, which theirs are to be in proportion to",
            fix="Begin above 0, or with a schedule that has a warmup_target, such as CosineDecay, or leave "
            "learning_rate out of trained(...).",
        )
    setattr(optimizer, BEGAN_WITH, rate)
    return rate


def _said(rates: Mapping[str, float]) -> str:
    return ", ".join(f"learning_rate={rate:g} of {name!r}" for name, rate in rates.items())
