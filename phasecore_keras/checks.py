"""The residuals of a training as they are, aside from it: what `phasecore.problems.finite` looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore_keras.autodiff import autodiff, to_numpy

if TYPE_CHECKING:
    from phasecore_keras.loss import PhysicsLoss

BLOCK = 16_384
"""Most points at which residuals are evaluated at once."""


def residuals_now(physics: PhysicsLoss) -> dict[str, NDArray[Any]]:
    """Return the residual of every term at all points, shape (n,) each."""
    assert physics.points is not None
    evaluate = autodiff().compiled(physics.residuals_at, getattr(physics.model, "variables", ()))
    blocks = np.array_split(physics.points, -(-len(physics.points) // BLOCK))
    parts = [evaluate(ops.convert_to_tensor(block)) for block in blocks]
    found = {term: np.concatenate([to_numpy(part[term]) for part in parts]) for term in parts[0]}
    return found | {term: to_numpy(values) for term, values in physics.condition_residuals().items()}
