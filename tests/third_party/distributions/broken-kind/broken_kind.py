"""Offers an entry of a kind that does not exist."""

import phasecore


@phasecore.hookimpl
def phasecore_entries():
    return [phasecore.Entry("optimizer", "adam", "broken_kind:adam")]
