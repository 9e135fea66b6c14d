"""What a run folder keeps of a Keras training beside its history: versions, configuration, snapshots."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import keras
import numpy as np
from keras import ops

from phasecore.backends import Monitored
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.capture import Capture
from phasecore_keras.model import PINN
from phasecore_keras.steps import synchronize


def versions() -> Mapping[str, str]:
    """Return the versions of Keras and of the framework that it runs on."""
    framework = keras.backend.backend()
    version = str(getattr(importlib.import_module(framework), "__version__", "unknown"))
    return {"keras": keras.__version__, "keras_backend": framework, framework: version}


def monitored(
    model: Any, capture: Capture, every: int, batches: int, snapshots: Sequence[int] = (), folder: Path | None = None
) -> Monitored:
    """Return what is known of a training of somebody's own.

    Args:
        model: the `PINN`, or the model of the user's own.
        capture: what is measured.
        every: iterations between captures.
        batches: number of batches of the gradient statistics.
        snapshots: iterations after which snapshots are saved.
        folder: the run folder.
    """
    known: dict[str, Any] = {"every": every, "batches": batches, "points": capture.points}
    problem, weighting = None, None
    if isinstance(model, PINN):
        problem, weighting = model.problem, model.specification or None
    return Monitored("keras", problem, weighting, known, capture.probes, snapshots, folder)


@final
class Snapshots:
    """Evaluates what a snapshot holds of a PINN.

    Args:
        model: the PINN, with its points.
    """

    def __init__(self, model: PINN) -> None:
        tools, everything = autodiff(), list(model.variables)
        self._model = model
        self._residuals = tools.compiled(model.physics.residuals_at, everything)
        self._fields = tools.compiled(model.physics.fields, everything)

    def arrays(self) -> dict[str, Any]:
        """Return points, residuals, weights of points, the evaluation grid and the fields there, by name."""
        synchronize(self._model)
        physics = self._model.physics
        points = physics.points
        assert points is not None
        grid = physics.problem.evaluation_points()
        residuals = self._residuals(ops.convert_to_tensor(points))
        fields = self._fields(ops.convert_to_tensor(grid.astype(points.dtype)))
        arrays: dict[str, Any] = {"points": points}
        arrays |= {f"residual_{term}": to_numpy(values) for term, values in residuals.items()}
        arrays |= {f"weight_{term}": to_numpy(values) for term, values in physics.point_weights().items()}
        arrays |= {f"field_{name}": to_numpy(values) for name, values in fields.items()}
        return {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()} | {"grid": grid}
