"""The recorder of a training, whoever drives it: files, the phases so far, hooks, and what a person is shown."""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore import plugins, registry
from phasecore.backends import WENT_BACK, Acted, Monitored, Outcome, Training
from phasecore.errors import InputError, PhasecoreError, PluginError, PluginWarning, TrainingError, described
from phasecore.phases import Phase, Timeline, detect, tracker
from phasecore.policies.actions import Action, Stop, SwitchOptimizer
from phasecore.probes.checks import checked_row
from phasecore.recording.acting import Acting
from phasecore.recording.configuration import configuration_of, provenance, summary
from phasecore.recording.display import Display, Silent, level_outside, nonfinite_warning
from phasecore.recording.folder import (
    CONFIGURATION,
    FAILURE,
    OUTCOME,
    check_free,
    create,
    read_configuration,
    save_snapshot,
    snapshot_file,
    write_json,
)
from phasecore.recording.history import HISTORY, History, acted_of, plain, read_rows, recorded_columns
from phasecore.recording.hooks import RunHooks
from phasecore.recording.outcome import outcome_of
from phasecore.recording.own_problem import changed_file, recorded_source, reference_arrays
from phasecore.recording.provided import KEY, check_provided, provided_for

Loggers = str | Sequence[str | object]
Row = dict[str, float]

_NOTHING_YET = Timeline((), None, "cannot tell: nothing was captured yet")
_WRITERS: weakref.WeakValueDictionary[Path, Recorder] = weakref.WeakValueDictionary()
"""Who writes each file."""


@final
class Recorder:
    """Keeps what happens in one training: its rows, the phases so far, files of them if asked for, and tells listeners.

    `begin` comes first, then `captured` and `snapshot`, then `finish` or `stopped`; a training may go on after either.

    Args:
        folder: write a run folder; it is made by `begin`.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        resume: whether folder and file may be there already, to be gone on with; see `begin`.
        loggers: who else writes the training down, beside the plugins that listen to all: "name" or
            "name:key=value,key=value", or objects with run hooks.
        display: shows the training to a person.
        on_capture: called with each row.

    Attributes:
        rows: the rows taken so far, NaN where a value was not finite.
        timeline: the phases so far, found without looking ahead.
        actions: what policies had done so far.
        folder: the run folder, or None.
        begun: whether `begin` was called.

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
        if history_file is not None and Path(history_file).exists() and not resume:
            raise InputError(
                "argument 'history_file'",
                received=f"{history_file}, which exists",
                expected="a file that does not exist yet",
                fix="Name another file, move this one away, or go on with it: resume=True.",
            )
        if self.folder is not None and not resume:
            check_free(self.folder)
        files = [] if history_file is None else [Path(history_file)]
        files += [] if self.folder is None else [self.folder / HISTORY]
        self._histories = {file: History(file) for file in files}
        self._resume = resume
        self._display = Silent() if display is None else display
        self._on_capture = on_capture
        self._loggers = [loggers] if isinstance(loggers, str) else list(loggers)
        listeners = [*plugins.loaded().listeners(), *registry.as_listeners(self._loggers)]
        self._hooks = RunHooks(listeners, self._display.warned)
        self._training: Training | Monitored | None = None
        self._reference: Mapping[str, NDArray[np.float64]] | None = None
        self._acting = Acting({}, None, self._display.warned)
        self._pending: list[Action] = []
        self._unwritten: list[Acted] = []
        self._restored: Mapping[str, Any] = {}
        self._to_cut: list[Path] = []
        self._is_over = self._has_warned = False
        self._tracker = tracker()
        self.replay([])

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

        The rows of a file that is gone on with are taken over up to the present iteration. Later ones were captured
        after the state that the training goes on from, and are dropped.

        Args:
            training: what is known of it.
            versions: of the framework and its companions.
            iteration: optimizer steps done so far; None where the first row tells from where the training goes on.

        Raises:
            InputError: if the folder cannot be made or read, if other packages provide now what its run is made of, or
                if nothing is done yet and there are rows already: they would all be lost.
        """
        if self._training is not None:
            return
        there = [file for file in self._histories if self._resume and file.exists()]
        dropped = {} if iteration is None else {file: self._histories[file].late(iteration) for file in there}
        goes_on = self.folder is not None and self._begin_folder(self.folder, training, versions or {})
        self._training = training
        self._acting = Acting(training.policies, training.settings.iterations, self._display.warned)
        self._acting.restore(self._restored)
        _WRITERS.update({file.resolve(): self for file in self._histories})
        for file, late in dropped.items():
            if late:
                warnings.warn(
                    f"{file}: rows after iteration {iteration} dropped ({late}): the training goes on from there",
                    stacklevel=level_outside(),
                )
        self._to_cut = there
        if iteration is not None:
            self._cut(iteration + 1)
        self._start(resumed=goes_on or bool(there) or bool(iteration))

    def resumed(self, iteration: int) -> None:
        """Hear which iteration was the last one of the saved state that the training goes on from."""
        self._display.resumed(iteration, self.folder)

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""
        self._display.progressed(iteration, loss)

    def captured(self, row: Mapping[str, Any]) -> None:
        """Record a capture: the files first, so that nothing else can lose it.

        Raises:
            PluginError: for a row that is no mapping of name to number with an "iteration", naming the backend.
            InputError: if another recorder writes the same file meanwhile.
        """
        training = self._listened()
        checked = self._checked(training, row)
        if self._to_cut:
            self._cut(int(checked["iteration"]))
        if self._is_over:
            self._start(resumed=True)
        for file in self._histories:
            self._check_alone(file)
        self._track(checked)
        made = self._decide(checked)
        done, self._unwritten = [*self._unwritten, *made], []
        for history in self._histories.values():
            history.append({**checked, "actions": [item.to_json() for item in done]} if done else checked)
        if self._on_capture is not None:
            self._on_capture(checked)
        clean = plain(checked)
        self._hooks.call("captured", training=training, row=MappingProxyType(clean))
        for transition in self.timeline.transitions:
            if transition.phase not in self._declared:
                self._declared.add(transition.phase)
                self._hooks.call("phase_changed", training=training, transition=transition)
        self._display.captured(clean, self.timeline)
        for acted in made:
            self._announce(acted)
        if self.timeline.nonfinite is not None and not self._has_warned:
            self._has_warned = True
            self._display.warned(nonfinite_warning(self.timeline.nonfinite))

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Save fields, residuals and weights by name, where there is a run folder."""
        if self.folder is not None:
            if self._reference is None:
                self._reference = reference_arrays(self._listened().problem, arrays)
            save_snapshot(self.folder, iteration, {**arrays, **self._reference})

    @property
    def stopped_by_policy(self) -> bool:
        """Whether a policy has ended the training."""
        return any(acted.action == Stop.name for acted in self.actions)

    def decided(self) -> list[Action]:
        """Return what policies decided since this was asked last, for whoever trains to carry out."""
        pending, self._pending = self._pending, []
        return pending

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
        """Return whether fields were saved after an iteration, or there is no folder to save them in."""
        return self.folder is None or snapshot_file(self.folder, iteration).exists()

    def replay(self, rows: Sequence[Mapping[str, Any]], actions: Sequence[Acted] | None = None) -> None:
        """Start again from rows that were taken before, and from what policies had done; by default the rows tell."""
        self._acting.restart()
        self.rows: list[Row] = []
        self.actions = acted_of(rows) if actions is None else list(actions)
        self.timeline, self._state = _NOTHING_YET, self._tracker.init()
        self._declared: set[Phase] = set()
        for row in rows:
            numbers = {name: math.nan if value is None else value for name, value in row.items() if name != "actions"}
            self._track(numbers)
            self._acting.replay(self.timeline, numbers, self.actions)
            self._declared |= {item.phase for item in self.timeline.transitions}

    def detect(self) -> Timeline:
        """Return the phases found offline in all rows.

        Raises:
            InputError: if nothing was captured yet.
        """
        if not self.rows:
            raise InputError("phase detection", received="no capture yet", expected="at least one row of history")
        return detect(recorded_columns(self.rows))

    def finish(self, iterations: int, seconds: float | None = None) -> Outcome:
        """Write how the training ended into the run folder, where there is one, and announce it.

        Args:
            iterations: how many were done, in all sessions together.
            seconds: training time, likewise; by default that of the last row.
        """
        training = self._listened()
        if self._to_cut and self.folder is not None:
            self.replay(read_rows(self.folder / HISTORY))
        if self.stopped_by_policy and self.rows:
            iterations = int(self.rows[-1]["iteration"])
        outcome = outcome_of(self.rows, iterations, seconds, self.actions)
        if self.folder is not None:
            write_json(self.folder / OUTCOME, summary(training, outcome))
        self.close()
        self._is_over = True
        self._hooks.call("run_finished", training=training, outcome=outcome)
        self._display.finished(outcome)
        return outcome

    def stopped(self, error: BaseException) -> None:
        """Announce that the training ended early, and why, which `run.json` keeps until it goes on.

        Where what ended it was measured, that is the last row.
        """
        row = error.row if isinstance(error, TrainingError) else None
        if row is not None and (not self.rows or self.rows[-1]["iteration"] < row["iteration"]):
            self._has_warned = True
            self.captured(row)
        self.close()
        self._is_over = True
        if self.folder is not None and isinstance(error, Exception):
            reason = str(error) if isinstance(error, PhasecoreError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError, InputError):  # what ended the training is what the caller is to hear of
                write_json(self.folder / CONFIGURATION, {**read_configuration(self.folder), FAILURE: reason})
        self._hooks.call("run_stopped", training=self._listened(), error=error)

    def close(self) -> None:
        """Close the history files; a later row opens them again."""
        for history in self._histories.values():
            history.close()

    def _listened(self) -> Training | Monitored:
        assert self._training is not None, "begin() comes first"
        return self._training

    def _start(self, *, resumed: bool) -> None:
        self._is_over = False
        training = self._listened()
        self._hooks.call("run_started", training=training, resumed=resumed)
        if isinstance(training, Training):
            self._display.started(training)

    def _begin_folder(self, folder: Path, training: Training | Monitored, versions: Mapping[str, str]) -> bool:
        """Make the folder, or note in `run.json` that its run goes on, and return whether it does."""
        names = [name for name in self._loggers if isinstance(name, str)]
        provided = provided_for(training, names)
        if not (self._resume and (folder / CONFIGURATION).exists()):
            configuration = {**configuration_of(training), "loggers": names, KEY: provided}
            create(folder, {**configuration, **recorded_source(training), **provenance(versions)})
            return False
        recorded = read_configuration(folder)
        recorded.pop(FAILURE, None)
        changes = check_provided(folder, recorded, provided)
        for change in [*changes, *changed_file(folder, recorded, training.problem)]:
            if isinstance(self._display, Silent):
                warnings.warn(change, PluginWarning, stacklevel=level_outside())
            else:
                self._display.warned(change)
        sessions = [*recorded.get("resumed", []), {**provenance(versions), KEY: provided}]
        now = {"settings": configuration_of(training)["settings"], "loggers": names, "resumed": sessions}
        write_json(folder / CONFIGURATION, {**recorded, **now})
        (folder / OUTCOME).unlink(missing_ok=True)
        return True

    def _cut(self, iteration: int) -> None:
        """Drop what was recorded from an iteration on."""
        state = self._acting.state()
        for file in self._to_cut:
            kept = self._histories[file].cut(iteration)
            if not self.rows:
                self.replay(kept)
                if self._restored:
                    self._acting.restore(state)
        self._to_cut = []

    def _check_alone(self, file: Path) -> None:
        if _WRITERS.get(file.resolve()) is not self:
            raise InputError(
                f"{file}",
                received="rows of two trainings",
                expected="one that writes it",
                fix="Give each a run_folder or history_file of its own; the one that began last may go on.",
            )

    def _checked(self, training: Training | Monitored, row: Mapping[str, Any]) -> dict[str, Any]:
        backend = f"backend {training.backend!r}, row of the history"
        numbers = checked_row(backend, row)
        if not numbers.get("iteration", math.nan).is_integer():
            raise PluginError(backend, received=described(row), expected='a mapping with a whole "iteration"')
        return {**numbers, "iteration": int(numbers["iteration"])}

    def _decide(self, row: Row) -> list[Acted]:
        """Ask the policies, and return what they have done."""
        decisions = self._acting.decide(self.timeline, row)
        made = [
            Acted(int(row["iteration"]), policy, action.name, action.to, action.reason or self.timeline.reason)
            for policy, action in decisions
        ]
        self._pending += [decision.action for decision in decisions]
        self.actions += made
        return made

    def _announce(self, acted: Acted) -> None:
        self._hooks.call("policy_acted", training=self._listened(), acted=acted)
        if hasattr(self._display, "acted"):
            self._display.acted(acted)

    def _track(self, row: Row) -> None:
        self.rows.append(row)
        self.timeline, self._state = self._tracker.update(row, self._state)
