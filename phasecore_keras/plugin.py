"""The Keras backend's registration; importing it leaves keras alone."""

from __future__ import annotations

from collections.abc import Iterable

from phasecore import Entry, hookimpl


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    """Offer the backend "keras"."""
    return [
        Entry(
            "backend",
            "keras",
            "phasecore_keras.training:KerasBackend",
            needs=("keras",),
            extra="phasecore[keras]",
        )
    ]
