"""Tensors as numpy arrays on the host, and in a dtype that averages over a training can be kept in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phasecore_torch.gradients import plain


def lasting(values: Tensor) -> Tensor:
    """Return real numbers in float32 at least: in a short dtype squares overflow, and what adds up is rounded away.

    Example:
        >>> lasting(torch.ones(2, dtype=torch.bfloat16)).dtype, lasting(torch.ones(2, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor on the host, in float32 or float64; complex numbers as pairs along a last axis."""
    values = plain(tensor).cpu()
    wide = values if values.dtype in (torch.float32, torch.float64) else values.float()
    return wide.numpy()


def all_as_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors on the host, by name."""
    return {name: as_numpy(tensor) for name, tensor in tensors.items()}
