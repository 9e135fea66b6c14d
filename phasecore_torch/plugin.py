"""The torch backend's registration; importing it leaves torch alone."""

from __future__ import annotations

from collections.abc import Iterable

from phasecore import Entry, hookimpl


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    """Offer the backend "torch"."""
    return [
        Entry(
            "backend",
            "torch",
            "phasecore_torch.training:TorchBackend",
            needs=("torch", "array_api_compat"),
            extra="phasecore[torch]",
        )
    ]
