"""Gradients of residuals with respect to the parameters, term by term: what some weighting schemes balance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Residual = Callable[[], Tensor]

ROWS = 32
"""How many residuals are differentiated one by one in a vectorized backward pass."""


def term_gradients(residuals: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the gradient of each term's mean squared residual, {term: {parameter: of the parameter's shape}}.

    Args:
        residuals: of each term, shape (n,), with their graph.
        parameters: with respect to which the gradients are taken, by name.
    """
    return {
        term: dict(zip(parameters, _gradient(residual.square().mean(), parameters), strict=True))
        for term, residual in residuals.items()
    }


def tangent_kernel_trace(parts: Sequence[Residual], parameters: Mapping[str, Tensor]) -> Tensor:
    """Return the trace of a term's neural tangent kernel: the sum of its residuals' squared gradient norms.

    Args:
        parts: functions that evaluate some of the residuals each, with their graph; a backward pass runs over a part
            for each of its residuals.
        parameters: with respect to which the gradients are taken, by name.
    """
    totals = []
    for part in parts:
        residual = part()
        if not residual.requires_grad:
            totals.append(torch.zeros_like(residual).sum())
            continue
        for rows in torch.split(torch.eye(len(residual), dtype=residual.dtype, device=residual.device), ROWS):
            gradients = torch.autograd.grad(
                residual,
                list(parameters.values()),
                rows,
                retain_graph=True,
                is_grads_batched=True,
                allow_unused=True,
                materialize_grads=True,
            )
            totals += [gradient.square().sum() for gradient in gradients]
    return torch.stack(totals).sum()


def _gradient(loss: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    if not loss.requires_grad:
        return tuple(torch.zeros_like(parameter) for parameter in parameters.values())
    return torch.autograd.grad(
        loss, list(parameters.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
