"""Layer normalization of sums and products, which jets and every framework differentiate any number of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def layer_normalized(x: Any, mean: Callable[[Any], Any], epsilon: float, weight: Any = None, bias: Any = None) -> Any:
    """Return `weight * (x - mean(x)) / sqrt(mean((x - mean(x))**2) + epsilon) + bias`.

    Args:
        x: a jet, or an array of any framework.
        mean: averages over the axes that are normalized, and keeps them.
        epsilon: added to the variance.
        weight: of a shape that goes with `x`; None for 1.
        bias: likewise; None for 0.

    Example:
        >>> import numpy as np
        >>> layer_normalized(np.asarray([1.0, 3.0]), np.mean, 0.0, weight=2.0).tolist()
        [-2.0, 2.0]
    """
    centred = x - mean(x)
    found = centred * (mean(centred * centred) + epsilon) ** -0.5
    found = found if weight is None else found * weight
    return found if bias is None else found + bias
