"""Carrying out, within a `fit` of one's own, what policies ask for: the learning rate, the weights, the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from phasecore.policies import (
    Action,
    ChangeWeighting,
    Resample,
    ScaleLearningRate,
    SetLearningRate,
    SwitchOptimizer,
)
from phasecore.policies.actions import RATES, WEIGHTS
from phasecore.policies.going_back import gentle, said
from phasecore_keras.distribution import replicas_of
from phasecore_keras.internals import inner
from phasecore_keras.model import PINN
from phasecore_keras.optimizers import learning_rates
from phasecore_keras.second_order import Failed
from phasecore_keras.steps import synchronize
from phasecore_keras.storing import hold


def optimizer_name(model: Any) -> str:
    """Return what policies call the optimizer that a model was compiled with.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.AdamW(), "mse")
        >>> optimizer_name(model)
        'adamw'
    """
    return type(inner(model.optimizer)).__name__.lower()


def carried_out(model: Any) -> frozenset[str]:
    """Return the actions that `fit` of a model has done, by requirement.

    A learning rate that is a schedule, and those of several optimizers, cannot be set. L-BFGS minimizes the loss of a
    PINN on all of its points, and knows of nothing that an optimizer does beside.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.Adam(0.01), "mse")
        >>> sorted(carried_out(model))
        ['scale_learning_rate', 'set_learning_rate']
    """
    optimizer = inner(model.optimizer)
    is_number = not isinstance(optimizer.get_config().get("learning_rate"), Mapping)
    settable = is_number and [*learning_rates(optimizer)] == ["learning_rate"]
    names = (optimizer_name(model), "lbfgs") if not hindrances(model) else ()
    switches = frozenset(f"{SwitchOptimizer.name}:{name}" for name in names)
    return switches | (RATES if settable else frozenset()) | (WEIGHTS if isinstance(model, PINN) else frozenset())


OF_THE_STATE = RATES | WEIGHTS | {Resample.name}
"""Actions whose effect is part of a saved state."""


def hindrances(model: Any) -> list[str]:
    """Return why `fit` of a model cannot go on with L-BFGS; nothing where it can.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.Adam(0.01), "mse")
        >>> hindrances(model)
        ['a model that is no PINN']
    """
    optimizer = inner(model.optimizer)
    found = {
        "a model that is no PINN": not isinstance(model, PINN),
        "several devices": keras.distribution.distribution() is not None or replicas_of(model) > 1,
        "an optimizer that accumulates gradients": bool(optimizer.gradient_accumulation_steps),
        "an optimizer that averages the variables (use_ema)": bool(getattr(optimizer, "use_ema", False)),
        "variables with constraints": any(
            getattr(variable, "constraint", None) is not None for variable in model.trainable_variables
        ),
    }
    return [hindrance for hindrance, is_there in found.items() if is_there]


def carry_out(model: Any, action: Action, failed: Failed) -> None:
    """Do what a policy asks for, of what is `carried_out`, between two steps.

    Args:
        model: that is trained.
        action: what to do.
        failed: hears where L-BFGS fails.
    """
    # JAX' trainer reads the variables anew after this
    synchronize(model)
    if isinstance(action, SwitchOptimizer):
        put_in_charge(model, action.optimizer, failed)
    elif isinstance(action, SetLearningRate | ScaleLearningRate):
        optimizer = inner(model.optimizer)
        now = learning_rates(optimizer)["learning_rate"]
        optimizer.learning_rate = action.rate if isinstance(action, SetLearningRate) else action.factor * now
    elif isinstance(action, ChangeWeighting):
        model.change_weighting(action.weighting)
    else:
        hold(model, action)


def put_in_charge(model: PINN, optimizer: str, failed: Failed) -> None:
    """Have the steps of `fit` made by an optimizer from the next one on.

    Args:
        model: the PINN.
        optimizer: "lbfgs", or the one that it was compiled with.
        failed: hears where L-BFGS fails.
    """
    if optimizer == "lbfgs":
        model.quasi_newton.take_over(failed)
    else:
        model.quasi_newton.give_back()


def rate_of(model: Any) -> float | None:
    """Return the learning rate of Keras' optimizer, None where there are several optimizers."""
    return learning_rates(model.optimizer).get("learning_rate")


def slowed_down(model: PINN, failure: str) -> str:
    """Have Keras' optimizer go on no faster than L-BFGS ended, and return the failure with that in words.

    See `phasecore.policies.going_back`. A schedule stays as it is.
    """
    optimizer, lbfgs = inner(model.optimizer), model.quasi_newton.lbfgs
    if lbfgs is None or not carried_out(model) >= RATES:
        return said(failure, 1.0)
    now = learning_rates(optimizer)["learning_rate"]
    factor = gentle(lbfgs.length, float(now), lbfgs.has_won)
    if factor < 1.0:
        optimizer.learning_rate = factor * now
    return said(failure, factor)
