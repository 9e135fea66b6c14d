"""Whether the learning rate that a policy left is kept, or set anew by a schedule that knows nothing of it."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import final

from phasecore.recording.display import level_outside

ROUNDED = 1e-5
"""Part of a rate that it may be off, as where it is kept in single precision."""

NEAR = 0.25
"""Part of a change, in the logarithm, that may be left of one that was undone: the schedule has gone on meanwhile."""

LOWERED = 0.75
"""Part of a rate to which it must have been lowered to be judged: schedules lower it too, and raise it little."""


def is_undone(before: float, left: float, now: float) -> bool:
    """Return whether a learning rate is, by its ratio, all but back to what it was before a change.

    A schedule that multiplies the rate that it finds goes on from the change; one that computes the rate from the step
    alone goes back to where it would have been without. A rate that was raised is not judged: it comes down again by
    any schedule.

    Args:
        before: the rate before the change.
        left: the rate after it.
        now: the rate that something else has set since.

    Example:
        >>> is_undone(1e-3, 1e-4, 9.9e-5), is_undone(1e-3, 1e-4, 1e-5), is_undone(1e-3, 1e-4, 9.9e-4)
        (False, False, True)
    """
    lowered = 0.0 < left < LOWERED * before and now > 0.0
    return lowered and abs(math.log(now / before)) < NEAR * abs(math.log(left / before))


@final
class RatesKept:
    """Warns, once, where the learning rate is set anew after a policy has changed it.

    Example:
        >>> kept = RatesKept()
        >>> rates = [1e-3]
        >>> with kept.watched(lambda: rates[-1], iteration=10):
        ...     rates.append(1e-4)
        >>> kept.look(1e-4)
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     kept.look(9e-4)
        >>> str(caught[0].message).partition(":")[0]
        'the learning rate was changed from 0.001 to 0.0001 at iteration 10, and is 0.0009 now'
    """

    def __init__(self) -> None:
        self._change: tuple[float, float, int] | None = None
        self._told = False

    @contextlib.contextmanager
    def watched(self, rate: Callable[[], float | None], iteration: int) -> Iterator[None]:
        """Note what is done to the learning rate within this, if anything.

        Args:
            rate: returns the learning rate of now; None where there is none.
            iteration: steps done so far.
        """
        before = rate()
        yield
        left = rate()
        if before and left and left != before:
            self._change = before, left, iteration

    def look(self, now: float | None) -> None:
        """Look at the learning rate, if there is one; the first that is another than that of the change tells."""
        if self._change is None or now is None or math.isclose(now, self._change[1], rel_tol=ROUNDED):
            return
        (before, left, iteration), self._change = self._change, None
        if not self._told and is_undone(before, left, now):
            self._told = True
            warnings.warn(
                f"the learning rate was changed from {before:.4g} to {left:.4g} at iteration {iteration}, and is "
                f"{now:.4g} now: a schedule sets it anew, whatever policies do. Take one that multiplies the rate "
                "that it finds, as ExponentialLR does, or leave the rate to the schedule alone",
                RuntimeWarning,
                stacklevel=level_outside(),
            )
