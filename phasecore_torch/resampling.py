"""Points that move in a torch loop of one's own: one line after each step of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from phasecore import registry
from phasecore.sampling import Resampler, Sampling
from phasecore.weighting.checks import check_can_move
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.parts import parts_after
from phasecore_torch.processes import of_all, of_first, rank


@final
class Resampling:
    """Moves the collocation points of a loss while it trains, every so many iterations.

    Call `step()` after each `optimizer.step()`. The first points are those that the loss was made with. In several
    processes that have a part of the points each, all move as in one process, and what stays, stays in its process.

    Args:
        loss: a `PhysicsLoss`.
        sampling: that moves points, such as "rad:every=500", "sobol+uniform" or `phasecore.sampling.r3(every=50)`.
        seed: of the moves, a whole number of at least 0.

    Attributes:
        iteration: how many were counted.
        loss: whose points move.

    Raises:
        InputError: for an unknown name or option, a sampling that moves nothing, another seed, options that do not suit
            the number of points, or a loss whose weighting forbids moves.

    Example:
        >>> import phasecore
        >>> problem = phasecore.problem("burgers")
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> loss_fn = PhysicsLoss(problem, model, problem.sample(100, seed=0), weighting="rba")
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> resampling = Resampling(loss_fn, "rad:every=5,candidates=1000", seed=0)
        >>> for _ in range(10):
        ...     optimizer.zero_grad()
        ...     loss_fn().backward()
        ...     optimizer.step()
        ...     if resampling.step():
        ...         print("moved after", resampling.iteration)
        moved after 5
        moved after 10
    """

    def __init__(self, loss: PhysicsLoss, sampling: str | Sampling, *, seed: int = 0) -> None:
        name, made = registry.as_sampling(sampling)
        check_can_move({part.scheme_name: part.scheme for part in loss.weighting.parts})
        self.loss = loss
        self._resampler = Resampler(made, loss.problem, seed=seed, name=name)
        self._resampler.check(np.concatenate(self._parts()))
        self.iteration = 0

    def step(self) -> bool:
        """Count an iteration, and move the points if it is due; return whether they were moved."""
        self.iteration += 1
        due = self._resampler.is_due(self.iteration)
        if due:
            self.move(self.iteration)
        return due

    def move(self, iteration: int) -> None:
        """Move the points now, whether it is due or not, as a policy may ask (`PhaseMonitor(resampling=...)`).

        Args:
            iteration: steps of the optimizer so far; another one, other random numbers.
        """
        parts = self._parts()
        # each makes the same move, of which that of the first process counts: others may have rounded differently
        moved = of_first(self._resampler.move(np.concatenate(parts), self.loss.residuals_elsewhere, iteration))
        self.loss.resample(parts_after(moved, parts)[rank()] if len(parts) > 1 else moved)

    def _parts(self) -> list[NDArray[np.float64]]:
        """The points of each process; where each has them all, they are one part."""
        own = self.loss.collocation.interior
        return of_all(own) if self.loss.layout.in_parts else [own]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the iteration, and where the points are."""
        return {"iteration": self.iteration, "points": torch.from_numpy(self.loss.collocation.interior.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`: load it before the loss's own, whose weights are those of these points."""
        self.iteration = self._resampler.moved_at = int(state["iteration"])
        self.loss.resample(state["points"].cpu().numpy())
