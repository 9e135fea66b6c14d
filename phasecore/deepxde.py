"""DeepXDE's callbacks, whatever its backend: `from phasecore.deepxde import PhaseMonitor, Weighting`.

The adapter is that of the backend that DeepXDE runs on, imported when one of the two is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from phasecore.errors import InputError, MissingDependencyError

ADAPTERS = {
    "pytorch": "phasecore_torch.deepxde",
    "tensorflow": "phasecore_keras.deepxde",
    "jax": "phasecore_keras.deepxde",
}

__all__ = ["PhaseMonitor", "Weighting"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        backend = importlib.import_module("deepxde").backend.backend_name
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"phasecore.deepxde needs the package {error.name!r}, which is not installed",
            fix="Install with: pip install deepxde",
        ) from error
    if backend not in ADAPTERS:
        raise InputError(
            "phasecore.deepxde",
            received=f"DeepXDE on its backend {backend!r}",
            expected=" or ".join(map(repr, ADAPTERS)),
            fix="Set DDE_BACKEND. Paddle and TensorFlow 1.x ('tensorflow.compat.v1') are not supported.",
        )
    return getattr(importlib.import_module(ADAPTERS[backend]), name)
