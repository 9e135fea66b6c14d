"""Online tracking: one capture at a time, bounded state, never looking ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.errors import InputError
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.timeline import Phase, Timeline

FloatArray = npt.NDArray[np.float64]


class TrackerState(NamedTuple):
    """The state of a tracker: arrays only, so that `np.savez(file, **state._asdict())` saves it."""

    last_iteration: FloatArray
    captures: npt.NDArray[np.int64]


class Tracker(NamedTuple):
    """A tracker: pure functions over an explicit state."""

    init: Callable[[], TrackerState]
    update: Callable[[Mapping[str, float], TrackerState], tuple[Timeline, TrackerState]]


def tracker(configuration: DetectorConfiguration | None = None) -> Tracker:
    """Make an online tracker."""

    def init() -> TrackerState:
        return TrackerState(np.array(-1.0), np.array(0))

    def update(capture: Mapping[str, float], state: TrackerState) -> tuple[Timeline, TrackerState]:
        if "iteration" not in capture:
            raise InputError("capture without an iteration", received=", ".join(capture))
        new = TrackerState(np.array(float(capture["iteration"])), state.captures + 1)
        return Timeline((), Phase.FITTING, "no diffusion yet"), new

    return Tracker(init, update)
