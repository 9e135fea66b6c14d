"""A CSV file: one line per capture, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final
from weakref import WeakValueDictionary

from phasecore.backends import Monitored, Training
from phasecore.errors import InputError
from phasecore.files import Growing
from phasecore.hookspecs import hookimpl
from phasecore.loggers.content import folder_of, name_of
from phasecore.recording.display import level_outside
from phasecore.recording.history import HISTORY, numbers_of, read_rows, replace_file
from phasecore.recording.trouble import Trouble

_WRITERS: WeakValueDictionary[Path, CSVLogger] = WeakValueDictionary()
"""Who writes a file at present, in this process."""


@final
class CSVLogger:
    """Writes each capture as a line of a CSV file, handed to the operating system at once.

    What was measured and is no number is written as "nan"; what was not measured is an empty cell. A column that
    appears later than the first line is added to the whole file. Going on with a run, the lines from the resumed
    iteration on are replaced. A file that vanishes, or is not there yet where a run goes on, begins with the captures
    that the run folder has. `phasecore detect` reads the file.

    Args:
        path: the file; it must not exist unless a run goes on. By default `history.csv` in the run folder, and
            without one, a file in the working folder with the name of the training.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._columns: list[str] = []
        self._file: Growing | None = None
        self._training: Training | Monitored | None = None
        self._kept: list[dict[str, str]] = []
        self._waiting: list[dict[str, str]] = []
        self._trouble = Trouble(_warn)
        self.only_for_one = self._path
        """The file that one training alone can write; None if each training gets its own."""

    @hookimpl
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Make sure of the file."""
        default = "history.csv" if training.folder is not None else f"{name_of(training)}.csv"
        self._path = self._path or folder_of(training) / default
        self._training = training
        self._claim(self._path.resolve())
        if resumed:
            # the next line says which of those that are there stay
            self._kept = [*(self._read() if self._path.exists() else self._recorded()), *self._waiting]
            self._waiting = []
            self._let_go()
        elif self._path.exists():
            raise InputError(
                "option 'path'", received=f"{self._path}, which exists", expected="a file that does not exist yet"
            )

    @hookimpl
    def phasecore_captured(self, row: Mapping[str, Any]) -> None:
        """Write a line; one that cannot be written waits for the next."""
        self._waiting.append(_line(row))
        self._write_if_possible()

    @hookimpl
    def phasecore_run_finished(self) -> None:
        """Close the file."""
        self._close()

    @hookimpl
    def phasecore_run_stopped(self) -> None:
        """Close the file."""
        self._close()

    def _write_if_possible(self) -> None:
        assert self._path is not None
        try:
            self._write(self._path)
        except OSError as error:
            self._trouble.met(self._path, error)

    def _write(self, path: Path) -> None:
        new = [name for line in self._waiting for name in line if name not in self._columns]
        if new or self._file is None or self._file.is_gone():
            self._rewrite(path, new, before=int(self._waiting[0]["iteration"]))
        else:
            self._file.add(_text(self._waiting, self._columns))
        self._waiting = []

    def _rewrite(self, path: Path, new: list[str], before: int) -> None:
        """Write the lines so far again, under a header with new columns."""
        if self._file is not None:
            is_whole = path.exists() and not (self._file.is_gone() and self._history() is not None)
            self._kept = self._read() if is_whole else self._recorded()
            self._file.close()
        columns = list(dict.fromkeys([*self._columns, *(name for line in self._kept for name in line), *new]))
        kept = [line for line in self._kept if _is_before(line, before)]
        path.parent.mkdir(parents=True, exist_ok=True)
        header = dict(zip(columns, columns, strict=True))
        replace_file(path, _text([header, *kept, *self._waiting], columns))
        self._columns, self._kept = columns, []
        self._file = Growing(path)
        self._file.take_as_it_is()

    def _read(self) -> list[dict[str, str]]:
        assert self._path is not None
        with self._path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if "iteration" not in (reader.fieldnames or ()):
                raise InputError(
                    "option 'path'", received=f"{self._path}, no history", expected="a file with a column 'iteration'"
                )
            return list(reader)

    def _recorded(self) -> list[dict[str, str]]:
        """Return the lines of what was captured so far, from the run folder."""
        history = self._history()
        if history is not None:
            return [_line({name: row[name] for name in row if name != "actions"}) for row in read_rows(history)]
        _warn(f"{self._path}: the lines begin where the training goes on, as nothing is known of its earlier captures")
        return []

    def _history(self) -> Path | None:
        folder = None if self._training is None else self._training.folder
        return None if folder is None or not (folder / HISTORY).exists() else folder / HISTORY

    def _claim(self, file: Path) -> None:
        if _WRITERS.get(file, self) is not self:
            raise InputError(
                "option 'path'", received=f"{file}, which another logger writes", expected="a file for each"
            )
        _WRITERS[file] = self

    def _close(self) -> None:
        for file in [file for file, logger in _WRITERS.items() if logger is self]:
            del _WRITERS[file]
        if self._waiting:
            self._write_if_possible()
        if self._file is not None:
            self._file.close()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._columns = None, []


def _line(row: Mapping[str, Any]) -> dict[str, str]:
    lost = {name: "nan" for name, value in row.items() if value is None}
    numbers = {name: repr(value) for name, value in numbers_of(row).items()}
    return {"iteration": str(row["iteration"]), **lost, **numbers}


def _text(lines: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(lines)
    return text.getvalue()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=level_outside())


def _is_before(line: Mapping[str, str | None], iteration: int) -> bool:
    """Say whether a line is a whole one of an earlier iteration; a killed process may leave half a line."""
    try:
        return int(line["iteration"] or "") < iteration and None not in line.values()
    except (KeyError, ValueError):
        return False
