"""Gradients of networks that compute in float16, which has no numbers below 6e-8: the loss is scaled on the way.

A training scales its loss likewise (`keras.optimizers.LossScaleOptimizer`); here it is done for gradients that are
taken beside it. The scale is a power of two, so that in wider dtypes nothing changes but the exponent, and it is
divided out in float32. The gradients themselves say which: it is kept for the next time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import keras
import numpy as np
from keras import ops

from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.differentiation import Autodiff, Function, Tensor
from phasecore_keras.internals import flat_layers

AIM, ENOUGH = 12, 6
"""Exponents of two of the largest entry of a gradient: what it is brought to, and what is left as it is. The parts that
single points have in it are smaller by their number; float16 ends at 2^16."""

LARGEST = 100
"""Largest exponent of a scale, of the loss in float32."""

TRIES = 24
"""Most evaluations until a scale is found."""


def gradients_through(model: Any) -> Autodiff | ScaledGradients:
    """Return what takes gradients: the tools of the backend, or with a scaled loss where a model computes in float16.

    Example:
        >>> gradients_through(keras.layers.Dense(1)) is autodiff()
        True
        >>> type(gradients_through(keras.layers.Dense(1, dtype="mixed_float16"))).__name__
        'ScaledGradients'
    """
    layers = flat_layers(model) if isinstance(model, keras.layers.Layer) else ()
    return ScaledGradients(autodiff()) if any(layer.compute_dtype == "float16" for layer in layers) else autodiff()


@final
class ScaledGradients:
    """Gradients through float16, as `Autodiff` has them, in float32, and of a loss that is scaled.

    Args:
        tools: of the backend.
    """

    def __init__(self, tools: Autodiff) -> None:
        self._tools = tools

    def value_and_gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        """Return a scalar loss with its gradients."""
        both, scale = self._tools.value_and_gradients(_scaled(loss), variables, others, once=once), _Scale()

        def evaluated(*arguments: Tensor) -> Any:
            (value, gradients), factor = scale.of(lambda factor: both(*arguments, _tensor(factor)))
            return _divided(value, factor), [_divided(gradient, factor) for gradient in gradients]

        return evaluated

    def gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        """Return the gradients alone."""
        both = self.value_and_gradients(loss, variables, others, once=once)
        return lambda *arguments: both(*arguments)[1]

    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the gradients of many batches at once."""
        every, scale = self._tools.batch_gradients(_scaled(loss), variables, others), _Scale()

        def evaluated(*arguments: Tensor) -> Any:
            count = len(arguments[0])
            gradients, factor = scale.of(lambda factor: every(*arguments, _tensor(factor, count)))
            return [_divided(gradient, factor) for gradient in gradients]

        return evaluated

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the squared gradient norms of many examples at once."""
        every, scale = self._tools.squared_gradients(_scaled(function), variables, others), _Scale(power=2)

        def evaluated(*arguments: Tensor) -> Any:
            count = len(arguments[0])
            squares, factor = scale.of(lambda factor: every(*arguments, _tensor(factor, count)))
            return _divided(_divided(squares, factor), factor)

        return evaluated


@final
class _Scale:
    """A scale that was found, from which the next search begins.

    Args:
        power: to which what is evaluated grows with the scale.
    """

    def __init__(self, power: int = 1) -> None:
        self._power = power
        self._exponent = 0

    def of(self, evaluate: Callable[[float], Any]) -> tuple[Any, float]:
        """Return what is evaluated with a scale that leaves it finite and makes it large, and that scale."""
        overflows, step, began = LARGEST + 1, 4, self._exponent
        for _ in range(TRIES):
            found = evaluate(2.0**self._exponent)
            gradients = found[1] if isinstance(found, tuple) else found
            largest = _largest(gradients)
            is_finite = math.isfinite(largest) and math.isfinite(_largest(found))
            if is_finite:
                size = math.log2(largest) / self._power if largest else -24.0
                wanted = min(self._exponent + AIM - math.ceil(size), overflows - 1)
                is_found = size >= ENOUGH or wanted <= self._exponent
            else:
                overflows, wanted, step = self._exponent, max(self._exponent - step, -LARGEST), 2 * step
                is_found = overflows == -LARGEST
            if is_found:
                break
            self._exponent = wanted
        factor = 2.0**self._exponent
        if not is_finite or not largest:
            self._exponent = began  # such a loss says nothing of the next
        return found, factor


def _largest(tensors: Any) -> float:
    """The largest magnitude; NaN and infinity are larger than all."""
    each = [float(np.abs(to_numpy(leaf)).max(initial=0.0)) for leaf in keras.tree.flatten(tensors)]
    return max((size if math.isfinite(size) else math.inf for size in each), default=0.0)


def _scaled(loss: Function) -> Function:
    def scaled(*arguments: Tensor) -> Tensor:
        *own, factor = arguments
        return ops.cast(loss(*own), "float32") * factor

    return scaled


def _tensor(factor: float, *shape: int) -> Tensor:
    return ops.convert_to_tensor(np.full(shape, factor, dtype=np.float32))


def _divided(tensor: Tensor, factor: float) -> Tensor:
    return ops.cast(tensor, "float32") / factor
