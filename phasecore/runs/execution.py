"""Training and recording: what the commands and Python users alike call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phasecore import plugins, registry
from phasecore.backends import Backend, Outcome, Training
from phasecore.errors import InputError
from phasecore.phases import Timeline, detect
from phasecore.phases.curve import Column
from phasecore.runs.configuration import check_agreement, configuration_of, provenance
from phasecore.runs.folder import (
    CHECKPOINT,
    CONFIGURATION,
    OUTCOME,
    create,
    has_checkpoint,
    read_configuration,
    read_json,
    write_json,
)
from phasecore.runs.history import HISTORY, Row, plain, read_rows, recorded_columns
from phasecore.runs.preparation import check_supplies
from phasecore.runs.provided import KEY, Provided, check_provided, provided_for
from phasecore.runs.recorder import Display, Recorder, Silent


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

    Example:
        Skipped when examples are tested, because it needs a framework:

        >>> from phasecore.runs import open_run, prepare  # doctest: +SKIP
        >>> training = prepare("helmholtz", weighting="rba", output="runs/first")  # doctest: +SKIP
        >>> execute(training).timeline.current, open_run("runs/first").history["iteration"][-1]  # doctest: +SKIP
        (<Phase.TOTAL_DIFFUSION: 'total_diffusion'>, 3000.0)
    """
    display = display or Silent()
    check_supplies(training)
    backend = registry.backend(training.backend)
    folder = training.folder
    if resume:
        if folder is None:
            raise InputError("cannot resume a training without a run folder", fix="Give 'prepare' an output.")
        recorded = read_configuration(folder)
        check_agreement(folder, training, recorded)
        loggers = recorded_loggers(recorded) if loggers is None else loggers
        asked = registry.as_listeners(loggers)
        provided = provided_for(training, _names(loggers))
        for change in check_provided(folder, recorded, provided):
            display.warned(change)
        finished = _finished(training, folder)
        if finished is not None:
            display.finished(finished)
            return finished
        _register_session(training, folder, {**recorded, "loggers": _names(loggers)}, backend, provided)
        if not has_checkpoint(folder):
            display.warned(f"{folder} has no checkpoint yet: the training starts again from its first iteration")
    else:
        loggers = loggers or ()
        asked = registry.as_listeners(loggers)
        if folder is not None:
            plugins_used = {KEY: provided_for(training, _names(loggers))}
            described = {**configuration_of(training), "loggers": _names(loggers), **plugins_used}
            create(folder, {**described, **provenance(backend.versions())})
    recorder = Recorder(training, [*plugins.loaded().listeners(), *asked], display, resume=resume)
    try:
        recorder.started()
        backend.train(
            training,
            recorder,
            None if folder is None else folder / CHECKPOINT,
            resume=resume and folder is not None and has_checkpoint(folder),
        )
    except BaseException as error:
        recorder.stopped(error)
        raise
    finally:
        recorder.close()
    rows = recorder.rows
    if resume and not rows and folder is not None:
        rows = read_rows(folder / HISTORY)
    outcome = _outcome(training, rows)
    if folder is not None:
        write_json(folder / OUTCOME, summary(training, outcome))
    recorder.finished(outcome)
    return outcome


def recorded_loggers(recorded: Mapping[str, Any]) -> list[str]:
    """Return the specifications of the loggers that a run was started with, from its `run.json`.

    Example:
        >>> recorded_loggers({"loggers": ["csv"]}), recorded_loggers({})
        (['csv'], [])
    """
    return [name for name in recorded.get("loggers") or [] if isinstance(name, str)]


def summary(training: Training, outcome: Outcome) -> dict[str, Any]:
    """Return a finished training as `phasecore run --json` prints it, without the folder.

    Keys: problem, problem_parameters, backend, weighting, preset, seed, iterations, seconds, relative_l2_error and
    phases (as `phasecore detect --json` prints them).
    """
    document = {
        "problem": training.problem.name,
        "problem_parameters": training.problem.parameters,
        "backend": training.backend,
        "weighting": training.scheme_name,
        "preset": training.preset,
        "seed": training.settings.seed,
        "iterations": outcome.iterations,
        "seconds": outcome.seconds,
        "relative_l2_error": outcome.relative_l2_error,
        "phases": outcome.timeline.to_json(),
    }
    return {key: plain(value) for key, value in document.items()}


def _names(loggers: str | Sequence[str | object]) -> list[str]:
    return [loggers] if isinstance(loggers, str) else [name for name in loggers if isinstance(name, str)]


def _finished(training: Training, folder: Path) -> Outcome | None:
    """Return the outcome of a run that has done the iterations that are wanted of it."""
    file = folder / OUTCOME
    if not file.exists() or read_json(file).get("iterations") != training.settings.iterations:
        return None
    return _outcome(training, read_rows(folder / HISTORY))


def _register_session(
    training: Training, folder: Path, recorded: Mapping[str, Any], backend: Backend, provided: Sequence[Provided]
) -> None:
    """Note in `run.json` that a run goes on, when, with what, and for how many iterations."""
    sessions = [*recorded.get("resumed", []), {**provenance(backend.versions()), KEY: provided}]
    changed = {"settings": configuration_of(training)["settings"], "resumed": sessions}
    write_json(folder / CONFIGURATION, {**recorded, **changed})
    (folder / OUTCOME).unlink(missing_ok=True)


def _outcome(training: Training, rows: Sequence[Row]) -> Outcome:
    return Outcome(
        iterations=training.settings.iterations,
        seconds=_last(rows, "seconds"),
        relative_l2_error=_last(rows, "relative_l2_error"),
        timeline=timeline_of(recorded_columns(rows)),
    )


def timeline_of(columns: Mapping[str, Column]) -> Timeline:
    """Return the phases in a history; where it is no curve, a timeline that says why.

    Example:
        >>> timeline_of({"iteration": [1.0, 1.0], "snr": [2.0, 3.0]}).current is None
        True
    """
    try:
        return detect(columns)
    except InputError as error:
        return Timeline((), None, f"cannot tell: {error}")


def _last(rows: Sequence[Row], name: str) -> float:
    value = rows[-1].get(name) if rows else None
    return math.nan if value is None else float(value)
