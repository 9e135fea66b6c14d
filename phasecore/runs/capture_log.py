"""What a monitor keeps of its captures: the history, the phases so far, and files of them if asked for."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.phases import Timeline, detect, tracker
from phasecore.runs.folder import CONFIGURATION
from phasecore.runs.history import HISTORY, History, read_rows, recorded_columns
from phasecore.runs.monitored import MonitoredFolder
from phasecore.runs.wording import nonfinite_warning

Row = dict[str, float]

PACKAGES = frozenset({"phasecore", "phasecore_torch", "phasecore_keras"})
_NOTHING_YET = Timeline((), None, "cannot tell: nothing was captured yet")


@final
class CaptureLog:
    """Takes rows one by one, and tracks the phases without looking ahead.

    Args:
        history_file: also append each row to this file, as `phasecore detect` reads it.
        on_capture: called with each row.
        run_folder: also write a whole run folder; it is made by `begin`.
        resume: whether file and folder may be there already, to be gone on with; see `begin`.

    Attributes:
        rows: the rows taken so far.
        timeline: the phases so far.
        folder: the run folder, or None.
        begun: whether `begin` was called.

    Raises:
        InputError: if the file or a run in the folder exists, and `resume` does not allow it.

    Example:
        >>> log = CaptureLog()
        >>> log.take({"iteration": 10, "snr": 2.0})
        >>> len(log.rows), log.timeline.transitions
        (1, ())
    """

    def __init__(
        self,
        history_file: str | Path | None = None,
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
        *,
        run_folder: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        self._files: list[Path] = []
        if history_file is not None:
            self._files.append(Path(history_file))
            if Path(history_file).exists() and not resume:
                raise InputError(
                    "argument 'history_file'",
                    received=f"{history_file}, which exists",
                    expected="a file that does not exist yet",
                    fix="Name another file, move this one away, or go on with it: resume=True.",
                )
        self.folder = None if run_folder is None else MonitoredFolder(Path(run_folder), resume=resume)
        if self.folder is not None:
            self._files.append(self.folder.folder / HISTORY)
        self._histories = [History(file) for file in self._files]
        self._resume = resume
        self.begun = False
        self._warned = False
        self._on_capture = on_capture
        self._tracker = tracker()
        self.replay([])

    def begin(self, iteration: int, configuration: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Hear that the training begins or goes on, before the first row; a second call does nothing.

        The rows of a file that is gone on with are taken over up to this iteration. Later ones were captured after the
        state that the training goes on from, and are dropped, with a warning.

        Args:
            iteration: optimizer steps done so far.
            configuration: of the run folder, see `phasecore.runs.monitored.monitored_configuration`.
            versions: of the framework and its companions, likewise.

        Raises:
            InputError: if nothing is done yet and there are rows already: they would all be lost.
        """
        if self.begun:
            return
        found = {file: read_rows(file) for file in self._files if self._resume and file.exists()}
        for file, rows in found.items():
            late = [row["iteration"] for row in rows if row["iteration"] > iteration]
            if late and iteration == 0:
                raise InputError(
                    f"resuming the history {file}",
                    received=f"a training that begins at iteration 0, and {len(rows)} rows to iteration {late[-1]}",
                    expected="a training whose state was restored",
                    fix="Restore its state (in Keras with BackupAndRestore), or name another file.",
                )
            if late:
                warnings.warn(
                    f"{file}: rows after iteration {iteration} dropped ({len(late)}): the training goes on from there",
                    stacklevel=2,
                )
        if self.folder is not None:
            self.folder.begin(configuration, versions)
        for history, file in zip(self._histories, self._files, strict=True):
            if file in found:
                kept = history.cut(iteration + 1)
                if not self.rows:
                    self.replay([_numbers(row) for row in kept])
        self.begun = True

    def take(self, row: Row) -> None:
        """Keep a row; warn at the first of which it is known that the training has gone to NaN."""
        self._track(row)
        for history in self._histories:
            history.append(row)
        if self._on_capture is not None:
            self._on_capture(row)
        if self.timeline.nonfinite is not None and not self._warned:
            self._warned = True
            warnings.warn(nonfinite_warning(self.timeline.nonfinite), RuntimeWarning, stacklevel=_level_outside())

    def replay(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Start again from rows that were taken, and written, before."""
        self.rows: list[Row] = []
        self.timeline, self._state = _NOTHING_YET, self._tracker.init()
        for row in rows:
            self._track(dict(row))

    def detect(self) -> Timeline:
        """Return the phases found offline in all rows.

        Raises:
            InputError: if nothing was captured yet.
        """
        if not self.rows:
            raise InputError("phase detection", received="no capture yet", expected="at least one row of history")
        return detect(recorded_columns(self.rows))

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Save fields, residuals and weights by name in the run folder, where there is one."""
        if self.folder is not None:
            self.folder.snapshot(iteration, arrays)

    def finish(self, iterations: int, seconds: float) -> None:
        """Write how the training ended into the run folder, where there is one; it may go on nevertheless."""
        if self.folder is None or not (self.folder.folder / CONFIGURATION).exists():
            return
        timeline = self.detect() if self.rows else _NOTHING_YET
        error = self.rows[-1].get("relative_l2_error", math.nan) if self.rows else math.nan
        self.folder.finish(
            {
                "iterations": iterations,
                "seconds": seconds,
                "relative_l2_error": error,
                "phases": timeline.to_json(),
            }
        )

    def close(self) -> None:
        """Close the history files; a later row opens them again."""
        for history in self._histories:
            history.close()

    def _track(self, row: Row) -> None:
        self.rows.append(row)
        self.timeline, self._state = self._tracker.update(row, self._state)


def _level_outside() -> int:
    """Return how far up the first caller outside phasecore and its adapters is, for a warning of this one's caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in PACKAGES:
        level, frame = level + 1, frame.f_back
    return level


def _numbers(row: Mapping[str, Any]) -> Row:
    return {name: math.nan if value is None else value for name, value in row.items()}
