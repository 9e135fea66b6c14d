"""Several trainings: one after the other or side by side, where one that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from phasecore import registry
from phasecore.arguments import is_whole
from phasecore.backends import Outcome, Training
from phasecore.errors import InputError, PhasecoreError, TrainingError
from phasecore.recording.display import Display, Silent
from phasecore.recording.folder import CONFIGURATION, check_free
from phasecore.runs.execution import execute_prepared
from phasecore.runs.preparation import check_supplies

Loggers = str | Sequence[str | object]


@final
@dataclass(frozen=True)
class Failure:
    """How a training ended that could not go on.

    Attributes:
        reason: why, in words.
        is_input: whether something that it was given is the reason, not the training itself.
        trace: where it happened, for what phasecore does not raise on purpose; else empty.
    """

    reason: str
    is_input: bool = False
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return the failure that an exception is, which is being handled.

        Example:
            >>> Failure.of(InputError("option 'points'", received=0)).reason
            "option 'points': received 0."
        """
        if isinstance(error, PhasecoreError):
            return cls(str(error), is_input=not isinstance(error, TrainingError))
        return cls(f"{type(error).__name__}: {error}", trace="".join(traceback.format_exception(error)))


Ended = Outcome | Failure


class Displays(Protocol):
    """Who shows several trainings to a person. The methods may be called from more than one thread."""

    def begin(self, place: int) -> Display:
        """Return who shows a training, which begins now.

        Args:
            place: of the training among all.
        """

    def end(self, place: int, ended: Ended) -> None:
        """Hear how a training ended; it may not have begun."""

    def said(self, message: str) -> None:
        """Hear of something that concerns all."""


@final
class Unshown:
    """Displays that show nothing; warnings become Python's."""

    def begin(self, place: int) -> Display:
        """Show nothing."""
        return Silent()

    def end(self, place: int, ended: Ended) -> None:
        """Show nothing."""

    def said(self, message: str) -> None:
        """Show nothing."""


def execute_all(
    trainings: Sequence[Training],
    *,
    jobs: int = 1,
    resume: bool = False,
    displays: Displays | None = None,
    loggers: Loggers | None = None,
) -> list[Ended]:
    """Train several networks, and keep what happens in their run folders, where they have one.

    Side by side each network is trained in a process of its own by joblib, with a `jobs`-th of the cores for its
    threads; the folders hold what they hold when one is trained after the other, to rounding where the number of
    threads differs. Where a process is killed, its network goes on from the run's last checkpoint.
    The backend of `joblib.parallel_config`, such as "dask", is used where one is set.

    Ctrl-C lets every network finish its iteration and save its state; a second one stops at once.

    Args:
        trainings: from `prepare` or `prepare_resumed`, begun in this order.
        jobs: networks that are trained at the same time.
        resume: go on with those whose folder holds a run, as `execute` does; the others begin.
        displays: shows the trainings to a person; None shows nothing.
        loggers: as for `execute`.

    Returns:
        The outcome of each training, or why it failed; a failure does not stop the others.

    Raises:
        InputError: before anything is trained, if `jobs` is no positive integer, two trainings have one folder, a
            required signal is not supplied, a logger is unknown, or a folder holds a run already without `resume`.
        MissingDependencyError: if joblib is needed and not installed.
        KeyboardInterrupt: at Ctrl-C, when all have stopped.

    Example:
        Skipped when examples are tested, because it needs a framework:

        >>> from phasecore.runs import prepare  # doctest: +SKIP
        >>> trainings = [prepare("burgers", seed=seed, output=f"runs/{seed}") for seed in range(4)]  # doctest: +SKIP
        >>> [ended.relative_l2_error for ended in execute_all(trainings, jobs=2)]  # doctest: +SKIP
        [0.12, 0.14, 0.11, 0.13]
    """
    for training in trainings:
        check_supplies(training)
    registry.as_listeners([loggers] if isinstance(loggers, str) else loggers or ())
    return execute_all_prepared(trainings, jobs=jobs, resume=resume, displays=displays, loggers=loggers)


def execute_all_prepared(
    trainings: Sequence[Training],
    *,
    jobs: int = 1,
    resume: bool = False,
    displays: Displays | None = None,
    loggers: Loggers | None = None,
) -> list[Ended]:
    """Do what `execute_all` does, with trainings as they were prepared: what they require was checked then."""
    check_jobs(jobs)
    _check_folders([training.folder for training in trainings if training.folder is not None], resume)
    displays = displays or Unshown()
    if min(jobs, len(trainings)) > 1:
        from phasecore.runs.side_by_side import execute_side_by_side

        return execute_side_by_side(trainings, min(jobs, len(trainings)), displays, loggers)
    results: list[Ended] = []
    for place, training in enumerate(trainings):
        results.append(attempt(training, displays.begin(place), loggers))
        displays.end(place, results[-1])
    return results


def check_jobs(jobs: int) -> None:
    """Refuse a number of networks that cannot be trained side by side here.

    Raises:
        InputError: if it is no positive integer.
        MissingDependencyError: if joblib is needed and not installed.

    Example:
        >>> check_jobs(1)
    """
    if not is_whole(jobs):
        raise InputError("jobs", received=repr(jobs), expected="a positive integer: networks trained at the same time")
    if jobs > 1:
        from phasecore.runs.side_by_side import check_joblib

        check_joblib()


def attempt(training: Training, display: Display, loggers: Loggers | None, threads: int | None = None) -> Ended:
    """Train one network, or go on with what its folder holds; what it raises is a failure of its own.

    Args:
        training: as it was prepared.
        display: shows it.
        loggers: as for `execute`.
        threads: that it may use at most, or None for the framework's own number.

    Raises:
        KeyboardInterrupt: at Ctrl-C.
    """
    resume = training.folder is not None and (training.folder / CONFIGURATION).exists()
    try:
        if threads is not None:
            registry.backend(training.backend).limit_threads(threads)
        return execute_prepared(training, resume=resume, display=display, loggers=loggers)
    except (Exception, SystemExit) as error:
        return Failure.of(error)


def _check_folders(folders: Sequence[Path], resume: bool) -> None:
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise InputError("trainings", received=f"two with the folder {twice}", expected="a folder for each")
    for folder in folders if not resume else ():
        check_free(folder)
