"""What the monitor reads of an optimizer: Adam's moments and learning rates, where it is Adam."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phasecore.signals import AdamMoments
from phasecore_torch.arrays import as_numpy
from phasecore_torch.gradients import plain

OF_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product"})
"""What Adam and its relatives keep of a parameter: others that keep more mean other things by the same names."""

_NAMED_ADAM = re.compile(r"adam(?!ax)", re.IGNORECASE)


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


def _decay_rates(group: Mapping[str, Any]) -> list[float] | None:
    try:
        rates = [float(rate) for rate in group["betas"]]
    except (KeyError, TypeError, ValueError):
        return None
    return rates if len(rates) == 2 and all(0 <= rate < 1 for rate in rates) else None
