"""When to capture: every so many iterations, and densely at the start, where phases are short."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import final

from phasecore.probes.base import Probe

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


@final
class Schedule:
    """When a training is captured, and which of its probes are measured then.

    Args:
        every: iterations between captures, see `is_due`.
        probes: each is measured where its own `every` is due, or else where that of the training is.

    Example:
        >>> from phasecore import probe
        >>> schedule = Schedule(10, [probe("gradient_snr"), probe("layer_entropy", every=1000)])
        >>> [found.name for found in schedule.due(20_010)], schedule.due(20_005) is None
        (['gradient_snr'], True)
    """

    def __init__(self, every: int, probes: Sequence[Probe]) -> None:
        self._paced = [(every if probe.every is None else probe.every, probe) for probe in probes]
        self._paces = {every, *(pace for pace, _ in self._paced)}

    def due(self, iteration: int, since: int | None = None) -> list[Probe] | None:
        """Return the probes to measure now, or None where no capture is due.

        Args:
            iteration: optimizer steps done.
            since: how many were done when this was asked last, where several steps were made at once.
        """
        passed = range(iteration if since is None else since + 1, iteration + 1)
        due = {pace for pace in self._paces if _any_due(passed, pace)}
        return [probe for pace, probe in self._paced if pace in due] if due else None

    def until(self, iteration: int) -> list[int]:
        """Return the iterations that are captured, up to this one."""
        return [done for done in range(1, iteration + 1) if self.due(done) is not None]


def _any_due(iterations: Iterable[int], every: int) -> bool:
    return any(iteration > 0 and is_due(iteration, every) for iteration in iterations)
