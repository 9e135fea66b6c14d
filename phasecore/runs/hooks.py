"""Calling the run hooks of plugins, each guarded: one that raises is disabled, and the training goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import pluggy

from phasecore.plugins import PREFIX


@final
class RunHooks:
    """Calls every plugin's implementation of a run hook on its own.

    Args:
        manager: pluggy's.
        warn: takes one sentence for each implementation that raised.
    """

    def __init__(self, manager: pluggy.PluginManager, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._callers: dict[str, dict[str, Callable[..., Any]]] = {}
        for event in ("run_started", "captured", "phase_changed", "run_finished"):
            hook = PREFIX + event
            names = [item.plugin_name for item in getattr(manager.hook, hook).get_hookimpls()]
            self._callers[hook] = {name: _caller(manager, hook, name) for name in dict.fromkeys(names)}

    def call(self, event: str, **arguments: Any) -> None:
        """Call a hook, such as "captured", with its arguments."""
        callers = self._callers[PREFIX + event]
        for plugin, caller in list(callers.items()):
            try:
                caller(**arguments)
            except Exception as error:
                del callers[plugin]
                self._warn(
                    f"hook {PREFIX + event!r} of plugin {plugin!r} raised {type(error).__name__}: {error}; "
                    "it is disabled for the rest of this run, and the training goes on"
                )


def _caller(manager: pluggy.PluginManager, hook: str, plugin_name: str) -> Callable[..., Any]:
    others = [plugin for name, plugin in manager.list_name_plugin() if name != plugin_name and plugin is not None]
    return manager.subset_hook_caller(hook, others)
