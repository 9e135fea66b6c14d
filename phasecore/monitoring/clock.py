"""The training time of a training that may be interrupted and gone on with."""

from __future__ import annotations

import time
from typing import final


@final
class Clock:
    """Counts seconds while it runs.

    Example:
        >>> clock = Clock()
        >>> clock.set(2.5)
        >>> clock.seconds
        2.5
        >>> clock.start()
        >>> clock.seconds > 2.5
        True
    """

    def __init__(self) -> None:
        self._counted = 0.0
        self._start: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._counted + (0.0 if self._start is None else time.perf_counter() - self._start)

    def set(self, seconds: float) -> None:
        """Go on from another time."""
        self._counted = float(seconds)
        self._start = None if self._start is None else time.perf_counter()

    def start(self) -> None:
        """Run from now on; nothing where it runs already."""
        self._start = time.perf_counter() if self._start is None else self._start

    def stop(self) -> None:
        """Stand still from now on."""
        self._counted, self._start = self.seconds, None
