"""What the online tracker said, or would have said, of a curve that is recorded by now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from phasecore.phases.curve import Curve, Recorded
from phasecore.phases.online import tracker
from phasecore.phases.timeline import Phase, Timeline, Transition


def replay(curve: Recorded) -> Timeline:
    """Return what the online tracker says after the last capture of a curve.

    Raises:
        InputError: it makes no curve (see `Curve.of`).

    Example:
        >>> replay({"iteration": [1, 2], "snr": [3.0, 2.0]}).reason
        'cannot tell: 2 captures of the SNR, at least 10 are needed'
    """
    last = deque([Timeline((), None, "cannot tell: no captures")], maxlen=1)
    last.extend(_timelines(curve))
    return last.pop()


def declarations(curve: Recorded) -> tuple[Transition, ...]:
    """Return each transition as the online tracker first declared it, whether or not it was moved or taken back later.

    Raises:
        InputError: it makes no curve (see `Curve.of`).

    Example:
        >>> import numpy as np
        >>> iteration = np.arange(1, 20000, 5)
        >>> snr = np.where(iteration < 100, 30.0, np.where(iteration < 5000, 0.03, 3.0))
        >>> [(str(found.phase), found.iteration) for found in declarations({"iteration": iteration, "snr": snr})]
        [('diffusion', 101), ('total_diffusion', 5014)]
    """
    found: dict[Phase, Transition] = {}
    for timeline in _timelines(curve):
        for transition in timeline.transitions:
            found.setdefault(transition.phase, transition)
    return tuple(found.values())


def _timelines(curve: Recorded) -> Iterator[Timeline]:
    """Yield the timeline after each capture."""
    curve = Curve.of(curve)
    online = tracker()
    state = online.init()
    names = ["iteration", *curve.columns]
    columns = [curve.values(name) for name in curve.columns]
    for row in zip(curve.iteration.tolist(), *columns, strict=True):
        timeline, state = online.update(dict(zip(names, row, strict=True)), state)
        yield timeline
