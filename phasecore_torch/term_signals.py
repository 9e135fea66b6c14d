"""What some schemes read of the terms of a loss, and what costs backward passes: gradients, tangent kernel traces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, TANGENT_KERNEL_TRACES, TERM_GRADIENTS, Signals
from phasecore_torch.layout import Layout
from phasecore_torch.processes import summed

if TYPE_CHECKING:
    from phasecore_torch.loss import PhysicsLoss


@torch.compiler.disable  # type: ignore[untyped-decorator]
def with_gradients(loss: PhysicsLoss, indices: Tensor | None, signals: Signals, required: frozenset[str]) -> Signals:
    """Return signals with those of terms that are required, with the current weights of points.

    Args:
        loss: of which.
        indices: of the batch, or None for all points.
        signals: all but these.
        required: names of signals.
    """
    values = dict(signals.values)
    if TERM_GRADIENTS in required:
        values[TERM_GRADIENTS] = loss.term_gradients(indices, weighted=True)
    if TANGENT_KERNEL_TRACES in required:
        values[TANGENT_KERNEL_TRACES] = loss.tangent_kernel_traces(indices, weighted=True)
    return replace(signals, values=_of_all_points(values, loss.layout, loss.problem.equations, indices))


def with_blank_gradients(loss: PhysicsLoss, signals: Signals, required: frozenset[str]) -> Signals:
    """Return signals with zeros for those of terms that are required, of the right shapes.

    Args:
        loss: of which.
        signals: blank too.
        required: names of signals.
    """
    values = dict(signals.values)
    if TERM_GRADIENTS in required:
        gradients = loss.term_gradients(torch.arange(1, device=loss.points.device)).items()
        values[TERM_GRADIENTS] = {t: {name: torch.zeros_like(g) for name, g in own.items()} for t, own in gradients}
    if TANGENT_KERNEL_TRACES in required:
        blank = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        values[TANGENT_KERNEL_TRACES] = {term: zeros.sum() for term, zeros in blank.items()}
    return replace(signals, values=values)


def _of_all_points(
    values: dict[str, Any], layout: Layout, equations: Iterable[str], indices: Tensor | None
) -> dict[str, Any]:
    """Return signals of schemes with the gradients and the tangent kernel traces of terms over all processes' points.

    Args:
        values: by name, of this process's part.
        layout: how the points lie; where each process has them all, its part is a batch of those of the equations.
        equations: the terms that batches are cut of.
        indices: of the batch, or None for all points.
    """
    if layout.processes == 1 or (indices is None and not layout.in_parts):
        return values
    found = dict(values)
    if TERM_GRADIENTS in values:
        own = values[TERM_GRADIENTS]
        shares = layout.shares_of(own.keys() - set(equations), indices)
        found[TERM_GRADIENTS] = {term: summed(own[term], shares.get(term, 1.0) / layout.processes) for term in own}
    if TANGENT_KERNEL_TRACES in values:
        own = values[TANGENT_KERNEL_TRACES]
        in_parts = [term for term in own if layout.in_parts or term in set(equations)]
        found[TANGENT_KERNEL_TRACES] = {**own, **summed({term: own[term] for term in in_parts}, 1.0)}
    return found
