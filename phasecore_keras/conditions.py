"""Residuals of a problem's conditions: initial, boundary and data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.problems import Problem
from phasecore.problems.checks import condition_residuals_of, targets_of
from phasecore_keras.autodiff import Tensor
from phasecore_keras.derivatives import PartialDerivatives
from phasecore_keras.namespace import namespace

Floats = NDArray[np.float64]


@final
class _Group(NamedTuple):
    """Conditions that read the same partials: which they are, how many points each has, and the evaluation."""

    members: list[int]
    sizes: list[int]
    points: Tensor
    evaluate: PartialDerivatives


@final
class Conditions:
    """Residuals of the conditions: those that read the same partials share one evaluation of the model.

    Args:
        problem: whose conditions.
        points: of each condition, shape (m, dimension); none to leave the conditions out.
        dtype: to compute in.
        derivatives: evaluates partials of the model.
    """

    def __init__(self, problem: Problem, points: Sequence[Floats], dtype: str, derivatives: PartialDerivatives) -> None:
        self._conditions = list(problem.conditions) if points else []
        self._groups: list[_Group] = []
        by_partials: dict[tuple[str, ...], list[int]] = {}
        for index, condition in enumerate(self._conditions):
            by_partials.setdefault(tuple(sorted(condition.partials)), []).append(index)
        for partials, members in by_partials.items():
            joined = ops.convert_to_tensor(np.concatenate([points[index] for index in members]).astype(dtype))
            sizes = [len(points[index]) for index in members]
            self._groups.append(_Group(members, sizes, joined, derivatives.of(partials)))
        self._targets: list[dict[str, Tensor]] = []
        for index, condition in enumerate(self._conditions):
            targets = targets_of(condition, points[index], problem.coordinates)
            self._targets.append({name: ops.convert_to_tensor(value.astype(dtype)) for name, value in targets.items()})

    def __call__(self) -> dict[str, Tensor]:
        """Return the residuals of each condition term, shape (m,)."""
        residuals: dict[str, list[Tensor]] = {condition.term: [] for condition in self._conditions}
        for group in self._groups:
            ends = np.cumsum(group.sizes).tolist()
            partials = group.evaluate(group.points)
            for index, size, end in zip(group.members, group.sizes, ends, strict=True):
                condition = self._conditions[index]
                own = {name: values[end - size : end] for name, values in partials.items()}
                residuals[condition.term].append(
                    condition_residuals_of(condition, own, self._targets[index], namespace, size)
                )
        return {term: ops.concatenate(parts) for term, parts in residuals.items()}

    def sizes(self) -> dict[str, int]:
        """Return the number of residuals of each condition term."""
        return {term: int(residual.shape[0]) for term, residual in self().items()}
