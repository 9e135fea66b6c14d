"""The recorder of a training, whoever drives it: files, the phases so far, hooks, and what a person is shown."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore import plugins, registry
from phasecore.backends import WENT_BACK, Acted, Monitored, Outcome, Training
from phasecore.errors import InputError, TrainingError
from phasecore.phases import Phase, Timeline, detect, tracker
from phasecore.policies.actions import Action, Stop, SwitchOptimizer
from phasecore.recording.acting import Acting
from phasecore.recording.configuration import summary
from phasecore.recording.display import Display, Silent, nonfinite_warning, warn_each
from phasecore.recording.going_back import GoingBack
from phasecore.recording.history import acted_of, checked_capture, done_by_row, plain
from phasecore.recording.hooks import RunHooks
from phasecore.recording.outcome import outcome_of
from phasecore.recording.own_problem import reference_arrays
from phasecore.recording.record import Record
from phasecore.recording.session import begin_session
from phasecore.recording.wording import NOT_WRITTEN

Loggers = str | Sequence[str | object]
Row = dict[str, float]


@final
class Recorder:
    """Keeps what happens in one training: its rows, the phases so far, files of them if asked for, and tells listeners.

    `begin` comes first, then `captured` and `snapshot`, then `finish` or `stopped`; a training may go on after either.

    Args:
        folder: write a run folder; it is made by `begin`.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        resume: whether folder and file may be there already, to be gone on with; see `begin`.
        loggers: who else writes it down: "name" or "name:key=value,key=value", or objects with run hooks.
        display: shows the training to a person.
        on_capture: called with each row.

    Attributes:
        rows: the rows taken so far, NaN where a value was not finite.
        timeline: the phases so far, found without looking ahead; `actions`: what policies had done.
        folder: the run folder, or None; `begun`: whether `begin` was called.

    Raises:
        InputError: if the file or a run in the folder exists, and `resume` does not allow it; for an unknown logger.
        MissingDependencyError: if a logger's package is not installed.

    Example:
        >>> recorder = Recorder()
        >>> recorder.begin(Monitored("torch"), iteration=0)
        >>> recorder.captured({"iteration": 10, "snr": 2.0})
        >>> len(recorder.rows), recorder.timeline.transitions
        (1, ())
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        history_file: str | Path | None = None,
        resume: bool = False,
        loggers: Loggers = (),
        display: Display | None = None,
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self._display = Silent() if display is None else display
        self._record = Record(
            self.folder,
            None if history_file is None else Path(history_file),
            resume=resume,
            rows=lambda: map(self._written, self.rows),
            warn=self._warned,
        )
        self._on_capture = on_capture
        self._loggers = [name for name in ([loggers] if isinstance(loggers, str) else loggers) if isinstance(name, str)]
        self._hooks = RunHooks([*plugins.loaded().listeners(), *registry.as_listeners(loggers)], self._warned)
        self._training: Training | Monitored | None = None
        self._reference: Mapping[str, NDArray[np.float64]] | None = None
        self._acting = Acting({}, None, self._warned)
        self._unwritten: list[Acted] = []
        self._restored: Mapping[str, Any] = {}
        self._done: dict[int, list[dict[str, Any]]] = {}
        self._is_over = self._has_warned = self._was_replayed = False
        self._back = GoingBack()
        self._tracker = tracker()
        self._replay([])

    def unheard(self) -> Recorder:
        """Return a recorder of the same rows that writes nothing and tells nobody, for processes beside the first."""
        other = Recorder(on_capture=self._on_capture)
        other._hooks = RunHooks([], other._warned)
        other._replay(self.rows, self.actions)
        return other

    @property
    def declared(self) -> frozenset[Phase]:
        """The phases of which listeners were told that they began, each once, even if that was taken back later."""
        return frozenset(self._declared)

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return self._training is not None

    def begin(
        self, training: Training | Monitored, versions: Mapping[str, str] | None = None, *, iteration: int | None = None
    ) -> None:
        """Hear that the training begins or goes on, before the first row; a second call does nothing.

        The rows of a file that is gone on with are taken over up to the present iteration; after `replay`, up to the
        last of the rows that it was given. Later ones are captured again, and are dropped.

        Args:
            training: what is known of it.
            versions: of the framework and its companions.
            iteration: optimizer steps done so far; None where the first row tells from where the training goes on.

        Raises:
            InputError: if the folder cannot be made, written or read, another process writes it, others provide what it
                is made of, or without `replay` nothing is done yet and there are rows, which would all be lost.
        """
        if self._training is not None:
            return
        self._record.take()
        try:
            self._begin(training, versions or {}, iteration)
        except BaseException:
            self._record.let_go()
            raise

    def _begin(self, training: Training | Monitored, versions: Mapping[str, str], iteration: int | None) -> None:
        dropped = [] if iteration is None else self._record.late(iteration, restored=self._was_replayed)
        goes_on = begin_session(self._record, training, versions, self._loggers, self._display)
        self._training = training
        self._acting = Acting(training.policies, training.settings.iterations, self._warned)
        self._acting.restore(self._restored)
        self._record.begin()
        warn_each(dropped)
        goes_on |= self._record.goes_on
        if iteration is not None:
            self._cut(1 + (int(self.rows[-1]["iteration"]) if self.rows else iteration))
            self._record.write()
        self._start(resumed=goes_on or bool(iteration))

    def resumed(self, iteration: int) -> None:
        """Hear which iteration was the last one of the saved state that the training goes on from."""
        self._show("resumed", iteration, self.folder)
        for lost in self._record.lacking(self._listened(), iteration):
            self._warned(lost)

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""
        self._show("progressed", iteration, loss)

    def captured(self, row: Mapping[str, Any]) -> None:
        """Record a capture, the files first; what cannot be written now waits, see `phasecore.recording.record`.

        Raises:
            PluginError: for a row that is no mapping of name to number with an "iteration", naming the backend.
            InputError: if another recorder writes the same file meanwhile.
        """
        training = self._listened()
        checked = checked_capture(training.backend, row)
        if self._record.goes_on:
            self._cut(int(checked["iteration"]))
        self._record.check_alone()
        self._go_back()
        if self._is_over:
            self._start(resumed=True)
        self._track(checked)
        made = self._acting.act(self.timeline, checked)
        self.actions += made
        done, self._unwritten = [*self._unwritten, *made], []
        if done:
            self._done[checked["iteration"]] = [item.to_json() for item in done]
        self._record.append(self._written(checked))
        if self._on_capture is not None:
            self._on_capture(checked)
        clean = plain(checked)
        self._hooks.call("captured", training=training, row=MappingProxyType(clean))
        for transition in self.timeline.transitions:
            if transition.phase not in self._declared:
                self._declared.add(transition.phase)
                self._hooks.call("phase_changed", training=training, transition=transition)
        self._show("captured", clean, self.timeline)
        for acted in made:
            self._announce(acted)
        if self.timeline.nonfinite is not None and not self._has_warned:
            self._has_warned = True
            self._show("warned", nonfinite_warning(self.timeline.nonfinite))

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Save fields, residuals and weights by name, where there is a run folder."""
        self._go_back(iteration)
        if self.folder is not None:
            if self._reference is None:
                self._reference = reference_arrays(self._listened().problem, arrays)
            self._record.snapshot(iteration, {**arrays, **self._reference})

    @property
    def stopped_by_policy(self) -> bool:
        """Whether a policy has ended the training."""
        return any(acted.action == Stop.name for acted in self.actions)

    def decided(self) -> list[Action]:
        """Return what policies decided since this was asked last, for whoever trains to carry out."""
        return self._acting.taken()

    def went_back(self, iteration: int, optimizer: str, reason: str) -> None:
        """Hear that an optimizer failed, and which one goes on; the next row says so too."""
        acted = Acted(iteration, WENT_BACK, SwitchOptimizer.name, optimizer, reason)
        self.actions.append(acted)
        self._unwritten.append(acted)
        self._announce(acted)

    def policy_state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the policies, as JSON has it."""
        return {"policies": self._acting.state(), "unwritten": [item.to_json() for item in self._unwritten]}

    def restore_policies(self, state: Mapping[str, Any]) -> None:
        """Go on from `policy_state()`."""
        self._restored = state["policies"]
        self._acting.restore(self._restored)
        self._unwritten = [Acted.of(item) for item in state["unwritten"]]

    def has_snapshot(self, iteration: int) -> bool:
        """Return whether fields were saved after an iteration, or none are to be: of a state that is only looked at."""
        self._go_back(iteration)
        return self.is_looked_at(iteration) or self._record.has_snapshot(iteration)

    def is_looked_at(self, iteration: int) -> bool:
        """Return whether a state was gone back to and no iteration was made since: files stay as they are."""
        return self._back.is_at(iteration)

    def is_behind(self) -> bool:
        """Return whether rows still wait to be written: a state that is saved now would go on without them."""
        return self._record.is_behind()

    def could_not_write(self, file: Path, error: OSError) -> None:
        """Hear that a checkpoint could not be written; the person is told once of each cause."""
        self._record.could_not_write(file, error)

    def replay(
        self, rows: Sequence[Mapping[str, Any]], actions: Sequence[Acted] | None = None, *, iteration: int | None = None
    ) -> None:
        """Start again from rows that were taken before, and from what policies had done; by default the rows tell.

        In a training that has begun this is going back to the state of an iteration, by default that of the last row:
        once it goes on, the files lose what is not in these rows, and listeners hear that it is resumed.
        """
        self._was_replayed, self._unwritten = True, []
        if self.begun:
            self._back.to(iteration, rows, (self.rows, self.actions))
        self._replay(rows, actions)

    def forget(self) -> None:
        """Forget the training, where there are no files: another is to begin, of which listeners hear as of any."""
        self._training, self._restored, self._unwritten = None, {}, []
        self._is_over = self._has_warned = self._was_replayed = False
        self._back = GoingBack()
        self._replay([])

    def _replay(self, rows: Sequence[Mapping[str, Any]], actions: Sequence[Acted] | None = None) -> None:
        self._acting.restart()
        self.rows: list[Row] = []
        self.actions = acted_of(rows) if actions is None else list(actions)
        self._done = done_by_row(rows, self.actions)
        self.timeline, self._state = Timeline((), None, "cannot tell: nothing was captured yet"), self._tracker.init()
        self._declared: set[Phase] = set()
        for row in rows:
            numbers = {name: math.nan if value is None else value for name, value in row.items() if name != "actions"}
            self._track(numbers)
            self._acting.replay(self.timeline, numbers, self.actions)
            self._declared |= {item.phase for item in self.timeline.transitions}

    def _go_back(self, iteration: int = sys.maxsize) -> None:
        """Have the files forget what came after the state that was gone back to, once the training goes on."""
        lost = None if self.is_looked_at(iteration) else self._back.carry_out(self._record)
        if lost is not None:
            self._has_warned = self.timeline.nonfinite is not None
            self._start(resumed=True)
            warn_each(lost)

    def detect(self) -> Timeline:
        """Return the phases found offline in all rows.

        Raises:
            InputError: if nothing was captured yet.
        """
        if not self.rows:
            raise InputError("phase detection", received="no capture yet", expected="at least one row of history")
        return detect(self.rows)

    def finish(self, iterations: int, seconds: float | None = None) -> Outcome:
        """Write how the training ended into the run folder, where there is one, and announce it.

        Args:
            iterations: how many were done, in all sessions together.
            seconds: training time, likewise; by default that of the last row.
        """
        training = self._listened()
        if self._record.goes_on:
            self._cut(sys.maxsize)
        self._go_back(iterations)
        left = self._back.left if self.is_looked_at(iterations) else None
        rows, actions = left or (self.rows, self.actions)
        if (left or self.stopped_by_policy) and rows:
            iterations = int(rows[-1]["iteration"])
        outcome = outcome_of(rows, iterations, None if left else seconds, actions)
        if left and self._is_over:
            return outcome
        self._record.outcome(summary(training, outcome))
        self._end()
        self._hooks.call("run_finished", training=training, outcome=outcome)
        self._show("finished", outcome)
        return outcome

    def stopped(self, error: BaseException) -> None:
        """Announce that it ended early, and why, which `run.json` keeps; what ended it is the last row if measured."""
        row = error.row if isinstance(error, TrainingError) else None
        if row is not None and (not self.rows or self.rows[-1]["iteration"] < row["iteration"]):
            self._has_warned = True
            self.captured(row)
        self._record.failure(error)
        self._end()
        self._hooks.call("run_stopped", training=self._listened(), error=error)

    def take_back(self, error: BaseException) -> None:
        """Leave no run behind whose start was refused before any row; the training does not go on after this."""
        if not self.rows:
            self._record.take_back(error)

    def close(self) -> None:
        """Close the history files; a later row opens them again."""
        self._record.close()

    def _end(self) -> None:
        """Write what waits, say what cannot be written, and let others write there."""
        self._record.write(everything=True)
        if left := self._record.unwritten():
            self._warned(NOT_WRITTEN.format(left))
        self.close()
        self._record.let_go()
        self._is_over = True

    def _listened(self) -> Training | Monitored:
        assert self._training is not None, "begin() comes first"
        return self._training

    def _start(self, *, resumed: bool) -> None:
        self._is_over = False
        if resumed:
            self._record.goes_on_after_end()
        self._hooks.call("run_started", training=self._listened(), resumed=resumed)
        if isinstance(self._training, Training):
            self._show("started", self._training)

    def _cut(self, iteration: int) -> None:
        """Drop what was recorded from an iteration on."""
        state = self._acting.state()
        for kept in self._record.cut(iteration):
            if not self.rows:
                self._replay(kept)
                if self._restored:
                    self._acting.restore(state)

    def _written(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row as the history has it, with what policies had done."""
        done = self._done.get(int(row["iteration"]))
        return {**row, "actions": done} if done else row

    def _announce(self, acted: Acted) -> None:
        self._hooks.call("policy_acted", training=self._listened(), acted=acted)
        if hasattr(self._display, "acted"):
            self._show("acted", acted)

    def _warned(self, message: str) -> None:
        self._show("warned", message)

    def _show(self, event: str, *arguments: Any) -> None:
        """Call the display; where its stream is full or gone, nothing is shown."""
        with contextlib.suppress(OSError):
            getattr(self._display, event)(*arguments)

    def _track(self, row: Row) -> None:
        self.rows.append(row)
        self.timeline, self._state = self._tracker.update(row, self._state)
