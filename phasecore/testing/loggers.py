"""What every logger must satisfy, and `check_logger`, which runs it all."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from phasecore import registry
from phasecore.backends import Acted, Monitored, Outcome, Settings, Training
from phasecore.phases import Phase, Timeline, Transition
from phasecore.plugins import PREFIX
from phasecore.recording.hooks import hooks_of
from phasecore.testing.laws import Report, run_laws

FOUND = Transition(Phase.DIFFUSION, 20, (15, 25), 0.9, ())
ROWS: tuple[Mapping[str, Any], ...] = (
    {"iteration": 0, "seconds": 0.1, "snr": 3.5, "loss_pde": 2.0},
    {"iteration": 10, "seconds": 0.2, "snr": None, "loss_pde": 1.0},
    {"iteration": 20, "seconds": 0.3, "snr": 0.5, "loss_pde": 0.5, "relative_l2_error": 0.25},
)
"""A capture whose SNR was not finite, and a column that comes later, among them."""


@final
@dataclass(frozen=True)
class LoggerSubject:
    """A logger under test.

    Attributes:
        make: makes one, anew for each training.
    """

    make: Callable[[], object]

    def hear(self, training: Training | Monitored, *events: tuple[str, Mapping[str, Any]]) -> None:
        """Let a new logger hear a training: each event is a hook's name and its further arguments."""
        hooks = hooks_of(self.make())
        for event, arguments in events:
            getattr(hooks, PREFIX + event)(training=training, **arguments)


def check_logger(logger: str | Callable[[], object], *, known_failures: Mapping[str, str] | None = None) -> Report:
    """Check that a logger can hear every kind of training.

    It is let write into temporary run folders.

    Args:
        logger: its name, or what makes one without arguments, such as its class.
        known_failures: {law: reason} for laws that the logger is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> check_logger("csv").passed[0]
        'is_a_listener'
    """
    name = logger if isinstance(logger, str) else getattr(logger, "__name__", repr(logger))
    make = (lambda: registry.logger(logger)) if isinstance(logger, str) else logger
    return run_laws(f"logger {name!r}", LOGGER_LAWS, LoggerSubject(make), known_failures)


def is_a_listener(subject: LoggerSubject) -> None:
    """A logger is an object with run hooks, marked and spelt as they are specified."""
    registry.as_listeners([subject.make()])


def hears_a_whole_training(subject: LoggerSubject) -> None:
    """It takes start, captures, phases, actions and end; None in a row was not finite, columns may come later."""
    with tempfile.TemporaryDirectory() as folder:
        subject.hear(_driven(Path(folder)), _start(False), *_captures(), _phase(), _acted(), _end())


def hears_a_monitored_training(subject: LoggerSubject) -> None:
    """It takes a training that phasecore does not drive: what is not known of it is None."""
    with tempfile.TemporaryDirectory() as folder:
        subject.hear(Monitored("torch", folder=Path(folder)), _start(False), *_captures(), _phase(), _end())


def hears_a_training_that_stops(subject: LoggerSubject) -> None:
    """It takes the end by an error, before the first capture too."""
    stop = ("run_stopped", {"error": KeyboardInterrupt()})
    for captures in ([], _captures()):
        with tempfile.TemporaryDirectory() as folder:
            subject.hear(_driven(Path(folder)), _start(False), *captures, stop)


def hears_a_training_that_goes_on(subject: LoggerSubject) -> None:
    """A run that goes on is heard by a new logger, from an iteration that was heard of before."""
    with tempfile.TemporaryDirectory() as folder:
        training = _driven(Path(folder))
        subject.hear(training, _start(False), *_captures(), ("run_stopped", {"error": KeyboardInterrupt()}))
        subject.hear(training, _start(True), *_captures()[1:], _end())
        longer = replace(training, settings=replace(training.settings, iterations=40))
        subject.hear(longer, _start(True), *_captures()[2:], _end())


def hears_a_training_that_goes_on_at_once(subject: LoggerSubject) -> None:
    """A training goes on after its end, and from an earlier state without an end, with or without a run folder."""
    with tempfile.TemporaryDirectory() as folder:
        for training in (_driven(Path(folder)), Monitored("torch")):
            again = [_start(True), *_captures()[1:]]
            subject.hear(training, _start(False), *_captures(), _end(), *again, *again, _phase(), _end())


def hears_a_training_without_a_test_error(subject: LoggerSubject) -> None:
    """It takes an outcome whose error is not known, NaN, and one without any phase."""
    with tempfile.TemporaryDirectory() as folder:
        subject.hear(_driven(Path(folder)), _start(False), *_captures()[:1], _end(math.nan, ()))


def _driven(folder: Path) -> Training:
    problem = registry.problem("helmholtz")
    settings = Settings(iterations=20, points=10, width=4, depth=1)
    points = problem.sample(10, seed=0)
    return Training(
        problem, registry.as_schemes("rba"), "rba", "torch", settings, points, [registry.probe("gradient_snr")],
        folder=folder, preset="quick",
    )  # fmt: skip


def _start(resumed: bool) -> tuple[str, Mapping[str, Any]]:
    return "run_started", {"resumed": resumed}


def _captures() -> list[tuple[str, Mapping[str, Any]]]:
    return [("captured", {"row": MappingProxyType(dict(row))}) for row in ROWS]


def _phase() -> tuple[str, Mapping[str, Any]]:
    return "phase_changed", {"transition": FOUND}


def _acted() -> tuple[str, Mapping[str, Any]]:
    return "policy_acted", {"acted": Acted(20, "at_phase", "switch_optimizer", "lbfgs", "diffusion declared")}


def _end(error: float = 0.25, transitions: tuple[Transition, ...] = (FOUND,)) -> tuple[str, Mapping[str, Any]]:
    current = transitions[-1].phase if transitions else None
    return "run_finished", {"outcome": Outcome(20, 0.3, error, Timeline(transitions, current, "found"))}


LOGGER_LAWS = (
    is_a_listener,
    hears_a_whole_training,
    hears_a_monitored_training,
    hears_a_training_that_stops,
    hears_a_training_that_goes_on,
    hears_a_training_that_goes_on_at_once,
    hears_a_training_without_a_test_error,
)
"""Every law of loggers; each takes a `LoggerSubject`."""
