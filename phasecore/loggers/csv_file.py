"""A CSV file: one line per capture, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, final

from phasecore.backends import Monitored, Training
from phasecore.errors import InputError
from phasecore.hookspecs import hookimpl
from phasecore.loggers.content import folder_of, name_of
from phasecore.recording.history import numbers_of, replace_file


@final
class CSVLogger:
    """Writes each capture as a line of a CSV file, handed to the operating system at once.

    What was measured and is no number is written as "nan"; what was not measured is an empty cell. A column that
    appears later than the first line is added to the whole file. Going on with a run, the lines from the
    resumed iteration on are replaced. `phasecore detect` reads the file.

    Args:
        path: the file; it must not exist unless a run goes on. By default `history.csv` in the run folder, and
            without one, a file in the working folder with the name of the training.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._columns: list[str] = []
        self._stream: TextIO | None = None
        self._kept: list[dict[str, str]] = []

    @hookimpl
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Make sure of the file."""
        default = "history.csv" if training.folder is not None else f"{name_of(training)}.csv"
        self._path = self._path or folder_of(training) / default
        if resumed and self._path.exists():
            with self._path.open(encoding="utf-8", newline="") as stream:
                self._kept = list(csv.DictReader(stream))
        elif self._path.exists():
            raise InputError(
                "option 'path'", received=f"{self._path}, which exists", expected="a file that does not exist yet"
            )

    @hookimpl
    def phasecore_captured(self, row: Mapping[str, Any]) -> None:
        """Write a line."""
        lost = {name: "nan" for name, value in row.items() if value is None}
        line = {"iteration": str(row["iteration"]), **lost, **{k: repr(value) for k, value in numbers_of(row).items()}}
        new = [name for name in line if name not in self._columns]
        if new or self._stream is None:
            self._rewrite(new, before=int(row["iteration"]))
        assert self._stream is not None
        csv.DictWriter(self._stream, self._columns).writerow(line)
        self._stream.flush()

    @hookimpl
    def phasecore_run_finished(self) -> None:
        """Close the file."""
        self._close()

    @hookimpl
    def phasecore_run_stopped(self) -> None:
        """Close the file."""
        self._close()

    def _rewrite(self, new: list[str], before: int) -> None:
        """Write the lines so far again, under a header with new columns."""
        assert self._path is not None
        if self._stream is not None:
            self._close()
            with self._path.open(encoding="utf-8", newline="") as stream:
                self._kept = list(csv.DictReader(stream))
        self._columns = list(dict.fromkeys([*self._columns, *(name for line in self._kept for name in line), *new]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(line for line in self._kept if _is_before(line, before))
        self._kept = []
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, text.getvalue())
        self._stream = self._path.open("a", encoding="utf-8", newline="")

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _is_before(line: Mapping[str, str | None], iteration: int) -> bool:
    """Say whether a line is a whole one of an earlier iteration; a killed process may leave half a line."""
    try:
        return int(line["iteration"] or "") < iteration and None not in line.values()
    except (KeyError, ValueError):
        return False
