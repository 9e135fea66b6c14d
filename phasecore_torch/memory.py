"""Keeping the memory of a training step for the next one."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

ANCHORS = 3
"""How many are dropped, one for each of the first steps: while functions are compiled, the heap takes shape."""

NUMBERS = 2**18
"""Size of an anchor: a megabyte in float32, more than the holes in a heap have."""


@final
class Anchors:
    """Small pieces of memory on top of what a forward pass has allocated.

    After each backward pass the C library hands free memory at the top of its heap back to the system, and asks for it
    again in the next forward pass: thousands of page faults, up to a tenth of a step. It cannot hand back what lies
    below a piece in use. The anchors live as long as this object; elsewhere than on a CPU there are none.

    Example:
        >>> anchors = Anchors()
        >>> activations = [torch.zeros(2**18) for _ in range(8)]
        >>> anchors.drop(activations[0])
    """

    def __init__(self) -> None:
        self._dropped: list[Tensor] = []

    def drop(self, like: Tensor) -> None:
        """Drop an anchor, if there are not enough.

        Args:
            like: a tensor of the forward pass that has just ended.
        """
        if len(self._dropped) < ANCHORS and like.device.type == "cpu" and torch.is_grad_enabled():
            self._dropped.append(torch.empty(NUMBERS))
