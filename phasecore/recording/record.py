"""The files of one training: taken by one process, written whole, and written later where that is not possible now."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Monitored, Training
from phasecore.errors import InputError, PhasecoreError
from phasecore.files import clear_parts
from phasecore.recording.folder import (
    CHECKPOINT,
    CONFIGURATION,
    FAILURE,
    OUTCOME,
    SNAPSHOTS,
    check_free,
    create,
    later_snapshots,
    read_json,
    save_snapshot,
    snapshot_file,
    without_end,
    write_json,
)
from phasecore.recording.history import HISTORY, History, Row, plain
from phasecore.recording.locks import Lock
from phasecore.recording.schedule import Schedule
from phasecore.recording.start import Start, is_refusal
from phasecore.recording.trouble import Trouble, reason, remedy
from phasecore.recording.wording import DROPPED, LACKING

MOST_WAITING = 2**28
"""Bytes of snapshots that wait in memory while they cannot be written; the oldest ones go first."""

SECONDS_BETWEEN_TRIES = 10.0
"""Between attempts to write snapshots that wait; rows are tried with each capture."""

_WRITERS: weakref.WeakValueDictionary[Path, Record] = weakref.WeakValueDictionary()
"""Who writes each file, in this process."""


@final
class Record:
    """The run folder and the history file of one training.

    At the beginning whatever cannot be written is refused. From then on nothing raises for the sake of a disk: it is
    said once per cause, rows and snapshots wait in memory, and are written when that is possible again.

    Args:
        folder: the run folder, or None; also an attribute.
        history_file: another file for the rows, or None.
        resume: whether they may be there already, to be gone on with.
        rows: returns all rows as the files are to have them, for a file that vanishes.
        warn: takes a sentence for each cause.

    Raises:
        InputError: if the file or a run in the folder exists, and `resume` does not allow it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> record = Record(folder, None, resume=False, rows=list, warn=print)
        >>> record.take()
        >>> record.create({"problem": "helmholtz"})
        >>> record.append({"iteration": 10, "snr": 2.0})
        >>> record.let_go()
        >>> (folder / "history.jsonl").read_text().strip()
        '{"iteration": 10, "snr": 2.0}'
    """

    def __init__(
        self,
        folder: Path | None,
        history_file: Path | None,
        *,
        resume: bool,
        rows: Callable[[], Iterable[Mapping[str, Any]]],
        warn: Callable[[str], None],
    ) -> None:
        if history_file is not None and os.path.exists(history_file) and not resume:
            raise InputError(
                "argument 'history_file'",
                received=f"{history_file}, which exists",
                expected="a file that does not exist yet",
                fix="Name another file, move this one away, or go on with it: resume=True.",
            )
        if folder is not None and not resume:
            check_free(folder)
        self.folder = folder
        self._resume = resume
        files = [] if history_file is None else [history_file]
        files += [] if folder is None else [folder / HISTORY]
        self._histories = {file: History(file, rows) for file in files}
        self._locks = {file: Lock(file) for file in files}
        self._configuration: Mapping[str, Any] | None = None
        self._waiting: dict[Path, tuple[Callable[[], None], int]] = {}
        self._tried = -math.inf
        self._trouble = Trouble(warn)
        self._there: list[Path] = []
        self._start: Start | None = None

    @property
    def goes_on(self) -> bool:
        """Whether rows were there, which are still to be cut to those that stay."""
        return bool(self._there)

    @property
    def has_run(self) -> bool:
        """Whether the folder holds a run that is to be gone on with."""
        return self._resume and self.folder is not None and (self.folder / CONFIGURATION).exists()

    def take(self) -> None:
        """Become the one that writes, and read what is there.

        Raises:
            InputError: if another process writes there, nothing can be written there, or what is there cannot be read.
        """
        if self.folder is not None and not self._resume:
            check_free(self.folder)
        start = None if self.folder is None or self.has_run else Start(self.folder)
        for file, lock in self._locks.items():
            if self.folder is not None and file.parent == self.folder:
                with refused(self.folder, verb="make the run folder"):
                    self.folder.mkdir(parents=True, exist_ok=True)
            with refused(file):
                try:
                    lock.take()
                except BlockingIOError as error:
                    raise InputError(
                        f"{file}",
                        received=f"a file of a training that goes on: {error.strerror}",
                        expected="one process that writes it",
                        fix="End that one first, or choose another folder or file.",
                    ) from None
        self._start = start
        self._clear()
        self._there = [file for file in self._histories if self._resume and file.exists()]
        for file in self._there:
            self._histories[file].read()

    def _clear(self) -> None:
        for file in self._histories:
            clear_parts(file.parent, file.name)
        if self.has_run and self.folder is not None:
            for place in (self.folder, self.folder / CHECKPOINT, self.folder / SNAPSHOTS):
                clear_parts(place)

    def let_go(self) -> None:
        """Let other processes write there."""
        for lock in self._locks.values():
            lock.release()

    def late(self, iteration: int, *, restored: bool) -> list[str]:
        """Return, in words, which rows would be dropped by going on from an iteration.

        Raises:
            InputError: if that would be all of a file's, and no state was restored.
        """
        counts = {file: self._histories[file].late(iteration, restored=restored) for file in self._there}
        return [DROPPED.format(file=file, iteration=iteration, count=n) for file, n in counts.items() if n]

    def lacking(self, training: Training | Monitored, iteration: int) -> Iterator[str]:
        """Yield, in words, which rows the files lack of a training that was captured up to an iteration."""
        due = Schedule(training.settings.every, training.probes).until(iteration) if self._there else []
        for file in self._there:
            if lost := self._histories[file].lacks(due):
                yield LACKING.format(file=file, count=len(lost), first=lost[0], last=lost[-1])

    def begin(self) -> None:
        """Become the one in this process that writes."""
        _WRITERS.update({file.resolve(): self for file in self._histories})

    def create(self, configuration: Mapping[str, Any]) -> None:
        """Make the run folder.

        Raises:
            InputError: if it holds a run already, or cannot be made.
        """
        assert self.folder is not None
        create(self.folder, configuration)
        self._configuration = configuration

    def go_on(self, configuration: Mapping[str, Any]) -> None:
        """Note in `run.json` that the run goes on.

        Raises:
            InputError: if it cannot be written.
        """
        assert self.folder is not None
        with refused(self.folder / CONFIGURATION):
            write_json(self.folder / CONFIGURATION, configuration)
            (self.folder / OUTCOME).unlink(missing_ok=True)
        self._configuration = configuration

    def cut(self, iteration: int) -> list[list[Row]]:
        """Drop what was recorded from an iteration on, and return what stays of each file."""
        kept = [self._histories[file].keep_before(iteration) for file in self._there]
        self._there = []
        return kept

    def go_back(self, iteration: int, count: int) -> list[str]:
        """Have the next row replace the files by the rows of now, drop later snapshots, and return the words for it."""
        for history in self._histories.values():
            history.go_back()
        for file in [] if self.folder is None else later_snapshots(self.folder, iteration, self._waiting):
            self._waiting.pop(file, None)
            self._attempt(file, functools.partial(self._held, functools.partial(file.unlink, missing_ok=True)))
        return [DROPPED.format(file=file, iteration=iteration, count=count) for file in self._histories if count]

    def goes_on_after_end(self) -> None:
        """Take back how the training ended: it goes on."""
        if self.folder is not None:
            file, take_back = self.folder / OUTCOME, functools.partial(self._held, self._take_back_end)
            self._wait(file, take_back)
            if self._attempt(file, take_back):
                del self._waiting[file]

    def check_alone(self) -> None:
        """Refuse to write what another training in this process has begun to write.

        Raises:
            InputError: naming the file.
        """
        for file in self._histories:
            if _WRITERS.get(file.resolve()) is not self:
                raise InputError(
                    f"{file}",
                    received="rows of two trainings",
                    expected="one that writes it",
                    fix="Give each a run_folder or history_file of its own; the one that began last may go on.",
                )

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep a row."""
        for history in self._histories.values():
            history.add(row)
        self.write()

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep fields, residuals and weights by name."""
        assert self.folder is not None
        file = snapshot_file(self.folder, iteration)
        if not self._attempt(file, functools.partial(self._save, iteration, arrays)):
            kept = {name: np.array(values) for name, values in arrays.items()}
            size = sum(values.nbytes for values in kept.values())
            self._wait(file, functools.partial(self._save, iteration, kept), size)

    def has_snapshot(self, iteration: int) -> bool:
        """Return whether fields were saved after an iteration, or there is no folder to save them in."""
        if self.folder is None:
            return True
        file = snapshot_file(self.folder, iteration)
        return file in self._waiting or os.path.exists(file)

    def outcome(self, document: Mapping[str, Any]) -> None:
        """Keep how the training ended."""
        if self.folder is not None:
            file = self.folder / OUTCOME
            self._wait(file, lambda: self._held(lambda: write_json(file, document)))

    def take_back(self, error: BaseException) -> None:
        """Leave no run behind whose start an error refused; one that was gone on with stays as it is."""
        if self._start is not None and is_refusal(error):
            self._start.take_back()

    def failure(self, error: BaseException) -> None:
        """Note in `run.json` why the training could not go on; as well as that is possible."""
        reason = str(error) if isinstance(error, PhasecoreError) else f"{type(error).__name__}: {error}"
        if isinstance(error, Exception) and self.folder is not None and self._configuration is not None:
            self._configuration = {**self._configuration, FAILURE: reason}
            with contextlib.suppress(OSError):
                write_json(self.folder / CONFIGURATION, self._configuration)

    def _take_back_end(self) -> None:
        if self.folder is not None and self._configuration is not None:
            self._configuration = without_end(self.folder, self._configuration)

    def write(self, *, everything: bool = False) -> None:
        """Write what waits, as far as that is possible now.

        Args:
            everything: snapshots too, however short a time ago that was tried.
        """
        written = [self._attempt(file, functools.partial(self._write_rows, file)) for file in self._histories]
        if self._waiting and all(written) and (everything or time.monotonic() > self._tried + SECONDS_BETWEEN_TRIES):
            self._tried = time.monotonic()
            for file, (write, _) in list(self._waiting.items()):
                if self._attempt(file, write):
                    del self._waiting[file]

    def is_behind(self) -> bool:
        """Return whether rows wait, which are tried once more."""
        if any(history.waiting for history in self._histories.values()):
            self.write()
        return any(history.waiting for history in self._histories.values())

    def unwritten(self) -> str:
        """Return what could not be written, in words; empty where all was."""
        parts = [f"{history.waiting} rows of {file}" for file, history in self._histories.items() if history.waiting]
        return ", ".join([*parts, *map(str, self._waiting)])

    def could_not_write(self, file: Path, error: OSError) -> None:
        """Hear that a file of somebody else's, such as a checkpoint, could not be written."""
        self._trouble.met(file, error)

    def close(self) -> None:
        """Close the history files; a later row opens them again."""
        for history in self._histories.values():
            history.close()

    def _wait(self, file: Path, write: Callable[[], None], size: int = 0) -> None:
        self._waiting[file] = (write, size)
        while sum(own for _, own in self._waiting.values()) > MOST_WAITING:
            del self._waiting[next(other for other, (_, own) in self._waiting.items() if own)]

    def _save(self, iteration: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        assert self.folder is not None
        self._held(functools.partial(save_snapshot, self.folder, iteration, arrays))

    def _write_rows(self, file: Path) -> None:
        self._hold(file)
        if self._histories[file].write():
            self._trouble.vanished(file)

    def _held(self, write: Callable[[], None]) -> None:
        assert self.folder is not None
        self._hold(self.folder / HISTORY)
        write()

    def _attempt(self, file: Path, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self._trouble.met(file, error)
            return False
        return True

    def _hold(self, file: Path) -> None:
        """Make sure that the place is there, and this process's, also where it was removed meanwhile."""
        lock = self._locks[file]
        folder = self.folder if self.folder is not None and file.parent == self.folder else None
        if lock.is_held() and (folder is None or os.path.exists(folder / CONFIGURATION)):
            return
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if not lock.is_held():
            lock.take()
        if folder is not None and self._configuration is not None:
            self._make_again(folder, self._configuration)

    def _make_again(self, folder: Path, configuration: Mapping[str, Any]) -> None:
        file = folder / CONFIGURATION
        if not os.path.exists(file):
            self._trouble.vanished(folder)
            for name in (CHECKPOINT, SNAPSHOTS):
                (folder / name).mkdir(exist_ok=True)
            write_json(file, configuration)
            return
        with contextlib.suppress(InputError):
            if read_json(file) == plain(configuration):
                return
        raise FileExistsError(errno.EEXIST, "another run was begun there")


@contextlib.contextmanager
def refused(file: Path, what: str = "", verb: str = "write") -> Iterator[None]:
    """Refuse, before anything is trained, what cannot be written.

    Args:
        file: that is to be written.
        what: to call it.
        verb: what cannot be done.

    Raises:
        InputError: naming the file, the reason and what to do.

    Example:
        >>> try:
        ...     with refused(Path("runs/mine/run.json")):
        ...         raise OSError(errno.EROFS, "Read-only file system")
        ... except InputError as error:
        ...     print(error)
        cannot write runs/mine/run.json: received Read-only file system. Make it writable again.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot {verb} {what or file}", received=reason(error), fix=remedy(error)) from None
