"""A loop written by hand in torch: nested reverse-mode autodiff over all points, residual-based attention, Adam.

Its SNR is the authors' (arXiv 2403.18494): one backward pass for each of 100 batches, conditions included, all stacked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.contender import Arrays, Contender, points_of_terms, timed
from benchmarks.peers.equations import EQUATIONS, Calculus, condition_values, deviations
from benchmarks.peers.torch_network import device, network, wait

GAMMA, ETA, BATCHES = 0.999, 0.001, 100


class Reverse(Calculus):
    """`torch.autograd.grad` of columns with respect to points, shape (n, dimension)."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def gradient(self, values: Tensor) -> Sequence[Tensor]:
        """See `Calculus`."""
        (found,) = torch.autograd.grad(values.sum(), self.points, create_graph=True)
        return found.unbind(1)

    def sine(self, values: Tensor) -> Tensor:
        """See `Calculus`."""
        return torch.sin(values)


class Nested(Contender):
    """See the module; `snr` adds the authors' statistics to every step."""

    def __init__(self, problem: str, arrays: Arrays, *, snr: bool = False) -> None:
        self.equations = EQUATIONS[problem]
        self.model = network(arrays)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.points = self._tensor(arrays["interior"])
        own = points_of_terms(arrays)
        self.lengths = [len(points) for points in own.values()]
        self.condition_points = self._tensor(np.concatenate(list(own.values())))
        self.targets = {
            term: [self._tensor(target) for target in condition.targets(own[term])] if condition.targets else []
            for term, condition in self.equations.conditions.items()
        }
        self.weights: dict[str, Tensor] = {}
        self.snr = snr
        self.batches = torch.arange(len(self.points), device=device()).tensor_split(BATCHES)
        self.matrices = [parameter for parameter in self.model.parameters() if parameter.ndim > 1]

    @staticmethod
    def _tensor(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device())

    def losses(self) -> dict[str, float]:
        """See `Contender`."""
        residuals = {**self._residuals(self.points), **self._conditions()}
        return {term: residual.square().mean().item() for term, residual in residuals.items()}

    def train(self, steps: int) -> float:
        """See `Contender`."""
        return timed(self._step, steps, wait)

    def _step(self) -> None:
        self.optimizer.zero_grad()
        residuals = self._residuals(self.points)
        for term, residual in residuals.items():
            size = residual.detach().abs()
            before = self.weights.get(term, torch.zeros_like(size))
            self.weights[term] = GAMMA * before + ETA * size / size.max()
        weighted = [(self.weights[term] * residual).square().mean() for term, residual in residuals.items()]
        (sum(weighted) + self._condition_loss()).backward()
        if self.snr:
            self._signal_to_noise()
        self.optimizer.step()

    def _residuals(self, points: Tensor) -> dict[str, Tensor]:
        points = points.detach().requires_grad_(True)
        outputs = self.model(points).unbind(1)
        return self.equations.residuals(outputs, points.unbind(1), Reverse(points))

    def _conditions(self) -> dict[str, Tensor]:
        points = self.condition_points.detach().requires_grad_(True)
        outputs = self.model(points).unbind(1)
        found = {}
        for k, (term, condition) in enumerate(self.equations.conditions.items()):
            values = condition_values(condition, outputs, self.equations, Reverse(points))
            own = [value.split(self.lengths)[k] for value in values]
            found[term] = torch.cat(deviations(condition, own, self.targets[term]))
        return found

    def _condition_loss(self) -> Tensor:
        return torch.stack([residual.square().mean() for residual in self._conditions().values()]).sum()

    def _signal_to_noise(self) -> float:
        rows = []
        for batch in self.batches:
            residuals = self._residuals(self.points[batch]).items()
            loss = sum((self.weights[term][batch] * residual).square().mean() for term, residual in residuals)
            found = torch.autograd.grad(loss + self._condition_loss(), self.matrices)
            rows.append(torch.cat([gradient.flatten() for gradient in found]))
        stacked = torch.stack(rows)
        return (stacked.mean(0).norm() / stacked.std(0, correction=0).norm()).item()


nested = Nested
nested_with_snr = functools.partial(Nested, snr=True)
