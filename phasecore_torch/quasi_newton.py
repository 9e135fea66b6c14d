"""Quasi-Newton steps: self-scaled L-BFGS as an optimizer of torch, which ends a step that fails where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from phasecore.errors import InputError
from phasecore.quasi_newton.inverse_hessian import Arrays, memory_for
from phasecore.quasi_newton.steps import Evaluated, MadeOfSteps, NotFiniteError, SelfScaledLBFGS
from phasecore_torch.processes import processes, summed

ARRAYS: Arrays[Tensor] = Arrays(
    rows=lambda count, like: like.new_empty(count, len(like)),
    numbers=lambda vector: vector.cpu().double().numpy(),
    vector=lambda numbers, like: torch.from_numpy(numbers).to(like),
)


@final
class LBFGS(torch.optim.LBFGS, MadeOfSteps[Tensor]):
    """Self-scaled L-BFGS with strong Wolfe conditions: each `step(closure)` is one direction and its line search.

    See `phasecore.quasi_newton` for the method. A line search that finds no other parameters, or leaves the finite
    numbers, is made once more along the gradient, with nothing remembered. Where that fails too, and for a loss that
    is not finite, the parameters are those that the step began with, and `failure` says why; another optimizer goes on.

    In several processes loss and gradient are averaged over them, so that all search along one line: each makes the
    same steps with the closure of its own points.

    Args:
        params: the parameters, one group.
        memory: pairs of steps and changes of the gradient that are remembered; by default as many as are worth it.
        is_fixed: says whether the loss is the same function of the parameters as in the last step; the evaluation with
            which a line search ended is then that with which the next step begins. By default it may be another.

    Raises:
        InputError: for no memory.

    Attributes:
        evaluations: of loss and gradient, so far.
        failure: why the last step failed, or None.
        length: of the last step that did not, root mean square over the parameters; None before the first.

    Example:
        >>> x = torch.tensor([3.0, -1.0], requires_grad=True)
        >>> optimizer = LBFGS([x], is_fixed=lambda: True)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (x * x * torch.tensor([1.0, 10.0])).sum()
        ...     loss.backward()
        ...     return loss
        >>> losses = [float(optimizer.step(closure)) for _ in range(8)]
        >>> losses[-1] < 1e-6, optimizer.failure
        (True, None)
    """

    def __init__(
        self, params: Iterable[Tensor], memory: int | None = None, is_fixed: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__(params, max_iter=1, line_search_fn="strong_wolfe")
        self._is_fixed = is_fixed
        self._closure: Callable[[], Tensor] | None = None
        point = self._point()
        if memory is None:
            memory = memory_for(point.numel(), point.element_size())
        elif memory < 1:
            raise InputError("LBFGS: memory", received=repr(memory), expected="a number of pairs, 1 or more")
        self._steps = SelfScaledLBFGS(self._at, torch.finfo(point.dtype).eps, ARRAYS, memory)

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Make one step, and return the loss before it, a scalar tensor; NaN where that was not finite.

        The gradients in the parameters are those of where it ended; None where they were not finite.

        Args:
            closure: clears the gradients, evaluates the loss, goes back through it, and returns it.
        """
        self._closure = closure
        try:
            with torch.no_grad():
                self._put(self._steps.step(self._point(), is_fixed=self._is_fixed()))
                self._give_gradient(self._steps.last or self._steps.good)
        finally:
            self._closure = None
        point, good = self._point(), self._steps.good
        return point.new_tensor(torch.nan if good is None else good.loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: torch's own, and what the next step begins with."""
        steps = self._steps
        known = {
            name: value.clone() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
            for name, value in steps.inverse_hessian.state().items()
        }
        ends = {name: end and tuple(end) for name, end in (("good", steps.good), ("last", steps.last))}
        own = {**self._numbers(), **ends, "inverse_hessian": known}
        return {**super().state_dict(), "self_scaled": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        super().load_state_dict(state_dict)
        own, steps, like = state_dict["self_scaled"], self._steps, self._point()

        def here(tensor: Tensor) -> Tensor:
            return tensor.to(like).clone()

        def evaluated(saved: Any) -> Evaluated[Tensor] | None:
            return saved and Evaluated(here(saved[0]), saved[1], here(saved[2]))

        self._count_on(own)
        steps.good, steps.last = evaluated(own["good"]), evaluated(own["last"])
        known = {
            name: here(value) if name in ("steps", "changes") else value.cpu().numpy()
            for name, value in own["inverse_hessian"].items()
        }
        steps.inverse_hessian.restore(known)
        if steps.last is not None:
            self._give_gradient(steps.last)

    def _at(self, point: Tensor) -> Evaluated[Tensor]:
        """Evaluate the closure."""
        assert self._closure is not None
        self._put(point)
        with torch.enable_grad():
            loss = self._closure().detach()
        gradient = torch.cat([_flat(_gradient(parameter)) for parameter in self._trained()])
        if (count := processes()) > 1:
            # one after the other: they may differ in dtype
            (loss,) = summed({"loss": loss}, 1.0 / count).values()
            (gradient,) = summed({"gradient": gradient}, 1.0 / count).values()
        if not bool(torch.isfinite(loss) & torch.isfinite(gradient).all()):
            raise NotFiniteError
        return Evaluated(point, float(loss), gradient)

    def _trained(self) -> list[Tensor]:
        trained: list[Tensor] = self.param_groups[0]["params"]
        return trained

    def _point(self) -> Tensor:
        return torch.cat([_flat(parameter.detach()) for parameter in self._trained()])

    @torch.no_grad()
    def _put(self, point: Tensor) -> None:
        for parameter, part in zip(self._trained(), self._parts(point), strict=True):
            parameter.copy_(part)

    @torch.no_grad()
    def _give_gradient(self, end: Evaluated[Tensor] | None) -> None:
        """Leave the gradient of where the last step ended in the parameters, as other optimizers do."""
        if end is None:
            self.zero_grad()
            return
        for parameter, part in zip(self._trained(), self._parts(end.gradient), strict=True):
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(part)

    def _parts(self, flat: Tensor) -> Iterator[Tensor]:
        """Cut a flat vector into what each parameter has of it."""
        begin = 0
        for parameter in self._trained():
            like = torch.view_as_real(parameter) if parameter.is_complex() else parameter
            part = flat[begin : begin + like.numel()].reshape(like.shape)
            begin += like.numel()
            yield torch.view_as_complex(part) if parameter.is_complex() else part


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad


def _flat(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
