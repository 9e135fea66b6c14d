"""Calling the run hooks of plugins, each guarded: one that raises is switched off, and the training goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import pluggy

from phasecore.foreign import random_state_kept
from phasecore.hookspecs import Hooks
from phasecore.plugins import PREFIX, Listener

TRACE = "PHASECORE_TRACE"
"""The environment variable that lets each call of a hook be said."""

SHARE = 0.1
"""Of the time of a run: whose hooks take more is named at its end."""

LEAST_SECONDS = 10.0
"""That they take together at least."""


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
        self._began = time.perf_counter()
        self._spent: dict[str, float] = {}

    def call(self, event: str, **arguments: Any) -> None:
        """Call a hook, such as "captured", with its arguments.

        A listener that raises hears nothing more in this run, but `run_stopped`, so that it can close what it opened.
        """
        if event == "run_started":
            self._began, self._spent = time.perf_counter(), {}
        for label, hooks in list(self._listening):
            try:
                with self._timed(PREFIX + event, label), random_state_kept():
                    getattr(hooks, PREFIX + event)(**arguments)
            except (Exception, SystemExit) as error:
                self._listening.remove((label, hooks))
                if event != "run_stopped":
                    with contextlib.suppress(Exception, SystemExit), random_state_kept():
                        hooks.phasecore_run_stopped(training=arguments["training"], error=error)
                self._warn(
                    f"{label}: hook {PREFIX + event!r} raised {type(error).__name__}: {error}; "
                    "it is disabled for the rest of this run, which goes on without it"
                )
        if event in ("run_finished", "run_stopped"):
            self._name_slow_ones()

    def _name_slow_ones(self) -> None:
        """Say who took a large share of the time of the run."""
        whole = time.perf_counter() - self._began
        for label, seconds in self._spent.items():
            if seconds > max(SHARE * whole, LEAST_SECONDS):
                self._warn(f"{label}: its hooks took {seconds / whole:.0%} of the time of this run, {seconds:.1f} s")
        self._spent = {}

    @contextlib.contextmanager
    def _timed(self, hook: str, label: str) -> Iterator[None]:
        """Count how long a call took, and say it on standard error where the environment asks for it."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self._spent[label] = self._spent.get(label, 0.0) + seconds
            if os.environ.get(TRACE, "0") not in ("", "0"):
                print(f"{hook} of {label}: {1000 * seconds:.3f} ms", file=sys.stderr)


def hooks_of(plugin: object) -> pluggy.HookRelay:
    """Return the hooks of one plugin alone, to be called with all of their arguments by name."""
    manager = pluggy.PluginManager("phasecore")
    manager.add_hookspecs(Hooks)
    manager.register(plugin)
    return manager.hook
