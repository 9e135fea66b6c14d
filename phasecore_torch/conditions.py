"""Residuals of a problem's conditions: initial, boundary and data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore.problems import Problem
from phasecore.problems.checks import check_conditions_stay, condition_residuals_of, targets_of
from phasecore_torch.coefficients import Coefficients
from phasecore_torch.derivatives import PartialDerivatives
from phasecore_torch.gradients import leaves
from phasecore_torch.namespace import namespace
from phasecore_torch.undisturbed import undisturbed

Floats = NDArray[np.float64]


@final
class _Group(NamedTuple):
    """Conditions that read the same partials: which they are, how many points each has, and the evaluation."""

    members: list[int]
    sizes: list[int]
    evaluate: PartialDerivatives


@final
class Conditions(nn.Module):
    """Residuals of the conditions: those that read the same partials share one evaluation of the model.

    Args:
        problem: whose conditions.
        points: of each condition, shape (m, dimension).
        placement: the dtype and the device to compute with.
        derivatives: evaluates partials of the model.
        coefficients: of the problem, those that are trained.
    """

    def __init__(
        self,
        problem: Problem,
        points: Sequence[Floats],
        placement: tuple[torch.dtype, torch.device],
        derivatives: PartialDerivatives,
        coefficients: Coefficients,
    ) -> None:
        super().__init__()
        dtype, device = placement
        check_conditions_stay(problem, points)
        self._conditions = list(problem.conditions)
        self._derivatives = derivatives
        self._problem_now = coefficients.problem
        self._groups: list[_Group] = []
        by_partials: dict[tuple[str, ...], list[int]] = {}
        for index, condition in enumerate(self._conditions):
            by_partials.setdefault(tuple(sorted(condition.partials)), []).append(index)
        for partials, members in by_partials.items():
            joined = torch.as_tensor(np.concatenate([points[index] for index in members]), dtype=dtype, device=device)
            self.register_buffer(f"points_{len(self._groups)}", joined, persistent=False)
            sizes = [len(points[index]) for index in members]
            self._groups.append(_Group(members, sizes, derivatives.of(partials)))
        self._targets: list[dict[str, str]] = []
        for index, condition in enumerate(self._conditions):
            targets = targets_of(condition, points[index], problem.coordinates, problem.normals)
            # a partial's name may hold dots, a buffer's may not
            self._targets.append({name: f"target_{index}_{k}" for k, name in enumerate(targets)})
            for name, buffer in self._targets[index].items():
                target = torch.as_tensor(targets[name], dtype=dtype, device=device)
                self.register_buffer(buffer, target, persistent=False)
        self._read_coefficients = bool(coefficients.trained)
        if self._read_coefficients:
            trained = {id(parameter) for parameter in coefficients.parameters()}
            with torch.enable_grad(), undisturbed(derivatives.model):
                self._read_coefficients = any(id(leaf) in trained for leaf in leaves(list(self().values())))

    def forward(self) -> dict[str, Tensor]:
        """Return the residuals of each condition term, shape (m,)."""
        # conditions that read trained coefficients are made anew with the values that these have now
        conditions = list(self._problem_now().conditions) if self._read_coefficients else self._conditions
        residuals: dict[str, list[Tensor]] = {condition.term: [] for condition in conditions}
        for number, (members, sizes, evaluate) in enumerate(self._groups):
            joined = evaluate(getattr(self, f"points_{number}"))
            partials = {name: torch.split(values, sizes) for name, values in joined.items()}
            for place, index in enumerate(members):
                condition = conditions[index]
                own = {name: parts[place] for name, parts in partials.items()}
                targets = {name: getattr(self, buffer) for name, buffer in self._targets[index].items()}
                residuals[condition.term].append(
                    condition_residuals_of(condition, own, targets, namespace, sizes[place])
                )
        return {term: torch.cat(parts) for term, parts in residuals.items()}

    def points(self) -> list[Tensor]:
        """Return where the residuals of each condition are computed, shape (m, dimension) each."""
        found: dict[int, Tensor] = {}
        for number, (members, sizes, _) in enumerate(self._groups):
            parts = torch.split(getattr(self, f"points_{number}"), sizes)
            found |= dict(zip(members, parts, strict=True))
        return [found[index] for index in sorted(found)]

    def sizes(self) -> dict[str, int]:
        """Return the number of residuals of each condition term."""
        with torch.no_grad(), undisturbed(self._derivatives.model):
            return {term: len(residual) for term, residual in self().items()}
