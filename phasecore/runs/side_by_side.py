"""Trainings side by side, each in a process of its own: joblib starts them, files tell how they stand.

A training writes where it stands into a small file of a folder that lives as long as all of them, beside the run
folders, so that processes on other machines can share it. A file named `stop` there ends them after their iteration.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
import pickle
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from phasecore.backends import Acted, Outcome, Training
from phasecore.errors import InputError, MissingDependencyError
from phasecore.phases import Timeline
from phasecore.recording.display import Display
from phasecore.recording.record import refused
from phasecore.runs.attempts import Displays, Ended, Failure, Loggers, attempt
from phasecore.runs.interruption import Interruption, interrupt, noticed_between_iterations

STARTED_BY = os.getppid()
"""The process that started this one, as long as it lives."""
STOP = "stop"
PREFIX = ".side-by-side-"
SECONDS_BETWEEN_LOOKS = 0.2
STOPPING = "Interrupted: each network finishes its iteration and saves its state. Ctrl-C again stops at once."
KILLED = "A process that trained was killed, perhaps for want of memory: {} goes on alone."
KILLED_TWICE = "its process was killed twice, perhaps for want of memory"


def check_joblib() -> None:
    """Refuse to train side by side without joblib.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    if importlib.util.find_spec("joblib") is None:
        raise MissingDependencyError(
            "training side by side needs joblib, not installed",
            fix="Install with: pip install joblib, or train one network after the other: --jobs 1, jobs=1.",
        )


def execute_side_by_side(
    trainings: Sequence[Training], jobs: int, displays: Displays, loggers: Loggers | None
) -> list[Ended]:
    """Train several networks at the same time, see `execute_all`.

    Args:
        trainings: begun in this order.
        jobs: how many at the same time, at least 2.
        displays: shows them.
        loggers: as for `execute`.
    """
    import joblib
    from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    threads = max(1, joblib.cpu_count() // jobs)
    here = os.getpid(), os.getcwd()
    results: dict[int, Ended | None] = {}
    with (
        _fresh_processes(),
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=_beside(trainings), ignore_cleanup_errors=True) as made,
        noticed_between_iterations() as interruption,
        _Watch(Path(made), trainings, displays, interruption) as watch,
    ):

        def train(places: Sequence[int]) -> None:
            tasks = [
                joblib.delayed(_train)(place, _anywhere(trainings[place]), loggers, threads, made, here)
                for place in places
            ]
            parallel = joblib.Parallel(jobs, return_as="generator_unordered", batch_size=1, max_nbytes=None)
            for place, ended in parallel(tasks):
                results[place] = ended
                watch.ended(place, ended)

        def train_alone(place: int) -> None:
            displays.said(KILLED.format(watch.name(place)))
            try:
                train([place])
            except TerminatedWorkerError:
                results[place] = Failure(KILLED_TWICE)
                watch.ended(place, results[place])

        left = list(range(len(trainings)))
        try:
            while left and not interruption.came:
                try:
                    train(left)
                except TerminatedWorkerError:
                    # joblib cannot tell whose process it was: each of those that had begun goes on alone
                    unfinished = [place for place in left if place not in results]
                    for place in list(filter(watch.has_begun, unfinished)) or unfinished:
                        if not watch.is_stopping():
                            train_alone(place)
                left = [place for place in left if place not in results]
        except (pickle.PicklingError, BrokenProcessPool) as error:
            why = str(error.__cause__ or error).strip().splitlines()[-1]
            raise InputError(
                "training side by side",
                received=f"something that cannot be sent to another process ({why})",
                expected="problems, probes and loggers that can be pickled",
                fix="Name them, or train one network after the other: jobs=1.",
            ) from error
    ended = [results.get(place) for place in range(len(trainings))]
    finished = [item for item in ended if item is not None]
    if interruption.came or len(finished) < len(ended):
        raise KeyboardInterrupt
    return finished


@contextlib.contextmanager
def _fresh_processes() -> Iterator[None]:
    """Let joblib start processes for this, with today's working folder and environment, and end them with it."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _beside(trainings: Sequence[Training]) -> Path | None:
    """Where all processes can read and write: beside the run folders, which are made if need be."""
    folder = next((training.folder for training in trainings if training.folder is not None), None)
    if folder is None:
        return None
    with refused(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder.parent).cleanup()
    return folder.parent.absolute()


def _anywhere(training: Training) -> Training:
    """Return a training whose folder means the same in every process."""
    return training if training.folder is None else replace(training, folder=training.folder.absolute())


def _train(
    place: int, training: Training, loggers: Loggers | None, threads: int, directory: str, here: tuple[int, str]
) -> tuple[int, Ended | None]:
    """Train one network, in a process of its own; None instead of an outcome if it was stopped."""
    parent, working_folder = here
    if parent == STARTED_BY:
        os.chdir(working_folder)  # joblib's processes begin where this one began
    teller = _Teller(Path(directory), place, parent)
    with _deaf_to_ctrl_c(parent), _everything_said(teller):
        try:
            teller.look()
            return place, attempt(training, teller, loggers, threads)
        except KeyboardInterrupt:
            if teller.is_orphan():
                os._exit(130)
            return place, None


@contextlib.contextmanager
def _deaf_to_ctrl_c(parent: int) -> Iterator[None]:
    """Leave Ctrl-C, which a terminal sends to all processes, to the process that started this one."""
    if parent != STARTED_BY or threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _everything_said(teller: _Teller) -> Iterator[None]:
    """Hand what frameworks and plugins print or warn of to the process that has the terminal."""

    def warn(message: Warning | str, *where: Any, **options: Any) -> None:
        teller.say("warning", str(message))

    lines = _Lines(teller)
    with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines), warnings.catch_warnings():
        warnings.showwarning = warn
        yield


@final
class _Lines(io.TextIOBase):
    """A stream of text of which each whole line is told."""

    def __init__(self, teller: _Teller) -> None:
        self._teller, self._begun = teller, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, map(str.strip, lines)):
            self._teller.say("line", line)
        return len(text)


@final
@dataclass(frozen=True)
class _Standing:
    """Where a training in another process stands.

    Attributes:
        started: whether it has begun or gone on.
        resumed: the iteration that it goes on from.
        iteration: the last one heard of.
        loss: its loss.
        row: what was captured last.
        timeline: the phases then.
        acted: what policies had done.
        said: kinds and texts: "warned" of the training itself, Python's "warning"s, and "line"s that were printed.
    """

    started: bool = False
    resumed: int | None = None
    iteration: int = 0
    loss: float = math.nan
    row: Mapping[str, Any] | None = None
    timeline: Timeline | None = None
    acted: tuple[Acted, ...] = ()
    said: tuple[tuple[str, str], ...] = ()


@final
class _Teller(Display):
    """The display of a training in another process: writes where it stands, and looks whether it is to stop.

    Args:
        directory: of the files.
        place: of the training among all.
        parent: the process that waits for all; where it started this one, its end is the training's.
    """

    def __init__(self, directory: Path, place: int, parent: int) -> None:
        self.standing = _Standing()
        self._directory, self._place = directory, place
        self._is_child = parent == STARTED_BY
        self._looked = self._told = -math.inf

    def look(self) -> None:
        """Interrupt the training if all are to stop, or nobody waits for it any more."""
        self._looked = time.monotonic()
        if self.is_orphan() or (self._directory / STOP).exists():
            interrupt()

    def is_orphan(self) -> bool:
        """Return whether the process that started this one is no more."""
        return self._is_child and os.getppid() != STARTED_BY

    def tell(self, **changes: Any) -> None:
        """Write what has changed, now and then."""
        self.standing = replace(self.standing, **changes)
        now = time.monotonic()
        if now >= self._told + SECONDS_BETWEEN_LOOKS or not {"iteration", "row"} & changes.keys():
            self._told = now
            file = self._directory / f"{self._place}.standing"
            written = file.with_suffix(".part")
            with contextlib.suppress(OSError):  # where the folder is not shared, nobody looks
                written.write_bytes(pickle.dumps(self.standing))
                os.replace(written, file)
        if now >= self._looked + SECONDS_BETWEEN_LOOKS:
            self.look()

    def started(self, training: Training) -> None:
        self.tell(started=True)

    def resumed(self, iteration: int, folder: Path | None) -> None:
        self.tell(resumed=iteration)

    def progressed(self, iteration: int, loss: float) -> None:
        self.tell(iteration=iteration, loss=loss)

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        self.tell(row=row, timeline=timeline)

    def acted(self, acted: Acted) -> None:
        self.tell(acted=(*self.standing.acted, acted))

    def warned(self, message: str) -> None:
        self.say("warned", message)

    def say(self, kind: str, text: str) -> None:
        self.tell(said=(*self.standing.said, (kind, text)))

    def finished(self, outcome: Outcome) -> None:
        """The outcome itself says so."""


@final
class _Watch:
    """Shows where all trainings stand, from a thread beside the one that waits for them, and tells them to stop.

    Args:
        directory: of the files.
        trainings: all.
        displays: shows them.
        interruption: at which they are to stop.
    """

    def __init__(
        self, directory: Path, trainings: Sequence[Training], displays: Displays, interruption: Interruption
    ) -> None:
        self._directory, self._trainings, self._displays = directory, trainings, displays
        self._interruption = interruption
        self._shown: dict[int, tuple[Display, _Standing]] = {}
        self._over: set[int] = set()
        self._warnings: set[str] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="phasecore-side-by-side", daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tell_to_stop()
        self._done.set()
        self._thread.join(timeout=60)

    def is_stopping(self) -> bool:
        """Return whether all are to stop."""
        return self._interruption.came

    def has_begun(self, place: int) -> bool:
        """Return whether a training has told anything."""
        return self._file(place).exists()

    def name(self, place: int) -> str:
        """Return what a training is, for people."""
        training = self._trainings[place]
        return f"{training.scheme_name}, seed {training.settings.seed},"

    def ended(self, place: int, ended: Ended | None) -> None:
        """Show how a training ended; None if it was stopped."""
        with self._lock:
            self._look(place)
            self._over.add(place)
            if ended is None:
                return
            display, _ = self._shown.get(place) or (self._displays.begin(place), None)
            if isinstance(ended, Outcome):
                display.finished(ended)
            self._displays.end(place, ended)

    def _tell_to_stop(self) -> None:
        with contextlib.suppress(OSError):  # a folder that vanished is looked for in vain: processes end with this one
            (self._directory / STOP).touch()

    def _file(self, place: int) -> Path:
        return self._directory / f"{place}.standing"

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_LOOKS):
            if self._interruption.came and not (self._directory / STOP).exists():
                self._tell_to_stop()
                self._displays.said(STOPPING)
            for place in range(len(self._trainings)):
                with self._lock:
                    if place not in self._over:
                        self._look(place)

    def _look(self, place: int) -> None:
        try:
            standing: _Standing = pickle.loads(self._file(place).read_bytes())
        except OSError:
            return
        display, before = self._shown.get(place) or (self._displays.begin(place), _Standing())
        self._shown[place] = display, standing
        if standing.started and not before.started:
            display.started(self._trainings[place])
        if standing.resumed is not None and before.resumed is None:
            display.resumed(standing.resumed, self._trainings[place].folder)
        for kind, text in standing.said[len(before.said) :]:
            if kind == "warned":
                display.warned(text)
            elif kind == "line":
                self._displays.said(text)
            elif text not in self._warnings:
                self._warnings.add(text)
                self._displays.said(f"Warning: {text}")
        if standing.row is not None and standing.timeline is not None and standing.row != before.row:
            display.captured(standing.row, standing.timeline)
        for acted in standing.acted[len(before.acted) :]:
            display.acted(acted)
        if standing.iteration != before.iteration:
            display.progressed(standing.iteration, standing.loss)
