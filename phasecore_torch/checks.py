"""The residuals of a training as they are, aside from it: what `phasecore.problems.finite` looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from phasecore_torch.undisturbed import undisturbed

if TYPE_CHECKING:
    from phasecore_torch.loss import PhysicsLoss

BLOCK = 16_384
"""Most points at which residuals are evaluated at once."""


def residuals_now(physics: PhysicsLoss) -> dict[str, NDArray[Any]]:
    """Return the residual of every term at all points, shape (n,) each, without compiling anything for it."""
    with torch.no_grad(), undisturbed(physics.model):
        parts = [physics.residuals_at(part) for part in torch.split(physics.points, BLOCK)]
        found = {term: torch.cat([part[term] for part in parts]) for term in parts[0]} | physics.condition_residuals()
    short = (torch.bfloat16, torch.float16)
    return {term: (r.float() if r.dtype in short else r).detach().cpu().numpy() for term, r in found.items()}
