"""Misspells a hook."""

import phasecore


@phasecore.hookimpl
def phasecore_capture(row):
    raise RuntimeError("this must never be called")
