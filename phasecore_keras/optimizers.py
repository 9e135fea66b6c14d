"""What the monitor reads of an optimizer: Adam's moments where it is Adam, and the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from phasecore.signals import AdamMoments
from phasecore_keras import internals
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.internals import inner

UPDATES_WITH_ADAM_MOMENTS = tuple(
    kind.update_step for kind in (keras.optimizers.Adam, keras.optimizers.Nadam, keras.optimizers.Lamb)
)
"""Updates that keep the exponential averages of the gradient and of its square, which start at zero.

An optimizer is recognized by its update, as attributes and names of variables are shared: Lion has both decay rates,
the "momentum" of schedule-free AdamW is a position.
"""


UPDATES_WITH_ADAM_LEARNING_RATES = tuple(kind.update_step for kind in (keras.optimizers.Adam, keras.optimizers.Nadam))
"""Those that divide by the root of the second moment and nothing else: Lamb gives each variable a ratio of its own."""


def keeps_adam(optimizer: Any) -> bool:
    """Return whether an optimizer, or one of several, keeps Adam's moments.

    Example:
        >>> keeps_adam(keras.optimizers.AdamW()), keeps_adam(keras.optimizers.Lion())
        (True, False)
    """
    return any(_is_adam(part) for part in _parts(optimizer))


def adam_moments(optimizer: Any, variable: Any) -> AdamMoments | None:
    """Return Adam's bias-corrected moments of a variable.

    Returns:
        None before the first step, and for a variable that Adam does not train, or a complex one, of whose gradient
        Keras keeps the square in place of the squared magnitude.
    """
    for part, step in _trainers(optimizer, variable):
        moments = internals.adam_moments(part, variable)
        assert moments is not None
        first, second = (to_numpy(moment.value) for moment in moments)
        return AdamMoments(first / (1 - part.beta_1**step), second / (1 - part.beta_2**step))
    return None


def keeps_learning_rates(optimizer: Any) -> bool:
    """Return whether an optimizer, or one of several, divides a learning rate by the root of Adam's second moment.

    Example:
        >>> keeps_learning_rates(keras.optimizers.Nadam()), keeps_learning_rates(keras.optimizers.Lamb())
        (True, False)
    """
    return any(_has_learning_rates(part) for part in _parts(optimizer))


def adam_learning_rates(optimizer: Any, variable: Any) -> NDArray[Any] | None:
    """Return `lr / (sqrt(v) + epsilon)` of a variable's entries, or None where there are none, as of its moments.

    v is the bias-corrected second moment, under AMSGrad the largest so far. The learning rate is that of the next step,
    of a trained coefficient its own where it has one.
    """
    for part, step in _trainers(optimizer, variable):
        if _has_learning_rates(part):
            moments = internals.adam_moments(part, variable)
            assert moments is not None
            amsgrad = getattr(part, "amsgrad", False)
            second = to_numpy((internals.largest_velocity(part, variable) if amsgrad else moments[1]).value)
            root = np.sqrt(second / (1 - part.beta_2**step))
            rate = _number(part.learning_rate) * internals.ratio_of(part, variable)
            return np.asarray(rate / (root + part.epsilon))
    return None


def learning_rates(optimizer: Any) -> dict[str, float]:
    """Return the learning rate of the next step, one for each where there are several optimizers.

    Example:
        >>> round(learning_rates(keras.optimizers.Adam(0.25))["learning_rate"], 6)
        0.25
    """
    parts = list(_parts(optimizer))
    if parts == [inner(optimizer)]:
        return {"learning_rate": _number(parts[0].learning_rate)}
    return {f"learning_rate_{part.name}": _number(part.learning_rate) for part in parts}


def _parts(optimizer: Any) -> Iterator[Any]:
    optimizer = inner(optimizer)
    yield from getattr(optimizer, "optimizers", [optimizer])


def _is_adam(optimizer: Any) -> bool:
    return getattr(type(optimizer), "update_step", None) in UPDATES_WITH_ADAM_MOMENTS


def _has_learning_rates(optimizer: Any) -> bool:
    return getattr(type(optimizer), "update_step", None) in UPDATES_WITH_ADAM_LEARNING_RATES


def _trainers(optimizer: Any, variable: Any) -> Iterator[tuple[Any, int]]:
    """The optimizers of Adam's family that train a variable, and have begun, each with its steps."""
    if "complex" in keras.backend.standardize_dtype(variable.dtype):
        return
    for part in _parts(optimizer):
        if _is_adam(part) and part.built and internals.adam_moments(part, variable) is not None:
            step = int(_number(part.iterations))
            if step:
                yield part, step


def _number(value: Any) -> float:
    return float(to_numpy(keras.ops.convert_to_tensor(value)))
