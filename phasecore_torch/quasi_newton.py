"""Quasi-Newton steps: torch's L-BFGS, one step at a time, that goes back to the last good parameters where it fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor

from phasecore.policies.line_search import MEMORY, MOST_EVALUATIONS, hidden_by_rounding

_Evaluated = tuple[list[Tensor], list[Tensor | None], Tensor]
"""Parameters, with the loss' gradients and the loss there."""


@final
class LBFGS(torch.optim.LBFGS):
    """L-BFGS with strong Wolfe conditions, of which each `step(closure)` makes one step: a direction and a line search.

    A line search that finds no other parameters, or leaves the finite numbers, is made once more along the gradient,
    with nothing remembered. Where that fails too, and for a loss that is not finite, the parameters are those of the
    last finite loss again, and `failure` says why; another optimizer goes on.

    Args:
        params: the parameters, one group.
        memory: see `MEMORY`.
        is_fixed: says whether the loss is the same function of the parameters as in the last step; the evaluation with
            which a line search ended is then that with which the next step begins. By default it may be another.

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
        self, params: Iterable[Tensor], memory: int = MEMORY, is_fixed: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__(
            params,
            max_iter=1,
            max_eval=MOST_EVALUATIONS + 1,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=memory,
            line_search_fn="strong_wolfe",
        )
        self.evaluations = 0
        self.failure: str | None = None
        self.length: float | None = None
        self._is_fixed = is_fixed
        self._good: tuple[list[Tensor], Tensor] | None = None
        self._evaluated: _Evaluated | None = None
        self._scale: float | None = None

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Make one step, and return the loss before it, a scalar tensor.

        Args:
            closure: clears the gradients, evaluates the loss, goes back through it, and returns it.
        """
        self._scale_anew()
        before = [parameter.detach().clone() for parameter in self._trained()]
        remembers = any(own.get("old_dirs") for own in self.state.values())
        value, self.failure = self._attempt(closure, before)
        if self.failure is not None and value is not None and remembers:
            self._go_back(before)
            value, self.failure = self._attempt(closure, before)
        if value is not None:
            self._good = before, value
        if self.failure is None:
            self.length = self._moved(before)
        else:
            self._go_back(before if self._good is None else self._good[0])
        return self._good[1] if self._good is not None else torch.full_like(before[0].sum(), torch.nan)

    def _attempt(self, closure: Callable[[], Tensor], before: list[Tensor]) -> tuple[Tensor | None, str | None]:
        """Make a step of torch's: return the loss before it, None where that is not finite, and why it failed."""
        trained = self._trained()
        start: _Evaluated | None = None

        def counted() -> float:
            nonlocal start
            loss = self._known() if start is None else None
            if loss is None:
                loss = closure()
                self.evaluations += 1
                kept = [parameter.detach().clone() for parameter in trained]
                self._evaluated = kept, [parameter.grad for parameter in trained], loss.detach()
            if not bool(torch.isfinite(loss)):
                raise _NotFiniteError
            assert self._evaluated is not None
            start = start or self._evaluated
            told = _told_by_gradients(start, self._evaluated)
            if self._scale is None:
                self._scale = _scale_for(told)
            return told * self._scale

        try:
            _step_of_torch()(self, counted)
            failure = self._failure(before)
        except _NotFiniteError:
            failure = "the loss was not finite" if start is None else "the line search left the finite numbers"
        return (None if start is None else start[2]), failure

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: torch's own, and what the next step begins with."""
        own = {"evaluations": self.evaluations, "good": self._good, "evaluated": self._evaluated, "length": self.length}
        own["scale"] = self._scale
        return {**super().state_dict(), "one_step": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        super().load_state_dict(state_dict)
        own = state_dict["one_step"]
        self.evaluations, self._good, self._evaluated = own["evaluations"], own["good"], own["evaluated"]
        # states from before there was a scale are of the loss itself
        self.length, self._scale = own.get("length"), own.get("scale", 1.0)
        if self._evaluated is not None:
            for parameter, gradient in zip(self._trained(), self._evaluated[1], strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device).clone()

    def _scale_anew(self) -> None:
        """Have the scale, and what is remembered in it, follow a loss that has become a thousandth of what it was."""
        state = self.state.get(self._trained()[0], {})
        if self._good is None or self._scale is None or "old_dirs" not in state:
            return
        loss = float(self._good[1]) * self._scale
        if not 0 < loss < 1e-3:
            return
        factor = _scale_for(loss)
        self._scale *= factor
        for change in state["old_dirs"]:
            change.mul_(factor)
        state["ro"] = [curvature / factor for curvature in state["ro"]]
        state["prev_flat_grad"].mul_(factor)
        state["prev_loss"] *= factor
        state["H_diag"] = state["H_diag"] / factor

    def _gather_flat_grad(self) -> Tensor:
        gradient: Tensor = super()._gather_flat_grad()  # type: ignore[no-untyped-call]
        assert self._scale is not None
        return gradient * self._scale

    def _trained(self) -> list[Tensor]:
        trained: list[Tensor] = self.param_groups[0]["params"]
        return trained

    def _known(self) -> Tensor | None:
        """The loss, where the last evaluation was at these parameters and its gradient is still there."""
        if self._evaluated is None or not self._is_fixed():
            return None
        parameters, gradients, loss = self._evaluated
        trained = self._trained()
        same = all(torch.equal(one, other) for one, other in zip(parameters, trained, strict=True))
        if not same:
            return None
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        return loss

    def _failure(self, before: list[Tensor]) -> str | None:
        trained = self._trained()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
            return "the line search left the finite numbers"
        if all(torch.equal(one, other) for one, other in zip(before, trained, strict=True)):
            return "the line search found nothing better"
        return None

    @torch.no_grad()
    def _moved(self, before: list[Tensor]) -> float:
        squares = [(one - other).square().sum() for one, other in zip(self._trained(), before, strict=True)]
        return math.sqrt(float(torch.stack(squares).sum()) / sum(parameter.numel() for parameter in before))

    @torch.no_grad()
    def _go_back(self, good: list[Tensor]) -> None:
        """Put back good parameters; what is remembered ends."""
        for parameter, value in zip(self._trained(), good, strict=True):
            parameter.copy_(value)
        self.state.clear()
        self._evaluated = self._scale = None


@torch.no_grad()
def _told_by_gradients(start: _Evaluated, end: _Evaluated) -> float:
    """The loss at the end of a step, told by gradients where rounding hides what the step did to it."""
    begin, loss = float(start[2]), float(end[2])
    if start is end or not hidden_by_rounding(begin, loss, torch.finfo(end[2].dtype).eps):
        return loss
    for one, before, now, slope in zip(start[0], start[1], end[0], end[1], strict=True):
        if before is not None and slope is not None:
            begin += 0.5 * float(((now - one) * (before + slope)).sum())
    return begin


def _scale_for(loss: float) -> float:
    """The power of two that takes a loss to between a half and one.

    Torch's L-BFGS remembers no step along which the gradient changes by less than 1e-10, as none does near a loss of
    1e-6: it went on with the same few pairs for good.
    """
    return 2.0 ** -math.frexp(loss)[1] if loss else 1.0


def _step_of_torch() -> Callable[..., Any]:
    """The step of torch's L-BFGS, without the hooks that it has where another one was made: those are called here."""
    step = torch.optim.LBFGS.step
    return getattr(step, "__wrapped__", step) if getattr(step, "hooked", False) else step


class _NotFiniteError(Exception):
    """An evaluation is not finite."""
