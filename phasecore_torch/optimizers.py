"""What torch's optimizers do, seen from outside: Adam's moments, who stepped last, and closures evaluated again."""

from __future__ import annotations

import functools
import math
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

from phasecore.signals import AdamMoments
from phasecore_torch.arrays import as_numpy
from phasecore_torch.gradients import plain
from phasecore_torch.moments import widened

OF_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product"})
"""What Adam and its relatives keep of a parameter: others that keep more mean other things by the same names."""

_NAMED_ADAM = re.compile(r"adam(?!ax)", re.IGNORECASE)
_evaluates_again = False
"""A plain name, which the compiler can follow."""
_followers: tuple[weakref.ref[Movements], ...] = ()
_FOLLOWING = threading.Lock()


def keeps_adam(optimizer: Any) -> bool:
    """Return whether an optimizer is of Adam's family, by its name and its two decay rates.

    Example:
        >>> weights = [torch.ones(2, requires_grad=True)]
        >>> [keeps_adam(kind(weights)) for kind in (torch.optim.AdamW, torch.optim.Adamax, torch.optim.SGD)]
        [True, False, False]
    """
    named = any(_NAMED_ADAM.search(kind.__name__) for kind in type(optimizer).__mro__)
    return named and all(_decay_rates(group) is not None for group in optimizer.param_groups)


def adam_moments(optimizer: Any, variable: Tensor) -> AdamMoments | None:
    """Return Adam's bias-corrected moments of a parameter, or None where there are none: before the first step.

    Complex parameters have moments of their real and imaginary parts, see `phasecore_torch.gradients.plain`.
    """
    kept = _kept_of(optimizer, variable)
    if kept is None:
        return None
    _, state, corrections = kept
    first, second = (as_numpy(plain(state[name])) for name in ("exp_avg", "exp_avg_sq"))
    return AdamMoments(first / corrections[0], second / corrections[1])


def keeps_learning_rates(optimizer: Any) -> bool:
    """Return whether an optimizer is of Adam's family and has a learning rate and an epsilon to divide by.

    Example:
        >>> weights = [torch.ones(2, requires_grad=True)]
        >>> [keeps_learning_rates(kind(weights)) for kind in (torch.optim.RAdam, torch.optim.Adamax)]
        [True, False]
    """
    return keeps_adam(optimizer) and all(_rate_and_epsilon(group) is not None for group in optimizer.param_groups)


def adam_learning_rates(optimizer: Any, variable: Tensor) -> NDArray[Any] | None:
    """Return `lr / (sqrt(v) + epsilon)` of a parameter's entries, or None where there are none, as of its moments.

    v is the bias-corrected second moment, under AMSGrad the largest so far. `torch.optim.RAdam` multiplies them by what
    rectifies their variance, and takes lr alone in its first steps.
    """
    kept = _kept_of(optimizer, variable)
    given = None if kept is None else _rate_and_epsilon(kept[0])
    if kept is None or given is None:
        return None
    (group, state, corrections), (rate, epsilon) = kept, given
    second = as_numpy(plain(state["max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"])) / corrections[1]
    rates = rate / (np.sqrt(second) + epsilon)
    if not isinstance(optimizer, torch.optim.RAdam):
        return rates
    factor = _rectification(group["betas"][1], float(state["step"]))
    return np.full_like(rates, rate) if factor is None else factor * rates


def _kept_of(optimizer: Any, variable: Tensor) -> tuple[Mapping[str, Any], Mapping[str, Any], list[float]] | None:
    """The group of a parameter, what Adam keeps of it, and the bias corrections of both moments; None before a step."""
    if not keeps_adam(optimizer):
        return None
    group = next((g for g in optimizer.param_groups if any(p is variable for p in g["params"])), None)
    state = optimizer.state.get(variable) or {}
    if group is None or not {"exp_avg", "exp_avg_sq"} <= state.keys() <= OF_ADAM:
        return None
    steps = float(state.get("step", group.get("step", 0)))
    if not steps >= 1 or any(state[name].shape != variable.shape for name in ("exp_avg", "exp_avg_sq")):
        return None
    decay_rates = _decay_rates(group)
    assert decay_rates is not None
    return group, state, [1 - rate**steps for rate in decay_rates]


def _rate_and_epsilon(group: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        return float(group["lr"]), float(group["eps"])
    except (KeyError, TypeError, ValueError):
        return None


def _rectification(decay: float, steps: float) -> float | None:
    """What RAdam multiplies by, or None where the variance is intractable (arXiv 1908.03265, algorithm 2)."""
    longest = 2 / (1 - decay) - 1
    length = longest - 2 * steps * decay**steps / (1 - decay**steps)
    if length <= 5:
        return None
    shares = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return float(math.sqrt(shares))


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


def _decay_rates(group: Mapping[str, Any]) -> list[float] | None:
    try:
        rates = [float(rate) for rate in group["betas"]]
    except (KeyError, TypeError, ValueError):
        return None
    return rates if len(rates) == 2 and all(0 <= rate < 1 for rate in rates) else None


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
