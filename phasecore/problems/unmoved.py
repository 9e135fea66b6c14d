"""Trained coefficients that stand still while the network beside them is trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import final

AFTER = 100
"""Iterations that a coefficient may stand still."""


@final
class Unmoved:
    """Tells which trained coefficients stand where they stood at the first look, though the network has moved since.

    A gradient that is exactly zero, as that of k**2 at k = 0, leaves a coefficient where it is for ever, and so does a
    step below the rounding of its value. Both look like a value that was found.

    Example:
        >>> unmoved = Unmoved()
        >>> looks = [(0.3, 1), (0.2, 50), (0.1, 101), (0.0, 201)]
        >>> [unmoved.found({"k": 0.0, "rate": size}, size, iteration) for size, iteration in looks]
        [[], [], ['k'], []]
        >>> later = Unmoved()
        >>> [later.found({"k": 0.5}, size, iteration) for size, iteration in [(0.3, 5000), (0.2, 6000)]]
        [[], []]
    """

    def __init__(self) -> None:
        self._first: dict[str, float] | None = None
        self._beside, self._began = 0.0, 0

    def found(self, free: Mapping[str, float], beside: float, iteration: int) -> list[str]:
        """Return their names, once.

        Args:
            free: the free number of each coefficient that is trained, see `Trained`.
            beside: the size of what is trained beside them, by which it is seen whether that moves.
            iteration: optimizer steps done.
        """
        if self._first is None or iteration < self._began:
            self._first, self._beside, self._began = dict(free), beside, iteration
        # a training that goes on may have found its value long ago
        if self._began > AFTER or iteration - self._began < AFTER or beside == self._beside:
            return []
        first, self._first = self._first, {}
        return [name for name, value in free.items() if first.get(name) == value]

    def warn(self, free: Mapping[str, float], beside: float, iteration: int) -> None:
        """Warn of what `found` finds."""
        for name in self.found(free, beside, iteration):
            warnings.warn(
                f"Trained coefficient {name!r} has not moved in the first {iteration} iterations, though the network "
                "has: its gradient is zero, as that of k**2 is at k = 0, or its steps are below the rounding of its "
                "value. Begin with another value, or give it a larger learning rate, trained(..., learning_rate=...).",
                stacklevel=4,
            )
