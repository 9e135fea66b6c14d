"""What a loss has beside its terms: regularizers of what is trained. And what it has not, which is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from phasecore_keras.differentiation import Tensor, variable_dtype

REGULARIZERS = "regularizers"
"""What the sum of the regularizers is called beside the losses of the terms."""


def regularized(variables: Iterable[Any]) -> list[Any]:
    """Return those of some variables that have a regularizer.

    Example:
        >>> layer = keras.layers.Dense(1, kernel_regularizer="l2")
        >>> layer.build((None, 2))
        >>> [variable.name for variable in regularized(layer.trainable_variables)]
        ['kernel']
    """
    return [variable for variable in variables if getattr(variable, "regularizer", None) is not None]


def penalty_of(model: Any, trained: Sequence[Any], dtype: str) -> Tensor:
    """Return the sum of the regularizers of trained variables, a scalar.

    Constants that no residual sees, such as the level of a pressure, enter times zero: their gradient is zero then,
    where Keras would warn that there is none.

    Args:
        model: whose variables may be such constants.
        trained: the variables that are trained, of the model and of others.
        dtype: of the result.
    """
    own = getattr(model, "trainable_variables", ())
    constants = [0.0 * ops.sum(v.value) for v in own if len(v.shape) < 2]
    penalties = [v.regularizer(v.value) for v in regularized(trained)]
    # layers may have a dtype of their own each
    return sum((ops.cast(part, dtype) for part in [*constants, *penalties]), ops.zeros((), dtype=dtype))


def name_beside(terms: Iterable[str]) -> str:
    """Return `REGULARIZERS`, or something like it where a term has that name.

    Example:
        >>> name_beside(["pde"]), name_beside(["regularizers"])
        ('regularizers', 'regularizers_')
    """
    name, taken = REGULARIZERS, set(terms)
    while name in taken:
        name += "_"
    return name


def tell_of_added_losses(network: Any, points: Any) -> None:
    """Warn where layers of a network add losses of their own, which are not part of a PINN's.

    Args:
        network: a Keras model or layer.
        points: some to evaluate it at, shape (n, dimension).
    """
    at = ops.convert_to_tensor(np.asarray(points).astype(variable_dtype(network)))
    with keras.StatelessScope(collect_losses=True) as scope:
        network(at, training=False)
    if scope.losses:
        warnings.warn(
            f"PINN: layers of its network add {len(scope.losses)} losses of their own, by add_loss or as activity "
            "regularizers. They are left out of the training: a PINN's loss are the residuals of its problem and the "
            "regularizers of variables (kernel_regularizer=). Make them a condition of the problem.",
            stacklevel=3,
        )
