"""Layer normalization of operations that torch differentiates rightly any number of times.

The gradient of torch's own is differentiable, and what comes of that is wrong: at order three the derivatives by the
points, and at order two their gradients by the parameters, differ from finite differences in the first digit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from phasecore.jets import layer_normalized

OWN = (F.layer_norm, torch.layer_norm)
"""Functions of torch in whose place `layer_norm` is."""


def layer_norm(
    input: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:
    """Return what `torch.nn.functional.layer_norm` does, of a tensor or what takes its place.

    Args:
        input: shape (..., *normalized_shape).
        normalized_shape: of the last axes, over which mean and variance are taken.
        weight: of that shape, or None.
        bias: likewise.
        eps: added to the variance.
        cudnn_enable: taken for the sake of `torch.layer_norm`, and not used.

    Example:
        >>> layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=0.0)
        tensor([[-1.,  1.]])
    """
    axes = tuple(range(-len(normalized_shape), 0))
    return layer_normalized(input, lambda values: values.mean(axes, keepdim=True), eps, weight, bias)


@final
class Differentiable(TorchFunctionMode):
    """Within it, torch's layer normalization is the one of this module.

    Example:
        >>> with Differentiable():
        ...     F.layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=0.0)
        tensor([[-1.,  1.]])
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Apply a function of torch, or what is in its place."""
        return (layer_norm if function in OWN else function)(*args, **(kwargs or {}))
