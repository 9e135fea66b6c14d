"""phasecore for torch: physics-informed losses, gradient statistics and phases in a loop of your own.

Importing it leaves torch alone; torch is imported when a name below is used.

Example:
    >>> import phasecore, phasecore_torch, torch
    >>> problem = phasecore.problem("helmholtz", a1=1, a2=4)
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    >>> loss_fn = phasecore_torch.PhysicsLoss(problem, model, problem.sample(200, seed=0), weighting="rba")
    >>> monitor = phasecore_torch.PhaseMonitor(loss_fn, optimizer, every=10)
    >>> for iteration in range(20):
    ...     with monitor:
    ...         optimizer.zero_grad()
    ...         loss = loss_fn()
    ...         loss.backward()
    ...         optimizer.step()
    >>> [row["iteration"] for row in monitor.history][-3:]
    [16, 18, 20]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from phasecore.errors import MissingDependencyError

if TYPE_CHECKING:
    from phasecore_torch.capture import Capture
    from phasecore_torch.derivatives import PartialDerivatives
    from phasecore_torch.loss import PhysicsLoss
    from phasecore_torch.monitor import PhaseMonitor
    from phasecore_torch.quasi_newton import LBFGS
    from phasecore_torch.resampling import Resampling

__all__ = ["LBFGS", "Capture", "PartialDerivatives", "PhaseMonitor", "PhysicsLoss", "Resampling"]

_HOMES = {
    "Capture": "phasecore_torch.capture",
    "LBFGS": "phasecore_torch.quasi_newton",
    "PartialDerivatives": "phasecore_torch.derivatives",
    "PhaseMonitor": "phasecore_torch.monitor",
    "PhysicsLoss": "phasecore_torch.loss",
    "Resampling": "phasecore_torch.resampling",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'phasecore_torch' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"phasecore_torch.{name} needs the package {error.name!r}, which is not installed",
            fix="Install with: pip install 'phasecore[torch]'",
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
