"""The array namespace of Keras tensors: array-API names over `keras.ops`, the same on every Keras backend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from phasecore.arrays import NAMES, ArrayNamespace

_RENAMED = {"concat": "concatenate"}


def _mean(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return means in the precision of what they are of; `keras.ops.mean` computes in float32, also of float64.

    Example:
        >>> float(_mean(ops.convert_to_tensor([1.0, 2.0])))
        1.5
    """
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        return ops.mean(x, axis=axis, keepdims=keepdims)
    total = ops.sum(x, axis=axis, keepdims=keepdims)
    return total * (ops.cast(ops.size(total), x.dtype) / ops.cast(ops.size(x), x.dtype))


_namespace: Any = SimpleNamespace(
    **{name: getattr(ops, _RENAMED.get(name, name)) for name in (*NAMES, "erf")} | {"mean": _mean},
)
namespace: ArrayNamespace = _namespace
