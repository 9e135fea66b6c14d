"""What a run folder keeps of a torch training beside its history: versions, configuration, snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from phasecore.backends import Monitored
from phasecore_torch.capture import Capture
from phasecore_torch.distribution import points_of_all
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.undisturbed import undisturbed


def versions() -> Mapping[str, str]:
    """Return torch's version."""
    return {"torch": torch.__version__}


def monitored(
    model: Any, capture: Capture, every: int, batches: int, snapshots: Sequence[int] = (), folder: Path | None = None
) -> Monitored:
    """Return what is known of a training of somebody's own.

    Args:
        model: the `PhysicsLoss`, or the loss of the user's own.
        capture: what is measured.
        every: iterations between captures.
        batches: number of batches of the gradient statistics.
        snapshots: iterations after which snapshots are saved.
        folder: the run folder.
    """
    known: dict[str, Any] = {"every": every, "batches": batches, "points": capture.points}
    problem, weighting = None, None
    if isinstance(model, PhysicsLoss):
        problem, weighting = model.problem, model.specification
        known["compiled"] = model.blocks.compiled
    return Monitored("torch", problem, weighting, known, capture.probes, snapshots, folder)


@final
class Snapshots:
    """Evaluates what a snapshot holds of a physics-informed loss.

    Args:
        loss: the loss, with its points.
    """

    def __init__(self, loss: PhysicsLoss) -> None:
        self._loss = loss

    def arrays(self) -> dict[str, Any]:
        """Return points, residuals, weights of points, the evaluation grid and the fields there, by name."""
        loss = self._loss
        grid = loss.problem.evaluation_points()
        points = torch.as_tensor(grid, dtype=loss.points.dtype, device=loss.points.device)
        with undisturbed(loss.model), torch.no_grad():
            arrays = {"points": loss.points}
            arrays |= {f"residual_{term}": values for term, values in loss.residuals().items()}
            arrays |= {f"weight_{term}": values for term, values in loss.point_weights().items()}
            fields = {f"field_{name}": values for name, values in loss.fields(points).items()}
        return points_of_all(_wide(arrays), loss.layout) | _wide(fields) | {"grid": grid}


def _wide(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: np.asarray(values.detach().cpu().double()) for name, values in tensors.items()}
