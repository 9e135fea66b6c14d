"""Normalization of operations that jets know, and that backends differentiate rightly any number of times."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from phasecore.jets import Jet, layer_normalized


def normalized(layer: Any, x: Jet) -> Jet:
    """Apply a `LayerNormalization` to a jet.

    Args:
        layer: built.
        x: of what the layer takes.

    Raises:
        NotImplementedError: for one with `rms_scaling`, which Keras has given up.
    """
    if getattr(layer, "rms_scaling", False):
        raise NotImplementedError("LayerNormalization with rms_scaling")
    rank = len(x.value.shape)
    axes = sorted(axis % rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis))
    shape = [x.value.shape[axis] if axis in axes else 1 for axis in range(rank)]

    def mean(values: Jet) -> Jet:
        return values.map(lambda coefficient: ops.mean(coefficient, axis=axes, keepdims=True))

    def spread(weights: Any) -> Any:
        return None if weights is None else ops.reshape(ops.cast(weights, x.value.dtype), shape)

    found: Jet = layer_normalized(x, mean, layer.epsilon, spread(layer.gamma), spread(layer.beta))
    return found


def differentiable() -> contextlib.AbstractContextManager[Any]:
    """Have sums and products in the place of what a backend differentiates wrongly more than once.

    The gradient of torch's own layer normalization is differentiable, and what comes of that is wrong. TensorFlow's
    moments hold the mean constant within the variance, which is right for first derivatives alone.
    """
    replaced: Any = {"torch": _torch_mode, "tensorflow": _tensorflow_moments}.get(keras.backend.backend())
    mode: contextlib.AbstractContextManager[Any] = contextlib.nullcontext() if replaced is None else replaced()()
    return mode


@functools.cache
def _torch_mode() -> Any:
    import torch.nn.functional as F  # noqa: N812
    from torch.overrides import TorchFunctionMode

    def layer_norm(input: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
        axes = tuple(range(-len(shape), 0))
        return layer_normalized(input, lambda values: values.mean(axes, keepdim=True), eps, weight, bias)

    class Differentiable(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return (layer_norm if function is F.layer_norm else function)(*args, **(kwargs or {}))

    return Differentiable


@functools.cache
def _tensorflow_moments() -> Any:
    import tensorflow as tf

    def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: Any = None) -> Any:
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(tf.square(x - mean), axes, keepdims=keepdims)
        return (mean if keepdims else tf.reduce_mean(x, axes)), variance

    @contextlib.contextmanager
    def exact() -> Iterator[None]:
        own, tf.nn.moments = tf.nn.moments, moments
        try:
            yield
        finally:
            tf.nn.moments = own

    return exact
