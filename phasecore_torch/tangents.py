"""Gradients of residuals with respect to the parameters, term by term: what some weighting schemes balance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import final

import torch
from torch import Tensor

from phasecore_torch.arrays import lasting
from phasecore_torch.derivatives import Model
from phasecore_torch.gradients import filled, gradients, plain, trained
from phasecore_torch.undisturbed import undisturbed

ROWS = 32
"""How many residuals are differentiated one by one in a vectorized backward pass."""

Factors = Mapping[str, Tensor]
UNWEIGHTED: Factors = MappingProxyType({})


@final
class Tangents:
    """Gradients of a loss's residuals, with respect to all that is trained: of the model, and what else they depend on.

    Args:
        model: whose parameters.
        residuals: returns the residual of each equation at the points with given indices, with its graph.
        conditions: returns the residuals of each condition term, likewise.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> points = torch.tensor([[1.0], [2.0]])
        >>> tangents = Tangents(model, lambda indices: {"r": model(points[indices])[:, 0]}, dict)
        >>> tangents.tangent_kernel_traces(torch.arange(2))
        {'r': tensor(5.)}
    """

    def __init__(
        self,
        model: Model,
        residuals: Callable[[Tensor], Mapping[str, Tensor]],
        conditions: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self._model = model
        self._residuals = residuals
        self._conditions = conditions

    def term_gradients(self, indices: Tensor, factors: Factors = UNWEIGHTED) -> dict[str, dict[str, Tensor]]:
        """Return the gradient of each term's mean squared residual, {term: {parameter: of the parameter's shape}}.

        Those of complex parameters are pairs of real numbers, see `phasecore_torch.gradients.plain`.

        Args:
            indices: of the points of the equations, shape (batch,).
            factors: {term: what multiplies each of its residuals, shape (batch,)}; absent for none.
        """
        with undisturbed(self._model), torch.enable_grad():
            residuals = {**self._residuals(indices), **self._conditions()}
            parameters = self._trainable(residuals, indices)
            weighted = {term: _weighted(residual, factors.get(term)) for term, residual in residuals.items()}
            return {
                term: dict(zip(parameters, _gradient(residual.square().mean(), parameters), strict=True))
                for term, residual in weighted.items()
            }

    def tangent_kernel_traces(self, indices: Tensor, factors: Factors = UNWEIGHTED) -> dict[str, Tensor]:
        """Return the trace of each term's neural tangent kernel: the sum of its residuals' squared gradient norms.

        Args:
            indices: of the points of the equations, shape (batch,).
            factors: {term: what multiplies each of its residuals, shape (batch,)}; absent for none.
        """
        with undisturbed(self._model), torch.enable_grad():
            conditions = self._conditions()
            parameters = self._trainable({**self._residuals(indices[:1]), **conditions}, indices)
            totals: dict[str, list[Tensor]] = {}
            for rows in torch.split(torch.arange(len(indices), device=indices.device), ROWS):
                for term, residual in self._residuals(indices[rows]).items():
                    own = factors[term][rows] if term in factors else None
                    totals.setdefault(term, []).append(_sum_of_squares(_weighted(residual, own), parameters.values()))
            for term, residual in conditions.items():
                totals[term] = [_sum_of_squares(_weighted(residual, factors.get(term)), parameters.values())]
            return {term: torch.stack(parts).sum() for term, parts in totals.items()}

    def _trainable(self, residuals: Mapping[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
        def again() -> list[Tensor]:
            return [*self._residuals(indices[:1]).values(), *self._conditions().values()]

        return trained(self._model, list(residuals.values()), again)


def _weighted(residual: Tensor, factor: Tensor | None) -> Tensor:
    return lasting(residual) if factor is None else factor.detach() * lasting(residual)


def _gradient(loss: Tensor, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    return list(map(lasting, filled(gradients(loss, parameters.values(), retain_graph=True), parameters.values())))


def _sum_of_squares(residual: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """The squared gradient norms of all residuals: a backward pass for each, over the graph of all."""
    total = torch.zeros_like(residual).sum()
    if not residual.requires_grad:
        return total
    inputs = list(parameters)
    for rows in torch.split(torch.eye(len(residual), dtype=residual.dtype, device=residual.device), ROWS):
        found = torch.autograd.grad(
            residual,
            inputs,
            rows,
            retain_graph=True,
            is_grads_batched=True,
            allow_unused=True,
            materialize_grads=True,
        )
        total = total + sum(lasting(plain(gradient)).square().sum() for gradient in found)
    return total.detach()
