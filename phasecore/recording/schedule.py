"""When to capture: every so many iterations, and densely at the start, where phases are short."""

from __future__ import annotations

import math

PER_DECADE = 20


def is_due(iteration: int, every: int) -> bool:
    """Say whether an iteration is captured: each multiple of `every`, and about 20 per decade before the first 10.

    The fitting phase lasts 100 to 200 iterations whatever the length of the training, so that captures at a fixed
    distance of 100 would miss it.

    Args:
        iteration: number of optimizer steps done, from 1.
        every: distance between captures once they are regular.

    Example:
        >>> [iteration for iteration in range(1, 301) if is_due(iteration, 100)][-6:]
        [178, 200, 224, 252, 282, 300]
    """
    if iteration % every == 0:
        return True
    if iteration > 10 * every:
        return False
    return math.floor(PER_DECADE * math.log10(iteration)) > math.floor(PER_DECADE * math.log10(max(iteration - 1, 0.5)))
