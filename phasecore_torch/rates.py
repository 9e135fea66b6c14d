"""Setting and scaling the learning rates of an optimizer, whatever it has them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from phasecore.policies.actions import ScaleLearningRate, SetLearningRate


@torch.no_grad()
def set_learning_rates(optimizer: Any, rates: Sequence[float]) -> None:
    """Set the learning rate of each parameter group; one that is a tensor is filled, as by schedulers of torch.

    Compiled steps and captured graphs read that tensor, and groups without a rate of their own share it.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> optimizer = torch.optim.SGD([weight], lr=torch.tensor(0.5))
        >>> set_learning_rates(optimizer, [0.25])
        >>> optimizer.param_groups[0]["lr"]
        tensor(0.2500)
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def change_rates(optimizer: torch.optim.Optimizer, action: SetLearningRate | ScaleLearningRate) -> None:
    """Set or scale the learning rate of the first parameter group; those of the others keep their ratios to it.

    Example:
        >>> weight, bias = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        >>> optimizer = torch.optim.Adam([{"params": [weight], "lr": 1e-3}, {"params": [bias], "lr": 1e-2}])
        >>> change_rates(optimizer, SetLearningRate(2e-3))
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.002, 0.02]
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if isinstance(action, ScaleLearningRate):
        changed = [rate * action.factor for rate in rates]
    else:
        changed = [action.rate * (rate / rates[0]) if rates[0] else action.rate for rate in rates]
    set_learning_rates(optimizer, changed)
