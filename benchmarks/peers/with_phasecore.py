"""phasecore on torch, with residual-based attention: as it is; compiled, keeping nothing, with the SNR in each step."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch

from benchmarks.peers.cases import collocation_points, problem_of
from benchmarks.peers.contender import Arrays, Contender, timed
from benchmarks.peers.torch_network import network, wait
from phasecore_torch import PhaseMonitor, PhysicsLoss


class Phasecore(Contender):
    """A loop as in docs/torch.md.

    Args:
        problem: see `Contender`.
        arrays: see `Contender`.
        snr: capture the SNR of 100 batches in every iteration.
        options: of `PhysicsLoss`.
    """

    def __init__(self, problem: str, arrays: Arrays, *, snr: bool = False, **options: Any) -> None:
        torch.compiler.reset()
        self.model = network(arrays)
        points = collocation_points(arrays)
        self.loss = PhysicsLoss(problem_of(problem), self.model, points, weighting="rba", **options)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        probes = ["gradient_snr"]
        self.monitor = PhaseMonitor(self.loss, self.optimizer, every=1, probes=probes) if snr else None

    def losses(self) -> dict[str, float]:
        """See `Contender`."""
        return {term: float(loss) for term, loss in self.loss.evaluate().unweighted.items()}

    def train(self, steps: int) -> float:
        """See `Contender`."""
        return timed(self._step, steps, wait)

    def _step(self) -> None:
        with contextlib.nullcontext() if self.monitor is None else self.monitor:
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()


eager = Phasecore
compiled = functools.partial(Phasecore, compiled=True)
compiled_again = functools.partial(Phasecore, compiled=True, recompute=True)
compiled_with_snr = functools.partial(Phasecore, compiled=True, snr=True)
