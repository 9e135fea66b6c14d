"""Keras' global precision: that of a network's layers, and one for the time of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from phasecore.errors import InputError


@contextlib.contextmanager
def computing_in(precision: str | None) -> Iterator[None]:
    """Have layers, points and results be of a precision inside, and of what they were before afterwards.

    Args:
        precision: "float32" or "float64"; None changes nothing.

    Raises:
        InputError: for "float64" with JAX or torch. There `keras.backend.result_type` is float32 for two of float64,
            and Keras multiplies matrices and applies tanh in it, whatever its policy.

    Example:
        >>> with computing_in("float32"):
        ...     keras.layers.Dense(1).variable_dtype
        'float32'
    """
    if precision is None:
        yield
        return
    if keras.backend.result_type(precision, precision) != precision:
        raise InputError(
            "setting 'precision'",
            received=f"{precision!r}, with Keras on {keras.backend.backend()}, where it computes in float32 anyhow",
            fix="Set KERAS_BACKEND=tensorflow, leave the setting out, or use the backend 'torch'.",
        )
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def check_layers(network: Any) -> None:
    """Refuse, on TensorFlow, a network with layers of float64 where Keras' own precision is less.

    TensorFlow has no product of two dtypes, and points, weights and losses are of Keras' own precision.

    Raises:
        InputError: naming a variable, and what to set.

    Example:
        >>> check_layers(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    """
    variables = getattr(network, "variables", ())
    longer = [v.path for v in variables if v.dtype == "float64" and keras.config.floatx() != "float64"]
    if longer and keras.backend.backend() == "tensorflow":
        raise InputError(
            "the network of a PINN",
            received=f"layers of float64, such as that of {longer[0]!r}, where Keras computes in "
            f"{keras.config.floatx()}",
            expected="one precision, on TensorFlow",
            fix='Call keras.config.set_floatx("float64") before the network is made.',
        )
