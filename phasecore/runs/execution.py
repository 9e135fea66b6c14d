"""Training and recording: what the commands and Python users alike call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phasecore import registry
from phasecore.backends import Outcome, Training
from phasecore.errors import InputError
from phasecore.policies.actions import Stop
from phasecore.recording.configuration import check_agreement
from phasecore.recording.display import Display, Silent
from phasecore.recording.folder import CHECKPOINT, OUTCOME, has_checkpoint, read_configuration, read_json
from phasecore.recording.history import HISTORY, read_rows
from phasecore.recording.outcome import outcome_of
from phasecore.recording.provided import check_provided, provided_for
from phasecore.recording.recorder import Recorder
from phasecore.runs.preparation import check_supplies


def execute(
    training: Training,
    *,
    resume: bool = False,
    display: Display | None = None,
    loggers: str | Sequence[str | object] | None = None,
) -> Outcome:
    """Train, and keep what happens in the run folder if the training has one.

    Args:
        training: from `prepare` or `prepare_resumed`.
        resume: go on with the run in the folder; one that has done its iterations is returned as it is, one that was
            stopped before its first checkpoint starts again.
        display: shows the training to a person; None shows nothing.
        loggers: who else writes it down: "name" or "name:key=value,key=value", or objects with run hooks. By default
            nobody, and going on with a run, those that it was started with by name.

    Returns:
        The outcome, of all sessions of the run together.

    Raises:
        InputError: before anything is trained or written: if a required signal is not supplied, a logger is unknown,
            the folder already holds a run, or (with `resume`) it holds none, one of another configuration, or one
            whose parts another package provides now.
        MissingDependencyError: if a logger's package is not installed.
        TrainingError: if the training could not go on; the run folder keeps what it has.
        PhasecoreError: what else is refused before the first capture, as a probe's column that is taken; no run is
            left in the folder.

    Example:
        Skipped when examples are tested, because it needs a framework:

        >>> from phasecore.runs import open_run, prepare  # doctest: +SKIP
        >>> training = prepare("helmholtz", weighting="rba", output="runs/first")  # doctest: +SKIP
        >>> execute(training).timeline.current, open_run("runs/first").history["iteration"][-1]  # doctest: +SKIP
        (<Phase.TOTAL_DIFFUSION: 'total_diffusion'>, 3000.0)
    """
    check_supplies(training)
    return execute_prepared(training, resume=resume, display=display, loggers=loggers)


def execute_prepared(
    training: Training,
    *,
    resume: bool = False,
    display: Display | None = None,
    loggers: str | Sequence[str | object] | None = None,
    keeps_refused: bool = False,
) -> Outcome:
    """Do what `execute` does, with a training as it was prepared: what it requires was checked then.

    Of a comparison (`keeps_refused`) the folder of one whose start is refused stays, and says why.
    """
    display = display or Silent()
    backend = registry.backend(training.backend)
    folder = training.folder
    if resume:
        if folder is None:
            raise InputError("cannot resume a training without a run folder", fix="Give 'prepare' an output.")
        recorded = read_configuration(folder)
        check_agreement(folder, training, recorded)
        finished = _finished(training, folder)
        if finished is not None:
            for change in check_provided(folder, recorded, provided_for(training)):
                display.warned(change)
            if loggers and (names := _not_begun_with(loggers, recorded)):
                display.warned(
                    f"{folder} is finished, and nothing is told to loggers that it was not begun with: {names}; "
                    "history.jsonl has what was captured, and with more iterations it goes on"
                )
            display.finished(finished)
            return finished
        loggers = recorded_loggers(recorded) if loggers is None else loggers
    recorder = Recorder(folder, resume=resume, loggers=loggers or (), display=display)
    try:
        recorder.begin(training, backend.versions())
        has_state = resume and folder is not None and has_checkpoint(folder)
        if resume and not has_state:
            display.warned(f"{folder} has no checkpoint yet: the training starts again from its first iteration")
        backend.train(training, recorder, None if folder is None else folder / CHECKPOINT, resume=has_state)
    except BaseException as error:
        if recorder.begun:
            recorder.stopped(error)
        if not keeps_refused:
            recorder.take_back(error)
        raise
    finally:
        recorder.close()
    return recorder.finish(training.settings.iterations)


def _not_begun_with(loggers: str | Sequence[str | object], recorded: Mapping[str, Any]) -> str:
    asked = [loggers] if isinstance(loggers, str) else loggers
    return ", ".join(f"{logger}" for logger in asked if logger not in recorded_loggers(recorded))


def recorded_loggers(recorded: Mapping[str, Any]) -> list[str]:
    """Return the specifications of the loggers that a run was started with, from its `run.json`.

    Example:
        >>> recorded_loggers({"loggers": ["csv"]}), recorded_loggers({})
        (['csv'], [])
    """
    return [name for name in recorded.get("loggers") or [] if isinstance(name, str)]


def _finished(training: Training, folder: Path) -> Outcome | None:
    """Return the outcome of a run that has done the iterations that are wanted of it, or that a policy has ended."""
    file = folder / OUTCOME
    if not file.exists():
        return None
    done = read_json(file).get("iterations")
    outcome = outcome_of(read_rows(folder / HISTORY), training.settings.iterations if done is None else done)
    stopped = any(acted.action == Stop.name for acted in outcome.actions)
    return outcome if stopped or done == training.settings.iterations else None
