"""The trained coefficients of a problem as torch parameters."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from phasecore.problems import Problem
from phasecore.problems.coefficients import stand_in
from phasecore.problems.unmoved import Unmoved
from phasecore_torch.arrays import as_numpy
from phasecore_torch.namespace import namespace
from phasecore_torch.processes import average_gradient


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
        self._watched: dict[str, Tensor] | None = None
        self._beside: Tensor | None = None
        self._held: frozenset[int] = frozenset()
        self._unmoved = Unmoved()
        self.trained = dict(problem.trained_coefficients)
        for name, coefficient in self.trained.items():
            # register_parameter() refuses names of a module's own methods, such as "half"
            self._parameters[name] = nn.Parameter(torch.tensor(coefficient.free(), dtype=dtype, device=device))
        self._average_gradients()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # copies of parameters have no hooks
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._average_gradients()

    def _average_gradients(self) -> None:
        """Have the gradients averaged over processes: no wrapper of the model knows of these parameters."""
        for free in self.parameters():
            if free.requires_grad:
                free.register_post_accumulate_grad_hook(average_gradient)  # type: ignore[no-untyped-call]

    def values(self) -> dict[str, Tensor]:
        """Return the value of each coefficient now, shape (), with its graph."""
        found = {}
        for name, coefficient in self.trained.items():
            free = self._parameters[name]
            assert free is not None
            found[name] = coefficient.value(free, namespace)
        return found

    def forgotten(self, model: object, held: Collection[int] = ()) -> list[str]:
        """Return the coefficients that stand where they stood at the first call, though the model has moved since.

        Each is told of once, and not where it is frozen.

        Args:
            model: what is trained beside them.
            held: identities of parameters that are known to have an optimizer.
        """
        if not self.trained or not isinstance(model, nn.Module):
            return []
        beside = next((p.detach().clone() for p in model.parameters() if p.requires_grad), None)
        if self._watched is None or self._beside is None or beside is None or beside.shape != self._beside.shape:
            self._watched = {name: free.detach().clone() for name, free in self.named_parameters()}
            self._beside = beside
            return []
        if torch.equal(beside, self._beside):
            return []
        own = dict(self.named_parameters())
        self._watched = {
            name: before
            for name, before in self._watched.items()
            if id(own[name]) not in held and own[name].requires_grad and torch.equal(own[name].detach(), before)
        }
        found, self._watched = list(self._watched), {}
        return found

    def warn_of_forgotten(self, model: object, held: Collection[int] = ()) -> None:
        """Warn of what `forgotten` finds."""
        self._held |= frozenset(held)
        has_it = "" if self._held else " If it has them, the gradient is zero, as of k**2 at k = 0: begin elsewhere."
        for name in self.forgotten(model, self._held):
            warnings.warn(
                f"Trained coefficient {name!r} has not moved since the training began, as if no optimizer had it. Give "
                f"the optimizer loss_fn.parameter_groups(), or [*model.parameters(), *loss_fn.parameters()].{has_it}",
                stacklevel=3,
            )

    def warn_of_unmoved(self, model: object, iteration: int) -> None:
        """Warn of coefficients that stand still while a model beside them is trained, see `Unmoved`.

        It is those that are known to have an optimizer: `forgotten` has the others.
        """
        beside = (
            next((p for p in model.parameters() if p.requires_grad), None) if isinstance(model, nn.Module) else None
        )
        held = {name: own for name, own in self.named_parameters() if own.requires_grad and id(own) in self._held}
        if held and beside is not None:
            free = {name: float(own.detach()) for name, own in held.items()}
            self._unmoved.warn(free, float(np.abs(as_numpy(beside)).sum()), iteration)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the free numbers as an optimizer takes them, with their rates."""
        rates = {name: coefficient.learning_rate for name, coefficient in self.trained.items()}
        return [
            {"params": [free], **({} if rates[name] is None else {"lr": rates[name]})}
            for name, free in self.named_parameters()
        ]

    def problem(self) -> Problem:
        """Return the problem with the values of its coefficients now."""
        if not self.trained:
            return self._problem
        made: Problem = stand_in(self._problem, self.trained, self.values())
        return made

    def parameters_of_problem(self) -> dict[str, Any]:
        """Return all parameters of the problem, with the values of its coefficients now."""
        return {**self._problem.parameters, **self.values()}
