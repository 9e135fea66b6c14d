"""phasecore for Keras 3: physics-informed models and phases in `fit`, on TensorFlow, JAX and torch.

Importing it leaves keras alone, so that the choice of Keras' backend stays yours; keras is imported when a name below
is used.

Example:
    >>> import keras, phasecore, phasecore_keras
    >>> problem = phasecore.problem("helmholtz", a1=1, a2=4)
    >>> network = keras.Sequential([keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(1)])
    >>> pinn = phasecore_keras.PINN(network, problem, weighting="rba")
    >>> pinn.compile(optimizer=keras.optimizers.Adam(1e-3))
    >>> monitor = phasecore_keras.PhaseMonitor(every=10)
    >>> history = pinn.fit(pinn.points(200, seed=0), epochs=20, callbacks=[monitor], verbose=0)
    >>> [row["iteration"] for row in monitor.history][-3:]
    [16, 18, 20]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from phasecore.errors import MissingDependencyError

if TYPE_CHECKING:
    from phasecore_keras.callbacks import AtCaptures
    from phasecore_keras.capture import Capture
    from phasecore_keras.derivatives import PartialDerivatives
    from phasecore_keras.loss import PhysicsLoss
    from phasecore_keras.model import PINN
    from phasecore_keras.monitor import PhaseMonitor
    from phasecore_keras.resampling import Resampling

__all__ = ["PINN", "AtCaptures", "Capture", "PartialDerivatives", "PhaseMonitor", "PhysicsLoss", "Resampling"]

_HOMES = {
    "AtCaptures": "phasecore_keras.callbacks",
    "Capture": "phasecore_keras.capture",
    "PINN": "phasecore_keras.model",
    "PartialDerivatives": "phasecore_keras.derivatives",
    "PhaseMonitor": "phasecore_keras.monitor",
    "PhysicsLoss": "phasecore_keras.loss",
    "Resampling": "phasecore_keras.resampling",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'phasecore_keras' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"phasecore_keras.{name} needs the package {error.name!r}, which is not installed",
            fix="Install with: pip install 'phasecore[keras]' for TensorFlow, or 'phasecore[jax]' and set "
            "KERAS_BACKEND=jax, or 'phasecore[torch]' with keras and set KERAS_BACKEND=torch.",
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
