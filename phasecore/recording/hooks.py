"""Calling the run hooks of plugins, each guarded: one that raises is switched off, and the training goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import pluggy

from phasecore.hookspecs import Hooks
from phasecore.plugins import PREFIX, Listener

TRACE = "PHASECORE_TRACE"
"""The environment variable that lets each call of a hook be said."""


@final
class RunHooks:
    """Calls every listener's implementation of a run hook on its own.

    Args:
        listeners: installed plugins, and the loggers of this run.
        warn: takes one sentence for each listener that raised.
    """

    def __init__(self, listeners: Iterable[Listener], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._listening = [(listener.label, hooks_of(listener.plugin)) for listener in listeners]

    def call(self, event: str, **arguments: Any) -> None:
        """Call a hook, such as "captured", with its arguments.

        A listener that raises hears nothing more in this run, but `run_stopped`, so that it can close what it opened.
        """
        for label, hooks in list(self._listening):
            try:
                with _traced(PREFIX + event, label):
                    getattr(hooks, PREFIX + event)(**arguments)
            except (Exception, SystemExit) as error:
                self._listening.remove((label, hooks))
                if event != "run_stopped":
                    with contextlib.suppress(Exception, SystemExit):
                        hooks.phasecore_run_stopped(training=arguments["training"], error=error)
                self._warn(
                    f"{label}: hook {PREFIX + event!r} raised {type(error).__name__}: {error}; "
                    "it is disabled for the rest of this run, which goes on without it"
                )


@contextlib.contextmanager
def _traced(hook: str, label: str) -> Iterator[None]:
    """Say on standard error how long a call took, where the environment asks for it."""
    began = time.perf_counter()
    try:
        yield
    finally:
        if os.environ.get(TRACE, "0") not in ("", "0"):
            print(f"{hook} of {label}: {1000 * (time.perf_counter() - began):.3f} ms", file=sys.stderr)


def hooks_of(plugin: object) -> pluggy.HookRelay:
    """Return the hooks of one plugin alone, to be called with all of their arguments by name."""
    manager = pluggy.PluginManager("phasecore")
    manager.add_hookspecs(Hooks)
    manager.register(plugin)
    return manager.hook
