"""The array namespace of Keras tensors: array-API names over `keras.ops`, the same on every Keras backend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from keras import ops

from phasecore.arrays import NAMES, ArrayNamespace

_RENAMED = {"concat": "concatenate"}

_namespace: Any = SimpleNamespace(
    **{name: getattr(ops, _RENAMED.get(name, name)) for name in (*NAMES, "erf")},
)
namespace: ArrayNamespace = _namespace
