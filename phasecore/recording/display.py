"""Who shows a training to a person."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, final

from phasecore.backends import WENT_BACK, Acted, Outcome, Training
from phasecore.phases import Nonfinite, Timeline

PACKAGES = frozenset({"phasecore", "phasecore_torch", "phasecore_keras"})


class Display(Protocol):
    """Who shows a training to a person."""

    def started(self, training: Training) -> None:
        """Hear that the training starts or goes on."""

    def resumed(self, iteration: int, folder: Path | None) -> None:
        """Hear which iteration was the last one of the saved state in the folder that the training goes on from."""

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear that iterations passed."""

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        """Hear of a capture, and of the phases so far as the online tracker knows them."""

    def acted(self, acted: Acted) -> None:
        """Hear that a policy had something done; a display may do without."""

    def warned(self, message: str) -> None:
        """Hear of something that the person should know."""

    def finished(self, outcome: Outcome) -> None:
        """Hear that the training ended."""


@final
class Silent:
    """A display that shows nothing; what the person should know becomes a Python warning of the code that trains."""

    def started(self, training: Training) -> None:
        """Show nothing."""

    def resumed(self, iteration: int, folder: Path | None) -> None:
        """Show nothing."""

    def progressed(self, iteration: int, loss: float) -> None:
        """Show nothing."""

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        """Show nothing."""

    def acted(self, acted: Acted) -> None:
        """Show nothing, but say once that an optimizer failed."""
        if acted.policy == WENT_BACK:
            self.warned(f"iteration {acted.iteration}: {acted.words}: {acted.reason}")

    def warned(self, message: str) -> None:
        """Warn."""
        warnings.warn(message, RuntimeWarning, stacklevel=level_outside())

    def finished(self, outcome: Outcome) -> None:
        """Show nothing."""


def level_outside() -> int:
    """Return how far up the first caller outside phasecore and its adapters is, for a warning of this one's caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in PACKAGES:
        level, frame = level + 1, frame.f_back
    return level


def warn_each(messages: Iterable[str]) -> None:
    """Warn the code that trains, whoever shows the training."""
    for message in messages:
        warnings.warn(message, stacklevel=level_outside())


def nonfinite_warning(nonfinite: Nonfinite) -> str:
    """Return what to tell a person of values that are no numbers."""
    statement = nonfinite.statement
    return (
        f"{statement[:1].upper()}{statement[1:]}: no phase can be told from there. If the loss is not finite, go back "
        "to a state from before, with a lower learning rate; if it is, the gradient is zero or was not measured."
    )
