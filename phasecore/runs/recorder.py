"""The observer of a training: keeps the history, tracks the phases, calls the hooks, feeds the display."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Outcome, Training
from phasecore.errors import PluginError, TrainingError, described
from phasecore.phases import Phase, Timeline, tracker
from phasecore.plugins import Listener
from phasecore.probes.checks import checked_row
from phasecore.runs.folder import save_snapshot
from phasecore.runs.history import HISTORY, History, Row, plain
from phasecore.runs.hooks import RunHooks
from phasecore.runs.wording import nonfinite_warning


class Display(Protocol):
    """Who shows a training to a person."""

    def started(self, training: Training) -> None:
        """Hear that the training starts or goes on."""

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        """Hear of a capture, and of the phases so far as the online tracker knows them."""

    def warned(self, message: str) -> None:
        """Hear of something that the person should know."""

    def finished(self, outcome: Outcome) -> None:
        """Hear that the training ended."""


@final
class Silent:
    """A display that shows nothing; what the person should know becomes a Python warning."""

    def started(self, training: Training) -> None:
        """Show nothing."""

    def progressed(self, iteration: int, loss: float) -> None:
        """Show nothing."""

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        """Show nothing."""

    def warned(self, message: str) -> None:
        """Warn."""
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def finished(self, outcome: Outcome) -> None:
        """Show nothing."""


@final
class Recorder:
    """Listens to one session of a training.

    Going on with a run, the first row says where the backend resumed: rows of the history from that iteration on
    were recorded after the checkpoint, and are dropped before it is appended.

    Args:
        training: what is trained.
        listeners: whose hooks are called.
        display: shows the training to a person.
        resume: whether the run folder already has a history.
    """

    def __init__(self, training: Training, listeners: Iterable[Listener], display: Display, *, resume: bool) -> None:
        self.rows: list[Row] = []
        self._training = training
        self._display = display
        self._hooks = RunHooks(listeners, display.warned)
        self._history = None if training.folder is None else History(training.folder / HISTORY)
        self._resumed = self._to_cut = resume
        self._tracker = tracker()
        self._state = self._tracker.init()
        self._declared: set[Phase] = set()
        self._warned = False

    def started(self) -> None:
        """Announce the training."""
        self._hooks.call("run_started", training=self._training, resumed=self._resumed)
        self._display.started(self._training)

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""
        self._display.progressed(iteration, loss)

    def captured(self, row: Mapping[str, Any]) -> None:
        """Record a capture: the file first, so that nothing else can lose it.

        Raises:
            PluginError: for a row that is no mapping of name to number with an "iteration", naming the backend.
        """
        row = self._checked(row)
        if self._to_cut and self._history is not None:
            self.rows = self._history.cut(int(row["iteration"]))
            for kept in self.rows:
                self._declared |= {item.phase for item in self._track(kept).transitions}
            self._to_cut = False
        clean: Row = plain(row)
        if self._history is not None:
            self._history.append(clean)
        self.rows.append(clean)
        timeline = self._track(clean)
        self._hooks.call("captured", training=self._training, row=MappingProxyType(clean))
        for transition in timeline.transitions:
            if transition.phase not in self._declared:
                self._declared.add(transition.phase)
                self._hooks.call("phase_changed", training=self._training, transition=transition)
        self._display.captured(clean, timeline)
        if timeline.nonfinite is not None and not self._warned:
            self._warned = True
            self._display.warned(nonfinite_warning(timeline.nonfinite))

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Save fields, residuals and weights by name, where there is a run folder."""
        if self._training.folder is not None:
            save_snapshot(self._training.folder, iteration, arrays)

    def finished(self, outcome: Outcome) -> None:
        """Announce the outcome."""
        self._hooks.call("run_finished", training=self._training, outcome=outcome)
        self._display.finished(outcome)

    def stopped(self, error: BaseException) -> None:
        """Announce that the training ended early; where what ended it was measured, that is the last row."""
        row = error.row if isinstance(error, TrainingError) else None
        if row is not None and (not self.rows or self.rows[-1]["iteration"] < row["iteration"]):
            self._warned = True
            self.captured(row)
        self._hooks.call("run_stopped", training=self._training, error=error)

    def close(self) -> None:
        """Close the history."""
        if self._history is not None:
            self._history.close()

    def _checked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        backend = f"backend {self._training.backend!r}, row of the history"
        numbers = checked_row(backend, row)
        if not numbers.get("iteration", math.nan).is_integer():
            raise PluginError(backend, received=described(row), expected='a mapping with a whole "iteration"')
        return {**numbers, "iteration": int(numbers["iteration"])}

    def _track(self, row: Row) -> Timeline:
        numbers = {name: math.nan if value is None else value for name, value in row.items()}
        timeline, self._state = self._tracker.update(numbers, self._state)
        return timeline
