"""A capture as one process with the points of all would have them (`torch.distributed`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from phasecore.signals import (
    ACTIVATIONS,
    BATCH_GRADIENT_MOMENTS,
    BATCH_SIZES,
    CONDITION_RESIDUALS,
    COORDINATES,
    POINT_WEIGHTS,
    RESIDUAL_ATTENTION,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TARGETS,
    TERM_GRADIENTS,
    TERM_LOSSES,
    WEIGHTED_TERM_LOSSES,
)
from phasecore_torch.layout import Layout
from phasecore_torch.parts import merged, sizes_together
from phasecore_torch.processes import of_all

OF_POINTS = (RESIDUALS, CONDITION_RESIDUALS, POINT_WEIGHTS, RESIDUAL_ATTENTION, TARGETS, ACTIVATIONS)
OF_LOSSES = (TERM_LOSSES, WEIGHTED_TERM_LOSSES)


def gathered(values: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Return signals of a capture as one process with the points of all would have them, numpy arrays.

    Args:
        values: those of this process, by name; losses of terms are its `Layout.shared` ones.
        layout: how the points lie.
    """
    if not layout.in_parts:
        return values
    if TERM_GRADIENTS in values:
        own = values[TERM_GRADIENTS]
        scaled = {t: {n: layout.shares.get(t, 1.0) * g for n, g in gradients.items()} for t, gradients in own.items()}
        values = {**values, TERM_GRADIENTS: scaled}
    every = of_all(values)
    found = dict(values)
    for signal in set(values) & {*OF_POINTS}:
        found[signal] = {name: np.concatenate([own[signal][name] for own in every]) for name in values[signal]}
    if COORDINATES in values:
        found[COORDINATES] = np.concatenate([own[COORDINATES] for own in every])
    if BATCH_SIZES in values:
        found[BATCH_SIZES] = sizes_together([own[BATCH_SIZES] for own in every])
    for signal in set(values) & {*OF_LOSSES}:
        found[signal] = {name: np.mean([own[signal][name] for own in every]) for name in values[signal]}
    if TERM_GRADIENTS in values:
        found[TERM_GRADIENTS] = {
            term: {name: np.mean([own[TERM_GRADIENTS][term][name] for own in every], axis=0) for name in gradients}
            for term, gradients in values[TERM_GRADIENTS].items()
        }
    if TANGENT_KERNEL_TRACES in values:
        traces = [own[TANGENT_KERNEL_TRACES] for own in every]
        found[TANGENT_KERNEL_TRACES] = {term: sum(own[term] for own in traces) for term in traces[0]}
    if BATCH_GRADIENT_MOMENTS in values:
        sizes = [own[BATCH_SIZES] for own in every]
        moments = [own[BATCH_GRADIENT_MOMENTS] for own in every]
        found[BATCH_GRADIENT_MOMENTS] = {name: merged([own[name] for own in moments], sizes) for name in moments[0]}
    return found


def points_of_all(arrays: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Return what a snapshot holds of the points, of those of all processes, which make it together.

    Args:
        arrays: of this process's points, by name.
        layout: how the points lie.
    """
    if not layout.in_parts:
        return arrays
    every = of_all(arrays)
    return {name: np.concatenate([own[name] for own in every]) for name in arrays}
