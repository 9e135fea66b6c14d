"""What is drawn of a history: the recorded values, and their running median."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 0.06
"""Width, in decades of iterations, of the running median drawn over the recorded values."""


def running_median(
    iteration: NDArray[np.float64], values: NDArray[np.float64], window: float = WINDOW
) -> NDArray[np.float64]:
    """Return the median over the captures within half a window of each, in decades of iterations.

    Args:
        iteration: ascending and positive, shape (captures,).
        values: finite, shape (captures,).
        window: width in decades.

    Example:
        >>> running_median(np.asarray([100.0, 101.0, 102.0, 1000.0]), np.asarray([1.0, 9.0, 2.0, 5.0])).tolist()
        [2.0, 2.0, 2.0, 5.0]
    """
    place = np.log10(iteration)
    first = np.searchsorted(place, place - window / 2, side="left")
    end = np.searchsorted(place, place + window / 2, side="right")
    return np.asarray([np.median(values[low:high]) for low, high in zip(first, end, strict=True)])
