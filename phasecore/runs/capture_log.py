"""What a monitor keeps of its captures: the history, the phases so far, and a history file if asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import final

from phasecore.errors import InputError
from phasecore.phases import Timeline, detect, tracker
from phasecore.runs.history import History

Row = dict[str, float]

_NOTHING_YET = Timeline((), None, "cannot tell: nothing was captured yet")


@final
class CaptureLog:
    """Takes rows one by one, and tracks the phases without looking ahead.

    Args:
        history_file: also append each row to this file, as `phasecore detect` reads it.
        on_capture: called with each row.

    Attributes:
        rows: the rows taken so far.
        timeline: the phases so far.

    Raises:
        InputError: if the file exists.

    Example:
        >>> log = CaptureLog()
        >>> log.take({"iteration": 10, "snr": 2.0})
        >>> len(log.rows), log.timeline.transitions
        (1, ())
    """

    def __init__(
        self, history_file: str | Path | None = None, on_capture: Callable[[Mapping[str, float]], None] | None = None
    ) -> None:
        self._file = None if history_file is None else _new_history(Path(history_file))
        self._on_capture = on_capture
        self._tracker = tracker()
        self.replay([])

    def take(self, row: Row) -> None:
        """Keep a row."""
        self._track(row)
        if self._file is not None:
            self._file.append(row)
        if self._on_capture is not None:
            self._on_capture(row)

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
        names = dict.fromkeys(name for row in self.rows for name in row)
        return detect({name: [row.get(name, float("nan")) for row in self.rows] for name in names})

    def close(self) -> None:
        """Close the history file; a later row opens it again."""
        if self._file is not None:
            self._file.close()

    def _track(self, row: Row) -> None:
        self.rows.append(row)
        self.timeline, self._state = self._tracker.update(row, self._state)


def _new_history(file: Path) -> History:
    if file.exists():
        raise InputError(
            "argument 'history_file'",
            received=f"{file}, which exists",
            expected="a file that does not exist yet",
            fix="Name another file, or move this one away.",
        )
    return History(file)
