"""Several trainings: one after the other or side by side, where one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from phasecore import registry
from phasecore.arguments import is_whole
from phasecore.backends import Training
from phasecore.errors import InputError
from phasecore.recording.folder import check_free
from phasecore.runs.attempts import Displays, Ended, Loggers, Unshown, attempt
from phasecore.runs.preparation import check_supplies
from phasecore.runs.side_by_side import check_joblib, execute_side_by_side


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
            required signal is not supplied, a logger is unknown or would write one file for all, or a folder holds a
            run already without `resume`.
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
    check_loggers(loggers, len(trainings))
    _check_folders([training.folder for training in trainings if training.folder is not None], resume)
    displays = displays or Unshown()
    if min(jobs, len(trainings)) > 1:
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
        check_joblib()


def check_loggers(loggers: Loggers | None, trainings: int) -> None:
    """Refuse loggers that are unknown, or of which several trainings would write one file.

    Args:
        loggers: as for `execute`.
        trainings: how many there are.

    Raises:
        InputError: if so.
        MissingDependencyError: if a logger's package is not installed.

    Example:
        >>> check_loggers("csv:path=all.csv", 1)
        >>> try:
        ...     check_loggers("csv:path=all.csv", 4)
        ... except InputError as error:
        ...     print(str(error).partition(". ")[2])
        Without the option each training has a file of its own, in its run folder.
    """
    for listener in registry.as_listeners([loggers] if isinstance(loggers, str) else loggers or ()):
        file = getattr(listener.plugin, "only_for_one", None)
        if file is not None and trainings > 1:
            raise InputError(
                listener.label,
                received=f"{file} for {trainings} trainings",
                expected="a file for each",
                fix="Without the option each training has a file of its own, in its run folder.",
            )


def _check_folders(folders: Sequence[Path], resume: bool) -> None:
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise InputError("trainings", received=f"two with the folder {twice}", expected="a folder for each")
    for folder in folders if not resume else ():
        check_free(folder)
