"""What the monitor reads of an optimizer: Adam's moments, where it is Adam."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
        >>> import torch
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
    if not keeps_adam(optimizer):
        return None
    group = next((g for g in optimizer.param_groups if any(p is variable for p in g["params"])), None)
    state = optimizer.state.get(variable) or {}
    if group is None or not {"exp_avg", "exp_avg_sq"} <= state.keys() <= OF_ADAM:
        return None
    first, second = state["exp_avg"], state["exp_avg_sq"]
    steps = float(state.get("step", group.get("step", 0)))
    if not steps >= 1 or first.shape != variable.shape or second.shape != variable.shape:
        return None
    decay_rates = _decay_rates(group)
    assert decay_rates is not None
    corrections = [1 - rate**steps for rate in decay_rates]
    return AdamMoments(as_numpy(plain(first)) / corrections[0], as_numpy(plain(second)) / corrections[1])


def _decay_rates(group: Mapping[str, Any]) -> list[float] | None:
    try:
        rates = [float(rate) for rate in group["betas"]]
    except (KeyError, TypeError, ValueError):
        return None
    return rates if len(rates) == 2 and all(0 <= rate < 1 for rate in rates) else None
