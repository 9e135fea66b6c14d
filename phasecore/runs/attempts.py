"""One training among several: how it ended, who shows it, and that what it raises is its own affair."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from phasecore import registry
from phasecore.backends import Outcome, Training
from phasecore.errors import PhasecoreError, TrainingError
from phasecore.recording.display import Display, Silent
from phasecore.recording.folder import CONFIGURATION
from phasecore.runs.execution import execute_prepared

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
            >>> from phasecore.errors import InputError
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
        return execute_prepared(training, resume=resume, display=display, loggers=loggers, keeps_refused=True)
    except (Exception, SystemExit) as error:
        return Failure.of(error)
