"""What torch's optimizers do, heard of by hooks: who stepped last, and closures evaluated again."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

from phasecore.signals import AdamMoments
from phasecore_torch.gradients import plain, widened
from phasecore_torch.optimizers import adam_moments

_evaluates_again = False
"""A plain name, which the compiler can follow."""
_followers: tuple[weakref.ref[Movements], ...] = ()
_FOLLOWING = threading.Lock()


def evaluates_again() -> bool:
    """Return whether an optimizer is evaluating the closure of its step once more, as a line search does."""
    return _evaluates_again


@final
class Movements:
    """Follows which optimizer moved parameters last, and whether something else did since.

    Args:
        optimizer: the training's, as far as is known.

    Example:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> weight.grad = torch.ones(1)
        >>> adam, other = torch.optim.Adam([weight]), torch.optim.SGD([weight], lr=0.1)
        >>> movements = Movements(adam)
        >>> adam.step(), len(movements.moments({"weight": weight}))
        (None, 1)
        >>> other.step(), movements.moments({"weight": weight})
        (None, {})
    """

    def __init__(self, optimizer: Any) -> None:
        self._given = optimizer
        self._movers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._last: Callable[[], Any] = weakref.ref(optimizer)
        self._stepped: weakref.WeakSet[Any] = weakref.WeakSet([optimizer])
        self._before: tuple[list[float], list[float]] | None = None
        self._is_stale = False
        _follow(self)

    def moments(self, parameters: Mapping[str, Tensor]) -> dict[str, AdamMoments]:
        """Return the moments that Adam keeps of parameters, by name: none where it was not Adam that moved them last.

        Args:
            parameters: by name.
        """
        movers = self.movers(parameters)
        found = {name: adam_moments(mover, parameters[name]) for name, mover in movers.items()}
        return {name: moments for name, moments in found.items() if moments is not None}

    def movers(self, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the optimizer that moved each parameter last, by name: none where something else did.

        Args:
            parameters: by name.
        """
        movers = {name: self._mover(parameter) for name, parameter in parameters.items()}
        self._look(parameters, movers)
        return {} if self._is_stale else movers

    def _mover(self, parameter: Tensor) -> Any:
        """The optimizer that moved a parameter last, None if it is gone."""
        return self._movers[parameter]() if parameter in self._movers else self._given

    def _look(self, parameters: Mapping[str, Tensor], movers: Mapping[str, Any]) -> None:
        """Find out whether the parameters were moved, and no optimizer did it, since this was asked last."""
        counts = [_steps(movers[name], parameter) for name, parameter in parameters.items()]
        sums = [widened(plain(parameter)).sum() for parameter in parameters.values()]
        now = counts, torch.stack(sums).tolist() if sums else []
        before, self._before = self._before, now
        stepped = before is None or counts != before[0] or any(mover in self._stepped for mover in movers.values())
        moved = before is not None and now[1] != before[1]
        self._is_stale = not stepped and (moved or self._is_stale)
        self._stepped.clear()

    def hear(self, optimizer: Any) -> None:
        """Take note of a step: every optimizer tells everyone who follows."""
        self._stepped.add(optimizer)
        if optimizer is not self._last():
            self._last = weakref.ref(optimizer)
            for group in optimizer.param_groups:
                self._movers.update(dict.fromkeys(group["params"], self._last))


def _follow(movements: Movements) -> None:
    """Tell it of every step from now on, as long as it lives.

    The followers are a new tuple each time: one that goes, or comes, while a step is told to them changes nothing.
    """
    global _followers
    with _FOLLOWING:
        _followers = (*(reference for reference in _followers if reference() is not None), weakref.ref(movements))


def _tell(optimizer: Any, *unused: Any) -> None:
    for reference in _followers:
        follower = reference()
        if follower is not None:
            follower.hear(optimizer)


def _steps(optimizer: Any, parameter: Tensor) -> float:
    """How many steps an optimizer says that it has made; -1 if it does not."""
    state = {} if optimizer is None else optimizer.state.get(parameter) or {}
    steps = state.get("step", -1)
    return (
        float(steps) if isinstance(steps, (int, float)) or (isinstance(steps, Tensor) and steps.numel() == 1) else -1.0
    )


def _count_evaluations(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Put a closure in the place of the one that a step was given, which knows its first evaluation from others."""
    given = args[1] if len(args) > 1 else kwargs.get("closure")
    if not callable(given):
        return None
    evaluations = 0

    @functools.wraps(given)
    def closure() -> Any:
        nonlocal evaluations
        global _evaluates_again
        before, _evaluates_again = _evaluates_again, _evaluates_again or evaluations > 0
        evaluations += 1
        try:
            return given()
        finally:
            _evaluates_again = before

    return ((args[0], closure, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": closure})


register_optimizer_step_pre_hook(_count_evaluations)
register_optimizer_step_post_hook(_tell)
