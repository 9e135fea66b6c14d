"""The trained coefficients of a problem as torch parameters."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from phasecore.problems import Problem
from phasecore_torch.namespace import namespace


@final
class Coefficients(nn.Module):
    """The trained coefficients of a problem: their free numbers, see `phasecore.problems.Trained`, are parameters.

    Args:
        problem: whose coefficients.
        placement: the dtype and the device to compute with.

    Example:
        >>> import phasecore
        >>> burgers = phasecore.problem("burgers", viscosity=phasecore.trained(0.5))
        >>> coefficients = Coefficients(burgers, (torch.float64, torch.device("cpu")))
        >>> coefficients.problem().viscosity.item(), list(coefficients.state_dict())
        (0.5, ['viscosity'])
    """

    def __init__(self, problem: Problem, placement: tuple[torch.dtype, torch.device]) -> None:
        super().__init__()
        dtype, device = placement
        self._problem = problem
        self.trained = dict(problem.trained_coefficients)
        for name, coefficient in self.trained.items():
            # register_parameter() refuses names of a module's own methods, such as "half"
            self._parameters[name] = nn.Parameter(torch.tensor(coefficient.free(), dtype=dtype, device=device))

    def values(self) -> dict[str, Tensor]:
        """Return the value of each coefficient now, shape (), with its graph."""
        found = {}
        for name, coefficient in self.trained.items():
            free = self._parameters[name]
            assert free is not None
            found[name] = coefficient.value(free, namespace)
        return found

    def problem(self) -> Problem:
        """Return the problem with the values of its coefficients now."""
        return self._problem.with_coefficients(self.values()) if self.trained else self._problem
