"""Residuals of a problem's conditions: initial, boundary and data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems import Problem
from phasecore.problems.checks import check_conditions_stay, condition_residuals_of, targets_of
from phasecore_keras.autodiff import autodiff
from phasecore_keras.coefficients import Coefficients
from phasecore_keras.derivatives import PartialDerivatives
from phasecore_keras.differentiation import Tensor
from phasecore_keras.namespace import namespace
from phasecore_keras.reading import variables_read
from phasecore_keras.undisturbed import undisturbed

Floats = NDArray[np.float64]


@final
class _Group(NamedTuple):
    """Conditions that read the same partials: which they are, how many points each has, and the evaluation."""

    members: list[int]
    sizes: list[int]
    points: keras.Variable
    evaluate: PartialDerivatives


@final
class Conditions:
    """Residuals of the conditions: those that read the same partials share one evaluation of the model.

    Points and targets are variables, so that compiled functions see others as soon as they are there.

    Args:
        problem: whose conditions.
        points: of each condition, shape (m, dimension); none to leave the conditions out.
        placement: the dtype to compute in; Keras chooses the device.
        derivatives: evaluates partials of the model.
        coefficients: of the problem, those that are trained.
    """

    def __init__(
        self,
        problem: Problem,
        points: Sequence[Floats],
        placement: str,
        derivatives: PartialDerivatives,
        coefficients: Coefficients,
    ) -> None:
        self._conditions = list(problem.conditions) if points else []
        self._problem_now = coefficients.problem
        self._groups: list[_Group] = []
        by_partials: dict[tuple[str, ...], list[int]] = {}
        for index, condition in enumerate(self._conditions):
            by_partials.setdefault(tuple(sorted(condition.partials)), []).append(index)
        for partials, members in by_partials.items():
            joined = _constant(np.concatenate([points[index] for index in members]), placement)
            sizes = [len(points[index]) for index in members]
            self._groups.append(_Group(members, sizes, joined, derivatives.of(partials)))
        self._targets: list[dict[str, keras.Variable]] = []
        for index, condition in enumerate(self._conditions):
            targets = targets_of(condition, points[index], problem.coordinates, problem.normals)
            self._targets.append({name: _constant(value, placement) for name, value in targets.items()})
        self._read_coefficients = bool(points and coefficients.trained)
        if self._read_coefficients:
            with undisturbed():
                read = {id(variable) for variable in variables_read(lambda: autodiff().shapes(self))}
            self._read_coefficients = any(id(variable) in read for variable in coefficients.free.values())

    def __call__(self) -> dict[str, Tensor]:
        """Return the residuals of each condition term, shape (m,)."""
        # conditions that read trained coefficients are made anew with the values that these have now
        conditions = list(self._problem_now().conditions) if self._read_coefficients else self._conditions
        residuals: dict[str, list[Tensor]] = {condition.term: [] for condition in conditions}
        for group in self._groups:
            ends = np.cumsum(group.sizes).tolist()
            partials = group.evaluate(group.points.value)
            for index, size, end in zip(group.members, group.sizes, ends, strict=True):
                condition = conditions[index]
                own = {name: values[end - size : end] for name, values in partials.items()}
                targets = {name: target.value for name, target in self._targets[index].items()}
                residuals[condition.term].append(condition_residuals_of(condition, own, targets, namespace, size))
        return {term: ops.concatenate(parts) for term, parts in residuals.items()}

    @property
    def variables(self) -> list[keras.Variable]:
        """Points and targets."""
        targets = [target for own in self._targets for target in own.values()]
        return [*(group.points for group in self._groups), *targets]

    def take_over(self, other: Conditions) -> bool:
        """Take the points and targets of other conditions of the same problem, if they have the same shapes."""
        pairs = list(zip(self.variables, other.variables, strict=False))
        if len(self.variables) != len(other.variables) or any(a.shape != b.shape for a, b in pairs):
            return False
        for mine, theirs in pairs:
            mine.assign(theirs.value)
        return True

    def sizes(self) -> dict[str, int]:
        """Return the number of residuals of each condition term."""
        with undisturbed():
            return {term: int(residual.shape[0]) for term, residual in autodiff().shapes(self).items()}


def check_targets(problem: Problem, points: Sequence[Floats]) -> None:
    """Refuse targets that are others each time, or computed from variables: they are computed once.

    Raises:
        InputError: naming the condition's term and what differs, or the variable.
    """
    check_conditions_stay(problem, points)
    for condition, own in zip(problem.conditions, points, strict=True):
        for variable in variables_read(
            functools.partial(targets_of, condition, own, problem.coordinates, problem.normals)
        ):
            raise InputError(
                f"targets of a condition in term {condition.term!r}",
                received=f"values computed from variable {variable.path!r}, which may change in training",
                expected="numbers: targets are computed once",
                fix="Read the variable in residuals() of a condition of your own (see docs/extending.md).",
            )


def _constant(values: Floats, dtype: str) -> keras.Variable:
    return keras.Variable(values.astype(dtype), dtype=dtype, trainable=False, autocast=False)
