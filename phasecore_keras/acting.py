"""Carrying out, within a `fit` of one's own, what policies ask for: the learning rate, and the weights of a PINN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from phasecore.policies import Action, HoldWeighting, ReleaseWeighting, ScaleLearningRate, SetLearningRate
from phasecore_keras.internals import inner
from phasecore_keras.model import PINN
from phasecore_keras.optimizers import learning_rates
from phasecore_keras.steps import synchronize

RATES = frozenset({SetLearningRate.name, ScaleLearningRate.name})
WEIGHTS = frozenset({HoldWeighting.name, ReleaseWeighting.name})


def carried_out(model: Any) -> frozenset[str]:
    """Return the actions that `fit` of a model has done, by name.

    A learning rate that is a schedule, and those of several optimizers, cannot be set. JAX keeps the step that it has
    compiled for a `fit`, so that weights cannot be held within it.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.Adam(0.01), "mse")
        >>> sorted(carried_out(model))
        ['scale_learning_rate', 'set_learning_rate']
    """
    optimizer = inner(model.optimizer)
    is_number = not isinstance(optimizer.get_config().get("learning_rate"), Mapping)
    settable = is_number and [*learning_rates(optimizer)] == ["learning_rate"]
    weighted = isinstance(model, PINN) and keras.backend.backend() != "jax"
    return (RATES if settable else frozenset()) | (WEIGHTS if weighted else frozenset())


def carry_out(model: Any, action: Action) -> None:
    """Do what a policy asks for, of what is `carried_out`, between two steps.

    Args:
        model: that is trained.
        action: what to do.
    """
    # JAX' trainer reads the variables anew after this
    synchronize(model)
    if isinstance(action, SetLearningRate | ScaleLearningRate):
        optimizer = inner(model.optimizer)
        now = learning_rates(optimizer)["learning_rate"]
        optimizer.learning_rate = action.rate if isinstance(action, SetLearningRate) else action.factor * now
    else:
        hold(model, held=isinstance(action, HoldWeighting))


def hold(model: PINN, *, held: bool) -> None:
    """Update the weights of a PINN no more, or again; its step is compiled anew."""
    model.physics.hold_weighting(held)
    model.renew()
