"""Setting the learning rates of an optimizer, whatever it has them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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
