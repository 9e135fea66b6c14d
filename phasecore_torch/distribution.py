"""Trainings in several processes (`torch.distributed`), each of which holds some of the points.

What is reduced over points is reduced over those of all processes, and a capture sees the points of all, as if they lay
one after the other in one process. So weights, statistics and phases are those of one process with all points, and the
same in each. The gradients of the training are averaged by whoever trains, `DistributedDataParallel` or the loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor

from phasecore.errors import InputError
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
    Moments,
    Reduce,
    Reduction,
)

OF_POINTS = (RESIDUALS, CONDITION_RESIDUALS, POINT_WEIGHTS, RESIDUAL_ATTENTION, TARGETS, ACTIVATIONS)
OF_LOSSES = (TERM_LOSSES, WEIGHTED_TERM_LOSSES)


def processes() -> int:
    """Return in how many processes this training goes on.

    Example:
        >>> processes()
        1
    """
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def is_first() -> bool:
    """Return whether this process is the one that writes files and speaks."""
    return processes() == 1 or torch.distributed.get_rank() == 0


def reduction() -> Reduce | None:
    """Return how schemes reduce points over those of all processes; None where this one has them all."""
    return None if processes() == 1 else _reduced


def _reduced(kind: Reduction, points: Tensor) -> Tensor:
    operations = torch.distributed.ReduceOp
    if kind == "maximum":
        value, operation = points.max(), operations.MAX
    elif kind == "minimum":
        value, operation = points.min(), operations.MIN
    else:
        value, operation = points.sum(), operations.SUM
    torch.distributed.all_reduce(value, operation)
    return value


def averaged(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means over processes, by name."""
    return _summed(values, 1.0 / processes())


def of_all_points(values: dict[str, Any]) -> dict[str, Any]:
    """Return signals of schemes with the gradients and the tangent kernel traces of terms over all processes' points.

    Args:
        values: by name, of this process's points.
    """
    found = dict(values)
    if TERM_GRADIENTS in values:
        found[TERM_GRADIENTS] = {term: averaged(gradients) for term, gradients in values[TERM_GRADIENTS].items()}
    if TANGENT_KERNEL_TRACES in values:
        found[TANGENT_KERNEL_TRACES] = _summed(values[TANGENT_KERNEL_TRACES], 1.0)
    return found


def _summed(values: Mapping[str, Tensor], factor: float) -> dict[str, Tensor]:
    if processes() == 1 or not values:
        return dict(values)
    together = torch.cat([value.flatten() for value in values.values()])
    torch.distributed.all_reduce(together)
    parts = torch.split(together * factor, [value.numel() for value in values.values()])
    return {name: part.view_as(value) for part, (name, value) in zip(parts, values.items(), strict=True)}


def checked_sizes(sizes: dict[str, int]) -> dict[str, int]:
    """Return numbers of points by term, the same in each process: else the mean of their losses is not that of all.

    Args:
        sizes: number of points of this process.

    Raises:
        InputError: in every process alike, naming the numbers.
    """
    if processes() == 1:
        return sizes
    every = _of_all(sizes)
    if any(other != every[0] for other in every):
        differing = next(name for name in every[0] if len({other.get(name) for other in every}) > 1)
        raise InputError(
            f"PhysicsLoss in {len(every)} processes",
            received=f"{', '.join(str(other.get(differing)) for other in every)} points of {differing!r}",
            expected="as many in each, so that the mean of the processes' gradients is that of all points",
            fix="Drop the remainder: points[rank::processes][:len(points) // processes].",
        )
    return sizes


def own_batches(batches: int) -> int:
    """Return how many of the batches of the gradient statistics are cut from the points of this process.

    Example:
        >>> own_batches(100)
        100
    """
    count = processes()
    if count == 1:
        return batches
    return batches // count + (torch.distributed.get_rank() < batches % count)


def gathered(values: dict[str, Any]) -> dict[str, Any]:
    """Return signals of a capture as one process with the points of all would have them, numpy arrays.

    Args:
        values: those of this process, by name.
    """
    if processes() == 1:
        return values
    every = _of_all(values)
    found = dict(values)
    for signal in set(values) & {*OF_POINTS}:
        found[signal] = {name: np.concatenate([own[signal][name] for own in every]) for name in values[signal]}
    for signal in set(values) & {COORDINATES, BATCH_SIZES}:
        found[signal] = np.concatenate([own[signal] for own in every])
    sizes = [float(np.sum(own[BATCH_SIZES])) for own in every]
    for signal in set(values) & {*OF_LOSSES}:
        found[signal] = {
            name: np.average([own[signal][name] for own in every], weights=sizes) for name in values[signal]
        }
    if TERM_GRADIENTS in values:
        found[TERM_GRADIENTS] = {
            term: {name: np.mean([own[TERM_GRADIENTS][term][name] for own in every], axis=0) for name in gradients}
            for term, gradients in values[TERM_GRADIENTS].items()
        }
    if TANGENT_KERNEL_TRACES in values:
        traces = [own[TANGENT_KERNEL_TRACES] for own in every]
        found[TANGENT_KERNEL_TRACES] = {term: sum(own[term] for own in traces) for term in traces[0]}
    if BATCH_GRADIENT_MOMENTS in values:
        batches = [len(own[BATCH_SIZES]) for own in every]
        moments = [own[BATCH_GRADIENT_MOMENTS] for own in every]
        found[BATCH_GRADIENT_MOMENTS] = {name: _merged([own[name] for own in moments], batches) for name in moments[0]}
    return found


def _merged(moments: Sequence[Moments], batches: Sequence[int]) -> Moments:
    """Return the moments over the batches of all processes, whose numbers are given."""
    shares = [count / math.fsum(batches) for count in batches]
    mean = sum(share * own.mean for share, own in zip(shares, moments, strict=True))
    square = sum(
        share * (np.square(own.standard_deviation) + np.square(own.mean - mean))
        for share, own in zip(shares, moments, strict=True)
    )
    return Moments(mean, np.sqrt(square))


def _of_all(value: Any) -> list[Any]:
    every: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(every, value)
    return every


def check_policy(policy: object) -> None:
    """Refuse to let a policy act in several processes: a line search, for one, would follow each process's own loss.

    Raises:
        InputError: so.
    """
    if policy is not None and processes() > 1:
        raise InputError(
            "argument 'policy'",
            received=f"a policy in {processes()} processes",
            expected="none there: what policies do is not carried out in several processes",
            fix="Leave it out, or train in one process.",
        )
