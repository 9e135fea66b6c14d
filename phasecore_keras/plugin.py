"""The Keras backend's place in the registry; importing it leaves keras alone."""

from __future__ import annotations

from collections.abc import Iterable

from phasecore import Entry, hookimpl


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    """Offer the backend "keras", which says for now that it is not there yet."""
    return [Entry("backend", "keras", "phasecore_keras.training:KerasBackend")]
